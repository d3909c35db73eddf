"""Readers of a replica: what the page of capacity builds large sites from."""

from __future__ import annotations

import pytest

from tests.relay.load import Reader, load
from tests.relay.servers import RedisServer, RelayProcess
from tests.relay.test_takeover import LEASE, RATE, assert_each_once


@pytest.mark.timeout(120)
def test_a_reader_of_a_replica_that_is_killed_and_comes_back_empty(
    redis_server: RedisServer, nothing_is_left: None
) -> None:
    with (
        RedisServer("--replicaof", "127.0.0.1", str(redis_server.port)) as replica,
        load(RATE) as (server, running),
        RelayProcess(server.url, redis_server.url("copied"), "--lease", str(LEASE), name="a") as relay,
    ):
        relay.wait_for("active")
        running.start()
        with Reader(replica.url("copied")) as reader:
            reader.wait_for_number(50)
            for _ in range(3):
                replica.restart(keep=False)
                reader.wait_for_number(running.count + 50)
            count = running.stop()
            reader.wait_for_number(count - 1)
            assert_each_once(reader, count)
            assert len(reader.gaps) >= 3
            assert all(gap.complete for gap in reader.gaps)
