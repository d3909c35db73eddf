"""close(): from anywhere, at any moment, within its deadline, and nothing is left."""

from __future__ import annotations

import gc
import logging
import signal
import threading
from collections.abc import Callable, Iterator

import psutil
import pytest

from realtime_client import (
    ClientClosed,
    ConnectionState,
    HandshakeRejected,
    RealtimeClient,
)
from realtime_client.testing import Ending, FakeServer, MemoryTransport, accept, drip, go_silent, refuse, stall
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
    own_threads,
    states,
)
from tests.outages.waiting import wait_until_ended


def test_close_says_goodbye_with_code_1000(server: FakeServer, make: Make) -> None:
    client = make(server.url)
    client.connect(PATIENCE)
    client.close()
    connection = server.connections[0]
    assert connection.wait_closed() is Ending.CLOSED
    assert connection.close_code == 1000
    assert client.status.state is ConnectionState.CLOSED
    assert client.status.last_error is None


def test_close_takes_less_than_100_ms_when_the_peer_answers(server: FakeServer, make: Make) -> None:
    """In one of five tries: another process may take the processor away in any of them, and nothing in the client waits
    for a time-out where one try is as quick as that. But none may take as long as a close that nobody answers.
    """
    times = []
    for _ in range(5):
        client = make(server.url)
        client.connect(PATIENCE)
        with Stopwatch() as took:
            client.close()
        times.append(took.seconds)
        assert own_threads() == []
    assert min(times) < 0.1
    assert max(times) < client.config.close_timeout, times


def test_close_by_another_thread_while_the_reader_is_blocked_on_a_silent_peer(server: FakeServer, make: Make) -> None:
    server.add_script(accept(), go_silent(read=False))
    client = make(server.url)
    client.connect(PATIENCE)
    with Stopwatch() as took:
        Task(lambda: client.close(timeout=0.4)).result()
    assert took.seconds < 1.4
    wait_until_ended("rtc-")  # a tenth of a second is kept for that, which a busy machine may exceed
    assert own_threads() == []
    assert client.status.state is ConnectionState.CLOSED


def test_close_is_bounded_by_close_timeout_by_default(server: FakeServer, make: Make) -> None:
    server.add_script(accept(), go_silent())
    client = make(server.url, close_timeout=0.3)
    client.connect(PATIENCE)
    with Stopwatch() as took:
        client.close()
    assert took.seconds < 1.3
    assert server.connections[0].wait_closed() in (Ending.CLIENT_FIN, Ending.CLIENT_RESET)
    wait_until_ended("-heartbeat-1")  # on a busy machine the time may be up before the last thread has had its turn


def test_close_while_dialling(server: FakeServer, make: Make) -> None:
    server.then = [stall()]
    client = make(server.url, connect_timeout=60)
    waiting = Task(client.connect)
    server.wait_for_attempts(1)
    with Stopwatch() as took:
        client.close()
    assert took.seconds < 1
    assert own_threads() == []
    with pytest.raises(ClientClosed):
        waiting.result()
    assert client.status.state is ConnectionState.CLOSED


def test_close_during_a_handshake_that_trickles_in(server: FakeServer, make: Make) -> None:
    server.then = [drip(accept())]
    client = make(server.url, connect_timeout=60)
    client.connect(wait=False)
    server.wait_for_attempts(1)
    with Stopwatch() as took:
        client.close()
    assert took.seconds < 1
    assert own_threads() == []


def test_close_while_waiting_to_try_again(server: FakeServer, make: Make) -> None:
    server.then = [refuse(503)]
    client, changes = make(server.url, reconnect_delay=60, reconnect_delay_max=60), Record()
    client.on_status(changes)
    waiting = Task(client.connect)
    changes.wait_until(lambda items: items and items[-1].current.next_retry_at)
    with Stopwatch() as took:
        client.close()
    assert took.seconds < 0.5
    with pytest.raises(ClientClosed):
        waiting.result()
    assert states(changes.items) == ["connecting", "reconnecting", "closed"]
    assert len(server.attempts) == 1


