"""Metrics for Prometheus, of clients and relays: ``RealtimeCollector(client)``.

Where one process answers the scrapes, the counters are read when it is scraped, and events cost nothing more. Under
``PROMETHEUS_MULTIPROC_DIR`` (gunicorn's workers, for instance) each process writes its figures to files instead, as
prometheus_client wants it, once a second and when a status changes, from one thread.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import glob
import logging
import os
import queue
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, values
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.multiprocess import MultiProcessCollector
    from prometheus_client.registry import Collector
except ImportError:
    raise ImportError(
        "metrics for Prometheus need prometheus_client: pip install 'realtime-client[prometheus]'"
    ) from None

from realtime_client.integrations.sources import Source, Sources
from realtime_client.measures import CLIENT, RELAY, Kind, Measure, Reading

__all__ = ["RealtimeCollector"]

logger: logging.Logger = logging.getLogger("realtime_client.prometheus")

WRITE_EVERY = 1.0
"""Seconds between two writes to the files of a multi-process site."""
PATIENCE = 5.0
"""Seconds that somebody waits for a write, which takes milliseconds: when a client is closed or removed, and when the
process ends."""
TABLES = {"client": CLIENT, "relay": RELAY}
FOLDER = "PROMETHEUS_MULTIPROC_DIR"

_writing = threading.Lock()
"""Held while something is written, and over every fork: prometheus_client has one lock for all its values, which a
child would find locked for ever."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_writing.acquire, after_in_parent=_writing.release, after_in_child=_writing.release)


class RealtimeCollector(Collector):
    """Exports the metrics of clients and relays to Prometheus.

    Make it once in a process, and hold the clients yourself: here they are held weakly. Each has the label ``client``
    (or ``relay``) with its ``name``, by which several must differ.

    Args:
        sources: `RealtimeClient`, what `shared` returned, or `Relay`; more by `add`.
        registry: Where it is registered; ``None`` for nowhere. Under ``PROMETHEUS_MULTIPROC_DIR`` the figures come out
            of prometheus_client's ``MultiProcessCollector``, and of no other registry.

    Raises:
        ValueError: Two sources have the same name, or there is another collector in the registry; or
            ``PROMETHEUS_MULTIPROC_DIR`` is set, and no folder.
    """

    def __init__(self, *sources: Any, registry: CollectorRegistry | None = REGISTRY) -> None:
        self._sources = Sources(self._changed)
        self._in_files = bool(values.ValueClass._multiprocess)
        # The second is how prometheus_client knew it before.
        self._folder = os.environ.get(FOLDER) or os.environ.get(FOLDER.lower(), "")
        if self._in_files and not os.path.isdir(self._folder):
            raise ValueError(f"{FOLDER}: {self._folder!r:.120} is not allowed; allowed: a folder that is there")
        self._writers: dict[int, _Writer] = {}  # by process; filled by setdefault alone, which is atomic
        if self._in_files:
            atexit.register(_at_exit, weakref.ref(self))
        if registry is not None:
            registry.register(self)
        for source in sources:
            self.add(source)

    def add(self, source: Any) -> None:
        """Export another client or relay, too.

        Raises:
            ValueError: There is another one of that name.
        """
        self._sources.add(source)

    def remove(self, source: Any) -> None:
        """Export it no longer. What was counted of it under ``PROMETHEUS_MULTIPROC_DIR`` is written then, and stays."""
        self._leave(lambda: self._sources.remove(source))

    def collect(self) -> Iterable[Metric]:
        """What Prometheus asks for at a scrape; on the thread that answers it."""
        if self._in_files:
            return
        readings = list(self._sources.readings())
        for kind in dict.fromkeys(source.kind for source, _ in readings):
            for measure in TABLES[kind]:
                family = _family(kind, measure)
                for source, reading in readings:
                    if source.kind == kind:
                        for value_of_label, value in measure.points(reading):
                            family.add_metric(_label_values(measure, source.name, value_of_label), value)
                yield family

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """The answer to a scrape of these metrics and no others, for a site that has no other way to serve them.

        Under ``PROMETHEUS_MULTIPROC_DIR`` it is read from the files, and tells of every process that writes there.

        Args:
            accept: The request's ``Accept``. Whoever asks for OpenMetrics gets that, everybody else the text format.

        Returns:
            The body, and its media type.
        """
        try:
            encode, media_type = choose_encoder(accept)
        except (TypeError, ValueError):  # a version that is none
            encode, media_type = choose_encoder("")
        registry = CollectorRegistry()
        registry.register(_Files(self._folder) if self._in_files else self)
        return encode(registry), media_type

    def describe(self) -> Iterable[Metric]:
        """The names, for the registry."""
        return [_family(kind, measure) for kind, table in TABLES.items() for measure in table]

    def _changed(self, is_last: bool) -> None:
        if self._in_files:
            done = self._writer().request()
            if is_last:  # whoever has closed a client may let it go, or end the process without a word
                done.wait(PATIENCE)

    def _end(self) -> None:
        self._leave(self._sources.clear)  # and what is closed after this is told to nobody

    def _leave(self, forget: Callable[[], None]) -> None:
        """Write what was counted of something, forget it, and take it out of the gauges."""
        written = self._write()
        forget()
        if written:
            self._write()

    def _write(self) -> bool:
        """Return when everything is in the files that was counted up to now; whether there was something, in time."""
        if self._in_files and (os.getpid() in self._writers or self._sources.are_in_use):
            return self._writer().write()
        return False

    def _writer(self) -> _Writer:
        """That of this process."""
        return self._writers.setdefault(os.getpid(), _Writer(self._sources))


