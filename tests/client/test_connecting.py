"""The seed's service, row by row, and what connect(), disconnect() and reconnect() promise."""

from __future__ import annotations

import itertools
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

import realtime_client
from realtime_client import (
    AuthenticationError,
    ClientClosed,
    ConnectError,
    ConnectionState,
    ConnectTimeout,
    DashboardStore,
    HandshakeRejected,
    RealtimeClient,
    Transport,
)
from realtime_client.testing import Ending, FakeServer, MemoryTransport, accept, close, refuse, stall
from tests.client.conftest import Make
from tests.client.recording import (
    PATIENCE,
    QUICK,
    Record,
    Stopwatch,
    Task,
    alert,
    anomaly,
    connect_and_settle,
    states,
    stats,
)

# The seed's rows, by their names there.


def test_seed_new_realtime_service() -> None:
    client = RealtimeClient("ws://localhost:8080/ws")
    assert client.config.url == "ws://localhost:8080/ws"
    assert RealtimeClient().config.url == "ws://localhost:8080/ws"
    assert client.status.state is ConnectionState.IDLE


def test_seed_connect(server: FakeServer, make: Make) -> None:
    client = make(server.url)
    client.connect(PATIENCE)
    assert client.is_connected
    assert len(server.connections) == 1


def test_seed_disconnect(server: FakeServer, make: Make) -> None:
    client = make(server.url)
    client.connect(PATIENCE)
    client.disconnect()
    assert not client.is_connected
    assert client.status.state is ConnectionState.CLOSED
    assert server.connections[0].wait_closed() is Ending.CLOSED
    client.connect(PATIENCE)
    assert client.is_connected


def test_seed_force_reconnect(server: FakeServer, make: Make) -> None:
    client = make(server.url)
    client.connect(PATIENCE)
    client.reconnect(timeout=PATIENCE)
    assert client.is_connected
    assert len(server.connections) == 2
    server.connections[0].wait_closed()
    assert server.max_open == 1


def test_seed_is_connected(server: FakeServer, make: Make) -> None:
    client = make(server.url)
    seen = [client.is_connected]
    client.connect(PATIENCE)
    seen.append(client.is_connected)
    client.disconnect()
    seen.append(client.is_connected)
    assert seen == [False, True, False]


def test_seed_get_connection_status(server: FakeServer, make: Make) -> None:
    client = make(server.url)
    before = datetime.now(UTC)
    greeted = Record()
    client.on("connection_established", greeted)
    client.connect(PATIENCE)
    greeted.wait_for(1)
    status = client.status
    assert status.state is ConnectionState.CONNECTED
    assert (status.connected, status.connecting) == (True, False)
    assert (status.reconnect_attempts, status.max_reconnect_attempts) == (0, 5)
    assert status.transport is Transport.WEBSOCKET
    assert before <= status.since <= datetime.now(UTC)
    assert status.last_message_at is not None
    assert status.since <= status.last_message_at <= datetime.now(UTC)
    assert (status.last_error, status.next_retry_at, status.latency) == (None, None, None)
    with pytest.raises(AttributeError):
        status.state = ConnectionState.FAILED  # type: ignore[misc]


def test_seed_on_connection_change(server: FakeServer, make: Make) -> None:
    client, changes = make(server.url, **QUICK), Record()
    client.on_connection_change(changes)
    assert changes.items == []
    client.connect(PATIENCE)
    assert changes.wait_for(1) == [True]
    server.drop()
    assert changes.wait_for(3) == [True, False, True]
    client.close()
    assert changes.items == [True, False, True, False]


def test_seed_remove_connection_listener(server: FakeServer, make: Make) -> None:
    client, kept, cancelled, removed = make(server.url), Record(), Record(), Record()
    subscription = client.on_connection_change(cancelled)
    client.on_connection_change(removed)
    client.on_connection_change(kept)
    subscription.cancel()
    assert client.remove_connection_listener(removed) is True
    assert client.remove_connection_listener(removed) is False
    client.connect(PATIENCE)
    kept.wait_for(1)
    assert cancelled.items == removed.items == []


def test_remove_connection_listener_leaves_other_subscriptions_of_the_callback(server: FakeServer, make: Make) -> None:
    client, both = make(server.url), Record()
    client.on("connection_established", both)
    client.on_connection_change(both)
    client.remove_connection_listener(both)
    client.connect(PATIENCE)
    (event,) = both.wait_for(1)
    assert event.type == "connection_established"


