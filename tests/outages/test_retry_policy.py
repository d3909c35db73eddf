"""The retry table, row by row and end to end: what the client does after each outcome."""

from __future__ import annotations

import email.utils
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trustme

from realtime_client import (
    AuthenticationError,
    ConnectError,
    ConnectionLost,
    ConnectionState,
    HandshakeRejected,
    ProtocolError,
    RealtimeClient,
    RealtimeError,
    RecordingError,
    RetryDecision,
    StatusChange,
)
from realtime_client._core.retry import STRIKE_CODES, TABLE, Row
from realtime_client.testing import (
    FakeClock,
    FakeServer,
    MemoryTransport,
    accept,
    close,
    disconnect,
    redirect,
    refuse,
    reset,
    send_raw,
)
from tests.client.conftest import Make
from tests.client.recording import PATIENCE, QUICK, Record, Stopwatch, own_threads, states
from tests.outages.waiting import wait_for_plan

CONNECTED, RECONNECTING, UNAVAILABLE, FAILED = (
    ConnectionState.CONNECTED,
    ConnectionState.RECONNECTING,
    ConnectionState.UNAVAILABLE,
    ConnectionState.FAILED,
)
EXACT: Mapping[str, Any] = {"reconnect_jitter": 0}

FATAL_STATUSES = (300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 410, 418, 426)
PASSING_STATUSES = (200, 204, 408, 421, 425, 429, 500, 501, 502, 503, 504, 599)


def wait_for_state(changes: Record, state: ConnectionState) -> StatusChange:
    """The newest change, once it led to this state."""
    seen = changes.wait_until(lambda items: items and items[-1].current.state is state)
    last: StatusChange = seen[-1]
    return last


def delay(change: StatusChange, at: datetime) -> float:
    """Seconds until the next attempt, as planned after ``at``."""
    planned = change.current.next_retry_at
    assert planned is not None
    return (planned - at).total_seconds()


def failing(server: FakeServer, *steps: Any) -> None:
    server.then = steps


# Refused handshakes


@pytest.mark.parametrize("status", FATAL_STATUSES)
def test_a_fatal_status_ends_a_client_that_was_never_connected(status: int, server: FakeServer, make: Make) -> None:
    failing(server, refuse(status, body="go away"))
    client, changes = make(server.url, **QUICK), Record()
    client.on_status(changes)
    with pytest.raises(HandshakeRejected) as caught:
        client.connect(PATIENCE)
    assert caught.value.status == status
    assert isinstance(caught.value, AuthenticationError) is (status in (401, 403))
    wait_for_state(changes, FAILED)
    assert states(changes.items) == ["connecting", "failed"]
    assert client.status.last_error is caught.value
    assert client.status.next_retry_at is None
    assert len(server.attempts) == 1
    server.then = ()
    client.connect(PATIENCE)  # starts again
    assert client.is_connected


@pytest.mark.parametrize("status", PASSING_STATUSES)
def test_a_passing_status_is_tried_again(status: int, server: FakeServer, make: Make) -> None:
    server.add_script(refuse(status))
    server.add_script(refuse(status))
    client, changes = make(server.url, **QUICK), Record()
    client.on_status(changes)
    client.connect(PATIENCE)
    assert len(server.attempts) == 3
    wait_for_state(changes, CONNECTED)
    assert states(changes.items) == ["connecting", "reconnecting", "connected"]
    errors = [change.current.last_error for change in changes.items[1:3]]
    assert [error.status for error in errors] == [status] * 2


@pytest.mark.parametrize("status", FATAL_STATUSES)
def test_a_fatal_status_later_in_life_is_an_outage_that_is_probed(status: int, server: FakeServer, make: Make) -> None:
    client, changes = make(server.url, **QUICK, fatal_retry_delay=0.02), Record()
    client.on_status(changes)
    client.connect(PATIENCE)
    failing(server, refuse(status))
    server.drop()
    changes.wait_until(lambda items: sum(one.current.state is UNAVAILABLE for one in items) >= 3)
    server.then = ()
    wait_for_state(changes, CONNECTED)
    assert states(changes.items) == ["connecting", "connected", "reconnecting", "unavailable", "connected"]
    assert client.status.reconnect_attempts == 0


