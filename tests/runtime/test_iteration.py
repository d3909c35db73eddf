"""The iterator: what it gives, and everything that ends it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from realtime_client._runtime.hub import SideLane, Topic
from realtime_client._runtime.iteration import EventIterator
from realtime_client._runtime.mailbox import ABANDONED_CHECK, Mailbox, Notice
from realtime_client.errors import ConnectionLost
from realtime_client.events import Event, UnknownEvent
from realtime_client.testing import FakeClock

PATIENCE = 30.0


@pytest.fixture
def elsewhere() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def make_lane(clock: FakeClock, *, max_events: int = 100, overflow: str = "drop_oldest") -> SideLane:
    box = Mailbox("events()", max_events=max_events, max_bytes=10**6, overflow=overflow, clock=clock)
    return SideLane(box, lambda event: True)


@pytest.fixture
def lane(clock: FakeClock) -> SideLane:
    return make_lane(clock)


def iterate(lane: SideLane, timeout: float | None = None, check: Callable[[], None] = lambda: None) -> EventIterator:
    return EventIterator(lane, timeout=timeout, check=check)


def put(lane: SideLane, *numbers: int) -> None:
    lane.offer([UnknownEvent(n) for n in numbers], [1] * len(numbers), through_hold=False)


def numbers(events: Any) -> list[Any]:
    return [event.data for event in events]


def test_it_gives_events_in_order_until_the_client_is_closed(lane: SideLane) -> None:
    put(lane, 1, 2)
    put(lane, 3)
    lane.mailbox.tell(Notice(Topic.END))
    iterator = iterate(lane)
    assert iter(iterator) is iterator
    assert numbers(iterator) == [1, 2, 3]
    assert (iterator.ended, iterator.failure) == (True, None)
    assert list(iterator) == []


def test_it_ends_with_the_reason_when_the_client_gives_up(lane: SideLane) -> None:
    error = ConnectionLost("gone")
    put(lane, 1)
    lane.mailbox.tell(Notice(Topic.FAILED, error))
    iterator = iterate(lane)
    assert numbers(iterator) == [1]
    assert (iterator.ended, iterator.failure) == (True, error)


def test_closing_the_client_discards_what_it_has_not_asked_for(lane: SideLane) -> None:
    put(lane, 1, 2, 3)
    iterator = iterate(lane)
    assert numbers([next(iterator)]) == [1]
    lane.mailbox.close()
    lane.mailbox.tell(Notice(Topic.END))
    assert list(iterator) == []
    assert lane.mailbox.metrics().dropped == {"closed": 2}


def test_it_ends_after_timeout_seconds_without_an_event(
    lane: SideLane, clock: FakeClock, elsewhere: ThreadPoolExecutor
) -> None:
    iterator = iterate(lane, timeout=5)
    for n in (1, 2):
        getting = elsewhere.submit(next, iterator, None)
        clock.wait_for_waiters()
        clock.advance(4)
        put(lane, n)
        assert numbers([getting.result(PATIENCE)]) == [n]
    getting = elsewhere.submit(next, iterator, None)
    clock.wait_for_waiters()
    clock.advance(5)
    assert getting.result(PATIENCE) is None
    assert not iterator.ended
    assert not lane.active
    put(lane, 3)
    assert next(iterator, None) is None


def test_next_within_leaves_it_open_when_the_time_is_up(lane: SideLane) -> None:
    iterator = iterate(lane)
    assert iterator.next_within(0) is None
    assert lane.active
    put(lane, 1)
    assert numbers([iterator.next_within(0)]) == [1]


@pytest.mark.parametrize("end", [EventIterator.close, EventIterator.end])
def test_it_can_be_ended_while_another_thread_waits_in_it(
    lane: SideLane, clock: FakeClock, elsewhere: ThreadPoolExecutor, end: Callable[[EventIterator], None]
) -> None:
    iterator = iterate(lane, timeout=60)
    getting = elsewhere.submit(list[Event], iterator)
    clock.wait_for_waiters()
    end(iterator)
    assert getting.result(PATIENCE) == []


def test_end_says_that_it_ended_and_close_does_not(clock: FakeClock) -> None:
    closed, ended = iterate(make_lane(clock)), iterate(make_lane(clock))
    closed.close()
    ended.end()
    assert (closed.next_within(0), ended.next_within(0)) == (None, None)
    assert (closed.ended, ended.ended) == (False, True)


def test_leaving_it_as_a_context_manager_unsubscribes(lane: SideLane) -> None:
    put(lane, 1, 2)
    with iterate(lane) as iterator:
        assert numbers([next(iterator)]) == [1]
        wanted = [lane.active]
    assert [*wanted, lane.active] == [True, False]
    assert lane.mailbox.metrics().dropped == {"cancelled": 1}
    assert next(iterator, None) is None


def test_dropping_it_unsubscribes(lane: SideLane) -> None:
    iterator = iterate(lane)
    wanted = [lane.active]
    del iterator
    gc.collect()
    assert [*wanted, lane.active] == [True, False]


def test_dropping_it_frees_the_reader_that_waits_for_room_in_it(
    clock: FakeClock, elsewhere: ThreadPoolExecutor
) -> None:
    lane = make_lane(clock, max_events=2, overflow="block")
    iterator = iterate(lane)
    putting = elsewhere.submit(put, lane, 1, 2, 3)
    clock.wait_for_waiters()
    del iterator
    gc.collect()
    clock.advance(ABANDONED_CHECK)
    putting.result(PATIENCE)
    put(lane, 4)


def test_its_buffer_is_bounded_and_the_overflow_counted(clock: FakeClock) -> None:
    lane = make_lane(clock, max_events=2)
    iterator = iterate(lane)
    put(lane, 1, 2, 3)
    lane.mailbox.tell(Notice(Topic.END))
    assert numbers(iterator) == [2, 3]
    assert lane.mailbox.metrics().dropped == {"drop_oldest": 1}


def test_overflow_drops_the_oldest_from_its_hand(clock: FakeClock) -> None:
    lane = make_lane(clock, max_events=3)
    iterator = iterate(lane)
    put(lane, 1, 2, 3)
    assert numbers([next(iterator)]) == [1]
    put(lane, 4, 5)
    lane.mailbox.tell(Notice(Topic.END))
    assert numbers(iterator) == [3, 4, 5]


def test_it_asks_whether_it_may_wait_before_each_wait(lane: SideLane) -> None:
    def refuse() -> None:
        raise RuntimeError("not here")

    iterator = iterate(lane, check=refuse)
    with pytest.raises(RuntimeError, match="not here"):
        next(iterator)
