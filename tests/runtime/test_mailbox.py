"""The mailbox: one order for events and notices, three policies, and counts that add up at every step.

``tests/stateful/test_mailbox.py`` calls all of it in any order, against a model.
"""

from __future__ import annotations

import contextlib
import random
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from realtime_client._runtime.clock import Clock, Inbox
from realtime_client._runtime.mailbox import ABANDONED_CHECK, MAX_REPORTS, Mailbox, Notice, Run
from realtime_client.events import Event, UnknownEvent
from realtime_client.testing import FakeClock

PATIENCE = 30.0
POLICIES = ("drop_oldest", "drop_newest", "block")


def event(number: object) -> Event:
    return UnknownEvent(number)


def number(one: Event) -> Any:
    assert isinstance(one, UnknownEvent)
    return one.data


def make(
    overflow: str = "drop_oldest", *, max_events: int = 1000, max_bytes: int = 10**9, clock: Clock | None = None
) -> Mailbox:
    return Mailbox("m", max_events=max_events, max_bytes=max_bytes, overflow=overflow, clock=clock or Clock())


def put(mailbox: Mailbox, *numbers: object, size: int = 1, through_hold: bool = False) -> int:
    return mailbox.put([event(n) for n in numbers], [size] * len(numbers), through_hold=through_hold)


def emptied(run: Run) -> list[Any]:
    """What is popped from a run until it is empty."""
    found = []
    while run:
        found.append(number(run.popleft()))
    return found


def rest(mailbox: Mailbox) -> list[Any]:
    """Everything that can be taken without waiting: numbers of events and topics of notices."""
    found: list[Any] = []
    while (item := mailbox.take(0)) is not None:
        if isinstance(item, Notice):
            found.append(item.topic)
        else:
            found.extend(emptied(item))
    return found


def taken_run(mailbox: Mailbox) -> Run:
    item = mailbox.take(0)
    assert isinstance(item, deque)
    return item


class Observed(Clock):
    """The real clock; tells when a thread comes to wait."""

    def __init__(self) -> None:
        self.waits = threading.Semaphore(0)

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        self.waits.release()
        super().wait(condition, timeout)

    def get(self, inbox: Inbox[Any], timeout: float | None) -> Any:
        self.waits.release()
        return super().get(inbox, timeout)

    def somebody_waits(self) -> None:
        assert self.waits.acquire(timeout=PATIENCE)


@pytest.fixture
def elsewhere() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


# One order


def test_events_and_notices_keep_one_order() -> None:
    mailbox = make()
    put(mailbox, 1, 2)
    mailbox.tell(Notice("a"))
    put(mailbox, 3)
    mailbox.report(Notice("b"))
    mailbox.tell(Notice("c"))
    put(mailbox, 4)
    assert rest(mailbox) == [1, 2, "a", 3, "b", "c", 4]


def test_a_batch_is_one_run() -> None:
    mailbox = make()
    put(mailbox, 1, 2, 3)
    run = taken_run(mailbox)
    assert emptied(run) == [1, 2, 3]


def test_an_empty_batch_is_nothing() -> None:
    mailbox = make()
    assert put(mailbox) == 0
    assert mailbox.take(0) is None


def test_what_is_held_follows_what_was_put_through_the_hold() -> None:
    mailbox = make()
    put(mailbox, 1)
    mailbox.hold()
    mailbox.hold()
    put(mailbox, 2)
    mailbox.tell(Notice("held"))
    put(mailbox, 3)
    put(mailbox, "filled", through_hold=True)
    mailbox.tell(Notice("told"), through_hold=True)
    assert rest(mailbox) == [1, "filled", "told"]
    assert mailbox.metrics().waiting == 2
    mailbox.release()
    mailbox.release()
    put(mailbox, 4)
    assert rest(mailbox) == [2, "held", 3, 4]


def test_release_wakes_the_consumer(elsewhere: ThreadPoolExecutor) -> None:
    clock = Observed()
    mailbox = make(clock=clock)
    mailbox.hold()
    put(mailbox, 1)
    taking = elsewhere.submit(mailbox.take)
    clock.somebody_waits()
    mailbox.release()
    item = taking.result(PATIENCE)
    assert item == deque([event(1)])


# Bounds


def test_drop_oldest_drops_exactly_the_oldest() -> None:
    mailbox = make(max_events=3)
    assert put(mailbox, 1, 2) == 0
    mailbox.tell(Notice("a"))
    assert put(mailbox, 3, 4, 5) == 2
    assert rest(mailbox) == ["a", 3, 4, 5]
    assert mailbox.metrics().dropped == {"drop_oldest": 2}


