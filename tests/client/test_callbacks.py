"""Callbacks: which, when, on which thread, in which order, and what happens when they misbehave."""

from __future__ import annotations

import functools
import logging
import threading
from typing import Any, cast

import attrs
import pytest

from realtime_client import (
    CallbackError,
    ConnectionEstablished,
    DashboardSnapshot,
    Event,
    MalformedMessage,
    NewAnomaly,
    Origin,
    RealtimeClient,
    StatsUpdate,
    Subscription,
    SystemAlert,
    UnknownEvent,
)
from realtime_client.testing import FakeServer, MemoryTransport
from tests.client.conftest import Make
from tests.client.recording import (
    PATIENCE,
    Record,
    Task,
    alert,
    anomaly,
    connect_and_settle,
    numbers,
    own_threads,
    stats,
)
from tests.outages.waiting import wait_until_ended


@pytest.fixture
def client(make: Make, network: MemoryTransport) -> RealtimeClient:
    """A connected client; messages are put into ``network.current``."""
    connected = make(link_factory=network, name="cb")
    connected.connect(PATIENCE)
    return connected


# Who is called with what


def test_on_takes_a_wire_name_a_class_or_a_star(client: RealtimeClient, network: MemoryTransport) -> None:
    by_name, by_class, by_base, every = Record(), Record(), Record(), Record()
    client.on("new_anomaly", by_name)
    client.on(NewAnomaly, by_class)
    client.on(Event, by_base)
    client.on("*", every)
    network.current.put(anomaly(1), alert("a"), stats(totalLogs=1), {"type": "own_type", "data": {"a": [1]}})
    every.wait_for(4)
    assert [e.type for e in every.items] == ["new_anomaly", "system_alert", "stats_update", "own_type"]
    assert by_base.items == every.items
    assert by_name.items == by_class.items == every.items[:1]
    assert [type(e) for e in every.items] == [NewAnomaly, SystemAlert, StatsUpdate, UnknownEvent]
    assert {e.origin for e in every.items} == {Origin.STREAM}
    assert all(e.received_at is not None and e.received_at.tzinfo is not None for e in every.items)


def test_on_unknown_event_is_delivered_with_its_data(client: RealtimeClient, network: MemoryTransport) -> None:
    unknown, by_name = Record(), Record()
    client.on(UnknownEvent, unknown)
    client.on("own_type", by_name)
    network.current.put({"type": "own_type", "data": {"someKey": [1, None]}}, alert("no"))
    (event,) = unknown.wait_for(1)
    assert by_name.wait_for(1) == [event]
    assert event.data == {"someKey": [1, None]}
    assert client.rejected == ()


def test_on_connection_established_is_the_greeting(server: FakeServer, make: Make) -> None:
    client, greeted = make(server.url), Record()
    client.on(ConnectionEstablished, greeted)
    client.connect(PATIENCE)
    assert isinstance(greeted.wait_for(1)[0], ConnectionEstablished)


def test_on_is_a_decorator_that_returns_the_function(client: RealtimeClient, network: MemoryTransport) -> None:
    seen = Record()

    @client.on("system_alert")
    def told(event: SystemAlert) -> str:
        seen(event.message)
        return event.message

    network.current.put(alert("one"))
    assert seen.wait_for(1) == ["one"]
    assert told(SystemAlert(message="direct")) == "direct"


@pytest.mark.parametrize("event", [None, 5, "", int, Exception])
def test_on_refuses_what_is_no_event(event: Any, client: RealtimeClient) -> None:
    with pytest.raises(TypeError, match="event"):
        client.on(event, print)
    with pytest.raises(TypeError, match="event"):
        client.events(event)


def test_on_refuses_what_cannot_be_called(client: RealtimeClient) -> None:
    for register in (client.on_status, client.on_connection_change, client.on_notification, client.on_gap):
        with pytest.raises(TypeError, match="callback"):
            register("not callable")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="callback"):
        client.on("*", cast("Any", 5))
    with pytest.raises(TypeError, match="callback"):
        client.on_error(5)  # type: ignore[arg-type]