def test_seed_dashboard_store(server: FakeServer, make: Make) -> None:
    client = make(server.url)
    client.connect(PATIENCE)
    server.send(stats(totalLogs=10_500, anomalyCount=155, anomalyRate=0.0147, activeServices=5))
    server.send(anomaly(1))
    snapshot = client.store.wait_for(lambda s: s.stats.anomaly_count == 156, timeout=PATIENCE)
    assert [log.id for log in snapshot.recent_logs] == ["log-1"]
    assert (snapshot.stats.total_logs, snapshot.stats.anomaly_rate, snapshot.stats.active_services) == (
        10_500,
        0.0147,
        5,
    )


def test_seed_user_notifications(server: FakeServer, make: Make) -> None:
    client, told = make(server.url, **QUICK), Record()
    client.on_notification(told)
    client.connect(PATIENCE)
    told.wait_until(lambda items: "connected" in [n.kind for n in items])
    server.send(anomaly(1))
    server.send(alert("disk full", "error"))
    told.wait_until(lambda items: {"anomaly", "alert"} <= {n.kind for n in items})
    server.drop()
    told.wait_until(lambda items: [n.kind for n in items].count("connected") == 2)
    client.close()
    by_kind = {n.kind: n for n in told.items}
    assert {kind: n.level for kind, n in by_kind.items()} == {
        "connected": "success",
        "anomaly": "warning",
        "alert": "error",
        "lost": "warning",
        "retry": "info",
    }
    assert all(n.title and n.message and n.at.tzinfo is not None and n.count == 1 for n in told.items)


def test_seed_shared_singleton(server: FakeServer) -> None:
    one, other = realtime_client.shared(server.url), realtime_client.shared(server.url)
    try:
        one.connect(PATIENCE)
        assert other.is_connected
        one.close()
        assert other.is_connected
        assert len(server.connections) == 1
    finally:
        one.close()
        other.close()
    assert server.connections[0].wait_closed() is Ending.CLOSED


def test_shared_handle_that_is_closed_is_closed_to_join(server: FakeServer) -> None:
    one, other = realtime_client.shared(server.url), realtime_client.shared(server.url)
    one.connect(PATIENCE)
    waiting = Task(one.join)
    assert one.join(0.01) is False
    one.close()
    assert waiting.result() is True
    assert one.join() is True
    assert other.is_connected
    other.close()


def test_shared_handle_takes_its_watchers_of_the_store_along(server: FakeServer) -> None:
    one, other = realtime_client.shared(server.url), realtime_client.shared(server.url)
    mine, theirs = Record(), Record()
    one.store.subscribe("alerts", lambda _, alerts: mine(alerts))
    other.store.subscribe("alerts", lambda _, alerts: theirs(alerts))
    assert one.store.snapshot() is other.store.snapshot()
    one.connect(PATIENCE)
    one.close()
    with pytest.raises(ClientClosed):
        one.store.subscribe("alerts", print)
    server.send(alert("for the other"))
    assert theirs.wait_for(1)
    assert mine.items == []
    other.close()


def test_seed_fallback_to_polling_and_manual_refresh(server: FakeServer, make: Make) -> None:
    server.then = [refuse(503)]
    server.poll_answer = {"stats": {"totalLogs": 42}, "logs": [anomaly(1)["data"]["log"]]}
    client = make(server.url, polling_url=server.poll_url, poll_after=0, polling_interval=60, **QUICK)
    client.connect(wait=False)
    snapshot = client.store.wait_for(lambda s: s.stats.total_logs == 42, timeout=PATIENCE)
    assert [log.id for log in snapshot.recent_logs] == ["log-1"]
    server.poll_answer = {"stats": {"totalLogs": 43}}
    client.refresh(timeout=PATIENCE)
    assert client.store.stats.total_logs == 43


# connect()


def test_connect_without_wait_returns_at_once_and_keeps_trying(server: FakeServer, make: Make) -> None:
    server.add_script(stall("late"))
    client, changes = make(server.url), Record()
    client.on_status(changes)
    with Stopwatch() as took:
        client.connect(wait=False)
    assert took.seconds < 1
    server.wait_for_attempts(1)
    assert client.status.state is ConnectionState.CONNECTING
    assert client.status.connecting is True
    server.gate("late").release()
    changes.wait_until(lambda items: items and items[-1].current.connected)
    assert states(changes.items) == ["connecting", "connected"]


