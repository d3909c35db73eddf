"""One client's connection to a fake server, as the test sees it."""

from __future__ import annotations

import enum
import json
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from realtime_client._core.frames import BINARY, TEXT, Close, Item, Ping, Pong, encode_frame
from realtime_client._core.handshake import Request
from realtime_client.events import Event, wire_value
from realtime_client.testing.journal import Journal
from realtime_client.testing.waker import Waker

__all__ = [
    "Demand",
    "Ending",
    "FakeConnection",
    "FrameKind",
    "Match",
    "Message",
    "ReceivedFrame",
    "fits",
    "frame_of",
    "nth_fitting",
    "parsed",
]

if TYPE_CHECKING:
    from realtime_client.testing.conversation import Conversation

Message: TypeAlias = Event | Mapping[str, Any] | str | bytes
"""What a fake server can send: an event or a mapping (as JSON), ``str`` (a text message), ``bytes`` (a binary one)."""
Match: TypeAlias = Mapping[str, Any] | str | bytes | Callable[[Any], object]
"""Which message is meant: a mapping fits every message that has its items (nested ones too), text and bytes fit
their equal, a callable says so itself."""
FrameKind: TypeAlias = Literal["text", "binary", "ping", "pong", "close"]
Demand: TypeAlias = "Callable[[Conversation], None]"

_OUTBOX_BYTES = 4 * 1024 * 1024
_PEER_LEFT = getattr(select, "POLLRDHUP", 0) | getattr(select, "POLLHUP", 0) | getattr(select, "POLLERR", 0)


class Ending(enum.Enum):
    """How a connection ended."""

    CLOSED = "closed"
    """By the closing handshake: close frames went both ways."""
    CLIENT_FIN = "client FIN"
    """The client closed the TCP connection, without the closing handshake."""
    CLIENT_RESET = "client RST"
    """The client reset the TCP connection."""
    SERVER_FIN = "server FIN"
    """The server closed the TCP connection, without the closing handshake."""
    SERVER_RESET = "server RST"
    """The server reset the TCP connection."""
    REFUSED = "refused"
    """The request was answered with something else than an upgrade."""
    TLS_FAILED = "TLS failed"
    """There was no TLS: the client did not like the certificate, or does not speak it."""


@attrs.frozen
class ReceivedFrame:
    """A message or a control frame from the client; a fragmented message is one.

    Attributes:
        kind: ``"text"``, ``"binary"``, ``"ping"``, ``"pong"`` or ``"close"``.
        payload: ``str`` of a text message; the reason of a close; else ``bytes``.
        at: When it was read, ``time.monotonic()`` seconds.
        code: The code of a close, 1005 where it had none; else ``None``.
    """

    kind: FrameKind
    payload: str | bytes
    at: float
    code: int | None = None


