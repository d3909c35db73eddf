"""Metrics for Prometheus, in one process and in many."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from realtime_client import ConnectionState, RealtimeClient, shared
from realtime_client.demo import FeedServer
from realtime_client.integrations.prometheus import RealtimeCollector
from realtime_client.measures import CLIENT, RELAY, Reading
from realtime_client.relay import Relay, RelayState
from realtime_client.testing import FakeServer, accept, repeat, send
from tests.client.conftest import Make
from tests.client.recording import Record, anomaly
from tests.outages.processes import in_child, process

PATIENCE = 30.0
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(registry: CollectorRegistry) -> Series:
    """What Prometheus makes of a scrape."""
    families = text_string_to_metric_families(generate_latest(registry).decode())
    samples = [sample for family in families for sample in family.samples]
    found = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    assert len(found) == len(samples), "a series appears twice"
    return found


def value(series: Series, name: str, **labels: str) -> float | None:
    return series.get((name, frozenset(labels.items())))


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry(auto_describe=True)


def test_figures_are_those_of_the_client(server: FakeServer, make: Make, registry: CollectorRegistry) -> None:
    client, told = make(server.url, name="pager", heartbeat="none"), Record()
    collector = RealtimeCollector(client, registry=registry)
    client.on("new_anomaly", told)
    client.connect(PATIENCE)
    server.send(anomaly(1))
    server.send("no JSON")
    server.send(anomaly(1))
    told.wait_for(2)
    server.send(anomaly(2))
    told.wait_for(3)
    client.close()
    found = scraped(registry)
    assert collector is not None
    assert value(found, "realtime_client_received_events_total", client="pager") == 1 + 3  # a greeting first
    assert value(found, "realtime_client_malformed_messages_total", client="pager") == 1
    assert value(found, "realtime_client_duplicate_logs_total", client="pager") == 1
    assert value(found, "realtime_client_connections_total", client="pager") == 1
    assert value(found, "realtime_client_connection_status", client="pager", state="closed") == 1
    assert value(found, "realtime_client_connection_status", client="pager", state="connected") == 0
    reading = Reading(client.metrics(), client.status, client.config.max_pending_events)
    for measure in CLIENT:
        for of, figure in measure.points(reading):
            labels = {"client": "pager", **({measure.label: of} if measure.label else {})}
            assert value(found, measure.prometheus_name, **labels) == pytest.approx(figure), measure.name
    assert {name for name, _ in found} <= {measure.prometheus_name for measure in CLIENT}


def test_a_scrape_does_not_connect(server: FakeServer, make: Make, registry: CollectorRegistry) -> None:
    client = make(server.url)
    collector = RealtimeCollector(client, registry=registry)
    found = scraped(registry)
    assert value(found, "realtime_client_connection_status", client="test0", state="idle") == 1
    assert client.status.state is ConnectionState.IDLE
    assert server.attempts == ()
    assert collector is not None


def test_several_clients_have_names(make: Make, registry: CollectorRegistry) -> None:
    one, two = make(name="one"), make(name="two")
    collector = RealtimeCollector(one, two, registry=registry)
    collector.add(one)  # is there already
    found = scraped(registry)
    assert value(found, "realtime_client_waiting_limit", client="one") == 10_000
    assert value(found, "realtime_client_waiting_limit", client="two") == 10_000
    with pytest.raises(ValueError, match="name: there is a client 'two' already; allowed: a name of its own"):
        collector.add(make(name="two"))
    collector.remove(two)
    collector.remove(two)
    assert value(scraped(registry), "realtime_client_waiting_limit", client="two") is None
    collector.add(make(name="two"))
    assert value(scraped(registry), "realtime_client_waiting_limit", client="two") == 10_000


def test_a_dropped_client_is_not_held(registry: CollectorRegistry) -> None:
    client = RealtimeClient(name="gone")
    collector = RealtimeCollector(client, registry=registry)
    gone = weakref.ref(client)
    del client
    gc.collect()
    assert gone() is None
    assert scraped(registry) == {}
    collector.add(RealtimeClient(name="gone"))


def test_a_shared_client(server: FakeServer, registry: CollectorRegistry) -> None:
    with shared(server.url, name="ours") as client:
        RealtimeCollector(client, registry=registry)
        assert value(scraped(registry), "realtime_client_connections_total", client="ours") == 1


def test_one_collector_for_a_registry(registry: CollectorRegistry) -> None:
    RealtimeCollector(registry=registry)
    with pytest.raises(ValueError, match="Duplicated"):
        RealtimeCollector(registry=registry)


def test_figures_are_those_of_the_relay(url: str, registry: CollectorRegistry) -> None:
    with FeedServer(port=0) as feed, Relay(feed.url, url, name="r1") as relay, RealtimeClient(url) as client:
        RealtimeCollector(relay, client, registry=registry)
        assert relay.wait_for(RelayState.ACTIVE, PATIENCE)
        feed.publish(anomaly(1))
        client.wait_for("new_anomaly", timeout=PATIENCE)
        found = scraped(registry)
        assert value(found, "realtime_relay_status", relay="r1", state="active") == 1
        assert value(found, "realtime_relay_terms_total", relay="r1") == 1
        assert value(found, "realtime_relay_waiting_limit", relay="r1") == relay.max_pending_events
        assert value(found, "realtime_client_source_status", client="client", transport="redis") == 1
        assert {name for name, _ in found} <= {measure.prometheus_name for measure in (*CLIENT, *RELAY)}
        assert relay.stop()
        found = scraped(registry)
        assert value(found, "realtime_relay_status", relay="r1", state="stopped") == 1
        # Only now: a reader may have an event before Redis has answered the relay that it was appended.
        assert (value(found, "realtime_relay_appended_events_total", relay="r1") or 0) >= 1


def test_a_relay_that_a_child_starts_is_exported_when_it_is_added_again(url: str, registry: CollectorRegistry) -> None:
    with FeedServer(port=0) as feed, Relay(feed.url, url, name="r1", lease=1.0) as relay:
        collector = RealtimeCollector(relay, registry=registry)
        assert relay.wait_for(RelayState.ACTIVE, PATIENCE)

        def live() -> list[float | None]:
            before = value(scraped(registry), "realtime_relay_status", relay="r1", state="standby")
            relay.start()
            assert relay.wait_for(RelayState.STANDBY, PATIENCE)
            collector.add(relay)
            collector.add(relay)
            after = value(scraped(registry), "realtime_relay_status", relay="r1", state="standby")
            relay.stop()
            return [before, after]

        assert in_child(live) == [None, 1]
        assert value(scraped(registry), "realtime_relay_status", relay="r1", state="active") == 1


# Many processes

SITE = """
import json, os
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from realtime_client import RealtimeClient
from realtime_client.integrations.prometheus import RealtimeCollector

