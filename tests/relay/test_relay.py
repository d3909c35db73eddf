"""`Relay` in this process: one is active, the others stand by; what it keeps, tells and gives back."""

from __future__ import annotations

import itertools
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from realtime_client import ClientConfig, ConfigError, Gap, NewAnomaly
from realtime_client._core.relay_stream import Entry
from realtime_client.errors import ConnectionLost
from realtime_client.relay import Relay, RelayMetrics, RelayState, ledger
from realtime_client.relay.ledger import Batch
from realtime_client.relay.writer import LeaseRefused, StreamWriter
from realtime_client.testing import FakeServer, refuse
from realtime_client.transports.redis_wire import RedisWire
from tests.client.recording import Record, Stopwatch, alert, anomaly, numbers, own_threads, stats
from tests.faults.proxy import BOTH, FaultProxy, Toxics
from tests.relay.load import Reader
from tests.relay.servers import PATIENCE, RedisServer, free_port
from tests.relay.test_same_store import Writing, decode

MakeRelay = Callable[..., Relay]


def wait_active(relay: Relay) -> None:
    assert relay.wait_for(RelayState.ACTIVE, PATIENCE)


def wait_until(ready: Callable[[], object]) -> None:
    """Look again and again: nothing tells of it."""
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_until_changed(read: Callable[[], object]) -> None:
    first = read()
    wait_until(lambda: read() != first)


def test_making_a_relay_does_nothing() -> None:
    relay = Relay("ws://127.0.0.1:1/ws", "redis://127.0.0.1:1/0?stream=s")
    assert relay.state is RelayState.STOPPED
    assert relay.metrics() == RelayMetrics()
    assert relay.health()["healthy"] is False
    assert own_threads() == []
    assert relay.stop() is True