class FakeConnection:
    """One client's connection: what it asked, what it sent, how it ended; and a way to send to it.

    Every method may be called from any thread.
    """

    def __init__(self, number: int, sock: socket.socket, journal: Journal) -> None:
        self._number = number
        self._journal = journal
        self._waker = Waker()
        # The rest is guarded by the journal's lock.
        self._sock = sock  # closed only after _open became false
        self._open = False
        self._request: Request | None = None
        self._frames: list[ReceivedFrame] = []
        self._messages: list[Any] = []
        self._ending: Ending | None = None
        self._outbox: deque[bytes] = deque()
        self._outbox_bytes = 0
        self._demand: Demand | None = None

    def __repr__(self) -> str:
        with self._journal.reading():
            state = self._ending.value if self._ending else "open" if self._open else "not open"
            return f"<FakeConnection {self._number} {state}, {len(self._frames)} frames received>"

    @property
    def number(self) -> int:
        """Which TCP connection to the server this was, polls counted too, from 1."""
        return self._number

    @property
    def request(self) -> Request | None:
        """The handshake's head: ``method``, ``target``, ``path``, ``query``, ``headers``; ``None`` if none came."""
        with self._journal.reading():
            return self._request

    @property
    def frames(self) -> tuple[ReceivedFrame, ...]:
        """Every message and control frame that the client sent, in order."""
        with self._journal.reading():
            return tuple(self._frames)

    @property
    def messages(self) -> tuple[Any, ...]:
        """What the client sent in text and binary messages, in order: parsed where text is JSON, else as it came."""
        with self._journal.reading():
            return tuple(self._messages)

    @property
    def close_code(self) -> int | None:
        """The code of the client's close frame (1005 where it had none), or ``None`` without such a frame."""
        close = self._close_frame()
        return close.code if close else None

    @property
    def close_reason(self) -> str | None:
        """The reason of the client's close frame, or ``None`` without such a frame."""
        close = self._close_frame()
        return str(close.payload) if close else None

    @property
    def is_open(self) -> bool:
        """Whether the WebSocket is open: upgraded, and the server does nothing to end it."""
        with self._journal.reading():
            return self._open

    @property
    def ending(self) -> Ending | None:
        """How it ended, or ``None`` while it has not."""
        with self._journal.reading():
            return self._ending

    def send(self, message: Message, timeout: float = 5.0) -> bool:
        """Send a message, after whatever the script is just writing.

        It is handed to the connection's thread, whatever that is doing: a silent or stalled connection sends too.

        Args:
            message: An event or a mapping (as JSON), ``str`` (a text message) or ``bytes`` (a binary one).
            timeout: Seconds to wait while 4 MiB are queued for a client that does not read.

        Returns:
            Whether the connection was open, so that the message was handed over.

        Raises:
            TimeoutError: The client reads too slowly.
        """
        return self.send_frame(frame_of(message), timeout)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """End an open WebSocket with the closing handshake, after what was sent before. Does not wait for its end."""
        self.demand(lambda talk: talk.close(code, reason))

    def drop(self, *, reset: bool = True) -> None:
        """Cut the connection at once, without a close frame; what is still queued is lost. Does not wait for its end.

        Args:
            reset: ``True`` sends a TCP RST, ``False`` a FIN.
        """
        self.demand(lambda talk: talk.reset() if reset else talk.disconnect())

    def wait_for_message(self, match: Match, timeout: float = 5.0, n: int = 1) -> Any:
        """Block until this client has sent a message, from the beginning of the connection.

        Args:
            match: Which message, see :data:`Match`.
            timeout: Seconds.
            n: Which of those that fit, from 1.

        Returns:
            The message, as in ``messages``.

        Raises:
            TimeoutError: There was none; the message tells what was seen.
        """
        wanted = f"message {n} like {match!r} on connection {self._number}"
        return self._journal.wait(lambda: nth_fitting(self.messages, match, n), timeout, wanted)[0]

    def wait_for_frame(self, kind: FrameKind, timeout: float = 5.0, n: int = 1) -> ReceivedFrame:
        """Block until this client has sent a frame of a kind, from the beginning of the connection.

        Args:
            kind: ``"text"``, ``"binary"``, ``"ping"``, ``"pong"`` or ``"close"``.
            timeout: Seconds.
            n: Which one of that kind, from 1.

        Raises:
            TimeoutError: There was none; the message tells what was seen.
        """

        def look() -> ReceivedFrame | None:
            of_kind = [frame for frame in self.frames if frame.kind == kind]
            return of_kind[n - 1] if len(of_kind) >= n else None

        return self._journal.wait(look, timeout, f"{kind} frame {n} on connection {self._number}")

    def wait_closed(self, timeout: float = 5.0) -> Ending:
        """Block until the connection has ended and the server has closed its socket.

        Args:
            timeout: Seconds.

        Returns:
            How it ended.

        Raises:
            TimeoutError: It has not.
        """
        return self._journal.wait(lambda: self.ending, timeout, f"end of connection {self._number}")

    # What follows is between the server's own threads.

    def send_frame(self, frame: bytes, timeout: float) -> bool:
        """Queue the bytes of whole frames for an open connection; see ``send``."""

        def room() -> bool | None:
            with self._journal.reading():
                return not self._open or self._outbox_bytes < _OUTBOX_BYTES or None

        self._journal.wait(
            room, timeout, f"room for a message to connection {self._number}, whose client does not read"
        )
        return self.post(frame, only_if_open=True)

    def post(self, data: bytes, *, opens: bool = False, only_if_open: bool = False) -> bool:
        """Queue bytes for the connection's thread.

        Args:
            data: Any bytes.
            opens: The WebSocket is open behind these bytes, so that nothing can get before them.
            only_if_open: Queue nothing unless it is open.

        Returns:
            Whether the bytes were queued.
        """
        with self._journal.reading():
            if only_if_open and not self._open:
                return False
            self._outbox.append(data)
            self._outbox_bytes += len(data)
        if opens:
            self.opens()
        self.wake()
        return True

    def has_posts(self) -> bool:
        """Whether bytes are queued."""
        with self._journal.reading():
            return bool(self._outbox)

    def take_posts(self) -> bytes:
        """Everything queued, for the connection's thread."""
        with self._journal.reading():
            if not self._outbox:
                return b""
            full = self._outbox_bytes >= _OUTBOX_BYTES
            data = b"".join(self._outbox)
            self._outbox.clear()
            self._outbox_bytes = 0
        if full:
            with self._journal.changing():
                pass  # wakes those who wait for room
        return data

    def demand(self, demand: Demand, *, also_unopened: bool = False) -> None:
        """Have the connection's thread end the connection, in place of what it is doing."""
        with self._journal.changing():
            if not (self._open or also_unopened):
                return
            self._open = False
            self._demand = demand
        self.wake()

    def take_demand(self) -> Demand | None:
        """The demand, if there is one, for the connection's thread."""
        with self._journal.reading():
            demand, self._demand = self._demand, None
            return demand

    def wake(self) -> None:
        """Wake the connection's thread."""
        self._waker.wake()

    @property
    def waker(self) -> Waker:
        """What the connection's thread waits on."""
        return self._waker

    def uses(self, sock: socket.socket) -> None:
        """Record the socket after TLS was laid over it."""
        with self._journal.reading():
            self._sock = sock

    def asked(self, request: Request) -> None:
        """Record the handshake's request."""
        with self._journal.changing():
            self._request = request

    def opens(self) -> None:
        """Record that the WebSocket is open."""
        with self._journal.changing():
            self._open = True
            self._journal.opened(self)

    def received(self, item: Item) -> None:
        """Record what the client sent."""
        now = time.monotonic()
        match item:
            case str():
                frame = ReceivedFrame("text", item, now)
            case bytes():
                frame = ReceivedFrame("binary", item, now)
            case Ping():
                frame = ReceivedFrame("ping", item.payload, now)
            case Pong():
                frame = ReceivedFrame("pong", item.payload, now)
            case Close():
                frame = ReceivedFrame("close", item.reason, now, item.code)
            case _:
                raise TypeError(f"no frame of the client: {item!r}")
        with self._journal.changing():
            self._frames.append(frame)
            if isinstance(item, str | bytes):
                message = parsed(item)
                self._messages.append(message)
                self._journal.messages.append(message)

    def leaves(self) -> None:
        """Record that the connection is about to end, before the client can know it."""
        with self._journal.changing():
            self._open = False

    def ended(self, ending: Ending) -> None:
        """Record the end."""
        with self._journal.changing():
            self._ending = ending
            self._outbox.clear()
            self._outbox_bytes = 0

    def holds_a_place(self) -> bool:
        """Whether it is open and its client has not left; with the journal's lock held.

        A client may leave and come again before this connection's thread has read of it, hence the question to the
        socket. It cannot be closed meanwhile: ``leaves`` comes first, and needs the lock.
        """
        if not self._open:
            return False
        poller = select.poll()
        poller.register(self._sock, _PEER_LEFT)
        return not poller.poll(0)

    def _close_frame(self) -> ReceivedFrame | None:
        with self._journal.reading():
            return next((frame for frame in self._frames if frame.kind == "close"), None)


