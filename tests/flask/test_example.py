"""The example application as a reader would run it: under gunicorn and under Flask's own server, with real visitors."""

from __future__ import annotations

import contextlib
import http.cookiejar
import re
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Self
from urllib.parse import urlencode

import psutil
import pytest

from realtime_client.demo import FeedServer
from realtime_client.testing import FakeServer
from tests.client.recording import anomaly
from tests.django.site import EventStream, Served, run, serve, wait_until

APP = Path(__file__).parents[2] / "examples" / "flask_app"
GUNICORN = [sys.executable, "-m", "gunicorn", "app:app", "--bind", "127.0.0.1:0"]
HOOKS = ["--config", "python:realtime_client.integrations.gunicorn"]
THREADED = [*GUNICORN, *HOOKS, "--worker-class", "gthread", "--threads", "64"]
PATIENCE = 40.0


class Visitor:
    """Somebody with a browser's cookies."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._cookies = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._cookies))

    def get(self, path: str, **form: str) -> str:
        data = urlencode(form).encode() if form else None
        with self._opener.open(self.url + path, data, timeout=PATIENCE) as answer:
            text: str = answer.read().decode()
            return text

    def log_in(self) -> Self:
        assert "<script" in self.get("/login", password="demo")
        return self

    def stream(self, **headers: str) -> EventStream:
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self._cookies)
        return EventStream(self.url, "/realtime/stream", {"Cookie": cookies, **headers})


@contextlib.contextmanager
def served(command: list[str], url: str, **env: str) -> Iterator[Served]:
    with serve(*command, env={"FLASK_REALTIME_URL": url, "FLASK_APP": "app", **env}, folder=APP) as running:
        yield running


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


def test_the_live_page_is_behind_the_login(server: FakeServer) -> None:
    with served(THREADED, server.url) as running:
        visitor = Visitor(running.url)
        assert "None so far" in visitor.get("/")
        assert "Sign in" in visitor.get("/realtime/")  # sent there
        with pytest.raises(urllib.error.HTTPError):
            visitor.get("/login", password="wrong")
        visitor.log_in()
        with visitor.stream() as page:
            page.connected()
            server.send(anomaly(1, anomalyScore=0.9, message="<b>bold</b>"))
            page.log("log-1")
        assert "&lt;b&gt;bold&lt;/b&gt;" in wait_until(lambda: _with(visitor, "bold"), "the callback kept it")
        assert len(server.attempts) == 1


def _with(visitor: Visitor, text: str) -> str:
    page = visitor.get("/")
    return page if text in page else ""


@pytest.mark.parametrize(
    "command",
    [
        THREADED,
        [*THREADED, "--preload"],
        [*GUNICORN, *HOOKS, "--worker-class", "gevent"],
        [*GUNICORN, "--worker-class", "sync"],
        [*GUNICORN, "--worker-class", "sync", "--preload"],
    ],
    ids=["gthread", "gthread preload", "gevent", "sync", "sync preload"],
)
def test_a_worker_connects_once_and_stops_at_once(command: list[str], server: FakeServer) -> None:
    with served(command, server.url) as running:
        visitor = Visitor(running.url).log_in()
        wait_until(lambda: '"state">connected' in visitor.get("/"), "connected")
        with visitor.stream() as page:
            if "sync" in command:
                assert [event[0] for event in page] == ["heartbeat", "snapshot"]  # brief: it has an end
            else:
                page.connected()
            assert len(server.attempts) == 1
            took = running.stop()
        said = "\n".join(running.said.all())
    assert took < 10
    assert "Traceback" not in said, said


@pytest.mark.parametrize("how", [[], ["--preload"]], ids=["each its own", "preload"])
def test_each_worker_answers_a_scrape_for_all(how: list[str], server: FakeServer, tmp_path: Path) -> None:
    env = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "FLASK_REALTIME_METRICS": "true"}
    with served([*THREADED, "--workers", "2", *how], server.url, **env) as running:
        visitor = Visitor(running.url)

        def tells(*, connected: int, connections: int) -> bool:
            text = visitor.get("/realtime/metrics")
            return (
                f'realtime_client_connection_status{{client="client",state="connected"}} {connected:.1f}\n' in text
                and f'realtime_client_connections_total{{client="client"}} {connections:.1f}\n' in text
            )

        wait_until(lambda: tells(connected=2, connections=2), "both workers are counted")
        running.processes()[-1].kill()
        wait_until(lambda: tells(connected=2, connections=3), "the dead one has left the gauges, and is counted still")
        assert running.stop() < 10
        said = "\n".join(running.said.all())
    assert "Traceback" not in said, said


def test_the_page_lives_through_the_replacement_of_its_worker(server: FakeServer) -> None:
    with served(THREADED, server.url) as running:
        visitor = Visitor(running.url).log_in()
        with visitor.stream() as page:
            last = page.connected()
            began = time.monotonic()
            running.process.send_signal(signal.SIGHUP)
            assert all(event[0] in ("heartbeat", "change") for event in page)  # to its end
            assert time.monotonic() - began < 10
        with visitor.stream(**{"Last-Event-ID": last}) as page:
            server.wait_for_connection(2, timeout=PATIENCE)
            server.send(anomaly(2))
            assert page.until("snapshot", "reset")[0] == "reset"


def test_the_reloaders_parent_does_not_connect(server: FakeServer) -> None:
    command = [sys.executable, "-m", "flask", "run", "--debug", "--port", "0"]
    with served(command, server.url, PYTHONWARNINGS="ignore") as running:
        assert server.attempts == ()
        visitor = Visitor(running.url)
        wait_until(lambda: '"state">connected' in visitor.get("/"), "connected")
        assert len(server.attempts) == 1


@pytest.mark.parametrize("arguments", [["--help"], ["routes"], ["realtime", "--help"]])
def test_commands_do_not_connect(arguments: list[str], server: FakeServer) -> None:
    env = {"FLASK_REALTIME_URL": server.url, "FLASK_APP": "app"}
    run(sys.executable, "-m", "flask", *arguments, env=env, folder=APP)
    assert server.attempts == ()


def test_one_process_can_listen_for_all(server: FakeServer) -> None:
    command = [sys.executable, "-m", "flask", "realtime", "listen"]
    env = {"FLASK_REALTIME_URL": server.url, "FLASK_APP": "app"}
    with serve(*command, env=env, listening="Connected()", folder=APP) as running:
        assert running.stop() < 10
        assert running.process.returncode == 143
    env["FLASK_REALTIME_URL"] = "ws://127.0.0.1:1/ws"
    with serve(
        *command,
        env={**env, "FLASK_REALTIME_GIVE_UP": "true", "FLASK_REALTIME_MAX_RECONNECT_ATTEMPTS": "0"},
        listening="error: ()",
        folder=APP,
    ) as running:
        assert running.process.wait(PATIENCE) == 4


def test_fifty_pages_and_no_more() -> None:
    """On one process with 64 threads: the store and other views stay quick, and nothing is left of those who leave."""
    with FeedServer(port=0, stats_interval=0.2) as feed, served(THREADED, feed.url) as running:
        visitor = Visitor(running.url).log_in()
        wait_until(lambda: '"state">connected' in visitor.get("/"), "connected")
        worker = _worker(running)
        files = worker.num_fds()
        with contextlib.ExitStack() as stack:
            pages = [stack.enter_context(visitor.stream()) for _ in range(50)]
            for page in pages:
                page.connected()
            with visitor.stream() as refused:
                assert [event[0] for event in refused] == ["busy"]
            feed.publish(anomaly(7))
            for page in pages:
                page.log("log-7")
            took = []
            for _ in range(20):
                began = time.monotonic()
                assert "anomalies" in visitor.get("/")
                took.append(time.monotonic() - began)
            assert sorted(took)[10] < 0.5, took  # some milliseconds on a machine that has nothing else to do
        # Everybody has left; a server notices that when it writes.
        wait_until(lambda: _published(feed) and worker.num_fds() <= files, "no descriptor is left")
        with visitor.stream() as page:
            page.connected()
        assert worker.num_threads() <= 64 + 8  # gunicorn's pool, which it keeps, and the client's few
        assert running.stop() < 10


def _worker(running: Served) -> psutil.Process:
    (worker,) = running.processes()[1:]
    return worker


def _published(feed: FeedServer) -> bool:
    feed.publish({"type": "stats_update", "data": {"stats": {"totalLogs": time.monotonic_ns()}}})
    return True


def test_the_script_shows_what_it_follows(tmp_path: Path) -> None:
    script = APP.parent / "script.py"
    with FeedServer(port=0) as feed:
        command = [sys.executable, str(script)]
        with serve(*command, env={"REALTIME_URL": feed.url}, listening="Connected()", folder=tmp_path) as running:
            feed.publish(anomaly(1, anomalyScore=0.9, source="shop"))
            running.said.until(re.escape("UNKNOWN shop: 'number 1' (score 0.90)"))
            feed.close()
            running.said.until("Connection lost")
            assert running.stop(signal.SIGINT) < 10
            assert running.process.returncode == 0
            assert "-- 1 anomalies in 0 lines" in "\n".join(running.said.all())


def test_the_script_says_what_is_wrong_with_its_settings(tmp_path: Path) -> None:
    script = APP.parent / "script.py"
    env = {"REALTIME_URL": "http://x"}
    with serve(
        sys.executable, str(script), env=env, listening="wrong settings: REALTIME_URL()", folder=tmp_path
    ) as running:
        assert running.process.wait(PATIENCE) == 1