def test_probes_after_a_fatal_outcome_are_spaced_by_fatal_retry_delay(
    network: MemoryTransport, clock: FakeClock, make: Make
) -> None:
    client, changes = make(link_factory=network, clock=clock, heartbeat="none", **EXACT), Record()
    client.on_status(changes)
    client.connect(PATIENCE)
    network.refuse(HandshakeRejected("404", status=404), times=None)
    network.current.lose()
    wait_for_state(changes, RECONNECTING)
    for wait in (1, 60, 60, 60):
        clock.wait_for_waiters(1)
        links = len(network.links)
        clock.advance(wait - 0.01)
        clock.wait_for_waiters(1)
        assert len(network.links) == links
        clock.advance(0.02)
        network.wait_for_links(links + 1)
        wait_for_plan(changes, links)
        assert client.status.state is UNAVAILABLE
    network.accept()
    clock.wait_for_waiters(1)
    clock.advance(60)
    wait_for_state(changes, CONNECTED)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_in_seconds_is_waited_for(status: int, server: FakeServer, make: Make) -> None:
    server.add_script(refuse(status, headers={"Retry-After": "1"}))
    client = make(server.url, **QUICK)
    with Stopwatch() as took:
        client.connect(PATIENCE)
    assert took.seconds >= 1.0
    assert took.seconds < 2.0


@pytest.mark.parametrize("form", ["seconds", "date", "asctime"])
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_retry_after_plans_the_next_attempt(form: str, status: int, server: FakeServer, make: Make) -> None:
    due = datetime.now(UTC) + timedelta(seconds=300)
    value = {
        "seconds": "300",
        "date": email.utils.format_datetime(due, usegmt=True),
        "asctime": due.strftime("%a %b %d %H:%M:%S %Y"),
    }[form]
    failing(server, refuse(status, headers={"Retry-After": value}))
    client, changes = make(server.url, **QUICK), Record()
    client.on_status(changes)
    client.connect(wait=False)
    change = wait_for_state(changes, RECONNECTING)
    assert delay(change, datetime.now(UTC)) == pytest.approx(299.5, abs=1.5)
    assert isinstance(change.current.last_error, HandshakeRejected)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("-5", 0), ("0", 0), ("soon", 0), ("", 0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("9" * 30, 86_400), ("1.5", 0)],
)
def test_a_retry_after_without_sense_does_no_harm(value: str, seconds: float, server: FakeServer, make: Make) -> None:
    failing(server, refuse(503, headers={"Retry-After": value}))
    client, changes = make(server.url, reconnect_delay=0.5, **EXACT), Record()
    client.on_status(changes)
    client.connect(wait=False)
    change = wait_for_state(changes, RECONNECTING)
    assert delay(change, datetime.now(UTC)) == pytest.approx(max(seconds, 0.5), abs=0.5)


def test_retry_after_is_obeyed_by_probes_too(network: MemoryTransport, clock: FakeClock, make: Make) -> None:
    network.refuse(HandshakeRejected("503", status=503, retry_after=100.0), times=None)
    client, changes = make(link_factory=network, clock=clock, max_reconnect_attempts=1, **EXACT), Record()
    client.on_status(changes)
    client.connect(wait=False)
    for attempt in range(4):
        change = wait_for_plan(changes, attempt)
        clock.wait_for_waiters(1)
        assert delay(change, clock.now()) == 100
        clock.advance(100)
        network.wait_for_links(attempt + 2)
    assert client.status.state is UNAVAILABLE


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_carries_credentials(status: int, server: FakeServer, make: Make) -> None:
    with FakeServer() as other:
        for location in (other.url, other.poll_url, f"//127.0.0.1:{other.port}/ws", server.url + "x"):
            server.add_script(redirect(location, status))
            client = make(server.url, token="secret", headers={"X-Key": "secret"}, give_up=True, **QUICK)
            with pytest.raises(HandshakeRejected) as caught:
                client.connect(PATIENCE)
            assert caught.value.status == status
            assert location not in str(caught.value)
        assert (other.attempts, other.polls) == ((), ())
    assert len(server.attempts) == 4


