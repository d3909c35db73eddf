"""With default settings: what a refused handshake leads to, when it is tried again, and how often."""

from __future__ import annotations

import email.utils
import ssl
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from realtime_client import (
    AuthenticationError,
    ConnectError,
    ConnectionState,
    HandshakeRejected,
    RealtimeClient,
    RealtimeError,
)
from realtime_client.testing import FakeClock, FakeServer, refuse
from tests.client.conftest import Make
from tests.client.recording import Record, own_threads
from tests.outages.waiting import wait_for_plan
from tests.serving import serving

DAY = 86_400.0


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_obeyed_in_seconds(status: int, server: FakeServer, clock: FakeClock, make: Make) -> None:
    server.add_script(refuse(status, headers={"Retry-After": "120"}))
    client, changes = make(server.url, clock=clock), Record()
    client.on_status(changes)
    client.connect(wait=False)
    wait_for_plan(changes, 0)
    clock.wait_for_waiters(1)
    clock.advance(119.9)
    clock.wait_for_waiters(1)
    assert len(server.attempts) == 1
    clock.advance(1.0)  # jitter may put half of the first delay on top
    server.wait_for_connection()
    changes.wait_until(lambda items: items[-1].current.connected)
    assert len(server.attempts) == 2


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_obeyed_as_a_date(status: int, server: FakeServer, make: Make) -> None:
    due = datetime.now(UTC) + timedelta(seconds=300)
    server.then = [refuse(status, headers={"Retry-After": email.utils.format_datetime(due, usegmt=True)})]
    client, changes = make(server.url), Record()
    client.on_status(changes)
    client.connect(wait=False)
    planned = wait_for_plan(changes, 0).current.next_retry_at
    assert planned is not None
    assert -1 <= (planned - due).total_seconds() <= 2  # dates have whole seconds; and the jitter
    assert len(server.attempts) == 1


def test_a_401_is_tried_once(server: FakeServer, clock: FakeClock, make: Make) -> None:
    server.then = [refuse(401)]
    client = make(server.url, token="fixed", clock=clock)
    assert isinstance(reason_to_fail(client, clock), AuthenticationError)
    assert len(server.attempts) == 1


def test_a_401_is_tried_twice_with_a_callable_token(server: FakeServer, clock: FakeClock, make: Make) -> None:
    server.then = [refuse(401)]
    tokens = iter(["one", "two", "three"])
    client = make(server.url, token=lambda: next(tokens), clock=clock)
    assert isinstance(reason_to_fail(client, clock), AuthenticationError)
    sent = [attempt.request.headers["Authorization"] for attempt in server.attempts if attempt.request]
    assert sent == ["Bearer one", "Bearer two"]


LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("wrong", ["unknown authority", "another host", "expired"])
def test_a_bad_certificate_is_tried_once(wrong: str, clock: FakeClock, make: Make) -> None:
    authority = trustme.CA()
    certificate = {
        "unknown authority": lambda: trustme.CA().issue_cert("127.0.0.1"),
        "another host": lambda: authority.issue_cert("example.org"),
        "expired": lambda: authority.issue_cert("127.0.0.1", not_after=LONG_AGO),
    }[wrong]()
    with authority.cert_pem.tempfile() as trust, FakeServer(ssl_context=serving(certificate)) as server:
        client = make(server.url, ca_file=trust, clock=clock)
        error = reason_to_fail(client, clock)
        assert isinstance(error, ConnectError)
        assert isinstance(error.__cause__, ssl.SSLCertVerificationError)
        assert len(server.wait_for_attempts(1)) == 1


def reason_to_fail(client: RealtimeClient, clock: FakeClock) -> RealtimeError | None:
    """Connect, see the client give up, and let a day pass in which nothing may happen."""
    changes = Record()
    client.on_status(changes)
    client.connect(wait=False)
    changes.wait_until(lambda items: items and items[-1].current.state is ConnectionState.FAILED)
    clock.advance(DAY)
    assert not [name for name in own_threads(client) if "reader" in name]
    assert client.status.state is ConnectionState.FAILED
    assert client.status.next_retry_at is None
    return client.status.last_error


@pytest.mark.parametrize("status", [429, 503])
def test_a_429_or_503_is_tried_again(status: int, server: FakeServer, clock: FakeClock, make: Make) -> None:
    """As often as it comes: through the declared outage, and beyond."""
    for _ in range(10):
        server.add_script(refuse(status))
    client, changes = make(server.url, clock=clock), Record()
    client.on_status(changes)
    client.connect(wait=False)
    for failed in range(10):
        change = wait_for_plan(changes, failed)
        assert isinstance(change.current.last_error, HandshakeRejected)
        assert change.current.last_error.status == status
        clock.skip_delay(client)  # no more than that: it would be taken from the attempt's own time
    changes.wait_until(lambda items: items[-1].current.connected)
    assert len(server.attempts) == 11
