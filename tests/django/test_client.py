"""The process's one client: when it is made, when it connects, and what the signals tell."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from django.db import connection, connections
from django.dispatch import Signal
from django.test import Client, override_settings

from realtime_client import ConnectionState, NewAnomaly, Notification, RealtimeClient, StatusChange
from realtime_client.integrations.django import realtime, signals
from realtime_client.integrations.starting import is_due
from realtime_client.testing import FakeServer, refuse
from tests.client.recording import alert, anomaly

Configure = Callable[[Any], None]
PATIENCE = 20.0


@attrs.frozen
class DeployFinished:
    service: str


class Heard:
    """A receiver that keeps what it is called with."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.threads: set[str] = set()
        self._called = threading.Condition()

    def __call__(self, **named: Any) -> None:
        with self._called:
            self.calls.append(named)
            self.threads.add(threading.current_thread().name)
            self._called.notify_all()

    def wait(self, number: int = 1) -> list[dict[str, Any]]:
        with self._called:
            assert self._called.wait_for(lambda: len(self.calls) >= number, PATIENCE), self.calls
        return self.calls


@contextmanager
def hearing(signal: Signal, **how: Any) -> Iterator[Heard]:
    heard = Heard()
    signal.connect(heard, weak=False, **how)
    try:
        yield heard
    finally:
        signal.disconnect(heard, **how)


def connections_seen(server: FakeServer) -> int:
    return len(server.connections)


def test_nothing_connects_by_itself(server: FakeServer, configure: Configure) -> None:
    configure({"URL": server.url})
    Client().get("/")
    assert realtime.settings.client.url == server.url
    assert connections_seen(server) == 0


def test_the_first_use_connects_and_there_is_one_connection(server: FakeServer, configure: Configure) -> None:
    configure({"URL": server.url})
    assert realtime.store.recent_logs == ()
    server.wait_for_connection(1, timeout=PATIENCE)
    client = realtime.client
    client.connect(timeout=PATIENCE)
    assert realtime.client is client
    Client().get("/")
    assert connections_seen(server) == 1
    server.send(anomaly(1))
    realtime.store.wait_for(lambda seen: seen.recent_logs, timeout=PATIENCE)


def test_many_first_uses_make_one_client(server: FakeServer, configure: Configure) -> None:
    configure({"URL": server.url})
    barrier = threading.Barrier(8)
    found: list[RealtimeClient] = []

    def use() -> None:
        barrier.wait(PATIENCE)
        found.append(realtime.client)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(found) == 8
    assert len(set(map(id, found))) == 1
    realtime.client.connect(timeout=PATIENCE)
    assert connections_seen(server) == 1


def test_a_request_connects_where_that_is_asked_for(server: FakeServer, configure: Configure) -> None:
    configure({"URL": server.url, "AUTOSTART": "first_request"})
    Client().get("/")
    server.wait_for_connection(1, timeout=PATIENCE)
    Client().get("/")
    realtime.client.connect(timeout=PATIENCE)
    assert connections_seen(server) == 1


def test_off_means_that_somebody_connects(server: FakeServer, configure: Configure) -> None:
    configure({"URL": server.url, "AUTOSTART": "off"})
    Client().get("/")
    assert realtime.store.recent_logs == ()
    assert realtime.client.status.state is ConnectionState.IDLE
    realtime.client.connect(timeout=PATIENCE)
    assert connections_seen(server) == 1


def test_wrong_settings_do_not_break_other_pages(configure: Configure) -> None:
    configure({"URL": "nonsense"})
    assert Client().get("/").status_code == 200


def test_overridden_settings_hold_at_once_and_go_back(server: FakeServer, configure: Configure) -> None:
    configure({"URL": server.url})
    before = realtime.client
    before.connect(timeout=PATIENCE)
    with FakeServer() as other:
        with override_settings(REALTIME_CLIENT={"URL": other.url}):
            assert before.status.state is ConnectionState.CLOSED
            realtime.client.connect(timeout=PATIENCE)
            assert connections_seen(other) == 1
            inside = realtime.client
        assert inside.status.state is ConnectionState.CLOSED
    assert realtime.settings.client.url == server.url


def test_a_client_that_gave_up_at_once_is_tried_again_at_a_later_use(configure: Configure) -> None:
    with FakeServer(script=[[refuse(404)]]) as server:
        configure({"URL": server.url, "FATAL_RETRY_DELAY": 0.01})
        with pytest.raises(ConnectionError):
            realtime.client.join(PATIENCE)  # not connect(): behind the refusal that would be another attempt
        failed_at = realtime.settings.client.fatal_retry_delay + time.monotonic()
        while time.monotonic() < failed_at:
            pass
        _ = realtime.store
        server.wait_for_connection(1, timeout=PATIENCE)


def test_a_client_that_shall_give_up_stays_given_up(configure: Configure) -> None:
    with FakeServer(script=[[refuse(404)]]) as server:
        configure({"URL": server.url, "GIVE_UP": True})
        client = realtime.client
        with pytest.raises(ConnectionError):
            client.join(PATIENCE)
        assert realtime.client is client
        was = attrs.evolve(client.status, since=datetime.now(UTC) - timedelta(days=1))
        assert not is_due(was, client.config)
        assert is_due(was, attrs.evolve(client.config, give_up=False))
        assert not is_due(attrs.evolve(was, since=datetime.now(UTC)), attrs.evolve(client.config, give_up=False))
        assert len(server.attempts) == 1


