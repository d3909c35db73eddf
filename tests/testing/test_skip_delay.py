"""The delays of an outage, let pass by a clock of the test's own."""

from __future__ import annotations

from typing import Any

import pytest

from realtime_client import ConnectionState
from realtime_client.testing import FakeClock, FakeServer, MemoryTransport, refuse
from tests.client.conftest import Make, clock, make, network, no_proxy_of_the_machine, nothing_is_left, server
from tests.client.recording import PATIENCE, Record

__all__ = ["clock", "make", "network", "no_proxy_of_the_machine", "nothing_is_left", "server"]

SCHEDULE = [1, 2, 4, 8, 16, 16, 16]


def test_the_documented_delays_over_real_sockets(server: FakeServer, clock: FakeClock, make: Make) -> None:
    client = make(server.url, clock=clock, reconnect_jitter=0)
    client.connect()
    server.then = [refuse(503)]
    server.drop()
    before = clock.monotonic()
    assert [clock.skip_delay(client) for _ in SCHEDULE] == SCHEDULE
    assert clock.monotonic() - before == pytest.approx(sum(SCHEDULE))
    server.wait_for_attempts(1 + len(SCHEDULE))
    server.then = []
    clock.skip_delay(client)
    server.wait_for_connection(2)


def test_from_the_first_attempt_on(network: MemoryTransport, clock: FakeClock, make: Make) -> None:
    network.refuse(times=None)
    client = make(link_factory=network, clock=clock, reconnect_jitter=0)
    client.connect(wait=False)
    assert [clock.skip_delay(client) for _ in SCHEDULE] == SCHEDULE


def test_delays_with_jitter_are_passed_to_the_end(network: MemoryTransport, clock: FakeClock, make: Make) -> None:
    """They end between two microseconds, of which a status tells the nearer."""
    network.refuse(times=200)
    client = make(link_factory=network, clock=clock, max_reconnect_attempts=None, reconnect_delay_max=3)
    client.connect(wait=False)
    delays = [clock.skip_delay(client) for _ in range(200)]
    assert len(set(delays)) > 100
    assert all(0.5 <= delay <= 4.5 for delay in delays)
    network.wait_for_open()


def test_what_is_due_earlier_comes_in_its_own_time(network: MemoryTransport, clock: FakeClock, make: Make) -> None:
    polled = Record()

    def poll(since: Any) -> list[Any]:
        polled(since)
        return []

    network.refuse(times=None)
    options = {"reconnect_delay": 60, "reconnect_delay_max": 60, "reconnect_jitter": 0}
    client = make(link_factory=network, clock=clock, poller=poll, poll_after=10, **options)
    client.connect(wait=False)
    assert clock.skip_delay(client) == 60
    polled.wait_for(1)


def test_a_part_of_the_delay_may_have_passed(network: MemoryTransport, clock: FakeClock, make: Make) -> None:
    client = make(link_factory=network, clock=clock, reconnect_jitter=0, heartbeat="none")
    client.connect()
    network.current.lose()
    network.refuse()
    client.store.wait_for(lambda _: client.status.next_retry_at)
    clock.wait_for_waiters()
    clock.advance(0.25)
    assert clock.skip_delay(client) == 0.75
    assert clock.skip_delay(client) == 2


def test_a_client_that_waits_for_nothing_is_told(network: MemoryTransport, clock: FakeClock, make: Make) -> None:
    client = make(link_factory=network, clock=clock)
    client.connect()
    with pytest.raises(TimeoutError, match=r"<RealtimeClient .* connected> waits for no attempt: not within 0\.05 s"):
        clock.skip_delay(client, timeout=0.05)
    network.refuse(times=None)
    network.current.lose()
    clock.skip_delay(client)
    assert client.status.state is ConnectionState.RECONNECTING


def test_a_client_with_another_clock_is_told(network: MemoryTransport, clock: FakeClock, make: Make) -> None:
    network.refuse(times=None)
    slow = {"reconnect_delay": PATIENCE, "reconnect_delay_max": PATIENCE, "reconnect_jitter": 0}
    client = make(link_factory=network, name="other", **slow)
    client.connect(wait=False)
    with pytest.raises(TimeoutError, match="the thread rtc-other-reconnect does not wait by this clock"):
        clock.skip_delay(client, timeout=0.05)
