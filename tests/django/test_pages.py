"""Fifty pages on one process: what they take, what is left of them, and that everybody else is served."""

from __future__ import annotations

import contextlib
import itertools
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from realtime_client.testing import FakeServer
from tests.client.recording import anomaly
from tests.django.site import Served, Visitor, serve, wait_until

PAGES = 50
NUMBERS = itertools.count(100)
QUICK = 5.0
"""Seconds for a page of the site; the machine may be busy, and so is the process."""
UVICORN = ("uvicorn", "project.asgi:application", "--port", "0", "--timeout-graceful-shutdown", "5")
GTHREAD = (
    *("gunicorn", "project.wsgi", "--bind", "127.0.0.1:0", "--worker-class", "gthread", "--threads", "64"),
    *("--config", "python:realtime_client.integrations.gunicorn"),
)
STOPS_WITHIN = 10.0
"""Seconds; the command asks for five after which open streams are cut, and the machine may be busy."""


@pytest.fixture(params=[UVICORN, GTHREAD], ids=["uvicorn", "gthread"])
def served(request: pytest.FixtureRequest, env: dict[str, str]) -> Iterator[Served]:
    with serve(sys.executable, "-m", *request.param, env=env) as served:
        yield served


def database_files(process: psutil.Process) -> int:
    return sum("sqlite3" in file.path for file in process.open_files())


def test_fifty_pages(served: Served, server: FakeServer) -> None:
    asynchronous = "uvicorn" in served.process.args  # type: ignore[operator]
    visitor = Visitor(served.url).log_in()
    wait_until(lambda: '"state">connected' in visitor.get("/"), "connected")
    worker = served.processes()[-1]
    threads, descriptors = worker.num_threads(), worker.num_fds()
    with contextlib.ExitStack() as stack:
        pages = [stack.enter_context(visitor.stream()) for _ in range(PAGES)]
        for page in pages:
            page.until("snapshot", "reset")
        with visitor.stream() as one_too_many:
            assert one_too_many.until("busy")[1] == {"retry": 15.0}
        server.send(anomaly(1))
        for page in pages:
            page.log("log-1")
        began = time.monotonic()
        assert '"anomalies">1<' in visitor.get("/")
        assert time.monotonic() - began < QUICK
        wait_until(lambda: database_files(worker) == 0, "no page holds a database connection")
        if asynchronous:
            wait_until(lambda: worker.num_threads() <= threads + 1, "the only thread is the one that makes the frames")
        assert len(server.attempts) == 1
    if not asynchronous:  # only a write tells that somebody has left, and the second one at that
        wait_until(lambda: _feel(server, worker, descriptors), "closed pages are noticed")
    wait_until(lambda: worker.num_fds() <= descriptors, "every descriptor is given back")
    if asynchronous:
        wait_until(lambda: worker.num_threads() <= threads, "the thread ends with the last page")
    with visitor.stream() as again:
        again.until("snapshot")


def _feel(server: FakeServer, worker: psutil.Process, descriptors: int) -> bool:
    server.send(anomaly(next(NUMBERS)))
    return bool(worker.num_fds() <= descriptors)


def test_a_stream_goes_on_where_it_was_cut(served: Served, server: FakeServer) -> None:
    visitor = Visitor(served.url).log_in()
    with visitor.stream() as other, visitor.stream() as cut:
        other.connected()
        before = cut.connected()
        cut.close()
        server.send(anomaly(1))
        other.log("log-1")
        with visitor.stream(**{"Last-Event-ID": before}) as back:
            assert back.until("change", "snapshot", "reset")[0] == "change"
        with visitor.stream(f"/realtime/stream?last_event_id={before}") as back:
            assert back.until("change", "snapshot", "reset")[0] == "change"
        with visitor.stream(**{"Last-Event-ID": "another-1"}) as back:
            assert back.until("change", "snapshot", "reset")[0] == "reset"


def test_it_stops_with_open_streams(served: Served) -> None:
    visitor = Visitor(served.url).log_in()
    with visitor.stream() as page:
        page.until("snapshot")
        assert served.stop() < STOPS_WITHIN


def test_a_page_that_reads_nothing_holds_nobody_up(served: Served, server: FakeServer) -> None:
    visitor = Visitor(served.url).log_in()
    with visitor.stream(), visitor.stream() as reading:
        reading.connected()  # what is sent before is sent to nobody
        for number in range(20):
            server.send(anomaly(number))
            reading.log(f"log-{number}")
