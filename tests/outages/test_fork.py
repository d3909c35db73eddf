"""Forks: the child's client comes to life by itself, and the parent's connection feels nothing of it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import socket
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import realtime_client
from realtime_client import ClientClosed, ConnectionState, RealtimeClient
from realtime_client.testing import FakeConnection, FakeServer, accept, refuse, repeat, send, stall
from tests.client.conftest import Make
from tests.client.recording import PATIENCE, QUICK, Record, Stopwatch, Task, alert, anomaly, numbers, own_threads, stats
from tests.outages.processes import Child, in_child, only_in_this_process, process, run_script

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


@contextlib.contextmanager
def untouched(server: FakeServer, connection: FakeConnection, client: RealtimeClient) -> Iterator[None]:
    """The parent's connection: not one frame more, and it still carries what it should, both ways."""
    frames = len(connection.frames)
    yield
    assert len(connection.frames) == frames
    assert connection.is_open
    with client.events("system_alert", timeout=PATIENCE) as alerts:
        connection.send(alert("still here?"))
        event: Any = next(alerts)
    assert event.message == "still here?"
    client.send({"type": "still here"})
    connection.wait_for_message({"type": "still here"})
    assert len(connection.frames) == frames + 1
    assert server.errors == ()


def connected(server: FakeServer, client: RealtimeClient) -> FakeConnection:
    """Connect a client, and give the server's side of it."""
    with client.events("connection_established", timeout=PATIENCE) as greetings:
        client.connect(PATIENCE)
        next(greetings)
    return server.connections[-1]


def put_log(server: FakeServer, client: RealtimeClient, number: int) -> None:
    server.send(anomaly(number))
    client.store.wait_for(lambda seen: any(log.id == f"log-{number}" for log in seen.recent_logs), PATIENCE)


def test_a_connected_client_revives_in_the_child_with_a_connection_of_its_own(server: FakeServer, make: Make) -> None:
    client = make(server.url)
    parents = connected(server, client)
    put_log(server, client, 1)

    def child() -> Any:
        before = client.store.snapshot()  # the first public call
        with client.events("system_alert", timeout=PATIENCE) as alerts:
            client.connect(PATIENCE)
            client.send({"type": "from the child"})
            event: Any = next(alerts)
        threads = own_threads(client)
        client.close()
        return len(before.recent_logs), client.status.state, event.message, threads, own_threads(client)

    with untouched(server, parents, client):
        forked = Child(child)
        childs = server.wait_for_connection(2)
        childs.wait_for_message({"type": "from the child"})
        childs.send(alert("to the child"))
        logs, state, message, threads, left = forked.result()
        assert logs == 1  # what the parent knew
        assert state is ConnectionState.CLOSED
        assert message == "to the child"
        assert len(threads) == 4  # reconnect, reader, heartbeat, dispatcher: its own
        assert left == []
        assert childs.close_code == 1000
    assert len(server.connections) == 2


@pytest.mark.parametrize("call", ["status", "is_connected", "store", "metrics", "health", "repr", "on", "events"])
def test_any_public_call_revives_it(call: str, server: FakeServer, make: Make) -> None:
    client = make(server.url)
    parents = connected(server, client)

    def child() -> bool:
        calls: dict[str, Callable[[], object]] = {
            "status": lambda: client.status,
            "is_connected": lambda: client.is_connected,
            "store": lambda: client.store.recent_logs,
            "metrics": client.metrics,
            "health": client.health,
            "repr": lambda: repr(client),
            "on": lambda: client.on("*", print),
            "events": client.events,
        }
        calls[call]()
        store = client.store.wait_for(lambda seen: seen.stats.total_logs == 7, PATIENCE)
        client.close()
        return store.stats.total_logs == 7

    with untouched(server, parents, client):
        forked = Child(child)
        server.wait_for_connection(2).send(stats(totalLogs=7))
        assert forked.result() is True


