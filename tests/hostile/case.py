"""What a case of the table is: what a hostile server does, and what is expected of the client."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import attrs

from realtime_client import (
    AuthenticationError,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    HandshakeRejected,
    MessageTooLarge,
    ProtocolError,
    RealtimeError,
)
from realtime_client._core.frames import TEXT, encode_frame
from realtime_client._core.handshake import accept_key
from tests.hostile.authority import Security

MIB = 1024 * 1024
ROOM = 16 * MIB
"""What a client may take above ``max_message_bytes``, in bytes."""
DEFAULT_LIMIT = MIB
"""``max_message_bytes`` where a case gives none."""
SHORT = 0.3
"""``connect_timeout`` of the cases that only time can end, in seconds."""


class Act(enum.Enum):
    """What a server does besides sending."""

    FIN = "ends its half of the connection"
    RST = "resets the connection"
    DEAF = "reads no more"


Step: TypeAlias = bytes | float | Act
"""Bytes to send, seconds to pause, or an act."""


@attrs.frozen
class Asked:
    """What the client's request says.

    Attributes:
        key: Its ``Sec-WebSocket-Key``; empty where the server did not read the request.
        port: The server's own port.
    """

    key: str
    port: int


Speech: TypeAlias = Callable[[Asked], Iterable[Step]]
"""What the server does on one connection; after it, it waits for the client to leave."""


class Then(enum.Enum):
    """What becomes of the client."""

    LIVES = "goes on with the connection"
    RECOVERS = "tries again and comes back"
    WAITS = "tries again, no earlier than the server allows"
    STOPS = "stops (FAILED)"
    OUTAGE = "declares an outage (UNAVAILABLE)"


@attrs.frozen(kw_only=True)
class Expected:
    """What must come of a case.

    Attributes:
        then: What becomes of the client.
        error: The exact class of ``status.last_error``; ``None`` where the connection lives.
        words: What the error's message contains; for a malformed message, the reason in ``client.rejected``.
        code: The close code that the client sends; ``None`` where no WebSocket is open any more, or not yet.
        status: The HTTP status that the error carries.
        pause: Seconds until the next attempt, where the server has a say.
        rejected: How many messages are counted as malformed.
        within: Seconds from ``connect()`` to the verdict.
    """

    then: Then
    error: type[RealtimeError] | None = None
    words: str = ""
    code: int | None = None
    status: int | None = None
    pause: float | None = None
    rejected: int = 0
    within: float = 1.0

    @property
    def refused(self) -> bool:
        """Whether the server's doing ends the connection or the attempt."""
        return self.then is not Then.LIVES


@attrs.frozen(kw_only=True)
class Case:
    """One hostile input.

    Attributes:
        name: Unique within the table, beginning with the kind.
        group: Which of the listed inputs it is.
        speech: What the server does.
        expected: What must come of it.
        options: Options of the client, JSON-ready, such as ``{"max_message_bytes": 2000}``.
        turns: On how many connections the server does so; afterwards it is well behaved.
        hears: Whether the server reads a request first.
        waits: Whether it waits for the client's first words at all.
        polite: Whether the server leaves when it hears the client's close frame.
        security: TLS, where there is any.
        deflates: Whether the server's doing makes sense only to a client that offers compression.
        own: Whether what is expected is this client's own choice where the protocol leaves one, such as a limit or how
            early text is refused; others may choose otherwise and be right.
    """

    name: str
    group: str
    speech: Speech = attrs.field(repr=False)
    expected: Expected
    options: Mapping[str, Any] = attrs.field(factory=dict)
    turns: int = 1
    hears: bool = True
    waits: bool = True
    polite: bool = True
    security: Security | None = None
    deflates: bool = False
    own: bool = False

    @property
    def kind(self) -> str:
        """``"handshake"``, ``"frames"``, ``"sizes"``, ``"json"`` or ``"tls"``."""
        return self.name.partition(": ")[0]

    @property
    def limit(self) -> int:
        """The client's ``max_message_bytes``."""
        return int(self.options.get("max_message_bytes", DEFAULT_LIMIT))


# What servers say


def event(name: str) -> bytes:
    """The frame of a good message, by which a test sees that the client listens."""
    return encode_frame(TEXT, json.dumps({"type": "system_alert", "data": {"message": name}}).encode())


def upgrade(
    asked: Asked,
    *lines: str,
    first: str = "HTTP/1.1 101 Switching Protocols",
    without: str = "",
    end: str = "\r\n",
    **replaced: str,
) -> bytes:
    """An answer that opens the WebSocket, but for what the arguments change.

    Args:
        asked: The client's request.
        lines: Further header lines.
        first: The status line.
        without: A header that is left out.
        end: What ends each line.
        replaced: ``Upgrade``, ``Connection`` or ``Accept`` in place of the right value.
    """
    fields = {
        "Upgrade": replaced.get("Upgrade", "websocket"),
        "Connection": replaced.get("Connection", "Upgrade"),
        "Sec-WebSocket-Accept": replaced.get("Accept", accept_key(asked.key)),
    }
    own = [f"{name}: {value}" for name, value in fields.items() if name != without]
    return end.join([first, *own, *lines, "", ""]).encode("latin-1")


def deflating(asked: Asked, parameters: str = "") -> bytes:
    """An answer that opens the WebSocket with compression (RFC 7692)."""
    return upgrade(asked, f"Sec-WebSocket-Extensions: permessage-deflate{parameters}")


# What is expected


def lives(*, within: float = 1.0) -> Expected:
    """The client goes on with the connection, and leaves it with 1000 in the end."""
    return Expected(then=Then.LIVES, code=1000, within=within)


def malformed(words: str) -> Expected:
    """The message is counted and kept with its reason, and the connection lives."""
    return Expected(then=Then.LIVES, code=1000, words=words, rejected=1)


def not_opened(words: str, *, then: Then = Then.RECOVERS) -> Expected:
    """The answer opens no WebSocket."""
    return Expected(then=then, error=ConnectError, words=words)


def rejected(status: int, *, then: Then, pause: float | None = None) -> Expected:
    """The answer is another one than 101."""
    kind = AuthenticationError if status in (401, 403) else HandshakeRejected
    return Expected(then=then, error=kind, words=str(status), status=status, pause=pause)


def too_slow() -> Expected:
    """Only time ends the attempt."""
    return Expected(then=Then.RECOVERS, error=ConnectTimeout, words=f"not done within {SHORT:g} s", within=SHORT + 1)


def broken(words: str, code: int = 1002, *, then: Then = Then.RECOVERS, rejected: int = 0) -> Expected:
    """The protocol is broken, and the server is told so."""
    return Expected(then=then, error=ProtocolError, words=words, code=code, rejected=rejected)


def not_utf8(words: str = "not UTF-8") -> Expected:
    """Text that is none: the server is told, and the message counts as malformed."""
    return broken(words, 1007, rejected=1)


def too_large(words: str = "over max_message_bytes", *, within: float = 1.0) -> Expected:
    """A message over the limit."""
    return Expected(then=Then.RECOVERS, error=MessageTooLarge, words=words, code=1009, within=within)


def lost(words: str, *, code: int | None = None, then: Then = Then.RECOVERS) -> Expected:
    """The connection ends; with ``code`` by a close frame, which the client answers with the same code."""
    return Expected(then=then, error=ConnectionLost, words=words, code=code)
