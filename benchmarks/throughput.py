"""Events a second, ours against the peers and against the limit, all in one run.

Every repetition runs everybody once, in turn, so that a machine whose speed drifts is fair to all; medians are shown.

usage: python -m benchmarks.throughput [--rounds 5] [--count 200000] [--feeds anomalies stats ...] [--json F] [--svg F]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FEEDS = {
    "anomalies": ("anomalies", 1.0, False),
    "stats": ("stats", 1.0, False),
    "mix": ("mix", 1.0, False),
    "small": ("small", 1.0, False),
    "large": ("large", 0.05, False),
    "anomalies-deflate": ("anomalies", 0.5, True),
}
FULL = ("ours", "ours-defaults", "wsapp", "websockets", "aiohttp", "picows", "limit")
BARE = ("wsapp", "websockets", "aiohttp", "picows")
NO_DEFLATE = ("wsapp", "picows", "limit")


@contextmanager
def firehose(kind: str, count: int, *, deflate: bool) -> Iterator[str]:
    """A firehose in a process of its own; gives its URL."""
    command = [sys.executable, "-m", "benchmarks.firehose", kind, str(count)] + ["--deflate"] * deflate
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip().removeprefix("PORT=")
            yield f"ws://127.0.0.1:{port}/ws"
        finally:
            process.kill()


def run(which: str, work: str, url: str, *, deflate: bool) -> dict[str, Any]:
    """Let one peer do the work once."""
    command = [sys.executable, "-m", "benchmarks.peers", which, work, url] + ["--deflate"] * deflate
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def measure(feed: str, count: int, rounds: int) -> list[dict[str, Any]]:
    """All peers, interleaved, over one feed."""
    kind, share, deflate = FEEDS[feed]
    contenders = [(which, "full") for which in FULL] + [(which, "bare") for which in BARE]
    if deflate:
        contenders = [pair for pair in contenders if pair[0] not in NO_DEFLATE]
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {pair: [] for pair in contenders}
    with firehose(kind, max(1000, int(count * share) // 1000 * 1000), deflate=deflate) as url:
        for _ in range(rounds):
            for which, work in contenders:
                runs[which, work].append(run(which, work, url, deflate=deflate))
    ours = [entry["events"] / entry["seconds"] for entry in runs["ours", "full"]]
    rows = []
    for (which, work), entries in runs.items():
        rates = [entry["events"] / entry["seconds"] for entry in entries]
        rows.append(
            {
                "feed": feed,
                "which": which,
                "work": work,
                "events_per_second": statistics.median(rates),
                "cpu_microseconds": statistics.median(entry["cpu"] / entry["events"] * 1e6 for entry in entries),
                "dropped": max(entry.get("dropped", 0) for entry in entries),
                "ours_is": statistics.median(mine / theirs for mine, theirs in zip(ours, rates, strict=True)),
            }
        )
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """A table for the terminal, also good Markdown."""
    print("| feed | who | work | events/s | CPU µs/event | dropped | ours is |\n|---|---|---|---:|---:|---:|---:|")
    for row in rows:
        print(
            f"| {row['feed']} | {row['which']} | {row['work']} | {row['events_per_second']:,.0f} | "
            f"{row['cpu_microseconds']:.2f} | {row['dropped']:,} | {row['ours_is']:.2f} x |"
        )


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Bars for the first feed."""
    import matplotlib as mpl  # noqa: PLC0415 - only for the picture

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "throughput"
    from matplotlib import pyplot as plt  # noqa: PLC0415

    first = [row for row in rows if row["feed"] == rows[0]["feed"] and row["which"] != "ours-defaults"]
    first.sort(key=lambda row: row["events_per_second"])
    labels = [f"{row['which']} ({row['work']})" for row in first]
    colours = ["tab:blue" if row["which"] == "ours" else "tab:gray" for row in first]
    figure, axis = plt.subplots(figsize=(8, 4), constrained_layout=True)
    bars = axis.barh(labels, [row["events_per_second"] / 1000 for row in first], color=colours)
    axis.bar_label(bars, fmt="%.0f", padding=3)
    axis.set_xlabel(f"thousand events a second ({rows[0]['feed']})")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure, show, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--feeds", nargs="+", choices=FEEDS, default=list(FEEDS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--svg", type=Path)
    arguments = parser.parse_args()
    rows = []
    for feed in arguments.feeds:
        rows += measure(feed, arguments.count, arguments.rounds)
    show(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    if arguments.svg:
        plot(rows, arguments.svg)


if __name__ == "__main__":
    main()
