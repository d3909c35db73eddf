"""Heartbeats: what is sent, what counts as life, and when a silent connection is dead."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from realtime_client import ConnectionState, Event, HeartbeatTimeout, Pong, RealtimeClient
from realtime_client._runtime.mailbox import Mailbox
from realtime_client.testing import (
    FakeClock,
    FakeServer,
    MemoryLink,
    MemoryTransport,
    accept,
    drip,
    go_silent,
    send,
    stall,
)
from tests.client.conftest import Make
from tests.client.independent import websockets_server
from tests.client.recording import PATIENCE, QUICK, Record, alert, anomaly, connect_and_settle, numbers, own_threads

PING = '{"type":"ping"}'


def test_heartbeat_message_is_a_ping_message_and_a_ping_frame(
    make: Make, network: MemoryTransport, clock: FakeClock
) -> None:
    client = make(link_factory=network, clock=clock)
    client.connect(PATIENCE)
    link = network.current
    clock.wait_for_waiters(1)
    clock.advance(29.5)
    assert (link.sent, link.pings) == ([], [])
    clock.advance(0.5)
    clock.wait_for_waiters(1)
    assert [json.loads(text) for text in link.sent] == [{"type": "ping"}]
    assert len(link.pings) == 1
    assert client.metrics().heartbeats == 1


def test_heartbeat_frame_is_a_ping_frame_alone(make: Make, network: MemoryTransport, clock: FakeClock) -> None:
    client = make(link_factory=network, clock=clock, heartbeat="frame")
    client.connect(PATIENCE)
    clock.wait_for_waiters(1)
    clock.advance(30)
    clock.wait_for_waiters(1)
    assert (network.current.sent, len(network.current.pings)) == ([], 1)
    assert client.metrics().heartbeats == 1


def test_heartbeat_none_sends_nothing_and_never_judges(make: Make, network: MemoryTransport, clock: FakeClock) -> None:
    client, events = make(link_factory=network, clock=clock, heartbeat="none"), Record()
    client.on("system_alert", events)
    client.connect(PATIENCE)
    assert not [name for name in own_threads(client) if "heartbeat" in name]
    clock.advance(24 * 3600)
    network.current.put(alert("still there"))
    events.wait_for(1)
    assert (network.current.sent, network.current.pings) == ([], [])
    assert client.is_connected
    assert client.metrics().heartbeats == 0


def test_a_pong_that_nobody_hears_is_counted_and_does_not_wake_the_dispatcher(
    make: Make, network: MemoryTransport, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, batches = Mailbox.put, []

    def noted(mailbox: Mailbox, events: Sequence[Event], *args: Any, **options: Any) -> int:
        if mailbox.name == "main":
            batches.append([event.type for event in events])
        return put(mailbox, events, *args, **options)

    monkeypatch.setattr(Mailbox, "put", noted)
    client, events = make(link_factory=network, clock=clock, heartbeat="none"), Record()
    client.connect(PATIENCE)
    with client.events("pong") as pongs:  # has a lane of its own
        network.current.put('{"type":"pong"}')
        assert isinstance(next(pongs), Pong)
    network.current.put('{"type":"pong"}')
    network.current.put(alert("behind it"))
    client.store.wait_for(lambda snapshot: snapshot.alerts, PATIENCE)
    client.on("pong", events)
    network.current.put('{"type":"pong"}')
    events.wait_for(1)
    assert batches == [["system_alert"], ["pong"]]
    metrics = client.metrics()
    assert (metrics.received, metrics.waiting, sum(metrics.dropped.values())) == (4, 0, 0)


def test_who_watches_the_store_is_told_of_a_pong_that_nobody_else_hears(
    make: Make, network: MemoryTransport, clock: FakeClock
) -> None:
    client, told = make(link_factory=network, clock=clock, heartbeat="none"), Record()
    client.connect(PATIENCE)
    client.store.subscribe(lambda snapshot: snapshot.as_of, lambda _, current: told(current))
    clock.advance(1)
    network.current.put('{"type":"pong"}')
    told.wait_for(1)


class Follow:
    """A connected client on a fake clock, whose feed is heard when the test says so."""

    def __init__(self, make: Make, network: MemoryTransport, clock: FakeClock, listening: Record) -> None:
        self.client: RealtimeClient = make(link_factory=network, clock=clock, reconnect_jitter=0)
        self.clock = clock
        self._listening = listening
        self.events, self.changes = Record(), Record()
        self.client.on("*", self.events)
        connect_and_settle(self.client)
        self.client.on_status(self.changes)
        self.link: MemoryLink = network.current
        self._listening.wait_for(1)

    def hear(self, *messages: str | dict[str, object]) -> None:
        """Let messages arrive, and wait until callbacks have them."""
        count = len(self.events.items) + len(messages)
        self.hear_anything(*messages)
        self.events.wait_for(count)

    def hear_anything(self, *messages: str | dict[str, object]) -> None:
        """Let messages arrive, well-formed or not, and wait until the reader has noted that and listens again."""
        turns = len(self._listening.items)
        self.link.put(*messages)
        self._listening.wait_for(turns + 1)

    def hear_pong_frame(self, payload: bytes) -> None:
        """Let a pong frame arrive, and wait until the reader has noted that and listens again."""
        turns = len(self._listening.items)
        self.link.pong(payload)
        self._listening.wait_for(turns + 1)

    def advance(self, seconds: float) -> None:
        self.clock.wait_for_waiters(1)
        self.clock.advance(seconds)
        if self.client.is_connected:
            self.clock.wait_for_waiters(1)


@pytest.fixture
def follow(make: Make, network: MemoryTransport, clock: FakeClock, listening: Record) -> Follow:
    return Follow(make, network, clock, listening)


def test_heartbeat_timeout_comes_exactly_after_an_unanswered_heartbeat(follow: Follow) -> None:
    follow.advance(30)
    assert len(follow.link.pings) == 1
    follow.advance(9.5)
    assert follow.client.is_connected
    follow.clock.advance(0.5)
    change = follow.changes.wait_for(1)[0]
    assert change.current.state is ConnectionState.RECONNECTING
    error = change.current.last_error
    assert isinstance(error, HeartbeatTimeout)
    assert error.silence == 40
    assert (change.current.next_retry_at - follow.clock.now()).total_seconds() == 1


def test_heartbeat_goes_on_for_as_long_as_it_is_answered(follow: Follow) -> None:
    for beat in range(1, 50):
        follow.advance(30)
        assert len(follow.link.sent) == len(follow.link.pings) == beat
        follow.clock.advance(0.01)
        follow.hear({"type": "pong"})
    assert follow.changes.items == []
    assert follow.client.metrics().heartbeats == 49


def test_heartbeat_an_answer_in_the_same_tick_of_the_clock_is_an_answer(follow: Follow) -> None:
    """A monotonic clock may tick every 16 ms only, and loopback is faster."""
    follow.advance(30)
    follow.hear({"type": "pong"})
    follow.advance(10)
    assert follow.client.is_connected


def test_heartbeat_any_message_is_life(follow: Follow) -> None:
    follow.advance(30)
    follow.clock.advance(5)
    follow.hear(alert("not a pong"))
    follow.advance(25)
    assert follow.client.is_connected
    assert len(follow.link.pings) == 2
    follow.clock.advance(10)
    assert isinstance(follow.changes.wait_for(1)[0].current.last_error, HeartbeatTimeout)


def test_heartbeat_a_malformed_message_is_life(follow: Follow) -> None:
    errors = Record()
    follow.client.on_error(errors)
    for turn in range(1, 5):
        follow.advance(30)
        follow.clock.advance(1)
        follow.hear_anything("not JSON")
        errors.wait_for(turn)
    assert follow.changes.items == []


def test_latency_is_the_time_to_the_pong_message(follow: Follow) -> None:
    before = follow.client.status
    follow.advance(30)
    follow.clock.advance(0.25)
    follow.hear({"type": "pong"})
    assert (before.latency, follow.client.status.latency) == (None, 0.25)
    assert follow.client.metrics().latency == 0.25
    assert follow.client.health()["latency"] == 0.25
    assert isinstance(follow.events.items[-1], Pong)


def test_latency_is_the_time_to_the_pong_frame(follow: Follow) -> None:
    follow.advance(30)
    follow.clock.advance(0.125)
    follow.hear_pong_frame(follow.link.pings[-1])
    assert follow.client.status.latency == 0.125
    follow.clock.advance(1)
    follow.hear({"type": "pong"})  # the second answer to the same heartbeat
    assert follow.client.status.latency == 0.125


def test_heartbeat_never_declares_death_while_a_callback_blocks_the_reading(
    make: Make, network: MemoryTransport, clock: FakeClock
) -> None:
    release, entered = threading.Event(), threading.Event()
    client, numbered, changes = (
        make(link_factory=network, clock=clock, overflow="block", max_pending_events=1, reconnect_jitter=0),
        Record(),
        Record(),
    )

    def slow(event: object) -> None:
        numbered(event)
        entered.set()
        assert release.wait(PATIENCE)

    client.on("new_anomaly", slow)
    connect_and_settle(client)
    client.on_status(changes)
    network.current.put(*[anomaly(i) for i in range(6)])
    assert entered.wait(PATIENCE)
    client.store.wait_for(lambda s: s.stats.anomaly_count == 6, timeout=PATIENCE)  # read, and now held up
    for _ in range(100):
        clock.wait_for_waiters(1)
        clock.advance(30)
    clock.wait_for_waiters(1)
    assert client.is_connected
    assert changes.items == []
    release.set()
    assert numbers(numbered.wait_for(6)) == list(range(6))
    network.current.put({"type": "pong"})
    client.store.wait_for(lambda s: s.stats.anomaly_count == 6, timeout=PATIENCE)
    assert client.is_connected


def test_heartbeat_timeout_on_a_real_connection_that_falls_silent(server: FakeServer, make: Make) -> None:
    server.add_script(accept(), go_silent())
    client, changes = make(server.url, heartbeat_interval=0.1, heartbeat_timeout=0.3, **QUICK), Record()
    client.on_status(changes)
    client.connect(PATIENCE)
    lost = changes.wait_until(lambda items: any(c.previous.connected for c in items))[-1]
    silent = server.connections[0]
    error = changes.items[2].current.last_error
    assert isinstance(error, HeartbeatTimeout)
    assert 0.3 <= error.silence < 2
    assert lost is not None
    first_ping = silent.wait_for_frame("ping")
    assert silent.wait_for_message({"type": "ping"})
    took = (changes.items[2].current.since - changes.items[1].current.since).total_seconds()
    assert 0.4 <= took < 2
    assert first_ping.payload
    server.wait_for_connection(2)


def test_heartbeat_timeout_on_a_peer_that_does_not_even_read(server: FakeServer, make: Make) -> None:
    server.add_script(accept(), stall())
    client = make(server.url, heartbeat_interval=0.1, heartbeat_timeout=0.2, **QUICK)
    client.connect(PATIENCE)
    server.wait_for_connection(2)


def test_heartbeat_bytes_of_a_message_that_trickles_in_are_life(server: FakeServer, make: Make) -> None:
    text = "x" * 40
    server.add_script(accept(), drip(send(alert(text)), size=3, interval=0.04))
    client, events, changes = (
        make(server.url, heartbeat_interval=0.05, heartbeat_timeout=0.3, **QUICK),
        Record(),
        Record(),
    )
    client.on("system_alert", events)
    client.on_connection_change(changes)
    client.connect(PATIENCE)
    assert events.wait_for(1)[0].message == text
    assert changes.items == [True]


def test_heartbeat_of_a_server_that_knows_the_message_only(server: FakeServer, make: Make) -> None:
    server.add_script(accept(), go_silent())
    client, changes = make(server.url, heartbeat_interval=0.05, heartbeat_timeout=0.5, **QUICK), Record()
    connect_and_settle(client)
    client.on_status(changes)
    connection = server.wait_for_connection()
    for beat in range(1, 16):
        connection.wait_for_message({"type": "ping"}, n=beat)
        connection.send({"type": "pong"})
    assert changes.items == []


def test_heartbeat_a_server_that_ignores_the_message_keeps_its_connection(make: Make) -> None:
    """An independent server that reads whatever it is sent and answers nothing but ping frames, as all servers do.

    So pong frames are the only sign of life, over a time that is longer than the time-out.
    """
    got, changes = Record(), Record()

    async def ignore(connection: ServerConnection) -> None:
        async for message in connection:
            got(message)

    with websockets_server(ignore) as port:
        client = make(f"ws://127.0.0.1:{port}/", heartbeat_interval=0.04, heartbeat_timeout=0.6, **QUICK)
        connect_and_settle(client)
        client.on_status(changes)
        assert set(got.wait_for(35)) == {PING}
        assert changes.items == []
        assert client.is_connected
        latency = client.status.latency
        assert latency is not None
        assert 0 < latency < 1
        client.close()


def test_is_stale_counts_the_answers_to_heartbeats_as_life(follow: Follow) -> None:
    store = follow.client.store
    assert store.is_stale(3600) is True  # nothing was ever heard
    follow.hear({"type": "marker"})
    assert store.is_stale(5) is False
    follow.clock.advance(10)
    assert store.is_stale(5) is True
    assert store.is_stale(10) is False
    follow.hear_pong_frame(b"")
    assert store.is_stale(5) is False