def frame_of(message: Message) -> bytes:
    """A message as one frame.

    Raises:
        TypeError: It is none of event, mapping, ``str`` and ``bytes``, or JSON cannot carry it.
    """
    match message:
        case bytes():
            return encode_frame(BINARY, message)
        case str():
            text = message
        case Event():
            envelope = message.to_dict()
            kept = {key: envelope[key] for key in ("type", "data", "timestamp") if envelope.get(key) is not None}
            text = _json(kept)
        case Mapping():
            text = _json(wire_value(message))
        case _:
            raise TypeError(f"message must be an event, a mapping, str or bytes, not {type(message).__name__}")
    return encode_frame(TEXT, text.encode())


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def parsed(message: str | bytes) -> Any:
    """A text message's JSON where it is some, else the message as it came."""
    if isinstance(message, bytes):
        return message
    try:
        return json.loads(message)
    except (ValueError, RecursionError):
        return message


def fits(message: Any, match: Match) -> bool:
    """Whether a message is one that is meant."""
    if isinstance(match, Mapping):
        return isinstance(message, Mapping) and all(
            key in message and (fits(message[key], value) if isinstance(value, Mapping) else message[key] == value)
            for key, value in match.items()
        )
    return bool(match(message)) if callable(match) else message == match


def nth_fitting(messages: tuple[Any, ...], match: Match, n: int) -> tuple[Any] | None:
    """The n-th message that fits, in a tuple of its own, since a message may be ``None``."""
    fitting = [message for message in messages if fits(message, match)]
    return (fitting[n - 1],) if len(fitting) >= n else None
