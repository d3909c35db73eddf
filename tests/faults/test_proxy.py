"""The proxy itself does what it says: the tests that use it believe it."""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections.abc import Iterator

import pytest

from tests.client.recording import PATIENCE, Stopwatch
from tests.faults.proxy import Cut, Direction, FaultProxy, Toxics, Way

HELLO = b"hello, world"


class Pair:
    """A client's socket and the server's, with a proxy between them."""

    def __init__(self, proxy: FaultProxy, listening: socket.socket) -> None:
        self.client = socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE)
        self.server = listening.accept()[0]
        self.server.settimeout(PATIENCE)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(PATIENCE)
        yield listening


@pytest.fixture
def proxy(nothing_is_left: None, listening: socket.socket) -> Iterator[FaultProxy]:
    with FaultProxy(listening.getsockname()[1], seed=1) as proxy:
        yield proxy


@contextlib.contextmanager
def paired(proxy: FaultProxy, listening: socket.socket) -> Iterator[Pair]:
    pair = Pair(proxy, listening)
    with pair.client, pair.server:
        yield pair


def everything(sock: socket.socket) -> tuple[bytes, str]:
    """What comes until the end, and how that comes."""
    received = b""
    while True:
        try:
            data = sock.recv(65536)
        except ConnectionResetError:
            return received, "rst"
        if not data:
            return received, "fin"
        received += data


# By RST after no byte at all it is the connecting itself that fails.
@pytest.mark.parametrize(("after", "by"), [(0, "fin"), *itertools.product((1, 5, len(HELLO)), ("fin", "rst"))])
def test_a_planned_cut_is_exact(after: int, by: Way, proxy: FaultProxy, listening: socket.socket) -> None:
    proxy.plan(Cut(after, by))
    with paired(proxy, listening) as pair:
        with contextlib.suppress(OSError):
            pair.server.sendall(HELLO)
        assert everything(pair.client) == (HELLO[:after], by)


def test_a_plan_is_for_one_connection(proxy: FaultProxy, listening: socket.socket) -> None:
    proxy.plan(Cut(1, "rst"))
    with paired(proxy, listening) as pair:
        pair.server.sendall(HELLO)
        assert everything(pair.client) == (HELLO[:1], "rst")
    with paired(proxy, listening) as pair:
        pair.server.sendall(HELLO)
        pair.server.close()
        assert everything(pair.client) == (HELLO, "fin")


@pytest.mark.parametrize("by", ["fin", "rst"])
def test_a_cut_now(by: Way, proxy: FaultProxy, listening: socket.socket) -> None:
    with paired(proxy, listening) as pair:
        pair.server.sendall(HELLO)
        proxy.wait_for_carried(Direction.TO_CLIENT, len(HELLO))
        assert proxy.cut(by) == 1
        assert everything(pair.client) == (HELLO, by)
        assert everything(pair.server) == (b"", "rst")


def test_a_half_close_leaves_the_other_direction(proxy: FaultProxy, listening: socket.socket) -> None:
    with paired(proxy, listening) as pair:
        assert proxy.half_close(Direction.TO_CLIENT) == 1
        assert everything(pair.client) == (b"", "fin")
        pair.client.sendall(HELLO)
        assert pair.server.recv(100) == HELLO


def test_a_black_hole_holds_bytes_and_ends(proxy: FaultProxy, listening: socket.socket) -> None:
    with paired(proxy, listening) as pair:
        proxy.set(Toxics(black_hole=True), Direction.TO_CLIENT)
        pair.server.sendall(HELLO)
        pair.server.close()
        pair.client.sendall(HELLO)  # the other direction, and its reset, do not betray it
        pair.client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            pair.client.recv(1)
        pair.client.settimeout(PATIENCE)
        proxy.heal()
        assert everything(pair.client)[1] in ("fin", "rst")


def test_a_planned_cut_that_comes_due_when_the_connection_is_ending(
    proxy: FaultProxy, listening: socket.socket
) -> None:
    proxy.set(Toxics(black_hole=True), Direction.TO_SERVER)
    proxy.plan(Cut(0, "rst", Direction.TO_SERVER))
    with paired(proxy, listening) as pair:
        proxy.cut("fin")  # towards the server it is over already
        proxy.set(Toxics(), Direction.TO_SERVER)
        assert everything(pair.client)[1] in ("fin", "rst")
    proxy.wait_for_open(0)


def test_latency_bandwidth_and_slices_take_their_time(proxy: FaultProxy, listening: socket.socket) -> None:
    for toxics, least in (
        (Toxics(latency=0.2), 0.2),
        (Toxics(bytes_per_second=10_000), 0.15),
        (Toxics(slice_bytes=100, slice_delay=0.01), 0.15),
    ):
        proxy.set(toxics)
        with paired(proxy, listening) as pair, Stopwatch() as took:
            pair.server.sendall(b"x" * 2000)
            pair.server.close()
            assert everything(pair.client) == (b"x" * 2000, "fin")
        assert took.seconds >= least


def test_both_ends_gone_leaves_nothing(proxy: FaultProxy, listening: socket.socket) -> None:
    with paired(proxy, listening):
        assert proxy.open == 1
    with paired(proxy, listening) as pair:
        pair.client.close()
        assert everything(pair.server) == (b"", "fin")
        pair.server.close()
        proxy.wait_for_accepted(2)
    with paired(proxy, listening) as pair:
        pair.server.close()
        assert everything(pair.client) == (b"", "fin")
    with paired(proxy, listening):
        proxy.wait_for_accepted(4)
        proxy.wait_for_open(1)  # the one before may just be ending
