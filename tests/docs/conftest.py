"""A lively feed for the examples."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from realtime_client import LogEntry, NewAnomaly
from realtime_client.demo import FeedServer
from realtime_client.recording import Recorder
from realtime_client.relay import Relay, RelayState
from tests.relay.servers import PATIENCE, RedisServer

PUBLISHING_INTERVAL = 0.05


@pytest.fixture(scope="session")
def feed() -> Iterator[FeedServer]:
    """A feed server that publishes an anomaly, an alert and figures, again and again."""
    stop = threading.Event()

    def publish() -> None:
        number = 0
        while not stop.wait(PUBLISHING_INTERVAL):
            number += 1
            log = {
                "id": f"log-{number}",
                "level": "ERROR",
                "message": f"payment {number} failed: connection refused",
                "source": "payments",
                "anomalyScore": 0.93,
            }
            figures = {"totalLogs": number, "anomalyCount": number, "anomalyRate": 1.0, "activeServices": 6}
            server.publish(
                {"type": "new_anomaly", "data": {"log": log}},
                {"type": "stats_update", "data": {"stats": figures}},
                {"type": "system_alert", "data": {"message": f"alert {number}", "severity": "warning"}},
                {"type": "deploy_finished", "data": {"service": "payments", "durationSeconds": 12.5}},
            )

    with FeedServer(port=0, stats_interval=0.1) as server:
        publisher = threading.Thread(target=publish, name="publisher", daemon=True)
        publisher.start()
        yield server
        stop.set()
        publisher.join(5)


@pytest.fixture(scope="session")
def redis_address(feed: FeedServer) -> Iterator[str]:
    """Host and port of a Redis server for the examples, to which the feed is relayed under a name of its own."""
    with RedisServer() as server, Relay(feed.url, server.url("incidents")) as relay:
        assert relay.wait_for(RelayState.ACTIVE, PATIENCE)
        yield f"localhost:{server.port}"


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    """A small log of a package manager, with troubles in it."""
    installed = [f"2026-01-02 03:{n // 60:02}:{n % 60:02} status installed tool-{n}:amd64 1.{n}" for n in range(240)]
    failed = [f"2026-01-02 04:00:{n:02} ERROR: installing tool-{n} failed: No space left on device" for n in range(20)]
    path = tmp_path / "dpkg.log"
    path.write_text("\n".join(installed + failed) + "\n")
    return path


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A small recording, beside the log."""
    path = tmp_path / "incident.jsonl.gz"
    with Recorder(path) as recorder:
        for number in range(20):
            log = LogEntry(str(number), "payment failed", level="ERROR", source="payments", anomaly_score=number / 20)
            recorder.write(NewAnomaly(log, received_at=datetime(2026, 1, 2, 3, 4, number, tzinfo=UTC)))
    return path
