"""``demo`` as a process."""

from __future__ import annotations

import json
import signal
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from realtime_client import Event, LogEntry, NewAnomaly, RealtimeClient
from tests.cli.conftest import Call
from tests.cli.process import Start


def next_log(events: Iterator[Event]) -> LogEntry:
    event = next(events)
    assert isinstance(event, NewAnomaly)
    return event.log


@pytest.fixture
def log(tmp_path: Path) -> Path:
    lines = [
        f"2026-11-23 12:00:{n:02},000 CRITICAL service{n}: failure of kind {chr(ord('a') + n) * 4}\n" for n in range(8)
    ]
    path = tmp_path / "app.log"
    path.write_text("".join(lines), encoding="utf-8")
    return path


def test_it_shows_the_anomalies_of_a_log(log: Path, start: Start) -> None:
    process = start("demo", "--tail", str(log), "--count", "5")
    events = [json.loads(line) for line in process.out.all()]
    assert process.end() == 0
    assert [event["type"] for event in events] == ["new_anomaly"] * 5
    assert [event["data"]["log"]["source"] for event in events] == [f"service{n}" for n in range(5)]
    assert process.err.seen[0] == f"following {log} from its start"


def test_others_can_connect_to_what_it_prints(log: Path, start: Start) -> None:
    process = start("demo", "--tail", str(log))
    url = process.err.until("^REALTIME_URL=").partition("=")[2]
    client = RealtimeClient(url, proxy="direct")
    with client.events("new_anomaly", timeout=10) as events, client:
        assert next_log(events).source == "service0"
    process.out.until("service0")  # what it loads is loaded
    ended, taken = process.interrupt(signal.SIGINT)
    assert ended == 130
    assert taken < 3.0


def test_a_live_page_for_the_browser(log: Path, start: Start) -> None:
    process = start("demo", "--tail", str(log), "--web", "--web-port", "0")
    url = process.err.until("^the live page is at ").removeprefix("the live page is at ")
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert b"dashboard.js" in answer.read()
    with urllib.request.urlopen(url + "stream", timeout=10) as stream:
        while b"service7" not in stream.readline():
            pass
        ended, taken = process.interrupt(signal.SIGINT)  # with a page open
    assert ended == 130
    assert taken < 5.0


def test_a_port_of_the_page_that_is_taken(log: Path, call: Call) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = call("demo", "--tail", str(log), "--web", "--web-port", str(port))
    assert ended.code == 1
    assert ended.err[-1] == f"realtime-client: error: cannot serve http://127.0.0.1:{port}/: Address already in use"


def test_the_environment_does_not_lead_it_astray(log: Path, call: Call) -> None:
    env = {"REALTIME_URL": "ws://127.0.0.1:1/", "REALTIME_TOKEN": "bad token ü", "HTTP_PROXY": "http://127.0.0.1:1"}
    ended = call("demo", "--tail", str(log), "--count", "1", "--quiet", env=env)
    assert ended.code == 0
    assert ended.err == []


def test_what_is_in_the_log_has_been_read_before_anything_is_shown(tmp_path: Path, call: Call) -> None:
    log = tmp_path / "app.log"
    log.write_text("2026-11-23 12:00:00,000 INFO web: page 1 served\n" * 5_000, encoding="utf-8")
    ended = call("demo", "--tail", str(log), "--type", "stats_update", "--count", "1")
    (line,) = ended.out
    assert json.loads(line)["data"]["stats"]["totalLogs"] == 5_000
    assert ended.code == 0


def test_it_ends_as_tail_does(tmp_path: Path, call: Call) -> None:
    empty = tmp_path / "empty.log"
    empty.touch()
    ended = call("demo", "--tail", str(empty), "--timeout", "0.2")
    assert ended.code == 5


def test_a_generated_log_says_so(start: Start) -> None:
    process = start("demo")
    process.err.until("the log is generated, every line of it is invented")
    process.err.until("^connected to ")
    assert process.interrupt(signal.SIGTERM)[0] == 143


def test_a_port_in_use_is_one_line(call: Call) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = call("demo", "--port", str(port))
        assert ended.code == 1
    (line,) = ended.err
    assert line == f"realtime-client: error: cannot listen on 127.0.0.1:{port}: Address already in use"
