"""A transport without a network: a test puts messages in and sees what the client sends."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from realtime_client.errors import ConnectError, ConnectionLost, RealtimeError
from realtime_client.status import Transport
from realtime_client.transports.base import Received

__all__ = ["MemoryLink", "MemoryTransport"]


class MemoryLink:
    """One attempt, and the connection that comes of it, without a network.

    Attributes:
        sent: The texts that the client sent, in order.
        pings: The payloads of its ping frames.
        closing: Whether the client said goodbye.
    """

    transport = Transport.WEBSOCKET
    sends = True
    tells_gaps = False
    lingering: str | None = None

    def __init__(self, owner: MemoryTransport, outcome: RealtimeError | None, *, hangs: bool) -> None:
        self._owner = owner
        self._outcome = outcome
        self._hangs = hangs
        self._inbox: queue.SimpleQueue[list[str | bytes] | bytes | RealtimeError] = queue.SimpleQueue()
        self._failure: ConnectionLost | None = None
        self.sent: list[str] = []
        self.pings: list[bytes] = []
        self.closing: bool = False
        self.sent_bytes: int = 0

    def put(self, *messages: str | bytes | Mapping[str, Any]) -> None:
        """Let messages arrive, all in one batch: text, bytes for a binary message, or a mapping for JSON text."""
        self._inbox.put([json.dumps(m) if isinstance(m, Mapping) else m for m in messages])

    def pong(self, payload: bytes) -> None:
        """Let a pong frame arrive."""
        self._inbox.put(payload)

    def lose(self, error: ConnectionLost | None = None) -> None:
        """Let the connection end."""
        self._inbox.put(error or ConnectionLost("the memory link was cut"))

    def open(self, timeout: float) -> None:
        """See `Link.open`."""
        del timeout
        if self._hangs:
            self._inbox.get()
        if self._failure is not None:
            raise ConnectError(str(self._failure))
        if self._outcome is not None:
            raise self._outcome
        self._owner.opened(self)

    def receive(self) -> Received:
        """See `Link.receive`."""
        if self._failure is not None:
            raise self._failure
        item = self._inbox.get()
        if isinstance(item, RealtimeError):
            raise self._failure or item
        if isinstance(item, bytes):
            return Received([], len(item) + 2, item)
        return Received(item, sum(len(message) for message in item))

    def send(self, text: str, timeout: float) -> None:
        """See `Link.send`."""
        del timeout
        if self._failure is not None:
            raise self._failure
        self.sent.append(text)
        self.sent_bytes += len(text)
        self._owner.changed()

    def ping(self, payload: bytes, timeout: float, message: str | None = None) -> None:
        """See `Link.ping`."""
        del timeout
        if self._failure is not None:
            raise self._failure
        self.pings.append(payload)
        if message is not None:
            self.sent.append(message)
            self.sent_bytes += len(message)
        self._owner.changed()

    def close(self, timeout: float) -> None:
        """See `Link.close`; the peer answers at once."""
        del timeout
        self.closing = True
        self.lose(ConnectionLost("closed", code=1000))

    def fail(self, error: ConnectionLost) -> None:
        """See `Link.fail`."""
        if self._failure is None:
            self._failure = error
        self._inbox.put(error)

    def release(self) -> None:
        """See `Link.release`."""

    def disown(self) -> None:
        """See `Link.disown`."""


class MemoryTransport:
    """A factory of links without a network. Give it to ``RealtimeClient(link_factory=...)``.

    Attempts succeed unless `refuse` or `hang` planned otherwise.

    Attributes:
        links: Every link made, successful or not, in order.

    Example:
        >>> from realtime_client import RealtimeClient
        >>> network = MemoryTransport()
        >>> with RealtimeClient(link_factory=network) as client:
        ...     events = client.events("system_alert", timeout=5)
        ...     network.current.put({"type": "system_alert", "data": {"message": "hello"}})
        ...     next(events).message
        'hello'
    """

    def __init__(self) -> None:
        self.links: list[MemoryLink] = []
        self._open: list[MemoryLink] = []
        self._plan: deque[tuple[RealtimeError | None, bool]] = deque()
        self._always: RealtimeError | None = None
        self._changed = threading.Condition(threading.Lock())  # guards the lists above for those who wait

    def __call__(self) -> MemoryLink:
        """Make the link of the next attempt."""
        with self._changed:
            outcome, hangs = self._plan.popleft() if self._plan else (self._always, False)
            link = MemoryLink(self, outcome, hangs=hangs)
            self.links.append(link)
            self._changed.notify_all()
            return link

    def refuse(self, error: RealtimeError | None = None, *, times: int | None = 1) -> None:
        """Let the next attempts fail; ``times=None`` all of them, until `accept`."""
        error = error or ConnectError("refused by the memory transport")
        with self._changed:
            if times is None:
                self._always = error
            else:
                self._plan.extend([(error, False)] * times)

    def accept(self) -> None:
        """Let attempts succeed again."""
        with self._changed:
            self._always = None
            self._plan.clear()

    def hang(self) -> None:
        """Let the next attempt take for ever, until the client ends it."""
        with self._changed:
            self._plan.append((None, True))

    @property
    def current(self) -> MemoryLink:
        """The link that was opened last."""
        return self._open[-1]

    def wait_for_links(self, count: int, timeout: float = 5.0) -> MemoryLink:
        """Wait until so many attempts were made; returns the last of them."""
        self._wait(lambda: len(self.links) >= count, timeout, f"{count} attempts")
        return self.links[count - 1]

    def wait_for_open(self, count: int = 1, timeout: float = 5.0) -> MemoryLink:
        """Wait until so many attempts succeeded; returns the last of them."""
        self._wait(lambda: len(self._open) >= count, timeout, f"{count} connections")
        return self._open[count - 1]

    def wait_for_sent(self, count: int = 1, timeout: float = 5.0) -> list[str]:
        """Wait until so many texts were sent on the current link; returns them."""
        self._wait(lambda: bool(self._open) and len(self.current.sent) >= count, timeout, f"{count} sent texts")
        return list(self.current.sent)

    def opened(self, link: MemoryLink) -> None:
        """A link was opened; called by the link."""
        with self._changed:
            self._open.append(link)
            self._changed.notify_all()

    def changed(self) -> None:
        """Something was sent; called by the link."""
        with self._changed:
            self._changed.notify_all()

    def _wait(self, reached: Any, timeout: float, what: str) -> None:
        deadline = time.monotonic() + timeout
        with self._changed:
            while not reached():
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"there were not {what} within {timeout:g} s, only {len(self.links)} attempts")
                self._changed.wait(left)
