"""Metrics for Prometheus, of clients and relays: ``RealtimeCollector(client)``.

Where one process answers the scrapes, the counters are read when it is scraped, and events cost nothing more. Under
``PROMETHEUS_MULTIPROC_DIR`` (gunicorn's workers, for instance) each process writes its figures to files instead, as
prometheus_client wants it, once a second and when a status changes, from one thread.
"""

from __future__ import annotations

import atexit
import functools
import os
import queue
import threading
from collections.abc import Iterable, Iterator
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

WRITE_EVERY = 1.0
"""Seconds between two writes to the files of a multi-process site."""
LAST_WRITE = 0.5
"""Seconds that the last write may take, at the process's end."""
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
        folder = os.environ.get(FOLDER) or os.environ.get(FOLDER.lower(), "")  # as prometheus_client also knows it
        if self._in_files and not os.path.isdir(folder):
            raise ValueError(f"{FOLDER}: {folder!r:.120} is not allowed; allowed: a folder that is there")
        self._writers: dict[int, _Writer] = {}  # by process; filled by setdefault alone, which is atomic
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
        """Export it no longer. What was counted of it under ``PROMETHEUS_MULTIPROC_DIR`` stays counted."""
        last = self._sources.remove(source)
        # Before its dispatcher has told of its first change there is no writer, but there may be figures.
        if self._in_files and any(value for _, measure, _, value in _figures(last) if measure.kind is Kind.COUNTER):
            self._writer().bid_farewell(last)

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
        registry.register(_Files() if self._in_files else self)
        return encode(registry), media_type

    def describe(self) -> Iterable[Metric]:
        """The names, for the registry."""
        return [_family(kind, measure) for kind, table in TABLES.items() for measure in table]

    def _changed(self) -> None:
        if self._in_files:
            self._writer().wake()

    def _writer(self) -> _Writer:
        """That of this process; it is there once there is something to write."""
        new = _Writer(self._sources)
        writer = self._writers.setdefault(os.getpid(), new)
        if writer is new:
            writer.start()
        return writer


class _Files(Collector):
    """What all processes of a site have written of clients and relays."""

    def collect(self) -> Iterable[Metric]:
        ours = tuple(f"realtime_{kind}_" for kind in TABLES)
        everything: Iterable[Metric] = MultiProcessCollector(None).collect()  # type: ignore[no-untyped-call]
        return [metric for metric in everything if metric.name.startswith(ours)]


class _Writer:
    """Writes the figures of one process to prometheus_client's files, from a thread of its own.

    Its thread alone knows what was written, so that nothing is counted twice.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._awake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._live, name="rtc-prometheus", daemon=True)
        self._counted: dict[tuple[int, Counter], float] = {}
        self._shown: set[Gauge] = set()
        self._leaving: queue.SimpleQueue[tuple[Source, Reading]] = queue.SimpleQueue()

    def start(self) -> None:
        """Start the thread; it ends with the process, after a last write."""
        self._thread.start()
        atexit.register(self._end)

    def bid_farewell(self, last: list[tuple[Source, Reading]]) -> None:
        """Write the last figures of what is exported no longer."""
        for reading in last:
            self._leaving.put(reading)
        self.wake()

    def wake(self) -> None:
        """Write now."""
        self._awake.set()

    def _end(self) -> None:
        self._stopping = True
        self._awake.set()
        self._thread.join(LAST_WRITE)

    def _live(self) -> None:
        stopping = False
        while not stopping:
            self._awake.wait(WRITE_EVERY)
            self._awake.clear()
            stopping = self._stopping
            leaving = [self._leaving.get_nowait() for _ in range(self._leaving.qsize())]
            readings = list(self._sources.readings())
            with _writing:
                self._count(leaving)
                self._write(readings)

    def _write(self, readings: list[tuple[Source, Reading]]) -> None:
        self._counted = self._count(readings)
        shown = {}
        for source, measure, labels, value in _figures(readings):
            if measure.kind is not Kind.COUNTER:
                shown[_gauge(source.kind, measure).labels(*labels)] = value
        for gauge in self._shown - shown.keys():
            gauge.set(0)  # what is gone has nothing waiting
        for gauge, value in shown.items():
            gauge.set(value)
        self._shown = set(shown)

    def _count(self, readings: list[tuple[Source, Reading]]) -> dict[tuple[int, Counter], float]:
        """Add what was counted since the last time; returns what is counted now."""
        counted = {}
        for source, measure, labels, value in _figures(readings):
            if measure.kind is Kind.COUNTER:
                counter = _counter(source.kind, measure).labels(*labels)
                counted[source.number, counter] = value
                counter.inc(value - self._counted.get((source.number, counter), 0.0))
        return counted


def _figures(
    readings: list[tuple[Source, Reading]],
) -> Iterator[tuple[Source, Measure, tuple[str, ...], float]]:
    for source, reading in readings:
        for measure in source.measures:
            for value_of_label, value in measure.points(reading):
                yield source, measure, _label_values(measure, source.name, value_of_label), value


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
