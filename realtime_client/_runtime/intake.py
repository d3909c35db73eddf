"""What becomes of what was read: events, store, buffers, in batches."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

import attrs

from realtime_client._core.answers import read_answer
from realtime_client._core.codec import Codec
from realtime_client._core.picture import decode_picture
from realtime_client._runtime.board import StatusBoard
from realtime_client._runtime.clock import Clock
from realtime_client._runtime.counters import Counters
from realtime_client._runtime.hub import Hub, Topic
from realtime_client._runtime.mailbox import Notice
from realtime_client._runtime.rejected import Rejected
from realtime_client.errors import ConnectionLost, MalformedMessage, PollError
from realtime_client.events import Event, Origin, Pong
from realtime_client.status import Gap, Transport
from realtime_client.store import DashboardStore
from realtime_client.transports.base import Link, Received

__all__ = ["Intake"]

logger = logging.getLogger("realtime_client")

DROP_WARNING_INTERVAL = 60.0
BATCH = 200
"""How many messages are taken from bytes to callbacks at once. What one read has brought may be hundreds; fewer at a
time stay in the processor's cache, and leave the garbage collector less that is alive when it comes by."""
ORIGINS = {Transport.WEBSOCKET: Origin.STREAM, Transport.REDIS: Origin.REDIS, Transport.REPLAY: Origin.REPLAY}
EVENT_SIZE = 512
"""What a polled event counts for in ``max_pending_bytes``: its own message was never seen."""


class Intake:
    """Takes what was read from a stream, and the answers to polls; each may come on a thread of its own.

    Args:
        codec: Reads the messages.
        store: Is told first.
        hub: Hands over to the callbacks.
        board: Where the last message is noted.
        counters: Where bytes are counted.
        rejected: Keeps what is malformed.
        clock: The time.
        hears: Whether a callback, or a watcher of the store, might want to know of an event.
    """

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
        hears: Callable[[Event], object],
    ) -> None:
        self._codec = codec
        self._store = store
        self._hub = hub
        self._board = board
        self._counters = counters
        self._rejected = rejected
        self._clock = clock
        self._hears = hears
        self._quiet_until = float("-inf")

    def take(self, received: Received, link: Link, before_hand_over: Callable[[list[Event]], None]) -> None:
        """Take what one read has brought, in batches; under ``overflow="block"`` this waits for room.

        Args:
            received: What the link gave.
            link: Where it came from.
            before_hand_over: Called with a batch's events before they are handed over.
        """
        gap = received.gap
        if received.size or received.pong is not None:
            self._board.last_message_at = now = self._clock.now()
            at = received.at or now
            self._counters.add(bytes_received=received.size)
            if received.snapshot is not None:
                gap = self._restore(received.snapshot, gap, at, link)
            messages = received.messages
            # At least once, also for a pong alone, which is a sign of life to the store.
            for start in range(0, len(messages) or 1, BATCH):
                self._take_batch(messages[start : start + BATCH], at, link, before_hand_over)
        if gap is not None:
            self._hub.tell(Notice(Topic.GAP, gap))

    def _restore(self, snapshot: bytes, gap: Gap | None, at: datetime, link: Link) -> Gap | None:
        """Begin anew from a snapshot; what is new in it goes to the callbacks only if it is to fill a gap."""
        try:
            picture = decode_picture(snapshot, self._codec, received_at=at)
        except MalformedMessage as error:
            raise ConnectionLost("the snapshot of the feed could not be understood") from error
        events = self._store.restore(picture, received_at=at, transport=link.transport)
        self._hub.main.nudge()
        if gap is None:
            return None
        self._hub.publish(events, [EVENT_SIZE] * len(events))
        return attrs.evolve(gap, recovered=len(events))

    def _take_batch(
        self, messages: list[str | bytes], at: datetime, link: Link, before_hand_over: Callable[[list[Event]], None]
    ) -> None:
        decoded = self._codec.decode_batch(messages, received_at=at, origin=ORIGINS[link.transport])
        known = self._store.apply(decoded.events, received_at=at, transport=link.transport)
        before_hand_over(decoded.events)
        if decoded.malformed:
            self.reject(decoded.malformed)
        events, sizes = decoded.events, decoded.sizes
        if known:
            fresh = [index for index in range(len(events)) if index not in known]
            events, sizes = [events[index] for index in fresh], [sizes[index] for index in fresh]
            self._hub.main.nudge()  # those who watch the store may have news without any event
        # The answer to a heartbeat is all that an idle feed says, and seldom does anybody ask for it.
        silent = len(events) == 1 and events[0].__class__ is Pong and not self._hears(events[0])
        dropped = self._hub.publish(events, sizes, heard=not silent)
        if dropped and self._clock.monotonic() >= self._quiet_until and not self._hub.main.closed:
            self._quiet_until = self._clock.monotonic() + DROP_WARNING_INTERVAL
            logger.warning("callbacks are slower than the feed: %d events were dropped just now", dropped)

    def reject(self, errors: list[MalformedMessage]) -> None:
        """Count, keep, log and report messages that could not be understood."""
        self._rejected.add(errors)
        for error in errors:
            self._hub.report(Notice(Topic.ERROR, error))

    @property
    def has_room(self) -> bool:
        """Whether callbacks that are slow under ``overflow="block"`` leave room for more."""
        return self._hub.main.has_room

    def take_answer(self, answer: Any, transport: Callable[[], Transport | None]) -> tuple[int, datetime | None]:
        """Take the answer to a poll: what is new goes to the store and, marked as polled, to the callbacks.

        It comes before the stream's events that are held back, and waits for no room: an answer's size is bounded.

        Args:
            answer: JSON text, or parsed JSON.
            transport: Gives what the store shall say of where it has its knowledge from, asked when the store is
                changed; ``None`` leaves it as it is.

        Returns:
            How many events were new, and the newest timestamp of its logs.

        Raises:
            PollError: The answer as a whole could not be understood.
        """
        at = self._clock.now()
        try:
            parsed = self._codec.parse(answer) if isinstance(answer, (str, bytes)) else answer
            content = read_answer(parsed, self._codec, received_at=at)
        except MalformedMessage as error:
            self.reject([error])
            raise PollError(f"the answer to a poll could not be understood: {error.reason}") from error
        self._board.last_message_at = at
        events = self._store.merge(content.logs, content.events, received_at=at, transport=transport)
        if content.malformed:
            self.reject(content.malformed)
        self._hub.publish(events, [EVENT_SIZE] * len(events), through_hold=True)
        self._hub.main.nudge()  # those who watch the store may have news without any event
        return len(events), max((log.timestamp for log in content.logs if log.timestamp), default=None)

    def unchanged(self, transport: Callable[[], Transport | None]) -> None:
        """A poll was answered with: nothing has changed."""
        at = self._clock.now()
        self._board.last_message_at = at
        self._store.heard(at, transport)
