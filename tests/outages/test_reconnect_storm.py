"""Hundreds of forced reconnections of each kind: none ends the client, and nothing is left of them.

``REALTIME_FULL=1`` makes it 500 of each, which takes some minutes. By itself it is 200 of the quick kinds, and fewer of
the slow ones, which have to wait for a time-out each time.
"""

from __future__ import annotations

import gc
from collections import Counter
from typing import Any, NamedTuple

import psutil
import pytest

from realtime_client import (
    ConnectionState,
    ConnectTimeout,
    HandshakeRejected,
    HeartbeatTimeout,
    RealtimeClient,
    StatusChange,
)
from realtime_client.testing import FakeServer, accept, close, go_silent, refuse, reset, stall
from tests.bulk import bulk
from tests.client.conftest import Make
from tests.client.recording import Record, Task, anomaly, own_threads

QUICK_KINDS = bulk(200, 500)
SLOW_KINDS = bulk(30, 500)
STORM: dict[str, Any] = {
    "reconnect_delay": 0.001,
    "reconnect_delay_max": 0.001,
    "reconnect_jitter": 0,
    "max_reconnect_attempts": None,
}
PATIENCE = bulk(50, 500)
pytestmark = pytest.mark.timeout(PATIENCE + 10)


def ours() -> Counter[str]:
    """How many objects of the client's own machinery are alive."""
    gc.collect()
    modules = ("realtime_client._runtime", "realtime_client.transports", "realtime_client.errors")
    kinds = [type(one) for one in gc.get_objects()]
    return Counter(kind.__name__ for kind in kinds if str(kind.__module__).startswith(modules))


class Step(NamedTuple):
    """What is kept of a status change: the change itself would keep its error, and with its trace the whole link."""

    state: ConnectionState
    attempts: int
    error: str | None
    planned: bool

    @property
    def connected(self) -> bool:
        return self.state is ConnectionState.CONNECTED


class Condition:
    """The state of the process and of a client that has just connected."""

    def __init__(self, client: RealtimeClient) -> None:
        self.threads = own_threads(client)
        self.descriptors = psutil.Process().num_fds()
        self.objects = ours()

    def roles(self) -> list[str]:
        """The roles of the client's threads, without their generation's number."""
        return [name.rstrip("0123456789") for name in self.threads]


def weather(server: FakeServer, client: RealtimeClient, changes: Record, *, connections: int) -> Condition:
    """The condition once the client is connected for good: it has answered, and its old sockets are closed."""
    server.wait_for_connection(connections, PATIENCE)
    changes.wait_until(lambda items: items and items[-1].connected, PATIENCE)
    wait_closed_all_but_the_last(server)
    server.send(anomaly(connections))
    client.store.wait_for(lambda seen: seen.recent_logs and seen.recent_logs[0].id == f"log-{connections}", 5)
    return Condition(client)


def wait_closed_all_but_the_last(server: FakeServer) -> None:
    """By their numbers: of an attempt that was given up the server may read later than of the one that followed."""
    for connection in sorted(server.attempts, key=lambda attempt: attempt.number)[:-1]:
        connection.wait_closed()


def compare(before: Condition, after: Condition) -> None:
    assert after.roles() == before.roles()
    assert after.descriptors <= before.descriptors + 1
    grown = {name: (before.objects[name], count) for name, count in after.objects.items()}
    assert {name: pair for name, pair in grown.items() if pair[1] > pair[0] + 5} == {}


def storm(server: FakeServer, client: RealtimeClient, changes: Record, steps: list[Any], times: int) -> None:
    """Let a connected client run into so many attempts that go like this, and then one that works."""
    changes_before = len(server.connections)
    before = weather(server, client, changes, connections=changes_before)
    for _ in range(times):
        server.add_script(*steps)
    opened = changes_before + (0 if steps[0].name.startswith(("refuse", "stall", "reset")) else times)
    server.drop()
    compare(before, weather(server, client, changes, connections=opened + 1))