client = RealtimeClient(os.environ["FEED"], name="web", heartbeat="none", reconnect_delay=0.1)
collector = RealtimeCollector(client)
if os.environ.get("CONNECT_FIRST"):
    client.connect(20)


def app(environ, start_response):
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [generate_latest(registry)]
"""
CONFIGURATION = """
import json, os, pathlib
from prometheus_client import multiprocess

def post_worker_init(worker):
    import site_of_many
    site_of_many.client.connect(wait=False)

def worker_exit(server, worker):
    import site_of_many
    site_of_many.client.close()
    told = {"received": site_of_many.client.metrics().received}
    pathlib.Path(os.environ["TRUTH"], str(os.getpid())).write_text(json.dumps(told))

def child_exit(server, worker):
    multiprocess.mark_process_dead(worker.pid)
"""
WORKERS = 3


@contextmanager
def gunicorn(folder: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Some workers."""
    (folder / "site_of_many.py").write_text(SITE)
    (folder / "configuration.py").write_text(CONFIGURATION)
    command = [sys.executable, "-m", "gunicorn", "--chdir", str(folder), "--workers", str(WORKERS), *options]
    command += ["--config", str(folder / "configuration.py"), "--no-control-socket", "--graceful-timeout", "20"]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        command += ["--bind", f"fd://{listening.fileno()}", "site_of_many:app"]
        with process(*command, pass_fds=[listening.fileno()]) as running:
            yield running


