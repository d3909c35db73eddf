"""What a transport is: something that makes links, and what a link is: one attempt, and then one connection.

The reader thread opens a link, receives until the end and releases it. Other threads send, and may end it with `fail`.
Every foreign error is mapped here below, once: what leaves a link is a `ConnectError` from `open` or a `ConnectionLost`
from the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from realtime_client.errors import ConnectionLost
from realtime_client.status import Gap, Transport

__all__ = ["FeedOver", "Link", "LinkFactory", "Poller", "Received"]


class Received(NamedTuple):
    """What one look at the wire gave.

    Attributes:
        messages: Complete messages: text as ``str``, binary as ``bytes``.
        size: Bytes read, of unfinished messages too; more than zero is a sign of life of the feed. A transport that
            knows of itself that it lives, and has heard nothing of the feed, returns zero from time to time.
        pong: The payload of the last answer to a ping frame, or ``None``.
        at: When the feed gave the messages, for a transport to which they come later; ``None`` for now.
        snapshot: What the store is from here on, as the JSON of a picture, before the messages.
        gap: A gap of which the transport itself knows, behind the messages. Without one, and with a snapshot, nothing
            was missed.
    """

    messages: list[str | bytes]
    size: int
    pong: bytes | None = None
    at: datetime | None = None
    snapshot: bytes | None = None
    gap: Gap | None = None


class FeedOver(ConnectionLost):
    """The feed has come to its end, and there is nothing to connect to again: no trouble, and no attempt follows."""


class Link(Protocol):
    """One attempt to connect and the connection that comes of it.

    Attributes:
        transport: What kind it is.
        sends: Whether anything can be sent, a heartbeat for instance; a link that cannot send judges by itself whether
            its peer is silent.
        tells_gaps: Whether it goes on where the link before has ended, and tells what is missing even so.
    """

    transport: Transport
    sends: bool
    tells_gaps: bool

    def open(self, timeout: float) -> None:
        """Connect; blocks until done, on the reader thread.

        Args:
            timeout: Seconds within which everything, from name look-up to handshake, must be done.

        Raises:
            ConnectError: It failed, or `fail` was called.
        """

    def receive(self) -> Received:
        """Wait for something from the peer; blocks, on the reader thread. Answers to pings are sent on the way.

        Raises:
            ConnectionLost: The connection has ended; everything that came before has been returned.
        """

    def send(self, text: str, timeout: float) -> None:
        """Write one text message; thread-safe, blocks until it is written.

        Raises:
            ConnectionLost: It was not written, or not to the end; the link has failed.
            TimeoutError: It could not begin, because another thread's write did not end; the link is as good as before.
        """

    def ping(self, payload: bytes, timeout: float, message: str | None = None) -> None:
        """Write a ping frame, where the transport knows such a thing, and a text message behind it, in one write.

        Raises:
            ConnectionLost: As for `send`.
            TimeoutError: As for `send`.
        """

    def close(self, timeout: float) -> None:
        """Tell the peer that we are leaving; `receive` then ends when the peer has answered."""

    def fail(self, error: ConnectionLost) -> None:
        """End the link at once, from any thread, with this reason: whatever waits in it returns. Never blocks."""

    def release(self) -> None:
        """Give the descriptors back, on the reader thread, after the last `receive`."""

    def disown(self) -> None:
        """In a forked child: give the descriptors back without a byte on the parent's connection."""

    @property
    def lingering(self) -> str | None:
        """The name of a thread that outlives the link because nothing can interrupt it, or ``None``."""

    @property
    def sent_bytes(self) -> int:
        """Bytes written since the handshake."""


LinkFactory = Callable[[], Link]
"""Makes the link for the next attempt; does no I/O."""


class Poller(Protocol):
    """Asks for what the stream would have told."""

    def poll(self, since: datetime | None, timeout: float) -> Any:
        """Ask once; blocks.

        Args:
            since: The newest timestamp held, or ``None``.
            timeout: Seconds within which all must be done.

        Returns:
            The answer: JSON text as ``bytes`` or ``str``, or parsed; ``None`` where nothing has changed.

        Raises:
            PollError: It failed, or `abort` was called.
        """

    def abort(self) -> None:
        """End a poll in progress, and all further ones, from any thread. Never blocks."""

    def close(self) -> None:
        """Give the descriptors back, after the last `poll`."""

    def disown(self) -> None:
        """In a forked child: give the descriptors back without a byte on the parent's connections."""
