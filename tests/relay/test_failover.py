"""Sentinel and Cluster: the server of a stream is replaced under load, and its stream goes to another node."""

from __future__ import annotations

import contextlib
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis

from realtime_client import ClientConfig
from realtime_client.transports.callables import Callables
from realtime_client.transports.redis_wire import RedisWire
from tests.client.recording import Record
from tests.relay.load import Reader, load
from tests.relay.servers import PATIENCE, RedisServer, RelayProcess, Sentinel, free_port
from tests.relay.test_takeover import LEASE, RATE, assert_each_once

SLOTS = 16384


def wait_until(true: Callable[[], object]) -> None:
    """Ask a server until it is so: nothing tells when."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(redis.RedisError):
            if true():
                return
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.timeout(120)
def test_a_sentinel_replaces_the_server_that_is_killed(nothing_is_left: None) -> None:
    with ExitStack() as stack:
        master = stack.enter_context(RedisServer())
        replica = stack.enter_context(RedisServer("--replicaof", "127.0.0.1", str(master.port)))
        sentinel = stack.enter_context(Sentinel(master))
        asking: Any = stack.enter_context(sentinel.client(decode_responses=True))
        wait_until(lambda: asking.sentinel_master("mymaster")["num-slaves"] == 1)
        server, running = stack.enter_context(load(RATE))
        url = sentinel.url("s", more=f"&also=127.0.0.1:{free_port()}")  # one of them is out of order
        options = ("--lease", str(LEASE), "--polling-url", server.poll_url)
        relay = stack.enter_context(RelayProcess(server.url, url, *options, name="a"))
        other = stack.enter_context(RelayProcess(server.url, url, *options, name="b"))
        relay.wait_for("active", "standing by")
        other.wait_for("active", "standing by")
        running.start()
        reader = stack.enter_context(Reader(url))
        reader.wait_for_number(50)
        master.kill()
        published = running.count
        reader.wait_for_number(published + 50)
        count = running.stop()
        reader.wait_for_number(count - 1)
        assert asking.sentinel_master("mymaster")["port"] == replica.port
        numbers = reader.numbers
        assert [number for number, times in Counter(numbers).items() if times > 1] == []
        # What the old server had not passed on may be lost, and is said to be. The figures are right in any case.
        assert not set(range(count)) - set(numbers) or any(not gap.complete for gap in reader.gaps)
        assert reader.gaps
        assert reader.client.store.stats.anomaly_count == count


def test_a_sentinel_that_does_not_answer_leaves_time_for_the_next(nothing_is_left: None) -> None:
    """As one whose machine is gone together with that of the server."""
    with RedisServer() as master, Sentinel(master) as sentinel, socket.create_server(("127.0.0.1", 0)) as silent:
        nodes = f"127.0.0.1:{silent.getsockname()[1]}/0?stream=s&also=127.0.0.1:{sentinel.port}"
        wire = RedisWire(ClientConfig(f"redis://{nodes}&sentinel=mymaster"), Callables("test"))
        wire.open(time.monotonic() + 6.0)
        assert wire.ask("PING", timeout=PATIENCE)
        wire.release()


def is_ready(node: RedisServer) -> bool:
    with node.client() as client:
        return b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO")


class Cluster:
    """Three nodes, each with a third of the slots."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.nodes: list[RedisServer] = []

    def __enter__(self) -> Cluster:
        self.nodes = [self._stack.enter_context(RedisServer("--cluster-enabled", "yes")) for _ in range(3)]
        for number, node in enumerate(self.nodes):
            with node.client() as client:
                client.execute_command("CLUSTER", "ADDSLOTS", *range(number, SLOTS, 3))
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
        wait_until(lambda: all(map(is_ready, self.nodes)))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def url(self, stream: str) -> str:
        """The address of a stream, by way of a node that need not have it, and of one that is out of order."""
        return self.nodes[1].url(stream, more=f"&cluster=yes&also=127.0.0.1:{free_port()}")

    def owner(self, stream: str) -> RedisServer:
        """The node that has the stream."""
        return self.nodes[self.slot(stream) % 3]

    def slot(self, stream: str) -> int:
        with self.nodes[0].client() as client:
            return int(client.execute_command("CLUSTER", "KEYSLOT", f"realtime:{{{stream}}}:events"))

    def move(self, stream: str, to: RedisServer) -> None:
        """Give a slot to another node, while it is used."""
        slot, source = self.slot(stream), self.owner(stream)
        with ExitStack() as stack:
            here, there, *others = (
                stack.enter_context(node.client())
                for node in (source, to, *(node for node in self.nodes if node not in (source, to)))
            )
            ids = [client.execute_command("CLUSTER", "MYID") for client in (here, there)]
            there.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
            here.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
            while keys := here.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1):
                here.execute_command("MIGRATE", "127.0.0.1", to.port, keys[0], 0, 5000)
            for client in (there, here, *others):
                client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[1])


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster() as running:
        yield running


@pytest.mark.timeout(120)
def test_a_stream_moves_to_another_node_of_a_cluster(cluster: Cluster, nothing_is_left: None) -> None:
    url, source = cluster.url("moved"), cluster.owner("moved")
    target = next(node for node in cluster.nodes if node is not source)
    with load(RATE) as (server, running):
        options = ("--lease", str(LEASE), "--polling-url", server.poll_url)
        with RelayProcess(server.url, url, *options, name="a") as relay:
            relay.wait_for("active")
            running.start()
            with Reader(url) as reader:
                told = Record()
                reader.client.on_notification(told)
                reader.wait_for_number(50)
                cluster.move("moved", target)
                reader.wait_for_number(running.count + 50)
                count = running.stop()
                reader.wait_for_number(count - 1)
                assert_each_once(reader, count)
                assert all(gap.complete for gap in reader.gaps)
                assert any("is on another node of the Cluster" in notice.message for notice in told.items)
    with source.client() as before, target.client() as after:
        with pytest.raises(redis.exceptions.MovedError):
            before.execute_command("XLEN", "realtime:{moved}:events")
        assert after.execute_command("XLEN", "realtime:{moved}:events") >= count


@pytest.mark.timeout(120)
def test_streams_are_spread_over_the_nodes_of_a_cluster(cluster: Cluster, nothing_is_left: None) -> None:
    streams = ["north", "south", "east"]
    assert len({cluster.owner(stream).port for stream in streams}) == 3
    with load(RATE) as (server, running), ExitStack() as stack:
        for stream in streams:
            relay = stack.enter_context(RelayProcess(server.url, cluster.url(stream), name=stream))
            relay.wait_for("following")
        readers = [stack.enter_context(Reader(cluster.url(stream))) for stream in streams]
        running.start()
        for reader in readers:
            reader.wait_for_number(50)
        count = running.stop()
        for reader in readers:
            reader.wait_for_number(count - 1)
            assert_each_once(reader, count)
            assert reader.gaps == []