def test_drop_oldest_begins_with_what_the_consumer_has_in_hand() -> None:
    mailbox = make(max_events=3)
    put(mailbox, 1, 2, 3)
    run = taken_run(mailbox)
    run.popleft()
    assert put(mailbox, 4, 5) == 1
    assert emptied(run) == [3]
    assert rest(mailbox) == [4, 5]


def test_drop_oldest_drops_nothing_for_what_the_consumer_takes_meanwhile() -> None:
    mailbox = make(max_events=2)
    put(mailbox, 1)
    run = taken_run(mailbox)

    class Quicker(Run):
        """The consumer takes the event at the very moment in which it is about to be dropped."""

        def popleft(self) -> Event:
            self.clear()
            raise IndexError

    mailbox._hand = mailbox._hand._replace(events=Quicker(run))
    put(mailbox, 2)
    assert put(mailbox, 3) == 0
    assert rest(mailbox) == [2, 3]


def test_drop_newest_keeps_what_waits() -> None:
    mailbox = make("drop_newest", max_events=3)
    put(mailbox, 1, 2)
    assert put(mailbox, 3, 4, 5) == 2
    mailbox.tell(Notice("a"))
    assert put(mailbox, 6) == 1
    assert rest(mailbox) == [1, 2, 3, "a"]
    assert mailbox.metrics().dropped == {"drop_newest": 3}


def test_hurry_is_no_leave_to_overflow_under_drop_newest() -> None:
    mailbox = make("drop_newest", max_events=1)
    mailbox.hurry(True)
    assert put(mailbox, 1, 2) == 1


@pytest.mark.parametrize(("overflow", "kept"), [("drop_oldest", [2, 3]), ("drop_newest", [1, 2])])
def test_bytes_are_bounded_too(overflow: str, kept: list[int]) -> None:
    mailbox = make(overflow, max_bytes=10)
    put(mailbox, 1, 2, size=4)
    assert put(mailbox, 3, size=4) == 1
    assert rest(mailbox) == kept


def test_bytes_in_the_consumers_hand_count() -> None:
    mailbox = make("drop_newest", max_bytes=10)
    put(mailbox, 1, 2, size=4)
    run = taken_run(mailbox)
    assert put(mailbox, 3, size=4) == 1
    run.popleft()
    assert put(mailbox, 4, size=4) == 0


@pytest.mark.parametrize("overflow", POLICIES)
def test_one_oversize_event_alone_passes(overflow: str) -> None:
    mailbox = make(overflow, max_bytes=10)
    assert put(mailbox, 1, size=99) == 0
    assert rest(mailbox) == [1]


def test_an_oversize_event_drives_out_all_older_ones() -> None:
    mailbox = make(max_bytes=10)
    put(mailbox, 1, 2, size=1)
    taken_run(mailbox)
    put(mailbox, 3, size=1)
    assert put(mailbox, 4, size=99) == 3
    assert rest(mailbox) == [4]


def test_notices_pass_every_bound() -> None:
    mailbox = make(max_events=1, max_bytes=1)
    for n in range(5000):
        put(mailbox, n)
        mailbox.tell(Notice(f"n{n}"))
    found = rest(mailbox)
    assert [one for one in found if isinstance(one, str)] == [f"n{n}" for n in range(5000)]
    assert found[-2:] == [4999, "n4999"]


def test_reports_are_bounded() -> None:
    mailbox = make()
    for n in range(MAX_REPORTS + 5):
        mailbox.report(Notice(n))
    mailbox.tell(Notice("told"))
    first = mailbox.take(0)
    assert isinstance(first, Notice)
    assert first.is_report
    mailbox.report(Notice("there is room again"))
    mailbox.report(Notice("there is none"))
    assert rest(mailbox) == [*range(1, MAX_REPORTS), "told", "there is room again"]


def test_high_water_is_the_most_that_ever_waited() -> None:
    mailbox = make(max_events=4)
    put(mailbox, 1, 2, 3)
    rest(mailbox)
    put(mailbox, 4)
    assert mailbox.metrics().high_water == 3
    put(mailbox, *range(10))
    assert mailbox.metrics().high_water == 4


# block: where time stands still, nobody looks again by itself


def test_block_waits_until_the_consumer_takes(elsewhere: ThreadPoolExecutor) -> None:
    clock = FakeClock()
    mailbox = make("block", max_events=2, clock=clock)
    putting = elsewhere.submit(put, mailbox, 1, 2, 3)
    clock.wait_for_waiters()
    assert mailbox.metrics().waiting == 2
    assert emptied(taken_run(mailbox)) == [1, 2]
    found = elsewhere.submit(mailbox.take).result(PATIENCE)
    assert isinstance(found, deque)
    assert emptied(found) == [3]
    assert putting.result(PATIENCE) == 0
    metrics = mailbox.metrics()
    assert (metrics.received, metrics.delivered, metrics.high_water, dict(metrics.dropped)) == (3, 3, 2, {})