def connected(client: RealtimeClient, server: FakeServer) -> Record:
    steps = Record()

    def told(change: StatusChange) -> None:
        status = change.current
        error = None if status.last_error is None else type(status.last_error).__name__
        steps(Step(status.state, status.reconnect_attempts, error, status.next_retry_at is not None))

    client.on_status(told)
    client.connect(PATIENCE)
    server.wait_for_connection(1)
    return steps


def errors(steps: Record) -> Counter[str | None]:
    """How often a step down told of each kind of error."""
    return Counter(step.error for step in steps.items if step.state is ConnectionState.RECONNECTING)


@pytest.mark.parametrize("ending", [close(1001), reset()], ids=["close", "reset"])
def test_connections_that_are_cut(ending: Any, server: FakeServer, make: Make) -> None:
    client = make(server.url, **STORM)
    changes = connected(client, server)
    storm(server, client, changes, [accept(), ending], QUICK_KINDS)
    steps = [step.state for step in changes.items[2:]]
    cut_and_back = [ConnectionState.RECONNECTING, ConnectionState.CONNECTED]
    assert steps == cut_and_back * (QUICK_KINDS + 1)
    assert {step.attempts for step in changes.items} == {0}
    assert client.metrics().reconnects == QUICK_KINDS + 1
    assert client.metrics().failed_attempts == 0


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [(refuse(503), HandshakeRejected), (reset(), None)],
    ids=["refused by 503", "reset in the handshake"],
)
def test_attempts_that_are_refused(refusal: Any, kind: type | None, server: FakeServer, make: Make) -> None:
    client = make(server.url, **STORM)
    changes = connected(client, server)
    storm(server, client, changes, [refusal], QUICK_KINDS)
    assert_each_refusal_was_told_once(changes, QUICK_KINDS)
    assert client.metrics().failed_attempts == QUICK_KINDS
    if kind is not None:
        assert errors(changes)[kind.__name__] == QUICK_KINDS


def assert_each_refusal_was_told_once(changes: Record, times: int) -> None:
    told = [step for step in changes.items[2:] if step.state is ConnectionState.RECONNECTING]
    assert [step.attempts for step in told] == list(range(times + 1))
    assert all(step.planned for step in told)
    assert len(changes.items) == 2 + times + 1 + 1


def test_connections_that_fall_silent(server: FakeServer, make: Make) -> None:
    options = {"heartbeat": "frame", "heartbeat_interval": 0.03, "heartbeat_timeout": 0.04}
    client = make(server.url, **STORM, **options)
    changes = connected(client, server)
    storm(server, client, changes, [accept(), go_silent()], SLOW_KINDS)
    assert errors(changes)[HeartbeatTimeout.__name__] >= SLOW_KINDS


def test_handshakes_that_stall(server: FakeServer, make: Make) -> None:
    client = make(server.url, **STORM, connect_timeout=0.08)
    changes = connected(client, server)
    storm(server, client, changes, [stall()], SLOW_KINDS)
    failed = client.metrics().failed_attempts
    assert failed >= SLOW_KINDS  # so short a time-out may end an attempt that should have worked, too
    assert_each_refusal_was_told_once(changes, failed)
    assert errors(changes)[ConnectTimeout.__name__] == failed


def test_everything_at_once_in_turns(server: FakeServer, make: Make) -> None:
    client = make(server.url, **STORM)
    changes = connected(client, server)
    kinds: list[list[Any]] = [[accept(), close(1001)], [refuse(503)], [accept(), reset()], [reset()], [refuse(200)]]
    before = weather(server, client, changes, connections=1)
    for _ in range(40):
        for steps in kinds:
            server.add_script(*steps)
    server.drop()
    compare(before, weather(server, client, changes, connections=1 + 80 + 1))
    assert client.metrics().failed_attempts == 120


def test_reconnect_by_hand_from_many_threads(server: FakeServer, make: Make) -> None:
    client = make(server.url, **STORM)
    changes = connected(client, server)
    before = weather(server, client, changes, connections=1)

    def work() -> None:
        for _ in range(25):
            client.reconnect(PATIENCE)

    for task in [Task(work) for _ in range(4)]:
        task.result(PATIENCE)
    wait_closed_all_but_the_last(server)
    compare(before, weather(server, client, changes, connections=len(server.connections)))
    assert server.max_open == 1
