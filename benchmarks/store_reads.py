"""Threads that read the store while the feed runs, and what the reading costs the feed.

usage: python -m benchmarks.store_reads THREADS PAUSE URL    once; all of it: python -m benchmarks store_reads
prints: one JSON object: events, dropped, seconds, reads, cpu
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Sequence

from benchmarks.following import ONE_CONNECTION, follow
from benchmarks.processes import run_client, server
from benchmarks.suite import Effort, Run, Verdict, median, ratio, select, table, times, values
from realtime_client import DashboardStore, RealtimeClient

EVENTS = 100_000
READERS = {"nobody": (0, 0.0), "8 threads, 100 reads/s each": (8, 0.02), "8 threads, without a pause": (8, 0.0)}
"""How many threads, and how long each waits after two reads, in seconds."""


def read(store: DashboardStore, over: threading.Event, pause: float, reads: list[int]) -> None:
    """What a web worker does for a page, over and over: the whole picture, then the logs."""
    count = 0
    while not over.is_set():
        snapshot = store.snapshot()
        logs = store.recent_logs
        assert len(logs) >= len(snapshot.recent_logs)
        count += 2
        if pause:
            over.wait(pause)
    reads.append(count)


def measure(effort: Effort) -> list[Run]:
    """Every kind of reading in turn."""
    runs = []
    sent = effort.count(EVENTS, least=2000)
    with server("firehose", "anomalies", sent) as url:
        for number in range(effort.rounds):
            for readers, (threads, pause) in READERS.items():
                figures = run_client("store_reads", threads, pause, url)
                runs.append({"readers": readers, "round": number, "sent": sent, **figures})
    return runs


def rate(run: Run) -> float:
    """Events a second."""
    return float(run["events"] / run["seconds"])


def cost(run: Run) -> float:
    """CPU seconds a second, of two processors."""
    return float(run["cpu"] / run["seconds"])


def tables(runs: Sequence[Run]) -> str:
    """One row for each kind of reading."""
    rows = []
    alone = select(runs, readers="nobody")
    for readers in values(runs, "readers"):
        here = select(runs, readers=readers)
        reads = median(here, lambda run: run["reads"] / run["seconds"])
        share = times(ratio(here, alone, rate))
        rows.append((readers, f"{reads:,.0f}", f"{median(here, rate):,.0f}", share, f"{median(here, cost):.2f}"))
    return table(("who reads", "reads/s", "events/s", "of the feed without readers", "CPU s/s"), rows)


def verdicts(runs: Sequence[Run]) -> list[Verdict]:
    """No target."""
    return []


def main() -> None:
    """Follow the feed once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("threads", type=int)
    parser.add_argument("pause", type=float)
    parser.add_argument("url")
    arguments = parser.parse_args()
    client = RealtimeClient(arguments.url, overflow="block", **ONE_CONNECTION)
    client.on("*", lambda event: None)
    over = threading.Event()
    reads: list[int] = []
    readers = [
        threading.Thread(target=read, args=(client.store, over, arguments.pause, reads))
        for _ in range(arguments.threads)
    ]
    for reader in readers:
        reader.start()
    begin, begin_cpu = time.perf_counter(), time.process_time()
    follow(client)
    seconds = time.perf_counter() - begin
    over.set()
    for reader in readers:
        reader.join()
    metrics = client.metrics()
    client.close()
    figures = {"events": metrics.received, "dropped": sum(metrics.dropped.values()), "reads": sum(reads)}
    print(json.dumps({**figures, "seconds": seconds, "cpu": time.process_time() - begin_cpu}))


if __name__ == "__main__":
    main()
