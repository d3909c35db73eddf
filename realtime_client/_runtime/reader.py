"""The thread that dials, and then moves batches from the link to the store and the callbacks' buffers."""

from __future__ import annotations

import logging
from collections.abc import Callable

from realtime_client._runtime.clock import Clock, Inbox
from realtime_client._runtime.intake import Intake
from realtime_client.errors import ConnectionLost, MalformedMessage, RealtimeError
from realtime_client.events import Event, Pong
from realtime_client.transports.base import Link

__all__ = ["Reader"]

logger = logging.getLogger("realtime_client")

PROMPT_AFTER_HEARTBEAT = 1.0
"""Seconds after a heartbeat in which ``read_interval`` is left aside, so that it is no part of the latency."""


class Reader:
    """One generation of reading: from the dial to the end of the connection.

    Args:
        link: What to open and read; this thread releases it.
        connect_timeout: Seconds that the dial may take.
        intake: What becomes of what is read.
        clock: The time.
        read_interval: Seconds that lie between two reads at least.
        opened: Called when the handshake is done.
        proved: Called once, with the first message or pong.
        ended: Called as the very last thing, with the reason.
    """

    def __init__(
        self,
        link: Link,
        *,
        connect_timeout: float,
        intake: Intake,
        clock: Clock,
        read_interval: float,
        opened: Callable[[], None],
        proved: Callable[[], None],
        ended: Callable[[RealtimeError], None],
    ) -> None:
        self.link = link
        self._connect_timeout = connect_timeout
        self._intake = intake
        self._clock = clock
        self._read_interval = read_interval
        self._opened = opened
        self._proved = proved
        self._ended = ended
        self._gate: Inbox[bool] = Inbox()
        self._heard_at = clock.monotonic()
        self._held_up = False
        self.on_answer: Callable[[float], None] | None = None
        self._awaited: bytes | None = None
        self._prompt_until = float("-inf")

    def run(self) -> None:
        """The thread's life."""
        error: RealtimeError
        try:
            self.link.open(self._connect_timeout)
            self._opened()
            # Not before the change to CONNECTED has been told: an event must not come to callbacks before it.
            if self._clock.get(self._gate, None):
                self._read()
            error = ConnectionLost("the connection was not wanted any more")
        except RealtimeError as expected:
            error = expected
        except BaseException as unexpected:
            logger.exception("unexpected error on the reader thread")
            error = ConnectionLost(f"unexpected {type(unexpected).__name__} on the reader thread")
            error.__cause__ = unexpected
        finally:
            self.link.release()
        _forget_frames(error)
        if isinstance(error.__cause__, MalformedMessage):
            self._intake.reject([error.__cause__])
        self._ended(error)

    def go(self) -> None:
        """Begin to read, once connected; from the reconnect thread."""
        self._gate.post(True)

    def stop(self, reason: ConnectionLost) -> None:
        """End soon, whatever it waits for; from the reconnect thread."""
        self.link.fail(reason)
        self._gate.post(False)

    def life_sign(self, now: float) -> float:
        """When the peer was last heard; the present while this thread is held up and does not listen."""
        return now if self._held_up else self._heard_at

    def await_answer(self, payload: bytes) -> None:
        """A heartbeat with this payload was sent: its answer is of interest."""
        self._awaited = payload
        if self._read_interval:
            self._prompt_until = self._clock.monotonic() + PROMPT_AFTER_HEARTBEAT
            self._gate.post(True)

    def _read(self) -> None:
        proved = False
        while True:
            received = self.link.receive()
            if not proved and (received.messages or received.pong is not None):
                proved = True
                self._proved()
            self._heard_at = self._clock.monotonic()
            if self._awaited is not None and received.pong == self._awaited:
                self._answered()
            self._held_up = True
            read_at = self._heard_at
            self._intake.take(received, self.link, self._look_for_pong)
            if self._read_interval:
                self._let_gather(read_at + self._read_interval)
            self._heard_at = self._clock.monotonic()
            self._held_up = False

    def _let_gather(self, until: float) -> None:
        """Leave what comes in the socket for a while; the end, or a heartbeat, cuts that short."""
        now = self._clock.monotonic()
        if self._prompt_until <= now < until:
            self._clock.get(self._gate, until - now)

    def _look_for_pong(self, events: list[Event]) -> None:
        if self._awaited is not None and any(isinstance(event, Pong) for event in events):
            self._answered()

    def _answered(self) -> None:
        self._awaited = None
        if self.on_answer is not None:
            self.on_answer(self._heard_at)


def _forget_frames(error: BaseException) -> None:
    """Cut an error's tracebacks off: whoever keeps the error would keep the link and all that belongs to it."""
    chain: BaseException | None = error
    seen: set[int] = set()
    while chain is not None and id(chain) not in seen:
        seen.add(id(chain))
        chain.__traceback__ = None
        chain = chain.__cause__ or chain.__context__