# The token


class Tokens:
    """Gives another token each time."""

    def __init__(self) -> None:
        self.given: list[str] = []

    def __call__(self) -> str:
        self.given.append(f"token-{len(self.given) + 1}")
        return self.given[-1]


def authorizations(server: FakeServer) -> list[str]:
    requests = [attempt.request for attempt in server.attempts]
    return [request.headers["Authorization"] for request in requests if request is not None]


@pytest.mark.parametrize("status", [401, 403])
def test_a_callable_token_is_renewed_at_once_and_only_once(status: int, server: FakeServer, make: Make) -> None:
    server.add_script(refuse(status))
    client = make(server.url, token=Tokens(), reconnect_delay=3600.0, reconnect_delay_max=3600.0)
    with Stopwatch() as took:
        client.connect(PATIENCE)
    assert took.seconds < 1
    assert authorizations(server) == ["Bearer token-1", "Bearer token-2"]
    client.close()
    failing(server, refuse(status))
    with pytest.raises(AuthenticationError):
        client.connect(PATIENCE)
    assert client.status.state is FAILED
    assert authorizations(server)[2:] == ["Bearer token-3", "Bearer token-4"]


def test_each_connection_earns_a_new_renewal(server: FakeServer, make: Make) -> None:
    client, changes = make(server.url, token=Tokens(), **QUICK), Record()
    client.on_status(changes)
    client.connect(PATIENCE)
    for round_ in range(1, 4):
        server.add_script(refuse(401))
        server.drop()
        server.wait_for_connection(round_ + 1)
        wait_for_state(changes, CONNECTED)
    assert authorizations(server) == [f"Bearer token-{number}" for number in range(1, 8)]
    assert "unavailable" not in states(changes.items)


def test_a_renewal_that_does_not_help_later_in_life_is_an_outage(server: FakeServer, make: Make) -> None:
    client, changes = make(server.url, token=Tokens(), fatal_retry_delay=3600.0, **QUICK), Record()
    client.on_status(changes)
    client.connect(PATIENCE)
    failing(server, refuse(401))
    server.drop()
    wait_for_state(changes, UNAVAILABLE)
    assert len(server.attempts) == 3
    server.then = ()
    client.reconnect(PATIENCE)
    assert authorizations(server)[-1] == "Bearer token-4"


def test_a_fixed_token_is_not_tried_twice(server: FakeServer, make: Make) -> None:
    failing(server, refuse(401))
    client = make(server.url, token="fixed", **QUICK)
    with pytest.raises(AuthenticationError):
        client.connect(PATIENCE)
    assert len(server.attempts) == 1


def test_a_token_callable_that_raises_is_tried_again(server: FakeServer, make: Make) -> None:
    answers: list[Any] = [OSError("the vault is sealed"), SystemExit(1), "works"]

    def token() -> str:
        answer = answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return str(answer)

    client = make(server.url, token=token, **QUICK)
    client.connect(PATIENCE)
    assert authorizations(server) == ["Bearer works"]


@pytest.mark.parametrize("given", [None, 7, "", "two\nlines", b"bytes", lambda: "another"])
def test_a_token_callable_that_returns_nonsense(given: Any, server: FakeServer, make: Make) -> None:
    client = make(server.url, token=lambda: given, **QUICK)
    if given is None:
        client.connect(PATIENCE)  # no token, no header
        request = server.attempts[0].request
        assert request is not None
        assert "Authorization" not in request.headers
        return
    with pytest.raises(ConnectError, match="token"):
        client.connect(PATIENCE)
    assert server.attempts == ()


