"""A client that reads a stream in Redis: outages, trimming, strays, credentials, and its end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from realtime_client import (
    AuthenticationError,
    ClientConfig,
    ConnectError,
    ConnectionLost,
    ConnectionState,
    Gap,
    HeartbeatTimeout,
    NotConnected,
    Origin,
    RealtimeClient,
    Transport,
)
from realtime_client.testing import FakeServer
from realtime_client.transports.callables import Callables
from realtime_client.transports.redis import RedisLink
from realtime_client.transports.redis_wire import RedisWire
from tests.client.conftest import Make
from tests.client.recording import FIRST_FAILURE, QUICK, Record, Stopwatch, numbers
from tests.faults.proxy import BOTH, FaultProxy, Toxics
from tests.outages.processes import Child
from tests.relay.load import Reader
from tests.relay.servers import PATIENCE, RedisServer, free_port
from tests.relay.test_same_store import Writing, decode


def anomaly(number: int) -> dict[str, Any]:
    return {"type": "new_anomaly", "data": {"log": {"id": f"log-{number}", "message": "m"}}}


def publish(relay: Writing, first: int, last: int) -> None:
    relay.append(decode([anomaly(number) for number in range(first, last)]))


def begin_anew(relay: Writing, url: str, epoch: bytes) -> None:
    """As a relay does that remembers nothing, in a Redis that does not either."""
    relay.writer.disconnect()
    relay.__init__(url)  # type: ignore[misc]
    relay.ledger.epoch = epoch
    relay.snapshot(begins=True)


@pytest.fixture
def relay(url: str, nothing_is_left: None) -> Iterator[Writing]:
    writing = Writing(url)
    yield writing
    writing.end()


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[FaultProxy]:
    with FaultProxy(redis_server.port) as running:
        yield running


def test_the_same_client_over_redis(relay: Writing, url: str) -> None:
    publish(relay, 0, 3)
    with Reader(url) as reader:
        assert reader.client.status.transport is Transport.REDIS
        assert reader.client.store.wait_for(lambda now: len(now.recent_logs) == 3, PATIENCE).stats.anomaly_count == 3
        publish(relay, 3, 5)
        reader.wait_for_number(4)
        assert {event.origin for event in reader.events} == {Origin.REDIS}
        assert reader.client.store.stats.anomaly_count == 5
        assert reader.client.health()["connected"] is True
        with pytest.raises(NotConnected, match="redis"):
            reader.client.send({"type": "x"})
        assert reader.client.metrics().heartbeats == 0


def test_after_an_outage_it_goes_on_by_id(
    relay: Writing, redis_server: RedisServer, stream: str, proxy: FaultProxy
) -> None:
    with Reader(redis_server.url(stream, port=proxy.port)) as reader:
        publish(relay, 0, 3)
        reader.wait_for_number(2)
        proxy.set(Toxics(black_hole=True), *BOTH)
        publish(relay, 3, 10)
        proxy.cut()
        proxy.heal()
        reader.told.wait_until(lambda items: any(isinstance(item, Gap) for item in items))
        assert numbers(reader.events) == list(range(10))
        (gap,) = reader.gaps
        assert gap.complete
        # Of those that came before the cut some may have been read already.
        assert gap.recovered <= 7
        assert gap.since <= gap.until


def test_trimmed_past_our_place_it_starts_from_the_snapshot_and_says_so(
    relay: Writing, redis_server: RedisServer, stream: str, proxy: FaultProxy
) -> None:
    with Reader(redis_server.url(stream, port=proxy.port)) as reader, redis_server.client() as client:
        publish(relay, 0, 3)
        reader.wait_for_number(2)
        proxy.set(Toxics(black_hole=True), *BOTH)
        publish(relay, 3, 10)
        relay.snapshot()
        publish(relay, 10, 12)
        client.xtrim(f"realtime:{{{stream}}}:events", maxlen=2, approximate=False)
        proxy.cut()
        proxy.heal()
        reader.wait_for_number(11)
        assert numbers(reader.events) == [0, 1, 2, 6, 7, 8, 9, 10, 11]  # what the snapshot shows is told as well
        (gap,) = reader.gaps
        assert not gap.complete
        assert gap.recovered == 4
        assert reader.client.store.stats.anomaly_count == 12


@pytest.mark.parametrize("same", [False, True], ids=["next fencing number", "same fencing number"])
@pytest.mark.parametrize("away", [False, True], ids=["connected", "away"])
def test_the_end_of_the_stream_is_lost_and_written_anew_by_a_relay_that_does_not_know_it(  # noqa: PLR0917
    same: bool, away: bool, relay: Writing, redis_server: RedisServer, stream: str, proxy: FaultProxy
) -> None:
    """A failover does that: replication is late, also with the last fencing number."""
    key, state = f"realtime:{{{stream}}}:events", f"realtime:{{{stream}}}:state"
    with Reader(redis_server.url(stream, port=proxy.port)) as reader, redis_server.client() as client:
        publish(relay, 0, 3)
        before = client.hgetall(state)
        publish(relay, 3, 6)
        reader.wait_for_number(5)
        if away:
            proxy.set(Toxics(black_hole=True), *BOTH)
        relay.end()
        client.xdel(key, *[entry_id for entry_id, _ in client.xrange(key)][3:])
        client.delete(state)
        client.hset(state, mapping=before)
        if same:
            client.hincrby(state, "fence", -1)
        relay.__init__(redis_server.url(stream))  # type: ignore[misc]
        publish(relay, 10, 12)  # under numbers that the reader has had
        if away:
            proxy.cut()
            proxy.heal()
        reader.wait_for_number(11)
        publish(relay, 12, 14)
        reader.wait_for_number(13)
        assert numbers(reader.events) == [0, 1, 2, 3, 4, 5, 10, 11, 12, 13]
        assert [gap.complete for gap in reader.gaps] == [False]
        assert reader.client.store.stats.anomaly_count == relay.ledger.store.stats.anomaly_count == 7


def test_trimmed_while_connected_and_without_a_snapshot_it_goes_on_and_says_so(
    relay: Writing, url: str, redis_server: RedisServer, stream: str
) -> None:
    with Reader(url) as reader, redis_server.client() as client:
        publish(relay, 0, 3)
        reader.wait_for_number(2)
        client.delete(f"realtime:{{{stream}}}:snapshot")
        client.hincrby(f"realtime:{{{stream}}}:state", "seq", 5)
        relay.ledger.seq += 5
        publish(relay, 8, 10)
        reader.wait_for_number(9)
        assert numbers(reader.events) == [0, 1, 2, 8, 9]
        assert [gap.complete for gap in reader.gaps] == [False]


def test_entries_of_an_older_relay_and_of_strangers_are_passed_over(
    relay: Writing, url: str, redis_server: RedisServer, stream: str
) -> None:
    key = f"realtime:{{{stream}}}:events"
    with Reader(url) as reader, redis_server.client() as client:
        publish(relay, 0, 3)
        reader.wait_for_number(2)
        old = json.dumps(anomaly(77))
        client.xadd(key, {"event:0": old}, id=f"{int(time.time() * 1000) + 1}-4")
        client.xadd(key, {"what": "ever"})
        relay.end()
        relay.__init__(url)  # type: ignore[misc]
        publish(relay, 3, 5)
        reader.wait_for_number(4)
        assert numbers(reader.events) == [0, 1, 2, 3, 4]
        assert reader.gaps == []


def test_all_data_is_flushed_under_a_connected_reader(relay: Writing, url: str, redis_server: RedisServer) -> None:
    """And every relay is new, so that fencing numbers begin again at 1."""
    with Reader(url) as reader, redis_server.client() as client:
        for _ in range(3):  # fencing numbers that the new history will not reach
            relay.end()
            relay.__init__(url)  # type: ignore[misc]
        publish(relay, 0, 3)
        reader.wait_for_number(2)
        client.flushall()
        begin_anew(relay, url, b"another")
        publish(relay, 10, 12)
        reader.wait_for_number(11)
        assert [gap.complete for gap in reader.gaps] == [False]
        assert reader.client.store.stats.anomaly_count == 2
        assert [log.id for log in reader.client.store.recent_logs] == ["log-11", "log-10"]


def test_a_relay_without_memory_tells_again_what_redis_has_lost(
    relay: Writing, url: str, redis_server: RedisServer
) -> None:
    """What the feed still gives is new to it, and not to the reader."""
    with Reader(url) as reader, redis_server.client() as client:
        publish(relay, 0, 5)
        reader.wait_for_number(4)
        for first in (0, 2):  # and it loses it once more, before all was told again
            client.flushall()
            begin_anew(relay, url, b"another, from %d on" % first)
            publish(relay, first, 4)
        publish(relay, 4, 7)
        reader.wait_for_number(6)
        assert numbers(reader.events) == [0, 1, 2, 3, 4, 5, 6]
        assert reader.gaps
        assert not any(gap.complete for gap in reader.gaps)
        assert reader.client.store.stats == relay.ledger.store.stats


def test_redis_loses_all_once_more_before_the_reader_has_seen_the_snapshot(
    relay: Writing, url: str, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader holds entries of a history that is over; it had their logs."""
    asked, look = threading.Event(), RedisLink._read_snapshot

    with Reader(url) as reader, redis_server.client() as client:

        def lose_and_look(link: RedisLink) -> Any:
            if asked.is_set():
                return look(link)
            client.flushall()
            found = look(link)
            asked.set()
            return found

        publish(relay, 0, 5)
        reader.wait_for_number(4)
        monkeypatch.setattr(RedisLink, "_read_snapshot", lose_and_look)
        client.flushall()
        begin_anew(relay, url, b"another")
        publish(relay, 0, 4)
        assert asked.wait(PATIENCE)
        begin_anew(relay, url, b"yet another")
        publish(relay, 2, 7)
        reader.wait_for_number(6)
        assert numbers(reader.events) == [0, 1, 2, 3, 4, 5, 6]
        assert [gap.complete for gap in reader.gaps] == [False]
        assert reader.client.store.stats == relay.ledger.store.stats


