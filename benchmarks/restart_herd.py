"""How many attempts a second hit a server that was away, with and without our jitter.

Thousands of clients lose their connection at one moment, the server is away for a while, and then takes everybody who
comes. No socket, no sleep: the account of attempts is the client's own, the clock a number, the randomness seeded.

usage: python -m benchmarks.restart_herd [--clients N] [--away SECONDS] [--seed N] [--svg PATH]
"""

from __future__ import annotations

import argparse
import heapq
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from realtime_client import ClientConfig, RetryDecision
from realtime_client._core.backoff import Attempts

SLOT = 0.1


def simulate(clients: int, away: float, uniform: Callable[[float, float], float], jitter: float) -> Counter[int]:
    """The number of attempts in each tenth of a second, counted from the loss of the connections."""
    config = ClientConfig(reconnect_jitter=jitter)
    attempts: Counter[int] = Counter()
    due: list[tuple[float, int, Attempts]] = []
    for number in range(clients):
        account = Attempts(config, uniform)
        due.append((account.next_delay(RetryDecision(), declared=False), number, account))
    heapq.heapify(due)
    while due:
        now, number, account = heapq.heappop(due)
        attempts[int(now / SLOT)] += 1
        if now < away:
            account.count_failure()
            delay = account.next_delay(RetryDecision(), declared=account.exhausted)
            heapq.heappush(due, (now + delay, number, account))
    return attempts


def plot(results: dict[str, Counter[int]], clients: int, away: float, path: Path) -> None:
    """Draw both runs, one above the other."""
    import matplotlib as mpl  # noqa: PLC0415 - only for the picture

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "restart-herd"
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(len(results), 1, sharex=True, figsize=(8, 4.5), constrained_layout=True)
    for axis, (label, attempts) in zip(axes, results.items(), strict=True):
        last = max(attempts)
        edges = [slot * SLOT for slot in range(last + 2)]
        axis.stairs([attempts[slot] for slot in range(last + 1)], edges, fill=True)
        axis.axvspan(0, away, alpha=0.12, color="red", label="server away")
        axis.set_title(f"{label}: at most {max(attempts.values())} attempts in {SLOT:g} s", loc="left", fontsize=10)
        axis.set_ylabel(f"attempts / {SLOT:g} s")
        axis.legend(loc="upper right")
    axes[-1].set_xlabel(f"seconds since {clients} clients lost their connection")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Run both simulations and say what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=5000)
    parser.add_argument("--away", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--svg", type=Path)
    arguments = parser.parse_args()
    results = {
        f"reconnect_jitter={jitter:g}": simulate(
            arguments.clients, arguments.away, random.Random(arguments.seed).uniform, jitter
        )
        for jitter in (0.0, 0.5)
    }
    for label, attempts in results.items():
        after = [count for slot, count in attempts.items() if slot * SLOT >= arguments.away]
        print(
            f"{label}: {sum(attempts.values())} attempts in all, at most {max(attempts.values())} in {SLOT:g} s, "
            f"at most {max(after)} in {SLOT:g} s after the server is back, all back {max(attempts) * SLOT:.1f} s "
            "after the loss"
        )
    if arguments.svg:
        plot(results, arguments.clients, arguments.away, arguments.svg)


if __name__ == "__main__":
    main()
