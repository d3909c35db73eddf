from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from realtime_client.demo import FeedServer, FollowedFile, FollowedInput, GeneratedLog, Line, LogFeed
from tests.demo.conftest import open_descriptors

TIMEOUT = 5.0


@pytest.fixture
def server() -> Iterator[FeedServer]:
    with FeedServer(port=0, stats_interval=0.05) as server:
        yield server


def next_of(client: ClientConnection, kind: str) -> dict[str, Any]:
    """The next message of this type."""
    while True:
        message: dict[str, Any] = json.loads(client.recv(timeout=TIMEOUT))
        if message["type"] == kind:
            return message


class FaultySource:
    """Cannot be read at first; ends with one line."""

    name = "faulty"
    notice = "mind the gap"

    def __init__(self) -> None:
        self.asked = 0
        self.ended = False
        self.closed = threading.Event()

    def read(self) -> list[Line]:
        self.asked += 1
        if self.asked <= 3:
            raise PermissionError(13, "no")
        self.ended = True
        return [Line("CRITICAL:db:gone", "the-id")] if self.asked == 4 else []

    def close(self) -> None:
        self.closed.set()


def test_a_line_that_is_written_reaches_the_client(server: FeedServer, tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_text("2026-01-01 10:00:00,000 INFO shop: up\n")
    with LogFeed(server, [FollowedFile(path)], poll_interval=0.01) as feed:
        assert feed.wait_caught_up(TIMEOUT)
        with connect(server.url) as client:
            assert next_of(client, "stats_update")["data"]["stats"]["totalLogs"] == 1
            with path.open("a") as file:
                file.write("2026-01-01 10:00:01,000 ERROR shop: connection refused\n")
            message = next_of(client, "new_anomaly")
            log = message["data"]["log"]
            assert log["message"] == "connection refused"
            assert log["level"] == "ERROR"
            assert log["source"] == "shop"
            assert log["isAnomaly"] is True
            assert 0.6 <= log["anomalyScore"] <= 1
            assert log["rootCauses"][0] == "The service that was called is not listening"
            assert log["recommendations"]
            assert log["timestamp"] == message["timestamp"]
            figures = next_of(client, "stats_update")["data"]["stats"]
            assert figures == {"totalLogs": 2, "anomalyCount": 1, "anomalyRate": 0.5, "activeServices": 1}


def test_ids_are_the_same_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_text("ERROR:a:one\nERROR:a:two\n")
    seen = []
    for _ in range(2):
        with FeedServer(port=0) as server, LogFeed(server, [FollowedFile(path)]) as feed:
            assert feed.wait_caught_up(TIMEOUT)
            with connect(server.url) as client:
                seen.append([next_of(client, "new_anomaly")["data"]["log"]["id"] for _ in range(2)])
    assert seen[0] == seen[1]
    assert len(set(seen[0])) == 2


def test_a_large_history_is_read_at_once(server: FeedServer, tmp_path: Path) -> None:
    path = tmp_path / "dpkg.log"
    lines = (f"2026-01-01 10:00:{n % 60:02} status installed tool-{n}:amd64 1.{n}\n" for n in range(20_000))
    path.write_text("".join(lines))
    with LogFeed(server, [FollowedFile(path)]) as feed:
        assert feed.wait_caught_up(TIMEOUT)
        with connect(server.url) as client:
            assert next_of(client, "stats_update")["data"]["stats"]["totalLogs"] == 20_000


def test_an_input_that_ends_ends_the_feed(server: FeedServer) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"CRITICAL:a:no newline")
    os.close(writing)
    with LogFeed(server, [FollowedInput(reading)]) as feed:
        assert feed.wait_ended(TIMEOUT)
        with connect(server.url) as client:
            assert next_of(client, "new_anomaly")["data"]["log"]["message"] == "no newline"
    os.close(reading)


def test_closing_does_not_wait_for_a_silent_input(server: FeedServer) -> None:
    reading, writing = os.pipe()
    feed = LogFeed(server, [FollowedInput(reading)], poll_interval=60)
    feed.start()
    assert feed.wait_caught_up(TIMEOUT)
    closing = threading.Thread(target=feed.close)
    closing.start()
    closing.join(TIMEOUT)
    assert not closing.is_alive()
    assert feed.wait_ended(0)
    os.close(reading)
    os.close(writing)


def test_a_source_that_cannot_be_read_is_told_once_and_tried_again(
    server: FeedServer, caplog: pytest.LogCaptureFixture
) -> None:
    source = FaultySource()
    with caplog.at_level(logging.WARNING), LogFeed(server, [source], poll_interval=0.01) as feed:
        assert feed.wait_ended(TIMEOUT)
    assert [record.getMessage() for record in caplog.records] == [
        "cannot read faulty, will go on trying: [Errno 13] no"
    ]
    assert source.closed.is_set()
    with connect(server.url) as client:
        assert next_of(client, "new_anomaly")["data"]["log"]["id"] == "the-id"
    (notice,) = server._hub.snapshot().alerts
    assert notice.message["data"] == {"message": "mind the gap", "severity": "info"}


def test_closing_releases_everything_also_unstarted(server: FeedServer, tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.touch()
    before = open_descriptors()
    unstarted = LogFeed(server, [FollowedFile(path)])
    unstarted.close()
    with LogFeed(server, [FollowedFile(path), GeneratedLog()]) as feed:
        assert feed.wait_caught_up(TIMEOUT)
    feed.close()
    assert open_descriptors() == before


def test_a_generated_log_is_announced(server: FeedServer) -> None:
    with LogFeed(server, [GeneratedLog(seed=3)]) as feed:
        assert feed.wait_caught_up(TIMEOUT)
    (notice,) = server._hub.snapshot().alerts
    assert "generated log (seed 3)" in notice.message["data"]["message"]


def test_a_wrong_interval_is_refused(server: FeedServer) -> None:
    with pytest.raises(ValueError, match="poll_interval is 0"):
        LogFeed(server, [], poll_interval=0)


def test_history_is_that_of_all_files(server: FeedServer, tmp_path: Path) -> None:
    paths = [tmp_path / "a.log", tmp_path / "b.log"]
    for path in paths:
        path.write_text("2026-01-01 10:00:00,000 INFO shop: up\n")
    size = sum(path.stat().st_size for path in paths)
    feed = LogFeed(server, [*map(FollowedFile, paths), GeneratedLog()], poll_interval=0.01)
    assert feed.history == (0, size)
    with feed:
        assert feed.wait_caught_up(TIMEOUT)
        assert feed.history == (size, size)
