"""A callback that takes 10 ms, the default options, and a feed at full speed.

usage: python -m benchmarks.slow_callback URL [--seconds 60]    the same as: python -m benchmarks slow_callback
prints: one JSON object; memory in bytes, from before the connection on, and the counters, once a second
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import threading
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from benchmarks.firehose import frame, message
from benchmarks.processes import run_client, server
from benchmarks.suite import Effort, Run, Verdict, at_most, median, table
from realtime_client import Event, Metrics, RealtimeClient

SECONDS = 60.0
CALLBACK = 0.01
SAMPLE_EVERY = 1.0
LEAST_SAMPLES = 5
ENDLESS = 10**12
MIB = 1024 * 1024


class SlowCallback:
    """Takes its time, and counts."""

    def __init__(self) -> None:
        self.begun = 0

    def __call__(self, event: Event) -> None:
        """One event."""
        self.begun += 1
        time.sleep(CALLBACK)


def peak() -> int:
    """The most resident memory that this process ever had, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says here begins with what the parent process had
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def counters(metrics: Metrics) -> dict[str, int]:
    """What must add up."""
    return {
        "received": metrics.received,
        "delivered": metrics.delivered,
        "dropped": sum(metrics.dropped.values()),
        "waiting": metrics.waiting,
        "bytes_received": metrics.bytes_received,
    }


def measure(effort: Effort) -> list[Run]:
    """Once: this is a minute, not a ratio."""
    seconds = effort.seconds(SECONDS, least=0.5)
    with server("firehose", "anomalies", ENDLESS) as url:
        return [{"round": 0, **run_client("slow_callback", url, "--seconds", seconds)}]


def growth(run: Run) -> float:
    """The most that the memory ever grew by, in MiB, from before the connection on: a full buffer is in it.

    The system's own high-water mark, so that a peak between two samples counts too.
    """
    return float((run["peak"] - run["rss"]) / MIB)


def growth_when_full(run: Run) -> float:
    """The same, from the first sample on."""
    found = [sample["rss"] for sample in run["samples"]]
    return float((max(found) - found[0]) / MIB)


def rates(run: Run) -> list[float]:
    """Events read a second, between two samples."""
    return [
        (after["received"] - before["received"]) / (after["at"] - before["at"])
        for before, after in pairwise(run["samples"])
    ]


def mistakes(run: Run) -> list[str]:
    """What does not add up.

    Where samples are taken while the feed runs, the callback that runs may have been counted as delivered a moment
    before it began; and of what was read, the last piece may not have been handed over yet.
    """
    found = []
    for sample in [*run["samples"], run["end"]]:
        if sample["received"] != sample["delivered"] + sample["dropped"] + sample["waiting"]:
            found.append(f"received is not delivered + dropped + waiting: {sample}")
        if not 0 <= sample["delivered"] - sample["begun"] <= 1:
            found.append(f"delivered is not what the callback has seen: {sample}")
        if sample["received"] * run["frame"] > sample["bytes_received"]:
            found.append(f"more was received than read: {sample}")
    if run["end"]["waiting"]:
        found.append(f"something waits after the end: {run['end']}")
    return found


def tables(runs: Sequence[Run]) -> str:
    """A row for what a user asks."""
    run = runs[0]
    end, last = run["end"], run["samples"][-1]
    rows = [
        ("memory grew, from before the connection on", f"{growth(run):.1f} MiB"),
        ("memory grew, from a full buffer on", f"{growth_when_full(run):.1f} MiB"),
        ("events read a second, median", f"{sorted(rates(run))[len(rates(run)) // 2]:,.0f}"),
        ("events read a second, least", f"{min(rates(run)):,.0f}"),
        ("received", f"{end['received']:,}"),
        ("delivered", f"{end['delivered']:,}"),
        ("dropped, `drop_oldest`", f"{last['dropped']:,}"),
        ("dropped at `close()`", f"{end['dropped'] - last['dropped']:,}"),
        ("mistakes of the counters", len(mistakes(run))),
    ]
    return table((f"{run['seconds']:.0f} seconds of feed", ""), rows)


def verdicts(runs: Sequence[Run]) -> list[Verdict]:
    """Memory, counters, and that the reading goes on."""
    wrong = float(sum(len(mistakes(run)) for run in runs)) if runs else float("nan")
    stalls = float(sum(rate <= 0 for run in runs for rate in rates(run))) if runs else float("nan")
    return [
        at_most("slow callback: memory grew", median(runs, growth), 20, " MiB", digits=1),
        at_most("slow callback: counters that do not add up", wrong, 0, "", digits=0),
        at_most("slow callback: samples between which nothing was read", stalls, 0, "", digits=0),
    ]


def main() -> None:
    """Follow the feed for a while."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    arguments = parser.parse_args()
    process, slow, started = psutil.Process(), SlowCallback(), threading.Event()
    client = RealtimeClient(arguments.url)
    client.once("*", lambda event: started.set())
    client.on("*", slow)

    def sample() -> dict[str, Any]:
        begun = slow.begun
        while True:  # a call that begins between the two is seen by both or by neither
            figures = {**counters(client.metrics()), "begun": slow.begun}
            if begun == slow.begun:
                return {"at": time.perf_counter() - begin, "rss": process.memory_info().rss, **figures}
            begun = slow.begun

    rss, begin = process.memory_info().rss, time.perf_counter()
    client.connect()
    started.wait()
    samples = []
    count = max(LEAST_SAMPLES, round(arguments.seconds / SAMPLE_EVERY))
    for number in range(1, count + 1):
        time.sleep(max(0.0, begin + arguments.seconds * number / count - time.perf_counter()))
        samples.append(sample())
    client.close()
    figures = {"seconds": arguments.seconds, "frame": len(frame(message("anomalies", 0))), "rss": rss, "peak": peak()}
    print(json.dumps({**figures, "samples": samples, "end": sample()}))


if __name__ == "__main__":
    main()