def test_once_is_called_for_the_next_event_only(client: RealtimeClient, network: MemoryTransport) -> None:
    first, every = Record(), Record()
    client.once("new_anomaly", first)
    client.on("new_anomaly", every)
    network.current.put(*[anomaly(i) for i in range(10)])
    every.wait_for(10)
    assert numbers(first.items) == [0]


def test_once_works_as_a_decorator_and_can_be_cancelled(client: RealtimeClient, network: MemoryTransport) -> None:
    first, every = Record(), Record()

    @client.once("system_alert")
    def announce(event: object) -> None:
        first(event)

    assert client.off(announce) is True
    client.once("system_alert", first).cancel()
    client.on("system_alert", every)
    network.current.put(alert("x"))
    every.wait_for(1)
    assert first.items == []


def test_once_on_its_own_thread_is_called_once(client: RealtimeClient, network: MemoryTransport) -> None:
    first, every = Record(), Record()
    client.once("new_anomaly", first, own_thread=True)
    client.on("new_anomaly", every, own_thread=True)
    network.current.put(*[anomaly(i) for i in range(10)])
    network.current.put(*[anomaly(i) for i in range(10, 20)])
    every.wait_for(20)
    first.wait_for(1)
    assert numbers(first.items) == [0]


def test_off_removes_every_subscription_of_a_function(client: RealtimeClient, network: MemoryTransport) -> None:
    gone, every = Record(), Record()
    client.on("new_anomaly", gone)
    client.on(NewAnomaly, gone)
    client.on("*", gone, own_thread=True)
    client.on("*", every)
    assert client.off(gone) is True
    assert client.off(gone) is False
    assert client.off(print) is False
    network.current.put(anomaly(1))
    every.wait_for(1)
    assert gone.items == []


def test_off_knows_bound_methods(client: RealtimeClient, network: MemoryTransport) -> None:
    class Page:
        def __init__(self) -> None:
            self.seen = Record()

        def show(self, event: object) -> None:
            self.seen(event)

    page, every = Page(), Record()
    client.on("*", page.show)
    client.on("*", every)
    assert client.off(page.show) is True
    network.current.put(anomaly(1))
    every.wait_for(1)
    assert page.seen.items == []


def test_subscription_is_a_context_manager(client: RealtimeClient, network: MemoryTransport) -> None:
    seen, every = Record(), Record()
    client.on("*", every)
    with client.on("system_alert", seen) as subscription:
        assert isinstance(subscription, Subscription)
        network.current.put(alert("inside"))
        every.wait_for(1)
    network.current.put(alert("outside"))
    every.wait_for(2)
    assert [e.message for e in seen.items] == ["inside"]


def test_register_event_lets_a_type_come_as_a_class_of_ones_own(
    client: RealtimeClient, network: MemoryTransport
) -> None:
    @attrs.frozen
    class DeployFinished:
        version: str
        took_seconds: float = 0.0

    by_class, by_name, unknown = Record(), Record(), Record()
    client.register_event("deploy_finished", DeployFinished)
    client.on(DeployFinished, by_class)
    client.on("deploy_finished", by_name)
    client.on(UnknownEvent, unknown)
    network.current.put(
        {"type": "deploy_finished", "data": {"version": "1.2", "tookSeconds": 3}, "timestamp": "2024-01-01T10:00:00Z"},
        {"type": "deploy_finished", "data": {"version": 12}},
        {"type": "another"},
    )
    unknown.wait_for(1)
    (event,) = by_class.wait_for(1)
    assert by_name.items == [event]
    assert isinstance(event, DeployFinished)
    assert isinstance(event, Event)
    assert (event.version, event.took_seconds) == ("1.2", 3.0)
    assert event.timestamp is not None
    assert event.timestamp.hour == 10
    assert len(client.rejected) == 1
    assert "version" in client.rejected[0].reason


