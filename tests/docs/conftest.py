"""What the examples find: a feed, a Redis server, a log, a recording."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from realtime_client import LogEntry, NewAnomaly
from realtime_client.recording import Recorder
from tests.docs.examples import ROOT
from tests.docs.feeds import started
from tests.relay.servers import RedisServer, RelayProcess


@pytest.fixture(scope="session")
def feed() -> Iterator[str]:
    """The URL of the feed that the pages tell their readers to start: every type, ten times a second."""
    with started(str(ROOT / "examples/feed.py"), "0") as (_, url):
        yield url


@pytest.fixture(scope="session")
def redis_address(feed: str) -> Iterator[str]:
    """Host and port of a Redis server for the examples, to which the feed is relayed under a name of its own."""
    # In a process of its own: other tests in this one look for threads that are left behind.
    with RedisServer() as server, RelayProcess(feed, server.url("incidents"), name="examples") as relay:
        relay.wait_for("active")
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


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation as HTML, built as strictly as it can be, once for all processes that share the tests."""
    own = tmp_path_factory.getbasetemp()
    folder = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    built = folder / "site"
    with (folder / "site.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            begun = tmp_path_factory.mktemp("site")
            where = [str(ROOT / "docs"), str(begun / "html")]
            command = [sys.executable, "-m", "sphinx", "-q", "-n", "-W", "--keep-going", "-d", str(begun / "trees")]
            done = subprocess.run([*command, *where], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            begun.rename(built)
    return built / "html"
