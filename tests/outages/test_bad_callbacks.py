"""Callbacks that do what they should not: hang, exit, take long, register, cancel, fork the order, close the client."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from realtime_client import CallbackError, ClientClosed, ConnectionState, RealtimeClient
from realtime_client._runtime import dispatcher
from realtime_client.testing import FakeServer, MemoryTransport
from tests.client.conftest import Make
from tests.client.recording import PATIENCE, QUICK, Record, Stopwatch, Task, alert, anomaly, numbers, own_threads
from tests.outages.waiting import in_turn, wait_until_ended


class Hanging:
    """A callback that hangs until the test lets it go."""

    def __init__(self) -> None:
        self.entered = Record()
        self.leave = threading.Event()

    def __call__(self, argument: Any) -> None:
        self.entered(argument)
        self.leave.wait(30)

    def end(self, client: RealtimeClient) -> None:
        """Let it go, and see its threads out."""
        self.leave.set()
        client.close()
        wait_until_ended("rtc-")


def test_a_hanging_callback_stops_neither_reading_nor_heartbeats_nor_reconnections(
    server: FakeServer, make: Make
) -> None:
    client, hanging = make(server.url, heartbeat_interval=0.05, heartbeat_timeout=2.0, **QUICK), Hanging()
    client.on("connection_established", hanging)
    client.connect(PATIENCE)
    hanging.entered.wait_for(1)
    for round_ in range(1, 4):
        server.send(anomaly(round_))
        wait_for_count(client, round_)
        server.wait_for_connection(round_).wait_for_message({"type": "ping"})
        server.drop()
        server.wait_for_connection(round_ + 1)
    client.reconnect(PATIENCE)
    assert client.metrics().waiting >= 3
    hanging.end(client)


def wait_for_count(client: RealtimeClient, count: int) -> None:
    client.store.wait_for(lambda seen: seen.stats.anomaly_count == count, PATIENCE)


@pytest.mark.parametrize("own_thread", [False, True])
def test_close_is_bounded_and_names_who_hangs(
    own_thread: bool, server: FakeServer, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    client, hanging = make(server.url, close_timeout=0.3), Hanging()
    client.on("connection_established", hanging, own_thread=own_thread)
    client.connect(PATIENCE)
    hanging.entered.wait_for(1)
    server.send(anomaly(1))
    client.store.wait_for(lambda seen: seen.recent_logs, PATIENCE)
    with Stopwatch() as took:
        client.close()
    assert 0.2 < took.seconds < 1.0
    warning = next(record.getMessage() for record in caplog.records if "did not end in time" in record.getMessage())
    assert "Hanging" in warning
    assert ("lane" if own_thread else "dispatcher") in warning
    assert client.status.state is ConnectionState.CLOSED
    assert len(hanging.entered.items) == 1
    hanging.end(client)
    assert len(hanging.entered.items) == 1


def test_a_client_whose_callback_hangs_connects_again_after_close(server: FakeServer, make: Make) -> None:
    client, hanging, heard = make(server.url, close_timeout=0.2), Hanging(), Record()
    once = client.once("connection_established", hanging)
    client.connect(PATIENCE)
    hanging.entered.wait_for(1)
    client.close()
    once.cancel()
    client.on("new_anomaly", heard)
    client.connect(PATIENCE)
    server.send(anomaly(1))
    assert numbers(heard.wait_for(1)) == [1]  # on a fresh thread
    hanging.end(client)


def test_cancel_of_a_hanging_callback_waits_no_longer_than_told(server: FakeServer, make: Make) -> None:
    client, hanging = make(server.url, close_timeout=0.2), Hanging()
    subscription = client.on("connection_established", hanging)
    client.connect(PATIENCE)
    hanging.entered.wait_for(1)
    with Stopwatch() as took:
        assert subscription.cancel(wait=True, timeout=0.1) is False
    assert took.seconds < 1
    hanging.leave.set()
    assert subscription.cancel(wait=True, timeout=PATIENCE) is True


@pytest.mark.parametrize("own_thread", [False, True])
@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), StopIteration(), ValueError("x"), RecursionError()]
)
def test_whatever_a_callback_raises_the_next_event_comes(
    error: BaseException, own_thread: bool, server: FakeServer, make: Make
) -> None:
    client, errors, seen = make(server.url), Record(), Record()

    def broken(event: Any) -> None:
        seen(event)
        raise error

    client.on("new_anomaly", broken, own_thread=own_thread)
    client.on_error(errors)
    client.connect(PATIENCE)
    server.send(anomaly(1))
    server.send(anomaly(2))
    assert numbers(seen.wait_for(2)) == [1, 2]
    first = errors.wait_for(2)[0]
    assert isinstance(first, CallbackError)
    assert first.__cause__ is error
    assert "broken" in first.callback
    assert numbers([first.argument]) == [1]
    assert client.is_connected
    assert client.metrics().callback_errors == 2


class Unspeakable(Exception):
    """An error that cannot be told."""

    def __str__(self) -> str:
        raise RuntimeError("not even this")

    __repr__ = __str__


def test_an_error_that_cannot_be_told_stops_nothing(server: FakeServer, make: Make) -> None:
    client, errors = make(server.url), Record()

    def broken(_event: Any) -> None:
        raise Unspeakable

    client.on("new_anomaly", broken)
    client.on_error(errors)
    client.connect(PATIENCE)
    for number in (1, 2):
        server.send(anomaly(number))
    assert len(errors.wait_for(2)) == 2


EVERY_KIND: dict[str, Callable[[RealtimeClient, Callable[[Any], None]], object]] = {
    "on_status": lambda client, callback: client.on_status(callback),
    "on_connection_change": lambda client, callback: client.on_connection_change(callback),
    "on_notification": lambda client, callback: client.on_notification(callback),
    "on_gap": lambda client, callback: client.on_gap(callback),
    "on_error": lambda client, callback: client.on_error(callback),
    "store.subscribe": lambda client, callback: client.store.subscribe("stats", lambda _, now: callback(now)),
    "selector": lambda client, callback: client.store.subscribe(callback, lambda _, now: None),
    "wait_for": lambda client, callback: client.on("*", callback),
}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_every_kind_of_callback_may_raise(kind: str, server: FakeServer, make: Make) -> None:
    client, broken_calls, good = make(server.url, **QUICK), Record(), Record()
    armed = threading.Event()

    def broken(argument: Any) -> None:
        if armed.is_set():
            broken_calls(argument)
            raise SystemExit

    EVERY_KIND[kind](client, broken)
    armed.set()
    client.on("system_alert", good)
    client.connect(PATIENCE)
    server.drop()
    second = server.wait_for_connection(2)
    second.send("no JSON")
    second.send(anomaly(1))
    second.send(alert("still here"))
    assert good.wait_for(1)[0].message == "still here"
    broken_calls.wait_for(1)
    client.close()
    assert client.metrics().callback_errors >= 1
    assert own_threads(client) == []


def test_a_callback_that_registers_and_cancels_others(server: FakeServer, make: Make) -> None:
    client, late, never = make(server.url), Record(), Record()
    others: list[Any] = []
    meddled = Record()

    def meddler(event: Any) -> None:
        client.on("new_anomaly", late)
        client.on("new_anomaly", late, own_thread=True)
        for other in others:
            assert other.cancel(wait=True) is False  # on the client's own threads it never waits
        client.off(meddler)
        meddled(event)

    client.on("new_anomaly", meddler)
    others.append(client.on("new_anomaly", never))
    client.connect(PATIENCE)
    server.send(anomaly(1))
    meddled.wait_for(1)
    server.send(anomaly(2))
    assert set(numbers(late.wait_until(lambda items: numbers(items).count(2) == 2))) <= {1, 2}
    assert never.items == []
    assert client.off(late)


def test_a_callback_that_cancels_itself_while_it_runs(server: FakeServer, make: Make) -> None:
    client, calls = make(server.url), Record()

    def once_only(event: Any) -> None:
        calls(event)
        assert subscription.cancel(wait=True) is False

    subscription = client.on("new_anomaly", once_only)
    done = Record()
    client.on("system_alert", done)
    client.connect(PATIENCE)
    server.send(anomaly(1))
    server.send(anomaly(2))
    server.send(alert("done"))
    done.wait_for(1)
    assert numbers(calls.items) == [1]
    assert subscription.cancel(wait=True, timeout=PATIENCE) is True


def test_endless_registration_from_within_ends_with_each_event(server: FakeServer, make: Make) -> None:
    client, calls = make(server.url), Record()

    def breeds(event: Any) -> None:
        calls(event)
        client.on("new_anomaly", breeds)

    client.on("new_anomaly", breeds)
    client.connect(PATIENCE)
    for number in range(4):
        server.send(anomaly(number))
    seen = calls.wait_until(lambda items: numbers(items).count(3) == 8)
    assert [numbers(seen).count(number) for number in range(4)] == [1, 2, 4, 8]


@pytest.mark.parametrize("own_thread", [False, True])
def test_closing_from_inside_a_callback(own_thread: bool, server: FakeServer, make: Make) -> None:
    client, after, changes = make(server.url), Record(), Record()

    def closes(_event: Any) -> None:
        with Stopwatch() as took:
            client.close()
        after(took.seconds)

    client.on("new_anomaly", closes, own_thread=own_thread)
    client.on_status(changes)
    client.connect(PATIENCE)
    for number in range(100):
        server.send(anomaly(number))
    assert after.wait_for(1)[0] < 0.5
    changes.wait_until(lambda items: items and items[-1].current.state is ConnectionState.CLOSED)
    wait_until_ended("rtc-")
    assert len(after.items) == 1
    assert own_threads(client) == []


def test_after_close_from_inside_only_the_change_to_closed_follows(network: MemoryTransport, make: Make) -> None:
    client, told = make(link_factory=network), Record()
    client.on_status(lambda change: told(change.current.state.value))
    client.on("system_alert", in_turn(lambda: told("closing"), client.close, lambda: told("closed by hand")))
    client.on("system_alert", lambda _: told("another callback of the same event"))
    client.on("*", lambda event: told(event.type) if event.type == "new_anomaly" else None)
    client.on_notification(lambda note: told(f"note {note.kind}") if note.kind in ("anomaly", "alert") else None)
    client.store.subscribe("alerts", lambda _, now: told("store"))
    client.connect(PATIENCE)
    network.current.put(alert("close now"), anomaly(1), anomaly(2))
    seen = told.wait_until(lambda items: items and items[-1] == "closed")
    wait_until_ended("rtc-")
    assert told.items == seen
    # A watcher of the store may have been told just before the event's own callback, but not after it has closed.
    assert seen[seen.index("closing") :] == ["closing", "closed by hand", "closed"]
    assert client.metrics().dropped == {"closed": 2}


def test_reconnecting_and_connecting_from_inside_a_callback(server: FakeServer, make: Make) -> None:
    client, done = make(server.url, **QUICK), Record()

    def reconnects(_event: Any) -> None:
        client.connect()
        client.reconnect()  # neither waits here, where nobody could tell it
        done(1)

    client.once("new_anomaly", reconnects)
    client.connect(PATIENCE)
    server.send(anomaly(1))
    done.wait_for(1)
    server.wait_for_connection(2)


@pytest.mark.parametrize(
    "wait",
    [
        lambda client: client.wait_for("*"),
        lambda client: next(client.events()),
        lambda client: client.join(),
        lambda client: client.store.wait_for(lambda _: False),
    ],
    ids=["wait_for", "events", "join", "store.wait_for"],
)
@pytest.mark.parametrize("own_thread", [False, True])
def test_waiting_inside_a_callback_is_refused(
    own_thread: bool, wait: Callable[[RealtimeClient], Any], server: FakeServer, make: Make
) -> None:
    client, errors = make(server.url), Record()
    client.on("connection_established", lambda _: wait(client), own_thread=own_thread)
    client.on_error(errors)
    client.connect(PATIENCE)
    error = errors.wait_for(1)[0]
    assert isinstance(error.__cause__, RuntimeError)
    assert "own thread" in str(error.__cause__)


def test_an_iterator_made_outside_is_refused_inside(server: FakeServer, make: Make) -> None:
    client, errors = make(server.url), Record()
    client.on_error(errors)
    events = client.events()
    client.on("new_anomaly", lambda _: [next(events) for _ in range(1000)])
    client.connect(PATIENCE)
    server.send(anomaly(1))
    assert isinstance(errors.wait_for(1)[0].__cause__, RuntimeError)


def test_a_slow_callback_is_named_in_a_warning_once(
    server: FakeServer, make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dispatcher, "SLOW_CALLBACK", 0.02)
    client, done = make(server.url), Record()

    def sluggish(event: Any) -> None:
        threading.Event().wait(0.05)
        done(event)

    client.on("new_anomaly", sluggish)
    client.connect(PATIENCE)
    for number in range(3):
        server.send(anomaly(number))
    done.wait_for(3)
    client.close()
    warnings = [record.getMessage() for record in caplog.records if "took" in record.getMessage()]
    assert len(warnings) == 1
    assert "sluggish" in warnings[0]
    assert client.metrics().callback_time > 0.1


def test_a_callback_that_floods_on_error_is_told_no_end_of_its_own_errors(server: FakeServer, make: Make) -> None:
    client, calls = make(server.url), Record()

    def complains(error: Any) -> None:
        calls(error)
        raise ValueError("about an error")

    client.on_error(complains)
    client.connect(PATIENCE)
    server.send("no JSON")
    server.send(anomaly(1))
    calls.wait_for(1)
    client.store.wait_for(lambda seen: seen.recent_logs, PATIENCE)
    client.close()
    assert len(calls.items) == 1


def test_a_callback_that_holds_a_lock_the_main_thread_wants(server: FakeServer, make: Make) -> None:
    client, lock = make(server.url), threading.Lock()
    inside, done = Record(), Record()

    def locked(event: Any) -> None:
        with lock:
            inside(event)
            client.status, client.metrics(), client.store.snapshot(), client.on("*", print).cancel()
            client.send({"type": "from inside"})
        done(event)

    client.on("new_anomaly", locked)
    client.connect(PATIENCE)
    with lock:
        server.send(anomaly(1))
        client.store.wait_for(lambda seen: seen.recent_logs, PATIENCE)
        client.on("*", inside).cancel()
        client.send({"type": "from outside"})
        assert client.is_connected
    done.wait_for(1)
    server.wait_for_message({"type": "from inside"})


def test_an_own_thread_that_hangs_delays_no_other(server: FakeServer, make: Make) -> None:
    client, hanging, heard, own = make(server.url), Hanging(), Record(), Record()
    client.on("new_anomaly", hanging, own_thread=True)
    client.on("new_anomaly", heard)
    client.on("new_anomaly", own, own_thread=True)
    client.connect(PATIENCE)
    for number in range(50):
        server.send(anomaly(number))
    assert numbers(heard.wait_for(50)) == numbers(own.wait_for(50)) == list(range(50))
    hanging.leave.set()


def test_waiters_are_released_when_a_callback_closes_the_client(server: FakeServer, make: Make) -> None:
    client = make(server.url)
    client.on("new_anomaly", lambda _: client.close())
    client.connect(PATIENCE)
    tasks = [
        Task(lambda: client.wait_for("system_alert", timeout=PATIENCE)),
        Task(lambda: client.store.wait_for(lambda _: False, PATIENCE)),
    ]
    join, events = Task(lambda: client.join(PATIENCE)), Task(lambda: list(client.events("system_alert")))
    for task in (*tasks, join, events):
        task.began.wait(PATIENCE)
    server.send(anomaly(1))
    for task in tasks:
        with pytest.raises(ClientClosed):
            task.result()
    assert join.result() is True
    assert events.result() == []