def test_a_store_held_in_the_hand_revives_the_client(server: FakeServer, make: Make) -> None:
    client = make(server.url)
    parents = connected(server, client)
    store = client.store

    def child() -> int:
        return store.wait_for(lambda seen: seen.stats.total_logs == 7, PATIENCE).stats.total_logs

    with untouched(server, parents, client):
        forked = Child(child)
        server.wait_for_connection(2).send(stats(totalLogs=7))
        assert forked.result() == 7


def test_a_child_that_only_reads_the_store_has_the_parents_content_at_once(server: FakeServer, make: Make) -> None:
    client = make(server.url)
    parents = connected(server, client)
    for number in range(5):
        put_log(server, client, number)

    def child() -> list[str]:
        return [log.id for log in client.store.recent_logs]

    with untouched(server, parents, client):
        assert in_child(child) == [f"log-{number}" for number in (4, 3, 2, 1, 0)]


def test_a_child_that_does_nothing_touches_nothing(server: FakeServer, make: Make) -> None:
    client = make(server.url)
    parents = connected(server, client)
    with untouched(server, parents, client):
        for _ in range(3):
            assert in_child(own_threads) == []
    assert len(server.attempts) == 1


def test_the_childs_copy_of_the_parents_socket_is_closed(server: FakeServer, make: Make) -> None:
    client = make(server.url)
    parents = connected(server, client)

    def to_server() -> int:
        return sum(
            one.status == "ESTABLISHED" and bool(one.raddr) and one.raddr.port == server.port
            for one in psutil.Process().net_connections("tcp")
        )

    assert to_server() == 1
    with untouched(server, parents, client):
        assert in_child(to_server) == 0


def test_a_client_that_was_never_connected(server: FakeServer, make: Make) -> None:
    client = make(server.url)

    def child() -> tuple[ConnectionState, ConnectionState]:
        idle = client.status.state
        client.connect(PATIENCE)
        after = client.status.state
        client.close()
        return idle, after

    assert in_child(child) == (ConnectionState.IDLE, ConnectionState.CONNECTED)
    assert client.status.state is ConnectionState.IDLE
    client.connect(PATIENCE)
    assert len(server.connections) == 2


def test_a_client_that_was_closed_stays_closed(server: FakeServer, make: Make) -> None:
    client = make(server.url)
    connected(server, client)
    put_log(server, client, 1)
    client.close()

    def child() -> tuple[ConnectionState, bool, int]:
        with pytest.raises(ClientClosed):
            client.send({"type": "x"})
        with pytest.raises(ClientClosed):
            client.wait_for(timeout=PATIENCE)
        return client.status.state, client.join(PATIENCE), len(client.store.recent_logs)

    assert in_child(child) == (ConnectionState.CLOSED, True, 1)
    assert len(server.connections) == 1


def test_a_fork_while_connecting(make: Make) -> None:
    with FakeServer(script=[[stall()]]) as server:
        client = make(server.url)
        client.connect(wait=False)
        server.wait_for_attempts(1)

        def child() -> bool:
            client.connect(PATIENCE)
            client.close()
            return True

        assert in_child(child)
        assert len(server.attempts) == 2
        assert not server.attempts[0].ending  # the parent's attempt goes on
        client.close()


def test_a_fork_within_a_callback(server: FakeServer, make: Make) -> None:
    client, results = make(server.url), Record()

    def child() -> Any:
        with client.events("system_alert", timeout=PATIENCE) as alerts:
            client.connect(PATIENCE)  # waits: none of the parent's threads is this process's
            state = client.status.state
            client.send({"type": "from the child"})
            event: Any = next(alerts)
        client.close()
        # The one thread of this process still has the name of the parent's dispatcher, on which it was forked.
        return state, event.message, set(own_threads()) - {threading.current_thread().name}

    def fork(_event: object) -> None:
        forked = Child(child)
        childs = server.wait_for_connection(2)
        childs.wait_for_message({"type": "from the child"})
        childs.send(alert("for the child"))
        results(forked.result())

    client.once("stats_update", fork)
    parents = connected(server, client)
    with untouched(server, parents, client):
        parents.send(stats(totalLogs=1))
        assert results.wait_for(1) == [(ConnectionState.CONNECTED, "for the child", set())]