def test_a_gap_that_the_relay_tells_is_told(relay: Writing, url: str) -> None:
    now = decode([anomaly(0)])[0].received_at
    assert now is not None
    told = Gap(since=now, until=now, recovered=5, complete=True)
    with Reader(url) as reader:
        publish(relay, 0, 1)
        relay.append([told])
        publish(relay, 1, 2)
        reader.wait_for_number(1)
        assert [type(item).__name__ for item in reader.told.items] == ["NewAnomaly", "Gap", "NewAnomaly"]
        assert reader.gaps == [told]


def test_a_gap_that_comes_after_an_outage_is_no_event_that_was_recovered(
    relay: Writing, redis_server: RedisServer, stream: str, proxy: FaultProxy
) -> None:
    now = decode([anomaly(0)])[0].received_at
    assert now is not None
    told = Gap(since=now, until=now, recovered=5, complete=False)
    with Reader(redis_server.url(stream, port=proxy.port)) as reader:
        publish(relay, 0, 1)
        reader.wait_for_number(0)
        proxy.set(Toxics(black_hole=True), *BOTH)
        relay.append([told])
        proxy.cut()
        proxy.heal()
        reader.told.wait_until(lambda items: any(isinstance(item, Gap) and item.complete for item in items))
        assert [gap.recovered for gap in reader.gaps if gap.complete] == [0]


