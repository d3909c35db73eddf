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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import trustme

from realtime_client import __version__
from tests.soak.chaos import FAULTS
from tests.soak.station import PROMPT, Filling, Identity, Station
from tests.soak.steadiness import Holdings, Sample, drift, growth, take, take_stock, threads

SPACING = 0.7
"""Seconds between two faults of one client, on average."""
TICK = 0.05
"""Seconds in which the feed of a client has one event, or none."""
PATIENCE = 30.0
"""Seconds within which all clients must be back when the faults have ended."""
SHORT_WHILE = 0.2
"""Seconds for what is under way to arrive, before one more event is sent after it."""
PORTION = 200
"""Events that are produced at once, before the faults begin."""
STEADY_SAMPLES = 3
"""So many in the second half, at the least, or nothing is said of resident memory."""
MOST_DRIFT = {"in_use": 512 * 1024, "rss": 4 * 1024 * 1024}
"""Bytes that may grow in the second half, by a straight line through it. In a run of minutes pools of the allocator are
still growing then."""
MOST_HELD = 64 * 1024
"""Bytes for each client: a table of remembered ids has one of two sizes, whichever it has grown to last."""
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
        samples: How often all is calmed and looked at, the first time included. Between two of them the servers forget
            nothing, so the longer that is, the more they remember.
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
        # One event a tick at most: all of a storm, and of the calm after it.
        self._remembered = math.ceil((seconds / samples + PATIENCE) / TICK)
        self._stations: list[Station] = []
        self._deck: list[str] = []
        self._problems: list[str] = []
        self._strangers: frozenset[threading.Thread] = frozenset()
        self._pen = threading.Lock()  # guards the line below, and is held while the feeds are written
        self._feeding = False
        self._over = threading.Event()

    def run(self) -> Report:
        """Blocks until it is over."""
        tracemalloc.start()
        began = time.monotonic()
        self._strangers = frozenset(threading.enumerate())
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
                            remembered=self._remembered,
                        )
                    )
                for station in self._stations:
                    station.client.connect(PATIENCE)
                feeder.start()
                result = self._go_through(began)
        finally:
            self._over.set()
            with contextlib.suppress(RuntimeError):  # never started
                feeder.join(PATIENCE)
            for station in self._stations:
                station.close()
            tracemalloc.stop()
        if left := threads(self._strangers):
            self._problems.append(f"threads are left after close(): {left}")
        result["violations"] = self._problems
        return Report(violations=self._problems, result=result)

    def _go_through(self, began: float) -> dict[str, Any]:
        clients = len(self._stations)
        roles = dict.fromkeys(("dispatcher", "heartbeat", "reader", "reconnect"), clients)
        # The feeder; and a proxy, a server and its connection for each client.
        expected = {**roles, "others": 1 + 3 * clients}
        self._fill()
        samples: list[Sample] = []
        stock: list[Holdings] = []
        for part in range(self._samples):
            self._storm(self._seconds / self._samples)
            self._calm()
            samples.append(self._look(began, expected, samples[0].descriptors if samples else None))
            # What is made once, at first use, is made in the first part.
            if part in (0, self._samples - 1):
                stock.append(take_stock())
            self._say(f"{part + 1}/{self._samples}: {sum(self._tried.values())} faults; {attrs.asdict(samples[-1])}")
        return self._result(samples, stock[0], stock[-1], time.monotonic() - began)

    def _fill(self) -> None:
        """Let every memory be full, the servers' and the clients', so that none of them grows any more."""
        self._produce(self._stations)
        # What a poll has brought is remembered apart, until the stream repeats it.
        polling = [station for station in self._stations if station.filling != "none"]
        for station in polling:
            station.only_polls()
        self._produce(polling)
        self._calm()

    def _produce(self, stations: list[Station]) -> None:
        """As many events as are remembered, in portions, each of which must arrive."""
        for first in range(0, self._remembered, PORTION):
            for station in stations:
                for _ in range(min(PORTION, self._remembered - first)):
                    station.produce()
            self._settle()

    # The weather

    def _storm(self, seconds: float) -> None:
        """Faults for so long, and until each kind came once."""
        with self._pen:
            self._feeding = True
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end or len(self._tried) < len(FAULTS):
            while self._undo and self._undo[0][0] <= now:
                heapq.heappop(self._undo)[2]()
            self._fault(now)
            self._over.wait(self._dice.expovariate(len(self._stations) / SPACING))

    def _fault(self, now: float) -> None:
        if not self._deck:
            self._deck = self._dice.sample(list(FAULTS), len(FAULTS))
        station, name = self._dice.choice(self._stations), self._deck.pop()
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
            station.heal()
            station.go_away()  # with what is still in its script
            station.come_back()
        with self._pen:
            self._feeding = False
        self._settle()

    def _settle(self) -> None:
        """Wait until every client has everything, or knows what it has missed, which the next event shows."""
        deadline = time.monotonic() + PATIENCE
        behind = self._stations
        while behind := [station for station in behind if not station.ledger.wait_for(station.newest, SHORT_WHILE)]:
            if time.monotonic() > deadline:
                break
            for station in behind:
                station.produce()
        for station in behind:
            has = f"has {station.ledger.complete_to} of {station.newest}"
            self._problem(station, f"{has}, {PATIENCE:g} s after the last fault: {station.client.status}")

    def _look(self, began: float, expected: dict[str, int], descriptors: int | None) -> Sample:
        """A sample in which threads and descriptors are what they have to be.

        Polls and connections that have just ended take a moment, and on a busy machine a heartbeat may be late even
        now: what is left for good is still there when the patience is over.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            sample = take(time.monotonic() - began, self._strangers)
            surplus = descriptors is not None and sample.descriptors != descriptors
            open_ones = [station.proxy.open for station in self._stations]
            if sample.threads == expected and not surplus and open_ones == [1] * len(open_ones):
                return sample
            if time.monotonic() > deadline:
                break
            self._over.wait(SHORT_WHILE)
        if sample.threads != expected:
            self._problems.append(f"threads when all is calm: {sample.threads}, not {expected}")
        if surplus:
            self._problems.append(f"descriptors when all is calm: {sample.descriptors}, at first {descriptors}")
        for station in self._stations:
            if station.proxy.open != 1:
                self._problem(station, f"{station.proxy.open} connections when all is calm")
        return sample

    def _feed(self) -> None:
        while True:
            before = datetime.now(UTC)
            if self._over.wait(TICK):
                return
            if (now := datetime.now(UTC)) - before > PROMPT / 2:  # the whole process was kept waiting
                for station in self._stations:
                    station.way.was_blocked(before, now)
            with self._pen:
                for station in self._stations if self._feeding else ():
                    if self._feed_dice.random() < 0.5:
                        station.produce()

    # The verdict

    def _problem(self, station: Station, words: str) -> None:
        self._problems.append(f"{station.client.config.name} ({station.filling}): {words}")

    def _result(self, samples: list[Sample], before: Holdings, after: Holdings, seconds: float) -> dict[str, Any]:
        for station in self._stations:
            for words in [*station.ledger.violations, *station.broken_rules]:
                self._problem(station, words)
            dropped = station.client.metrics().dropped
            if dropped:
                self._problem(station, f"dropped {dropped}")
            if station.filling == "poller" and station.ledger.lost:
                self._problem(station, f"lost {station.ledger.lost} events that its poller knew")
        drifts = self._drifts(samples[len(samples) // 2 :])
        if after.size > before.size + MOST_HELD * len(self._stations):
            self._problems.append(f"memory held by the package's lines: {before.size}, then {after.size} bytes")
        return {
            "command": f"python -m tests.soak --minutes {self._seconds / 60:g} --seed {self._seed}",
            "version": __version__,
            "seconds": round(seconds, 1),
            "clients": len(self._stations),
            "faults": sum(self._tried.values()),
            "faults_by_kind": dict(sorted(self._tried.items())),
            "by_filling": {filling: self._sums(filling) for filling in sorted(set(FILLINGS))},
            "samples": [attrs.asdict(sample) for sample in samples],
            "drift": drifts,
            "held": {"first": before.size, "last": after.size, "growth": growth(before, after)},
        }

    def _drifts(self, samples: list[Sample]) -> dict[str, int]:
        """How memory changed over these samples; nothing where they are too few."""
        if len(samples) < STEADY_SAMPLES:
            return {}
        at = [sample.at for sample in samples]
        drifts = {name: drift(at, [getattr(sample, name) for sample in samples]) for name in MOST_DRIFT}
        for name, most in MOST_DRIFT.items():
            if drifts[name] > most:
                self._problems.append(f"{name}: {drifts[name]} bytes more in the second half")
        return {"samples": len(samples), **drifts}

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


@contextlib.contextmanager
def _identity() -> Iterator[Identity]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with tempfile.TemporaryDirectory() as directory:
        ca_file = Path(directory) / "ca.pem"
        authority.cert_pem.write_to_path(str(ca_file))
        yield Identity(context, str(ca_file))
