"""The heartbeat's schedule and the verdict on silence."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from realtime_client._core.liveness import Liveness

START = 1_000.0


def liveness(interval: float = 30, timeout: float = 10) -> Liveness:
    return Liveness(interval=interval, timeout=timeout, now=START)


class Run:
    """Heartbeats as a thread sends them: it judges only at the times that it was told."""

    def __init__(self, interval: float, timeout: float, heard_at: Callable[[float], float]) -> None:
        self._liveness = Liveness(interval=interval, timeout=timeout, now=START)
        self._heard_at = heard_at
        self.judged: list[float] = []
        self.pinged: list[float] = []

    def until_dead(self, end: float) -> float | None:
        """When the peer was found dead, or None if it was not before ``end``."""
        now = START
        while now < end:
            self.judged.append(now)
            dead, due, until = self._liveness.judge(now, heard_at=self._heard_at(now))
            if dead:
                return now
            if due:
                self.pinged.append(now)
                self._liveness.pinged(now)
            else:
                assert until > now, "it would spin"
                now = until
        return None


def never_again(_now: float) -> float:
    return START


def always(now: float) -> float:
    return now


def test_the_first_heartbeat_is_due_after_one_interval() -> None:
    account = liveness()
    assert account.judge(START, heard_at=START) == (False, False, START + 30)
    assert account.judge(START + 29.9, heard_at=START) == (False, False, START + 30)
    assert account.judge(START + 30, heard_at=START)[:2] == (False, True)


def test_a_heartbeat_is_due_once() -> None:
    account = liveness()
    account.pinged(START + 30)
    assert account.judge(START + 30, heard_at=START) == (False, False, START + 40)


def test_death_comes_exactly_after_the_timeout() -> None:
    account = liveness()
    account.pinged(START + 30)
    assert account.judge(START + 39.999, heard_at=START + 29) == (False, False, START + 40)
    assert account.judge(START + 40, heard_at=START + 29) == (True, False, START + 40)


def test_silence_before_a_heartbeat_is_no_death() -> None:
    account = liveness()
    assert account.judge(START + 1_000, heard_at=START)[:2] == (False, True)


@pytest.mark.parametrize("heard", [0.0, 0.001, 9.999, 10.0])
def test_any_byte_after_the_heartbeat_revives(heard: float) -> None:
    account = liveness()
    account.pinged(START + 30)
    assert account.judge(START + 40, heard_at=START + 30 + heard) == (False, False, START + 60)


def test_a_byte_at_the_very_last_moment_revives() -> None:
    account = liveness()
    account.pinged(START + 30)
    assert account.judge(START + 39, heard_at=START)[0] is False
    assert account.judge(START + 40, heard_at=START + 40)[0] is False


def test_life_is_not_remembered_for_the_next_heartbeat() -> None:
    account = liveness()
    account.pinged(START + 30)
    assert account.judge(START + 40, heard_at=START + 31) == (False, False, START + 60)
    account.pinged(START + 60)
    assert account.judge(START + 70, heard_at=START + 31)[0] is True


def test_further_heartbeats_do_not_put_death_off() -> None:
    """With an interval below the timeout, silence counts from the first heartbeat that nobody answered."""
    account = liveness(interval=5, timeout=12)
    for at in (5, 10, 15):
        account.pinged(START + at)
    assert account.judge(START + 16.9, heard_at=START) == (False, False, START + 17)
    assert account.judge(START + 17, heard_at=START)[0] is True


@pytest.mark.parametrize(
    ("interval", "timeout", "pings", "death"),
    [(30, 10, [30], 40), (5, 12, [5, 10, 15], 17), (10, 10, [10], 20)],
    ids=["interval above timeout", "interval below timeout", "equal"],
)
def test_the_schedule_of_a_silent_peer(interval: float, timeout: float, pings: list[float], death: float) -> None:
    run = Run(interval, timeout, never_again)
    assert run.until_dead(START + 1_000) == START + death
    assert run.pinged == [START + ping for ping in pings]


@pytest.mark.parametrize(("interval", "timeout"), [(30, 10), (5, 12), (10, 10)])
def test_the_schedule_of_a_lively_peer(interval: float, timeout: float) -> None:
    run = Run(interval, timeout, always)
    assert run.until_dead(START + interval * 5 + 1) is None
    assert run.pinged == [START + interval * n for n in range(1, 6)]
    assert set(run.judged) == {START, *run.pinged}, "it woke without need"


def test_a_reader_that_is_held_up_is_never_dead() -> None:
    """While callbacks hold the reader up, the present counts as heard: the peer may have spoken."""
    account = liveness()
    account.pinged(START + 30)
    assert account.judge(START + 500, heard_at=START + 500)[0] is False
    # Once it listens again, a full timeout passes before the verdict.
    account.pinged(START + 500)
    assert account.judge(START + 509.9, heard_at=START + 499)[0] is False
    assert account.judge(START + 510, heard_at=START + 499)[0] is True


spacing = st.floats(0.1, 100)


@settings(deadline=None)
@given(interval=spacing, timeout=spacing, hold=st.floats(1, 2_000))
def test_no_length_of_holding_up_is_death(interval: float, timeout: float, hold: float) -> None:
    assume(hold / interval < 200)
    assert Run(interval, timeout, always).until_dead(START + hold) is None


@settings(deadline=None)
@given(interval=spacing, timeout=spacing, heard=st.lists(st.floats(0, 300), max_size=20))
def test_death_is_found_in_time_and_never_early(interval: float, timeout: float, heard: list[float]) -> None:
    moments = [START, *(START + moment for moment in sorted(heard))]

    def heard_at(now: float) -> float:
        return max(moment for moment in moments if moment <= now)

    run = Run(interval, timeout, heard_at)
    died = run.until_dead(START + 1_000)
    assert died is not None
    heard_last = heard_at(died)
    tolerance = 1e-6
    assert died - heard_last >= timeout - tolerance, "declared dead although it had spoken"
    # No gap of interval + timeout is overlooked, wherever it is.
    for before, after in zip(moments, [*moments[1:], float("inf")], strict=True):
        if after - before > interval + timeout + tolerance:
            assert died <= before + interval + timeout + tolerance
            break
    assert all(later - earlier >= interval - tolerance for earlier, later in pairwise(run.pinged))
