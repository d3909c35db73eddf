"""The thread that dials, and then moves batches from the link to the store and the callbacks' buffers."""

from __future__ import annotations

import logging
from collections.abc import Callable

from realtime_client._core.codec import Codec
from realtime_client._runtime.board import StatusBoard
from realtime_client._runtime.clock import Clock, Inbox
from realtime_client._runtime.counters import Counters
from realtime_client._runtime.hub import Hub, Topic
from realtime_client._runtime.mailbox import Notice
from realtime_client._runtime.rejected import Rejected
from realtime_client.errors import ConnectionLost, MalformedMessage, RealtimeError
from realtime_client.events import Event, Origin, Pong
from realtime_client.store import DashboardStore
from realtime_client.transports.base import Link, Received

__all__ = ["Intake", "Reader"]

logger = logging.getLogger("realtime_client")

DROP_WARNING_INTERVAL = 60.0


class Intake:
    """What becomes of received messages: events, store, buffers, in batches. One thread at a time uses it."""

    def __init__(
        self,
        *,
        codec: Codec,
        store: DashboardStore,
        hub: Hub,
        board: StatusBoard,
        counters: Counters,
        rejected: Rejected,
        clock: Clock,
    ) -> None:
        self._codec = codec
        self._store = store
        self._hub = hub
        self._board = board
        self._counters = counters
        self._rejected = rejected
        self._clock = clock
        self._quiet_until = float("-inf")

    def take(self, received: Received, link: Link, before_hand_over: Callable[[list[Event]], None]) -> None:
        """Take one batch; under ``overflow="block"`` this waits for room.

        Args:
            received: What the link gave.
            link: Where it came from.
            before_hand_over: Called with the decoded events before they are handed over.
        """
        at = self._clock.now()
        self._board.last_message_at = at
        decoded = self._codec.decode_batch(received.messages, received_at=at, origin=Origin.STREAM)
        self._counters.add(bytes_received=received.size)
        self._store.apply(decoded.events, received_at=at, transport=link.transport)
        before_hand_over(decoded.events)
        if decoded.malformed:
            self.reject(decoded.malformed)
        dropped = self._hub.publish(decoded.events, decoded.sizes)
        if dropped and self._clock.monotonic() >= self._quiet_until and not self._hub.main.closed:
            self._quiet_until = self._clock.monotonic() + DROP_WARNING_INTERVAL
            logger.warning("callbacks are slower than the feed: %d events were dropped just now", dropped)

    def reject(self, errors: list[MalformedMessage]) -> None:
        """Count, keep, log and report messages that could not be understood."""
        self._rejected.add(errors)
        for error in errors:
            self._hub.report(Notice(Topic.ERROR, error))


class Reader:
    """One generation of reading: from the dial to the end of the connection.

    Args:
        link: What to open and read; this thread releases it.
        dial_deadline: Monotonic time by which the dial must be done.
        intake: What becomes of what is read.
        clock: The time.
        opened: Called when the handshake is done.
        ended: Called as the very last thing, with the reason.
    """

    def __init__(
        self,
        link: Link,
        *,
        dial_deadline: float,
        intake: Intake,
        clock: Clock,
        opened: Callable[[], None],
        ended: Callable[[RealtimeError], None],
    ) -> None:
        self.link = link
        self._dial_deadline = dial_deadline
        self._intake = intake
        self._clock = clock
        self._opened = opened
        self._ended = ended
        self._gate: Inbox[bool] = Inbox()
        self._heard_at = clock.monotonic()
        self._held_up = False
        self.on_answer: Callable[[float], None] | None = None
        self._awaited: bytes | None = None

    def run(self) -> None:
        """The thread's life."""
        error: RealtimeError
        try:
            self.link.open(self._dial_deadline)
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

    def _read(self) -> None:
        while True:
            received = self.link.receive()
            self._heard_at = self._clock.monotonic()
            if self._awaited is not None and received.pong == self._awaited:
                self._answered()
            self._held_up = True
            self._intake.take(received, self.link, self._look_for_pong)
            self._heard_at = self._clock.monotonic()
            self._held_up = False

    def _look_for_pong(self, events: list[Event]) -> None:
        if self._awaited is not None and any(isinstance(event, Pong) for event in events):
            self._answered()

    def _answered(self) -> None:
        self._awaited = None
        if self.on_answer is not None:
            self.on_answer(self._heard_at)