def test_register_event_while_connected_changes_what_follows(client: RealtimeClient, network: MemoryTransport) -> None:
    @attrs.frozen
    class Tick:
        n: int

    every = Record()
    client.on("*", every)
    network.current.put({"type": "tick", "data": {"n": 1}})
    every.wait_for(1)
    client.register_event("tick", Tick)
    ticks = Record()
    client.on(Tick, ticks)
    network.current.put({"type": "tick", "data": {"n": 2}})
    assert [t.n for t in ticks.wait_for(1)] == [2]
    assert [type(e).__name__ for e in every.wait_for(2)] == ["UnknownEvent", "Tick"]


@pytest.mark.parametrize(
    ("wire_type", "cls", "error"),
    [("x", int, TypeError), ("x", object, TypeError), ("", None, ValueError), ("pong", None, ValueError)],
)
def test_register_event_refuses_what_it_cannot_use(
    wire_type: str, cls: Any, error: type[Exception], client: RealtimeClient
) -> None:
    @attrs.frozen
    class Fine:
        a: int

    with pytest.raises(error):
        client.register_event(wire_type, cls or Fine)


# Where and in which order


def test_callbacks_run_on_the_dispatcher_thread_in_the_order_received(
    client: RealtimeClient, network: MemoryTransport
) -> None:
    log = Record()
    client.on("*", lambda event: log("first", event))
    client.on("new_anomaly", lambda event: log("second", event))
    client.on(NewAnomaly, lambda event: log("third", event))
    for batch in range(20):
        network.current.put(*[anomaly(batch * 10 + i) for i in range(10)])
    calls = log.wait_for(600)
    assert set(log.threads) == {"rtc-cb-dispatcher"}
    assert [name for name, _ in calls] == ["first", "second", "third"] * 200
    assert numbers([event for _, event in calls[::3]]) == list(range(200))


def test_a_change_while_a_subscription_begins_is_told(make: Make, network: MemoryTransport) -> None:
    client, told = make(link_factory=network, heartbeat="none"), Record()
    connect_and_settle(client)
    alerts = client.events("system_alert", timeout=PATIENCE)
    looks: list[int] = []

    def count(snapshot: DashboardSnapshot) -> int:
        looks.append(len(snapshot.alerts))
        if len(looks) == 1:
            network.current.put(alert("now"))
            next(alerts)  # it is in the store, and the reader has asked whether anybody watches
        return looks[-1]

    client.store.subscribe(count, lambda *change: told(change))
    assert told.wait_for(1) == [(0, 1)]


def test_callbacks_of_every_kind_run_on_the_dispatcher_thread(make: Make, network: MemoryTransport) -> None:
    client, seen = make(link_factory=network, name="kinds", reconnect_delay=0.01), Record()
    client.on_status(seen)
    client.on_connection_change(seen)
    client.on_notification(seen)
    client.on_error(seen)
    client.store.subscribe("alerts", seen)
    client.on("system_alert", seen)
    client.connect(PATIENCE)
    network.current.put(alert("a"), "not JSON")
    seen.wait_until(lambda items: any(isinstance(i, MalformedMessage) for i in items))
    network.current.lose()
    network.wait_for_open(2)
    seen.wait_until(lambda items: items[-1:] and items.count(True) == 2)
    assert set(seen.threads) == {"rtc-kinds-dispatcher"}


def test_an_event_is_in_the_store_before_its_callback_runs(client: RealtimeClient, network: MemoryTransport) -> None:
    seen = Record()
    client.on("new_anomaly", lambda e: seen(e.log.id in [log.id for log in client.store.recent_logs]))
    network.current.put(*[anomaly(i) for i in range(50)])
    assert all(seen.wait_for(50))