# Connections that end


def ended(server: FakeServer, make: Make, code: int, **options: Any) -> tuple[StatusChange, float]:
    """The change that a close with this code leads to, and the delay that it plans."""
    server.add_script(accept(), close(code, "why"))
    client, changes = make(server.url, **options), Record()
    client.on_status(changes)
    client.connect(wait=False)
    change = wait_for_state(changes, RECONNECTING)
    error = change.current.last_error
    assert isinstance(error, ConnectionLost)
    assert (error.code, error.reason) == (code, "why")
    return change, delay(change, datetime.now(UTC))


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1014, 3000, 4000, 4999])
def test_a_close_of_the_server_is_tried_again_after_the_first_delay(code: int, server: FakeServer, make: Make) -> None:
    _, planned = ended(server, make, code, reconnect_delay=7, **EXACT)
    assert planned == pytest.approx(6.75, abs=0.3)


def test_service_restart_is_spread_over_5_to_30_seconds(server: FakeServer, make: Make) -> None:
    planned = [ended(server, make, 1012, reconnect_delay_max=60)[1] for _ in range(12)]
    assert min(planned) > 4
    assert max(planned) <= 30
    assert max(planned) - min(planned) > 1


def test_service_restart_stays_within_the_longest_delay(server: FakeServer, make: Make) -> None:
    planned = [ended(server, make, 1012, reconnect_delay=1, reconnect_delay_max=2)[1] for _ in range(5)]
    assert max(planned) <= 3  # 2 s and the jitter
    assert min(planned) > 1.5


def test_try_again_later_waits_for_the_longest_delay(server: FakeServer, make: Make) -> None:
    _, planned = ended(server, make, 1013)
    assert 15.5 < planned <= 24


@pytest.mark.parametrize("code", sorted(STRIKE_CODES))
def test_three_closes_that_blame_the_client_are_fatal(code: int, server: FakeServer, make: Make) -> None:
    failing(server, accept(), close(code, "your fault"))
    client, changes = make(server.url, fatal_retry_delay=90, **{**QUICK, "reconnect_jitter": 0}), Record()
    client.on_status(changes)
    client.connect(wait=False)
    change = wait_for_state(changes, UNAVAILABLE)
    assert len(server.connections) == 3
    assert delay(change, datetime.now(UTC)) == pytest.approx(89.5, abs=0.6)
    error = change.current.last_error
    assert isinstance(error, ConnectionLost)
    assert error.code == code
    server.then = ()
    client.reconnect(PATIENCE)
    assert client.is_connected


def test_three_in_a_row_means_in_a_row(server: FakeServer, make: Make) -> None:
    for code in (1008, 1002, 4000, 1008, 1003, 1001, 1008, 1008):
        server.add_script(accept(), close(code))
    client, changes = make(server.url, **QUICK), Record()
    client.on_status(changes)
    client.connect(wait=False)
    server.wait_for_connection(9)
    wait_for_state(changes, CONNECTED)
    assert "unavailable" not in states(changes.items)


def test_refusals_between_the_strikes_do_not_wipe_them_out(server: FakeServer, make: Make) -> None:
    for _ in range(2):
        server.add_script(accept(), close(1008))
        server.add_script(refuse(503))
    failing(server, accept(), close(1008))
    client, changes = make(server.url, **QUICK), Record()
    client.on_status(changes)
    client.connect(wait=False)
    wait_for_state(changes, UNAVAILABLE)
    assert len(server.connections) == 3


def test_with_give_up_three_strikes_end_in_failed(server: FakeServer, make: Make) -> None:
    failing(server, accept(), close(1008, "no"))
    client, changes = make(server.url, give_up=True, **QUICK), Record()
    client.on_status(changes)
    client.connect(wait=False)
    wait_for_state(changes, FAILED)
    with pytest.raises(ConnectionLost, match="1008"):
        client.join(PATIENCE)


