"""The mailbox: its three policies where nobody waits, and a producer that waits for room, each against a simple model.

What happens while a producer waits lets it go on, neither sooner nor later, and loses nothing.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from realtime_client._runtime.clock import Clock, Inbox
from realtime_client._runtime.mailbox import ABANDONED_CHECK, Mailbox, Notice, Run
from realtime_client.testing import FakeClock
from tests.client.recording import PATIENCE, Task
from tests.runtime.test_mailbox import event, make, number
from tests.stateful.effort import effort

Item = tuple[int, int] | str
"""An event as its number and size, or the topic of a notice."""


def events_in(line: Sequence[Item]) -> list[tuple[int, int]]:
    return [item for item in line if not isinstance(item, str)]


class HeldAndHurried(RuleBasedStateMachine):
    """What a model of a mailbox knows whatever its policy: what is in hand, what waits, and what is held back."""

    def begin_with(self, mailbox: Mailbox) -> None:
        self.mailbox = mailbox
        self.numbers = itertools.count()
        self.run = Run()
        self.hand: list[tuple[int, int]] = []
        self.queue: list[Item] = []
        self.held: list[Item] | None = None
        self.dropped: Counter[str] = Counter()
        self.received = self.delivered = 0
        self.closed = self.hurrying = False

    def waiting(self) -> list[tuple[int, int]]:
        return [*self.hand, *events_in(self.queue), *events_in(self.held or [])]

    def line(self, through_hold: bool = False) -> list[Item]:
        return self.queue if through_hold or self.held is None else self.held

    def room_is_looked_for(self) -> None:
        """Whoever waits for room has been woken."""

    def taken(self, item: Run | Notice) -> None:
        if isinstance(item, Notice):
            assert self.queue.pop(0) == item.topic
        else:
            assert item
            self.run = item
            expected, self.queue = self.queue[: len(item)], self.queue[len(item) :]
            self.hand = events_in(expected)
            assert len(self.hand) == len(expected), "a run goes beyond a notice"

    @precondition(lambda self: self.hand)
    @rule()
    def pop(self) -> None:
        assert number(self.run.popleft()) == self.hand.pop(0)[0]
        self.delivered += 1

    @rule(through_hold=st.booleans())
    def tell(self, through_hold: bool) -> None:
        topic = f"notice {next(self.numbers)}"
        self.line(through_hold).append(topic)
        self.mailbox.tell(Notice(topic), through_hold=through_hold)

    @rule()
    def hold(self) -> None:
        if self.held is None and not self.closed:
            self.held = []
        self.mailbox.hold()

    @rule()
    def release(self) -> None:
        self.queue += self.held or []
        self.held = None
        self.mailbox.release()

    @rule(on=st.booleans())
    def hurry(self, on: bool) -> None:
        self.hurrying = on
        self.mailbox.hurry(on)
        self.room_is_looked_for()

    @precondition(lambda self: self.received > 8)
    @rule()
    def close(self) -> None:
        self.closed = True
        count = len(self.waiting())
        self.dropped["closed"] += count
        self.hand = []
        self.queue = [item for item in [*self.queue, *(self.held or [])] if isinstance(item, str)]
        self.held = None
        assert self.mailbox.close() == count
        self.room_is_looked_for()

    @invariant()
    def same(self) -> None:
        metrics = self.mailbox.metrics()
        assert metrics.received == metrics.delivered + sum(metrics.dropped.values()) + metrics.waiting
        assert metrics.received == self.received
        assert metrics.delivered == self.delivered
        assert metrics.dropped == dict(+self.dropped)
        assert metrics.waiting == len(self.waiting())
        assert [number(one) for one in self.run] == [n for n, _ in self.hand]


# Where nobody waits


class WouldWait(Exception):
    pass


class NeverWaits(Clock):
    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        raise WouldWait

    def get(self, inbox: Inbox[Any], timeout: float | None) -> Any:
        raise WouldWait


class DropOldestMailbox(HeldAndHurried):
    overflow = "drop_oldest"

    @initialize(max_events=st.integers(1, 5), max_bytes=st.integers(1, 9))
    def begin(self, max_events: int, max_bytes: int) -> None:
        self.begin_with(make(self.overflow, max_events=max_events, max_bytes=max_bytes, clock=NeverWaits()))
        self.max_events, self.max_bytes = max_events, max_bytes
        self.high_water = 0

    def weight(self) -> int:
        return sum(size for _, size in self.waiting())

    @rule(sizes=st.lists(st.integers(0, 4), max_size=4), through_hold=st.booleans())
    def put(self, sizes: list[int], through_hold: bool) -> None:
        batch = [(next(self.numbers), size) for size in sizes]
        before = self.dropped.total()
        waits = False
        for one in batch:
            self.received += 1
            if self.closed:
                self.dropped["closed"] += 1
            elif self.unbounded(through_hold) or self.fits(one):
                self.line(through_hold).append(one)
            elif self.overflow == "block":
                self.received -= 1
                waits = True
                break
            else:
                rest = batch[batch.index(one) :]
                self.received += len(rest) - 1
                self.dropped["drop_newest"] += len(rest)
                break
        while self.overflow == "drop_oldest" and self.too_much():
            self.drop_the_oldest()
        self.high_water = max(self.high_water, len(self.waiting()))
        events, given = [event(n) for n, _ in batch], [size for _, size in batch]
        try:
            dropped = self.mailbox.put(events, given, through_hold=through_hold)
        except WouldWait:
            assert waits
        else:
            assert not waits
            assert dropped == self.dropped.total() - before

    def unbounded(self, through_hold: bool) -> bool:
        return self.overflow == "drop_oldest" or (self.overflow == "block" and (self.hurrying or through_hold))

    def fits(self, one: tuple[int, int]) -> bool:
        count = len(self.waiting())
        return count == 0 or (count < self.max_events and self.weight() + one[1] <= self.max_bytes)

    def too_much(self) -> bool:
        count = len(self.waiting())
        return count > self.max_events or (count > 1 and self.weight() > self.max_bytes)

    def drop_the_oldest(self) -> None:
        oldest = self.waiting()[0]
        for line in (self.hand, self.queue, self.held or []):
            if oldest in line:
                line.remove(oldest)
        self.dropped["drop_oldest"] += 1

    @rule()
    def report(self) -> None:
        topic = f"notice {next(self.numbers)}"
        self.line().append(topic)
        self.mailbox.report(Notice(topic))

    @precondition(lambda self: not self.hand)
    @rule()
    def take(self) -> None:
        try:
            item = self.mailbox.take()
        except WouldWait:
            assert self.queue == []
        else:
            assert item is not None
            self.taken(item)

    @invariant()
    def high_water_mark(self) -> None:
        assert self.mailbox.metrics().high_water == self.high_water


class DropNewestMailbox(DropOldestMailbox):
    overflow = "drop_newest"


class BlockingMailbox(DropOldestMailbox):
    overflow = "block"


for machine in (DropOldestMailbox, DropNewestMailbox, BlockingMailbox):
    machine.TestCase.settings = effort(80, 40)
TestDropOldestMailbox = DropOldestMailbox.TestCase
TestDropNewestMailbox = DropNewestMailbox.TestCase
TestBlockingMailbox = BlockingMailbox.TestCase


# A producer that waits


class WatchedClock(FakeClock):
    """Tells when the producer comes to wait; whoever then gets the mailbox's lock finds it waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.signals: queue.SimpleQueue[str] = queue.SimpleQueue()

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        self.signals.put("waits")
        super().wait(condition, timeout)


