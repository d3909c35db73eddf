"""How long an event takes from the server's send to the start of the callback.

usage: python -m benchmarks.latency WHICH WORK URL [--busy]    one client, once; all: python -m benchmarks latency
WHICH: ours, wsapp, websockets
WORK:  full (typed event, store, callback on another thread), bare (json.loads in the loop that receives)
prints: one JSON object: events, percentiles in microseconds, cpu
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.peers import MODULES, RUN, ObviousWork, be_busy, make_client
from benchmarks.processes import run_client, server
from benchmarks.suite import (
    NAMES,
    Effort,
    Run,
    Verdict,
    at_most,
    median,
    present,
    ratio,
    select,
    table,
    times,
    values,
)

CONTENDERS = (("ours", "full"), ("websockets", "bare"), ("wsapp", "bare"), ("websockets", "full"), ("wsapp", "full"))
SITUATIONS: dict[str, tuple[int, int, bool]] = {
    "1,000 events/s": (1000, 0, False),
    "100 events/s": (100, 0, False),
    "1,000 events/s, busy": (1000, 0, True),
    "1,000 events/s, busy, bursts": (1000, 500, True),
}
"""Events a second, events in each of ten bursts a second, and whether another thread computes."""
SECONDS = 5.0
WARM_UP = 0.1
"""The share of the events, from the first on, that is left out."""
PERCENTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


class Stopwatch:
    """Takes the time at the start of a callback."""

    def __init__(self) -> None:
        self.took: list[int] = []

    def look(self, stats: Any) -> None:
        """Read the sending time from the figures; nanoseconds."""
        self.took.append(time.monotonic_ns() - stats["sent"])

    def percentiles(self) -> dict[str, float]:
        """By the nearest rank, in microseconds."""
        found = sorted(self.took[int(len(self.took) * WARM_UP) :])
        return {name: found[math.ceil(share * len(found)) - 1] / 1000 for name, share in PERCENTILES.items()}


class TimedWork(ObviousWork):
    """The same work as everybody's, with a callback that takes the time."""

    def __init__(self, stopwatch: Stopwatch) -> None:
        self._stopwatch = stopwatch
        super().__init__()

    def _callback(self, event: Any) -> None:
        if type(event).__name__ == "Stats":
            self._stopwatch.look(event.stats)


class TimedBareWork:
    """``json.loads``, and the time."""

    def __init__(self, stopwatch: Stopwatch) -> None:
        self._stopwatch = stopwatch

    def __call__(self, text: str | bytes) -> None:
        """One message."""
        content = json.loads(text)
        if content["type"] == "stats_update":
            self._stopwatch.look(content["data"]["stats"])

    def finish(self) -> None:
        """Nothing is under way."""


def run_ours(url: str, stopwatch: Stopwatch) -> None:
    """This project's client, with its defaults."""
    from benchmarks.following import ONE_CONNECTION, follow  # noqa: PLC0415 - the peers' processes do without it
    from realtime_client import RealtimeClient  # noqa: PLC0415

    client = RealtimeClient(url, **ONE_CONNECTION)
    client.on("stats_update", lambda event: stopwatch.look(event.stats))
    client.on("new_anomaly", lambda event: None)
    follow(client)
    client.close()


def prepare(which: str, work: str, url: str, stopwatch: Stopwatch) -> Callable[[], None]:
    """Import and make, ours and theirs alike, what is there before anything is counted; gives what is."""
    importlib.import_module(MODULES[which])
    if which == "ours":
        make_client(url)
        return lambda: run_ours(url, stopwatch)
    theirs = TimedWork(stopwatch) if work == "full" else TimedBareWork(stopwatch)

    def run() -> None:
        RUN[which](url, theirs, deflate=False)
        theirs.finish()

    return run


def measure(effort: Effort, situations: Sequence[str] = tuple(SITUATIONS)) -> list[Run]:
    """All contenders, interleaved, in one situation after the other."""
    contenders = [(who, work) for who, work in CONTENDERS if who in present([who])]
    runs = []
    for situation in situations:
        pace, burst, busy = SITUATIONS[situation]
        sent = int(pace * effort.seconds(SECONDS, least=0.2))
        with server("firehose", "anomalies", sent, "--pace", pace, "--burst", burst) as url:
            for number in range(effort.rounds):
                for who, work in contenders:
                    figures = run_client("latency", who, work, url, *["--busy"] * busy)
                    runs.append({"situation": situation, "who": who, "work": work, "round": number, **figures})
    return runs


def tables(runs: Sequence[Run]) -> str:
    """One row for each contender in each situation."""
    rows = []
    for situation in values(runs, "situation"):
        here = select(runs, situation=situation)
        ours = select(here, who="ours")
        for who, work in dict.fromkeys((run["who"], run["work"]) for run in here):
            theirs = select(here, who=who, work=work)
            rows.append(
                [situation, NAMES[who], work]
                + [f"{median(theirs, name):,.0f}" for name in PERCENTILES]
                + [f"{median(theirs, lambda run: run['cpu'] / run['events'] * 1e6):,.0f}"]
                + [times(ratio(ours, theirs, name)) for name in ("p50", "p99")]
            )
    head = (
        "situation",
        "who",
        "work",
        *(f"{name}, µs" for name in PERCENTILES),
        "CPU µs/event",
        "ours, p50",
        "ours, p99",
    )
    return table(head, rows, words=3)


def verdicts(runs: Sequence[Run]) -> list[Verdict]:
    """Against a bare loop of websockets.sync."""
    here = select(runs, situation="1,000 events/s")
    ours, bare = select(here, who="ours"), select(here, who="websockets", work="bare")
    return [
        at_most(
            f"latency {name}, 1,000 events/s, against a bare `websockets.sync`", ratio(ours, bare, name), goal, " x"
        )
        for name, goal in (("p50", 1.0), ("p99", 1.1))
    ]


def main() -> None:
    """Follow the feed once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=("ours", "wsapp", "websockets"))
    parser.add_argument("work", choices=("full", "bare"))
    parser.add_argument("url")
    parser.add_argument("--busy", action="store_true")
    arguments = parser.parse_args()
    stopwatch = Stopwatch()
    run = prepare(arguments.which, arguments.work, arguments.url, stopwatch)
    if arguments.busy:
        threading.Thread(target=be_busy, daemon=True).start()
    begin_cpu = time.process_time()
    run()
    print(
        json.dumps({"events": len(stopwatch.took), **stopwatch.percentiles(), "cpu": time.process_time() - begin_cpu})
    )


if __name__ == "__main__":
    main()