def test_close_of_an_unavailable_client(make: Make, network: MemoryTransport) -> None:
    network.refuse(times=None)
    client, changes = make(link_factory=network, max_reconnect_attempts=0), Record()
    client.on_status(changes)
    client.connect(wait=False)
    changes.wait_until(lambda items: items and items[-1].current.state is ConnectionState.UNAVAILABLE)
    client.close()
    assert client.status.state is ConnectionState.CLOSED
    assert own_threads() == []


def test_close_before_connect_and_connect_afterwards(make: Make, network: MemoryTransport) -> None:
    client = make(link_factory=network)
    client.close()
    assert client.status.state is ConnectionState.CLOSED
    with pytest.raises(ClientClosed):
        client.send({"type": "x"})
    client.connect(PATIENCE)
    assert client.is_connected


def test_close_is_idempotent_and_told_once(make: Make, network: MemoryTransport) -> None:
    client, changes = make(link_factory=network), Record()
    client.on_status(changes)
    client.connect(PATIENCE)
    for _ in range(5):
        client.close()
        client.disconnect()
    assert states(changes.items) == ["connecting", "connected", "closed"]


def test_close_by_many_threads_at_once(server: FakeServer, make: Make) -> None:
    client, changes = make(server.url), Record()
    client.on_status(changes)
    client.connect(PATIENCE)
    together = threading.Barrier(8)

    def close() -> list[str]:
        together.wait(PATIENCE)
        client.close()
        return own_threads()

    assert [task.result() for task in [Task(close) for _ in range(8)]] == [[]] * 8
    assert states(changes.items) == ["connecting", "connected", "closed"]


def test_close_from_inside_a_callback_returns_at_once_and_only_the_change_follows(
    make: Make, network: MemoryTransport
) -> None:
    client, told = make(link_factory=network, overflow="drop_oldest"), Record()

    def stop(event: object) -> None:
        told(event)
        with Stopwatch() as took:
            client.close()
        assert took.seconds < 1

    client.on("new_anomaly", stop)
    client.on("new_anomaly", told)
    connect_and_settle(client)
    client.on_status(told)
    client.on_notification(lambda n: told(n) if n.kind == "anomaly" else None)
    network.current.put(*[anomaly(i) for i in range(50)])
    assert client.join(PATIENCE) is True
    client.close()
    first, *rest = told.items
    assert first.log.id == "log-0"
    assert [item.current.state for item in rest] == [ConnectionState.CLOSED]
    metrics = client.metrics()
    assert metrics.received == metrics.delivered + sum(metrics.dropped.values()) + metrics.waiting == 50
    assert metrics.dropped == {"closed": 49}
    assert metrics.callback_errors == 0


@pytest.mark.parametrize("register", ["on_status", "on_connection_change", "on_notification", "on_error", "own_thread"])
def test_close_from_inside_any_kind_of_callback(register: str, make: Make, network: MemoryTransport) -> None:
    client, closed = make(link_factory=network), Record()

    def stop(_: object) -> None:
        client.close()
        closed(client.status.state)

    if register == "own_thread":
        client.on("*", stop, own_thread=True)
    else:
        getattr(client, register)(stop)
    client.connect(wait=False)
    network.wait_for_open().put("not JSON", alert("x"))
    closed.wait_for(1)
    client.close()
    assert own_threads() == []
    assert client.status.state is ConnectionState.CLOSED


def test_close_and_connect_from_inside_a_callback(server: FakeServer, make: Make) -> None:
    client, events, changes = make(server.url), Record(), Record()

    def restart(event: object) -> None:
        client.close()
        client.connect()
        events(event)

    client.once("system_alert", restart)
    client.on_connection_change(changes)
    client.connect(PATIENCE)
    server.send(alert("restart yourself"))
    events.wait_for(1)
    assert changes.wait_for(3) == [True, False, True]
    assert len(server.connections) == 2
    assert server.max_open == 1


