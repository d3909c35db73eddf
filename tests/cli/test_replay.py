"""``replay`` as a process: a recording through the client to the terminal, and as a feed on a port."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from realtime_client import ConnectionState, RealtimeClient, StatsUpdate, SystemAlert
from tests.cli.conftest import Call
from tests.cli.process import COMMAND, TIMEOUT, Start, environment

RECORDED: list[dict[str, Any]] = [
    {"type": "connection_established"},
    {"type": "new_anomaly", "data": {"log": {"id": "1", "message": "disk full", "level": "ERROR"}}},
    {"type": "stats_update", "data": {"stats": {"totalLogs": 5}}},
    {"type": "system_alert", "data": {"message": "hot", "severity": "info"}},
    {"type": "pong"},
    {"type": "deploy", "data": [1, 2]},
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my feed.jsonl"
    stamped = [{**m, "receivedAt": f"2026-01-02T03:04:05.{n}Z", "origin": "stream"} for n, m in enumerate(RECORDED)]
    path.write_text("".join(json.dumps(message) + "\n" for message in stamped))
    return path


def types(lines: list[str]) -> list[str]:
    return [json.loads(line)["type"] for line in lines]


def test_a_recording_is_shown_as_tail_shows_a_feed(file: Path, call: Call) -> None:
    ended = call("replay", str(file))
    assert ended.code == 0
    assert types(ended.out) == ["new_anomaly", "stats_update", "system_alert", "deploy"]
    first = json.loads(ended.out[0])
    assert (first["receivedAt"], first["origin"]) == ("2026-01-02T03:04:05.100000Z", "replay")
    assert ended.err[-1] == "the recording has ended"


def test_the_options_of_tail_are_understood(file: Path, call: Call) -> None:
    ended = call("replay", str(file), "--speed", "max", "--type", "deploy", "--output", "pretty", "--quiet")
    assert (ended.code, len(ended.out), ended.err) == (0, 1, [])
    assert ended.out[0].endswith("deploy: [1,2]")


def test_speed_and_loop(file: Path, call: Call) -> None:
    began = time.monotonic()
    ended = call("replay", str(file), "--speed", "100", "--loop", "--all", "--count", "60")
    assert time.monotonic() - began < 10
    assert types(ended.out) == [message["type"] for message in RECORDED] * 10


def test_the_environment_is_not_asked(file: Path, call: Call) -> None:
    env = {"REALTIME_URL": "nonsense", "REALTIME_POLLING_URL": "nonsense"}
    assert call("replay", str(file), "--speed", "max", env=env).code == 0


def test_ctrl_c(file: Path, start: Start) -> None:
    process = start("replay", str(file), "--loop")
    process.out.until("deploy")
    assert process.interrupt(signal.SIGINT)[0] == 130


def test_head_ends_it_quietly(file: Path) -> None:
    command = f"{{ {shlex.join(COMMAND)} replay {shlex.quote(str(file))} --loop --speed max --quiet; echo rc $? >&2; }}"
    done = subprocess.run(
        ["sh", "-c", f"{command} | head -n 3"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert len(done.stdout.splitlines()) == 3
    assert done.stderr == "rc 0\n"


# Recordings that are none: one line, and the exit code


def one_line(start: Start, *args: str) -> tuple[int, str]:
    process = start("replay", *args, "--quiet")
    code = process.end()
    assert process.out.all() == []
    said = process.said()
    assert "\n" not in said
    return code, said.removeprefix("realtime-client: error: ")


@pytest.mark.parametrize("more", [[], ["--port", "0"]], ids=["shown", "served"])
def test_a_missing_file(start: Start, tmp_path: Path, more: list[str]) -> None:
    path = tmp_path / "none.jsonl"
    assert one_line(start, str(path), *more) == (1, f"cannot replay {path}: No such file or directory")


@pytest.mark.parametrize("more", [[], ["--port", "0"]], ids=["shown", "served"])
def test_a_folder(start: Start, tmp_path: Path, more: list[str]) -> None:
    assert one_line(start, str(tmp_path), *more) == (1, f"cannot replay {tmp_path}: it is no regular file")


@pytest.mark.parametrize("more", [[], ["--port", "0"]], ids=["shown", "served"])
def test_what_is_no_recording(start: Start, tmp_path: Path, more: list[str]) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("\x1b]0;pwned\x07 buy milk")
    code, said = one_line(start, str(path), *more)
    assert code == 6
    assert said.startswith(f"{path} is no recording, or a damaged one: line 1: not JSON")
    assert said.isprintable()


def test_a_damaged_line_comes_behind_what_is_whole(file: Path, start: Start) -> None:
    file.write_text(file.read_text() + "}{\n")
    process = start("replay", str(file), "--speed", "max")
    assert process.end() == 6
    assert types(process.out.all()) == ["new_anomaly", "stats_update", "system_alert", "deploy"]
    assert process.said().splitlines()[-1] == (
        f"realtime-client: error: {file} is no recording, or a damaged one:"
        " line 7: not JSON: invalid character (byte 0)"
    )


def test_a_cut_recording_is_said_with_v(file: Path, call: Call) -> None:
    file.write_text(file.read_text()[:-20])
    ended = call("replay", str(file), "--speed", "max", "-v")
    assert ended.code == 0
    assert types(ended.out) == ["new_anomaly", "stats_update", "system_alert"]
    assert any("is cut off within line 6" in line for line in ended.err)


@pytest.mark.parametrize("speed", ["0", "-2", "fast", "nan", ""])
def test_speeds_that_are_none(call: Call, file: Path, speed: str) -> None:
    ended = call("replay", str(file), f"--speed={speed}")
    assert ended.code == 2
    assert "allowed: a number above 0, or max" in ended.err[0]


def test_an_empty_name(call: Call) -> None:
    ended = call("replay", "")
    assert (ended.code, ended.err) == (2, ["realtime-client: error: the path of a recording is empty"])


# Served


def test_it_is_served_from_the_first_client_on_and_remains(file: Path, start: Start) -> None:
    process = start("replay", str(file), "--port", "0", "--speed", "max")
    url = process.out.until("REALTIME_URL=").partition("=")[2]
    with RealtimeClient(url) as client:
        events = client.events(timeout=TIMEOUT)
        seen: dict[str, Any] = {}
        while not {"new_anomaly", "system_alert", "stats_update", "deploy"} <= set(seen):
            event = next(events)
            if not isinstance(event, StatsUpdate) or event.stats:
                seen[event.type] = event
        assert seen["new_anomaly"].log.message == "disk full"
        assert isinstance(seen["system_alert"], SystemAlert)
        assert seen["deploy"].data == [1, 2]
        client.store.wait_for(lambda s: s.stats.total_logs == 5, timeout=TIMEOUT)
        process.err.until("the recording has ended; what it told is still served")
        assert client.status.state is ConnectionState.CONNECTED
    with RealtimeClient(url) as late:
        late.store.wait_for(lambda s: s.recent_logs and s.stats.total_logs == 5, timeout=TIMEOUT)
    assert process.interrupt(signal.SIGINT)[0] == 130


def test_a_client_that_is_slower_than_the_replay_gets_everything(tmp_path: Path, start: Start) -> None:
    """Far more than may wait for one client, as fast as it can be read, to a program that stops for a moment."""
    path, count = tmp_path / "long.jsonl", 20_000
    path.write_text(
        "".join(json.dumps({"type": "step", "data": [number, "x" * 2_000]}) + "\n" for number in range(count))
    )
    process = start("replay", str(path), "--port", "0", "--speed", "max")
    steps: list[Any] = []
    done = threading.Event()

    def take(event: Any) -> None:
        if not steps:
            done.wait(2.0)  # everything on the way fills up
        steps.append(event.data[0])
        if len(steps) == count:
            done.set()

    client = RealtimeClient(
        process.out.until("REALTIME_URL=").partition("=")[2], overflow="block", max_pending_events=100
    )
    client.on("step", take)
    with client:
        assert done.wait(TIMEOUT), len(steps)
    assert steps == list(range(count))
    assert client.metrics().reconnects == 0
    assert process.interrupt(signal.SIGINT)[0] == 130


@pytest.mark.parametrize(
    "option",
    [
        ["--type", "deploy"],
        ["--all"],
        ["--lines", "3"],
        ["--no-follow"],
        ["--source", "a*"],
        ["--min-score", "0.9"],
        ["--output", "json"],
    ],
    ids=lambda option: option[0],
)
def test_the_whole_recording_is_served_or_nothing(file: Path, start: Start, option: list[str]) -> None:
    assert one_line(start, str(file), "--port", "0", *option) == (
        2,
        f"{option[0]} is not allowed with --port, which serves the whole recording",
    )


def test_a_damaged_line_ends_serving(file: Path, start: Start) -> None:
    file.write_text(file.read_text() + "}{\n")
    process = start("replay", str(file), "--port", "0")
    with RealtimeClient(process.out.until("REALTIME_URL=").partition("=")[2]):
        assert process.end() == 6
    assert "line 7: not JSON" in process.said()


def test_sigterm_ends_serving_with_0(file: Path, start: Start) -> None:
    process = start("replay", str(file), "--port", "0", "--loop")
    url = process.out.until("REALTIME_URL=").partition("=")[2]
    with RealtimeClient(url) as client:
        for _ in range(3):
            client.wait_for("deploy", timeout=TIMEOUT)
    assert process.interrupt(signal.SIGTERM)[0] == 0


def test_a_taken_port(file: Path, start: Start) -> None:
    first = start("replay", str(file), "--port", "0")
    port = first.out.until("REALTIME_URL=").rpartition(":")[2].partition("/")[0]
    assert one_line(start, str(file), "--port", port) == (
        1,
        f"cannot listen on 127.0.0.1:{port}: Address already in use",
    )