def _at_exit(collector: weakref.ref[RealtimeCollector]) -> None:
    alive = collector()
    if alive is not None:
        alive._end()


class _Files(Collector):
    """What all processes of a site have written of clients and relays.

    Args:
        folder: Where the files are.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        ours = tuple(f"realtime_{kind}_" for kind in TABLES)
        # Not its collect(), which fails on a file that another process is just making, and that is still empty.
        files = glob.glob(os.path.join(glob.escape(self._folder), "*.db"))
        everything: Iterable[Metric] = MultiProcessCollector.merge(  # type: ignore[no-untyped-call]
            [file for file in files if _has_content(file)]
        )
        return [metric for metric in everything if metric.name.startswith(ours)]


def _has_content(file: str) -> bool:
    with contextlib.suppress(FileNotFoundError):  # of a process that has ended
        return os.path.getsize(file) > 0
    return False


class _Writer:
    """Writes the figures of one process to prometheus_client's files.

    A thread does it, from the first request on, so that nobody hangs when the files do. Before that (the first change
    of a status may be told late, behind callbacks that take long) whoever needs a write does it on his own thread,
    because an interpreter that ends starts none any more.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._requests: queue.SimpleQueue[threading.Event] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._live, name="rtc-prometheus", daemon=True)
        self._begun = threading.Lock()  # acquired for ever by whoever starts the thread
        # Guarded by _writing. What was written of each client and relay is known as long as it lives, also when it is
        # removed and added again, so that nothing is counted twice.
        self._counted: weakref.WeakKeyDictionary[Any, dict[Counter, float]] = weakref.WeakKeyDictionary()
        self._shown: set[Gauge] = set()

    def request(self) -> threading.Event:
        """Have everything written that is counted up to now.

        Returns:
            What is set when that is done.
        """
        if self._begun.acquire(blocking=False):
            try:
                self._thread.start()
            except RuntimeError:  # too many; or the interpreter ends
                self._begun.release()
                raise
        done = threading.Event()
        self._requests.put(done)
        return done

    def write(self) -> bool:
        """Return when everything is written that is counted up to now; whether that was done before patience ended."""
        if self._thread.ident is not None:
            return self._thread.is_alive() and self.request().wait(PATIENCE)
        return self._write()

    def _live(self) -> None:
        failing = False
        while True:
            waiting = []
            with contextlib.suppress(queue.Empty):
                waiting.append(self._requests.get(timeout=WRITE_EVERY))
            while not self._requests.empty():
                waiting.append(self._requests.get_nowait())
            try:
                self._write()
            except Exception:  # the folder is gone, or full: the next write may do, and nobody waits for this one
                if not failing:
                    logger.exception("the figures for Prometheus could not be written")
                failing = True
            else:
                failing = False
            for done in waiting:
                done.set()

    def _write(self) -> bool:
        """Read the figures and write them; whether nobody else wrote for longer than patience lasts."""
        # Read before: it takes the locks of clients and relays. Each is held, so that it is there until it is counted.
        readings = [(source, source.ref(), reading) for source, reading in self._sources.readings()]
        if not _writing.acquire(timeout=PATIENCE):
            return False
        try:
            self._put(readings)
        finally:
            _writing.release()
        return True

    def _put(self, readings: list[tuple[Source, Any, Reading]]) -> None:
        shown = {}
        for source, held, reading in readings:
            counted = self._counted.setdefault(held, {})
            for measure in source.measures:
                for value_of_label, value in measure.points(reading):
                    labels = _label_values(measure, source.name, value_of_label)
                    if measure.kind is Kind.COUNTER:
                        _count(counted, _counter(source.kind, measure).labels(*labels), value)
                    else:
                        shown[_gauge(source.kind, measure).labels(*labels)] = value
        for gauge in self._shown - shown.keys():
            gauge.set(0)  # what is gone has nothing waiting
        for gauge, value in shown.items():
            gauge.set(value)
        self._shown = set(shown)


def _count(counted: dict[Counter, float], counter: Counter, value: float) -> None:
    """Add what was counted since the last time."""
    before = counted.get(counter, 0.0)
    if value > before:
        counter.inc(value - before)
        counted[counter] = value


def _label_names(kind: str, measure: Measure) -> tuple[str, ...]:
    return (kind, measure.label) if measure.label else (kind,)


def _label_values(measure: Measure, name: str, value_of_label: str) -> tuple[str, ...]:
    return (name, value_of_label) if measure.label else (name,)


def _family(kind: str, measure: Measure) -> CounterMetricFamily | GaugeMetricFamily:
    made = CounterMetricFamily if measure.kind is Kind.COUNTER else GaugeMetricFamily
    return made(measure.prometheus_name, measure.description, labels=_label_names(kind, measure))


# One of each in a process: two would each remember what they wrote to the same place of the same file.


@functools.cache
def _counter(kind: str, measure: Measure) -> Counter:
    return Counter(measure.prometheus_name, measure.description, _label_names(kind, measure), registry=None)


@functools.cache
def _gauge(kind: str, measure: Measure) -> Gauge:
    return Gauge(
        measure.prometheus_name,
        measure.description,
        _label_names(kind, measure),
        registry=None,
        multiprocess_mode="livesum" if measure.kind is Kind.SUM else "livemax",
    )