def in_files(folder: Path) -> Series:
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))
    try:
        return scraped(registry)
    except (OSError, ValueError, struct.error):  # a file that is just being made
        return {}


def wait_until(enough: Callable[[Series], object], folder: Path) -> Series:
    """Scrape until it is enough, as nothing tells when somebody else's file has changed."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = in_files(folder)
        if enough(found):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("metrics", "truth"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "metrics"))
    monkeypatch.setenv("TRUTH", str(tmp_path / "truth"))
    monkeypatch.setenv("PYTHONWARNINGS", "ignore::DeprecationWarning")
    return tmp_path


@pytest.mark.timeout(120)
@pytest.mark.parametrize("how", ["each its own", "preloaded", "connected before the fork"])
def test_workers_add_up(how: str, folder: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEED", server.url)
    first = how.startswith("connected")
    if first:
        monkeypatch.setenv("CONNECT_FIRST", "yes")
    metrics, everybody = folder / "metrics", WORKERS + first

    def connected(found: Series) -> float | None:
        return value(found, "realtime_client_connection_status", client="web", state="connected")

    def received(found: Series) -> float:
        return value(found, "realtime_client_received_events_total", client="web") or 0

    with gunicorn(folder, *([] if how == "each its own" else ["--preload"])) as running:
        wait_until(lambda found: connected(found) == everybody, metrics)
        for number in range(20):
            server.send(anomaly(number))
        found = wait_until(lambda found: received(found) == (1 + 20) * everybody, metrics)
        assert value(found, "realtime_client_connections_total", client="web") == everybody
        assert value(found, "realtime_client_waiting_limit", client="web") == 10_000 * everybody
        assert value(found, "realtime_client_connection_status", client="web", state="idle") == 0
        assert (value(found, "realtime_client_last_message_timestamp_seconds", client="web") or 0) > time.time() - 60
        # One is killed, and another takes its place: what it counted stays, what it was is gone.
        psutil.Process(running.pid).children()[-1].send_signal(signal.SIGKILL)
        wait_until(
            lambda found: (
                connected(found) == everybody
                and value(found, "realtime_client_connections_total", client="web") == everybody + 1
            ),
            metrics,
        )
        server.send(anomaly(20))
        wait_until(lambda found: received(found) == (1 + 21) * everybody + 1, metrics)
        # The last events are counted although the end comes at once.
        server.send(anomaly(21))
        running.terminate()
        output = (running.communicate(timeout=40)[0] or b"").decode()
        assert running.returncode == 0, output
        assert "Traceback" not in output, output
    told = [json.loads(path.read_text())["received"] for path in (folder / "truth").iterdir()]
    assert len(told) == WORKERS
    masters = received(in_files(metrics)) - 21 - sum(told)
    assert masters in ((22, 23) if first else (0,))


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


FAILS = """
import logging
from realtime_client.integrations.prometheus import _Writer
from realtime_client.integrations.sources import Sources

def fail():
    raise OSError("no space left")

logging.basicConfig()
writer = _Writer(Sources())
for write in (fail, fail, writer._write):
    writer._write = write
    assert writer.request().wait(10)
"""


def test_a_write_that_fails_is_told_once_and_is_not_the_last(folder: Path) -> None:
    done = run_python(FAILS)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("could not be written") == 1


def test_a_file_that_another_process_is_just_making_fails_no_scrape(folder: Path) -> None:
    (folder / "metrics" / "counter_1.db").touch()
    prints = "print(RealtimeCollector(registry=None).exposition()[0])"
    done = run_python(f"from realtime_client.integrations.prometheus import RealtimeCollector; {prints}")
    assert done.stdout == "b''\n", done.stderr


LIFE = """
import os, threading
import attrs
from prometheus_client import REGISTRY, generate_latest
from realtime_client import RealtimeClient, shared
from realtime_client.integrations import prometheus
from realtime_client.integrations.prometheus import RealtimeCollector
from realtime_client.integrations.sources import Sources

