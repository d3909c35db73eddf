"""``read_interval``: messages gather in the socket, and nobody waits for them longer than that."""

from __future__ import annotations

import pytest

from realtime_client.testing import FakeClock, MemoryTransport
from tests.client.conftest import Make
from tests.client.recording import PATIENCE, Record, Task, alert


@pytest.fixture
def reads(listening: Record) -> Record:
    """Called each time the reader is about to read."""
    return listening


def test_read_interval_lets_messages_gather(
    make: Make, network: MemoryTransport, clock: FakeClock, reads: Record
) -> None:
    client, events = make(link_factory=network, clock=clock, read_interval=0.5, heartbeat="none"), Record()
    client.on("system_alert", events)
    client.connect(PATIENCE)
    reads.wait_for(1)
    network.current.put(alert("first"))
    events.wait_for(1)
    clock.wait_for_waiters(1)  # the reader, which lets what comes now gather
    network.current.put(alert("second"))
    clock.advance(0.4)
    clock.wait_for_waiters(1)
    assert len(reads.items) == 1
    clock.advance(0.1)
    events.wait_for(2)
    assert len(reads.items) == 2


def test_a_quiet_feed_is_read_at_once(make: Make, network: MemoryTransport, clock: FakeClock, reads: Record) -> None:
    client, events = make(link_factory=network, clock=clock, read_interval=0.5, heartbeat="none"), Record()
    client.on("system_alert", events)
    client.connect(PATIENCE)
    for number in range(3):
        reads.wait_for(number + 1)
        network.current.put(alert("one"))
        events.wait_for(number + 1)
        clock.wait_for_waiters(1)
        clock.advance(0.5)


def test_closing_does_not_wait_for_the_read_interval(make: Make, network: MemoryTransport, clock: FakeClock) -> None:
    client, events = make(link_factory=network, clock=clock, read_interval=1.0, heartbeat="none"), Record()
    client.on("system_alert", events)
    client.connect(PATIENCE)
    network.current.put(alert("first"))
    events.wait_for(1)
    clock.wait_for_waiters(1)
    Task(client.close).result()  # no time has passed


def test_a_connection_that_is_dropped_is_not_waited_for(make: Make, network: MemoryTransport, clock: FakeClock) -> None:
    client, events = make(link_factory=network, clock=clock, read_interval=1.0, heartbeat="none"), Record()
    client.on("system_alert", events)
    client.connect(PATIENCE)
    network.current.put(alert("first"))
    events.wait_for(1)
    clock.wait_for_waiters(1)
    client.reconnect(PATIENCE)  # no time has passed
    assert len(network.links) == 2


def test_the_answer_to_a_heartbeat_is_read_at_once(
    make: Make, network: MemoryTransport, clock: FakeClock, reads: Record
) -> None:
    client, events = make(link_factory=network, clock=clock, read_interval=1.0, heartbeat_interval=0.3), Record()
    client.on("system_alert", events)
    client.connect(PATIENCE)
    network.current.put(alert("first"))
    events.wait_for(1)
    clock.wait_for_waiters(2)  # the reader and the heartbeat
    clock.advance(0.3)
    network.wait_for_sent(1)
    reads.wait_for(2)
    clock.advance(0.125)
    network.current.put(alert("something else first"))
    reads.wait_for(3)
    network.current.pong(network.current.pings[-1])
    reads.wait_for(4)
    assert client.status.latency == 0.125