def test_close_discards_what_waits_and_counts_it(make: Make, network: MemoryTransport) -> None:
    client, seen, release = make(link_factory=network), Record(), threading.Event()

    def slow(event: object) -> None:
        seen(event)
        assert release.wait(PATIENCE)

    client.on("new_anomaly", slow)
    client.connect(PATIENCE)
    network.current.put(*[anomaly(i) for i in range(20)])
    seen.wait_for(1)
    closing = Task(client.close)
    client.store.wait_for(lambda s: s.stats.anomaly_count == 20, timeout=PATIENCE)
    with pytest.raises(ClientClosed):  # the run has ended for those who wait
        client.wait_for("never", timeout=PATIENCE)
    release.set()
    closing.result()
    metrics = client.metrics()
    assert metrics.dropped == {"closed": 19}
    assert metrics.received == metrics.delivered + 19 + metrics.waiting
    assert len(seen.items) == 1


def test_close_with_a_hanging_callback_returns_in_time_and_names_thread_and_callback(
    make: Make, network: MemoryTransport, caplog: pytest.LogCaptureFixture
) -> None:
    client, entered, release = make(link_factory=network, name="stuck"), threading.Event(), threading.Event()

    def never_returns(event: object) -> None:
        entered.set()
        assert release.wait(PATIENCE)

    client.on("system_alert", never_returns)
    client.connect(PATIENCE)
    network.current.put(alert("go"), alert("not any more"))
    assert entered.wait(PATIENCE)
    with caplog.at_level(logging.INFO, "realtime_client"), Stopwatch() as took:
        client.close(timeout=0.3)
    assert took.seconds < 1.3
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "rtc-stuck-dispatcher" in warning
    assert "never_returns" in warning
    assert own_threads() == ["rtc-stuck-dispatcher"]
    assert any("1 event" in r.getMessage() for r in caplog.records), "what was not delivered is logged"
    assert client.metrics().dropped == {"closed": 1}
    release.set()
    client.close()
    assert own_threads() == []


def test_close_with_a_hanging_callback_on_its_own_thread_names_it(
    make: Make, network: MemoryTransport, caplog: pytest.LogCaptureFixture
) -> None:
    client, entered, release = make(link_factory=network, name="stuck"), threading.Event(), threading.Event()

    def lane_never_returns(event: object) -> None:
        entered.set()
        assert release.wait(PATIENCE)

    client.on("system_alert", lane_never_returns, own_thread=True)
    client.connect(PATIENCE)
    network.current.put(alert("go"))
    assert entered.wait(PATIENCE)
    client.close(timeout=0.2)
    assert "rtc-stuck-lane" in caplog.text
    assert "lane_never_returns" in caplog.text
    release.set()


