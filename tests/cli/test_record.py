"""``record`` as a process, against a scripted server: its bounds, and each way in which it ends."""

from __future__ import annotations

import gzip
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from realtime_client import Origin, RealtimeClient
from realtime_client.recording import replay_url
from realtime_client.testing import FakeServer, accept, refuse, reset, send
from tests.cli.conftest import Call
from tests.cli.process import TIMEOUT, Start

GREETING = {"type": "connection_established", "data": {"server": "x"}}
AT_ONCE = {
    "REALTIME_RECONNECT_DELAY": "0.01",
    "REALTIME_RECONNECT_DELAY_MAX": "0.01",
    "REALTIME_RECONNECT_JITTER": "0",
}


def anomaly(number: int) -> dict[str, Any]:
    return {"type": "new_anomaly", "data": {"log": {"id": str(number), "message": f"disk {number} is full"}}}


EVERYTHING = [accept(greeting=GREETING), *(send(anomaly(n)) for n in range(5)), send({"type": "pong"})]


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(then=EVERYTHING) as running:
        yield running


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "feed.jsonl"


def types(file: Path) -> list[str]:
    data = file.read_bytes()
    text = (gzip.decompress(data) if file.suffix == ".gz" else data).decode()
    return [json.loads(line)["type"] for line in text.splitlines()]


def test_every_event_is_recorded_with_the_time_of_its_receipt(server: FakeServer, call: Call, file: Path) -> None:
    ended = call("record", str(file), server.url, "--count", "7")
    assert ended.code == 0
    assert ended.out == []
    assert types(file) == ["connection_established", *["new_anomaly"] * 5, "pong"]
    first = json.loads(file.read_text().splitlines()[0])
    assert first["data"] == GREETING["data"]
    assert first["receivedAt"].endswith("Z")
    assert ended.err[-1] == f"{file} holds 7 events ({file.stat().st_size} bytes)"


def test_a_name_in_gz_is_packed(server: FakeServer, call: Call, tmp_path: Path) -> None:
    file = tmp_path / "feed.jsonl.gz"
    ended = call("record", str(file), server.url, "--count", "2")
    assert types(file) == ["connection_established", "new_anomaly"]
    assert ended.err[-1].endswith("bytes before packing)")


def test_types_are_selected(server: FakeServer, call: Call, file: Path) -> None:
    assert call("record", str(file), server.url, "--type", "pong", "--type", "new_anomaly", "--count", "6").code == 0
    assert types(file) == [*["new_anomaly"] * 5, "pong"]


def test_max_size(server: FakeServer, call: Call, file: Path) -> None:
    ended = call("record", str(file), server.url, "--max-size", "1K")
    assert ended.code == 0
    assert 512 < file.stat().st_size <= 1024


def test_duration(server: FakeServer, call: Call, file: Path) -> None:
    ended = call("record", str(file), server.url, "--duration", "1")
    assert ended.code == 0
    assert types(file)[0] == "connection_established"


def test_quiet(server: FakeServer, call: Call, file: Path) -> None:
    assert call("record", str(file), server.url, "--count", "1", "--quiet").err == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", ["feed.jsonl", "feed.jsonl.gz"])
def test_a_signal_ends_it_with_everything_in_the_file(
    server: FakeServer, start: Start, tmp_path: Path, number: int, name: str
) -> None:
    file = tmp_path / name
    process = start("record", str(file), server.url)
    wait_for_events(file, 7)
    assert process.interrupt(number)[0] == 128 + number
    assert types(file) == ["connection_established", *["new_anomaly"] * 5, "pong"]
    assert process.said().endswith(f"holds 7 events ({sizes(file)})")


