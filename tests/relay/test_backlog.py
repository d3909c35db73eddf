"""The line between upstream and the relay's thread: its bound, and how long more may gather in it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from realtime_client.relay.backlog import Backlog
from realtime_client.testing import FakeClock

PATIENCE = 20.0


class Taking:
    """`Backlog.take` on a thread of its own."""

    def __init__(self, backlog: Backlog[int], most: int = 100, timeout: float = 60.0) -> None:
        self._taken: list[int] | None = None
        self._thread = threading.Thread(target=self._run, args=(backlog, most, timeout), name="test-take", daemon=True)
        self._thread.start()

    def _run(self, backlog: Backlog[int], most: int, timeout: float) -> None:
        self._taken = backlog.take(most, timeout)

    @property
    def result(self) -> list[int]:
        self._thread.join(PATIENCE)
        assert self._taken is not None, "take() has not come back"
        return self._taken

    @property
    def waits(self) -> bool:
        return self._thread.is_alive()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_without_lingering_the_first_is_taken_at_once(clock: FakeClock) -> None:
    backlog: Backlog[int] = Backlog(10, clock=clock)
    taking = Taking(backlog)
    clock.wait_for_waiters()
    backlog.put(1)
    assert taking.result == [1]


def test_more_gather_behind_the_first(clock: FakeClock) -> None:
    backlog: Backlog[int] = Backlog(10, linger=0.5, clock=clock)
    taking = Taking(backlog)
    clock.wait_for_waiters()
    backlog.put(1)
    clock.advance(0.4)
    backlog.put(2)
    clock.wait_for_waiters()
    assert taking.waits
    clock.advance(0.1)  # counted from the first
    assert taking.result == [1, 2]


def test_the_time_counts_from_when_the_first_came(clock: FakeClock) -> None:
    """And not from when the relay, which was busy with the last ones, looks."""
    backlog: Backlog[int] = Backlog(10, linger=0.5, clock=clock)
    backlog.put(1)
    clock.advance(0.5)
    assert Taking(backlog).result == [1]
    backlog.put(2)
    backlog.put(3)
    clock.advance(0.5)
    assert Taking(backlog, most=1).result == [2]
    assert Taking(backlog, most=1).result == [3]  # it waited as long


@pytest.mark.parametrize(
    "reason",
    [
        lambda backlog, clock: backlog.nudge(),
        lambda backlog, clock: clock.advance(1.0),
        lambda backlog, clock: [backlog.put(number) for number in (2, 3)],
    ],
    ids=["nudged", "something else is due", "enough"],
)
def test_it_lingers_no_longer_than_there_is_reason_to(
    reason: Callable[[Backlog[int], FakeClock], object], clock: FakeClock
) -> None:
    backlog: Backlog[int] = Backlog(10, linger=30.0, clock=clock)
    taking = Taking(backlog, most=3, timeout=1.0)
    clock.wait_for_waiters()
    backlog.put(1)
    clock.wait_for_waiters()
    assert taking.waits
    reason(backlog, clock)
    assert taking.result[:1] == [1]


def test_a_full_line_is_taken_although_more_could_be(clock: FakeClock) -> None:
    """Else whoever puts would wait for whoever takes, and the other way round, until the time is up."""
    backlog: Backlog[int] = Backlog(2, linger=30.0, clock=clock)
    taking = Taking(backlog, most=100)
    clock.wait_for_waiters()
    backlog.put(1)
    backlog.put(2)
    assert taking.result == [1, 2]
    assert backlog.high_water == 2


def test_whoever_puts_waits_for_room_until_the_end() -> None:
    backlog: Backlog[int] = Backlog(1)
    backlog.put(1)
    putting = threading.Thread(target=backlog.put, args=(2,), name="test-put", daemon=True)
    putting.start()
    assert backlog.take(1, 0.0) == [1]
    putting.join(PATIENCE)
    assert not putting.is_alive()
    waiting = threading.Thread(target=backlog.put, args=(3,), name="test-put", daemon=True)
    waiting.start()
    backlog.close()
    waiting.join(PATIENCE)
    assert not waiting.is_alive()
    assert backlog.take(10, 0.0) == [2]


def test_it_is_full_when_its_bytes_are(clock: FakeClock) -> None:
    backlog: Backlog[str] = Backlog(10, max_bytes=100, clock=clock)
    backlog.put("one", 60)
    backlog.put("two", 40)
    putting = threading.Thread(target=backlog.put, args=("three", 1), daemon=True)
    putting.start()
    putting.join(0.05)
    assert putting.is_alive()
    assert backlog.take(1, 0.0) == ["one"]
    putting.join(PATIENCE)
    assert backlog.take(10, 0.0) == ["two", "three"]


def test_what_is_too_large_has_room_alone(clock: FakeClock) -> None:
    backlog: Backlog[str] = Backlog(10, max_bytes=100, clock=clock)
    backlog.put("huge", 1000)
    assert backlog.take(10, 0.0) == ["huge"]


def test_nobody_lingers_for_what_has_no_room(clock: FakeClock) -> None:
    backlog: Backlog[int] = Backlog(10, max_bytes=100, linger=0.5, clock=clock)
    taking = Taking(backlog)
    clock.wait_for_waiters()
    backlog.put(1, 60)
    putting = threading.Thread(target=backlog.put, args=(2, 60), daemon=True)
    putting.start()
    assert taking.result == [1]  # though no time has passed
    putting.join(PATIENCE)
    assert len(backlog) == 1
