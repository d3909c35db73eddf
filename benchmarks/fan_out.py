"""One feed, many callbacks.

usage: python -m benchmarks.fan_out CALLBACKS URL    once; all of it: python -m benchmarks fan_out
prints: one JSON object: events, calls, seconds from the first call to the end of the feed, cpu
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence

from benchmarks.following import ONE_CONNECTION, follow
from benchmarks.processes import run_client, server
from benchmarks.suite import Effort, Run, Verdict, median, select, table, values
from realtime_client import Event, RealtimeClient

LEVELS = (1, 10, 100, 1000)
EVENTS, CALLS = 200_000, 2_000_000
"""The most events, and the most calls, of a run."""


def counter(counts: list[int], number: int) -> Callable[[Event], None]:
    """A callback that counts."""

    def count(event: Event) -> None:
        counts[number] += 1

    return count


def measure(effort: Effort, levels: Sequence[int] = LEVELS) -> list[Run]:
    """Every number of callbacks in turn."""
    runs = []
    for number in range(effort.rounds):
        for callbacks in levels:
            sent = effort.count(min(EVENTS, CALLS // callbacks), least=1000)
            with server("firehose", "anomalies", sent) as url:
                runs.append(
                    {"callbacks": callbacks, "round": number, "sent": sent, **run_client("fan_out", callbacks, url)}
                )
    return runs


def cost(run: Run) -> float:
    """CPU microseconds for an event."""
    return float(run["cpu"] / run["events"] * 1e6)


def tables(runs: Sequence[Run]) -> str:
    """One row for each number of callbacks."""
    rows = []
    for callbacks in values(runs, "callbacks"):
        here = select(runs, callbacks=callbacks)
        events = median(here, lambda run: run["events"] / run["seconds"])
        calls = median(here, lambda run: run["calls"] / run["seconds"])
        rows.append(
            (f"{callbacks:,}", f"{events:,.0f}", f"{calls:,.0f}", f"{1e6 / calls:.2f}", f"{median(here, cost):.2f}")
        )
    return table(("callbacks", "events/s", "calls/s", "µs/call", "CPU µs/event"), rows, words=0)


def verdicts(runs: Sequence[Run]) -> list[Verdict]:
    """No target."""
    return []


def main() -> None:
    """Follow the feed once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("callbacks", type=int)
    parser.add_argument("url")
    arguments = parser.parse_args()
    client = RealtimeClient(arguments.url, overflow="block", **ONE_CONNECTION)
    begin: list[float] = []
    begin_cpu = time.process_time()
    client.once("*", lambda event: begin.append(time.perf_counter()))
    counts = [0] * arguments.callbacks
    for number in range(arguments.callbacks):
        client.on("*", counter(counts, number))
    follow(client)
    seconds = time.perf_counter() - begin[0]
    events = client.metrics().received
    print(
        json.dumps({"events": events, "calls": sum(counts), "seconds": seconds, "cpu": time.process_time() - begin_cpu})
    )
    client.close()


if __name__ == "__main__":
    main()
