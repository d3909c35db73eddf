"""A number of clients under every fault, for a time; and what is to be said of it afterwards."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import math
import random
import ssl
import tempfile
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import trustme

from realtime_client import __version__
from tests.soak.chaos import FAULTS
from tests.soak.station import REMEMBERED, Filling, Identity, Station
from tests.soak.steadiness import Sample, growth, take, threads

SPACING = 0.7
"""Seconds between two faults of one client, on average."""
TICK = 0.05
"""Seconds in which the feed of a client has one event, or none."""
PATIENCE = 45.0
"""Seconds within which all clients must be back when the faults have ended."""
MOST_RSS = 24 * 1024 * 1024
MOST_HELD = 1024 * 1024
FILLINGS: tuple[Filling, ...] = ("none", "poller", "none", "polling_url")
EVERY_SECURE = 5
"""Each fifth client speaks TLS."""


@attrs.frozen(kw_only=True)
class Report:
    """What came of a run; `result` is the whole as JSON."""

    violations: list[str]
    result: dict[str, Any]


class Soak:
    """One run.

    Args:
        seconds: How long there are faults.
        seed: Of every choice: which fault comes when and to whom, how it looks, how much is produced.
        clients: How many.
        samples: How often all is calmed and looked at, the first time included.
        say: Is told of the progress.
    """

    def __init__(
        self,
        *,
        seconds: float,
        seed: int,
        clients: int,
        samples: int = 2,
        say: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._seconds = seconds
        self._seed = seed
        self._samples = samples
        self._say = say
        self._dice = random.Random(seed)
        self._feed_dice = random.Random(seed + 1)
        self._clients = clients
        self._tried: Counter[str] = Counter()
        self._undo: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._stations: list[Station] = []
        self._problems: list[str] = []
        self._feeding = threading.Event()
        self._over = threading.Event()

    def run(self) -> Report:
        """Blocks until it is over."""
        tracemalloc.start()
        began = time.monotonic()
        feeder = threading.Thread(target=self._feed, name="soak-feed", daemon=True)
        try:
            with _identity() as identity:
                for number in range(self._clients):
                    self._stations.append(
                        Station(
                            number,
                            filling=FILLINGS[number % len(FILLINGS)],
                            identity=identity if number % EVERY_SECURE == 0 else None,
                            seed=self._seed,
                        )
                    )
                for station in self._stations:
                    station.client.connect(PATIENCE)
                feeder.start()
                samples = self._go_through(began)
                result = self._result(samples, time.monotonic() - began)
        finally:
            self._over.set()
            with contextlib.suppress(RuntimeError):  # never started
                feeder.join(PATIENCE)
            for station in self._stations:
                station.close()
            tracemalloc.stop()
        left = {role: count for role, count in threads().items() if role != "others"}
        if left:
            self._problems.append(f"threads are left after close(): {left}")
        result["violations"] = self._problems
        return Report(violations=self._problems, result=result)

    def _go_through(self, began: float) -> list[Sample]:
        samples: list[Sample] = []
        for station in self._stations:
            for _ in range(REMEMBERED - 100):  # nearly full, so that what is still under way is not forgotten
                station.produce()
        # And what is made once, at first use, is made in the first part.
        for part in range(self._samples):
            self._storm(self._seconds / self._samples)
            self._calm()
            samples.append(take(time.monotonic() - began))
            self._say(f"{part + 1}/{self._samples}: {sum(self._tried.values())} faults; {samples[-1].shown()}")
        return samples

    # The weather

    def _storm(self, seconds: float) -> None:
        self._feeding.set()
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            while self._undo and self._undo[0][0] <= now:
                heapq.heappop(self._undo)[2]()
            self._fault(now)
            self._over.wait(self._dice.expovariate(len(self._stations) / SPACING))

    def _fault(self, now: float) -> None:
        station = self._dice.choice(self._stations)
        name = self._dice.choice(list(FAULTS))
        self._tried[name] += 1
        undo = FAULTS[name](station, self._dice)
        if undo is not None:
            after, call = undo
            heapq.heappush(self._undo, (now + after, next(self._order), call))

    def _calm(self) -> None:
        """End all faults, wait until everybody is back and has everything."""
        while self._undo:
            heapq.heappop(self._undo)[2]()
        for station in self._stations:
            station.proxy.heal()
            station.go_away()  # with what is still in its script
            station.come_back()
        deadline = time.monotonic() + PATIENCE
        for station in self._stations:
            self._settle(station, deadline)
        self._feeding.clear()
        for station in self._stations:
            if not station.ledger.wait_for(station.newest, max(0.0, deadline - time.monotonic())):
                self._problem(station, f"has {station.ledger.complete_to} of {station.newest}")
        expected = dict.fromkeys(("dispatcher", "heartbeat", "reader", "reconnect"), len(self._stations))
        while (seen := _ours()) != expected and time.monotonic() < deadline:
            self._over.wait(0.05)  # until the last polls have ended
        while any(station.proxy.open != 1 for station in self._stations) and time.monotonic() < deadline:
            self._over.wait(0.05)
        for station in self._stations:
            if station.proxy.open != 1:
                self._problem(station, f"{station.proxy.open} connections when all is calm")
        if seen != expected:
            self._problems.append(f"threads when all is calm: {seen}")

    def _settle(self, station: Station, deadline: float) -> None:
        """Wait until a client follows the feed again."""
        while True:
            newest = station.newest
            if station.client.is_connected and station.ledger.wait_for(newest + 1, 1.0):
                return
            if time.monotonic() > deadline:
                break
            self._over.wait(0.05)
        self._problem(station, f"is not back {PATIENCE:g} s after the last fault: {station.client.status}")

    def _feed(self) -> None:
        while not self._over.wait(TICK):
            if not self._feeding.is_set():
                continue
            for station in self._stations:
                if self._feed_dice.random() < 0.5:
                    station.produce()

    # The verdict

    def _problem(self, station: Station, words: str) -> None:
        self._problems.append(f"{station.client.config.name} ({station.filling}): {words}")

    def _result(self, samples: list[Sample], seconds: float) -> dict[str, Any]:
        for station in self._stations:
            for words in [*station.ledger.violations, *station.broken_rules]:
                self._problem(station, words)
            dropped = station.client.metrics().dropped
            if dropped:
                self._problem(station, f"dropped {dropped}")
            if station.filling == "poller" and station.ledger.lost:
                self._problem(station, f"lost {station.ledger.lost} events that its poller knew")
        self._judge_growth(samples[0], samples[-1])
        return {
            "command": f"python -m tests.soak --minutes {self._seconds / 60:g} --seed {self._seed}",
            "version": __version__,
            "seconds": round(seconds, 1),
            "clients": len(self._stations),
            "faults": sum(self._tried.values()),
            "faults_by_kind": dict(sorted(self._tried.items())),
            "by_filling": {filling: self._sums(filling) for filling in sorted(set(FILLINGS))},
            "samples": [sample.shown() for sample in samples],
            "growth": growth(samples[0], samples[-1]),
        }

    def _sums(self, filling: Filling) -> dict[str, int]:
        stations = [station for station in self._stations if station.filling == filling]
        metrics = [station.client.metrics() for station in stations]
        ledgers = [station.ledger for station in stations]
        return {
            "clients": len(stations),
            "produced": sum(station.newest + 1 for station in stations),
            "delivered": sum(ledger.delivered for ledger in ledgers),
            "delivered_by_polls": sum(ledger.polled for ledger in ledgers),
            "lost_and_said_so": sum(ledger.lost for ledger in ledgers),
            "gaps": sum(ledger.gaps for ledger in ledgers),
            "gaps_incomplete": sum(ledger.incomplete for ledger in ledgers),
            "connections": sum(one.connects for one in metrics),
            "failed_attempts": sum(one.failed_attempts for one in metrics),
            "malformed": sum(one.malformed for one in metrics),
        }

    def _judge_growth(self, before: Sample, after: Sample) -> None:
        if after.descriptors > before.descriptors + len(self._stations):
            self._problems.append(f"descriptors: {before.descriptors}, then {after.descriptors}")
        if after.threads != before.threads:
            self._problems.append(f"threads: {before.threads}, then {after.threads}")
        if after.rss > before.rss + MOST_RSS:
            self._problems.append(f"resident memory: {before.rss}, then {after.rss} bytes")
        if after.held > before.held + MOST_HELD:
            self._problems.append(f"memory held by the package's lines: {before.held}, then {after.held} bytes")


def _ours() -> dict[str, int]:
    return {role: count for role, count in threads().items() if role != "others"}


@contextlib.contextmanager
def _identity() -> Iterator[Identity]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with tempfile.TemporaryDirectory() as directory:
        ca_file = Path(directory) / "ca.pem"
        authority.cert_pem.write_to_path(str(ca_file))
        yield Identity(context, str(ca_file))