def test_malformed_entries_end_nothing(relay: Writing, url: str, redis_server: RedisServer, stream: str) -> None:
    with Reader(url) as reader, redis_server.client() as client:
        publish(relay, 0, 1)
        reader.wait_for_number(0)
        state = f"realtime:{{{stream}}}:state"
        at = int(client.hget(state, "ms") or 0)
        client.xadd(f"realtime:{{{stream}}}:events", {f"event:{relay.writer.fence}": "{nonsense"}, id=f"{at}-2")
        client.xadd(f"realtime:{{{stream}}}:events", {f"gap:{relay.writer.fence}": "{nonsense"}, id=f"{at}-3")
        client.hset(state, mapping={"seq": 3, "id": f"{at}-3"})
        relay.ledger.seq = 3
        publish(relay, 1, 2)
        reader.wait_for_number(1)
        assert reader.client.metrics().malformed == 1
        assert reader.client.status.state is ConnectionState.CONNECTED


@pytest.mark.parametrize(
    "wrong",
    [{"store": "{nonsense"}, {"seq": "many"}, {"fence": b"\xff"}, {"id": "x-1"}, {"id": "9" * 20 + "-1"}],
    ids=str,
)
def test_a_snapshot_that_cannot_be_understood_is_no_connection(
    *,
    wrong: dict[str, str | bytes],
    url: str,
    redis_server: RedisServer,
    stream: str,
    make: Make,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with redis_server.client() as client:
        bad = {"epoch": "e", "seq": 1, "fence": 1, "id": "1-1", "store": "{}", **wrong}
        client.hset(f"realtime:{{{stream}}}:snapshot", mapping=bad)
        told = Record()
        reader = make(url, **QUICK, max_reconnect_attempts=1)
        reader.on_notification(told)
        reader.connect(wait=False)
        told.wait_until(lambda items: any("could not be understood" in item.message for item in items))
        client.delete(f"realtime:{{{stream}}}:snapshot")
        reader.connect(PATIENCE)
    assert "unexpected error" not in caplog.text


def test_a_state_that_cannot_be_understood_is_no_connection(
    relay: Writing, url: str, redis_server: RedisServer, stream: str, caplog: pytest.LogCaptureFixture
) -> None:
    state, told = f"realtime:{{{stream}}}:state", Record()
    with Reader(url) as reader, redis_server.client() as client:
        publish(relay, 0, 2)
        reader.wait_for_number(1)
        reader.client.on_status(told)
        client.hset(state, "seq", "many")
        reader.client.reconnect(wait=False)
        told.wait_until(lambda items: any("could not be understood" in str(i.current.last_error) for i in items))
        client.hset(state, "seq", 2)
        reader.client.connect(PATIENCE)
        publish(relay, 2, 3)
        reader.wait_for_number(2)
    assert "unexpected error" not in caplog.text


def test_a_connection_that_the_kernel_gives_up_was_not_silent_for_no_time(url: str) -> None:
    """Without a heartbeat there is no limit that could be named."""
    for timeout, kind, words in ((None, ConnectionLost, "broke: no route"), (2.5, HeartbeatTimeout, "for 2.5 s")):
        lost = RedisWire(ClientConfig(url), Callables("test"))._lost(TimeoutError("no route"), timeout)
        assert type(lost) is kind
        assert words in str(lost)


def test_the_store_says_that_no_relay_lives(relay: Writing, url: str, redis_server: RedisServer) -> None:
    with Reader(url, heartbeat_interval=0.1) as reader:
        publish(relay, 0, 1)
        reader.wait_for_number(0)
        as_of = reader.client.store.snapshot().as_of
        heard = reader.client.status.last_message_at
        with redis_server.client() as client, client.monitor() as monitor:
            reads = 0
            for command in monitor.listen():
                reads += "XREAD" in command["command"]
                if reads == 4:  # Redis has answered three times that there is nothing
                    break
        assert reader.client.store.snapshot().as_of == as_of
        assert reader.client.status.last_message_at == heard
        relay.append_batch(relay.ledger.beat())
        reader.client.store.wait_for(lambda now: now.as_of != as_of, PATIENCE)
        assert reader.client.is_connected


def test_a_store_from_a_snapshot_looks_no_younger_than_it_is(relay: Writing, url: str) -> None:
    with Reader(url) as first:
        publish(relay, 0, 1)
        first.wait_for_number(0)
        as_of = first.client.store.snapshot().as_of
    relay.snapshot()
    with Reader(url) as second:
        assert second.client.store.wait_for(lambda now: now.recent_logs, PATIENCE).as_of == as_of


def test_close_is_prompt_while_redis_has_nothing_to_say(relay: Writing, url: str, make: Make) -> None:
    client = make(url)
    client.connect(PATIENCE)
    with Stopwatch() as took:
        client.close()
    assert took.seconds < 1.0  # XREAD would have blocked for five


def test_a_silent_redis_is_noticed(relay: Writing, redis_server: RedisServer, stream: str, proxy: FaultProxy) -> None:
    quick = {"heartbeat_interval": 0.2, "heartbeat_timeout": 0.3}
    told = Record()
    with Reader(redis_server.url(stream, port=proxy.port), **quick) as reader:
        reader.client.on_notification(told)
        proxy.set(Toxics(black_hole=True), *BOTH)
        told.wait_until(lambda items: any("nothing was heard from Redis" in item.message for item in items))
        proxy.cut()
        proxy.heal()
        publish(relay, 0, 1)
        reader.wait_for_number(0)


def test_closed_and_connected_again_it_has_missed_nothing(relay: Writing, url: str, make: Make) -> None:
    told = Record()
    client = make(url)
    client.on("new_anomaly", told)
    client.connect(PATIENCE)
    publish(relay, 0, 2)
    told.wait_for(2)
    client.close()
    publish(relay, 2, 5)
    client.connect(PATIENCE)
    assert numbers(told.wait_for(5)) == [0, 1, 2, 3, 4]


def test_a_forked_child_goes_on_by_itself(relay: Writing, url: str, make: Make) -> None:
    client = make(url)
    client.connect(PATIENCE)
    publish(relay, 0, 2)
    client.store.wait_for(lambda now: now.stats.anomaly_count == 2, PATIENCE)

    def live() -> int:
        assert client.store.stats.anomaly_count == 2
        return client.store.wait_for(lambda now: now.stats.anomaly_count == 4, PATIENCE).stats.anomaly_count

    child = Child(live)
    publish(relay, 2, 4)
    assert child.result() == 4
    client.store.wait_for(lambda now: now.stats.anomaly_count == 4, PATIENCE)
    assert client.is_connected


@pytest.mark.parametrize(
    ("credentials", "status"), [("", 401), (":wrong@", 401), ("reader:wrong@", 401), ("blind:sesame@", 403)]
)
def test_refused_credentials(credentials: str, status: int, make: Make) -> None:
    with RedisServer("--requirepass", "sesame") as server, server.client(password="sesame") as client:
        client.execute_command("ACL", "SETUSER", "blind", "on", ">sesame", "+ping", "+client", "+select")
        reader = make(f"redis://{credentials}127.0.0.1:{server.port}/0?stream=s", **FIRST_FAILURE)
        with pytest.raises(AuthenticationError) as caught:
            reader.connect(PATIENCE)
        assert caught.value.status == status
        assert "wrong" not in str(caught.value)
        assert "sesame" not in str(caught.value)


@pytest.mark.parametrize("how", ["in the url", "as a token", "as a callable"])
def test_a_reader_needs_no_more_than_to_read(how: str, make: Make) -> None:
    with RedisServer("--requirepass", "sesame") as server, server.client(password="sesame") as client:
        rights = ("~realtime:{s}:*", "+xread", "+xrange", "+hmget", "+hget", "+client", "+select", "+ping")
        client.execute_command("ACL", "SETUSER", "reader", "on", ">s3cret", "resetkeys", *rights)
        relay = Writing(f"redis://:sesame@127.0.0.1:{server.port}/0?stream=s")
        in_url = how == "in the url"
        user = "reader:s3cret" if in_url else "reader"
        token = None if in_url else "s3cret" if how == "as a token" else lambda: "s3cret"
        reader = make(f"redis://{user}@127.0.0.1:{server.port}/0?stream=s", token=token, **QUICK)
        reader.connect(PATIENCE)
        publish(relay, 0, 2)
        reader.store.wait_for(lambda now: now.stats.anomaly_count == 2, PATIENCE)
        client.execute_command("CLIENT", "KILL", "USER", "reader")
        publish(relay, 2, 3)
        reader.store.wait_for(lambda now: now.stats.anomaly_count == 3, PATIENCE)
        relay.end()


def test_nobody_listens(make: Make) -> None:
    reader = make(f"redis://127.0.0.1:{free_port()}/0?stream=s", **FIRST_FAILURE)
    with pytest.raises(ConnectError, match=r"cannot connect to redis://127\.0\.0\.1.*refused"):
        reader.connect(PATIENCE)


def test_what_answers_is_no_redis(server: FakeServer, make: Make) -> None:
    reader = make(f"redis://127.0.0.1:{server.port}/0?stream=s", connect_timeout=2, **FIRST_FAILURE)
    with pytest.raises(ConnectError, match=r"cannot connect to redis://127\.0\.0\.1"):
        reader.connect(PATIENCE)


def test_without_redis_py_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.delitem(sys.modules, "realtime_client.transports.redis", raising=False)
    monkeypatch.delitem(sys.modules, "realtime_client.transports.redis_wire", raising=False)
    with pytest.raises(Exception, match=r"pip install 'realtime-client\[redis\]'"):
        RealtimeClient(config=ClientConfig("redis://h/0?stream=s"))
