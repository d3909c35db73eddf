"""The blocking helpers: events(), wait_for(), join() and store.wait_for()."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest

from realtime_client import (
    ClientClosed,
    ConnectionState,
    HandshakeRejected,
    NewAnomaly,
    RealtimeClient,
    RealtimeError,
    StatsUpdate,
)
from realtime_client.testing import FakeServer, MemoryTransport, accept, go_silent, refuse, send
from tests.client.conftest import Make
from tests.client.recording import PATIENCE, QUICK, Record, Stopwatch, Task, alert, anomaly, consumers, numbers, stats


@pytest.fixture
def client(make: Make, network: MemoryTransport) -> RealtimeClient:
    connected = make(link_factory=network, **QUICK)
    connected.connect(PATIENCE)
    return connected


def delivered(client: RealtimeClient, network: MemoryTransport, *messages: dict[str, Any]) -> None:
    """Let messages arrive, and wait until every buffer has them."""
    done = Record()
    with client.on("*", done):
        network.current.put(*messages)
        done.wait_for(len(messages))


# events()


def test_events_is_subscribed_from_the_call_on(client: RealtimeClient, network: MemoryTransport) -> None:
    delivered(client, network, anomaly(0))
    events = client.events("new_anomaly", timeout=PATIENCE)
    delivered(client, network, anomaly(1), alert("no"), anomaly(2))
    assert numbers([next(events), next(events)]) == [1, 2]


def test_events_may_be_asked_for_before_connect(server: FakeServer, make: Make) -> None:
    client = make(server.url)
    events = client.events(timeout=PATIENCE)
    client.connect(PATIENCE)
    assert next(events).type == "connection_established"


def test_events_takes_a_class_or_a_star(client: RealtimeClient, network: MemoryTransport) -> None:
    by_class, every = client.events(NewAnomaly, timeout=PATIENCE), client.events(timeout=PATIENCE)
    delivered(client, network, alert("a"), anomaly(1))
    assert next(by_class).type == "new_anomaly"
    assert [next(every).type, next(every).type] == ["system_alert", "new_anomaly"]


def test_events_ends_after_timeout_seconds_without_an_event(client: RealtimeClient, network: MemoryTransport) -> None:
    events = client.events("new_anomaly", timeout=0.15)
    network.current.put(anomaly(1), anomaly(2))
    with Stopwatch() as took:
        assert numbers(list(events)) == [1, 2]
    assert 0.15 <= took.seconds < 2
    assert list(events) == []
    assert consumers(client) == 0


def test_events_timeout_counts_from_the_last_event_on(client: RealtimeClient, network: MemoryTransport) -> None:
    events = client.events("new_anomaly", timeout=0.4)
    seen = []
    with Stopwatch() as took:
        network.current.put(anomaly(0))
        for event in events:
            seen.append(event)
            if len(seen) < 4:
                threading.Timer(0.2, network.current.put, [anomaly(len(seen))]).start()
    assert numbers(seen) == [0, 1, 2, 3]
    assert took.seconds >= 1.0


def test_events_goes_on_over_a_reconnection(client: RealtimeClient, network: MemoryTransport) -> None:
    events = client.events("new_anomaly", timeout=PATIENCE)
    network.current.put(anomaly(1))
    assert numbers([next(events)]) == [1]
    network.current.lose()
    network.wait_for_open(2).put(anomaly(2))
    assert numbers([next(events)]) == [2]


def test_events_holds_a_thousand_and_counts_the_rest(client: RealtimeClient, network: MemoryTransport) -> None:
    events = client.events("new_anomaly", timeout=0.05)
    for batch in range(15):
        delivered(client, network, *[anomaly(batch * 100 + i) for i in range(100)])
    (lane,) = client.metrics().lanes
    assert (lane.received, lane.waiting, lane.high_water) == (1_500, 1_000, 1_000)
    assert lane.dropped == {"drop_oldest": 500}
    assert "events" in lane.name
    assert numbers(list(events)) == list(range(500, 1_500))
    assert client.metrics().dropped == {}


def test_events_is_a_context_manager_that_unsubscribes(client: RealtimeClient, network: MemoryTransport) -> None:
    with client.events(timeout=PATIENCE) as events:
        assert consumers(client) == 1
        delivered(client, network, anomaly(1))
        assert numbers([next(events)]) == [1]
    assert consumers(client) == 0
    delivered(client, network, anomaly(2))
    assert list(events) == []


def test_events_unsubscribes_when_dropped(client: RealtimeClient) -> None:
    events = client.events()
    assert consumers(client) == 1
    del events
    gc.collect()
    assert consumers(client) == 0


def test_events_unsubscribes_after_a_break_out_of_the_loop(client: RealtimeClient, network: MemoryTransport) -> None:
    def first() -> list[int]:
        events = client.events("new_anomaly", timeout=PATIENCE)
        network.current.put(anomaly(7), anomaly(8))
        for event in events:
            return numbers([event])
        return []

    assert first() == [7]
    gc.collect()
    assert consumers(client) == 0


def test_events_of_several_threads_each_see_everything(client: RealtimeClient, network: MemoryTransport) -> None:
    iterators = [client.events("new_anomaly", timeout=PATIENCE) for _ in range(5)]
    tasks = [Task(lambda it=it: [next(it) for _ in range(300)]) for it in iterators]  # type: ignore[misc]
    for batch in range(3):
        network.current.put(*[anomaly(batch * 100 + i) for i in range(100)])
    for task in tasks:
        assert numbers(task.result()) == list(range(300))


def test_events_under_block_holds_the_reading_up(make: Make, network: MemoryTransport) -> None:
    client = make(link_factory=network, overflow="block")
    client.connect(PATIENCE)
    events = client.events("new_anomaly", timeout=PATIENCE)
    network.current.put(*[anomaly(i) for i in range(2_500)])
    assert numbers([next(events) for _ in range(2_500)]) == list(range(2_500))
    assert client.metrics().lanes[0].dropped == {}
    assert client.metrics().lanes[0].high_water <= 1_000
    events.close()


def test_events_of_a_client_that_never_connected_end_when_it_is_closed(make: Make, network: MemoryTransport) -> None:
    client = make(link_factory=network)
    events = client.events()
    waiting = Task(lambda: list(events))
    assert waiting.began.wait(PATIENCE)
    client.close()
    assert waiting.result() == []
    client.connect(PATIENCE)
    seen = Record()
    client.on("new_anomaly", seen)
    network.current.put(anomaly(1))
    seen.wait_for(1)  # the end was theirs, not the dispatcher's


def test_events_of_a_closed_client_end_also_while_others_are_held_back(make: Make, network: MemoryTransport) -> None:
    """As by the backfill of a connection that is closed at this moment."""
    client = make(link_factory=network)
    client.connect(PATIENCE)
    client.close()
    client._engine.hub.hold()
    events = client.events()
    client._engine.hub.release()
    assert Task(lambda: list(events)).result() == []


def test_events_that_have_ended_hold_nobody_up(make: Make, network: MemoryTransport) -> None:
    client, seen = make(link_factory=network, overflow="block"), Record()
    client.on("new_anomaly", seen)
    client.connect(PATIENCE)
    client.close()
    events = client.events()
    client.connect(PATIENCE)
    network.current.put(*[anomaly(i) for i in range(2_500)])
    seen.wait_for(2_500)
    assert list(events) == []


@pytest.mark.parametrize("how", ["closed", "dropped"])
def test_events_that_nobody_reads_any_more_lets_a_blocked_reader_go_on(
    how: str, make: Make, network: MemoryTransport
) -> None:
    client, seen = make(link_factory=network, overflow="block"), Record()
    client.on("new_anomaly", seen)
    client.connect(PATIENCE)
    events = client.events("new_anomaly")
    network.current.put(*[anomaly(i) for i in range(1_500)])
    client.store.wait_for(lambda s: s.stats.anomaly_count > 1_000, timeout=PATIENCE)
    assert next(events).type == "new_anomaly"  # the reader is held up, or will be: the buffer takes a thousand
    if how == "closed":
        events.close()
    del events
    gc.collect()
    assert numbers(seen.wait_for(1_500)) == list(range(1_500))


# wait_for()


def test_wait_for_returns_the_event(client: RealtimeClient, network: MemoryTransport) -> None:
    waiting = Task(lambda: client.wait_for("stats_update", lambda e: e.stats["active_services"] > 5, timeout=PATIENCE))
    for services in range(1, 50):
        network.current.put(stats(activeServices=services))
        if waiting.done:
            break
    network.current.put(stats(activeServices=50))
    event = waiting.result()
    assert isinstance(event, StatsUpdate)
    assert event.stats["active_services"] > 5
    assert consumers(client) == 0


def test_wait_for_raises_the_builtin_timeout_error(client: RealtimeClient) -> None:
    with Stopwatch() as took, pytest.raises(TimeoutError) as caught:
        client.wait_for("never", timeout=0.1)
    assert type(caught.value) is TimeoutError
    assert 0.1 <= took.seconds < 2
    assert consumers(client) == 0


def test_wait_for_lets_the_predicate_raise(client: RealtimeClient, network: MemoryTransport) -> None:
    waiting = Task(lambda: client.wait_for("system_alert", lambda e: 1 / 0, timeout=PATIENCE))
    assert waiting.began.wait(PATIENCE)
    while not waiting.done:
        delivered(client, network, alert("x"))
    with pytest.raises(ZeroDivisionError):
        waiting.result()
    assert client.is_connected
    assert consumers(client) == 0


def test_wait_for_raises_client_closed_on_close(client: RealtimeClient) -> None:
    waiting = Task(lambda: client.wait_for("never"))
    assert waiting.began.wait(PATIENCE)
    client.close()
    with pytest.raises(ClientClosed):
        waiting.result()


def test_wait_for_and_events_and_join_end_when_the_client_gives_up(server: FakeServer, make: Make) -> None:
    client = make(server.url, give_up=True, **QUICK)
    client.connect(PATIENCE)
    calls: dict[str, Callable[[], object]] = {
        "events": lambda: list(client.events("never")),
        "wait_for": lambda: client.wait_for("never"),
        "join": client.join,
    }
    tasks = {name: Task(call) for name, call in calls.items()}
    for task in tasks.values():
        assert task.began.wait(PATIENCE)
    server.then = [refuse(404)]
    server.drop()
    assert tasks["events"].result() == []
    for name in ("wait_for", "join"):
        with pytest.raises(HandshakeRejected):
            tasks[name].result()


# join()


def test_join_returns_true_when_another_thread_closes(client: RealtimeClient) -> None:
    waiting = Task(client.join)
    assert waiting.began.wait(PATIENCE)
    client.close()
    assert waiting.result() is True


def test_join_returns_no_earlier_than_the_client_is_closed(server: FakeServer, make: Make) -> None:
    server.add_script(accept(), send(alert("go")), go_silent())
    client, closing = make(server.url, close_timeout=0.5), threading.Event()

    def stop(event: object) -> None:
        client.close()
        closing.set()

    client.on("system_alert", stop)
    client.connect(PATIENCE)
    assert closing.wait(PATIENCE)
    assert client.join(PATIENCE) is True
    assert client.status.state is ConnectionState.CLOSED


def test_join_returns_false_when_the_time_is_up(client: RealtimeClient) -> None:
    with Stopwatch() as took:
        assert client.join(timeout=0.1) is False
    assert 0.1 <= took.seconds < 2
    assert consumers(client) == 0


def test_join_outlives_reconnections(client: RealtimeClient, network: MemoryTransport) -> None:
    waiting = Task(client.join)
    for turn in range(2, 5):
        network.current.lose()
        network.wait_for_open(turn)
    assert not waiting.done
    client.close()
    assert waiting.result() is True


# store.wait_for()


def test_store_wait_for_returns_the_snapshot(client: RealtimeClient, network: MemoryTransport) -> None:
    waiting = Task(lambda: client.store.wait_for(lambda s: s.stats.total_logs == 3, timeout=PATIENCE))
    network.current.put(stats(totalLogs=1))
    network.current.put(stats(totalLogs=3))
    assert waiting.result().stats.total_logs == 3


def test_store_wait_for_times_out(client: RealtimeClient) -> None:
    with pytest.raises(TimeoutError):
        client.store.wait_for(lambda s: False, timeout=0.1)


# On the client's own threads


@pytest.mark.parametrize("own_thread", [False, True])
def test_waiting_on_the_clients_own_threads_is_refused(
    own_thread: bool, client: RealtimeClient, network: MemoryTransport
) -> None:
    refused = Record()

    def waits(event: object) -> None:
        calls: list[Callable[[], object]] = [
            lambda: next(client.events()),
            lambda: client.wait_for("never"),
            client.join,
            lambda: client.store.wait_for(lambda s: False),
        ]
        for call in calls:
            try:
                call()
            except RuntimeError as error:
                refused(str(error))

    client.on("system_alert", waits, own_thread=own_thread)
    network.current.put(alert("go"))
    words = refused.wait_for(4)
    assert ["events" in words[0], "wait_for" in words[1], "join" in words[2], "store.wait_for" in words[3]] == [
        True
    ] * 4


def test_an_iterator_made_elsewhere_is_refused_on_the_clients_own_thread(
    client: RealtimeClient, network: MemoryTransport
) -> None:
    events, refused = client.events(), Record()

    def waits(event: object) -> None:
        try:
            for _ in range(10):
                next(events)
        except RuntimeError as error:
            refused(error)

    client.on("system_alert", waits)
    network.current.put(alert("go"))
    refused.wait_for(1)
    events.close()


def test_waiting_for_another_client_in_a_callback_is_allowed(
    client: RealtimeClient, network: MemoryTransport, make: Make
) -> None:
    far, seen = MemoryTransport(), Record()
    other = make(link_factory=far)
    other.connect(PATIENCE)

    def waits(event: object) -> None:
        with other.events("system_alert", timeout=PATIENCE) as events:
            far.current.put(alert("from the other"))
            seen(next(events))

    client.on("go", waits)
    network.current.put({"type": "go"})
    assert seen.wait_for(1)[0].message == "from the other"


# store.wait_for() and the life of the client


def test_store_wait_for_is_released_with_the_reason_when_the_client_gives_up(
    make: Make, network: MemoryTransport
) -> None:
    client, looked = make(link_factory=network, give_up=True, max_reconnect_attempts=0), Record()
    client.connect(PATIENCE)
    waiting = Task(lambda: client.store.wait_for(looked, PATIENCE))
    looked.wait_for(1)
    network.refuse(times=None)
    network.current.lose()
    with pytest.raises(RealtimeError) as caught:
        waiting.result()
    assert client.status.state is ConnectionState.FAILED
    assert caught.value is client.status.last_error
    with pytest.raises(type(caught.value)):
        client.store.wait_for(lambda seen: False, PATIENCE)  # and whoever comes later


def test_store_wait_for_works_right_after_a_connect_that_follows_a_close(server: FakeServer, make: Make) -> None:
    client, entered, leave = make(server.url, close_timeout=0.3), Record(), threading.Event()

    def hanging(event: object) -> None:
        entered(threading.current_thread())
        assert leave.wait(30)

    client.once("connection_established", hanging)
    client.connect(PATIENCE)
    [hung] = entered.wait_for(1)
    client.close()
    server.add_script(accept(), send(stats(totalLogs=7)))
    client.connect(wait=False)  # which begins when the callback has been waited for
    assert client.store.wait_for(lambda seen: seen.stats.total_logs == 7, PATIENCE).stats.total_logs == 7
    leave.set()
    hung.join(PATIENCE)  # for the closed run's dispatcher nobody else waits
