"""``serve`` as a process."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from realtime_client import AuthenticationError, Event, LogEntry, NewAnomaly, RealtimeClient
from tests.cli.conftest import Call
from tests.cli.process import Process, Start

FAILURE = "2026-11-23 12:00:00,000 CRITICAL db: could not write: No space left on device\n"


def url_of(process: Process) -> str:
    line = process.out.next()
    assert line is not None, process.said()
    name, _, url = line.partition("=")
    assert name == "REALTIME_URL"
    return url


def next_log(events: Iterator[Event]) -> LogEntry:
    event = next(events)
    assert isinstance(event, NewAnomaly)
    return event.log


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "app.log"
    path.write_text(FAILURE, encoding="utf-8")
    return path


def test_it_serves_the_log_from_its_start_and_as_it_grows(log: Path, start: Start) -> None:
    process = start("serve", "--tail", str(log), "--port", "0")
    url = url_of(process)
    assert url.startswith("ws://127.0.0.1:")
    assert url.endswith("/ws")
    process.err.until(f"^following {log} from its start$")
    process.err.until(f"^WebSocket {url}, polling http://127.0.0.1:")
    client = RealtimeClient(url, proxy="direct")
    with client.events("new_anomaly", timeout=10) as events, client:
        assert next_log(events).message == "could not write: No space left on device"
        with log.open("a", encoding="utf-8") as file:
            file.write(FAILURE.replace("db", "web").replace("No space left on device", "connection refused"))
        assert next_log(events).source == "web"
    ended, taken = process.interrupt(signal.SIGTERM)
    assert ended == 0
    assert taken < 4.0


def test_from_end_leaves_out_what_was_there(log: Path, start: Start) -> None:
    process = start("serve", "--tail", str(log), "--from", "end", "--port", "0", "--path", "/feed")
    url = url_of(process)
    assert url.endswith("/feed")
    client = RealtimeClient(url, proxy="direct")
    with client.events("new_anomaly", timeout=10) as events, client:
        with log.open("a", encoding="utf-8") as file:
            file.write(FAILURE.replace("write", "read"))
        assert next_log(events).message == "could not read: No space left on device"
    assert process.interrupt(signal.SIGINT)[0] == 130


def test_standard_input_is_served_past_its_end(start: Start) -> None:
    process = start("serve", "--tail", "-", "--port", "0", stdin=subprocess.PIPE)
    url = url_of(process)
    assert process.popen.stdin is not None
    process.popen.stdin.write(FAILURE)
    process.popen.stdin.close()
    process.err.until("^the input has ended")
    client = RealtimeClient(url, proxy="direct")
    with client.events("new_anomaly", timeout=10) as events, client:
        assert "No space left" in next_log(events).message
    assert process.interrupt(signal.SIGTERM)[0] == 0


def test_ctrl_c_ends_it_though_standard_input_is_silent(start: Start) -> None:
    process = start("serve", "--tail", "-", "--port", "0", stdin=subprocess.PIPE)
    process.err.until("^Ctrl-C ends$")
    ended, taken = process.interrupt(signal.SIGINT)
    assert ended == 130
    assert taken < 2.0


def test_a_generated_log_says_so(start: Start) -> None:
    process = start("serve", "--port", "0")
    process.err.until("the log is generated, every line of it is invented")
    assert process.interrupt(signal.SIGTERM)[0] == 0


@pytest.mark.parametrize("way", ["environment", "file", "file in the environment", "argument"])
def test_a_token_is_demanded_and_never_shown(way: str, start: Start, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("s3cret\n", encoding="ascii")
    args, env = {
        "environment": ((), {"REALTIME_TOKEN": "s3cret"}),
        "file": (("--token-file", str(path)), {"REALTIME_TOKEN": "another"}),
        "file in the environment": ((), {"REALTIME_TOKEN_FILE": str(path)}),
        "argument": (("--token", "s3cret"), {}),
    }[way]
    process = start("serve", "--port", "0", "-vv", *args, env=env)
    url = url_of(process)
    with pytest.raises(AuthenticationError), RealtimeClient(url, proxy="direct"):
        pass
    with RealtimeClient(url, proxy="direct", token="s3cret") as client:
        assert client.is_connected
    assert process.interrupt(signal.SIGTERM)[0] == 0
    assert "with a token" in process.said()
    assert ("warning: --token is visible to others" in process.said()) is (way == "argument")
    assert "s3cret" not in process.said() + "".join(process.out.all())


def test_two_tokens_in_the_environment_are_refused(call: Call, tmp_path: Path) -> None:
    ended = call("serve", env={"REALTIME_TOKEN": "s3cret", "REALTIME_TOKEN_FILE": str(tmp_path)})
    assert ended.code == 2
    assert ended.err == ["realtime-client: error: REALTIME_TOKEN_FILE: cannot be given together with REALTIME_TOKEN"]


def test_an_unreadable_token_file_of_the_environment_is_refused(call: Call, tmp_path: Path) -> None:
    ended = call("serve", env={"REALTIME_TOKEN_FILE": str(tmp_path / "missing")})
    assert ended.code == 2
    (line,) = ended.err
    assert line.startswith("realtime-client: error: REALTIME_TOKEN_FILE: cannot read ")


def test_a_port_in_use_is_one_line(call: Call) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = call("serve", "--port", str(port))
        assert ended.code == 1
    (line,) = ended.err
    assert line == f"realtime-client: error: cannot listen on 127.0.0.1:{port}: Address already in use"
    assert ended.out == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing.log", "No such file or directory"), (".", "is not a regular file"), ("\x1b[2J", "No such file")],
)
def test_a_file_that_cannot_be_followed_is_one_line(name: str, reason: str, tmp_path: Path, start: Start) -> None:
    process = start("serve", "--port", "0", "--tail", str(tmp_path / name))
    assert process.end() == 1
    (line,) = process.err.seen
    assert line.startswith(f"realtime-client: error: cannot follow {tmp_path}")
    assert reason in line
    assert line.isprintable()


def test_a_file_that_becomes_unreadable_is_said_and_waited_for(log: Path, start: Start) -> None:
    process = start("serve", "--port", "0", "--tail", str(log))
    url = url_of(process)
    aside = log.with_suffix(".1")
    log.rename(aside)
    log.mkdir()
    process.err.until("WARNING realtime_client.demo.*cannot read app")
    log.rmdir()
    log.write_text(FAILURE.replace("write", "read"), encoding="utf-8")
    client = RealtimeClient(url, proxy="direct")
    with client.events("new_anomaly", timeout=10) as events, client:
        assert "could not" in next_log(events).message
        assert "could not read" in next_log(events).message
    assert process.interrupt(signal.SIGTERM)[0] == 0
