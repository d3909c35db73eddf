"""Connected and closed a thousand times, by several threads: no deadlock, no threads left, no late call."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

import realtime_client
from realtime_client import ConnectionState, RealtimeClient, RealtimeError, StatusChange
from realtime_client.testing import FakeServer, MemoryTransport, accept, refuse, repeat, send, stall
from tests.client.conftest import Make
from tests.client.recording import PATIENCE, QUICK, Stopwatch, anomaly, own_threads
from tests.outages.waiting import wait_until_ended

THREADS = 4
CYCLES = 250
LONGEST_LIFE = 0.006
"""A connection takes about 2 ms here, so that closes fall before, into and after the attempt."""


def in_threads(work: Callable[[int], None], threads: int = THREADS, patience: float = 50.0) -> None:
    """Run the same work on several threads; fails with the first error, or where one does not end."""
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    running = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(patience)
    if errors:
        raise errors[0]
    assert not any(thread.is_alive() for thread in running), "deadlock"


class Watched:
    """Counts calls, and those that begin while the client is known to be closed."""

    def __init__(self) -> None:
        self.closed = True
        self.calls = 0
        self.late: list[Any] = []

    def __call__(self, argument: Any) -> None:
        self.calls += 1
        if self.closed:
            self.late.append(argument)


def cycle(client: RealtimeClient, watched: Watched, chance: random.Random) -> None:
    """Connect, live for a moment, close; and see that close() was the end."""
    watched.closed = False
    wait = chance.random() < 0.3
    with contextlib.suppress(RealtimeError):
        client.connect(PATIENCE if wait else None, wait=wait)
    threading.Event().wait(chance.uniform(0, LONGEST_LIFE))
    with Stopwatch() as took:
        client.close()
    watched.closed = True
    assert took.seconds < 1.9, "close() ran into its deadline"
    assert client.status.state is ConnectionState.CLOSED
    assert own_threads(client) == []


def storm(make: Make, url: str, **options: Any) -> list[Watched]:
    every: list[Watched] = []

    def work(number: int) -> None:
        chance = random.Random(number)
        client, watched = make(url, name=f"storm{number}", **QUICK, **options), Watched()
        every.append(watched)
        client.on("*", watched)
        client.on("*", watched, own_thread=True)
        client.on_status(watched)
        client.on_notification(watched)
        client.store.subscribe("recent_logs", lambda _, now: watched(now))
        for _ in range(CYCLES):
            cycle(client, watched, chance)

    in_threads(work)
    return every


def test_a_thousand_cycles_against_a_lively_server(make: Make) -> None:
    lively = repeat(None, lambda turn: send(anomaly(turn)), interval=0.001)
    with FakeServer(then=[accept(), lively]) as server:
        every = storm(make, server.url)
        assert [watched.late for watched in every] == [[]] * THREADS
        assert sum(watched.calls for watched in every) > THREADS * CYCLES  # a CLOSED each, at least
        for connection in server.attempts:
            connection.wait_closed()
        assert server.max_open <= THREADS


@pytest.mark.parametrize("trouble", [refuse(503), stall()], ids=["refusing", "stalling"])
def test_hundreds_of_cycles_against_a_server_in_trouble(trouble: Any, make: Make) -> None:
    with FakeServer(then=[trouble]) as server:

        def work(number: int) -> None:
            chance = random.Random(number)
            client, watched = make(server.url, name=f"storm{number}", **QUICK), Watched()
            client.on_status(watched)
            for _ in range(50):
                watched.closed = False
                client.connect(wait=False)
                threading.Event().wait(chance.uniform(0, LONGEST_LIFE))
                client.close()
                watched.closed = True
                assert own_threads(client) == []
            assert watched.late == []

        in_threads(work)


def test_one_client_from_many_threads_without_any_order(make: Make) -> None:
    lively = repeat(None, lambda turn: send(anomaly(turn)), interval=0.001)
    with FakeServer(then=[accept(), lively], poll_answer={"stats": {"totalLogs": 1}}) as server:
        client = make(server.url, polling_url=server.poll_url, **QUICK)

        def poke(number: int) -> None:
            chance = random.Random(number)
            deeds: list[Callable[[], object]] = [
                lambda: client.connect(wait=False),
                lambda: client.connect(0.05),
                lambda: client.reconnect(wait=False),
                client.close,
                lambda: client.close(0.01),
                lambda: client.send({"type": "hello"}, timeout=1),
                lambda: client.wait_for(timeout=0.003),
                lambda: next(client.events(timeout=0.003), None),
                lambda: client.join(0.003),
                lambda: client.refresh(0.5),
                lambda: client.store.wait_for(lambda _: False, 0.003),
                lambda: client.on("*", lambda _: None, own_thread=True).cancel(wait=True, timeout=1),
                lambda: client.on("*", lambda _: None).cancel(wait=True, timeout=1),
                lambda: (client.status, client.metrics(), client.health(), client.store.snapshot(), repr(client)),
            ]
            for _ in range(200):
                with contextlib.suppress(RealtimeError, TimeoutError):
                    chance.choice(deeds)()

        in_threads(poke, threads=6)
        client.close(PATIENCE)
        assert own_threads(client) == []
        client.connect(PATIENCE)  # nothing is broken
        assert client.is_connected
        client.wait_for("new_anomaly", timeout=PATIENCE)


def test_many_threads_close_at_once(network: MemoryTransport, make: Make) -> None:
    client = make(link_factory=network)
    for _ in range(50):
        client.connect(PATIENCE)
        in_threads(lambda _: client.close())
        assert own_threads(client) == []
        assert client.status.state is ConnectionState.CLOSED


def test_many_threads_connect_at_once(server: FakeServer, make: Make) -> None:
    client = make(server.url)
    for round_ in range(1, 21):
        in_threads(lambda _: client.connect(PATIENCE))
        assert len(server.connections) == round_
        client.close()
    assert server.max_open == 1


def test_closing_from_callbacks_over_and_over(server: FakeServer, make: Make) -> None:
    client, closed = make(server.url), threading.Event()
    client.on("connection_established", lambda _: client.close())

    def told(change: StatusChange) -> None:
        if change.current.state is ConnectionState.CLOSED:
            closed.set()

    client.on_status(told)
    for _ in range(50):
        closed.clear()
        client.connect(wait=False)
        assert closed.wait(PATIENCE)
        client.close()
        assert own_threads(client) == []


def test_shared_handles_come_and_go(server: FakeServer) -> None:
    def work(number: int) -> None:
        chance = random.Random(number)
        for _ in range(40):
            handle = realtime_client.shared(server.url, name="storm-shared", **QUICK)
            with contextlib.suppress(RealtimeError):
                handle.connect(wait=chance.random() < 0.5)
            threading.Event().wait(chance.uniform(0, LONGEST_LIFE))
            handle.close()

    in_threads(work)
    wait_until_ended("rtc-storm-shared")
    for connection in server.attempts:
        connection.wait_closed()
    assert server.open_connections == ()
    fresh = realtime_client.shared(server.url, name="another configuration")  # nobody holds the old one
    fresh.close()