def test_forks_under_load(make: Make) -> None:
    flood = repeat(None, lambda turn: send(anomaly(turn)), interval=0.0002)
    with FakeServer(then=[accept(), flood]) as server:
        client, parents, lane = make(server.url, overflow="block", max_pending_events=50), Record(), Record()
        client.on("new_anomaly", only_in_this_process(parents))
        client.on("new_anomaly", only_in_this_process(lane), own_thread=True)
        client.connect(PATIENCE)
        parents.wait_for(50)

        def child() -> tuple[int, bool]:
            known = len(client.store.recent_logs)
            heard = Record()
            client.on("new_anomaly", heard)
            with client.events("new_anomaly", timeout=PATIENCE) as events:
                for _ in range(100):
                    next(events)
            heard.wait_for(100)
            alive = client.is_connected
            client.send({"type": "hello"})
            client.close()
            return known, alive

        for _ in range(10):
            known, alive = in_child(child)
            assert known > 0
            assert alive
        assert len(server.connections) == 11
        assert server.connections[0].is_open
        assert server.connections[0].messages == ()
        before = len(parents.items)
        parents.wait_for(before + 100)
        client.close()
        every = numbers(parents.items)
        assert every == list(range(len(every)))


def test_callbacks_live_in_the_child_as_in_the_parent(server: FakeServer, make: Make) -> None:
    client, heard, own, states = make(server.url), Record(), Record(), Record()
    client.on("new_anomaly", heard)
    client.on("new_anomaly", own, own_thread=True)
    client.on_status(lambda change: states(change.current.state))
    parents = connected(server, client)
    put_log(server, client, 1)
    heard.wait_for(1)
    own.wait_for(1)
    states.wait_for(2)

    def child() -> Any:
        client.connect(PATIENCE)
        heard.wait_for(2)
        own.wait_for(2)
        lanes = client.metrics().lanes
        client.close()
        return (
            numbers(heard.items),
            numbers(own.items),
            states.items[2:],
            [(lane.received, lane.waiting) for lane in lanes],
        )

    with untouched(server, parents, client):
        forked = Child(child)
        server.wait_for_connection(2).send(anomaly(2))
        seen, in_own_thread, steps, lanes = forked.result()
        assert seen == in_own_thread == [1, 2]
        assert steps == [ConnectionState.CONNECTING, ConnectionState.CONNECTED, ConnectionState.CLOSED]
        assert lanes == [(1, 0)]  # one lane: not the parent's beside it
    assert numbers(heard.items) == [1]


def test_a_lane_of_the_parents_does_not_block_the_child(server: FakeServer, make: Make) -> None:
    client, own = make(server.url, overflow="block", max_pending_events=3), Record()
    client.on("new_anomaly", own, own_thread=True)
    parents = connected(server, client)

    def child() -> list[int]:
        client.connect(PATIENCE)
        found = numbers(own.wait_for(20))
        client.close()
        return found

    with untouched(server, parents, client):
        forked = Child(child)
        childs = server.wait_for_connection(2)
        for number in range(20):
            childs.send(anomaly(number))
        assert forked.result() == list(range(20))


def test_an_iterator_of_the_forking_thread_goes_on_in_the_child(server: FakeServer, make: Make) -> None:
    client = make(server.url)
    parents = connected(server, client)
    with client.events("new_anomaly", timeout=PATIENCE) as events:

        def child() -> list[int]:
            client.connect(PATIENCE)
            found = numbers([next(events)])
            client.close()
            return [*found, *numbers(list(events))]

        with untouched(server, parents, client):
            forked = Child(child)
            server.wait_for_connection(2).send(anomaly(5))
            assert forked.result() == [5]