def test_callbacks_own_thread_is_a_lane_of_its_own(client: RealtimeClient, network: MemoryTransport) -> None:
    slow, quick, release = Record(), Record(), threading.Event()

    def waits(event: object) -> None:
        slow(event)
        assert release.wait(PATIENCE)

    client.on("new_anomaly", waits, own_thread=True)
    client.on("new_anomaly", quick)
    network.current.put(*[anomaly(i) for i in range(100)])
    assert numbers(quick.wait_for(100)) == list(range(100))
    assert len(slow.wait_for(1)) == 1
    (lane,) = client.metrics().lanes
    assert lane.received == lane.delivered + sum(lane.dropped.values()) + lane.waiting
    release.set()
    assert numbers(slow.wait_for(100)) == list(range(100))
    (name,) = set(slow.threads)
    assert name.startswith("rtc-cb-lane-")


def test_callbacks_own_thread_works_as_a_decorator_before_connect(make: Make, network: MemoryTransport) -> None:
    client, seen = make(link_factory=network), Record()

    @client.on("*", own_thread=True)
    def told(event: object) -> None:
        seen(event)

    for turn in range(1, 4):
        client.connect(PATIENCE)
        network.wait_for_open(turn).put(anomaly(turn))
        seen.wait_for(turn)
        client.close()
    assert numbers(seen.items) == [1, 2, 3]


def test_a_slow_callback_delays_neither_reading_nor_store_nor_heartbeat(server: FakeServer, make: Make) -> None:
    client = make(server.url, heartbeat_interval=0.05, heartbeat_timeout=PATIENCE)
    entered, release = threading.Event(), threading.Event()

    def slow(event: object) -> None:
        entered.set()
        assert release.wait(PATIENCE)

    client.on("new_anomaly", slow)
    client.connect(PATIENCE)
    connection = server.wait_for_connection()
    server.send(anomaly(0))
    assert entered.wait(PATIENCE)
    for i in range(1, 200):
        server.send(anomaly(i))
    client.store.wait_for(lambda s: s.stats.anomaly_count == 200, timeout=PATIENCE)
    beats = len([f for f in connection.frames if f.kind == "ping"])
    connection.wait_for_frame("ping", n=beats + 3, timeout=PATIENCE)
    assert client.is_connected
    release.set()


def test_a_slow_callback_is_named_in_a_warning(
    make: Make, network: MemoryTransport, caplog: pytest.LogCaptureFixture
) -> None:
    from realtime_client.testing import FakeClock

    clock = FakeClock()
    client, done = make(link_factory=network, clock=clock, heartbeat="none"), Record()

    def takes_its_time(event: object) -> None:
        clock.advance(2)

    client.on("system_alert", takes_its_time)
    client.on("system_alert", done)
    client.connect(PATIENCE)
    network.current.put(*[alert(str(i)) for i in range(5)])
    done.wait_for(5)
    slow = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(slow) == 1
    assert "takes_its_time" in slow[0].getMessage()
    client.close()  # what was spent is counted at the end of a run of events
    assert client.metrics().callback_time == pytest.approx(10)


# Errors


def test_callback_error_is_logged_counted_and_reported_and_stops_nothing(
    client: RealtimeClient, network: MemoryTransport, caplog: pytest.LogCaptureFixture
) -> None:
    errors, after = Record(), Record()

    def breaks(event: NewAnomaly) -> None:
        raise ZeroDivisionError(f"at {event.log.id}")

    client.on("new_anomaly", breaks)
    client.on("new_anomaly", after)
    client.on_error(errors)
    network.current.put(anomaly(1), anomaly(2))
    first, second = errors.wait_for(2)
    assert numbers(after.wait_for(2)) == [1, 2]
    assert isinstance(first, CallbackError)
    assert "breaks" in first.callback
    assert "breaks" in str(first)
    assert isinstance(first.__cause__, ZeroDivisionError)
    assert numbers([first.argument, second.argument]) == [1, 2]
    network.current.put(anomaly(3))
    errors.wait_for(3)
    assert client.metrics().callback_errors >= 2
    logged = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert "breaks" in logged[0].getMessage()
    assert logged[0].exc_info is not None
    assert client.is_connected


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, RecursionError])
def test_callback_error_of_any_kind_leaves_the_dispatcher_alive(
    error: type[BaseException], client: RealtimeClient, network: MemoryTransport
) -> None:
    after, errors = Record(), Record()

    def breaks(event: object) -> None:
        raise error

    client.on("system_alert", breaks)
    client.on("system_alert", after)
    client.on_error(errors)
    network.current.put(alert("1"), alert("2"))
    after.wait_for(2)
    assert isinstance(errors.wait_for(1)[0].__cause__, error)


