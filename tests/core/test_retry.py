"""The retry table: every row with a real outcome, the order of the rows, and that no outcome is left without one."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_client._core.backoff import Attempts
from realtime_client._core.retry import STRIKE_CODES, STRIKES, TABLE, Situation, decide
from realtime_client.config import ClientConfig
from realtime_client.errors import (
    AuthenticationError,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    HandshakeRejected,
    HeartbeatTimeout,
    MalformedMessage,
    MessageTooLarge,
    ProtocolError,
    RealtimeError,
    RecordingError,
)
from realtime_client.status import RetryDecision

RETRY, FATAL, RENEW = RetryDecision("retry"), RetryDecision("fatal"), RetryDecision("renew")
RENEWABLE = ClientConfig(token=lambda: "new")


def situation(config: ClientConfig | None = None, *, renewed: bool = False, strikes: int = 0) -> Situation:
    return Situation(config=config or ClientConfig(), renewed=renewed, strikes=strikes)


def rejected(status: int, **more: Any) -> HandshakeRejected:
    cls = AuthenticationError if status in (401, 403) else HandshakeRejected
    return cls(f"the server answered {status}", status=status, **more)


def lost(code: int) -> ConnectionLost:
    return ConnectionLost("the connection ended", code=code)


def decided(error: RealtimeError, **context: Any) -> RetryDecision:
    return decide(error, situation(**context))[1]


# One case at least for each row, in the table's order: the error, the situation, the decision.
ROWS: list[tuple[RealtimeError, Situation, RetryDecision]] = [
    (rejected(401), situation(RENEWABLE), RENEW),
    (rejected(403), situation(), FATAL),
    (rejected(503, retry_after=7), situation(), RetryDecision("retry", at_least=7)),
    (rejected(200), situation(), RETRY),
    (rejected(302), situation(), FATAL),
    (rejected(404), situation(), FATAL),
    (RecordingError("not JSON", path="feed.jsonl", line=7), situation(), FATAL),
    (ConnectError("the certificate is not trusted", retryable=False), situation(), FATAL),
    (ConnectError("the connection was refused"), situation(), RETRY),
    (lost(1012), situation(), RetryDecision("retry", spread=(5, 24))),
    (lost(1013), situation(), RetryDecision("retry", spread=(16, 24))),
    (lost(1008), situation(strikes=3), FATAL),
    (MessageTooLarge("2 bytes", size=2, limit=1), situation(), RETRY),
    (lost(1006), situation(), RETRY),
    (MalformedMessage("odd"), situation(), RETRY),
]


@pytest.mark.parametrize("number", range(len(TABLE)), ids=[row.outcome for row in TABLE])
def test_every_row(number: int) -> None:
    error, context, decision = ROWS[number]
    assert decide(error, context) == (TABLE[number], decision)


def test_every_row_has_its_case_and_its_words() -> None:
    assert len(ROWS) == len(TABLE)
    assert all(row.outcome and row.answer for row in TABLE)
    assert len({row.outcome for row in TABLE}) == len(TABLE)


# Refused credentials


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_renewed_once(status: int) -> None:
    error = rejected(status)
    assert decided(error, config=RENEWABLE) == RENEW
    assert decided(error, config=RENEWABLE, renewed=True) == FATAL


@pytest.mark.parametrize("token", [None, "fixed"])
def test_what_is_no_callable_cannot_be_renewed(token: str | None) -> None:
    assert decided(rejected(401), config=ClientConfig(token=token)) == FATAL


def test_other_refusals_renew_nothing() -> None:
    assert decided(rejected(404), config=RENEWABLE) == FATAL
    assert decided(rejected(500), config=RENEWABLE) == RETRY


# Other answers than an upgrade


@pytest.mark.parametrize("status", [408, 421, 425, 429, 500, 502, 503, 504, 599])
def test_refusals_that_pass_obey_retry_after(status: int) -> None:
    assert decided(rejected(status)) == RETRY
    assert decided(rejected(status, retry_after=30.0)) == RetryDecision("retry", at_least=30)
    assert decided(rejected(status, retry_after=0.0)) == RetryDecision("retry", at_least=0)


def test_a_retry_after_beyond_a_day_is_a_day() -> None:
    assert decided(rejected(503, retry_after=86_400.0)).at_least == 86_400
    assert decided(rejected(503, retry_after=1e12)).at_least == 86_400


@pytest.mark.parametrize("status", [400, 402, 404, 405, 407, 409, 410, 426, 451, 499])
def test_refusals_that_do_not_pass_are_fatal(status: int) -> None:
    assert decided(rejected(status, retry_after=30.0)) == FATAL


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308, 399])
def test_redirects_are_fatal(status: int) -> None:
    assert decided(rejected(status)) == FATAL


@pytest.mark.parametrize("status", [100, 101, 103, 200, 204, 299])
def test_an_answer_that_is_no_upgrade_is_tried_again(status: int) -> None:
    assert decided(rejected(status)) == RETRY


# Attempts without an answer


@pytest.mark.parametrize(
    "error", [ConnectError("no such host"), ConnectTimeout("too slow", timeout=10), ConnectError("TLS", retryable=True)]
)
def test_trouble_on_the_way_is_tried_again(error: ConnectError) -> None:
    assert decided(error) == RETRY


def test_the_status_decides_before_the_flag() -> None:
    """A refusal that passes is not made fatal by a flag that is about certificates."""
    assert decided(rejected(503, retryable=False)) == RETRY


# Connections that ended


@pytest.mark.parametrize("code", sorted(STRIKE_CODES))
def test_the_third_fault_in_a_row_is_fatal(code: int) -> None:
    assert [decided(lost(code), strikes=n) for n in (1, 2, 3, 4)] == [RETRY, RETRY, FATAL, FATAL]


def test_strike_codes_and_their_number() -> None:
    assert {1002, 1003, 1007, 1008, 1010} == STRIKE_CODES
    assert STRIKES == 3


def test_strikes_do_not_touch_other_outcomes() -> None:
    for code in (1000, 1001, 1005, 1006, 1009, 1011, 4000):
        assert decided(lost(code), strikes=9) == RETRY
    assert decided(ConnectError("the connection was refused"), strikes=9) == RETRY
    assert decided(lost(1012), strikes=9).spread == (5, 24)


def test_a_breach_of_the_protocol_counts_by_its_code() -> None:
    error = ProtocolError("a masked frame", code=1002)
    assert decided(error, strikes=1) == RETRY
    assert decided(error, strikes=3) == FATAL


def test_a_silent_peer_is_tried_again() -> None:
    assert decided(HeartbeatTimeout("silent", silence=40.0), strikes=9) == RETRY


# The server's pace


def test_a_restart_spreads_the_clients() -> None:
    roomy = ClientConfig(reconnect_delay_max=60)
    assert decided(lost(1012), config=roomy).spread == (5, 30)
    assert decided(lost(1013), config=roomy).spread == (60, 90)


@pytest.mark.parametrize("code", [1012, 1013])
@settings(deadline=None)
@given(
    longest=st.floats(0.01, 100),
    jitter=st.floats(0, 1),
    seed=st.integers(),
)
def test_a_pace_never_exceeds_the_longest_delay(code: int, longest: float, jitter: float, seed: int) -> None:
    config = ClientConfig(reconnect_delay=0.01, reconnect_delay_max=longest, reconnect_jitter=jitter)
    decision = decided(lost(code), config=config)
    assert decision.spread is not None
    low, high = decision.spread
    assert 0 < low <= high <= longest * (1 + jitter)
    delay = Attempts(config, random.Random(seed).uniform).next_delay(decision, declared=False)
    assert low <= delay <= high


def test_a_pace_with_a_small_longest_delay() -> None:
    config = ClientConfig(reconnect_delay_max=2)
    assert decided(lost(1012), config=config).spread == (2, 3)
    assert decided(lost(1013), config=config).spread == (2, 3)
    still = ClientConfig(reconnect_delay_max=2, reconnect_jitter=0)
    assert decided(lost(1013), config=still).spread == (2, 2)


# No outcome is left without an answer

ACTIONS = {"retry", "renew", "fatal"}


@pytest.mark.parametrize("status", range(100, 600))
def test_every_status_has_a_row_of_its_own_kind(status: int) -> None:
    row, decision = decide(HandshakeRejected("refused", status=status), situation())
    assert row.outcome.startswith("handshake")
    assert decision.action == ("fatal" if 300 <= status < 500 and status not in (408, 421, 425, 429) else "retry")


def test_every_close_code_has_a_row_of_its_own_kind() -> None:
    for code in range(1000, 5000):
        for strikes in (1, 3):
            row, decision = decide(lost(code), situation(strikes=strikes))
            assert row.outcome.startswith("connection ended")
            assert decision.action == ("fatal" if code in STRIKE_CODES and strikes == 3 else "retry")


def test_what_nobody_thought_of_is_tried_again() -> None:
    class Odd(RealtimeError):
        pass

    assert decide(Odd("?"), situation(strikes=9)) == (TABLE[-1], RETRY)