def writes():
    return "rtc-prometheus" in [thread.name for thread in threading.enumerate()]

def follow(client):
    events = client.events("new_anomaly")
    client.connect(20)
    next(events), next(events)

{before}
client = RealtimeClient("{url}", name="short", heartbeat="none")
{added}
collector = RealtimeCollector(client)
assert not writes()
{then}
assert b"realtime_client" not in generate_latest(REGISTRY)
"""


def live(folder: Path, server: FakeServer, then: str, *, before: str = "", added: str = "") -> Series:
    """What is in the files when such a process has ended."""
    server.then = [accept(), send(anomaly(1)), send(anomaly(2))]
    done = run_python(LIFE.format(url=server.url, before=before, added=added, then=then))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return in_files(folder / "metrics")


def check(found: Series, lives: int = 1) -> None:
    """Everything is counted, and once; and nothing is connected."""
    assert value(found, "realtime_client_connections_total", client="short") == lives
    assert value(found, "realtime_client_received_events_total", client="short") == 2 * lives
    assert value(found, "realtime_client_connection_status", client="short", state="connected") == 0
    assert value(found, "realtime_client_waiting_limit", client="short") in (0, 10_000)


@pytest.mark.parametrize("at_once", ["", "; os._exit(0)"])
@pytest.mark.parametrize("end", ["client.close()", "collector.remove(client)"])
def test_what_a_short_life_counted_is_written_at_its_end(
    end: str, at_once: str, folder: Path, server: FakeServer
) -> None:
    check(live(folder, server, f"follow(client); {end}{at_once}"))


def test_the_end_of_a_process_needs_no_word(folder: Path, server: FakeServer) -> None:
    check(live(folder, server, "follow(client)"))


BUSY = """
gate = threading.Event()
client.on_status(lambda _: gate.wait(20))
"""
NO_THREADS = """
def refuse(thread):
    raise RuntimeError("can't create new thread at interpreter shutdown")

threading.Thread.start = refuse
"""


@pytest.mark.parametrize("end", ["", "collector.remove(client)"])
def test_an_end_before_callbacks_heard_of_anything_is_written(end: str, folder: Path, server: FakeServer) -> None:
    """From Python 3.12 on, an interpreter that ends starts no thread."""
    check(live(folder, server, f"follow(client); assert not writes()\n{end}\n{NO_THREADS}", added=BUSY))


def test_so_is_the_end_of_a_child(folder: Path, server: FakeServer) -> None:
    forked = """
follow(client)
if os.fork():
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
else:
    follow(client)
    assert not writes()
"""
    check(live(folder, server, forked, added=BUSY), lives=2)


@pytest.mark.parametrize("make", ["RealtimeClient", "shared"])
def test_who_is_closed_may_be_let_go(make: str, folder: Path, server: FakeServer) -> None:
    main = f"""
def main():
    with {make}("{server.url}", heartbeat="none", name="let go") as client:
        collector.add(client)
        client.wait_for("new_anomaly", timeout=20)
        return client.metrics().received

main()
os._exit(0)
"""
    server.then = [accept(), repeat(None, send(anomaly(1)), interval=0.05)]
    done = run_python(LIFE.format(url=server.url, before="", added="", then=main))
    assert done.returncode == 0, done.stderr
    found = in_files(folder / "metrics")
    assert value(found, "realtime_client_connections_total", client="let go") == 1
    assert (value(found, "realtime_client_received_events_total", client="let go") or 0) >= 1
    assert value(found, "realtime_client_connection_status", client="let go", state="connected") == 0
    assert value(found, "realtime_client_connection_status", client="let go", state="closed") == 1


def test_who_is_removed_and_added_again_is_counted_once(folder: Path, server: FakeServer) -> None:
    check(live(folder, server, "follow(client); collector.remove(client); collector.add(client)"))


def test_who_is_removed_while_figures_are_written_is_counted_once(folder: Path, server: FakeServer) -> None:
    """The writer is stopped where it has counted and is about to read again, until somebody is removing the client."""
    slow = """
