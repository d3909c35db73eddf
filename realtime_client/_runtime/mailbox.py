"""The bounded buffer between the thread that reads events and a thread that consumes them.

Events overflow by the user's policy and are counted by reason; notices (state changes and the like) pass every bound
and are never dropped. Both keep one order. Everything moves in runs of events: one lock and one wake-up a batch.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from realtime_client._runtime.clock import Clock, Inbox
from realtime_client.events import Event, FrozenMapping
from realtime_client.status import LaneMetrics

__all__ = ["Mailbox", "Notice", "Run"]

Run = deque[Event]
"""Consecutive events. Both ends of the mailbox take from it with ``popleft``, which is atomic, so that the consumer
needs no lock for an event and the policy can still drop the oldest one from under its hands."""

MAX_REPORTS = 1_000
"""How many reports (see `Mailbox.report`) may wait."""
ABANDONED_CHECK = 0.2
"""How often, in seconds, one who waits for room looks whether the consumer has gone without a word."""


class Notice(NamedTuple):
    """Something to tell that is no event: it has a topic and an argument."""

    topic: Any
    argument: Any = None
    is_report: bool = False


class _Chunk(NamedTuple):
    events: Run
    sizes: list[int]  # of the events that the chunk began with; those at its end belong to the events still in it

    def waiting_bytes(self) -> int:
        left = len(self.events)
        return sum(self.sizes[-left:]) if left else 0


class Mailbox:
    """A bounded FIFO with one consuming thread.

    Args:
        name: For the metrics.
        max_events: How many events may wait, those that the consumer has in hand but not begun included.
        max_bytes: How many bytes of messages they may stand for.
        overflow: ``"drop_oldest"``, ``"drop_newest"`` or ``"block"``.
        clock: For timed waits.

    Attributes:
        closed: Whether `close` was called.
        abandoned: Set by a consumer that is gone, who may be a finaliser and takes no lock: nobody waits for room then.
    """

    def __init__(self, name: str, *, max_events: int, max_bytes: int, overflow: str, clock: Clock) -> None:
        self.name = name
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._overflow = overflow
        self._clock = clock
        self.after_fork()

    def after_fork(self) -> None:
        """Be empty, with fresh locks: those of the parent may be held by threads that do not exist in a child."""
        self._lock = threading.Lock()  # guards everything below, but for popleft from the run in hand
        # Not a condition: its wait() lets go of the lock and takes it again in steps of Python, and a Ctrl-C between
        # them would leave the lock in the wrong hands. The consumer may be a user's main thread; a producer never is.
        self._waker: Inbox[bool] = Inbox()
        self._awaited = False  # whether the consumer waits, or is about to, for the waker
        self._room = threading.Condition(self._lock)
        self._queue: deque[_Chunk | Notice] = deque()
        self._hand = _Chunk(deque(), [])
        self._held: deque[_Chunk | Notice] | None = None
        self._queued_events = 0  # events in _queue and _held
        self._queued_bytes = 0
        self._received = 0
        self._blocked = 0  # events of batches that wait for room; not among the received yet
        self._dropped: Counter[str] = Counter()
        self._high_water = 0
        self._in_a_hurry = False
        self._nudged = False
        self._reports = 0
        self.closed: bool = False
        self.abandoned = False

    # The producing side

    def put(self, events: Sequence[Event], sizes: Sequence[int], *, through_hold: bool = False) -> int:
        """Add a batch; under ``"block"`` wait for room.

        Args:
            events: The events, in order.
            sizes: Bytes of each event's message.
            through_hold: Whether the batch passes a `hold` and waits for no room, as the backfill does: while events
                are held back, nobody could make room.

        Returns:
            How many events were dropped for it.
        """
        if not events:
            return 0
        with self._lock:
            if self._overflow == "drop_oldest" and not self.closed:
                self._append(events, sizes, through_hold=through_hold)
                dropped = self._drop_oldest()
            else:
                dropped = self._append_fitting(events, sizes, through_hold=through_hold)
            self._note_high_water()
            return dropped

    def pass_by(self, count: int) -> None:
        """Count events that nobody would hear as received and delivered, without waking the consumer for them."""
        with self._lock:
            self._received += count

    def tell(self, notice: Notice, *, through_hold: bool = False) -> None:
        """Add a notice, behind everything that was put before; with ``through_hold`` before what is held."""
        with self._lock:
            (self._queue if through_hold or self._held is None else self._held).append(notice)
            self._wake()

    def report(self, notice: Notice) -> None:
        """Add a notice about an error, unless very many of them wait already: a flood must not eat the memory."""
        with self._lock:
            if self._reports < MAX_REPORTS:
                self._reports += 1
                (self._queue if self._held is None else self._held).append(notice._replace(is_report=True))
                self._wake()

    def nudge(self) -> None:
        """Wake the consumer, which then finds that `take` returns nothing."""
        with self._lock:
            self._nudged = True
            self._wake()

    def hurry(self, on: bool) -> None:
        """While on, ``"block"`` does not wait: the rest of one batch goes over the bound, and its reader can end."""
        with self._lock:
            self._in_a_hurry = on
            self._room.notify_all()

    def hold(self) -> None:
        """Keep what comes from the consumer, until `release`; it counts as waiting. Nothing once closed."""
        with self._lock:
            if self._held is None and not self.closed:
                self._held = deque()

    def release(self) -> None:
        """End a `hold`: what was held follows what was put through it."""
        with self._lock:
            if self._held is not None:
                self._queue.extend(self._held)
                self._held = None
                self._wake()

    def close(self, reason: str = "closed") -> int:
        """Discard all waiting events, and those that come; notices stay and are still accepted.

        Returns:
            How many events were discarded, without those that wait for room: of them `put` tells.
        """
        with self._lock:
            self.closed = True
            # Counted here, not by those who wait and wake up later: then nobody may look at this mailbox any more.
            blocked, self._blocked = self._blocked, 0
            self._received += blocked
            self._dropped[reason] += blocked
            count = self._discard(self._hand.events)
            for line in (self._queue, self._held or ()):
                for chunk in line:
                    if isinstance(chunk, _Chunk):
                        count += self._discard(chunk.events)
            if self._held is not None:
                self._queue.extend(self._held)
                self._held = None
            self._queued_events = self._queued_bytes = 0
            self._dropped[reason] += count
            self._wake()
            self._room.notify_all()
            return count

    # The consuming side

    def take(self, timeout: float | None = None) -> Run | Notice | None:
        """Wait for the next run of events, or the next notice.

        The caller pops events from the left of the run, and calls again when it is empty. Another thread may shorten
        the run under its hands.

        Args:
            timeout: Seconds; ``None`` waits for as long as it takes.

        Returns:
            A run, a notice, or ``None`` after `nudge` or when the time is up.
        """
        deadline = None if timeout is None else self._clock.monotonic() + timeout
        with self._lock:
            self._hand = _Chunk(deque(), [])
            self._room.notify()
        while True:
            with self._lock:
                self._awaited = False
                while self._queue:
                    chunk = self._queue.popleft()
                    if isinstance(chunk, Notice):
                        self._reports -= chunk.is_report
                        return chunk
                    if chunk.events:
                        self._queued_events -= len(chunk.events)
                        self._queued_bytes -= chunk.waiting_bytes()
                        self._hand = chunk
                        return chunk.events
                if self._nudged:
                    self._nudged = False
                    return None
                left = None if deadline is None else deadline - self._clock.monotonic()
                if left is not None and left <= 0:
                    return None
                self._awaited = True
            # A wake-up that nobody waits for any more, after a time-out, is found here once, and does no harm.
            self._clock.get(self._waker, left)

    # Both

    @property
    def has_room(self) -> bool:
        """Whether a `put` would not have to wait."""
        with self._lock:
            return self._overflow != "block" or self._fitting((0,), 0) > 0

    def metrics(self) -> LaneMetrics:
        """The counters, consistent with each other."""
        with self._lock:
            waiting = self._waiting()
            dropped = {reason: count for reason, count in self._dropped.items() if count}
            return LaneMetrics(
                name=self.name,
                received=self._received,
                delivered=self._received - waiting - sum(dropped.values()),
                dropped=FrozenMapping(dropped),
                waiting=waiting,
                high_water=self._high_water,
            )

    # Under the lock

    def _wake(self) -> None:
        if self._awaited:
            self._awaited = False
            self._waker.post(True)

    def _append(self, events: Sequence[Event], sizes: Sequence[int], *, through_hold: bool) -> None:
        if not events:
            return
        line = self._queue if through_hold or self._held is None else self._held
        line.append(_Chunk(deque(events), list(sizes)))
        self._queued_events += len(events)
        self._queued_bytes += sum(sizes)
        self._received += len(events)
        self._wake()

    def _append_fitting(self, events: Sequence[Event], sizes: Sequence[int], *, through_hold: bool) -> int:
        """Append as much as has room, under ``"block"`` all in the end; how many had to be dropped."""
        start = 0
        while start < len(events) and not self.closed and not self.abandoned:
            waits = not (through_hold and self._overflow == "block")
            end = start + self._fitting(sizes, start) if waits else len(events)
            self._append(events[start:end], sizes[start:end], through_hold=through_hold)
            if end == len(events):
                return 0
            start = end
            if self._overflow == "drop_newest":
                break
            if self._wait_for_room(len(events) - start):
                return len(events) - start
        rest = len(events) - start
        self._received += rest
        self._dropped["closed" if self.closed else "cancelled" if self.abandoned else "drop_newest"] += rest
        return rest

    def _wait_for_room(self, count: int) -> bool:
        """Wait until it is worth another look; whether `close` came, which has counted those that wait."""
        self._note_high_water()
        self._blocked += count
        try:
            self._clock.wait(self._room, ABANDONED_CHECK)
        finally:
            if not self.closed:
                self._blocked -= count
        return self.closed

    def _waiting(self) -> int:
        return self._queued_events + len(self._hand.events)

    def _note_high_water(self) -> None:
        self._high_water = max(self._high_water, self._waiting())

    def _fitting(self, sizes: Sequence[int], start: int) -> int:
        """How many of the events from ``start`` on have room. One always has room in an empty mailbox."""
        if self._in_a_hurry and self._overflow == "block":
            return len(sizes) - start
        waiting = self._waiting()
        count = min(self._max_events - waiting, len(sizes) - start)
        if count <= 0:
            return 0
        free = self._max_bytes - self._queued_bytes - self._hand.waiting_bytes()
        fitting = bisect_right(list(accumulate(sizes[start : start + count])), free)
        return fitting or (1 if waiting == 0 else 0)

    def _drop_oldest(self) -> int:
        """Drop until what waits is within the bounds; how many that took."""
        dropped = 0
        while True:
            # The consumer may take from its hand at any moment. So what is decided here is carried out on the hand
            # alone, or, where that was empty and stays so, on the queue alone; and then looked at again.
            in_hand = len(self._hand.events)
            waiting = self._queued_events + in_hand
            too_many = waiting - self._max_events
            if too_many <= 0:
                heavy = self._queued_bytes > self._max_bytes - sum(self._hand.sizes) and (
                    self._queued_bytes + self._hand.waiting_bytes() > self._max_bytes
                )
                if not heavy or waiting == 1:
                    break
                too_many = 1
            dropped += self._drop_in_hand(too_many) if in_hand else self._drop_queued(too_many)
        if dropped:
            self._dropped["drop_oldest"] += dropped
        return dropped

    def _drop_in_hand(self, count: int) -> int:
        """Drop up to ``count`` of the oldest events from the consumer's hand; fewer where the consumer is quicker."""
        for dropped in range(count):
            try:
                self._hand.events.popleft()  # races with the consumer's popleft; each event goes to one of the two
            except IndexError:
                return dropped
        return count

    def _drop_queued(self, count: int) -> int:
        """Drop up to ``count`` of the oldest events from the queue."""
        dropped = 0
        for line in (self._queue, self._held or deque()):
            passed: list[Notice] = []
            while dropped < count and line:
                chunk = line[0]
                if isinstance(chunk, Notice):
                    passed.append(chunk)
                    line.popleft()
                    continue
                for _ in range(min(count - dropped, len(chunk.events))):
                    self._queued_bytes -= chunk.sizes[-len(chunk.events)]
                    chunk.events.popleft()
                    self._queued_events -= 1
                    dropped += 1
                if not chunk.events:
                    line.popleft()
            line.extendleft(reversed(passed))
        return dropped

    @staticmethod
    def _discard(events: Run) -> int:
        count = 0
        try:
            while True:
                events.popleft()
                count += 1
        except IndexError:
            return count
