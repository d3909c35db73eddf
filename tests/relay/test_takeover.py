"""Relays that die, sleep and lose Redis, under load: nobody sees an event twice, and no loss goes unsaid."""

from __future__ import annotations

import itertools
import signal
from collections import Counter
from functools import partial
from typing import Any

import pytest

from realtime_client import DashboardSnapshot, Gap
from tests.bulk import bulk
from tests.faults.proxy import FaultProxy
from tests.relay.load import Reader, load
from tests.relay.servers import PATIENCE, RedisServer, RelayProcess

LEASE = 1.0
RATE = 200.0
KILLS = bulk(6, 20)


def assert_fenced(server: RedisServer, stream: str, relays: list[RelayProcess]) -> None:
    """Each fencing number was one relay's, and entries never go back to a lower one."""
    claimed = Counter(fence for relay in relays for fence in relay.fences)
    assert set(claimed.values()) == {1}, claimed
    with server.client() as client:
        entries = client.xrange(f"realtime:{{{stream}}}:events")
    fences = [int(name.partition(b":")[2]) for _, fields in entries for name in fields]
    assert fences == sorted(fences)
    assert set(fences) <= set(claimed)
    seqs = [int(entry_id.partition(b"-")[2]) for entry_id, _ in entries]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


def assert_each_once(reader: Reader, count: int) -> None:
    """Every event exactly once, in order."""
    numbers = reader.numbers
    twice = [number for number, times in Counter(numbers).items() if times > 1]
    assert twice == []
    assert sorted(set(range(count)) - set(numbers)) == []
    assert numbers == sorted(numbers)


@pytest.mark.timeout(400)
def test_the_active_relay_is_killed_under_load_over_and_over(
    redis_server: RedisServer, stream: str, url: str, nothing_is_left: None
) -> None:
    numbers = itertools.count()
    started: list[RelayProcess] = []

    with load(RATE) as (server, running):

        def start() -> RelayProcess:
            options = ("--lease", str(LEASE), "--polling-url", server.poll_url)
            started.append(RelayProcess(server.url, url, *options, name=f"relay-{next(numbers)}"))
            return started[-1]

        try:
            active, standby = start(), start()
            active.wait_for("active", "standing by")
            standby.wait_for("active", "standing by")
            if standby.is_active:
                active, standby = standby, active
            active.wait_for("active")
            running.start()
            with Reader(url) as reader:
                reader.wait_for_number(50)
                for _ in range(KILLS):
                    published = running.count
                    active.kill()
                    taken_over = standby.wait_for("active")
                    assert taken_over["fence"] > max(active.fences)
                    active, standby = standby, start()
                    standby.wait_for("standing by")
                    reader.wait_for_number(max(published, running.count - 1))
                count = running.stop()
                reader.wait_for_number(count - 1)
                assert_each_once(reader, count)
                assert len(reader.gaps) == KILLS
                assert all(gap.complete for gap in reader.gaps)
                assert_fenced(redis_server, stream, started)
                with Reader(url) as late:
                    wanted = content(reader.client.store.snapshot())
                    late.client.store.wait_for(lambda now: content(now) == wanted, PATIENCE)
        finally:
            for relay in started:
                relay.kill()


def content(store: DashboardSnapshot) -> tuple[Any, ...]:
    return store.stats, store.recent_logs, [(alert.message, alert.timestamp) for alert in store.alerts]


@pytest.mark.timeout(120)
def test_a_relay_that_sleeps_beyond_its_lease_is_refused_when_it_wakes(
    redis_server: RedisServer, stream: str, url: str, nothing_is_left: None
) -> None:
    with load(RATE) as (server, running):
        options = ("--lease", str(LEASE), "--polling-url", server.poll_url)
        with RelayProcess(server.url, url, *options, name="sleeper") as sleeper:
            sleeper.wait_for("active")
            with RelayProcess(server.url, url, *options, name="other") as other, Reader(url) as reader:
                other.wait_for("standing by")
                running.start()
                reader.wait_for_number(50)
                for asleep, awake in ((sleeper, other), (other, sleeper), (sleeper, other)):
                    lines = len(asleep.said.items), len(awake.said.items)
                    asleep.signal(signal.SIGSTOP)
                    awake.wait_for("active", after=lines[1])
                    reader.wait_for_number(running.count)
                    asleep.signal(signal.SIGCONT)
                    asleep.wait_for("standing by", after=lines[0])
                    reader.wait_for_number(running.count)
                count = running.stop()
                reader.wait_for_number(count - 1)
                assert_each_once(reader, count)
                assert [gap.complete for gap in reader.gaps] == [True] * 3
                assert_fenced(redis_server, stream, [sleeper, other])


