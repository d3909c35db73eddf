"""With default settings: forks under load leave the parent's connection alone, and nothing deadlocks."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from realtime_client.testing import FakeServer, accept, repeat, send
from tests.client.conftest import Make
from tests.client.recording import PATIENCE, Record, Task, anomaly, numbers, stats
from tests.outages.processes import in_child, only_in_this_process

FORKS = 40


@pytest.fixture
def threads_take_turns_often() -> Iterator[None]:
    """So that a fork finds other threads in the middle of things, with locks in their hands."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_40_forks_under_load_put_no_byte_on_the_parents_connection_and_never_deadlock(
    threads_take_turns_often: None, make: Make
) -> None:
    flood = repeat(None, lambda turn: send(anomaly(turn)), interval=0.0005)
    with FakeServer(then=[accept(), flood]) as server:
        client, heard, lane, over = make(server.url), Record(), Record(), threading.Event()
        client.on("new_anomaly", only_in_this_process(heard))
        client.on("new_anomaly", only_in_this_process(lane), own_thread=True)
        client.connect(PATIENCE)
        heard.wait_for(50)

        def use() -> None:
            """Take every lock of the client, over and over, so that a fork may find any of them taken."""
            while not over.wait(0.0005):
                client.metrics()
                client.store.snapshot()
                client.on("stats_update", heard).cancel()
                client.events("stats_update").close()
                client.health()

        users = [Task(use) for _ in range(2)]

        def lives() -> bool:
            client.on("new_anomaly", mine := Record())
            mine.wait_for(20)
            client.send(stats())
            alive = client.is_connected
            client.close()
            return alive

        def reads_and_goes() -> bool:
            return len(client.store.recent_logs) > 0 and client.metrics().received >= 0

        def touches_nothing() -> bool:
            return True

        kinds = [lives, reads_and_goes, touches_nothing, lives]
        for number in range(FORKS):
            assert in_child(kinds[number % len(kinds)])
        over.set()
        for task in users:
            task.result()
        parents = server.connections[0]
        # What the client itself says now and then is a message and a frame; there is not a frame more.
        assert len(parents.frames) == 2 * client.metrics().heartbeats
        assert parents.is_open
        assert client.metrics().reconnects == 0
        before = len(heard.items)
        heard.wait_for(before + 100)
        every = numbers(heard.items)
        assert every == sorted(set(every))
        assert server.errors == ()
        client.close()
