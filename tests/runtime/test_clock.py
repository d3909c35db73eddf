"""The clocks: the real one, and the one that a test advances."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from realtime_client._runtime.clock import Clock, Inbox
from realtime_client.patience import SteadyQueue
from realtime_client.testing import FakeClock

PATIENCE = 30.0


@pytest.fixture
def elsewhere() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


@pytest.fixture(params=[Clock, FakeClock])
def clock(request: pytest.FixtureRequest) -> Clock:
    clock = request.param()
    assert isinstance(clock, Clock)
    return clock


# Both


def test_an_inbox_is_first_in_first_out(clock: Clock) -> None:
    inbox: Inbox[int] = Inbox()
    inbox.post(1)
    inbox.post(2)
    assert [clock.get(inbox, None), clock.get(inbox, 0), clock.get(inbox, 0)] == [1, 2, None]


@pytest.mark.parametrize("timeout", [0, -1])
def test_get_without_time_does_not_wait(clock: Clock, timeout: float) -> None:
    inbox: Inbox[int] = Inbox()
    assert clock.get(inbox, timeout) is None
    inbox.post(1)
    assert clock.get(inbox, timeout) == 1


@pytest.mark.parametrize("timeout", [None, 60, 1e30, float("inf")])
def test_get_is_woken_by_a_post(clock: Clock, elsewhere: ThreadPoolExecutor, timeout: float | None) -> None:
    inbox: Inbox[str] = Inbox()
    getting = elsewhere.submit(clock.get, inbox, timeout)
    inbox.post("news")
    assert getting.result(PATIENCE) == "news"


@pytest.mark.parametrize("timeout", [None, 60, 1e30, float("inf")])
def test_wait_is_woken_by_notify(clock: Clock, elsewhere: ThreadPoolExecutor, timeout: float | None) -> None:
    condition = threading.Condition()
    news: list[str] = []

    def wait() -> list[str]:
        with condition:
            held.set()
            while not news:
                clock.wait(condition, timeout)
            return news

    held = threading.Event()
    waiting = elsewhere.submit(wait)
    assert held.wait(PATIENCE)
    with condition:
        news.append("news")
        condition.notify()
    assert waiting.result(PATIENCE) == ["news"]


def test_wait_without_time_does_not_wait(clock: Clock) -> None:
    condition = threading.Condition()
    with condition:
        clock.wait(condition, 0)


def test_now_is_timezone_aware_utc(clock: Clock) -> None:
    assert clock.now().tzinfo is UTC


# The real one


def test_the_real_clock_follows_the_time() -> None:
    clock = Clock()
    earlier, before = datetime.now(UTC), clock.monotonic()
    assert earlier <= clock.now() <= datetime.now(UTC)
    assert clock.get(Inbox[int](), 0.01) is None
    assert clock.monotonic() - before >= 0.01


def test_the_real_clock_wakes_a_wait_when_the_time_is_up() -> None:
    clock, condition = Clock(), threading.Condition()
    before = clock.monotonic()
    with condition:
        clock.wait(condition, 0.01)
    assert 0.01 <= clock.monotonic() - before < PATIENCE


# The fake one


def test_fake_time_stands_still_until_it_is_advanced() -> None:
    start = datetime(2030, 1, 1, tzinfo=UTC)
    clock = FakeClock(start)
    before = clock.monotonic()
    assert (clock.monotonic(), clock.now()) == (before, start)
    clock.advance(90.5)
    assert clock.monotonic() - before == 90.5
    assert clock.now() == start + timedelta(seconds=90.5)


def test_fake_time_never_goes_back() -> None:
    clock = FakeClock()
    before = clock.monotonic()
    clock.advance(-5)
    assert clock.monotonic() == before


def test_a_fake_get_is_over_when_its_time_has_come(elsewhere: ThreadPoolExecutor) -> None:
    clock = FakeClock()
    getting = elsewhere.submit(clock.get, Inbox[int](), 5)
    clock.wait_for_waiters()
    clock.advance(4.9)
    clock.wait_for_waiters()
    assert not getting.done()
    clock.advance(0.1)
    assert getting.result(PATIENCE) is None


def test_a_wake_up_that_came_too_late_is_no_item() -> None:
    clock = FakeClock()
    inbox: Inbox[int] = Inbox()

    class Crossing(SteadyQueue[Any]):
        """The time is up just after an item has come."""

        def wait(self) -> None:
            super().wait()
            clock.advance(5)

    inbox.queue = Crossing()
    inbox.post(1)
    assert clock.get(inbox, 5) == 1
    assert len(inbox.queue._items) == 1
    inbox.post(2)
    assert clock.get(inbox, None) == 2
    assert clock.get(inbox, 0) is None


def test_a_fake_wait_is_over_when_its_time_has_come(elsewhere: ThreadPoolExecutor) -> None:
    clock, condition = FakeClock(), threading.Condition()

    def wait() -> float:
        with condition:
            clock.wait(condition, 5)
            return clock.monotonic()

    before = clock.monotonic()
    waiting = elsewhere.submit(wait)
    clock.wait_for_waiters()
    clock.advance(5)
    assert waiting.result(PATIENCE) == before + 5


def test_advance_wakes_in_the_order_of_deadlines_each_at_its_time(elsewhere: ThreadPoolExecutor) -> None:
    clock = FakeClock()
    woken: list[tuple[float, float]] = []

    def get(timeout: float) -> object:
        class Noting(SteadyQueue[Any]):
            def put(self, item: Any) -> None:
                woken.append((timeout, clock.monotonic() - before))
                super().put(item)

        inbox: Inbox[int] = Inbox()
        inbox.queue = Noting()
        return clock.get(inbox, timeout)

    before = clock.monotonic()
    getting = [elsewhere.submit(get, timeout) for timeout in (3, 1, 9, 2)]
    clock.wait_for_waiters(4)
    clock.advance(5)
    assert woken == [(1, 1), (2, 2), (3, 3)]
    assert clock.monotonic() - before == 5
    clock.advance(4)
    assert [one.result(PATIENCE) for one in getting] == [None] * 4


def test_who_has_still_to_wake_up_does_not_rest(elsewhere: ThreadPoolExecutor) -> None:
    clock = FakeClock()
    inbox: Inbox[int] = Inbox()

    class Slow(SteadyQueue[Any]):
        """Its consumer has been given an item, and does not yet know."""

        def wait(self) -> None:
            super().wait()
            assert awake.wait(PATIENCE)

    awake = threading.Event()
    inbox.queue = Slow()
    getting = elsewhere.submit(clock.get, inbox, 5)
    clock.wait_for_waiters()
    inbox.post(1)
    with pytest.raises(TimeoutError, match="0 threads wait for a time, not 1"):
        clock.wait_for_waiters(timeout=0.01)
    awake.set()
    assert getting.result(PATIENCE) == 1


def test_who_has_been_woken_or_served_waits_no_more(elsewhere: ThreadPoolExecutor) -> None:
    clock = FakeClock()
    inbox: Inbox[int] = Inbox()
    getting = elsewhere.submit(clock.get, inbox, 5)
    clock.wait_for_waiters(1)
    inbox.post(1)
    getting.result(PATIENCE)
    with pytest.raises(TimeoutError, match="0 threads wait for a time, not 1"):
        clock.wait_for_waiters(1, timeout=0.01)