class WaitingProducer(HeldAndHurried):
    """A mailbox under ``"block"``: one thread puts, this one does everything else."""

    @initialize(max_events=st.integers(1, 4))
    def begin(self, max_events: int) -> None:
        self.clock = WatchedClock()
        self.begin_with(make("block", max_events=max_events, clock=self.clock))
        self.max_events = max_events
        self.left: list[int] = []  # what the producer has not yet got in
        self.putting: Task | None = None
        self.abandoned = False

    def room_is_looked_for(self) -> None:
        """The producer goes on as far as it can, and that is waited for."""
        if self.putting is None:
            return
        while self.left and not (self.closed or self.abandoned):
            if not self.hurrying and len(self.waiting()) >= self.max_events:
                break
            self.line().append((self.left.pop(0), 1))
            self.received += 1
        if self.left and (self.closed or self.abandoned):
            self.dropped["closed" if self.closed else "cancelled"] += len(self.left)
            self.received += len(self.left)
            self.left = []
        assert self.clock.signals.get(timeout=PATIENCE) == ("waits" if self.left else "done")
        if not self.left:
            self.putting.result()
            self.putting = None

    @precondition(lambda self: self.putting is None)
    @rule(count=st.integers(1, 7))
    def put(self, count: int) -> None:
        self.left = [next(self.numbers) for _ in range(count)]
        events = [event(n) for n in self.left]

        def produce() -> None:
            self.mailbox.put(events, [1] * count)
            self.clock.signals.put("done")

        self.putting = Task(produce)
        self.room_is_looked_for()

    @precondition(lambda self: not self.hand)
    @rule()
    def take(self) -> None:
        item = self.mailbox.take(0)
        self.room_is_looked_for()
        if item is not None:  # otherwise what the producer has just put may have come too late for this take
            self.taken(item)

    @precondition(lambda self: self.putting is not None)
    @rule()
    def time_passes(self) -> None:
        self.clock.wait_for_waiters()
        self.clock.advance(ABANDONED_CHECK)
        self.room_is_looked_for()

    @precondition(lambda self: self.received > 6)
    @rule()
    def the_consumer_is_gone(self) -> None:
        """It says no word: the producer finds out when it looks again."""
        self.abandoned = self.mailbox.abandoned = True
        if self.putting is not None:
            self.time_passes()

    def teardown(self) -> None:
        self.mailbox.close()
        if self.putting is not None:
            self.putting.result()


WaitingProducer.TestCase.settings = effort(60, 40)
TestWaitingProducer = WaitingProducer.TestCase