def run_in_child(client: RealtimeClient, queue: Any) -> None:
    client.connect(PATIENCE)
    queue.put((client.status.state.value, os.getpid()))
    client.close()


def test_multiprocessing_with_the_fork_context(server: FakeServer, make: Make) -> None:
    client = make(server.url)
    parents = connected(server, client)
    context = multiprocessing.get_context("fork")
    with untouched(server, parents, client):
        queue = context.SimpleQueue()
        workers = [context.Process(target=run_in_child, args=(client, queue)) for _ in range(3)]
        for worker in workers:
            worker.start()
        results = [queue.get() for _ in workers]
        for worker in workers:
            worker.join(PATIENCE)
            assert worker.exitcode == 0
        queue.close()
        assert {state for state, _ in results} == {"connected"}
        assert len({pid for _, pid in results} - {os.getpid()}) == 3


def test_a_child_that_ends_the_usual_way_leaves_the_parent_alone(server: FakeServer, make: Make) -> None:
    # As a forked worker ends: atexit hooks, finalisers and all.
    client = make(server.url)
    parents = connected(server, client)
    with untouched(server, parents, client):
        worker = multiprocessing.get_context("fork").Process(target=client.metrics)
        worker.start()
        worker.join(PATIENCE)
        assert worker.exitcode == 0


def test_shared_handles_in_the_child(server: FakeServer) -> None:
    handle = realtime_client.shared(server.url, name="fork-shared")
    try:
        parents = connected(server, handle)

        def child() -> tuple[int, bool, bool]:
            other = realtime_client.shared(server.url, name="fork-shared")
            other.connect(PATIENCE)
            handle.close()
            alive = other.is_connected  # the last reference is still held
            other.close()
            return len(own_threads()), alive, other.closed

        with untouched(server, parents, handle):
            assert in_child(child) == (0, True, True)
        assert len(server.connections) == 2
    finally:
        handle.close()


def test_a_grandchild(server: FakeServer, make: Make) -> None:
    client = make(server.url)
    parents = connected(server, client)

    def grandchild() -> bool:
        client.connect(PATIENCE)
        client.close()
        return True

    def child() -> bool:
        client.connect(PATIENCE)
        answer = in_child(grandchild)
        alive = client.is_connected
        client.close()
        return bool(answer and alive)

    with untouched(server, parents, client):
        assert in_child(child) is True
    assert len(server.connections) == 3


def test_polling_in_parent_and_child(make: Make) -> None:
    with FakeServer(then=[refuse(503)], poll_answer={"stats": {"totalLogs": 3}}) as server:
        client = make(server.url, polling_url=server.poll_url, polling_interval=0.02, **QUICK, poll_after=0.05)
        client.connect(wait=False)
        server.wait_for_polls(2)

        def child() -> str:
            transport = client.store.wait_for(lambda seen: seen.stats.total_logs == 3, PATIENCE).transport
            client.refresh(PATIENCE)
            client.close()
            return transport.value

        assert in_child(child) == "polling"
        server.wait_for_polls(len(server.polls) + 2)


# Forks of which nobody is told, as uWSGI's: no hook of ours runs, or none at all.

UNTOLD = """
    import os
    {before}
    import logging, random, threading
    os.register_at_fork = lambda **hooks: None
    import signal, sys
    from realtime_client import RealtimeClient

    client = RealtimeClient(sys.argv[1], name="untold")
    heard = threading.Event()
    client.on("system_alert", lambda event: heard.set())
    client.connect(5)
    client.store.wait_for(lambda seen: seen.recent_logs, 5)
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        logs = len(client.store.recent_logs)
        client.connect(5)
        client.send({"type": "from the child"})
        heard.clear()
        assert heard.wait(5)
        client.close()
        print("child", logs, client.status.state.value, flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
    client.send({"type": "from the parent"})
    print("parent", client.is_connected, flush=True)
    client.close()
"""


