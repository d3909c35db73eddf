"""Each thing that a network does to a connection, against the real client, with the outcome that the docs promise."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import trustme

from realtime_client import (
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    Gap,
    HeartbeatTimeout,
    RealtimeClient,
    StatusChange,
    Transport,
)
from realtime_client.testing import FakeServer, accept, repeat, send, wait
from tests.client.conftest import Make
from tests.client.recording import PATIENCE, Record, Stopwatch, Task, anomaly, connect_and_settle, numbers, states
from tests.faults.proxy import BOTH, Direction, FaultProxy, Toxics
from tests.serving import serving

CALM: dict[str, Any] = {"reconnect_delay": 0.01, "reconnect_delay_max": 0.05, "max_reconnect_attempts": None}
"""A client with the usual heartbeat, of which these tests live to see none."""
ALERT: dict[str, Any] = {**CALM, "heartbeat_interval": 0.2, "heartbeat_timeout": 0.5, "connect_timeout": 0.5}
"""A client that notices silence after 0.7 s."""
MANY = 200


@pytest.fixture
def proxy(server: FakeServer) -> Iterator[FaultProxy]:
    with FaultProxy(server.port, seed=5) as proxy:
        yield proxy


class Followed:
    """A client that is connected through a proxy, and what its callbacks are told."""

    def __init__(self, client: RealtimeClient) -> None:
        self.client = client
        self.events, self.gaps, self.changes = Record(), Record(), Record()
        connect_and_settle(client)
        client.on("new_anomaly", self.events)
        client.on_gap(self.gaps)
        client.on_status(self.changes)

    def has(self, *wanted: int) -> None:
        """Wait for exactly these events, in this order, and nothing else before."""
        self.events.wait_for(len(wanted))
        assert numbers(self.events.items) == list(wanted)

    def is_lost(self) -> BaseException | None:
        """Wait for the end of the connection; returns why."""
        seen = self.changes.wait_until(lambda items: any(not change.current.connected for change in items))
        first: StatusChange = next(change for change in seen if not change.current.connected)
        return first.current.last_error

    def is_back(self) -> Gap:
        """Wait until it is connected again; returns the one gap that is told."""
        (gap,) = self.gaps.wait_for(1)
        assert self.client.is_connected
        assert isinstance(gap, Gap)
        return gap


@pytest.fixture
def followed(server: FakeServer, proxy: FaultProxy, make: Make) -> Followed:
    return Followed(make(proxy.url(), **CALM))


@pytest.fixture
def wary(server: FakeServer, proxy: FaultProxy, make: Make) -> Followed:
    return Followed(make(proxy.url(), **ALERT))


# Slow


def test_latency_and_jitter_change_nothing_but_the_latency(server: FakeServer, proxy: FaultProxy, make: Make) -> None:
    proxy.set(Toxics(latency=0.03, jitter=0.05))
    followed = Followed(make(proxy.url(), **CALM, heartbeat="frame", heartbeat_interval=0.4))
    for number in range(MANY):
        server.send(anomaly(number))
    followed.has(*range(MANY))
    server.wait_for_frame("ping", n=3)
    latency = followed.client.status.latency
    assert latency is not None
    assert latency >= 0.06
    assert followed.changes.items == []


def test_a_slow_feed_lives_however_long_one_message_takes(
    server: FakeServer, proxy: FaultProxy, wary: Followed
) -> None:
    proxy.set(Toxics(bytes_per_second=40_000), Direction.TO_CLIENT)
    with Stopwatch() as took:
        server.send(anomaly(1, message="x" * 80_000))  # the pongs wait behind it
        wary.has(1)
    assert took.seconds > 1.5
    assert wary.changes.items == []


@pytest.fixture
def secure_server(nothing_is_left: None, tmp_path: Any) -> Iterator[FakeServer]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with FakeServer(ssl_context=serving(authority.issue_cert("127.0.0.1"))) as server:
        yield server


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_single_bytes_change_nothing(
    secure: bool, server: FakeServer, secure_server: FakeServer, tmp_path: Any, make: Make
) -> None:
    target = secure_server if secure else server
    with FaultProxy(target.port) as proxy:
        proxy.set(Toxics(slice_bytes=1))
        url = proxy.url(scheme="wss" if secure else "ws")
        followed = Followed(make(url, **CALM, ca_file=str(tmp_path / "ca.pem")))
        for number in range(20):
            target.send(anomaly(number, message="Ü" * 100))
        followed.client.send({"type": "hello"})
        followed.has(*range(20))
        target.wait_for_message({"type": "hello"})
        assert followed.changes.items == []
        assert followed.client.metrics().malformed == 0
        followed.client.close()


def test_a_handshake_that_trickles_is_given_up_in_time(server: FakeServer, proxy: FaultProxy, make: Make) -> None:
    proxy.set(Toxics(slice_bytes=1, slice_delay=0.02), Direction.TO_CLIENT)
    client = make(proxy.url(), **{**ALERT, "max_reconnect_attempts": 0, "give_up": True})
    with Stopwatch() as took, pytest.raises(ConnectTimeout):
        client.connect(PATIENCE)
    assert 0.4 < took.seconds < 2


# Black holes


@pytest.mark.parametrize("directions", [(Direction.TO_CLIENT,), (Direction.TO_SERVER,), BOTH], ids=str)
def test_a_black_hole_is_noticed_by_the_silence_and_told_as_a_gap(
    directions: tuple[Direction, ...], server: FakeServer, proxy: FaultProxy, wary: Followed
) -> None:
    server.send(anomaly(1))
    wary.has(1)
    proxy.set(Toxics(black_hole=True), *directions)
    error = wary.is_lost()
    assert isinstance(error, HeartbeatTimeout)
    assert error.silence >= 0.5
    if Direction.TO_CLIENT in directions:
        server.send(anomaly(2))  # into the dead connection
    wary.changes.wait_until(lambda items: isinstance(items[-1].current.last_error, ConnectTimeout))
    proxy.heal()
    gap = wary.is_back()
    server.send(anomaly(3))
    wary.has(1, 3)
    assert not gap.complete
    assert gap.until - gap.since >= timedelta(seconds=error.silence)


def test_a_black_hole_towards_the_server_is_no_reason_to_leave_a_feed_that_speaks(
    server: FakeServer, proxy: FaultProxy, make: Make
) -> None:
    server.then = [accept(), wait("deaf"), repeat(30, lambda number: send(anomaly(number)), interval=0.05)]
    wary = Followed(make(proxy.url(), **ALERT))
    proxy.set(Toxics(black_hole=True), Direction.TO_SERVER)
    server.gate("deaf").release()
    wary.has(*range(30))
    assert server.messages == ()
    assert wary.client.metrics().heartbeats >= 2
    assert wary.changes.items == []


def test_a_black_hole_shorter_than_the_heartbeat_s_patience_loses_nothing(
    server: FakeServer, proxy: FaultProxy, followed: Followed
) -> None:
    proxy.set(Toxics(black_hole=True))
    for number in range(MANY):
        server.send(anomaly(number))
    followed.client.send({"type": "hello"})
    assert followed.events.items == []
    proxy.heal()
    followed.has(*range(MANY))
    server.wait_for_message({"type": "hello"})
    assert followed.changes.items == []


def test_close_in_a_black_hole_ends_in_time(server: FakeServer, proxy: FaultProxy, make: Make) -> None:
    client = make(proxy.url(), **CALM, close_timeout=0.3)
    client.connect(PATIENCE)
    proxy.set(Toxics(black_hole=True))
    with Stopwatch() as took:
        client.close()
    assert took.seconds < 1


def test_send_into_a_black_hole_ends_in_time_and_the_client_comes_back(
    server: FakeServer, proxy: FaultProxy, followed: Followed
) -> None:
    proxy.set(Toxics(black_hole=True), Direction.TO_SERVER)

    def fill_the_kernel_s_buffers() -> None:
        while True:
            followed.client.send({"type": "hello", "data": "x" * 1_000_000}, timeout=0.2)

    with Stopwatch() as took, pytest.raises(ConnectionLost):
        fill_the_kernel_s_buffers()
    assert took.seconds < 8
    proxy.heal()
    followed.is_back()
    server.send(anomaly(1))
    followed.has(1)


# Ends


def test_a_reset(server: FakeServer, proxy: FaultProxy, followed: Followed) -> None:
    server.send(anomaly(1))
    followed.has(1)
    assert proxy.cut("rst") == 1
    error = followed.is_lost()
    assert isinstance(error, ConnectionLost)
    assert "reset" in str(error)
    followed.is_back()
    server.send(anomaly(2))
    followed.has(1, 2)
    assert states(followed.changes.items) == ["reconnecting", "connected"]


@pytest.mark.parametrize("direction", BOTH, ids=str)
def test_a_half_closed_connection_is_left(
    direction: Direction, server: FakeServer, proxy: FaultProxy, followed: Followed
) -> None:
    server.send(anomaly(1))
    followed.has(1)
    assert proxy.half_close(direction) == 1
    error = followed.is_lost()
    assert isinstance(error, ConnectionLost)
    assert "without a close frame" in str(error)
    followed.is_back()
    server.send(anomaly(2))
    followed.has(1, 2)


def test_nobody_behind_the_proxy(server: FakeServer, proxy: FaultProxy, followed: Followed) -> None:
    server.stop()
    followed.is_lost()
    followed.changes.wait_until(lambda items: items[-1].current.reconnect_attempts >= 3)
    assert isinstance(followed.client.status.last_error, ConnectError)
    server.restart()
    followed.is_back()
    assert followed.client.status.transport is Transport.WEBSOCKET


# Everything, while a feed runs


@pytest.mark.parametrize("seed", range(3))
def test_toxics_that_change_all_the_time_neither_lose_nor_reorder_anything(
    seed: int, server: FakeServer, proxy: FaultProxy, followed: Followed
) -> None:
    def feed() -> None:
        for number in range(1000):
            server.send(anomaly(number, message="Ü" * (number % 300)))

    feeding = Task(feed)
    weather = proxy.random
    weather.seed(seed)
    kinds = [
        lambda: Toxics(latency=weather.uniform(0, 0.02), jitter=weather.uniform(0, 0.02)),
        lambda: Toxics(bytes_per_second=weather.uniform(1e5, 1e6)),
        lambda: Toxics(slice_bytes=weather.randint(1, 40)),
        lambda: Toxics(black_hole=True),
    ]
    for turn in range(40):
        proxy.set(weather.choice(kinds)(), weather.choice(BOTH))
        followed.client.send({"type": "turn", "number": turn})
    feeding.result()
    proxy.heal()
    followed.has(*range(1000))
    server.wait_for_message({"type": "turn", "number": 39})
    assert followed.changes.items == []