def test_connect_timeout_raises_and_the_client_keeps_trying(server: FakeServer, make: Make) -> None:
    server.add_script(stall("late"))
    client, changes = make(server.url), Record()
    client.on_connection_change(changes)
    with Stopwatch() as took, pytest.raises(ConnectTimeout, match=r"0\.2 s") as caught:
        client.connect(timeout=0.2)
    assert 0.2 <= took.seconds < 2
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value, ConnectionError)
    assert caught.value.timeout == 0.2
    assert client.status.state is ConnectionState.CONNECTING
    server.gate("late").release()
    assert changes.wait_for(1) == [True]
    assert len(server.attempts) == 1


def test_connect_a_second_time_is_a_no_op(server: FakeServer, make: Make) -> None:
    client, changes = make(server.url), Record()
    client.on_status(changes)
    client.connect(PATIENCE)
    since = client.status.since
    client.connect(PATIENCE)
    client.connect(wait=False)
    client.connect(timeout=PATIENCE)
    assert client.status.since == since
    assert len(server.attempts) == 1
    assert states(changes.wait_until(lambda items: items and items[-1].current.connected)) == [
        "connecting",
        "connected",
    ]


def test_connect_by_many_threads_makes_one_connection(server: FakeServer, make: Make) -> None:
    client = make(server.url)
    together = threading.Barrier(8)

    def connect() -> bool:
        together.wait(PATIENCE)
        client.connect(timeout=PATIENCE)
        return client.is_connected

    assert [task.result() for task in [Task(connect) for _ in range(8)]] == [True] * 8
    assert len(server.attempts) == 1


def test_connect_after_close_begins_anew_and_keeps_the_callbacks(server: FakeServer, make: Make) -> None:
    client, events, changes = make(server.url), Record(), Record()
    client.on("system_alert", events)
    client.on_status(changes)
    for turn in range(1, 4):
        client.connect(PATIENCE)
        server.send(alert(f"turn {turn}"))
        events.wait_for(turn)
        client.close()
    assert [event.message for event in events.items] == ["turn 1", "turn 2", "turn 3"]
    assert states(changes.items) == ["connecting", "connected", "closed"] * 3
    assert client.metrics().connects == 3


def test_connect_from_inside_a_callback_does_not_wait(server: FakeServer, make: Make) -> None:
    server.add_script(accept())
    server.add_script(stall("never"))
    client, done = make(server.url), Record()

    def ask(event: object) -> None:
        client.reconnect(PATIENCE)
        client.connect(PATIENCE)
        done(client.is_connected)

    client.on("system_alert", ask)
    client.connect(PATIENCE)
    server.send(alert("now"))
    done.wait_for(1)
    server.wait_for_attempts(2)


def test_connect_waits_while_another_attempt_is_under_way(server: FakeServer, make: Make) -> None:
    server.add_script(stall("late"))
    client = make(server.url)
    client.connect(wait=False)
    server.wait_for_attempts(1)
    second = Task(client.connect)
    second.began.wait(PATIENCE)
    server.gate("late").release()
    second.result()
    assert client.is_connected
    assert len(server.attempts) == 1


# Fatal outcomes


@pytest.mark.parametrize("status", [400, 404, 410, 426])
def test_handshake_rejected_for_good_ends_in_failed_and_raises_at_once(
    status: int, server: FakeServer, make: Make
) -> None:
    server.then = [refuse(status, body="no such feed here")]
    client, changes = make(server.url, reconnect_delay=16), Record()
    client.on_status(changes)
    with Stopwatch() as took, pytest.raises(HandshakeRejected) as caught:
        client.connect(PATIENCE)
    assert took.seconds < 3
    assert caught.value.status == status
    assert "no such feed" in caught.value.body
    assert caught.value.url == server.url
    assert client.status.state is ConnectionState.FAILED
    assert client.status.last_error is caught.value
    assert client.status.next_retry_at is None
    assert len(server.attempts) == 1
    assert states(changes.wait_until(lambda items: len(states(items)) == 2)) == ["connecting", "failed"]


def test_connect_and_reconnect_start_again_from_failed(server: FakeServer, make: Make) -> None:
    server.add_script(refuse(404))
    server.add_script(refuse(404))
    client = make(server.url)
    with pytest.raises(HandshakeRejected):
        client.connect(PATIENCE)
    with pytest.raises(HandshakeRejected):
        client.reconnect(PATIENCE)
    assert client.status.state is ConnectionState.FAILED
    client.connect(PATIENCE)
    assert client.is_connected
    assert client.status.last_error is None


