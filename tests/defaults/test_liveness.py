"""With default settings: a half-open connection is noticed, and a blocked callback costs no pong."""

from __future__ import annotations

import threading
import time

import pytest

from realtime_client import ConnectionState, HeartbeatTimeout
from realtime_client._core.frames import PING, encode_frame
from realtime_client.testing import FakeClock, FakeServer, MemoryTransport
from tests.client.conftest import Make
from tests.client.recording import PATIENCE, Record, anomaly, connect_and_settle
from tests.outages.waiting import wait_for_plan

NOTICED_WITHIN = 41.0
STEP = 0.25
"""How far the fake clock goes at a time."""


@pytest.mark.parametrize("last_heard", [0.0, 0.25, 15.0, 29.75, 30.25, 39.75, 44.0, 59.75, 60.25, 1234.5])
def test_a_half_open_connection_is_noticed_within_41_seconds(
    last_heard: float, network: MemoryTransport, clock: FakeClock, listening: Record, make: Make
) -> None:
    client, changes = make(link_factory=network, clock=clock), Record()
    connect_and_settle(client)
    client.on_status(changes)
    listening.wait_for(1)
    began = clock.monotonic()

    def let_pass(until: float) -> None:
        while clock.monotonic() - began < until and client.is_connected:
            clock.wait_for_waiters(1)  # the heartbeat's thread; no other waits for a time to come
            clock.advance(STEP)

    def hear() -> None:
        turns = len(listening.items)
        network.current.pong(b"life")
        listening.wait_for(turns + 1)

    for at in range(7, int(last_heard), 7):  # until then the peer is heard every 7 s
        let_pass(at)
        hear()
    let_pass(last_heard)
    hear()
    heard_at = clock.monotonic()
    assert client.is_connected
    let_pass(last_heard + NOTICED_WITHIN)
    (change,) = changes.wait_for(1)
    assert change.current.state is ConnectionState.RECONNECTING
    assert isinstance(change.current.last_error, HeartbeatTimeout)
    assert clock.monotonic() - heard_at <= NOTICED_WITHIN
    clock.wait_for_waiters(1)
    clock.advance(2)
    network.wait_for_open(2)


def test_a_server_that_comes_back_from_the_dead_is_found_again(
    network: MemoryTransport, clock: FakeClock, make: Make
) -> None:
    """Half-open and then away for long: nobody has to press reload."""
    client, changes = make(link_factory=network, clock=clock), Record()
    client.on_status(changes)
    connect_and_settle(client)
    network.refuse(times=12)
    while client.is_connected:
        clock.wait_for_waiters(1)
        clock.advance(STEP)  # less than the shortest delay, so that the first plan is seen
    for attempt in range(13):
        wait_for_plan(changes, attempt)
        clock.skip_delay(client)  # no more than that: it would be taken from the attempt's own time
        network.wait_for_links(attempt + 2)
    network.wait_for_open(2)
    changes.wait_until(lambda items: items[-1].current.connected)


def test_a_ping_is_answered_within_a_second_while_callbacks_block_for_a_second_at_a_time(
    server: FakeServer, make: Make
) -> None:
    client, calls, leave = make(server.url), Record(), threading.Event()

    def block(event: object) -> None:
        calls(event)
        leave.wait(1.0)

    client.on("new_anomaly", block)
    client.on("new_anomaly", block, own_thread=True)
    client.connect(PATIENCE)
    connection = server.wait_for_connection()
    waits = []
    for number in range(1, 13):
        server.send(anomaly(number))
        calls.wait_for(1 + number // 3)  # so the pings are spread over several calls
        sent = time.monotonic()
        connection.send_frame(encode_frame(PING, str(number).encode()), PATIENCE)
        pong = connection.wait_for_frame("pong", n=number)
        assert pong.payload == str(number).encode()
        waits.append(pong.at - sent)
    assert max(waits) < 1.0
    assert len(calls.items) < 24  # there were always callbacks at work
    assert client.is_connected
    leave.set()
