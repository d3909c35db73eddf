"""The dispatcher: what callbacks are told, in which order, and what they cannot stop."""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import threading
from collections.abc import Callable, Hashable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from realtime_client._runtime.counters import Counters
from realtime_client._runtime.dispatcher import SLOW_CALLBACK, SLOW_WARNING_INTERVAL, CallbackLane, Dispatcher
from realtime_client._runtime.hub import Topic
from realtime_client._runtime.mailbox import Mailbox, Notice
from realtime_client.errors import CallbackError, MalformedMessage
from realtime_client.events import Event, LogEntry, NewAnomaly, Pong, StatsUpdate, SystemAlert, UnknownEvent
from realtime_client.observers import ObserverRegistry, Subscription
from realtime_client.status import ConnectionState, ConnectionStatus, Gap, Notification, StatusChange, Transport
from realtime_client.store import DashboardStore
from realtime_client.testing import FakeClock

T0 = datetime(2024, 1, 1, tzinfo=UTC)
PATIENCE = 30.0


class Bench:
    """A dispatcher with everything that it works on, and without a thread: `run` lets it work off what waits."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.mailbox = Mailbox("main", max_events=1000, max_bytes=10**6, overflow="drop_oldest", clock=self.clock)
        self.registry = ObserverRegistry()
        self.store = DashboardStore(clock=self.clock.monotonic)
        self.counters = Counters()
        self.dispatcher = Dispatcher(
            thread_name="dispatcher",
            registry=self.registry,
            store=self.store,
            mailbox=self.mailbox,
            report=self.report,
            counters=self.counters,
            clock=self.clock,
        )
        self.heard: list[Any] = []

    def report(self, error: CallbackError) -> None:
        self.mailbox.report(Notice(Topic.ERROR, error))

    def on(self, key: Hashable, callback: Callable[[Any], object], *, once: bool = False) -> Subscription:
        forget = self.registry.remove
        subscription = Subscription(callback, forget=forget, on_own_thread=lambda: True, once=once)
        self.registry.add(key, subscription)
        return subscription

    def listen(self, *keys: Hashable) -> None:
        for key in keys:
            self.on(key, self.heard.append)

    def put(self, *events: Event) -> None:
        self.store.apply(events, received_at=T0, transport=Transport.WEBSOCKET)
        self.mailbox.put(events, [1] * len(events))

    def tell(self, topic: Topic, argument: object) -> None:
        self.mailbox.tell(Notice(topic, argument))

    def run(self) -> None:
        """On this thread, to the end of what waits, and then of what was put meanwhile."""
        for _ in range(2):
            self.tell(Topic.END, None)
            self.dispatcher.run()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """On a thread of its own, while time stands still."""
        thread = threading.Thread(target=self.dispatcher.run)
        thread.start()
        try:
            yield
        finally:
            self.tell(Topic.END, None)
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def count(self, name: str) -> int:
        return self.counters.read()[0].get(name, 0)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="realtime_client")
    return caplog


def anomaly(n: int = 0, message: str = "m") -> NewAnomaly:
    return NewAnomaly(LogEntry(str(n), message, source="web"))


def status(state: ConnectionState) -> ConnectionStatus:
    return ConnectionStatus(state=state, since=T0)


def change(previous: ConnectionState, current: ConnectionState) -> StatusChange:
    return StatusChange(status(previous), status(current))


# Order


def test_events_and_notices_come_in_one_order(bench: Bench) -> None:
    bench.listen("*", Topic.STATUS, Topic.GAP, Topic.NOTIFICATION, Topic.ERROR)
    said = Notification(level="info", title="t", message="m", kind="retry", at=T0)
    gap, error = Gap(since=T0, until=T0), MalformedMessage("r")
    step = change(ConnectionState.IDLE, ConnectionState.CONNECTING)
    bench.put(Pong(1), Pong(2))
    bench.tell(Topic.STATUS, step)
    bench.put(Pong(3))
    bench.tell(Topic.GAP, gap)
    bench.tell(Topic.NOTIFICATION, said)
    bench.mailbox.report(Notice(Topic.ERROR, error))
    bench.put(Pong(4))
    bench.run()
    assert bench.heard == [Pong(1), Pong(2), step, Pong(3), gap, said, error, Pong(4)]


def test_callbacks_of_one_event_come_in_the_order_of_subscription(bench: Bench) -> None:
    keys: list[Hashable] = ["*", Pong, "stats_update", "pong", Event, "*"]
    for place, key in enumerate(keys):
        bench.on(key, functools.partial(lambda place, event: bench.heard.append(place), place))
    bench.put(Pong())
    bench.run()
    assert bench.heard == [0, 1, 3, 4, 5]


def test_callbacks_run_on_the_lanes_thread_under_no_lock(bench: Bench) -> None:
    threads: list[str] = []

    def callback(event: Event) -> None:
        bench.mailbox.metrics()
        bench.put(UnknownEvent("more"))
        bench.on("pong", print).cancel()
        assert bench.store.snapshot()
        threads.append(threading.current_thread().name)
        done.set()

    done = threading.Event()
    bench.on("pong", callback)
    with bench.running():
        bench.put(Pong())
        assert done.wait(PATIENCE)
    assert len(threads) == 1
    assert threads[0] != threading.current_thread().name


def test_an_event_is_in_the_store_before_its_callback_runs(bench: Bench) -> None:
    bench.on("new_anomaly", lambda event: bench.heard.append(event.log in bench.store.recent_logs))
    bench.put(anomaly())
    bench.run()
    assert bench.heard == [True]


def test_once_is_called_once_also_within_one_run(bench: Bench) -> None:
    bench.on("pong", bench.heard.append, once=True)
    bench.put(Pong(1), Pong(2))
    bench.run()
    assert bench.heard == [Pong(1)]


def test_a_callback_that_was_cancelled_by_the_one_before_is_not_called(bench: Bench) -> None:
    bench.on("pong", lambda event: second.cancel())
    second = bench.on("pong", bench.heard.append)
    bench.put(Pong())
    bench.run()
    assert bench.heard == []


def test_what_a_callback_subscribes_hears_the_next_event(bench: Bench) -> None:
    bench.on("pong", lambda event: bench.listen("pong"), once=True)
    bench.put(Pong(1), Pong(2))
    bench.run()
    assert bench.heard == [Pong(2)]


def test_end_ends_it(bench: Bench) -> None:
    bench.listen("*")
    bench.put(Pong(1))
    bench.tell(Topic.END, None)
    bench.put(Pong(2))
    bench.dispatcher.run()
    assert bench.heard == [Pong(1)]


# The connection


def test_a_connection_change_is_derived_from_the_status(bench: Bench) -> None:
    bench.on(Topic.STATUS, lambda step: bench.heard.append(step.current.state))
    bench.listen(Topic.CONNECTION)
    states = [
        ConnectionState.IDLE,
        ConnectionState.CONNECTING,
        ConnectionState.CONNECTED,
        ConnectionState.RECONNECTING,
        ConnectionState.UNAVAILABLE,
        ConnectionState.CONNECTED,
        ConnectionState.CLOSED,
    ]
    for previous, current in itertools.pairwise(states):
        bench.tell(Topic.STATUS, change(previous, current))
    bench.run()
    assert bench.heard == [
        ConnectionState.CONNECTING,
        *(ConnectionState.CONNECTED, True),
        *(ConnectionState.RECONNECTING, False),
        ConnectionState.UNAVAILABLE,
        *(ConnectionState.CONNECTED, True),
        *(ConnectionState.CLOSED, False),
    ]


# Errors


def name_of(callback: Callable[..., object]) -> str:
    return f"{__name__}.{callback.__qualname__}"


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_an_error_in_a_callback_stops_nothing(
    bench: Bench, log: pytest.LogCaptureFixture, kind: type[BaseException]
) -> None:
    error = kind("reason")

    def fails(event: Event) -> None:
        raise error

    bench.on("pong", fails)
    bench.listen("pong", Topic.ERROR)
    bench.put(Pong(1), Pong(2))
    bench.run()
    told = [one for one in bench.heard if isinstance(one, CallbackError)]
    assert [one for one in bench.heard if isinstance(one, Pong)] == [Pong(1), Pong(2)]
    assert [(one.callback, one.argument, one.__cause__) for one in told] == [
        (name_of(fails), Pong(1), error),
        (name_of(fails), Pong(2), error),
    ]
    assert str(told[0]) == f"callback {name_of(fails)} raised {kind.__name__}: reason"
    assert bench.count("callback_errors") == 2
    assert bench.count("callbacks") == 6  # of two events twice, and of two reports
    assert [(one.levelno, one.getMessage(), one.exc_info and one.exc_info[1]) for one in log.records] == [
        (logging.ERROR, f"callback {name_of(fails)} raised {kind.__name__}", error)
    ] * 2


def test_an_error_whose_text_cannot_be_had(bench: Bench) -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    def fails(event: Event) -> None:
        raise Broken

    bench.on("pong", fails)
    bench.listen("pong", Topic.ERROR)
    bench.put(Pong(1))
    bench.run()
    assert bench.heard[0] == Pong(1)
    assert str(bench.heard[1]) == f"callback {name_of(fails)} raised Broken: (its text cannot be had)"


@pytest.mark.parametrize(
    ("topic", "argument"),
    [
        (Topic.STATUS, change(ConnectionState.IDLE, ConnectionState.CONNECTED)),
        (Topic.GAP, Gap(since=T0, until=T0)),
        (Topic.NOTIFICATION, Notification(level="info", title="t", message="m", kind="retry", at=T0)),
    ],
)
def test_an_error_in_any_callback_is_reported(bench: Bench, topic: Topic, argument: object) -> None:
    def fails(argument: object) -> None:
        raise ValueError

    bench.on(topic, fails)
    bench.listen(topic, Topic.ERROR)
    bench.tell(topic, argument)
    bench.run()
    assert bench.heard[0] == argument
    assert (bench.heard[1].callback, bench.heard[1].argument) == (name_of(fails), argument)


def test_an_error_in_on_error_is_logged_and_counted_and_not_told_to_itself(
    bench: Bench, log: pytest.LogCaptureFixture
) -> None:
    def fails(error: Exception) -> None:
        raise SystemExit

    for _ in range(2):
        bench.on(Topic.ERROR, fails)
    bench.listen(Topic.ERROR)
    malformed = MalformedMessage("r")
    bench.mailbox.report(Notice(Topic.ERROR, malformed))
    bench.run()
    assert bench.heard == [malformed]
    assert bench.count("callback_errors") == 2
    assert [one.getMessage() for one in log.records] == [f"callback {name_of(fails)} raised SystemExit"] * 2


def test_an_error_in_a_selector_or_a_watcher_is_reported(bench: Bench) -> None:
    def fails(*arguments: object) -> int:
        raise SystemExit

    bench.store.subscribe(lambda s: fails() if s.version else 0, print)
    bench.store.subscribe("stats", fails)
    bench.store.subscribe("stats", lambda before, now: bench.heard.append(now.total_logs))
    bench.listen(Topic.ERROR)
    bench.put(StatsUpdate({"total_logs": 1}))
    bench.run()
    assert bench.heard[0] == 1
    assert [error.callback for error in bench.heard[1:]] == ["builtins.print", name_of(fails)]
    assert bench.count("callback_errors") == 2


# Slow callbacks


def test_a_slow_callback_is_named_once_with_what_waits_behind_it(bench: Bench, log: pytest.LogCaptureFixture) -> None:
    def slow(event: Event) -> None:
        bench.clock.advance(SLOW_CALLBACK + 0.5)

    bench.on("pong", slow)
    bench.put(*(Pong(n) for n in range(5)))
    bench.run()
    assert [(one.levelno, one.getMessage()) for one in log.records] == [
        (logging.WARNING, f"callback {name_of(slow)} took 1.5 s; 4 events wait behind it")
    ]
    assert bench.counters.read()[1] == pytest.approx(7.5)
    bench.clock.advance(SLOW_WARNING_INTERVAL)
    bench.put(Pong())
    bench.run()
    assert len(log.records) == 2


def test_a_slow_log_is_not_blamed_on_the_next_callback(
    bench: Bench, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(event: Event) -> None:
        bench.clock.advance(SLOW_CALLBACK + 1)

    bench.on("pong", slow)
    bench.listen("pong")
    emit = log.handler.emit

    def emit_slowly(record: logging.LogRecord) -> None:
        emit(record)
        bench.clock.advance(SLOW_CALLBACK + 5)

    monkeypatch.setattr(log.handler, "emit", emit_slowly)
    bench.put(Pong())
    bench.run()
    assert [message.split()[1] for _, _, message in log.record_tuples] == [name_of(slow)]


def test_a_callback_that_fails_slowly_is_named_too(bench: Bench, log: pytest.LogCaptureFixture) -> None:
    def slow(event: Event) -> None:
        bench.clock.advance(SLOW_CALLBACK + 1)
        raise ValueError

    bench.on("pong", slow)
    bench.put(Pong())
    bench.run()
    assert [one.levelno for one in log.records] == [logging.ERROR, logging.WARNING]


def test_a_callback_that_is_not_slow_is_not_named(bench: Bench, log: pytest.LogCaptureFixture) -> None:
    bench.on("pong", lambda event: bench.clock.advance(SLOW_CALLBACK))
    bench.put(Pong(), Pong())
    bench.run()
    assert log.records == []


def test_hanging_names_the_callback_that_runs(bench: Bench) -> None:
    def callback(event: Event) -> None:
        bench.heard.append(bench.dispatcher.hanging)

    bench.on("pong", callback)
    bench.put(Pong())
    bench.run()
    assert bench.heard == [name_of(callback)]
    assert bench.dispatcher.hanging is None


# close


def test_after_close_the_next_callback_of_the_same_event_is_not_called(bench: Bench) -> None:
    closed = change(ConnectionState.CONNECTED, ConnectionState.CLOSED)

    def closes(event: Event) -> None:
        bench.heard.append("closes")
        bench.mailbox.close()
        bench.tell(Topic.STATUS, closed)

    bench.on("pong", closes)
    bench.listen("*", Topic.STATUS, Topic.CONNECTION)
    bench.put(Pong(1), Pong(2))
    bench.put(Pong(3))
    bench.run()
    assert bench.heard == ["closes", closed, False]
    assert bench.mailbox.metrics().dropped == {"closed": 2}


def test_after_close_neither_watchers_nor_error_callbacks_nor_notifications_are_called(bench: Bench) -> None:
    def closes_and_fails(event: Event) -> None:
        bench.mailbox.close()
        raise ValueError

    bench.listen(Topic.NOTIFICATION, Topic.ERROR)
    bench.store.subscribe("recent_logs", lambda before, now: bench.heard.append(now))
    bench.mailbox.report(Notice(Topic.ERROR, MalformedMessage("before")))
    bench.on(UnknownEvent, closes_and_fails)
    bench.put(anomaly(), UnknownEvent("close"))
    bench.mailbox.report(Notice(Topic.ERROR, MalformedMessage("behind")))
    bench.run()
    assert [str(one) for one in bench.heard if isinstance(one, MalformedMessage)] == ["before"]
    assert not [one for one in bench.heard if isinstance(one, (Notification, CallbackError))]
    assert bench.count("callback_errors") == 1


@pytest.mark.parametrize("where", ["watchers", "notifications", "errors"])
def test_after_close_from_within_such_a_callback_the_next_one_is_not_called(bench: Bench, where: str) -> None:
    def closes(*arguments: object) -> None:
        bench.heard.append("closes")
        bench.mailbox.close()

    def next_one(*arguments: object) -> None:
        bench.heard.append("next")

    for callback in (closes, next_one):
        if where == "watchers":
            bench.store.subscribe("recent_logs", callback)
        else:
            bench.on(Topic.NOTIFICATION if where == "notifications" else Topic.ERROR, callback)
    if where == "errors":
        bench.mailbox.report(Notice(Topic.ERROR, MalformedMessage("r")))
    else:
        bench.put(anomaly())
    bench.run()
    assert bench.heard == ["closes"]


# Notifications and the store


def kinds(bench: Bench) -> list[tuple[str, int]]:
    return [(one.kind, one.count) for one in bench.heard]


def test_a_burst_is_one_notification_of_each_kind(bench: Bench, log: pytest.LogCaptureFixture) -> None:
    bench.listen(Topic.NOTIFICATION)
    bench.put(
        anomaly(1, "secret"), SystemAlert("secret", "warning"), *(anomaly(n, "secret") for n in range(2, 5)), Pong()
    )
    bench.run()
    assert kinds(bench) == [("anomaly", 4), ("alert", 1)]
    assert [one.level for one in bench.heard] == ["warning", "warning"]
    assert [one.at for one in bench.heard] == [bench.clock.now()] * 2
    assert [(one.levelno, one.getMessage()) for one in log.records] == [
        (logging.INFO, "4 anomalies detected"),
        (logging.INFO, "System alert"),
    ]
    assert "secret" not in log.text


def test_notifications_of_one_kind_come_at_most_once_a_second(bench: Bench) -> None:
    bench.listen(Topic.NOTIFICATION)
    for n in range(21):
        bench.put(anomaly(n), anomaly(100 + n))
        if n == 15:
            bench.put(SystemAlert("x"))
        bench.run()
        bench.clock.advance(0.125)
    assert kinds(bench) == [("anomaly", 2), ("anomaly", 16), ("alert", 1), ("anomaly", 16)]


def test_the_last_notification_comes_without_further_events(bench: Bench) -> None:
    flushed = threading.Semaphore(0)
    bench.listen(Topic.NOTIFICATION)
    bench.on(Topic.NOTIFICATION, lambda said: flushed.release())
    delivered = threading.Event()
    bench.on("pong", lambda event: delivered.set())
    with bench.running():
        bench.put(anomaly(1))
        assert flushed.acquire(timeout=PATIENCE)
        bench.put(anomaly(2), anomaly(3), Pong())
        assert delivered.wait(PATIENCE)
        bench.clock.wait_for_waiters()
        assert kinds(bench) == [("anomaly", 1)]
        bench.clock.advance(1)
        assert flushed.acquire(timeout=PATIENCE)
    assert kinds(bench) == [("anomaly", 1), ("anomaly", 2)]


def test_watchers_of_the_store_are_told_after_a_run_against_the_newest(bench: Bench) -> None:
    bench.store.subscribe("stats", lambda before, now: bench.heard.append((before.total_logs, now.total_logs)))
    bench.listen("stats_update")
    updates = [StatsUpdate({"total_logs": n}) for n in (1, 2, 3)]
    bench.put(*updates)
    bench.run()
    assert bench.heard == [*updates, (0, 3)]


def test_a_nudge_lets_watchers_look(bench: Bench) -> None:
    told = threading.Event()
    bench.store.subscribe("recent_logs", lambda before, now: told.set())
    with bench.running():
        bench.store.merge(
            [LogEntry("1", "m", is_anomaly=False)], [], received_at=T0, transport=lambda: Transport.POLLING
        )
        bench.mailbox.nudge()
        assert told.wait(PATIENCE)


# A lane of one's own


def test_a_lane_calls_its_own_subscription_alone(bench: Bench) -> None:
    alone = ObserverRegistry()
    alone.add("*", bench.on("mine", bench.heard.append))
    bench.listen("pong", Topic.STATUS)
    lane = CallbackLane(
        thread_name="lane",
        registry=alone,
        mailbox=bench.mailbox,
        report=bench.report,
        counters=bench.counters,
        clock=bench.clock,
    )
    bench.put(Pong(1))
    bench.tell(Topic.STATUS, change(ConnectionState.IDLE, ConnectionState.CONNECTED))
    bench.put(Pong(2))
    bench.tell(Topic.END, None)
    lane.run()
    assert bench.heard == [Pong(1), Pong(2)]
    assert bench.count("callbacks") == 2