@pytest.mark.parametrize("status", [401, 403])
def test_authentication_error_with_a_fixed_token_is_fatal(status: int, server: FakeServer, make: Make) -> None:
    server.then = [refuse(status)]
    client = make(server.url, token="fixed")
    with pytest.raises(AuthenticationError) as caught:
        client.connect(PATIENCE)
    assert caught.value.status == status
    assert client.status.state is ConnectionState.FAILED
    assert len(server.attempts) == 1


def test_authentication_error_with_a_callable_token_is_fatal_after_one_renewal(server: FakeServer, make: Make) -> None:
    server.then = [refuse(401)]
    tokens = iter(["one", "two", "three"])
    client = make(server.url, token=lambda: next(tokens), reconnect_delay=16)
    with Stopwatch() as took, pytest.raises(AuthenticationError):
        client.connect(PATIENCE)
    assert took.seconds < 3
    sent = [attempt.request.headers["Authorization"] for attempt in server.attempts if attempt.request]
    assert sent == ["Bearer one", "Bearer two"]
    assert client.status.state is ConnectionState.FAILED


def test_a_renewed_token_is_tried_at_once(server: FakeServer, make: Make) -> None:
    server.add_script(refuse(401))
    tokens = iter(["stale", "fresh"])
    client = make(server.url, token=lambda: next(tokens), reconnect_delay=16)
    with Stopwatch() as took:
        client.connect(PATIENCE)
    assert took.seconds < 3
    assert client.is_connected
    assert client.status.reconnect_attempts == 0


def test_the_token_is_asked_anew_for_every_attempt(server: FakeServer, make: Make) -> None:
    count = iter(range(1, 100))
    client, changes = make(server.url, token=lambda: f"token-{next(count)}", **QUICK), Record()
    client.on_connection_change(changes)
    client.connect(PATIENCE)
    server.drop()
    changes.wait_for(3)
    sent = [attempt.request.headers["Authorization"] for attempt in server.attempts if attempt.request]
    assert sent == ["Bearer token-1", "Bearer token-2"]


def test_close_codes_that_blame_the_client_are_fatal_the_third_time_in_a_row(server: FakeServer, make: Make) -> None:
    for _ in range(3):
        server.add_script(accept(), close(1008, "policy"))
    client, changes = make(server.url, **QUICK), Record()
    client.on_status(changes)
    client.connect(wait=False)
    seen = changes.wait_until(lambda items: items and items[-1].current.state is ConnectionState.UNAVAILABLE)
    assert states(seen) == ["connecting", *["connected", "reconnecting"] * 2, "connected", "unavailable"]
    assert seen[-1].current.last_error.code == 1008
    assert len(server.attempts) == 3


# reconnect()


def test_reconnect_makes_an_idle_client_connect(server: FakeServer, make: Make) -> None:
    client = make(server.url)
    client.reconnect(timeout=PATIENCE)
    assert client.is_connected
    assert client.metrics().reconnects == 0


def test_reconnect_without_wait_returns_at_once(server: FakeServer, make: Make) -> None:
    client, changes = make(server.url), Record()
    connect_and_settle(client)
    client.on_connection_change(changes)
    server.then = [stall("late")]
    with Stopwatch() as took:
        client.reconnect(wait=False)
    assert took.seconds < 1
    server.wait_for_attempts(2)
    assert client.status.state is ConnectionState.RECONNECTING
    server.gate("late").release()
    changes.wait_until(lambda items: items[-1:] == [True])


def test_reconnect_timeout_raises_connect_timeout(server: FakeServer, make: Make) -> None:
    client = make(server.url)
    client.connect(PATIENCE)
    server.then = [stall()]
    with pytest.raises(ConnectTimeout):
        client.reconnect(timeout=0.2)
    assert client.status.state is ConnectionState.RECONNECTING


def test_reconnect_ends_an_attempt_that_hangs(server: FakeServer, make: Make) -> None:
    server.add_script(stall())
    client = make(server.url, connect_timeout=60)
    client.connect(wait=False)
    server.wait_for_attempts(1)
    client.reconnect(timeout=PATIENCE)
    assert client.is_connected
    assert len(server.attempts) == 2


def test_reconnect_tells_the_change_and_counts(make: Make, network: MemoryTransport) -> None:
    client, changes = make(link_factory=network), Record()
    client.on_status(changes)
    client.connect(PATIENCE)
    client.reconnect(PATIENCE)
    client.reconnect(PATIENCE)
    assert client.metrics().reconnects == 2
    client.close()
    assert states(changes.items) == ["connecting", "connected", *["reconnecting", "connected"] * 2, "closed"]
    chain = changes.items
    assert all(later.previous == earlier.current for earlier, later in itertools.pairwise(chain))