def test_callback_errors_of_every_kind_of_callback_are_reported(make: Make, network: MemoryTransport) -> None:
    client, errors = make(link_factory=network), Record()

    def breaks(*arguments: object) -> None:
        raise LookupError

    client.on_error(errors)
    client.on_status(breaks)
    client.on_connection_change(breaks)
    client.on_notification(breaks)
    client.store.subscribe("alerts", breaks)
    client.on("system_alert", breaks, own_thread=True)
    client.connect(PATIENCE)
    network.current.put(alert("x"))
    # connecting and connected, the connection, its notification and the alert's, the store's watcher and the lane
    errors.wait_for(7)
    assert all(isinstance(error.__cause__, LookupError) for error in errors.items)


def test_callback_error_in_on_error_itself_is_not_reported_to_it_for_ever(
    client: RealtimeClient, network: MemoryTransport
) -> None:
    calls, marks = Record(), Record()

    def breaks_too(error: object) -> None:
        calls(error)
        if len(calls.items) < 50:
            raise ValueError("the one who listens to errors fails as well")

    client.on_error(breaks_too)
    client.on("own_type", marks)
    network.current.put("not JSON")
    for turn in range(1, 21):
        network.current.put({"type": "own_type"})
        marks.wait_for(turn)
    assert len(calls.items) == 1


def test_callbacks_names_in_errors_are_those_of_partials_and_methods(
    client: RealtimeClient, network: MemoryTransport
) -> None:
    class Gauges:
        def update(self, extra: int, event: object) -> None:
            raise LookupError(extra)

    errors = Record()
    client.on_error(errors)
    client.on("system_alert", functools.partial(Gauges().update, 5))
    network.current.put(alert("x"))
    assert "Gauges.update" in errors.wait_for(1)[0].callback


# Changing subscriptions while they are called


def test_subscription_cancel_from_inside_the_callback(client: RealtimeClient, network: MemoryTransport) -> None:
    seen, every, answers = Record(), Record(), Record()

    def until_two(event: NewAnomaly) -> None:
        seen(event)
        if event.log.id == "log-2":
            answers(subscription.cancel())
            answers(subscription.cancel(wait=True))

    subscription = client.on("new_anomaly", until_two)
    client.on("new_anomaly", every)
    network.current.put(*[anomaly(i) for i in range(10)])
    every.wait_for(10)
    assert numbers(seen.items) == [0, 1, 2]
    assert answers.items == [False, False]


def test_subscription_cancel_by_another_callback_holds_for_the_same_event(
    client: RealtimeClient, network: MemoryTransport
) -> None:
    seen, every = Record(), Record()
    subscriptions: list[Subscription] = []
    client.on("system_alert", lambda event: subscriptions[0].cancel())
    subscriptions.append(client.on("system_alert", seen))
    client.on("system_alert", every)
    network.current.put(alert("x"))
    every.wait_for(1)
    assert seen.items == []


def test_on_from_inside_a_callback(client: RealtimeClient, network: MemoryTransport) -> None:
    seen, every = Record(), Record()

    def subscribe(event: object) -> None:
        client.on("new_anomaly", seen)
        client.on("new_anomaly", seen, own_thread=True)

    client.once("system_alert", subscribe)
    client.on("*", every)
    network.current.put(alert("now"))
    every.wait_for(1)
    network.current.put(anomaly(1))
    assert numbers(seen.wait_for(2)) == [1, 1]
    assert {name.rstrip("0123456789") for name in seen.threads} == {"rtc-cb-dispatcher", "rtc-cb-lane-"}


