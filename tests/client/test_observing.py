"""metrics(), health(), the status and the notifications: what a user sees of the client."""

from __future__ import annotations

import json
import threading
from datetime import datetime, timedelta
from typing import Any

import pytest

from realtime_client import ConnectionState, MalformedMessage, Notification, StatusChange, Transport
from realtime_client._runtime import reconnect
from realtime_client._runtime.threads import join_all
from realtime_client.testing import FakeClock, FakeServer, MemoryTransport
from tests.client.conftest import Make
from tests.client.recording import PATIENCE, QUICK, Record, alert, anomaly, connect_and_settle, stats


def test_what_was_sent_stays_counted_while_a_connection_ends(
    network: MemoryTransport, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is over for whoever sends before its threads have ended, and that may take a while."""
    client, seen = make(link_factory=network, heartbeat="none"), []

    def look(*arguments: Any) -> list[Any]:
        seen.append(client.metrics().bytes_sent)
        return join_all(*arguments)

    monkeypatch.setattr(reconnect, "join_all", look)
    client.connect(PATIENCE)
    client.send({"type": "command"})
    sent = client.metrics().bytes_sent
    client.reconnect(PATIENCE)
    assert sent > 0
    assert seen == [sent]
    assert client.metrics().bytes_sent == sent


def test_metrics_count_what_happens(server: FakeServer, make: Make) -> None:
    client, events, connected = make(server.url, **QUICK), Record(), Record()
    client.on("*", events)
    client.on_connection_change(connected)
    client.connect(PATIENCE)
    for i in (1, 2, 2):
        server.send(anomaly(i))
    server.send("not JSON")
    client.send({"type": "command"})
    server.wait_for_message({"type": "command"})
    events.wait_for(4)  # the greeting is one
    server.drop()
    connected.wait_for(3)
    events.wait_for(5)
    metrics = client.metrics()
    assert (metrics.received, metrics.delivered, metrics.waiting, metrics.dropped) == (5, 5, 0, {})
    assert (metrics.malformed, metrics.duplicates) == (1, 1)
    assert (metrics.connects, metrics.reconnects, metrics.failed_attempts) == (2, 1, 0)
    assert metrics.messages_sent == 1
    assert metrics.bytes_sent >= len('{"type":"command"}') + 6
    assert metrics.bytes_received > 300
    assert metrics.queue_high_water >= 1
    assert metrics.callbacks >= 6
    assert (metrics.callback_errors, metrics.polls, metrics.heartbeats) == (0, 0, 0)
    assert metrics.callback_time >= 0
    assert metrics.lanes == ()
    with pytest.raises(AttributeError):
        metrics.received = 0  # type: ignore[misc]


def test_metrics_go_on_over_close_and_connect(make: Make, network: MemoryTransport) -> None:
    client, events = make(link_factory=network), Record()
    client.on("*", events)
    for turn in range(1, 4):
        client.connect(PATIENCE)
        network.wait_for_open(turn).put(anomaly(turn))
        events.wait_for(turn)
        client.close()
    metrics = client.metrics()
    assert (metrics.received, metrics.delivered, metrics.connects) == (3, 3, 3)


def test_metrics_count_failed_attempts(make: Make, network: MemoryTransport) -> None:
    client = make(link_factory=network, **QUICK)
    network.refuse(times=3)
    client.connect(PATIENCE)
    assert client.metrics().failed_attempts == 3
    assert client.metrics().reconnects == 0


def test_health_is_small_and_json_ready(make: Make, network: MemoryTransport, clock: FakeClock) -> None:
    client, events = make(link_factory=network, clock=clock, reconnect_jitter=0), Record()
    client.on("*", events)
    idle = client.health()
    assert json.loads(json.dumps(idle)) == idle
    assert (idle["state"], idle["connected"], idle["transport"], idle["last_message_at"]) == (
        "idle",
        False,
        "none",
        None,
    )
    connect_and_settle(client)
    network.current.put(alert("x"))
    events.wait_for(1)
    health = client.health()
    assert json.loads(json.dumps(health)) == health
    assert len(json.dumps(health)) < 1_000
    assert (health["state"], health["connected"], health["transport"]) == ("connected", True, "websocket")
    assert datetime.fromisoformat(health["last_message_at"]) == clock.now()
    assert datetime.fromisoformat(health["since"]) == clock.now()
    assert (health["reconnect_attempts"], health["last_error"], health["next_retry_at"]) == (0, None, None)
    changes = Record()
    client.on_status(changes)
    network.current.lose()
    changes.wait_for(1)
    health = client.health()
    assert json.loads(json.dumps(health)) == health
    assert (health["state"], health["connected"], health["last_error"]) == (
        "reconnecting",
        False,
        "the memory link was cut",
    )
    assert datetime.fromisoformat(health["next_retry_at"]) == clock.now() + timedelta(seconds=1)


def test_connection_status_is_a_json_ready_snapshot(make: Make, network: MemoryTransport) -> None:
    client = make(link_factory=network)
    client.connect(PATIENCE)
    before = client.status
    client.close()
    assert before.state is ConnectionState.CONNECTED
    assert client.status.state is ConnectionState.CLOSED
    assert json.loads(json.dumps(client.status.to_dict()))["state"] == "closed"
    assert client.status.transport is Transport.NONE


def test_status_change_carries_previous_and_current(make: Make, network: MemoryTransport) -> None:
    client, changes = make(link_factory=network), Record()
    client.on_status(changes)
    assert changes.items == []
    client.connect(PATIENCE)
    first, second = changes.wait_for(2)
    assert isinstance(first, StatusChange)
    assert (first.previous.state, first.current.state) == (ConnectionState.IDLE, ConnectionState.CONNECTING)
    assert second.previous == first.current
    assert second.current.transport is Transport.WEBSOCKET


def test_on_notification_stands_for_many_anomalies_at_most_once_a_second(
    make: Make, network: MemoryTransport, clock: FakeClock
) -> None:
    client, told, events = make(link_factory=network, clock=clock, heartbeat="none"), Record(), Record()
    client.on("*", events)
    connect_and_settle(client)
    client.on_notification(told)
    network.current.put(anomaly(0))
    (first,) = told.wait_for(1)
    assert isinstance(first, Notification)
    assert (first.kind, first.level, first.count) == ("anomaly", "warning", 1)
    assert "number 0" in first.message
    network.current.put(*[anomaly(i) for i in range(1, 8)])
    network.current.put(alert("disk", "critical"))
    events.wait_for(9)
    (_, second) = told.wait_for(2)
    assert (second.kind, second.level, second.count) == ("alert", "error", 1)
    clock.wait_for_waiters(1)
    clock.advance(0.99)
    assert len(told.items) == 2
    clock.advance(0.01)
    assert (told.wait_for(3)[2].kind, told.items[2].count) == ("anomaly", 7)


@pytest.mark.parametrize(
    ("severity", "level"),
    [("info", "info"), ("warning", "warning"), ("error", "error"), ("critical", "error"), ("odd", "error")],
)
def test_notification_levels_of_alerts(severity: str, level: str, make: Make, network: MemoryTransport) -> None:
    client, told = make(link_factory=network), Record()
    connect_and_settle(client)
    client.on_notification(told)
    network.current.put(alert("text", severity))
    (notification,) = told.wait_until(lambda items: [n for n in items if n.kind == "alert"])[-1:]
    assert notification.level == level
    assert "text" in notification.message


def test_on_error_gets_malformed_messages(make: Make, network: MemoryTransport) -> None:
    client, errors = make(link_factory=network), Record()
    client.on_error(errors)
    client.connect(PATIENCE)
    network.current.put("broken")
    (error,) = errors.wait_for(1)
    assert isinstance(error, MalformedMessage)
    assert error is client.rejected[0]


def test_store_snapshot_is_consistent_and_says_how_fresh_it_is(
    make: Make, network: MemoryTransport, clock: FakeClock
) -> None:
    client, events = make(link_factory=network, clock=clock, heartbeat="none"), Record()
    client.on("*", events)
    assert client.store.snapshot().as_of is None
    assert client.store.snapshot().transport is Transport.NONE
    client.connect(PATIENCE)
    clock.advance(5)
    network.current.put(stats(totalLogs=10), anomaly(1), anomaly(2, timestamp="2020-01-01T00:00:00Z"), alert("a"))
    events.wait_for(4)
    snapshot = client.store.snapshot()
    assert snapshot.as_of == clock.now()
    assert snapshot.transport is Transport.WEBSOCKET
    assert [log.id for log in snapshot.recent_logs] == ["log-1", "log-2"]  # by timestamp, which one has not
    assert (snapshot.stats.anomaly_count, snapshot.stats.total_logs) == (2, 10)
    assert [a.message for a in snapshot.alerts] == ["a"]
    data = json.loads(json.dumps(snapshot.to_dict()))
    assert data["stats"]["anomalyCount"] == 2
    assert [log["id"] for log in data["recentLogs"]] == ["log-1", "log-2"]


def test_store_wait_for_looks_again_when_the_status_changes(make: Make, network: MemoryTransport) -> None:
    """Not through callbacks: one that is slow does not delay it."""
    client = make(link_factory=network, reconnect_delay=30, reconnect_delay_max=30)
    connect_and_settle(client)
    release = threading.Event()
    client.on("*", lambda _: release.wait(PATIENCE))
    network.current.put(anomaly(1), anomaly(2))
    client.store.wait_for(lambda s: len(s.recent_logs) == 2, PATIENCE)
    network.current.lose()
    client.store.wait_for(lambda _: client.status.state is ConnectionState.RECONNECTING, PATIENCE)
    release.set()


def test_store_counts_a_log_once_and_delivers_it_again(make: Make, network: MemoryTransport) -> None:
    client, events = make(link_factory=network), Record()
    client.on("new_anomaly", events)
    client.connect(PATIENCE)
    network.current.put(anomaly(1), anomaly(1, message="corrected"))
    events.wait_for(2)
    assert client.store.stats.anomaly_count == 1
    assert [log.message for log in client.store.recent_logs] == ["corrected"]
    assert client.metrics().duplicates == 1


def test_store_outlives_reconnections_and_close(make: Make, network: MemoryTransport) -> None:
    client = make(link_factory=network, **QUICK)
    client.connect(PATIENCE)
    network.current.put(anomaly(1))
    client.store.wait_for(lambda s: s.stats.anomaly_count == 1, timeout=PATIENCE)
    network.current.lose()
    network.wait_for_open(2).put(anomaly(2))
    client.store.wait_for(lambda s: s.stats.anomaly_count == 2, timeout=PATIENCE)
    client.close()
    assert client.store.stats.anomaly_count == 2


def test_store_is_bounded(make: Make, network: MemoryTransport) -> None:
    client = make(link_factory=network, recent_logs_limit=5, alerts_limit=3)
    client.connect(PATIENCE)
    network.current.put(*[anomaly(i) for i in range(50)], *[alert(str(i)) for i in range(50)])
    client.store.wait_for(lambda s: len(s.alerts) == 3, timeout=PATIENCE)
    assert [log.id for log in client.store.recent_logs] == [f"log-{i}" for i in range(49, 44, -1)]
    assert [a.message for a in client.store.alerts] == ["49", "48", "47"]


def test_dedup_window_is_for_log_ids_whatever_else_comes(make: Make, network: MemoryTransport) -> None:
    client, heard = make(link_factory=network, poller=dict, dedup_window=10), Record()
    client.on("*", heard)
    client.connect(PATIENCE)
    network.current.put(anomaly(1))
    network.current.put(*({**stats(totalLogs=n), "timestamp": f"2024-05-01T12:{n:02}:00Z"} for n in range(30)))
    network.current.put(anomaly(1))
    heard.wait_for(32)
    assert client.store.stats.anomaly_count == 1
    assert client.metrics().duplicates == 1