def test_block_does_not_wait_in_a_hurry(elsewhere: ThreadPoolExecutor) -> None:
    clock = FakeClock()
    mailbox = make("block", max_events=1, clock=clock)
    putting = elsewhere.submit(put, mailbox, 1, 2, 3)
    clock.wait_for_waiters()
    mailbox.hurry(True)
    assert putting.result(PATIENCE) == 0
    assert rest(mailbox) == [1, 2, 3]
    mailbox.hurry(False)
    putting = elsewhere.submit(put, mailbox, 4, 5)
    clock.wait_for_waiters()
    mailbox.close()
    putting.result(PATIENCE)


def test_block_is_released_by_close(elsewhere: ThreadPoolExecutor) -> None:
    clock = FakeClock()
    mailbox = make("block", max_events=1, clock=clock)
    putting = [elsewhere.submit(put, mailbox, 1, 2) for _ in range(3)]
    clock.wait_for_waiters(3)
    mailbox.close()
    for one in putting:
        one.result(PATIENCE)
    metrics = mailbox.metrics()
    assert (metrics.received, dict(metrics.dropped), metrics.waiting) == (6, {"closed": 6}, 0)


def test_block_is_released_when_the_consumer_has_gone_without_a_word(elsewhere: ThreadPoolExecutor) -> None:
    clock = FakeClock()
    mailbox = make("block", max_events=1, clock=clock)
    putting = elsewhere.submit(put, mailbox, 1, 2)
    clock.wait_for_waiters()
    mailbox.abandoned = True
    clock.advance(ABANDONED_CHECK)
    assert putting.result(PATIENCE) == 1
    assert mailbox.metrics().dropped == {"cancelled": 1}


def test_block_does_not_wait_with_what_is_put_through_a_hold() -> None:
    mailbox = make("block", max_events=1)
    mailbox.hold()
    put(mailbox, 3)
    assert put(mailbox, 1, 2, through_hold=True) == 0
    mailbox.release()
    assert rest(mailbox) == [1, 2, 3]


def test_block_waits_for_bytes(elsewhere: ThreadPoolExecutor) -> None:
    clock = FakeClock()
    mailbox = make("block", max_bytes=10, clock=clock)
    putting = elsewhere.submit(put, mailbox, 1, 2, size=6)
    clock.wait_for_waiters()
    assert emptied(taken_run(mailbox)) == [1]
    found = elsewhere.submit(mailbox.take).result(PATIENCE)
    assert isinstance(found, deque)
    assert emptied(found) == [2]
    putting.result(PATIENCE)


@pytest.mark.parametrize("overflow", POLICIES)
def test_has_room_unless_a_put_would_have_to_wait(overflow: str) -> None:
    mailbox = make(overflow, max_events=2)
    put(mailbox, 1)
    found = [mailbox.has_room]
    put(mailbox, 2)
    found.append(mailbox.has_room)
    run = taken_run(mailbox)
    found.append(mailbox.has_room)
    run.popleft()
    found.append(mailbox.has_room)
    waits = overflow == "block"
    assert found == [True, not waits, not waits, True]


# close


def test_close_discards_events_wherever_they_wait_and_keeps_notices() -> None:
    mailbox = make()
    put(mailbox, 1, 2)
    run = taken_run(mailbox)
    run.popleft()
    put(mailbox, 3)
    mailbox.tell(Notice("a"))
    mailbox.hold()
    put(mailbox, 4)
    mailbox.tell(Notice("b"))
    assert mailbox.close() == 3
    assert mailbox.close() == 0
    assert put(mailbox, 5, 6) == 2
    mailbox.tell(Notice("c"))
    assert not run
    assert rest(mailbox) == ["a", "b", "c"]
    metrics = mailbox.metrics()
    assert (metrics.received, metrics.delivered, dict(metrics.dropped)) == (6, 1, {"closed": 5})


def test_close_counts_under_the_reason_given() -> None:
    mailbox = make()
    put(mailbox, 1)
    mailbox.close("cancelled")
    assert mailbox.metrics().dropped == {"cancelled": 1}


def test_a_closed_mailbox_holds_nothing_back() -> None:
    mailbox = make()
    mailbox.close()
    mailbox.hold()
    mailbox.tell(Notice("the end"))
    assert rest(mailbox) == ["the end"]


# take