def test_subscription_cancel_with_wait_waits_for_the_running_call(
    client: RealtimeClient, network: MemoryTransport
) -> None:
    entered, release, over = threading.Event(), threading.Event(), threading.Event()

    def slow(event: object) -> None:
        entered.set()
        assert release.wait(PATIENCE)
        over.set()

    subscription = client.on("system_alert", slow)
    network.current.put(alert("1"), alert("2"))
    assert entered.wait(PATIENCE)
    assert subscription.cancel() is False
    assert subscription.cancel(wait=True, timeout=0.05) is False
    waiting = Task(lambda: (subscription.cancel(wait=True), over.is_set()))
    release.set()
    assert waiting.result() == (True, True)
    assert subscription.cancel() is True
    assert client.metrics().callbacks <= 1


def test_subscription_cancel_means_no_call_afterwards(client: RealtimeClient, network: MemoryTransport) -> None:
    """Under a flood, with the cancelling thread racing the dispatcher."""

    class Late:
        def __init__(self) -> None:
            self.cancelled = False
            self.calls: list[bool] = []

        def __call__(self, event: object) -> None:
            self.calls.append(self.cancelled)

    every = Record()
    client.on("new_anomaly", every)
    for turn in range(1, 31):
        late = Late()
        subscription = client.on("new_anomaly", late)
        network.current.put(*[anomaly(turn * 100 + i) for i in range(50)])
        assert subscription.cancel(wait=True, timeout=PATIENCE)
        late.cancelled = True
        every.wait_for(turn * 50)
        assert True not in late.calls


def test_on_store_part_is_told_on_change_of_that_part_only(client: RealtimeClient, network: MemoryTransport) -> None:
    alerts, services, every = Record(), Record(), Record()
    client.store.subscribe("alerts", alerts)
    client.store.subscribe(lambda snapshot: snapshot.stats.active_services, services)
    client.on("*", every)
    network.current.put(stats(activeServices=5))
    assert services.wait_for(1) == [(0, 5)]
    network.current.put(stats(activeServices=5, totalLogs=7))
    network.current.put(alert("x"))
    ((before, after),) = alerts.wait_for(1)
    assert (before, [a.message for a in after]) == ((), ["x"])
    network.current.put(stats(activeServices=6))
    assert services.wait_for(2) == [(0, 5), (5, 6)]
    assert len(alerts.items) == 1


def test_own_thread_lanes_count_what_waits_at_the_close(make: Make, network: MemoryTransport) -> None:
    client, entered, leave = make(link_factory=network, close_timeout=0.2), Record(), threading.Event()

    def slow(event: Event) -> None:
        entered(event)
        assert leave.wait(30)

    client.on("new_anomaly", slow, own_thread=True)
    client.connect(PATIENCE)
    network.current.put(anomaly(1))
    entered.wait_for(1)
    network.current.put(anomaly(2), anomaly(3))
    client.store.wait_for(lambda seen: seen.stats.anomaly_count == 3, PATIENCE)
    with client.on("system_alert", entered):  # what comes after them has passed their lane's mailbox
        network.current.put(alert("x"))
        entered.wait_for(2)
    client.close()
    (lane,) = (lane for lane in client.metrics().lanes if "slow" in lane.name)
    assert (lane.received, lane.delivered, dict(lane.dropped), lane.waiting) == (3, 1, {"closed": 2}, 0)
    leave.set()
    wait_until_ended("lane-")


def test_own_thread_lanes_of_once_leave_neither_threads_nor_lines_behind(
    client: RealtimeClient, network: MemoryTransport
) -> None:
    heard = Record()

    def brief(event: Event) -> None:
        heard(event)

    for number in range(50):
        client.once("new_anomaly", brief, own_thread=True)
        network.current.put(anomaly(number))
        heard.wait_for(number + 1)
    wait_until_ended("lane-")
    assert not [name for name in own_threads(client) if "lane-" in name]
    (lane,) = (lane for lane in client.metrics().lanes if "brief" in lane.name)
    assert (lane.delivered, lane.waiting) == (50, 0)
