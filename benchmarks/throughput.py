"""Events a second, ours against the peers and against the limit, all in one run.

Every round runs everybody once, in turn, so that a machine whose speed drifts is fair to all; medians are shown.

usage: python -m benchmarks.throughput [--rounds 5] [--count 200000] [--feeds anomalies stats ...] [--json F]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.processes import run_client, server
from benchmarks.suite import (
    NAMES,
    Effort,
    Run,
    Verdict,
    at_least,
    at_most,
    median,
    present,
    ratio,
    select,
    table,
    times,
    values,
)

COUNT = 200_000
FEEDS = {
    "anomalies": ("anomalies", 1.0, ""),
    "own-times": ("own-times", 1.0, ""),
    "stats": ("stats", 1.0, ""),
    "mix": ("mix", 1.0, ""),
    "small": ("small", 1.0, ""),
    "large": ("large", 0.05, ""),
    "anomalies-deflate": ("anomalies", 0.5, "--deflate"),
    "anomalies-takeover": ("anomalies", 0.5, "--takeover"),
    "anomalies-busy": ("anomalies", 0.25, "--busy"),
}
"""The kind of the events, the share of the count, and how they are compressed, or that another thread computes."""
COMPRESSED = ("--deflate", "--takeover")
FULL = ("ours", "ours-defaults", "wsapp", "websockets", "aiohttp", "picows", "limit")
BARE = ("wsapp", "websockets", "aiohttp", "picows")
NO_DEFLATE = ("wsapp", "picows", "limit")
SLOW = {"wsapp": 0.1}
"""Who takes many times as long gets this share of the events: the rates are compared, not the times."""


def measure(effort: Effort, feeds: Sequence[str] = tuple(FEEDS)) -> list[Run]:
    """All contenders, interleaved, over one feed after the other."""
    runs = []
    for feed in feeds:
        kind, share, flag = FEEDS[feed]
        compressed = flag in COMPRESSED
        asked = "--deflate" if compressed else flag  # how it is compressed is the server's word
        sent = effort.count(int(COUNT * share), least=1000)
        contenders = [(who, "full") for who in present(FULL)] + [(who, "bare") for who in present(BARE)]
        few = {who: effort.count(int(COUNT * share * part), least=1000) for who, part in SLOW.items()}
        with ExitStack() as stack:
            counts = {sent, *few.values()}
            urls = {
                count: stack.enter_context(server("firehose", kind, count, *[flag] * compressed)) for count in counts
            }
            for number in range(effort.rounds):
                for who, work in contenders:
                    if compressed and who in NO_DEFLATE:
                        continue
                    count = few.get(who, sent)
                    figures = run_client("peers", who, work, urls[count], *[asked] * bool(asked))
                    told = {"feed": feed, "who": who, "work": work, "round": number, "sent": count, "dropped": 0}
                    runs.append({**told, **figures})
    return runs


def rate(run: Run) -> float:
    """Events a second."""
    return float(run["events"] / run["seconds"])


def cost(run: Run) -> float:
    """CPU microseconds for an event."""
    return float(run["cpu"] / run["events"] * 1e6)


def tables(runs: Sequence[Run]) -> str:
    """One row for each contender of each feed."""
    rows = []
    for feed in values(runs, "feed"):
        ours = select(runs, feed=feed, who="ours")
        for work in ("full", "bare"):
            for who in values(select(runs, feed=feed, work=work), "who"):
                theirs = select(runs, feed=feed, who=who, work=work)
                dropped = max(run["dropped"] for run in theirs)
                shown = times(ratio(ours, theirs, rate))
                figures = f"{median(theirs, rate):,.0f}", f"{median(theirs, cost):.2f}", f"{dropped:,}"
                rows.append((feed, NAMES[who], work, *figures, shown))
    head = ("feed", "who", "work", "events/s", "CPU µs/event", "dropped", "ours is")
    return table(head, rows, words=3)


def verdicts(runs: Sequence[Run]) -> list[Verdict]:
    """Anomalies, the full work."""
    full = select(runs, feed="anomalies", work="full")
    ours = select(full, who="ours")
    lost = sum(run["sent"] - run["delivered"] for run in ours) if ours else float("nan")
    return [
        at_most('anomalies, full work, `overflow="block"`: events lost', lost, 0, "", digits=0),
        *(
            at_least(f"the same, against {NAMES[who]}", ratio(ours, select(full, who=who), rate), goal, " x")
            for who, goal in (("wsapp", 8), ("websockets", 4), ("picows", 2.5), ("aiohttp", 2.5))
        ),
        at_least("the same, as a share of the limit", ratio(ours, select(full, who="limit"), rate), 0.55, ""),
    ]


def main() -> None:
    """Measure this alone, show, and keep the runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--feeds", nargs="+", choices=FEEDS, default=list(FEEDS))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    runs = measure(Effort(arguments.rounds, arguments.count / COUNT), arguments.feeds)
    sys.stdout.write(tables(runs) + "\n")
    if arguments.json:
        arguments.json.write_text(json.dumps(runs, indent=1) + "\n")


if __name__ == "__main__":
    main()