@pytest.mark.parametrize("frame", [b"\x81\x01\xff", b"\xff\x00", b"\x83\x00"])
def test_a_server_that_breaks_the_protocol_over_and_over_is_left_alone(
    frame: bytes, server: FakeServer, make: Make
) -> None:
    failing(server, accept(), send_raw(frame))
    client, changes = make(server.url, fatal_retry_delay=90, **QUICK), Record()
    client.on_status(changes)
    client.connect(wait=False)
    change = wait_for_state(changes, UNAVAILABLE)
    assert isinstance(change.current.last_error, ProtocolError)
    assert len(server.connections) == 3
    for connection in server.connections:
        connection.wait_closed()
    assert {connection.close_code for connection in server.connections} <= {1002, 1007}


@pytest.mark.parametrize("ending", [disconnect(), reset()], ids=["fin", "rst"])
def test_a_connection_that_breaks_is_1006_and_tried_again(ending: Any, server: FakeServer, make: Make) -> None:
    server.add_script(accept(), ending)
    client, changes = make(server.url, **QUICK), Record()
    client.on_status(changes)
    client.connect(wait=False)
    server.wait_for_connection(2)
    wait_for_state(changes, CONNECTED)
    error = next(one.current.last_error for one in changes.items if one.current.state is RECONNECTING)
    assert isinstance(error, ConnectionLost)
    assert error.code == 1006


# Connected and cut, over and over


@pytest.mark.parametrize("ending", [close(1000), reset(), disconnect()], ids=["close", "rst", "fin"])
def test_a_server_that_accepts_and_cuts_is_met_with_growing_delays(ending: Any, server: FakeServer, make: Make) -> None:
    failing(server, accept(), ending)
    options = {"reconnect_delay": 0.02, "reconnect_multiplier": 2.0, "reconnect_delay_max": 0.16, **EXACT}
    client, changes = make(server.url, **options), Record()
    client.on_status(changes)
    client.connect(wait=False)
    seen = changes.wait_until(lambda items: sum(one.current.state is RECONNECTING for one in items) >= 6)
    lost = [one for one in seen if one.current.state is RECONNECTING]
    planned = [delay(one, one.current.since) for one in lost]
    assert planned[:6] == pytest.approx([0.02, 0.04, 0.08, 0.16, 0.16, 0.16], abs=0.01)
    assert {one.current.reconnect_attempts for one in lost} == {0}  # each attempt succeeded: no outage
    assert "unavailable" not in states(seen)


def test_the_step_goes_back_after_reconnect_reset_after(network: MemoryTransport, clock: FakeClock, make: Make) -> None:
    options = {"reconnect_reset_after": 10, "heartbeat": "none", **EXACT}
    client, changes = make(link_factory=network, clock=clock, **options), Record()
    client.on_status(changes)
    client.connect(PATIENCE)
    planned = []
    for number, lived in enumerate((0, 9.9, 9.9, 10, 0, 30), start=1):
        clock.advance(lived)
        network.wait_for_open(number).lose()
        change = wait_for_state(changes, RECONNECTING)
        planned.append(delay(change, clock.now()))
        clock.wait_for_waiters(1)
        clock.advance(planned[-1])
        wait_for_state(changes, CONNECTED)
    assert planned == [1, 2, 4, 1, 2, 1]


def test_the_documented_delays(network: MemoryTransport, clock: FakeClock, make: Make) -> None:
    network.refuse(times=None)
    client, changes = make(link_factory=network, clock=clock, **EXACT), Record()
    client.on_status(changes)
    client.connect(wait=False)
    planned = []
    for attempt in range(8):
        network.wait_for_links(attempt + 1)
        change = wait_for_plan(changes, attempt)
        planned.append(delay(change, clock.now()))
        clock.wait_for_waiters(1)
        clock.advance(planned[-1])
    assert planned == [1, 2, 4, 8, 16, 16, 16, 16]
    declared = [one.current.reconnect_attempts for one in changes.items if one.current.state is UNAVAILABLE]
    assert declared[0] == 5