def test_every_wrong_argument_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        Relay("redis://h/0?stream=s", "ws://h/", lease=0, maxlen=10, beat_interval=0, dedup_window=0)
    named = [problem.partition(":")[0] for problem in caught.value.problems]
    assert named == ["upstream", "redis", "lease", "maxlen", "beat_interval", "dedup_window"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"upstream": "http://h/"}, "upstream: url: http://h/ is not allowed (the scheme 'http' is not supported)"),
        ({"upstream": "replay:feed.jsonl"}, "upstream: replay:feed.jsonl is not allowed; allowed: ws:// or wss://"),
        ({"upstream": None}, "upstream: url: None is not allowed; allowed: a URL with ws/wss"),
        ({"redis": "redis://me:sesame@h/0"}, "redis: url: redis://h/0 is not allowed (?stream=NAME is missing"),
        ({"name": "a\nb"}, "name: 'a\\nb' is not allowed; allowed: text that is not empty"),
        ({"lease": "5"}, "lease: '5' is not allowed; allowed: a finite number of seconds at least 0.1"),
        ({"lease": float("nan")}, "lease: nan is not allowed"),
        ({"linger": -1}, "linger: -1 is not allowed; allowed: a finite number of seconds at least 0"),
        ({"linger": 0.6}, "linger: 0.6 is not allowed; allowed: at most 0.5, a tenth of the lease"),
        ({"maxlen": 1000.5}, "maxlen: 1000.5 is not allowed; allowed: a whole number of at least 1000"),
        ({"snapshot_every": 60_000}, "snapshot_every: 60000 is not allowed; allowed: at most 50000, half of maxlen"),
        ({"max_pending_events": True}, "max_pending_events: True is not allowed; allowed: a whole number"),
    ],
)
def test_a_wrong_argument_is_said_to_be_wrong(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Relay(**{"upstream": "ws://h/", "redis": "redis://h/0?stream=s", **options})
    (problem,) = caught.value.problems
    assert problem.startswith(said)
    assert "sesame" not in problem


def test_a_tenth_of_the_lease_may_be_lingered() -> None:
    for tenths in range(1, 1000):
        Relay("ws://h/", "redis://h/0?stream=s", lease=tenths / 10, linger=tenths / 100)


def begin_history(relay: Relay, server: FakeServer, reader: Reader) -> None:
    """Let a relay append the first event, and end."""
    relay.start()
    server.wait_for_connection()
    server.send(anomaly(1))
    reader.wait_for_number(1)
    relay.stop()


def test_what_comes_is_relayed(server: FakeServer, url: str, make_relay: MakeRelay) -> None:
    relay = make_relay(server.url, url)
    relay.start()
    wait_active(relay)
    server.wait_for_connection()
    with Reader(url) as reader:
        server.send(anomaly(1))
        server.send(stats(totalLogs=5))
        server.send(alert("down"))
        server.send({"type": "deploy", "data": {"version": 3}})
        server.send(anomaly(1))
        server.send(anomaly(2))
        reader.wait_for_number(2)
        kinds = [event.type for event in reader.events]
        assert kinds == ["new_anomaly", "stats_update", "system_alert", "deploy", "new_anomaly"]
        assert numbers(reader.events) == [1, 2]
    assert relay.metrics().active == 1
    assert relay.health()["healthy"] is True
    assert relay.stop()
    assert relay.state is RelayState.STOPPED
    metrics = relay.metrics()  # only now: a reader may have an event before the relay knows that it was appended
    assert (metrics.appended, metrics.duplicates, metrics.active, metrics.fence) == (5, 1, 0, 1)
    assert metrics.waiting_high_water >= 1


def test_any_text_comes_through_as_it_was(server: FakeServer, url: str, make_relay: MakeRelay) -> None:
    texts = ["ü \N{FIRE} \u2028", "\x00\x1b[31m", '\\"\\u0041', "x" * 70_000, ""]
    relay = make_relay(server.url, url)
    relay.start()
    wait_active(relay)
    server.wait_for_connection()
    with Reader(url) as reader:
        for number, text in enumerate(texts, 1):
            server.send(anomaly(number, message=text))
        reader.wait_for_number(len(texts))
        assert [event.log.message for event in reader.events if isinstance(event, NewAnomaly)] == texts


def test_one_is_active_and_the_next_takes_over(
    server: FakeServer, url: str, make_relay: MakeRelay, redis_server: RedisServer, stream: str
) -> None:
    one, two = make_relay(server.url, url), make_relay(server.url, url)
    one.start()
    wait_active(one)
    two.start()
    assert two.wait_for(RelayState.STANDBY, PATIENCE)
    assert two.health() == {**two.health(), "healthy": True, "upstream": None}
    server.wait_for_connection()
    assert len(server.connections) == 1
    with Stopwatch() as took:
        assert one.stop()
        wait_active(two)
    assert took.seconds < 2.0
    assert two.metrics().fence == 2
    assert two.stop()
    with redis_server.client() as client:
        assert not client.exists(f"realtime:{{{stream}}}:lease")


def test_it_can_be_started_again(server: FakeServer, url: str, make_relay: MakeRelay) -> None:
    relay = make_relay(server.url, url)
    for fence in (1, 2):
        relay.start()
        relay.start()
        wait_active(relay)
        assert relay.metrics().fence == fence
        assert relay.stop()


def test_one_that_has_just_ended_can_be_started(
    server: FakeServer, url: str, make_relay: MakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has waited for its end need not wait for that of its thread."""
    enter, go_on = Relay._enter, threading.Event()

    def entered(relay: Relay, state: RelayState, *, well: bool = False) -> None:
        enter(relay, state, well=well)
        if state is RelayState.STOPPED:
            go_on.wait(PATIENCE)

    monkeypatch.setattr(Relay, "_enter", entered)
    relay = make_relay(server.url, url)
    relay.start()
    wait_active(relay)
    assert not relay.stop(1.0)
    assert relay.wait_for(RelayState.STOPPED, PATIENCE)
    relay.start()
    wait_active(relay)
    go_on.set()


def test_what_waits_is_appended_before_the_end(server: FakeServer, url: str, make_relay: MakeRelay) -> None:
    relay = make_relay(server.url, url)
    relay.start()
    wait_active(relay)
    server.wait_for_connection()
    with Reader(url) as reader:
        server.send(anomaly(0))
        reader.wait_for_number(0)
        for number in range(1, 300):
            server.send(anomaly(number))
        reader.wait_for_number(1)
        relay.stop()
        appended = relay.metrics().appended
        reader.wait_for_number(appended - 1)
        assert numbers(reader.events) == list(range(appended))


def test_a_gap_of_the_feed_is_told_to_readers(server: FakeServer, url: str, make_relay: MakeRelay) -> None:
    relay = make_relay(ClientConfig(server.url, reconnect_delay=0.01, reconnect_jitter=0), url)
    relay.start()
    wait_active(relay)
    server.wait_for_connection()
    with Reader(url) as reader:
        server.send(anomaly(1))
        reader.wait_for_number(1)
        server.drop()
        server.wait_for_connection(2)
        server.send(anomaly(2))
        reader.wait_for_number(2)
        assert [gap.complete for gap in reader.gaps] == [False]


def test_what_was_missed_comes_first_and_figures_do_not_go_back(
    server: FakeServer, url: str, make_relay: MakeRelay
) -> None:
    asked, answer = threading.Event(), threading.Event()

    def poll(since: object) -> dict[str, Any]:
        asked.set()
        answer.wait(PATIENCE)
        return {"stats": {"totalLogs": 5}, "logs": [anomaly(n)["data"]["log"] for n in (1, 2)]}

    with Reader(url) as reader:
        begin_history(make_relay(server.url, url), server, reader)
        second = make_relay(ClientConfig(server.url, poller=poll, backfill_timeout=PATIENCE), url)
        second.start()
        server.wait_for_connection(2)
        assert asked.wait(PATIENCE)
        assert second._upstream is not None
        passed_on = Record()
        second._upstream.client.on("new_anomaly", passed_on)  # called behind the relay's own callback
        server.send(stats(totalLogs=6))
        server.send(anomaly(3))
        passed_on.wait_for(1)
        answer.set()
        reader.wait_for_number(3)
        kinds = [type(item).__name__ for item in reader.told.items]
        assert kinds == ["NewAnomaly", "NewAnomaly", "Gap", "StatsUpdate", "NewAnomaly"]
        assert numbers(reader.events) == [1, 2, 3]
        (gap,) = reader.gaps
        assert gap.complete
        assert gap.recovered == 1
        assert reader.client.store.stats.total_logs == 6


def test_a_gap_that_is_not_told_yet_is_left_to_the_next_relay(
    server: FakeServer, url: str, make_relay: MakeRelay
) -> None:
    """What the second one has of the present must not stand before the gap and hide it."""
    asked, end = threading.Event(), threading.Event()

    def hang() -> None:
        asked.set()
        end.wait(PATIENCE)

    def answer() -> dict[str, Any]:
        return {"logs": [anomaly(number)["data"]["log"] for number in (1, 2, 3)]}

    with Reader(url) as reader:
        begin_history(make_relay(server.url, url), server, reader)
        second = make_relay(ClientConfig(server.url, poller=hang, backfill_timeout=PATIENCE), url, beat_interval=0.1)
        second.start()
        server.wait_for_connection(2)
        assert asked.wait(PATIENCE)
        assert second._upstream is not None
        passed_on = Record()
        second._upstream.client.on("new_anomaly", passed_on)  # called behind the relay's own callback
        server.send(anomaly(3))
        passed_on.wait_for(1)
        for _ in range(2):
            wait_until_changed(lambda: second._beat_at)  # it was time for a beat
        assert second.metrics().waiting >= 1  # the greeting does, too
        assert second.stop()
        assert (second.metrics().appended, second.metrics().beats) == (0, 0)
        end.set()
        third = make_relay(ClientConfig(server.url, poller=answer), url)
        third.start()
        reader.wait_for_number(3)
        reader.told.wait_until(lambda items: any(isinstance(item, Gap) for item in items))
        assert numbers(reader.events) == [1, 2, 3]
        (gap,) = reader.gaps
        assert (gap.complete, gap.recovered) == (True, 2)


def test_events_gather_before_they_are_appended(server: FakeServer, url: str, make_relay: MakeRelay) -> None:
    relay = make_relay(server.url, url, lease=3600.0, linger=300.0)
    relay.start()
    wait_active(relay)
    server.wait_for_connection()
    assert relay._upstream is not None
    passed_on = Record()
    relay._upstream.client.on("new_anomaly", passed_on)  # called behind the relay's own callback
    with Reader(url) as reader:
        for number in range(3):
            server.send(anomaly(number))
            passed_on.wait_for(number + 1)  # so that each comes alone
        assert relay.metrics().waiting >= 3
        with Stopwatch() as took:
            assert relay.stop()
        assert took.seconds < 5.0
        reader.wait_for_number(2)
    assert (relay.metrics().appended, relay.metrics().batches) == (3, 1)


def test_readers_are_told_that_a_quiet_feed_lives(server: FakeServer, url: str, make_relay: MakeRelay) -> None:
    relay = make_relay(server.url, url, beat_interval=0.1)
    relay.start()
    wait_active(relay)
    with Reader(url) as reader:
        first = reader.client.store.wait_for(lambda now: now.as_of is not None, PATIENCE).as_of
        reader.client.store.wait_for(lambda now: now.as_of != first, PATIENCE)
        assert reader.events == []
    relay.stop()
    assert relay.metrics().beats > 0  # counted when Redis has answered, which may be after the reader's answer


def test_a_feed_out_of_reach_is_left_to_others(url: str, make_relay: MakeRelay, server: FakeServer) -> None:
    nowhere = ClientConfig(f"ws://127.0.0.1:{free_port()}/ws", max_reconnect_attempts=0)
    lonely, other = make_relay(nowhere, url), make_relay(server.url, url)
    lonely.start()
    assert lonely.wait_for(RelayState.STANDBY, PATIENCE)
    health = lonely.health()
    assert "cannot connect" in str(health["last_error"])
    assert (health["healthy"], health["upstream"]) == (False, None)  # nobody follows the feed
    other.start()
    wait_active(other)
    wait_until(lambda: lonely.health()["healthy"])  # as soon as it has seen that somebody does
    health = lonely.health()
    assert (health["state"], health["last_error"]) == ("standby", None)


@pytest.mark.parametrize(("refuses", "pause"), [(True, 60.0), (False, 2.0)], ids=["refused", "nobody there"])
def test_a_feed_that_refuses_is_not_asked_again_and_again(  # noqa: PLR0917
    refuses: bool, pause: float, server: FakeServer, url: str, make_relay: MakeRelay, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "realtime_client.relay")
    server.then = [refuse(401)]
    where = server.url if refuses else f"ws://127.0.0.1:{free_port()}/ws"
    relay = make_relay(ClientConfig(where, max_reconnect_attempts=0), url)
    relay.start()
    assert relay.wait_for(RelayState.STANDBY, PATIENCE)
    assert relay.stop()  # at once: a pause is no reason to wait
    said: list[Any] = [record.__dict__["relay"] for record in caplog.records if "relay" in record.__dict__]
    assert [facts["retry_in"] for facts in said if facts["what"].startswith("the feed is out of reach")] == [pause]
    assert len(server.attempts) == refuses


def test_a_link_that_is_cut_again_while_the_relay_looks_what_was_written(
    server: FakeServer, url: str, make_relay: MakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to an append is lost, and then the connection on which the relay looks what came of it."""
    append, confirm, read_entries = StreamWriter.append, StreamWriter.confirm, StreamWriter.read_entries
    cuts = ["answer", "reading"]

    def cut(where: str) -> None:
        if cuts[:1] == [where]:
            cuts.pop(0)
            raise ConnectionLost("cut")

    def appended(writer: StreamWriter, batch: Batch) -> bytes:
        last_id = append(writer, batch)
        cut("answer")
        return last_id

    def confirmed(writer: StreamWriter) -> bytes:
        last_id = confirm(writer)
        cut("answer")
        return last_id

    def read(writer: StreamWriter, after: bytes) -> Iterator[list[Entry]]:
        for entries in read_entries(writer, after):
            yield entries
            cut("reading")

    relay = make_relay(server.url, url)
    relay.start()
    wait_active(relay)
    server.wait_for_connection()
    with Reader(url) as reader:
        server.send(anomaly(0))
        reader.wait_for_number(0)
        monkeypatch.setattr(StreamWriter, "append", appended)
        monkeypatch.setattr(StreamWriter, "confirm", confirmed)
        monkeypatch.setattr(StreamWriter, "read_entries", read)
        server.send(anomaly(1))
        reader.wait_for_number(1)
        server.send(anomaly(2))
        reader.wait_for_number(2)
        assert numbers(reader.events) == [0, 1, 2]
    assert cuts == []
    assert relay.stop()
    assert (relay.metrics().appended, relay.metrics().refused) == (3, 0)


def test_what_a_cut_has_left_is_appended_though_the_feed_is_silent_then(
    server: FakeServer, url: str, make_relay: MakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = StreamWriter.append
    cuts = ["answer"]

    def appended(writer: StreamWriter, batch: Batch) -> bytes:
        last_id = append(writer, batch)
        if batch.events and cuts:
            cuts.clear()
            raise ConnectionLost("cut")
        return last_id

    monkeypatch.setattr(ledger, "BATCH", 1)
    monkeypatch.setattr(StreamWriter, "append", appended)
    # It looks around after a third of the lease at the latest.
    relay = make_relay(server.url, url, lease=90.0, linger=1.0, beat_interval=3600.0)
    relay.start()
    wait_active(relay)
    server.wait_for_connection()
    with Reader(url) as reader:
        for number in range(3):
            server.send(anomaly(number))
        reader.wait_for_number(2, PATIENCE)
        assert numbers(reader.events) == [0, 1, 2]
    assert cuts == []
    assert relay.metrics().renewals == 0


def test_a_link_that_is_cut_when_the_relay_has_read_what_another_one_wrote(  # noqa: PLR0917
    server: FakeServer,
    url: str,
    redis_server: RedisServer,
    stream: str,
    make_relay: MakeRelay,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It knows all of it when it tries again; what it holds from the feed still does not follow that."""
    read_entries = StreamWriter.read_entries
    cuts = ["read"]

    def read(writer: StreamWriter, after: bytes) -> Iterator[list[Entry]]:
        yield from read_entries(writer, after)
        if cuts:
            cuts.clear()
            raise ConnectionLost("cut")

    relay = make_relay(server.url, url, lease=30.0)  # so long it does not look whether it has it still
    relay.start()
    wait_active(relay)
    server.wait_for_connection()
    with Reader(url) as reader:
        server.send(anomaly(0))
        reader.wait_for_number(0)
        with redis_server.client() as client:
            client.delete(f"realtime:{{{stream}}}:lease")
        other = Writing(url)
        other.append(decode([anomaly(1)]))
        other.end()
        monkeypatch.setattr(StreamWriter, "read_entries", read)
        server.send(alert("refused, since another one has written"))
        reader.told.wait_until(lambda items: any(isinstance(item, Gap) for item in items))
        assert [gap.complete for gap in reader.gaps] == [False]
        assert numbers(reader.events) == [0, 1]
    assert cuts == []


def test_a_relay_that_redis_refuses_again_and_again_does_not_flood_it(
    server: FakeServer, url: str, make_relay: MakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals: list[float] = []

    def refused(*arguments: object, **options: object) -> None:
        refusals.append(time.monotonic())
        raise LeaseRefused("refused")

    monkeypatch.setattr(StreamWriter, "write_snapshot", refused)
    relay = make_relay(server.url, url)
    relay.start()
    wait_until(lambda: len(refusals) >= 4)
    pauses = [later - earlier for earlier, later in itertools.pairwise(refusals)]
    assert min(pauses) >= 0.09
    assert relay.stop()  # at once: a pause is no reason to wait


def test_the_feed_is_held_back_while_redis_is_away(
    server: FakeServer, redis_server: RedisServer, stream: str, make_relay: MakeRelay
) -> None:
    with FaultProxy(redis_server.port) as proxy:
        through = redis_server.url(stream, port=proxy.port)
        upstream = ClientConfig(server.url, max_pending_events=10)
        relay = make_relay(upstream, through, max_pending_events=10, lease=0.5)
        relay.start()
        wait_active(relay)
        server.wait_for_connection()
        with Reader(redis_server.url(stream)) as reader:
            server.send(anomaly(0))
            reader.wait_for_number(0)
            proxy.set(Toxics(black_hole=True), *BOTH)
            for number in range(1, 200):
                server.send(anomaly(number))
            assert relay.wait_for(RelayState.DISCONNECTED, PATIENCE)
            assert relay.health()["healthy"] is False
            assert relay.metrics().waiting_high_water <= 10
            proxy.cut()
            proxy.heal()
            reader.wait_for_number(199)
            assert numbers(reader.events) == list(range(200))
            assert reader.gaps == []
        relay.stop()


@pytest.mark.parametrize("hole", [False, True], ids=["refused", "silent"])
def test_stop_is_prompt_while_redis_is_away(hole: bool, make_relay: MakeRelay) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1] if hole else free_port()
        relay = make_relay("ws://127.0.0.1:1/ws", f"redis://127.0.0.1:{port}/0?stream=s")
        relay.start()
        assert relay.state is RelayState.DISCONNECTED
        with Stopwatch() as took:
            assert relay.stop()
        assert took.seconds < 1.0


def test_stop_is_prompt_just_before_there_is_a_connection(
    make_relay: MakeRelay, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    began, aborted = threading.Event(), threading.Event()

    class Late(RedisWire):
        def __init__(self, *arguments: Any) -> None:
            began.set()
            assert aborted.wait(PATIENCE)
            super().__init__(*arguments)

    def abort(writer: StreamWriter) -> None:
        really_abort(writer)
        aborted.set()

    really_abort = StreamWriter.abort
    monkeypatch.setattr("realtime_client.relay.writer.RedisWire", Late)
    monkeypatch.setattr(StreamWriter, "abort", abort)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        relay = make_relay("ws://127.0.0.1:1/ws", f"redis://127.0.0.1:{silent.getsockname()[1]}/0?stream=s")
        relay.start()
        assert began.wait(PATIENCE)
        with Stopwatch() as took:
            assert relay.stop()
        assert took.seconds < 1.0
    said = [record.getMessage() for record in caplog.records if record.name == "realtime_client.relay"]
    assert said == []  # nothing has gone wrong


@pytest.fixture
def cut_off(
    server: FakeServer, redis_server: RedisServer, stream: str, make_relay: MakeRelay
) -> Iterator[Callable[[float], Relay]]:
    """Makes a relay with such a lease that was active when Redis fell silent, and has an event to append."""
    with FaultProxy(redis_server.port) as proxy:

        def make(lease: float) -> Relay:
            relay = make_relay(server.url, redis_server.url(stream, port=proxy.port), lease=lease)
            relay.start()
            wait_active(relay)
            server.wait_for_connection()
            proxy.set(Toxics(black_hole=True), *BOTH)
            server.send(anomaly(1))
            return relay

        yield make


def test_what_stop_cannot_append_is_told(cut_off: Callable[[float], Relay], caplog: pytest.LogCaptureFixture) -> None:
    relay = cut_off(0.5)
    assert relay.wait_for(RelayState.DISCONNECTED, PATIENCE)
    assert relay.stop()
    records: list[Any] = [record for record in caplog.records if record.name == "realtime_client.relay"]
    (told,) = (record.relay for record in records if record.relay["what"] == "not appended at the end")
    assert told["discarded"] >= 1


def test_stop_keeps_to_its_time_while_redis_does_not_answer(cut_off: Callable[[float], Relay]) -> None:
    relay = cut_off(60.0)
    with Stopwatch() as took:
        assert relay.stop(4.0)
    assert took.seconds < 4.0
    assert relay.state is RelayState.STOPPED


def test_logs_say_the_same_as_words_and_as_data(
    server: FakeServer, url: str, make_relay: MakeRelay, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "realtime_client.relay")
    relay = make_relay(server.url, url, name="r1")
    relay.start()
    wait_active(relay)
    relay.stop()
    records: list[Any] = [record for record in caplog.records if record.name == "realtime_client.relay"]
    (active,) = (record for record in records if record.relay["what"] == "active")
    assert active.relay == {"name": "r1", "what": "active", "fence": 1, "seq": 0, "upstream_kept": False}
    assert active.getMessage() == "[r1] active (fence=1 seq=0 upstream_kept=False)"
    assert records[-1].relay["what"] == "lease given back"