@pytest.mark.parametrize("before", ["", "os.register_at_fork = lambda **hooks: None"], ids=["ours", "any"])
def test_a_fork_whose_hooks_do_not_run(before: str) -> None:
    with FakeServer(then=[accept(), send(anomaly(1)), send(alert("hear this"))]) as server:
        answer_child = Task(lambda: tell_the_child(server))
        finished = run_script(
            UNTOLD.replace("{before}", before), server.url, flags=["-W", "ignore::DeprecationWarning"]
        )
        answer_child.result(20)
        assert finished.errors == ""
        assert finished.lines == ["child 1 closed", "parent True"]
        parents = server.connections[0]
        assert parents.messages == ({"type": "from the parent"},)
        assert parents.close_code == 1000


def tell_the_child(server: FakeServer) -> None:
    child = server.wait_for_connection(2, 20)
    child.wait_for_message({"type": "from the child"}, 20)
    while child.is_open:
        child.send(alert("hear this"))
        with contextlib.suppress(TimeoutError):
            child.wait_closed(0.02)


# A real server that loads the application before it forks its workers.

APPLICATION = """
import json, os
from realtime_client import RealtimeClient

client = RealtimeClient(os.environ["FEED"], name="preloaded")
client.connect(10)

def application(environ, start_response):
    snapshot = client.store.wait_for(lambda seen: seen.recent_logs, 10)
    client.wait_for("system_alert", timeout=10)
    body = json.dumps({"pid": os.getpid(), "logs": len(snapshot.recent_logs), "connected": client.is_connected})
    start_response("200 OK", [("Content-Type", "application/json")])
    return [body.encode()]
"""


@pytest.mark.parametrize("worker", ["sync", "gthread"])
def test_gunicorn_with_preload(worker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "preloaded.py").write_text(APPLICATION)
    chatty = repeat(None, send(alert("hear this")), interval=0.02)
    with (
        FakeServer(then=[accept(), send(anomaly(1)), chatty]) as server,
        socket.create_server(("127.0.0.1", 0)) as listening,
    ):
        monkeypatch.setenv("FEED", server.url)
        monkeypatch.setenv("PYTHONWARNINGS", "ignore::DeprecationWarning")
        command = [sys.executable, "-m", "gunicorn", "--preload", "--chdir", str(tmp_path), "--workers", "1"]
        command += ["--worker-class", worker, "--threads", "2" if worker == "gthread" else "1", "--no-control-socket"]
        command += ["--bind", f"fd://{listening.fileno()}", "--graceful-timeout", "5", "preloaded:application"]
        with process(*command, pass_fds=[listening.fileno()]) as running:
            port = listening.getsockname()[1]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=25) as answer:
                body = answer.read().decode()
            assert '"connected": true' in body
            assert f'"pid": {running.pid}' not in body  # a worker answered
            masters = server.connections[0]
            assert masters.frames == ()
            assert masters.is_open
            assert len(server.connections) == 2
            running.terminate()
            output = (running.communicate(timeout=20)[0] or b"").decode()
            assert running.returncode == 0, output
            assert "Traceback" not in output


def test_cancelling_in_the_child_does_not_wait_for_a_call_that_runs_in_the_parent(
    server: FakeServer, make: Make
) -> None:
    client, entered, leave = make(server.url), Record(), threading.Event()

    def slow(event: object) -> None:
        entered(event)
        assert leave.wait(30)

    subscription = client.on("new_anomaly", slow, own_thread=True)
    parents = connected(server, client)
    server.send(anomaly(1))
    entered.wait_for(1)

    def child() -> tuple[bool, float]:
        with Stopwatch() as took:
            ended = subscription.cancel(wait=True, timeout=PATIENCE)
        return ended, took.seconds

    with untouched(server, parents, client):
        ended, seconds = in_child(child)
    assert ended is True
    assert seconds < 1
    leave.set()