# A policy of the user's


def test_a_policy_makes_a_fatal_outcome_passing(server: FakeServer, make: Make) -> None:
    server.add_script(refuse(404))
    client = make(server.url, retry_policy=lambda error, decision: RetryDecision("retry"), **QUICK)
    client.connect(PATIENCE)
    assert len(server.attempts) == 2


def test_a_policy_makes_a_passing_outcome_fatal(server: FakeServer, make: Make) -> None:
    failing(server, refuse(503))
    seen: list[tuple[RealtimeError, RetryDecision]] = []

    def policy(error: RealtimeError, decision: RetryDecision) -> RetryDecision:
        seen.append((error, decision))
        return RetryDecision("fatal")

    client = make(server.url, retry_policy=policy, **QUICK)
    with pytest.raises(HandshakeRejected):
        client.connect(PATIENCE)
    assert client.status.state is FAILED
    (error, decision), *more = seen
    assert not more
    assert isinstance(error, HandshakeRejected)
    assert error.status == 503
    assert decision == RetryDecision("retry")


def test_a_policy_asks_for_a_renewal(server: FakeServer, make: Make) -> None:
    server.add_script(refuse(418))
    options = {"reconnect_delay": 3600.0, "reconnect_delay_max": 3600.0}
    client = make(server.url, token=Tokens(), retry_policy=lambda *_: RetryDecision("renew"), **options)
    client.connect(PATIENCE)
    assert authorizations(server) == ["Bearer token-1", "Bearer token-2"]


def test_a_policy_that_always_renews_does_not_hammer_the_server(server: FakeServer, make: Make) -> None:
    failing(server, refuse(401))
    client, changes = make(server.url, retry_policy=lambda *_: RetryDecision("renew"), reconnect_delay=5), Record()
    client.on_status(changes)
    client.connect(wait=False)
    wait_for_state(changes, RECONNECTING)
    assert len(server.attempts) <= 2


def test_a_policy_sets_the_delay(server: FakeServer, make: Make) -> None:
    failing(server, refuse(503))
    client, changes = make(server.url, retry_policy=lambda *_: RetryDecision("retry", at_least=123.0)), Record()
    client.on_status(changes)
    client.connect(wait=False)
    change = wait_for_state(changes, RECONNECTING)
    assert delay(change, datetime.now(UTC)) == pytest.approx(123, abs=1.5)


def test_a_policy_that_returns_none_leaves_it_to_the_table(server: FakeServer, make: Make) -> None:
    server.add_script(refuse(503))
    client = make(server.url, retry_policy=lambda *_: None, **QUICK)
    client.connect(PATIENCE)
    failing(server, refuse(404))
    with pytest.raises(HandshakeRejected):
        make(server.url, retry_policy=lambda *_: None, **QUICK).connect(PATIENCE)


def raising(error: BaseException) -> Callable[..., RetryDecision]:
    def policy(*_: object) -> RetryDecision:
        raise error

    return policy


def without_arguments() -> RetryDecision:
    return RetryDecision()


@pytest.mark.parametrize(
    "policy",
    [
        raising(ValueError("broken policy")),
        raising(SystemExit(1)),
        raising(KeyboardInterrupt()),
        without_arguments,
        lambda *_: "retry",
        lambda *_: 7,
        lambda *_: RetryDecision("nonsense"),
        lambda *_: RetryDecision("retry", at_least="soon"),  # type: ignore[arg-type]
        lambda *_: RetryDecision("retry", at_least=float("nan")),
        lambda *_: RetryDecision("retry", at_least=-5.0),
        lambda *_: RetryDecision("retry", spread=(0.01, 0.02)),
        lambda *_: RetryDecision("retry", spread=(1,)),  # type: ignore[arg-type]
    ],
)
def test_a_policy_that_is_broken_ends_nothing(policy: Any, server: FakeServer, make: Make) -> None:
    server.add_script(refuse(503))
    server.add_script(refuse(503))
    client = make(server.url, retry_policy=policy, **QUICK)
    client.connect(PATIENCE)
    server.drop()
    server.wait_for_connection(2)