def test_close_names_a_name_lookup_that_hangs(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    entered, release = threading.Event(), threading.Event()

    def hangs(*arguments: object, **options: object) -> list[object]:
        entered.set()
        assert release.wait(PATIENCE)
        raise OSError("too late")

    monkeypatch.setattr("socket.getaddrinfo", hangs)
    client = make("ws://slow.invalid/ws", connect_timeout=60)
    client.connect(wait=False)
    assert entered.wait(PATIENCE)
    with Stopwatch() as took:
        client.close(timeout=1)
    assert took.seconds < 2
    assert "rtc-resolve-slow.invalid" in caplog.text
    (resolver,) = [thread for thread in threading.enumerate() if thread.name.startswith("rtc-")]
    release.set()
    resolver.join(PATIENCE)


def test_close_wakes_everybody_who_waits(server: FakeServer, make: Make) -> None:
    client = make(server.url)
    client.connect(PATIENCE)
    server.then = [stall()]
    calls: dict[str, Callable[[], object]] = {
        "events": lambda: list(client.events("never")),
        "wait_for": lambda: client.wait_for("never"),
        "join": client.join,
        "store.wait_for": lambda: client.store.wait_for(lambda s: False),
        "reconnect": client.reconnect,
    }
    tasks = {name: Task(call) for name, call in calls.items() if name != "reconnect"}
    tasks["reconnect"] = Task(calls["reconnect"])
    for task in tasks.values():
        assert task.began.wait(PATIENCE)
    server.wait_for_attempts(2)
    client.close()
    assert tasks["events"].result() == []
    assert tasks["join"].result() is True
    for name in ("wait_for", "store.wait_for", "reconnect"):
        with pytest.raises(ClientClosed):
            tasks[name].result()


def test_client_closed_for_those_who_come_after_the_close(make: Make, network: MemoryTransport) -> None:
    client = make(link_factory=network)
    client.connect(PATIENCE)
    client.close()
    assert list(client.events()) == []
    assert client.join(PATIENCE) is True
    with pytest.raises(ClientClosed):
        client.wait_for(timeout=PATIENCE)
    with pytest.raises(ClientClosed):
        client.store.wait_for(lambda s: False, timeout=PATIENCE)
    with pytest.raises(ClientClosed):
        client.send({"type": "x"})


def test_an_exception_in_the_with_body_closes_and_goes_on(server: FakeServer) -> None:
    client = RealtimeClient(server.url)
    with pytest.raises(ZeroDivisionError), client:
        raise ZeroDivisionError
    assert client.status.state is ConnectionState.CLOSED
    assert own_threads() == []
    assert server.connections[0].wait_closed() is Ending.CLOSED


def test_a_with_statement_that_cannot_connect_closes(server: FakeServer) -> None:
    server.then = [refuse(404)]
    client = RealtimeClient(server.url)
    with pytest.raises(HandshakeRejected), client:
        raise AssertionError("not reached")
    assert client.status.state is ConnectionState.CLOSED
    assert own_threads() == []


@pytest.fixture
def ctrl_c_works() -> Iterator[None]:
    """Also where the tests were started in the background, with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("waiting_in", ["connect", "with", "join", "events", "wait_for", "store.wait_for"])
def test_ctrl_c_ends_the_wait_at_once(waiting_in: str, ctrl_c_works: None, server: FakeServer, make: Make) -> None:
    client = make(server.url, connect_timeout=60)
    if waiting_in in ("connect", "with"):
        server.then = [stall()]
    else:
        client.connect(PATIENCE)
    over = threading.Event()

    def press() -> None:
        # Again if need be: a signal that comes just before a lock is waited for does not wake that wait.
        while not over.wait(0.3):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def enter() -> None:
        with client:
            raise AssertionError("not reached")

    calls: dict[str, Callable[[], object]] = {
        "connect": client.connect,
        "with": enter,
        "join": client.join,
        "events": lambda: list(client.events("never")),
        "wait_for": lambda: client.wait_for("never"),
        "store.wait_for": lambda: client.store.wait_for(lambda s: False),
    }
    pressing = Task(press)

    def wait() -> None:
        try:
            calls[waiting_in]()
        finally:
            over.set()

    with Stopwatch() as took, pytest.raises(KeyboardInterrupt):
        wait()
    assert took.seconds < 3
    pressing.result()
    if waiting_in == "with":
        assert client.status.state is ConnectionState.CLOSED
        assert own_threads() == []
    else:
        client.close()


def test_no_thread_and_no_descriptor_is_left_over_many_lives(server: FakeServer) -> None:
    def threads() -> int:
        """How many there are, but for those of the server's connections, which end a moment after their sockets."""
        return sum(not thread.name.startswith("fake-server-connection") for thread in threading.enumerate())

    process = psutil.Process()
    with RealtimeClient(server.url):
        pass
    server.connections[0].wait_closed()
    before, descriptors = threads(), process.num_fds()
    for turn in range(20):
        with RealtimeClient(server.url, **QUICK) as client:
            client.on("*", print, own_thread=True).cancel()
            if turn % 2:
                client.reconnect(PATIENCE)
        for connection in server.connections:
            connection.wait_closed()
        assert own_threads() == []
    assert process.num_fds() <= descriptors
    assert threads() <= before


def test_a_dial_that_finishes_after_close_is_discarded(server: FakeServer, make: Make) -> None:
    server.then = [stall("late")]
    client, changes = make(server.url), Record()
    client.on_connection_change(changes)
    client.connect(wait=False)
    server.wait_for_attempts(1)
    client.close()
    server.gate("late").release()
    server.attempts[0].wait_closed()
    assert changes.items == []
    assert client.status.state is ConnectionState.CLOSED


def test_a_closed_client_is_collected(make: Make, network: MemoryTransport) -> None:
    import weakref

    client = RealtimeClient(link_factory=network)
    client.on("*", lambda event: None)
    client.connect(PATIENCE)
    client.close()
    reference = weakref.ref(client)
    del client
    gc.collect()
    assert reference() is None
