"""What nobody holds any more: clients, shared handles and iterators that were dropped without a goodbye."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import realtime_client
from realtime_client import ConnectionState, RealtimeClient
from realtime_client.testing import Ending, FakeServer, MemoryTransport, accept, refuse, repeat, send, stall, wait
from tests.client.recording import PATIENCE, QUICK, Record, Task, anomaly, consumers, numbers, own_threads
from tests.outages.waiting import wait_until_ended


def collected(make: Callable[[], RealtimeClient], name: str) -> weakref.ref[RealtimeClient]:
    """Drop a client, and wait for the end of its threads."""
    client = make()
    reference = weakref.ref(client)
    del client
    gone(name)
    gc.collect()
    return reference


def gone(name: str, clients: list[Any] | None = None) -> None:
    """Drop clients, and wait for the end of the threads of all that nobody holds."""
    if clients is not None:
        clients.clear()
    gc.collect()
    wait_until_ended(f"rtc-{name}-")


def dropping(url: str, **options: Any) -> RealtimeClient:
    client = RealtimeClient(url, name="dropped", **options)
    client.connect(PATIENCE)
    return client


def test_a_dropped_client_ends_its_threads_with_a_resource_warning(server: FakeServer) -> None:
    with pytest.warns(ResourceWarning, match="'dropped' was dropped without close"):
        reference = collected(lambda: dropping(server.url), "dropped")
    assert reference() is None
    assert own_threads() == []
    connection = server.connections[0]
    assert connection.wait_closed() is Ending.CLOSED  # with a goodbye
    assert connection.close_code == 1000


def test_where_warnings_are_errors_the_client_ends_all_the_same(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    reference = collected(lambda: dropping(server.url), "dropped")  # the suite makes warnings errors
    assert reference() is None
    assert own_threads() == []
    assert "dropped without close" in caplog.text


def test_a_client_that_was_closed_goes_without_a_word(server: FakeServer) -> None:
    def make() -> RealtimeClient:
        client = dropping(server.url)
        client.close()
        return client

    assert collected(make, "dropped")() is None


def test_a_client_that_never_connected_goes_without_a_word() -> None:
    assert collected(lambda: RealtimeClient(name="dropped"), "dropped")() is None


@pytest.mark.parametrize("steps", [[stall()], [refuse(503)]], ids=["connecting", "retrying"])
def test_a_client_that_is_dropped_while_it_tries(steps: list[Any]) -> None:
    with FakeServer(then=steps) as server:

        def make() -> RealtimeClient:
            client = RealtimeClient(server.url, name="dropped", **QUICK)
            client.connect(wait=False)
            server.wait_for_attempts(1)
            return client

        with pytest.warns(ResourceWarning):
            assert collected(make, "dropped")() is None
        assert own_threads() == []


def test_a_client_that_is_dropped_while_it_polls(network: MemoryTransport) -> None:
    network.refuse(times=None)
    polled = Record()

    def make() -> RealtimeClient:
        client = RealtimeClient(
            link_factory=network, name="dropped", poller=lambda: polled(1), poll_after=0, polling_interval=0.01, **QUICK
        )
        client.connect(wait=False)
        polled.wait_for(2)
        return client

    with pytest.warns(ResourceWarning):
        assert collected(make, "dropped")() is None
    assert own_threads() == []


def test_callbacks_that_do_not_refer_to_the_client_do_not_keep_it(server: FakeServer) -> None:
    heard, own = Record(), Record()

    def make() -> RealtimeClient:
        client = RealtimeClient(server.url, name="dropped")
        client.on("*", heard)
        client.on("*", own, own_thread=True)
        client.on_status(heard)
        client.store.subscribe("stats", heard)
        client.connect(PATIENCE)
        own.wait_for(1)
        return client

    with pytest.warns(ResourceWarning):
        assert collected(make, "dropped")() is None
    assert own_threads() == []
    assert heard.items[-1].current.state is ConnectionState.CLOSED


def test_a_client_that_is_dropped_under_load() -> None:
    flood = repeat(None, lambda turn: send(anomaly(turn)), interval=0.0001)
    with FakeServer(then=[accept(), flood]) as server:
        heard = Record()

        def make() -> RealtimeClient:
            client = RealtimeClient(server.url, name="dropped", overflow="block", max_pending_events=5)
            client.on("new_anomaly", heard)
            client.connect(PATIENCE)
            heard.wait_for(20)
            return client

        with pytest.warns(ResourceWarning):
            assert collected(make, "dropped")() is None
        assert own_threads() == []
        assert numbers(heard.items) == list(range(len(heard.items)))


class Page:
    """A callback that refers to its client: the client lives as long as it listens."""

    def __init__(self, url: str) -> None:
        self.client = RealtimeClient(url, name="kept")
        self.heard = Record()
        self.client.on("new_anomaly", self.show)
        self.client.connect(PATIENCE)

    def show(self, event: Any) -> None:
        self.heard(event)


def test_a_callback_that_refers_to_the_client_keeps_it(server: FakeServer) -> None:
    page = Page(server.url)
    heard, client = page.heard, weakref.ref(page.client)
    del page
    gc.collect()
    server.send(anomaly(1))
    assert numbers(heard.wait_for(1)) == [1]
    kept = client()
    assert kept is not None
    assert kept.is_connected
    kept.close()
    del kept


def waiting(url: str, begun: threading.Event) -> Any:
    """Wait for an event on a client that nobody else holds."""
    client = RealtimeClient(url, name="dropped")
    begun.set()
    client.connect(PATIENCE)
    return client.wait_for("new_anomaly", timeout=PATIENCE)


def test_a_blocked_wait_keeps_the_client() -> None:
    chatty = repeat(None, send(anomaly(1)), interval=0.05)
    with FakeServer(script=[[accept(), wait("now"), chatty]]) as server:
        begun = threading.Event()
        task = Task(lambda: waiting(server.url, begun))
        server.gate("now").wait_reached()
        gc.collect()
        assert own_threads() != []
        with pytest.warns(ResourceWarning):
            end_of(task, server)


def end_of(task: Task, server: FakeServer) -> None:
    """Let the waiting thread have its event, and wait until its client is gone."""
    server.gate("now").release()
    assert task.result().log.id == "log-1"
    gone("dropped")


def test_many_dropped_clients_at_once(server: FakeServer) -> None:
    clients = [dropping(server.url) for _ in range(10)]
    assert len(own_threads()) == 40
    with pytest.warns(ResourceWarning) as warned:
        gone("dropped", clients)
    assert len(warned) == 10
    for connection in server.connections:
        assert connection.wait_closed() is Ending.CLOSED


# Shared handles


def shared(server: FakeServer, **options: Any) -> realtime_client.SharedClient:
    return realtime_client.shared(server.url, name="shared", **options)


def is_free(server: FakeServer) -> bool:
    """Whether nobody holds the connection: another configuration is then no contradiction."""
    try:
        realtime_client.shared(server.url, name="another").close()
    except realtime_client.ConfigError:
        return False
    return True


def test_a_dropped_handle_gives_its_reference_back(server: FakeServer) -> None:
    handles = [shared(server), shared(server)]
    handles.pop().connect(PATIENCE)
    gc.collect()
    assert handles[0].is_connected
    assert not is_free(server)
    with pytest.warns(ResourceWarning, match="shared"):
        gone("shared", handles)
    assert is_free(server)
    assert server.connections[0].wait_closed() is Ending.CLOSED


def test_a_handle_that_was_closed_and_then_dropped_counts_once(server: FakeServer) -> None:
    first, second = shared(server), shared(server)
    first.connect(PATIENCE)
    first.close()
    first.close()
    del first
    gc.collect()
    second.send({"type": "hello"})
    server.wait_for_message({"type": "hello"})
    assert second.is_connected
    second.close()
    assert is_free(server)


def test_a_handle_that_is_dropped_before_anybody_connected_gives_its_reference_back(server: FakeServer) -> None:
    handle = shared(server)
    del handle
    gc.collect()
    assert is_free(server)


def test_a_handle_that_is_dropped_after_the_connection_was_closed(server: FakeServer) -> None:
    handles = [shared(server), shared(server)]
    handles[0].connect(PATIENCE)
    handles[0].close()
    with pytest.warns(ResourceWarning):
        gone("shared", handles)
    assert is_free(server)


# Iterators


def test_a_dropped_iterator_unsubscribes(server: FakeServer) -> None:
    with RealtimeClient(server.url) as client:
        events = client.events()
        assert consumers(client) == 1
        del events
        gc.collect()
        assert consumers(client) == 0


def test_an_iterator_left_by_break_unsubscribes(server: FakeServer) -> None:
    with RealtimeClient(server.url) as client:
        for _ in client.events("connection_established", timeout=0.01):
            break
        gc.collect()
        assert consumers(client) == 0


def test_a_dropped_iterator_does_not_block_the_reader() -> None:
    flood = repeat(None, lambda turn: send(anomaly(turn)), interval=0.0001)
    with (
        FakeServer(then=[accept(), flood]) as server,
        RealtimeClient(server.url, overflow="block", max_pending_events=5) as client,
    ):
        heard = Record()
        events = client.events("new_anomaly")
        client.store.wait_for(lambda seen: seen.stats.anomaly_count > 10, PATIENCE)
        client.on("new_anomaly", heard)
        del events
        gc.collect()
        heard.wait_for(300)


def test_an_iterator_does_not_keep_its_client(server: FakeServer) -> None:
    events: list[Any] = []

    def make() -> RealtimeClient:
        client = dropping(server.url)
        events.append(client.events("new_anomaly"))
        return client

    with pytest.warns(ResourceWarning):
        assert collected(make, "dropped")() is None
    assert list(events[0]) == []  # it ends, as after close()