@pytest.mark.parametrize("seconds", [1e9, 1e10, 1e18, float("inf")])
def test_a_policy_that_never_wants_to_try_again_does_not_break_the_client(
    seconds: float, server: FakeServer, make: Make
) -> None:
    failing(server, refuse(503))
    client, changes = make(server.url, retry_policy=lambda *_: RetryDecision("retry", at_least=seconds)), Record()
    client.on_status(changes)
    client.connect(wait=False)
    changes.wait_until(lambda items: items and items[-1].current.last_error is not None)
    assert client.status.state is RECONNECTING
    server.then = ()
    client.reconnect(PATIENCE)
    assert client.is_connected


# Giving up


def test_give_up_ends_in_failed_with_the_last_error(server: FakeServer, make: Make) -> None:
    failing(server, refuse(503))
    client, changes, notes = make(server.url, give_up=True, max_reconnect_attempts=3, **QUICK), Record(), Record()
    client.on_status(changes)
    client.on_notification(notes)
    with pytest.raises(HandshakeRejected) as caught:
        client.connect(PATIENCE)
    wait_for_state(changes, FAILED)
    assert states(changes.items) == ["connecting", "reconnecting", "failed"]
    assert client.status.last_error is caught.value
    assert client.status.reconnect_attempts == 3
    assert len(server.attempts) == 1 + 3
    assert notes.wait_until(lambda items: items[-1].kind == "failed")[-1].level == "error"
    assert not any("reader" in name or "heartbeat" in name for name in own_threads(client))
    with pytest.raises(HandshakeRejected):
        client.wait_for(timeout=PATIENCE)
    server.then = ()
    client.reconnect(PATIENCE)
    assert client.status.reconnect_attempts == 0


def test_give_up_later_in_life(server: FakeServer, make: Make) -> None:
    client, changes = make(server.url, give_up=True, max_reconnect_attempts=2, **QUICK), Record()
    client.on_status(changes)
    client.connect(PATIENCE)
    failing(server, refuse(503))
    server.drop()
    wait_for_state(changes, FAILED)
    assert states(changes.items) == ["connecting", "connected", "reconnecting", "failed"]


def test_a_declared_outage_releases_waiters_and_heals(server: FakeServer, make: Make) -> None:
    failing(server, refuse(503))
    client, changes = make(server.url, max_reconnect_attempts=2, **QUICK), Record()
    client.on_status(changes)
    with pytest.raises(HandshakeRejected):
        client.connect(PATIENCE)
    assert client.status.state is UNAVAILABLE
    server.then = ()
    wait_for_state(changes, CONNECTED)


def test_none_never_declares(server: FakeServer, make: Make) -> None:
    failing(server, refuse(503))
    client, changes = make(server.url, max_reconnect_attempts=None, **QUICK), Record()
    client.on_status(changes)
    client.connect(wait=False)
    seen = changes.wait_until(lambda items: items and items[-1].current.reconnect_attempts >= 20)
    assert states(seen) == ["connecting", "reconnecting"]


def test_a_certificate_that_is_not_trusted_is_fatal(make: Make) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with FakeServer(ssl_context=context) as server:
        client = make(server.url, **QUICK)
        with pytest.raises(ConnectError, match="certificate"):
            client.connect(PATIENCE)
        assert client.status.state is FAILED
        assert len(server.wait_for_attempts(1)) == 1


