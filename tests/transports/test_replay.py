"""The replay transport: a recording in place of a connection, through the whole client."""

from __future__ import annotations

import gzip
import itertools
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from realtime_client import (
    ClientClosed,
    ClientConfig,
    ConnectionState,
    Event,
    Origin,
    PollError,
    RealtimeClient,
    RecordingError,
    StatusChange,
    Transport,
)
from realtime_client.recording import Recorder, replay_url
from realtime_client.testing import FakeServer, accept, repeat, send
from tests.bulk import bulk

BEGIN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
GUARD = 20.0
"""Seconds after which what should have happened has not."""


def line(number: int, at: datetime | None = BEGIN, **more: Any) -> str:
    log = {"id": str(number), "message": f"message {number}", **more}
    stamp = {} if at is None else {"receivedAt": at.isoformat().replace("+00:00", "Z"), "origin": "stream"}
    return json.dumps({"type": "new_anomaly", "data": {"log": log}, **stamp}) + "\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "feed.jsonl"


@pytest.fixture
def replaying(path: Path) -> Iterator[Callable[..., RealtimeClient]]:
    """Makes clients that replay lines, and closes them."""
    clients: list[RealtimeClient] = []

    def make(*lines: str, speed: float | str = "max", loop: bool = False, **options: Any) -> RealtimeClient:
        path.write_text("".join(lines))
        clients.append(RealtimeClient(replay_url(path, speed=speed, loop=loop), **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def ids(events: list[Event]) -> list[str]:
    return [event.log.id for event in events]  # type: ignore[attr-defined]


Replaying = Callable[..., RealtimeClient]


# The end


def test_at_its_end_everything_is_delivered_and_then_the_client_is_closed(replaying: Replaying) -> None:
    client = replaying(*(line(n) for n in range(1000)))
    told: list[Any] = []
    go_on = threading.Event()

    def slowly(event: Event) -> None:
        go_on.wait(GUARD)
        told.append(event)

    client.on("new_anomaly", slowly)
    client.on_status(lambda change: told.append(change.current.state))
    client.connect()
    client.store.wait_for(lambda s: s.recent_logs and s.recent_logs[0].id == "999", timeout=GUARD)
    assert client.join(timeout=0.3) is False  # it is over, and not yet delivered
    go_on.set()
    assert client.join(timeout=GUARD) is True
    assert told[:2] == [ConnectionState.CONNECTING, ConnectionState.CONNECTED]
    assert ids(told[2:-1]) == [str(n) for n in range(1000)]
    assert told[-1] is ConnectionState.CLOSED
    assert client.status.state is ConnectionState.CLOSED
    assert client.status.last_error is None


def test_events_and_wait_for_end_with_it(replaying: Replaying) -> None:
    client = replaying(line(1), line(2))
    everything = client.events()
    client.connect()
    assert ids(list(everything)) == ["1", "2"]
    with pytest.raises(ClientClosed):
        client.wait_for("stats_update", timeout=GUARD)
    with pytest.raises(ClientClosed):
        client.store.wait_for(lambda snapshot: snapshot.alerts, timeout=GUARD)


def test_own_threads_get_everything_too(replaying: Replaying) -> None:
    client = replaying(*(line(n) for n in range(300)))
    seen: list[Event] = []
    go_on = threading.Event()

    def slowly(event: Event) -> None:
        go_on.wait(GUARD)
        seen.append(event)

    client.on("*", slowly, own_thread=True)
    with client:
        assert not client.join(timeout=0.1)
        go_on.set()
        assert client.join(timeout=GUARD)
    assert len(seen) == 300
    (lane,) = (lane for lane in client.metrics().lanes if "slowly" in lane.name)
    assert (lane.received, lane.delivered, lane.waiting) == (300, 300, 0)


def test_close_after_the_end_still_discards_what_waits(replaying: Replaying) -> None:
    client = replaying(*(line(n) for n in range(500)), close_timeout=GUARD)
    seen: list[Event] = []
    begun, go_on = threading.Event(), threading.Event()

    def slowly(event: Event) -> None:
        begun.set()
        go_on.wait(GUARD)
        seen.append(event)

    client.on("*", slowly)
    client.on("*", slowly, own_thread=True)
    client.connect()
    begun.wait(GUARD)
    while client.status.state is not ConnectionState.CLOSED:
        assert not client.join(timeout=0.05)
    closing = threading.Thread(target=client.close)
    closing.start()
    while not client.metrics().dropped:
        time.sleep(0.001)
    go_on.set()
    closing.join(GUARD)
    assert len(seen) <= 2
    metrics = client.metrics()
    assert metrics.received == metrics.delivered + sum(metrics.dropped.values()) == 500


def test_connect_begins_anew_and_keeps_the_order(replaying: Replaying) -> None:
    client = replaying(line(1), line(2))
    seen: list[Any] = []
    client.on("*", lambda event: seen.append(event.log.id))
    client.on_status(lambda change: seen.append(change.current.state.name))
    for _ in range(3):
        client.connect()
        assert client.join(timeout=GUARD)
    assert seen == ["CONNECTING", "CONNECTED", "1", "2", "CLOSED"] * 3
    assert client.metrics().duplicates == 4
    assert client.store.stats.anomaly_count == 2


def test_connect_while_callbacks_are_behind_waits_for_them(replaying: Replaying) -> None:
    client = replaying(*(line(n) for n in range(20)), close_timeout=0.01)
    seen: list[str] = []
    go_on = threading.Event()

    def slowly(event: Any) -> None:
        go_on.wait(GUARD)
        seen.append(event.log.id)

    client.on("*", slowly)
    client.connect()
    while client.status.state is not ConnectionState.CLOSED:
        assert not client.join(timeout=0.05)
    client.connect(wait=False)
    assert not client.join(timeout=0.5)
    assert client.metrics().connects == 1
    go_on.set()
    client.wait_for("new_anomaly", lambda event: event.log.id == "19", timeout=GUARD)
    assert client.join(timeout=GUARD)
    assert seen == [str(n) for n in range(20)] * 2


def test_an_empty_recording_ends_at_once_even_looped(replaying: Replaying) -> None:
    for loop in (False, True):
        client = replaying("", loop=loop)
        client.connect(timeout=GUARD)
        assert client.join(timeout=GUARD)


def test_the_threads_end_by_themselves(replaying: Replaying) -> None:
    client = replaying(line(1), name="finite")
    with client:
        client.join(timeout=GUARD)
        assert not [t.name for t in threading.enumerate() if t.name.startswith("rtc-finite")]


# What is told


def test_events_say_that_they_are_replayed_and_when_they_were_received(replaying: Replaying) -> None:
    client = replaying(line(1), line(2, BEGIN + timedelta(seconds=7)), line(3, None))
    events = client.events()
    before = datetime.now(UTC)
    with client:
        first, second, third = events
    assert {event.origin for event in (first, second, third)} == {Origin.REPLAY}
    assert (first.received_at, second.received_at) == (BEGIN, BEGIN + timedelta(seconds=7))
    assert third.received_at is not None
    assert third.received_at >= before


def test_status_and_snapshot_name_the_transport(replaying: Replaying) -> None:
    client = replaying(line(1), line(2, BEGIN + timedelta(hours=1)), speed=1)
    client.connect()
    snapshot = client.store.wait_for(lambda s: s.recent_logs, timeout=GUARD)
    assert snapshot.transport is client.status.transport is Transport.REPLAY
    assert snapshot.as_of == BEGIN
    assert client.status.last_message_at is not None
    assert client.status.last_message_at > BEGIN  # heard just now


def test_malformed_messages_in_a_recording_are_told_as_those_of_a_stream(replaying: Replaying) -> None:
    client = replaying('{"type":"new_anomaly","data":{"log":{"id":7}}}\n', line(1))
    events = client.events()
    with client:
        assert ids(list(events)) == ["1"]
        assert client.rejected[0].reason == "log.id is not text"


def test_what_is_sent_goes_nowhere(replaying: Replaying) -> None:
    client = replaying(line(1), line(2, BEGIN + timedelta(hours=1)), speed=1)
    with client:
        client.send({"type": "command"})


def test_what_a_recording_has_no_use_for_is_switched_off(replaying: Replaying) -> None:
    client = replaying(line(1), overflow="drop_newest", polling_url="http://localhost:1/", read_interval=1.0)
    config = client.config
    assert (config.overflow, config.heartbeat, config.polling_url, config.poller) == ("block", "none", None, None)
    with pytest.raises(PollError, match="neither polling_url nor poller"):
        client.refresh()


def test_nothing_is_dropped_however_slow_callbacks_are(replaying: Replaying) -> None:
    client = replaying(*(line(n) for n in range(2000)), max_pending_events=10)
    count = 0

    def add(_: Event) -> None:
        nonlocal count
        count += 1

    client.on("*", add)
    with client:
        assert client.join(timeout=GUARD)
    assert (count, client.metrics().dropped) == (2000, {})


# The pace


def gaps(client: RealtimeClient) -> list[float]:
    """Seconds between events as they come."""
    times: list[float] = []
    client.on("*", lambda _: times.append(time.monotonic()))
    with client:
        assert client.join(timeout=GUARD)
    return [later - earlier for earlier, later in itertools.pairwise(times)]


def test_events_come_as_far_apart_as_they_came(replaying: Replaying) -> None:
    client = replaying(*(line(n, BEGIN + timedelta(seconds=0.3 * n)) for n in range(4)), speed=1)
    assert sum(gaps(client)) >= 0.85


def test_speed_shortens_that(replaying: Replaying) -> None:
    lines = [line(n, BEGIN + timedelta(seconds=30 * n)) for n in range(4)]
    assert 0.85 <= sum(gaps(replaying(*lines, speed=100))) < 15
    assert sum(gaps(replaying(*lines))) < 15


def test_a_clock_that_was_set_back_holds_nothing_up(replaying: Replaying) -> None:
    moments = [BEGIN, BEGIN - timedelta(days=1), BEGIN - timedelta(days=1, seconds=-0.2)]
    between = gaps(replaying(*(line(n, at) for n, at in enumerate(moments)), speed=1))
    assert between[1] >= 0.15
    assert sum(between) < 15


def test_a_loop_begins_again_after_a_pause(replaying: Replaying) -> None:
    client = replaying(line(1), line(2), speed=5, loop=True)
    events = client.events()
    with client:
        began = time.monotonic()
        assert ids([next(events) for _ in range(6)]) == ["1", "2"] * 3
        assert time.monotonic() - began >= 0.35
    assert client.store.stats.anomaly_count == 2


def test_close_does_not_wait_for_what_is_due_later(replaying: Replaying) -> None:
    client = replaying(line(1), line(2, BEGIN + timedelta(days=1)), speed=1)
    client.connect()
    client.store.wait_for(lambda s: s.recent_logs, timeout=GUARD)
    began = time.monotonic()
    client.close()
    assert time.monotonic() - began < 1.5
    assert client.status.state is ConnectionState.CLOSED


def test_reconnect_begins_anew(replaying: Replaying) -> None:
    client = replaying(line(1), line(2, BEGIN + timedelta(days=1)), speed=1)
    events = client.events()
    client.connect()
    assert ids([next(events)]) == ["1"]
    client.reconnect(timeout=GUARD)
    assert ids([next(events)]) == ["1"]


# Recordings that are none


def refused(client: RealtimeClient) -> RecordingError:
    with pytest.raises(RecordingError) as caught:
        client.connect(timeout=GUARD)
    status = client.status
    client.close()
    assert status.state is ConnectionState.FAILED
    assert status.last_error is caught.value
    return caught.value


def test_a_missing_file(tmp_path: Path) -> None:
    with_error = refused(RealtimeClient(replay_url(tmp_path / "none.jsonl")))
    assert str(with_error) == f"cannot replay {tmp_path}/none.jsonl: No such file or directory"
    assert (with_error.path, with_error.line) == (f"{tmp_path}/none.jsonl", None)


def test_a_file_that_may_not_be_read(replaying: Replaying, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: object) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    client = replaying(line(1))
    monkeypatch.setattr(os, "open", deny)
    assert str(refused(client)) == f"cannot replay {path}: Permission denied"


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file(path: Path, make: Callable[[Path], None]) -> None:
    make(path)
    assert str(refused(RealtimeClient(replay_url(path)))) == f"cannot replay {path}: it is no regular file"


@pytest.mark.parametrize("text", ["hello\n", "<html>", '["a list"]\n', "\x1b]0;title\x07\n"])
def test_what_is_no_recording(replaying: Replaying, path: Path, text: str) -> None:
    error = refused(replaying(text))
    assert str(error).startswith(f"{path} is no recording, or a damaged one: line 1: no")
    assert error.line == 1
    assert not error.retryable


def test_what_is_not_packed_but_says_so(tmp_path: Path) -> None:
    path = tmp_path / "feed.jsonl.gz"
    path.write_text(line(1))
    assert str(refused(RealtimeClient(replay_url(path)))).endswith("line 1: no gzip data")


def test_a_damaged_line_ends_the_replay_behind_what_is_whole(replaying: Replaying) -> None:
    client = replaying(line(1), line(2, BEGIN + timedelta(milliseconds=1)), "}{\n", line(3))
    told: list[Any] = []
    client.on("*", lambda event: told.append(event.log.id))
    failed = threading.Event()

    def note(change: StatusChange) -> None:
        told.append(change.current.state.name)
        if change.current.state is ConnectionState.FAILED:
            failed.set()

    client.on_status(note)
    client.connect(timeout=GUARD)
    with pytest.raises(RecordingError, match="line 3: not JSON"):
        client.join(timeout=GUARD)
    assert failed.wait(GUARD)  # join() does not wait for callbacks of a client that gave up, and close() discards
    client.close()
    assert told == ["CONNECTING", "CONNECTED", "1", "2", "FAILED", "CLOSED"]


def test_a_damaged_line_among_those_that_came_together(replaying: Replaying) -> None:
    client = replaying(line(1), line(2), "}{\n")
    events = client.events()
    client.connect(timeout=GUARD)
    assert ids(list(events)) == ["1", "2"]
    assert isinstance(events.failure, RecordingError)


def test_a_cut_recording_is_replayed_as_far_as_it_goes(replaying: Replaying, caplog: pytest.LogCaptureFixture) -> None:
    client = replaying(line(1), line(2)[:-20])
    events = client.events()
    with caplog.at_level(logging.WARNING, logger="realtime_client"), client:
        assert ids(list(events)) == ["1"]
        assert client.join(timeout=GUARD)
    assert "cut off within line 2" in caplog.text


def test_a_path_cannot_command_a_terminal(tmp_path: Path) -> None:
    error = refused(RealtimeClient(replay_url(tmp_path / "a\x1b[31mb")))
    assert str(error).isprintable()


# Recorded and replayed


EVENTS = bulk(10_000, 100_000)


def recorded(path: Path) -> tuple[RealtimeClient, list[Event]]:
    """Record a live feed through a real socket; the client that saw it, and what its callbacks were called with."""
    severities = ("info", "warning", "error", "critical", "odd")

    def message(n: int) -> dict[str, Any]:
        stamp = {"timestamp": (BEGIN + timedelta(milliseconds=n)).isoformat()} if n % 3 else {}
        if n % 50 == 0:
            return {"type": "stats_update", "data": {"stats": {"total_logs": n, "queue": {"depth": n % 7}}}, **stamp}
        if n % 51 == 0:
            return {"type": "system_alert", "data": {"message": f"hot {n}", "severity": severities[n % 5]}, **stamp}
        if n % 52 == 0:
            return {"type": "deploy", "data": {"n": n, "who": "é\u202e"}, **stamp}
        # Some ids come again, some times are missing, and some lie in the past.
        log = {"id": str(n - n % 40 // 39 * 20), "message": f"message {n}", "anomalyScore": n % 100 / 100, "mine": n}
        when = {"timestamp": (BEGIN - timedelta(seconds=n % 997)).isoformat()} if n % 5 else {}
        return {"type": "new_anomaly", "data": {"log": {**log, **when}}, **stamp}

    script = [accept(greeting={"type": "connection_established"}), repeat(EVENTS, lambda n: send(message(n)))]
    seen: list[Event] = []
    with FakeServer(script=[[*script, send({"type": "the_end"})]]) as server, Recorder(path) as recorder:
        # The answer to a heartbeat by message would be one event more, on a machine that takes half a minute for this.
        client = RealtimeClient(server.url, overflow="block", heartbeat="frame")
        client.on("*", recorder.write)
        client.on("*", seen.append)
        over = threading.Event()
        client.on("the_end", lambda _: over.set())
        with client:
            assert over.wait(50)
    return client, seen


@pytest.mark.timeout(170)
@pytest.mark.parametrize("name", ["feed.jsonl", "feed.jsonl.gz"])
def test_a_long_recording_replays_to_the_same_store_and_the_same_callbacks(name: str, tmp_path: Path) -> None:
    live, seen = recorded(tmp_path / name)
    again: list[Event] = []
    client = RealtimeClient(replay_url(tmp_path / name, speed="max"))
    client.on("*", again.append)
    with client:
        assert client.join(timeout=100)
    assert len(seen) == len(again) == EVENTS + 2
    # Each is compared as it is printed: with the time of its receipt too, and but for where it comes from.
    for one, other in zip(seen, again, strict=True):
        assert {**other.to_dict(), "origin": "stream"} == one.to_dict()
    before, after = live.store.snapshot(), client.store.snapshot()
    assert after.recent_logs == before.recent_logs
    assert after.alerts == tuple(  # but for their origin
        alert.__class__(alert.message, alert.severity, timestamp=alert.timestamp, origin=Origin.REPLAY)
        for alert in before.alerts
    )
    assert after.stats == before.stats
    assert after.as_of == seen[-1].received_at  # the live one heard the server close, after that
    assert client.metrics().duplicates == live.metrics().duplicates > 0
    assert client.metrics().dropped == {}


def test_a_replay_can_be_recorded_and_is_the_same_recording(replaying: Replaying, tmp_path: Path) -> None:
    client = replaying(*(line(n, BEGIN + timedelta(milliseconds=n)) for n in range(100)))
    for name in ("one.jsonl", "two.jsonl.gz"):
        with Recorder(tmp_path / name) as recorder:
            subscription = client.on("*", recorder.write)
            client.connect()
            assert client.join(timeout=GUARD)
            subscription.cancel()
    once = (tmp_path / "one.jsonl").read_bytes()
    assert gzip.decompress((tmp_path / "two.jsonl.gz").read_bytes()) == once
    assert once.count(b'"origin":"replay"') == 100


def test_configurations_that_only_read(path: Path) -> None:
    """No I/O in the constructor, nor in the making of a configuration."""
    config = ClientConfig(replay_url(path / "not" / "there"))
    client = RealtimeClient(config=config)
    change = StatusChange(client.status, client.status)
    assert change.current.state is ConnectionState.IDLE