@pytest.mark.timeout(120)
@pytest.mark.parametrize("keep", [True, False], ids=["with its data", "without its data"])
def test_redis_is_restarted(keep: bool, nothing_is_left: None) -> None:
    durable = ("--appendonly", "yes", "--appendfsync", "always")
    with RedisServer(*durable) as redis_server, load(RATE) as (server, running):
        url = redis_server.url("s")
        options = ("--lease", str(LEASE), "--polling-url", server.poll_url)
        with RelayProcess(server.url, url, *options, name="a") as relay:
            relay.wait_for("active")
            running.start()
            with Reader(url) as reader:
                reader.wait_for_number(50)
                for _ in range(3):
                    redis_server.restart(keep=keep)
                    reader.wait_for_number(running.count + 50)
                count = running.stop()
                reader.wait_for_number(count - 1)
                if keep:
                    assert_each_once(reader, count)
                    assert [gap.complete for gap in reader.gaps] == [True] * 3
                    assert_fenced(redis_server, "s", [relay])
                else:
                    numbers = reader.numbers
                    assert not [number for number, times in Counter(numbers).items() if times > 1]
                    # What Redis lost between two reads is gone for readers; it is in the snapshot that they start from.
                    missing = set(range(count)) - set(numbers)
                    assert not missing or any(not gap.complete for gap in reader.gaps)
                    assert len(reader.gaps) == 3
                    assert reader.client.store.stats.anomaly_count == count
                assert relay.is_active


@pytest.mark.timeout(120)
def test_the_link_between_relay_and_redis_is_cut(
    redis_server: RedisServer, stream: str, url: str, nothing_is_left: None
) -> None:
    with load(RATE) as (server, running), FaultProxy(redis_server.port) as proxy:
        through = redis_server.url(stream, port=proxy.port)
        options = ("--lease", str(LEASE), "--polling-url", server.poll_url)
        with RelayProcess(server.url, through, *options, name="a") as relay, Reader(url) as reader:
            relay.wait_for("active")
            running.start()
            reader.wait_for_number(50)
            for cut in range(10):
                proxy.cut("rst" if cut % 2 else "fin")
                reader.wait_for_number(running.count + 20)
            count = running.stop()
            reader.wait_for_number(count - 1)
            assert_each_once(reader, count)
            assert reader.gaps == []  # one relay, which remembers: nothing was ever in doubt
            assert_fenced(redis_server, stream, [relay])


@pytest.mark.timeout(120)
def test_the_link_between_reader_and_redis_is_cut(
    redis_server: RedisServer, stream: str, url: str, nothing_is_left: None
) -> None:
    with load(RATE) as (server, running), FaultProxy(redis_server.port) as proxy:
        through = redis_server.url(stream, port=proxy.port)
        with RelayProcess(server.url, url, "--lease", str(LEASE), name="a") as relay, Reader(through) as reader:
            relay.wait_for("active")
            running.start()
            reader.wait_for_number(50)
            for cut in range(10):
                proxy.cut("rst" if cut % 2 else "fin")
                reader.told.wait_until(partial(told_gaps, cut + 1), PATIENCE)
                reader.wait_for_number(running.count + 20)
            count = running.stop()
            reader.wait_for_number(count - 1)
            assert_each_once(reader, count)
            assert [gap.complete for gap in reader.gaps] == [True] * 10


def told_gaps(count: int, items: list[Any]) -> bool:
    return sum(isinstance(item, Gap) for item in items) >= count