# Every row has its end-to-end test above; these say that each can be reached from the outside at all.


def outcomes() -> Iterator[RealtimeError]:
    yield from (HandshakeRejected(str(status), status=status) for status in range(100, 600))
    yield from (AuthenticationError(str(status), status=status) for status in (401, 403))
    yield from (ConnectionLost(str(code), code=code) for code in range(1000, 1016))
    yield ConnectError("x")
    yield ConnectError("x", retryable=False)
    yield RecordingError("x", path="feed.jsonl")
    yield RealtimeError("x")


def test_every_row_of_the_table_decides_something() -> None:
    from realtime_client import ClientConfig, MessageTooLarge
    from realtime_client._core.retry import Situation, decide

    reached: list[Row] = []
    for error in (*outcomes(), MessageTooLarge("x", size=2, limit=1)):
        for token in (None, lambda: "t"):
            for strikes in (0, 3):
                situation = Situation(config=ClientConfig(token=token), renewed=False, strikes=strikes)
                reached.append(decide(error, situation)[0])
    assert [row.outcome for row in TABLE if row not in reached] == []


def test_close_during_every_delay(server: FakeServer, make: Make) -> None:
    for steps in ([refuse(503, headers={"Retry-After": "3600"})], [accept(), close(1013)], [accept(), close(1012)]):
        failing(server, *steps)
        client: RealtimeClient = make(server.url)
        changes = Record()
        client.on_status(changes)
        client.connect(wait=False)
        wait_for_state(changes, RECONNECTING)
        closer = threading.Thread(target=client.close)
        with Stopwatch() as took:
            closer.start()
            closer.join(PATIENCE)
        assert took.seconds < 0.5
        assert client.status.state is ConnectionState.CLOSED


# A fresh start, and policies that do not answer


def test_connect_after_giving_up_has_the_full_schedule_again(network: MemoryTransport, make: Make) -> None:
    network.refuse(times=None)
    client = make(link_factory=network, give_up=True, **{**QUICK, "max_reconnect_attempts": 2})
    for dials in (3, 6, 9):
        with pytest.raises(ConnectError):
            client.connect(PATIENCE)
        assert client.status.state is FAILED
        assert len(network.links) == dials


def test_connect_after_a_refused_token_renews_it_again(server: FakeServer, make: Make) -> None:
    failing(server, refuse(401))
    tokens = Record()

    def token() -> str:
        tokens(1)
        return "secret"

    client = make(server.url, token=token, **QUICK)
    for asked in (2, 4):
        with pytest.raises(AuthenticationError):
            client.connect(PATIENCE)
        assert len(tokens.items) == len(server.attempts) == asked


def test_every_renewal_of_a_token_is_told_by_a_change(server: FakeServer, make: Make) -> None:
    for _ in range(2):
        server.add_script(refuse(401))
        server.add_script()
    client, changes = make(server.url, token=lambda: "secret", **QUICK), Record()
    client.on_status(changes)
    client.connect(PATIENCE)
    server.wait_for_connection(1)
    server.drop()
    seen = changes.wait_until(lambda items: states(items).count("connected") == 2)
    refused = [c.current for c in seen if isinstance(c.current.last_error, AuthenticationError)]
    assert [status.state for status in refused] == [ConnectionState.CONNECTING, RECONNECTING]
    assert all(status.connecting for status in refused)
    assert len(server.attempts) == 4


@pytest.mark.parametrize("answer", ["retry", 5, object()])
def test_a_policy_that_returns_something_else_leaves_it_to_the_table(
    answer: Any, network: MemoryTransport, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    network.refuse(times=None)
    options = {**QUICK, "max_reconnect_attempts": 2}
    client = make(link_factory=network, retry_policy=lambda error, decision: answer, **options)
    with pytest.raises(ConnectError, match="memory transport"):
        client.connect(PATIENCE)
    assert client.status.state is UNAVAILABLE
    assert "the table decides" in caplog.text
