"""The documented schedule and what follows from each outcome, on a clock that stands still."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest

from realtime_client import (
    ConnectError,
    ConnectionLost,
    ConnectionState,
    ConnectionStatus,
    HandshakeRejected,
    RealtimeClient,
    RealtimeError,
    RetryDecision,
)
from realtime_client.testing import FakeClock, MemoryTransport
from tests.client.conftest import Make
from tests.client.recording import PATIENCE, Record, Task, states


class Outage:
    """A client on a fake clock and a memory transport, followed step by step."""

    def __init__(self, make: Make, network: MemoryTransport, clock: FakeClock, **options: Any) -> None:
        self.network = network
        self.clock = clock
        self.changes = Record()
        self.notifications = Record()
        self._seen = 0
        self.client: RealtimeClient = make(
            link_factory=network, clock=clock, **{"reconnect_jitter": 0, "heartbeat": "none", **options}
        )
        self.client.on_status(self.changes)
        self.client.on_notification(self.notifications)

    def next_status(self) -> ConnectionStatus:
        """The status that the next change leads to."""
        self._seen += 1
        status = self.changes.wait_for(self._seen)[self._seen - 1].current
        assert isinstance(status, ConnectionStatus)
        return status

    def next_delay(self) -> float:
        """Let the next change come; seconds from now to the attempt that it announces."""
        at = self.next_status().next_retry_at
        assert at is not None
        return (at - self.clock.now()).total_seconds()

    def connect(self) -> None:
        self.client.connect(PATIENCE)
        assert [self.next_status().state.value for _ in range(2)] == ["connecting", "connected"]

    def advance(self, seconds: float) -> None:
        """Let the delay pass, once the client waits for it."""
        self.clock.wait_for_waiters(1)
        self.clock.advance(seconds)


@pytest.fixture
def outage(make: Make, network: MemoryTransport, clock: FakeClock) -> Outage:
    return Outage(make, network, clock)


def refusal(status: int = 503, retry_after: float | None = None) -> HandshakeRejected:
    return HandshakeRejected(f"{status}", status=status, retry_after=retry_after)


def test_reconnect_schedule_is_1_2_4_8_16_without_jitter(outage: Outage) -> None:
    outage.connect()
    outage.network.refuse(times=None)
    outage.network.current.lose()
    for failed, delay in enumerate([1, 2, 4, 8, 16]):
        assert outage.next_delay() == delay
        status = outage.client.status
        assert (status.state, status.reconnect_attempts, status.connecting) == (
            ConnectionState.RECONNECTING,
            failed,
            False,
        )
        outage.advance(delay)
        outage.network.wait_for_links(failed + 2)
    assert outage.next_delay() == 16
    assert outage.client.status.state is ConnectionState.UNAVAILABLE
    assert outage.client.status.reconnect_attempts == 5


def test_reconnect_does_not_dial_a_moment_before_its_time(outage: Outage) -> None:
    outage.connect()
    outage.network.current.lose()
    assert outage.next_delay() == 1
    outage.advance(0.75)
    assert len(outage.network.links) == 1
    assert outage.client.status.next_retry_at == outage.clock.now() + timedelta(seconds=0.25)
    outage.clock.advance(0.25)
    assert outage.next_status().state is ConnectionState.CONNECTED


def test_a_first_attempt_that_fails_is_followed_by_the_whole_schedule(outage: Outage) -> None:
    """About 31 s until the outage is declared: five attempts after the first."""
    outage.network.refuse(times=None)
    waiting = Task(outage.client.connect)
    assert outage.next_status().state is ConnectionState.CONNECTING
    delays = []
    for _ in range(5):
        delays.append(outage.next_delay())
        assert not waiting.done
        outage.advance(delays[-1])
    assert delays == [1, 2, 4, 8, 16]
    with pytest.raises(ConnectError, match="refused by the memory transport"):
        waiting.result()
    assert outage.next_status().state is ConnectionState.UNAVAILABLE
    assert outage.client.metrics().failed_attempts == 6


def test_reconnect_delays_spread_by_jitter_around_the_schedule(
    make: Make, network: MemoryTransport, clock: FakeClock
) -> None:
    outage = Outage(make, network, clock, reconnect_jitter=0.5, max_reconnect_attempts=None)
    outage.connect()
    network.refuse(times=None)
    network.current.lose()
    delays = []
    for _ in range(40):
        delays.append(outage.next_delay())
        outage.advance(delays[-1] + 0.001)  # the time that is shown is rounded to microseconds
    for delay, middle in zip(delays, [1, 2, 4, 8, *[16] * 36], strict=True):
        assert middle * 0.5 <= delay <= middle * 1.5
    assert max(delays) > 16  # the jitter comes after the cap
    assert len(set(delays)) == len(delays)


def test_reconnect_attempts_none_never_declares(make: Make, network: MemoryTransport, clock: FakeClock) -> None:
    outage = Outage(make, network, clock, max_reconnect_attempts=None)
    outage.connect()
    network.refuse(times=None)
    network.current.lose()
    for _ in range(50):
        delay = outage.next_delay()
        assert delay <= 16
        outage.advance(delay)
    assert set(states(outage.changes.items)) == {"connecting", "connected", "reconnecting"}
    assert outage.client.status.max_reconnect_attempts is None
    retries = [n.message for n in outage.notifications.items if n.kind == "retry"]
    assert retries[0] == "Attempt 1 in 1.0 s"


def test_reconnect_attempts_zero_declares_at_the_first_loss(
    make: Make, network: MemoryTransport, clock: FakeClock
) -> None:
    outage = Outage(make, network, clock, max_reconnect_attempts=0)
    outage.connect()
    network.current.lose()
    assert outage.next_delay() == 16
    assert outage.client.status.state is ConnectionState.UNAVAILABLE
    outage.advance(16)
    assert outage.next_status().state is ConnectionState.CONNECTED


def test_the_declared_outage_is_told_and_ends_by_itself(make: Make, network: MemoryTransport, clock: FakeClock) -> None:
    outage = Outage(make, network, clock, max_reconnect_attempts=1)
    network.refuse(times=None)
    waiting = [Task(outage.client.connect) for _ in range(3)]
    for task in waiting:
        task.began.wait(PATIENCE)
    assert outage.next_status().state is ConnectionState.CONNECTING
    outage.advance(outage.next_delay())
    assert outage.next_delay() == 16
    assert outage.client.status.state is ConnectionState.UNAVAILABLE
    told = outage.notifications.wait_until(lambda items: any(n.level == "error" for n in items))
    assert [n.kind for n in told if n.level == "error"] == ["unavailable"]
    for _ in range(3):  # the probing goes on at the longest spacing
        outage.advance(16)
        assert outage.next_delay() == 16
        assert outage.client.status.state is ConnectionState.UNAVAILABLE
    for task in waiting:
        with pytest.raises(ConnectError, match="refused by the memory transport"):
            task.result()
    network.accept()
    outage.advance(16)
    status = outage.next_status()
    assert status.state is ConnectionState.CONNECTED
    assert (status.reconnect_attempts, status.last_error, status.next_retry_at) == (0, None, None)
    outage.notifications.wait_until(lambda items: items[-1].kind == "connected")


def test_connect_during_a_declared_outage_waits_for_the_next_probe(
    make: Make, network: MemoryTransport, clock: FakeClock
) -> None:
    outage = Outage(make, network, clock, max_reconnect_attempts=0)
    network.refuse(times=None)
    with pytest.raises(ConnectError):
        outage.client.connect(PATIENCE)
    network.accept()
    waiting = Task(outage.client.connect)
    waiting.began.wait(PATIENCE)
    outage.advance(16)
    waiting.result()
    assert outage.client.is_connected


def test_reconnect_during_a_declared_outage_dials_at_once(
    make: Make, network: MemoryTransport, clock: FakeClock
) -> None:
    outage = Outage(make, network, clock, max_reconnect_attempts=0)
    network.refuse()
    with pytest.raises(ConnectError):
        outage.client.connect(PATIENCE)
    outage.client.reconnect(PATIENCE)
    assert outage.client.is_connected


def test_give_up_ends_in_failed_and_releases_everybody(make: Make, network: MemoryTransport, clock: FakeClock) -> None:
    outage = Outage(make, network, clock, give_up=True, max_reconnect_attempts=1)
    network.refuse(times=None)
    waiting = Task(outage.client.connect)
    events = outage.client.events()
    assert outage.next_status().state is ConnectionState.CONNECTING
    outage.advance(outage.next_delay())
    with pytest.raises(ConnectError):
        waiting.result()
    assert outage.next_status().state is ConnectionState.FAILED
    assert list(events) == []
    with pytest.raises(ConnectError):
        outage.client.join(PATIENCE)
    with pytest.raises(ConnectError):
        outage.client.wait_for("system_alert", timeout=PATIENCE)
    told = outage.notifications.wait_until(lambda items: items[-1].kind == "failed")
    assert told[-1].level == "error"
    clock.advance(3600)
    assert len(network.links) == 2
    network.accept()
    outage.client.connect(PATIENCE)
    assert outage.client.is_connected


def test_give_up_after_a_lost_connection_ends_in_failed(make: Make, network: MemoryTransport, clock: FakeClock) -> None:
    outage = Outage(make, network, clock, give_up=True, max_reconnect_attempts=2)
    outage.connect()
    network.refuse(times=None)
    network.current.lose()
    for _ in range(2):
        outage.advance(outage.next_delay())
    assert outage.next_status().state is ConnectionState.FAILED
    assert outage.client.status.reconnect_attempts == 2


def test_notifications_of_retries_say_which_attempt_of_how_many(outage: Outage) -> None:
    outage.connect()
    outage.network.refuse(times=4)
    outage.network.current.lose()
    for _ in range(5):
        outage.advance(outage.next_delay())
    assert outage.next_status().state is ConnectionState.CONNECTED
    told = outage.notifications.wait_until(lambda items: [n.kind for n in items].count("connected") == 2)
    assert [n.message for n in told if n.kind == "retry"] == [
        "Attempt 1 of 5 in 1.0 s",
        "Attempt 2 of 5 in 2.0 s",
        "Attempt 3 of 5 in 4.0 s",
        "Attempt 4 of 5 in 8.0 s",
        "Attempt 5 of 5 in 16.0 s",
    ]
    assert {n.level for n in told if n.kind == "retry"} == {"info"}


def test_the_backoff_grows_over_connections_that_do_not_live(outage: Outage) -> None:
    outage.connect()
    for delay in [1, 2, 4, 8, 16, 16]:
        outage.clock.advance(9)
        outage.network.current.lose()
        assert outage.next_delay() == delay
        assert outage.client.status.reconnect_attempts == 0
        outage.advance(delay)
        assert outage.next_status().state is ConnectionState.CONNECTED
    outage.clock.advance(10)
    outage.network.current.lose()
    assert outage.next_delay() == 1


def test_reconnect_resets_the_attempt_counter_and_the_backoff(outage: Outage) -> None:
    outage.connect()
    outage.network.refuse(times=4)
    outage.network.current.lose()
    for delay in [1, 2, 4]:
        assert outage.next_delay() == delay
        outage.advance(delay)
    assert outage.next_delay() == 8
    assert outage.client.status.reconnect_attempts == 3
    outage.client.reconnect(wait=False)
    while (status := outage.next_status()).next_retry_at is None:
        pass
    assert status.next_retry_at - outage.clock.now() == timedelta(seconds=1)
    assert status.reconnect_attempts == 1


@pytest.mark.parametrize("error", [refusal(404), refusal(410), refusal(426), ConnectError("no trust", retryable=False)])
def test_fatal_outcomes_later_in_life_lead_to_unavailable_and_rare_probes(error: RealtimeError, outage: Outage) -> None:
    outage.connect()
    outage.network.refuse(error, times=2)
    outage.network.current.lose()
    outage.advance(outage.next_delay())
    assert outage.next_delay() == 60
    assert outage.client.status.state is ConnectionState.UNAVAILABLE
    assert outage.client.status.last_error is error
    outage.advance(60)
    assert outage.next_delay() == 60
    outage.advance(60)
    assert outage.next_status().state is ConnectionState.CONNECTED


def test_fatal_outcomes_with_give_up_end_in_failed(make: Make, network: MemoryTransport, clock: FakeClock) -> None:
    outage = Outage(make, network, clock, give_up=True)
    outage.connect()
    network.refuse(refusal(404))
    network.current.lose()
    outage.advance(outage.next_delay())
    assert outage.next_status().state is ConnectionState.FAILED


@pytest.mark.parametrize("status", [408, 421, 425, 429, 500, 503])
def test_retry_after_is_obeyed(status: int, outage: Outage) -> None:
    outage.connect()
    outage.network.refuse(refusal(status, retry_after=33))
    outage.network.current.lose()
    outage.advance(outage.next_delay())
    assert outage.next_delay() == 33
    outage.advance(33)
    assert outage.next_status().state is ConnectionState.CONNECTED


def test_retry_after_that_is_shorter_than_the_backoff_changes_nothing(outage: Outage) -> None:
    outage.connect()
    outage.network.refuse(refusal(503, retry_after=0.5))
    outage.network.current.lose()
    outage.advance(outage.next_delay())
    assert outage.next_delay() == 2


def test_close_1012_is_paced(outage: Outage) -> None:
    outage.connect()
    outage.network.current.lose(ConnectionLost("restart", code=1012))
    assert 5 <= outage.next_delay() <= 30


def test_close_1013_waits_for_the_longest_delay(outage: Outage) -> None:
    outage.connect()
    outage.network.current.lose(ConnectionLost("busy", code=1013))
    assert outage.next_delay() == 16


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1008, 1010])
def test_strikes_must_come_in_a_row(code: int, outage: Outage) -> None:
    outage.connect()
    for lost in [code, code, 1001, code, code]:
        outage.clock.advance(10)
        outage.network.current.lose(ConnectionLost("ended", code=lost))
        assert outage.next_delay() == 1
        outage.advance(1)
        assert outage.next_status().state is ConnectionState.CONNECTED
    outage.network.current.lose(ConnectionLost("ended", code=code))
    assert outage.next_delay() == 60
    assert outage.client.status.state is ConnectionState.UNAVAILABLE


def test_retry_policy_overrules_the_table(make: Make, network: MemoryTransport, clock: FakeClock) -> None:
    asked = Record()

    def policy(error: RealtimeError, decision: RetryDecision) -> RetryDecision | None:
        asked(error, decision)
        return RetryDecision("retry") if decision.action == "fatal" else None

    outage = Outage(make, network, clock, retry_policy=policy)
    network.refuse(refusal(404))
    outage.client.connect(wait=False)
    assert outage.next_status().state is ConnectionState.CONNECTING
    assert outage.next_delay() == 1
    outage.advance(1)
    assert outage.next_status().state is ConnectionState.CONNECTED
    ((error, decision),) = asked.items
    assert error.status == 404
    assert decision.action == "fatal"


def test_retry_policy_that_raises_leaves_the_table_to_decide(
    make: Make, network: MemoryTransport, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    def policy(error: RealtimeError, decision: RetryDecision) -> RetryDecision | None:
        raise LookupError("a mistake in the policy")

    outage = Outage(make, network, clock, retry_policy=policy)
    outage.connect()
    network.current.lose()
    assert outage.next_delay() == 1
    assert "retry_policy" in caplog.text


def test_retry_policy_that_returns_nonsense_does_not_end_the_client(
    make: Make, network: MemoryTransport, clock: FakeClock
) -> None:
    outage = Outage(make, network, clock, retry_policy=lambda error, decision: "later")
    outage.connect()
    network.current.lose()
    outage.advance(outage.next_delay())
    assert outage.next_status().state is ConnectionState.CONNECTED


def test_on_status_tells_every_change_in_order(outage: Outage) -> None:
    outage.connect()
    outage.network.refuse(times=2)
    outage.network.current.lose(ConnectionLost("pulled", code=1006))
    for _ in range(3):
        outage.advance(outage.next_delay())
    outage.next_status()
    outage.client.close()
    chain = outage.changes.items
    assert states(chain) == ["connecting", "connected", "reconnecting", "connected", "closed"]
    assert all(later.previous == earlier.current for earlier, later in itertools.pairwise(chain))
    assert chain[0].previous.state is ConnectionState.IDLE
    lost = chain[2].current
    assert str(lost.last_error) == "pulled"
    assert lost.since == outage.clock.now() - timedelta(seconds=1 + 2 + 4)
    assert chain[3].current.since == lost.since  # the state did not change, only the attempt


def test_on_gap_reports_the_time_without_a_connection(outage: Outage) -> None:
    gaps = Record()
    outage.client.on_gap(gaps)
    outage.connect()
    since = outage.clock.now()
    outage.network.current.lose()
    outage.advance(outage.next_delay())
    (gap,) = gaps.wait_for(1)
    assert (gap.since, gap.until) == (since, since + timedelta(seconds=1))
    assert (gap.recovered, gap.complete) == (0, False)
