"""The schedule of attempts: delays, jitter, the two numbers, and the server's word."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_client._core.backoff import Attempts, Uniform, delay_before
from realtime_client.config import ClientConfig
from realtime_client.status import RetryDecision

RETRY = RetryDecision("retry")
DOCUMENTED = [1.0, 2.0, 4.0, 8.0, 16.0, 16.0, 16.0]


def lowest(low: float, _high: float) -> float:
    return low


def highest(_low: float, high: float) -> float:
    return high


def attempts(uniform: Uniform = highest, **options: Any) -> Attempts:
    return Attempts(ClientConfig(**options), uniform)


def delays(account: Attempts, count: int, *, declared: bool = False) -> list[float]:
    return [account.next_delay(RETRY, declared=declared) for _ in range(count)]


# The schedule


def test_delay_before_is_the_documented_schedule() -> None:
    assert [delay_before(n, ClientConfig()) for n in range(1, 8)] == DOCUMENTED


def test_without_jitter_the_delays_are_exactly_the_schedule() -> None:
    assert delays(Attempts(ClientConfig(reconnect_jitter=0), random.Random(1).uniform), 7) == DOCUMENTED


def test_every_part_of_the_schedule_is_an_option() -> None:
    config = ClientConfig(reconnect_delay=0.5, reconnect_multiplier=3, reconnect_delay_max=10)
    assert [delay_before(n, config) for n in range(1, 6)] == [0.5, 1.5, 4.5, 10, 10]


def test_a_multiplier_of_one_keeps_the_delay() -> None:
    config = ClientConfig(reconnect_multiplier=1)
    assert [delay_before(n, config) for n in (1, 2, 1_000_000)] == [1, 1, 1]


def test_slow_growth_reaches_the_cap_too() -> None:
    config = ClientConfig(reconnect_multiplier=1.01)
    assert delay_before(101, config) == pytest.approx(1.01**100)
    assert delay_before(1_000, config) == 16


@pytest.mark.parametrize(("multiplier", "attempt"), [(2.0, 5_000), (1e10, 70), (1e300, 3)])
def test_growth_past_every_float_is_the_cap(multiplier: float, attempt: int) -> None:
    assert delay_before(attempt, ClientConfig(reconnect_multiplier=multiplier)) == 16


# Jitter


def test_jitter_comes_after_the_cap() -> None:
    assert delays(attempts(highest), 6) == [1.5, 3, 6, 12, 24, 24]
    assert delays(attempts(lowest), 6) == [0.5, 1, 2, 4, 8, 8]


@settings(deadline=None)
@given(
    seed=st.integers(),
    jitter=st.floats(0, 1),
    first=st.floats(0.01, 10),
    longest=st.floats(10, 100),
    multiplier=st.floats(1, 5),
)
def test_every_delay_is_within_the_jitter_of_its_place(
    seed: int, jitter: float, first: float, longest: float, multiplier: float
) -> None:
    config = ClientConfig(
        reconnect_jitter=jitter, reconnect_delay=first, reconnect_delay_max=longest, reconnect_multiplier=multiplier
    )
    for n, delay in enumerate(delays(Attempts(config, random.Random(seed).uniform), 12), start=1):
        middle = min(first * multiplier ** (n - 1), longest)
        assert middle * (1 - jitter) <= delay * (1 + 1e-9)
        assert delay <= middle * (1 + jitter) * (1 + 1e-9)


@settings(deadline=None)
@given(seed=st.integers())
def test_by_default_no_delay_is_longer_than_24_seconds(seed: int) -> None:
    assert max(delays(Attempts(ClientConfig(), random.Random(seed).uniform), 20)) <= 24


def test_jitter_separates_two_clients() -> None:
    one, other = (Attempts(ClientConfig(), random.Random(seed).uniform) for seed in (1, 2))
    assert all(a != b for a, b in zip(delays(one, 10), delays(other, 10), strict=True))


# Two numbers: failed attempts, and the step of the backoff


def test_a_connection_that_is_cut_at_once_is_met_with_growing_delays() -> None:
    account = attempts(reconnect_jitter=0)
    now, waited = 100.0, []
    for _ in range(6):
        account.opened(now)
        assert account.failed == 0
        now += 9.9
        account.ended(now)
        waited.append(account.next_delay(RETRY, declared=False))
    assert waited == DOCUMENTED[:6]


def test_a_connection_that_lived_long_enough_starts_the_schedule_anew() -> None:
    account = attempts(reconnect_jitter=0)
    assert delays(account, 4) == [1, 2, 4, 8]
    account.opened(100)
    account.ended(110)
    assert delays(account, 2) == [1, 2]


def test_reset_after_zero_starts_anew_after_every_connection() -> None:
    account = attempts(reconnect_jitter=0, reconnect_reset_after=0)
    assert delays(account, 3) == [1, 2, 4]
    account.opened(5)
    account.ended(5)
    assert delays(account, 1) == [1]


def test_an_earlier_connection_does_not_count_for_a_failed_attempt() -> None:
    account = attempts(reconnect_jitter=0)
    account.opened(0)
    account.ended(1)
    assert delays(account, 2) == [1, 2]
    account.ended(1_000)  # an attempt that never stood has no life to speak of
    assert delays(account, 1) == [4]


def test_failures_count_until_a_connection_stands() -> None:
    account = attempts()
    for count in (1, 2, 3):
        account.count_failure()
        assert account.failed == count
    account.opened(0)
    assert account.failed == 0


def test_a_connection_forgives_the_failures_but_not_the_step() -> None:
    account = attempts(reconnect_jitter=0)
    for _ in range(3):
        account.count_failure()
        account.next_delay(RETRY, declared=False)
    account.opened(0)
    account.ended(1)
    assert account.failed == 0
    assert delays(account, 1) == [8]


def test_reset_forgets_both_numbers() -> None:
    account = attempts(reconnect_jitter=0)
    account.count_failure()
    assert delays(account, 3) == [1, 2, 4]
    account.reset()
    assert account.failed == 0
    assert delays(account, 1) == [1]


# When the attempts are used up


def test_exhausted_after_the_allowed_attempts() -> None:
    account = attempts(max_reconnect_attempts=5)
    seen = []
    for _ in range(6):
        account.count_failure()
        seen.append(account.exhausted)
    assert seen == [False] * 4 + [True] * 2
    account.opened(0)
    assert not account.exhausted


def test_none_is_never_exhausted() -> None:
    account = attempts(max_reconnect_attempts=None)
    for _ in range(1_000):
        account.count_failure()
    assert not account.exhausted


def test_zero_is_exhausted_from_the_start() -> None:
    assert attempts(max_reconnect_attempts=0).exhausted


# The decision's share


def test_once_declared_probes_keep_the_longest_spacing() -> None:
    assert delays(attempts(reconnect_jitter=0), 3, declared=True) == [16, 16, 16]
    assert delays(attempts(highest), 2, declared=True) == [24, 24]
    assert delays(attempts(lowest), 2, declared=True) == [8, 8]


def test_after_a_fatal_outcome_probes_are_far_apart() -> None:
    fatal = RetryDecision("fatal")
    account = attempts(reconnect_jitter=0, fatal_retry_delay=90)
    assert [account.next_delay(fatal, declared=declared) for declared in (True, False, True)] == [90, 90, 90]
    assert attempts(highest).next_delay(fatal, declared=True) == 90
    assert attempts(lowest).next_delay(fatal, declared=True) == 30
    assert delays(account, 2) == [1, 2]  # it is no step of the schedule


def test_a_spread_replaces_the_schedule_and_is_a_step_of_it() -> None:
    spread = RetryDecision("retry", spread=(5, 30))
    assert attempts(lowest).next_delay(spread, declared=False) == 5
    assert attempts(highest).next_delay(spread, declared=False) == 30
    account = attempts(lowest, reconnect_jitter=0)
    account.next_delay(spread, declared=False)
    assert delays(account, 1) == [2]


@settings(deadline=None)
@given(
    seed=st.integers(),
    at_least=st.floats(0, 86_400),
    jitter=st.floats(0, 1),
    declared=st.booleans(),
    action=st.sampled_from(["retry", "fatal"]),
    spread=st.none() | st.just((5.0, 24.0)),
)
def test_the_time_that_the_server_named_is_never_undercut(
    *, seed: int, at_least: float, jitter: float, declared: bool, action: str, spread: tuple[float, float] | None
) -> None:
    config = ClientConfig(reconnect_jitter=jitter)
    account = Attempts(config, random.Random(seed).uniform)
    decision = RetryDecision(action, at_least=at_least, spread=spread)
    for _ in range(8):
        delay = account.next_delay(decision, declared=declared)
        assert delay >= at_least
        # Past what the schedule would have given anyhow, at most a little jitter comes on top.
        assert delay <= max(120.0, at_least + config.reconnect_delay)


def test_the_time_that_the_server_named_is_spread_over_its_clients() -> None:
    decision = RetryDecision("retry", at_least=60)
    assert attempts(lowest).next_delay(decision, declared=False) == 60
    assert attempts(highest).next_delay(decision, declared=False) == 60.5
    assert attempts(highest, reconnect_jitter=0).next_delay(decision, declared=False) == 60


def test_a_short_retry_after_leaves_a_longer_delay_alone() -> None:
    account = attempts(reconnect_jitter=0)
    decision = RetryDecision("retry", at_least=3)
    assert [account.next_delay(decision, declared=False) for _ in range(5)] == [3, 3, 4, 8, 16]