def wait_for_events(file: Path, count: int) -> None:
    """Wait until a reader of the file finds so many events in it, while it is being written."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        if file.exists():
            client = RealtimeClient(replay_url(file, speed="max"))
            events = client.events()
            with client:
                if sum(1 for _ in events) == count:
                    return
    raise AssertionError(f"there are not {count} events within {TIMEOUT:g} s")


def sizes(file: Path) -> str:
    if file.suffix == ".gz":
        return f"{len(gzip.decompress(file.read_bytes()))} bytes before packing"
    return f"{file.stat().st_size} bytes"


def test_killed_it_leaves_a_recording(server: FakeServer, start: Start, tmp_path: Path) -> None:
    for name in ("feed.jsonl", "feed.jsonl.gz"):
        file = tmp_path / name
        process = start("record", str(file), server.url)
        wait_for_events(file, 7)
        process.popen.kill()
        wait_for_events(file, 7)


def test_a_replay_is_recorded_to_its_end(server: FakeServer, call: Call, file: Path, tmp_path: Path) -> None:
    call("record", str(file), server.url, "--count", "7")
    again = tmp_path / "again.jsonl.gz"
    assert call("record", str(again), f"replay:{file}?speed=max").code == 0
    assert types(again) == types(file)
    assert gzip.decompress(again.read_bytes()).decode() == file.read_text().replace(
        f'"origin":"{Origin.STREAM.value}"', '"origin":"replay"'
    )


# Ends that nobody wants


def test_a_file_that_is_there_is_left_alone(server: FakeServer, call: Call, file: Path) -> None:
    file.write_text("precious")
    ended = call("record", str(file), server.url, "--count", "1")
    assert (ended.code, ended.err) == (2, [f"realtime-client: error: {file} is there already; --force replaces it"])
    assert file.read_text() == "precious"
    assert call("record", str(file), server.url, "--count", "1", "--force").code == 0
    assert types(file) == ["connection_established"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a disk that is always full")
def test_a_full_disk_is_one_line(server: FakeServer, start: Start) -> None:
    process = start("record", "/dev/full", server.url, "--force", "--quiet")
    assert process.end() == 1
    assert process.said() == (
        "realtime-client: error: cannot write /dev/full: No space left on device; it holds 0 events (0 bytes)"
    )


def test_a_folder_that_is_not_there_is_one_line(server: FakeServer, start: Start, tmp_path: Path) -> None:
    process = start("record", str(tmp_path / "none" / "feed.jsonl"), server.url, "--quiet")
    assert process.end() == 1
    assert process.said() == (
        f"realtime-client: error: cannot write {tmp_path}/none/feed.jsonl: No such file or directory"
    )


def test_a_refused_token_leaves_no_file(start: Start, file: Path) -> None:
    with FakeServer(then=[refuse(401)]) as server:
        process = start("record", str(file), server.url, "--quiet")
        assert process.end() == 3
    assert process.said().startswith("realtime-client: error: ")
    assert "\n" not in process.said()
    assert not file.exists()


def test_a_dead_host_leaves_an_old_file_alone(start: Start, file: Path) -> None:
    file.write_text("precious")
    process = start("record", str(file), "ws://127.0.0.1:1/ws", "--force", "--quiet", env=AT_ONCE)
    assert process.end() == 4
    assert process.said().endswith("Connection refused")
    assert file.read_text() == "precious"


def test_a_duration_without_a_connection(start: Start, file: Path) -> None:
    process = start("record", str(file), "ws://127.0.0.1:1/ws", "--duration", "0.5", "--quiet")
    assert process.end() == 4
    assert "not connected within 0.5 s (cannot connect to ws://127.0.0.1:1/ws: " in process.said()


def test_an_outage_in_between_is_no_end(start: Start, file: Path) -> None:
    script = [accept(greeting=GREETING), send(anomaly(1)), reset()]
    with FakeServer(script=[script], then=EVERYTHING) as server:
        process = start("record", str(file), server.url, "--count", "9", env=AT_ONCE)
        assert process.end() == 0
    assert types(file)[:4] == ["connection_established", "new_anomaly", "connection_established", "new_anomaly"]


@pytest.mark.parametrize("size", ["0", "-1", "ten", "10X", "1.5M", ""])
def test_sizes_that_are_none(call: Call, file: Path, size: str) -> None:
    ended = call("record", str(file), f"--max-size={size}")
    assert ended.code == 2
    assert "allowed: a size like 500K, 10M, 2G, or in bytes" in ended.err[0]
