"""A relay in a process that forks: the child has one that was never started, and the parent's lives on."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from realtime_client.relay import Relay, RelayMetrics, RelayState
from realtime_client.relay.writer import StreamWriter
from realtime_client.testing import FakeServer
from tests.client.recording import anomaly
from tests.outages.processes import Child, in_child
from tests.relay.load import Reader
from tests.relay.servers import PATIENCE

MakeRelay = Callable[..., Relay]

LONG = 10.0
"""Seconds of a lease that does not run out while other programs have the processor."""


@pytest.mark.parametrize("state", [RelayState.ACTIVE, RelayState.STANDBY])
def test_a_child_has_a_relay_that_was_never_started(
    state: RelayState, server: FakeServer, url: str, make_relay: MakeRelay
) -> None:
    other, relay = make_relay(server.url, url), make_relay(server.url, url)
    if state is RelayState.STANDBY:
        other.start()
        assert other.wait_for(RelayState.ACTIVE, PATIENCE)
    relay.start()
    assert relay.wait_for(state, PATIENCE)
    server.wait_for_connection()

    def live() -> None:
        assert relay.state is RelayState.STOPPED
        assert relay.metrics() == RelayMetrics()
        assert relay.health()["healthy"] is False
        assert relay.health()["upstream"] is None
        assert relay.stop() is True  # as at the end of a with block that a child leaves as well

    in_child(live)
    with Reader(url) as reader:
        server.send(anomaly(1))
        reader.wait_for_number(1)
    other.stop()
    assert relay.wait_for(RelayState.ACTIVE, PATIENCE)
    assert (relay.metrics().redis_connects, relay.metrics().redis_errors, relay.metrics().refused) == (1, 0, 0)


def test_a_relay_of_the_child_is_another_one(server: FakeServer, url: str, make_relay: MakeRelay) -> None:
    """With the parent's token it would have the parent's lease."""
    relay = make_relay(server.url, url, lease=LONG)
    relay.start()
    assert relay.wait_for(RelayState.ACTIVE, PATIENCE)
    server.wait_for_connection()

    told, tells = os.pipe()

    def live() -> tuple[bool, bool, int]:
        relay.start()
        stood_by = relay.wait_for(RelayState.STANDBY, PATIENCE)
        os.write(tells, b"it stands by")
        took_over = relay.wait_for(RelayState.ACTIVE, PATIENCE)
        fence = relay.metrics().fence
        relay.stop()
        return stood_by, took_over, fence

    child = Child(live)
    os.close(tells)
    try:
        server.send(anomaly(1))
        with Reader(url) as reader:
            reader.wait_for_number(1)
        assert os.read(told, 100) == b"it stands by"
        assert relay.metrics().fence == 1
    finally:
        os.close(told)
        relay.stop()
        result = child.result()
    assert result == (True, True, 2)


def test_a_child_has_a_relay_of_its_own_also_where_the_connection_cannot_be_given_back(
    server: FakeServer, url: str, make_relay: MakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(writer: StreamWriter) -> None:
        raise OSError("no such descriptor")

    relay = make_relay(server.url, url)
    relay.start()
    assert relay.wait_for(RelayState.ACTIVE, PATIENCE)
    monkeypatch.setattr(StreamWriter, "disown", fail)

    def live() -> tuple[RelayState, bool]:
        before = relay.state
        relay.start()
        stood_by = relay.wait_for(RelayState.STANDBY, PATIENCE)
        relay.stop()
        return before, stood_by

    assert in_child(live) == (RelayState.STOPPED, True)
    assert (relay.state, relay.metrics().fence) == (RelayState.ACTIVE, 1)
