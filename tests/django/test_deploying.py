"""The page on deploying: each command serves the example site, with a page open, and stops when it is told to."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from realtime_client.testing import FakeServer
from tests.client.recording import anomaly
from tests.django.site import PATIENCE, SITE, Served, Visitor, run, serve, wait_until
from tests.docs.examples import examples

PAGE = "docs/deploying.md"
COMMANDS = [
    line.removeprefix("$ ")
    for example in examples(PAGE, "console")
    for line in example.code.splitlines()
    if line.startswith("$ ")
]
SERVERS = [command for command in COMMANDS if not command.startswith("celery")]
UWSGI = "import pyuwsgi, sys; sys.argv[0] = 'uwsgi'; sys.exit(pyuwsgi.run())"
STOPS_WITHIN = 10.0
"""Seconds for a server whose page says that it stops at once, or after five; gunicorn's own patience is thirty."""


@pytest.fixture(scope="module")
def gunicorn_conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's file of that name."""
    path = tmp_path_factory.mktemp("gunicorn") / "gunicorn.conf.py"
    (block,) = examples(PAGE, "text")
    path.write_text(block.code)
    return path


def runnable(command: str, gunicorn_conf: Path = SITE) -> list[str]:
    """The command in this process's environment, on a free port."""
    command = command.replace("gunicorn.conf.py", str(gunicorn_conf))
    program, *words = command.replace("127.0.0.1:8000", "127.0.0.1:0").replace("--port 8000", "--port 0").split()
    if program == "uwsgi":
        return [sys.executable, "-c", UWSGI, *words]
    return [sys.executable, "-m", program, *words]


def workers(command: str) -> int:
    found = re.search(r"--(?:workers|processes) (\d+)", command)
    return int(found[1]) if found else 1


def test_the_page_has_a_command_for_each_server() -> None:
    assert {command.split()[0] for command in COMMANDS} == {"gunicorn", "uvicorn", "uwsgi", "celery"}
    assert len(SERVERS) == len(set(SERVERS)) >= 10


@pytest.mark.parametrize("command", SERVERS)
def test_a_server(command: str, gunicorn_conf: Path, env: dict[str, str], server: FakeServer) -> None:
    with serve(*runnable(command, gunicorn_conf), env=env) as served:
        visitor = Visitor(served.url).log_in()
        wait_until(lambda: '"state">connected' in visitor.get("/"), "connected")
        with visitor.stream() as page:
            if "sync" in command:  # streams are brief: this one is over, and the page comes back
                server.send(anomaly(1))
                wait_until(lambda: _sees(visitor, "log-1"), "the page sees it when it is back")
            else:
                page.connected()
                server.send(anomaly(1))
                page.log("log-1")
            assert 1 <= len(server.attempts) <= workers(command)
            took = served.stop()
        said = "\n".join(served.said.all())
    assert took < STOPS_WITHIN
    assert "Traceback" not in said, said
    assert "WORKER TIMEOUT" not in said


def _sees(visitor: Visitor, log: str) -> bool:
    with visitor.stream() as page:
        return any(entry["id"] == log for entry in page.until("snapshot")[1]["logs"])


def test_a_worker_that_is_replaced_connects_again(env: dict[str, str], server: FakeServer) -> None:
    (command,) = [c for c in SERVERS if "gthread" in c and "--preload" not in c]
    with serve(*runnable(command), env=env) as served:
        visitor = Visitor(served.url).log_in()
        with visitor.stream() as page:
            before = page.connected()
            served.process.send_signal(signal.SIGHUP)
            assert not [event for event in page if event[0] != "heartbeat"]  # it ends, and promptly
        with visitor.stream(**{"Last-Event-ID": before}) as page:
            server.wait_for_connection(2, timeout=PATIENCE)
            server.send(anomaly(2))
            assert page.until("snapshot", "reset")[0] == "reset"


BROKER = """
app.conf.broker_url = "filesystem://"
app.conf.broker_transport_options = {transport}
app.conf.broker_connection_retry_on_startup = True
if __name__ == "__main__":
    report.delay()
"""


@contextmanager
def celery(folder: Path, blocks: Sequence[str], env: dict[str, str]) -> Iterator[tuple[Served, dict[str, str]]]:
    """A worker for the page's tasks, with a broker that needs no server."""
    ends = {name: str(folder / "queue") for name in ("data_folder_in", "data_folder_out")}
    (folder / "queue").mkdir()
    (folder / "control").mkdir()
    broker = BROKER.format(transport={**ends, "control_folder": str(folder / "control")})
    code = "".join(blocks) + broker
    (folder / "reports.py").write_text(code.replace("@app.task", '@app.task(name="report")'))
    paths = os.pathsep.join([str(folder), str(SITE), os.environ.get("PYTHONPATH", "")])
    env = {**env, "PYTHONPATH": paths, "C_FORCE_ROOT": "1"}
    (command,) = [command for command in COMMANDS if command.startswith("celery")]
    listening = r"celery@\S+ ready()"
    with serve(*runnable(command), "--loglevel", "INFO", env=env, listening=listening, folder=folder) as worker:
        yield worker, env


def test_celery_connects_with_the_first_task(env: dict[str, str], server: FakeServer, tmp_path: Path) -> None:
    tasks, _ = (example.code for example in examples(PAGE, "python"))
    with celery(tmp_path, [tasks], env) as (worker, more):
        assert server.attempts == ()
        run(sys.executable, "reports.py", env=more, folder=tmp_path)
        server.wait_for_connection(1, timeout=PATIENCE)
        assert worker.stop() < STOPS_WITHIN


def test_celery_connects_at_once_where_that_is_asked_for(
    env: dict[str, str], server: FakeServer, tmp_path: Path
) -> None:
    with celery(tmp_path, [example.code for example in examples(PAGE, "python")], env) as (worker, _):
        server.wait_for_connection(2, timeout=PATIENCE)  # two processes
        assert worker.stop() < STOPS_WITHIN
