"""The client over wires that the kernel takes down, misdirects, loses packets of: no proxy, the real TCP below it.

It needs Linux and the rights to make a network namespace; where they are missing this file is skipped as one, and says
why. Loss and reordering are made by a thread between two TUN devices, and by ``tc netem`` too where the kernel has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest

from realtime_client import ConnectError, ConnectionLost
from realtime_client.testing import FakeServer
from tests.client.conftest import Make
from tests.client.recording import Record, anomaly, states
from tests.faults.proxy import FaultProxy
from tests.faults.test_toxics import ALERT, CALM, Followed
from tests.faults.wires import (
    FAR,
    NEAR,
    Losses,
    Namespace,
    ip,
    lossy_namespace,
    namespace,
    why_no_netem,
    why_no_tun,
    why_not,
)

OBSTACLE = why_not()
if OBSTACLE is not None:
    pytest.skip(OBSTACLE, allow_module_level=True)

NOWHERE = "02:00:00:00:00:99"  # the hardware address of nobody
MANY = 300
Break: TypeAlias = Callable[[Namespace], None]


@pytest.fixture
def far(nothing_is_left: None) -> Iterator[Namespace]:
    with namespace() as far:
        yield far


@pytest.fixture
def address(far: Namespace, server: FakeServer) -> Iterator[str]:
    """Where the server is, seen from here: behind the wire."""
    with FaultProxy(server.port, listening=far.listening()) as proxy:
        yield proxy.url()


def near_down(far: Namespace) -> None:
    ip("link", "set", far.near, "down")


def far_down(far: Namespace) -> None:
    far.ip("link", "set", far.far, "down")


def no_address(far: Namespace) -> None:
    ip("addr", "del", f"{NEAR}/30", "dev", far.near)


def nobody_hears_the_client(far: Namespace) -> None:
    ip("neigh", "replace", FAR, "lladdr", NOWHERE, "dev", far.near, "nud", "permanent")


def nobody_hears_the_server(far: Namespace) -> None:
    far.ip("neigh", "replace", NEAR, "lladdr", NOWHERE, "dev", far.far, "nud", "permanent")


BREAKS: list[Break] = [near_down, far_down, no_address, nobody_hears_the_client, nobody_hears_the_server]


@pytest.mark.parametrize("break_it", BREAKS, ids=lambda call: call.__name__)
def test_a_broken_wire_is_noticed_and_the_client_is_back_when_it_is_mended(
    break_it: Break, far: Namespace, address: str, server: FakeServer, make: Make
) -> None:
    followed = Followed(make(address, **ALERT))
    server.send(anomaly(1))
    followed.has(1)
    break_it(far)
    server.send(anomaly(2))
    assert isinstance(followed.is_lost(), ConnectionLost)
    followed.changes.wait_until(lambda items: items[-1].current.reconnect_attempts >= 2)
    assert isinstance(followed.client.status.last_error, ConnectError)
    far.mend()
    gap = followed.is_back()
    server.send(anomaly(3))
    followed.has(1, *([2] if break_it is nobody_hears_the_client else []), 3)
    assert not gap.complete
    assert states(followed.changes.items) == ["reconnecting", "connected"]


@pytest.mark.parametrize("break_it", BREAKS, ids=lambda call: call.__name__)
def test_a_wire_that_breaks_for_less_than_the_heartbeat_s_patience_loses_nothing(
    break_it: Break, far: Namespace, address: str, server: FakeServer, make: Make
) -> None:
    followed = Followed(make(address, **CALM))
    server.send(anomaly(0))
    followed.has(0)
    break_it(far)
    for number in range(1, MANY):
        server.send(anomaly(number))
    far.mend()
    followed.has(*range(MANY))  # by TCP's retransmission
    assert followed.changes.items == []
    assert followed.gaps.items == []


@pytest.mark.parametrize("kind", ["unreachable", "prohibit", "blackhole"])
def test_a_route_that_leads_nowhere_is_one_more_failed_attempt(
    kind: str, far: Namespace, address: str, server: FakeServer, make: Make
) -> None:
    with far.route(kind):
        client = make(address, **CALM)
        changes = Record()
        client.on_status(changes)
        client.connect(wait=False)
        changes.wait_until(lambda items: items and items[-1].current.reconnect_attempts >= 2)
        assert isinstance(client.status.last_error, ConnectError)
    changes.wait_until(lambda items: items[-1].current.connected)


# Loss and reordering


def follow_over_a_bad_wire(far: Namespace, server: FakeServer, make: Make) -> None:
    """The handshake and a feed in both directions: nothing is missing, nothing out of order, nobody notices."""
    with FaultProxy(server.port, listening=far.listening()) as proxy:
        followed = Followed(make(proxy.url(), **CALM))
        for number in range(MANY):
            server.send(anomaly(number))
            if number % 10 == 0:
                followed.client.send({"type": "hello", "number": number})
                followed.events.wait_for(number)  # so that it is many packets
        followed.has(*range(MANY))
        server.wait_for_message({"type": "hello", "number": MANY - 10})
        assert [message["number"] for message in server.messages if message["type"] == "hello"] == [*range(0, MANY, 10)]
        assert followed.changes.items == []
        followed.client.close()


@pytest.mark.parametrize(
    "losses",
    [Losses(lost=0.05), Losses(doubled=0.2, delay=0.02), Losses(lost=0.05, doubled=0.05, delay=0.01)],
    ids=["loss", "reordering and doubling", "all of it"],
)
def test_packets_that_are_lost_doubled_and_reordered(losses: Losses, server: FakeServer, make: Make) -> None:
    obstacle = why_no_tun()
    if obstacle is not None:
        pytest.skip(obstacle)
    with lossy_namespace(losses, seed=11) as (far, wire):
        follow_over_a_bad_wire(far, server, make)
        assert (wire.lost > 0) == (losses.lost > 0)
        assert (wire.overtaken > 0) == (losses.delay > 0)


def test_a_bad_wire_by_netem(server: FakeServer, make: Make) -> None:
    obstacle = why_no_netem()
    if obstacle is not None:
        pytest.skip(obstacle)
    with namespace() as far:
        far.netem("delay", "5ms", "5ms", "loss", "5%", "duplicate", "5%", "reorder", "20%")
        follow_over_a_bad_wire(far, server, make)