turns, readings = [], Sources.readings
followed, reading, removing = threading.Event(), threading.Event(), threading.Event()

def read_late(sources):
    if threading.current_thread().name == "rtc-prometheus" and followed.is_set():
        turns.append(None)
        if len(turns) == 2:
            reading.set()
            assert removing.wait(20)
    return readings(sources)

Sources.readings = read_late
"""
    remove = """
follow(client)
followed.set()  # two turns come by themselves
assert reading.wait(20)
remover = threading.Thread(target=collector.remove, args=[client])
remover.start()
remover.join(0.2)  # it waits for the writer, or is done already, and either is right
removing.set()
remover.join(20)
"""
    check(live(folder, server, remove, before=slow))


def test_a_figure_that_steps_back_is_not_counted_again(folder: Path, server: FakeServer) -> None:
    backwards = """
follow(client)
collector.add(client)
collector.remove(object())
metrics = RealtimeClient.metrics
RealtimeClient.metrics = lambda self: attrs.evolve(metrics(self), received=0)
collector.remove(object())
RealtimeClient.metrics = metrics
assert writes()
"""
    check(live(folder, server, backwards))


@pytest.mark.parametrize("added", ["", BUSY])
def test_files_that_hang_do_not_keep_a_process(added: str, folder: Path, server: FakeServer) -> None:
    stuck = "prometheus.PATIENCE = 0.1; follow(client); prometheus._writing.acquire()"
    live(folder, server, stuck, added=added)


def test_without_the_library_the_error_says_what_to_install() -> None:
    code = "import sys; sys.modules['prometheus_client'] = None\nimport realtime_client.integrations.prometheus"
    assert "pip install 'realtime-client[prometheus]'" in run_python(code).stderr


def test_a_folder_that_is_not_there_is_named() -> None:
    code = "from realtime_client.integrations.prometheus import RealtimeCollector\nRealtimeCollector(registry=None)"
    done = run_python(code, PROMETHEUS_MULTIPROC_DIR="/no/such/folder")
    last = done.stderr.splitlines()[-1]
    assert last == (
        "ValueError: PROMETHEUS_MULTIPROC_DIR: '/no/such/folder' is not allowed; allowed: a folder that is there"
    )


def test_a_folder_may_be_named_in_lower_case(tmp_path: Path) -> None:
    """As prometheus_client wanted it at first, and accepts it still."""
    left = tmp_path / "gauge_liveall_7.db"
    left.touch()
    code = """
import types, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # prometheus_client's, of the name
from realtime_client.integrations.gunicorn import child_exit
child_exit(None, types.SimpleNamespace(pid=7))
from realtime_client.integrations.prometheus import RealtimeCollector
RealtimeCollector(registry=None)
"""
    done = run_python(code, prometheus_multiproc_dir=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert not left.exists()


def test_an_exposition_is_of_these_sources_alone(server: FakeServer, registry: CollectorRegistry) -> None:
    with RealtimeClient(server.url, name="one") as one, RealtimeClient(server.url, name="two") as two:
        collector = RealtimeCollector(one, registry=registry)
        RealtimeCollector(two, registry=None)
        body, media_type = collector.exposition()
        assert media_type.startswith("text/plain; version=0.0.4")
        assert b'realtime_client_connection_status{client="one",state="connected"} 1.0' in body
        assert b'client="two"' not in body
        body, media_type = collector.exposition("application/openmetrics-text; version=1.0.0")
        assert media_type.startswith("application/openmetrics-text; version=1.0.0")
        assert body.endswith(b"# EOF\n")
        for nonsense in ("application/openmetrics-text; version=abc", ";;=,,", "text/plain; version="):
            assert collector.exposition(nonsense)[1].startswith("text/plain; version=0.0.4")
