"""A producer that waits for room: what happens meanwhile lets it go on, neither sooner nor later, and loses nothing.

The policies by themselves, where nobody waits, are held against a model in ``tests/runtime/test_mailbox.py``.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from realtime_client._runtime.mailbox import ABANDONED_CHECK, Mailbox, Notice, Run
from realtime_client.events import UnknownEvent
from realtime_client.testing import FakeClock
from tests.client.recording import PATIENCE, Task
from tests.stateful.effort import effort


class WatchedClock(FakeClock):
    """Tells when the producer comes to wait; whoever then gets the mailbox's lock finds it waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.signals: queue.SimpleQueue[str] = queue.SimpleQueue()

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        self.signals.put("waits")
        super().wait(condition, timeout)


class WaitingProducer(RuleBasedStateMachine):
    """A mailbox under ``"block"``: one thread puts, this one does everything else."""

    @initialize(max_events=st.integers(1, 4))
    def begin(self, max_events: int) -> None:
        self.clock = WatchedClock()
        self.mailbox = Mailbox("m", max_events=max_events, max_bytes=10**9, overflow="block", clock=self.clock)
        self.max_events = max_events
        self.numbers = itertools.count()
        self.run = Run()
        self.hand: list[int] = []
        self.queue: list[int | str] = []
        self.held: list[int | str] | None = None
        self.left: list[int] = []  # what the producer has not yet got in
        self.putting: Task | None = None
        self.dropped: Counter[str] = Counter()
        self.received = self.delivered = 0
        self.closed = self.hurrying = self.abandoned = False

    def waiting(self) -> int:
        lines = [*self.hand, *self.queue, *(self.held or [])]
        return sum(isinstance(item, int) for item in lines)

    def the_producer_looks(self) -> None:
        """The producer has begun, or was woken: it goes on as far as it can, and that is waited for."""
        while self.left and not (self.closed or self.abandoned):
            if not self.hurrying and self.waiting() >= self.max_events:
                break
            (self.queue if self.held is None else self.held).append(self.left.pop(0))
            self.received += 1
        if self.left and (self.closed or self.abandoned):
            self.dropped["closed" if self.closed else "cancelled"] += len(self.left)
            self.received += len(self.left)
            self.left = []
        assert self.putting is not None
        assert self.clock.signals.get(timeout=PATIENCE) == ("waits" if self.left else "done")
        if not self.left:
            self.putting.result()
            self.putting = None

    @precondition(lambda self: self.putting is None)
    @rule(count=st.integers(1, 7))
    def put(self, count: int) -> None:
        self.left = [next(self.numbers) for _ in range(count)]
        events = [UnknownEvent(number) for number in self.left]

        def produce() -> None:
            self.mailbox.put(events, [1] * count)
            self.clock.signals.put("done")

        self.putting = Task(produce)
        self.the_producer_looks()

    @precondition(lambda self: not self.hand)
    @rule()
    def take(self) -> None:
        expected = list(self.queue)
        item = self.mailbox.take(0)
        if self.putting is not None:
            self.the_producer_looks()
            expected = list(self.queue)
        if item is None:
            return  # what the producer has just put may have come too late for this take
        if isinstance(item, Notice):
            assert self.queue.pop(0) == item.topic
            return
        self.run, self.hand, self.queue = item, [n for n in expected[: len(item)] if isinstance(n, int)], expected
        del self.queue[: len(item)]
        assert item
        assert len(self.hand) == len(item), "a run goes beyond a notice"

    @precondition(lambda self: self.hand)
    @rule()
    def pop(self) -> None:
        event = self.run.popleft()
        assert isinstance(event, UnknownEvent)
        assert event.data == self.hand.pop(0)
        self.delivered += 1

    @rule()
    def tell(self) -> None:
        topic = f"notice {next(self.numbers)}"
        (self.queue if self.held is None else self.held).append(topic)
        self.mailbox.tell(Notice(topic))

    @precondition(lambda self: self.held is None)
    @rule()
    def hold(self) -> None:
        if not self.closed:
            self.held = []
        self.mailbox.hold()

    @precondition(lambda self: self.held is not None)
    @rule()
    def release(self) -> None:
        self.queue += self.held or []
        self.held = None
        self.mailbox.release()

    @rule(on=st.booleans())
    def hurry(self, on: bool) -> None:
        self.hurrying = on
        self.mailbox.hurry(on)
        if self.putting is not None:
            self.the_producer_looks()

    @precondition(lambda self: self.putting is not None)
    @rule()
    def time_passes(self) -> None:
        self.clock.wait_for_waiters()
        self.clock.advance(ABANDONED_CHECK)
        self.the_producer_looks()

    @precondition(lambda self: self.received > 6)
    @rule()
    def the_consumer_is_gone(self) -> None:
        """It says no word: the producer finds out when it looks again."""
        self.abandoned = self.mailbox.abandoned = True
        if self.putting is not None:
            self.time_passes()

    @precondition(lambda self: self.received > 6)
    @rule()
    def close(self) -> None:
        count = self.waiting()
        self.closed = True
        self.dropped["closed"] += count
        self.hand = []
        self.queue = [item for item in [*self.queue, *(self.held or [])] if isinstance(item, str)]
        self.held = None
        assert self.mailbox.close() == count
        if self.putting is not None:
            self.the_producer_looks()

    @invariant()
    def same(self) -> None:
        metrics = self.mailbox.metrics()
        assert (metrics.received, metrics.delivered, metrics.waiting) == (self.received, self.delivered, self.waiting())
        assert metrics.received == metrics.delivered + sum(metrics.dropped.values()) + metrics.waiting
        assert metrics.dropped == dict(+self.dropped)

    def teardown(self) -> None:
        self.mailbox.close()
        if self.putting is not None:
            self.putting.result()


WaitingProducer.TestCase.settings = effort(60, 40)
TestWaitingProducer = WaitingProducer.TestCase