@pytest.mark.parametrize(
    ("wake", "found"),
    [
        (lambda mailbox: put(mailbox, 1), deque([event(1)])),
        (lambda mailbox: mailbox.tell(Notice("a")), Notice("a")),
        (lambda mailbox: mailbox.report(Notice("a")), Notice("a", is_report=True)),
        (lambda mailbox: mailbox.nudge(), None),
    ],
    ids=["put", "tell", "report", "nudge"],
)
def test_take_is_woken(elsewhere: ThreadPoolExecutor, wake: Callable[[Mailbox], object], found: object) -> None:
    clock = Observed()
    mailbox = make(clock=clock)
    taking = elsewhere.submit(mailbox.take)
    clock.somebody_waits()
    wake(mailbox)
    assert taking.result(PATIENCE) == found


def test_a_nudge_is_for_one_take_and_comes_last() -> None:
    mailbox = make(clock=FakeClock())
    put(mailbox, 1)
    mailbox.nudge()
    mailbox.nudge()
    assert emptied(taken_run(mailbox)) == [1]
    assert mailbox.take() is None
    assert not mailbox._nudged


def test_what_passes_by_is_counted_and_wakes_nobody(elsewhere: ThreadPoolExecutor) -> None:
    clock = FakeClock()
    mailbox = make(clock=clock)
    taking = elsewhere.submit(mailbox.take, 5)
    clock.wait_for_waiters()
    mailbox.pass_by(3)
    clock.advance(5)
    assert taking.result(PATIENCE) is None
    metrics = mailbox.metrics()
    assert (metrics.received, metrics.delivered, metrics.waiting, metrics.high_water) == (3, 3, 0, 0)


def test_take_is_over_when_the_time_is_up(elsewhere: ThreadPoolExecutor) -> None:
    clock = FakeClock()
    mailbox = make(clock=clock)
    taking = elsewhere.submit(mailbox.take, 5)
    clock.wait_for_waiters()
    clock.advance(4.9)
    clock.wait_for_waiters()
    assert not taking.done()
    clock.advance(0.1)
    assert taking.result(PATIENCE) is None


def test_the_time_is_up_no_later_for_a_wake_up_without_news(elsewhere: ThreadPoolExecutor) -> None:
    clock = FakeClock()
    mailbox = make(clock=clock)
    taking = elsewhere.submit(mailbox.take, 5)
    clock.wait_for_waiters()
    mailbox.hold()
    clock.advance(3)
    put(mailbox, 1)
    clock.wait_for_waiters()
    clock.advance(2)
    assert taking.result(PATIENCE) is None


# Real threads


@pytest.fixture
def frequent_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("frequent_switches")
@pytest.mark.parametrize("overflow", POLICIES)
def test_nothing_is_lost_or_doubled_between_threads(overflow: str, elsewhere: ThreadPoolExecutor) -> None:
    producers, each = 2, 4000
    mailbox = make(overflow, max_events=50, max_bytes=200)

    def produce(name: int) -> None:
        dice = random.Random(name)
        n = 0
        while n < each:
            batch = list(range(n, min(n + dice.randint(1, 30), each)))
            n += len(batch)
            mailbox.put([event((name, k)) for k in batch], [dice.randint(1, 10) for _ in batch])
            mailbox.tell(Notice(name, n))

    def consume() -> Iterator[Any]:
        while True:
            item = mailbox.take()
            if isinstance(item, Notice):
                if item.topic == "end":
                    return
                yield item
            elif item is not None:
                with contextlib.suppress(IndexError):  # the policy may empty the run at any moment
                    while True:
                        yield number(item.popleft())
            metrics = mailbox.metrics()
            assert metrics.received == metrics.delivered + sum(metrics.dropped.values()) + metrics.waiting
            assert metrics.waiting <= 50

    def consume_all() -> list[Any]:
        try:
            return list(consume())
        finally:
            mailbox.close()  # if the consumer fails, nobody waits for it

    consuming = elsewhere.submit(consume_all)
    for one in [elsewhere.submit(produce, name) for name in range(producers)]:
        one.result(PATIENCE)
    mailbox.tell(Notice("end"))
    found = consuming.result(PATIENCE)

    events = [one for one in found if not isinstance(one, Notice)]
    metrics = mailbox.metrics()
    assert metrics.received == producers * each
    assert metrics.waiting == 0
    assert metrics.delivered == len(events) == producers * each - sum(metrics.dropped.values())
    assert len(set(events)) == len(events)
    assert set(metrics.dropped) == ({overflow} if overflow != "block" else set())
    for name in range(producers):
        numbers = [n for producer, n in events if producer == name]
        assert numbers == sorted(numbers)
        last = -1
        for one in found:  # a notice comes behind all that its producer had put before, and before what it put then
            if isinstance(one, Notice) and one.topic == name:
                assert last < one.argument
            elif not isinstance(one, Notice) and one[0] == name:
                last = one[1]
        told = [one.argument for one in found if isinstance(one, Notice) and one.topic == name]
        assert told == sorted(told)
        assert told[-1] == each
