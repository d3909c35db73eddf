"""Celery's prefork pool: a client that the worker's main process connected lives anew in each child."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from realtime_client.testing import FakeServer
from tests.outages.processes import process

TASKS = """
import os

from celery import Celery, signals

from realtime_client import RealtimeClient

folder = os.environ["FOLDER"]
queue = folder + "/queue"
ends = {"data_folder_in": queue, "data_folder_out": queue, "control_folder": folder + "/control"}
app = Celery("feed", broker="filesystem://", broker_transport_options=ends)
app.conf.broker_connection_retry_on_startup = True
client = RealtimeClient(os.environ["FEED"])


@signals.worker_init.connect
def before_the_fork(**_):
    client.connect(timeout=20)  # in the main process, whose children are then forked


@app.task(name="report")
def report():
    client.connect(timeout=20)
    client.send({"type": "hello", "pid": os.getpid(), "parent": os.getppid(), "connected": client.is_connected})


if __name__ == "__main__":
    report.delay()
"""


def test_celery_prefork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tasks.py").write_text(TASKS)
    for folder in ("queue", "control"):
        (tmp_path / folder).mkdir()
    with FakeServer() as server:
        monkeypatch.setenv("FEED", server.url)
        monkeypatch.setenv("FOLDER", str(tmp_path))
        monkeypatch.setenv("PYTHONWARNINGS", "ignore")
        monkeypatch.setenv("C_FORCE_ROOT", "1")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
        worker = [sys.executable, "-m", "celery", "--app", "tasks", "--workdir", str(tmp_path), "worker"]
        with process(*worker, "--pool", "prefork", "--concurrency", "1", "--loglevel", "WARNING") as running:
            masters = server.wait_for_connection(timeout=30)
            with process(sys.executable, str(tmp_path / "tasks.py")) as sender:
                assert sender.wait(timeout=30) == 0
            hello: Any = server.wait_for_message(_is_hello, timeout=30)
            assert hello is not None
            said = [message for one in server.connections for message in one.messages if _is_hello(message)]
            assert said[0]["connected"] is True
            assert said[0]["pid"] != running.pid
            assert said[0]["parent"] == running.pid
            assert masters.is_open
            assert not any(_is_hello(message) for message in masters.messages)  # it came by the child's own connection
            running.terminate()
            running.communicate(timeout=30)
            assert running.returncode == 0


def _is_hello(message: Any) -> bool:
    return isinstance(message, dict) and message.get("type") == "hello"