def test_client_closed_is_raised_to_those_who_wait_for_a_connection(server: FakeServer, make: Make) -> None:
    server.then = [stall()]
    client = make(server.url)
    waiting = [Task(client.connect), Task(client.reconnect)]
    server.wait_for_attempts(1)
    for task in waiting:
        task.began.wait(PATIENCE)
    while not all(task.done for task in waiting):  # who has begun may call only after a close(), and connect anew
        client.close()
    for task in waiting:
        with pytest.raises((ClientClosed, ConnectError)):
            task.result()


def test_the_context_manager_connects_and_closes(server: FakeServer) -> None:
    with RealtimeClient(server.url) as client:
        assert client.is_connected
    assert client.status.state is ConnectionState.CLOSED


# The end of a shared handle


def test_shared_handle_that_is_closed_neither_sends_nor_refreshes_nor_waits(server: FakeServer) -> None:
    server.poll_answer = {}
    one, other = (realtime_client.shared(server.url, polling_url=server.poll_url) for _ in range(2))
    try:
        one.connect(PATIENCE)
        one.close()
        with pytest.raises(ClientClosed):
            one.send({"type": "x"})
        with pytest.raises(ClientClosed):
            one.refresh()
        with pytest.raises(ClientClosed):
            one.store.wait_for(lambda seen: True)
        assert server.polls == ()
        other.send({"type": "still here"})
        server.wait_for_message({"type": "still here"})
    finally:
        one.close()
        other.close()


def test_shared_handle_takes_only_its_own_subscriptions_off(server: FakeServer) -> None:
    one, other = realtime_client.shared(server.url), realtime_client.shared(server.url)
    try:
        heard = Record()
        other.on("system_alert", heard)
        assert one.off(heard) is False
        one.on("system_alert", heard)
        assert one.off(heard) is True
        one.on_connection_change(heard)
        one.remove_connection_listener(heard)
        last = Record()
        other.on("system_alert", last)
        one.connect(PATIENCE)
        server.send(alert("x"))
        last.wait_for(1)
        assert [event.message for event in heard.items] == ["x"]
    finally:
        one.close()
        other.close()


def test_shared_handle_releases_who_waits_for_its_store_when_it_closes(server: FakeServer) -> None:
    one, other = realtime_client.shared(server.url), realtime_client.shared(server.url)
    try:
        looked = Record()
        waiting = Task(lambda: one.store.wait_for(looked, PATIENCE))
        still_waiting = Task(lambda: other.store.wait_for(lambda seen: seen.stats.total_logs == 7, PATIENCE))
        looked.wait_for(1)
        one.close()
        with Stopwatch() as took, pytest.raises(ClientClosed):
            waiting.result()
        assert took.seconds < PATIENCE / 2
        other.connect(PATIENCE)
        server.send(stats(totalLogs=7))
        assert still_waiting.result().stats.total_logs == 7
    finally:
        one.close()
        other.close()


@pytest.mark.parametrize(
    ("of", "name"), [(RealtimeClient, "_iterate"), (RealtimeClient, "_subscribe"), (DashboardStore, "subscribe")]
)
def test_shared_handle_leaves_nothing_behind_that_begins_while_it_closes(
    of: type, name: str, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is closed between the making of something and the moment in which the handle knows of it."""
    one, other = realtime_client.shared(server.url), realtime_client.shared(server.url)
    make = getattr(of, name)

    def make_and_close(self: Any, *arguments: Any, **how: Any) -> Any:
        made = make(self, *arguments, **how)
        one.close()
        return made

    try:
        with monkeypatch.context() as patch:
            patch.setattr(of, name, make_and_close)
            if name == "_iterate":
                with pytest.raises(ClientClosed):  # and not only after that time
                    one.wait_for("system_alert", timeout=PATIENCE)
            else:
                begun = one.store.subscribe("alerts", print) if of is DashboardStore else one.on("system_alert", print)
                assert not begun.active
    finally:
        one.close()
        other.close()


def test_shared_handle_that_is_closed_as_somebody_joins_is_closed(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = realtime_client.shared(server.url), realtime_client.shared(server.url)
    join = RealtimeClient.join

    def close_and_join(self: RealtimeClient, timeout: float | None = None) -> bool:
        one.close()
        return join(self, timeout)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(RealtimeClient, "join", close_and_join)
            assert one.join(PATIENCE) is True
    finally:
        one.close()
        other.close()