def test_events_are_sent_as_signals(server: FakeServer, configure: Configure) -> None:
    configure({"URL": server.url, "EVENTS": {"deploy_finished": DeployFinished}})
    with (
        hearing(signals.event_received) as every,
        hearing(signals.new_anomaly) as anomalies,
        hearing(signals.stats_update) as figures,
        hearing(signals.system_alert) as alerts,
    ):
        realtime.client.connect(timeout=PATIENCE)
        server.send(anomaly(1))
        server.send({"type": "stats_update", "data": {"stats": {"totalLogs": 5}}})
        server.send(alert("disk full"))
        server.send({"type": "deploy_finished", "data": {"service": "payments"}})
        calls = every.wait(5)
        assert [call["event"].type for call in calls] == [
            "connection_established",
            "new_anomaly",
            "stats_update",
            "system_alert",
            "deploy_finished",
        ]
        assert [call["sender"] is type(call["event"]) for call in calls] == [True] * 5
        assert calls[4]["event"].service == "payments"
        assert [call["event"].log.id for call in anomalies.wait()] == ["log-1"]
        assert [call["event"].stats["total_logs"] for call in figures.wait()] == [5]
        assert [call["event"].message for call in alerts.wait()] == ["disk full"]
        assert every.threads == {"rtc-client-dispatcher"}


def test_a_receiver_may_choose_by_class(server: FakeServer, configure: Configure) -> None:
    configure({"URL": server.url})
    with hearing(signals.event_received, sender=NewAnomaly) as heard:
        realtime.client.connect(timeout=PATIENCE)
        server.send(alert("disk full"))
        server.send(anomaly(1))
        assert isinstance(heard.wait()[0]["event"], NewAnomaly)


def test_states_notifications_and_gaps_are_sent_as_signals(server: FakeServer, configure: Configure) -> None:
    configure({"URL": server.url, "RECONNECT_DELAY": 0.01})
    with (
        hearing(signals.connection_state_changed) as states,
        hearing(signals.notification_made) as notifications,
        hearing(signals.gap_found) as gaps,
    ):
        realtime.client.connect(timeout=PATIENCE)
        server.drop()
        gap = gaps.wait()[0]
        assert gap["gap"].complete is False
        assert gap["sender"] is RealtimeClient
        changes: list[StatusChange] = [call["change"] for call in states.wait(4)]
        assert [change.current.state.name for change in changes] == [
            "CONNECTING",
            "CONNECTED",
            "RECONNECTING",
            "CONNECTED",
        ]
        assert notifications.wait()[0]["notification"].kind == "connected"


def test_a_receiver_that_raises_stops_nothing(
    server: FakeServer, configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(**named: Any) -> None:
        raise LookupError("of the receiver")

    configure({"URL": server.url})
    signals.new_anomaly.connect(broken)
    with hearing(signals.new_anomaly) as heard:
        realtime.client.connect(timeout=PATIENCE)
        server.send(anomaly(1))
        server.send(anomaly(2))
        assert [call["event"].log.id for call in heard.wait(2)] == ["log-1", "log-2"]
    assert "of the receiver" in caplog.text


def test_database_connections_are_treated_as_around_a_request(server: FakeServer, configure: Configure) -> None:
    held: list[bool] = []
    done = threading.Event()

    def query(*_: object, **named: Any) -> None:
        held.append(connection.connection is not None)
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        if len(held) == 4:
            connection.close()
            done.set()

    configure({"URL": server.url})
    realtime.client.on("new_anomaly", query)  # called after the receivers, and nobody closes anything after it
    signals.new_anomaly.connect(query)
    realtime.client.connect(timeout=PATIENCE)
    server.send(anomaly(1))
    server.send(anomaly(2))
    assert done.wait(PATIENCE)
    assert held == [False, False, False, False]


def test_no_database_connection_outlives_the_client(server: FakeServer, configure: Configure) -> None:
    used: list[Any] = []
    done = threading.Event()

    def query(**named: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        used.append(connections["default"])
        done.set()

    configure({"URL": server.url})
    signals.new_anomaly.connect(query)
    kept = connections.settings["default"]
    kept["CONN_MAX_AGE"], before = None, kept["CONN_MAX_AGE"]
    try:
        realtime.client.connect(timeout=PATIENCE)
        server.send(anomaly(1))
        assert done.wait(PATIENCE)
        server.send(anomaly(2))
        realtime.client.close()
    finally:
        kept["CONN_MAX_AGE"] = before
    assert used[0].connection is None


def test_no_database_connection_is_kept_once_the_client_has_given_up(configure: Configure) -> None:
    used: list[str] = []
    kept: list[bool] = []
    told = threading.Event()

    def query(notification: Notification, **named: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        used.append(notification.kind)

    def look(notification: Notification) -> None:
        if notification.kind == "failed":
            kept.append(connection.connection is not None)
            told.set()

    signals.notification_made.connect(query)
    database = connections.settings["default"]
    database["CONN_MAX_AGE"], before = None, database["CONN_MAX_AGE"]
    try:
        with FakeServer(then=[refuse(401)]) as server:
            configure({"URL": server.url, "GIVE_UP": True})
            realtime.client.on_notification(look)  # called after the receivers, on the same thread
            realtime.client.connect(wait=False)
            assert told.wait(PATIENCE)
    finally:
        database["CONN_MAX_AGE"] = before
    assert used == ["failed"]
    assert kept == [False]


def test_the_app_has_a_label_of_its_own() -> None:
    from django.apps import apps

    assert apps.get_app_config("realtime_client").name == "realtime_client.integrations.django"
