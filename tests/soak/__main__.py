"""Clients under a seeded mixture of every fault, for as long as asked; the result as JSON.

usage: python -m tests.soak [--minutes N] [--seed S] [--clients 20] [--json FILE]
       python -m tests.soak --peers [--faults 50] [--seed S] [--json FILE]
       python -m tests.soak --herd [--clients 50] [--seed S] [--json FILE]

The exit code is 1 where this client doubled anything, gave it out of order, lost it without a word, has grown, did not
come back, or came back in a crowd.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import Any

import attrs

from tests.soak.compare import compare
from tests.soak.herd import scatter
from tests.soak.run import Soak

SAMPLES = 6
AWAY = 15
"""Seconds for which the herd's server is away."""
CROWD = 16
"""The most attempts of the herd in a tenth of a second."""


def main() -> int:
    """Run what was asked for; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--peers", action="store_true", help="compare with other clients under the same cuts")
    what.add_argument("--herd", action="store_true", help="many clients that lose their server at once, for 15 s")
    parser.add_argument("--minutes", type=float, default=1.0, help="how long there are faults (default 1)")
    parser.add_argument("--faults", type=int, default=50, help="of each kind, with --peers (default 50)")
    parser.add_argument("--seed", type=int, default=1, help="of every choice (default 1)")
    parser.add_argument("--clients", type=int, help="how many (default 20; 50 with --herd)")
    parser.add_argument("--json", type=Path, help="where the result is written too")
    arguments = parser.parse_args()
    logging.getLogger("realtime_client").setLevel(logging.CRITICAL)
    violations: list[str] = []
    if arguments.peers:
        result = compare(faults=arguments.faults, seed=arguments.seed, say=say)
        ours = result["clients"]["realtime_client"]["all"]
        wrong = ("ended_for_good", "unnoticed", "lost_without_a_word", "wrong")
        violations = [f"{ours[name]} x {name.replace('_', ' ')}" for name in wrong if ours[name]]
    elif arguments.herd:
        herd = scatter(clients=arguments.clients or 50, away=AWAY, seed=arguments.seed)
        command = f"python -m tests.soak --herd --clients {herd.clients} --seed {arguments.seed}"
        result = {"command": command, "away": AWAY, **attrs.asdict(herd)}
        violations += [f"{herd.clients - herd.back} clients did not come back"] * (herd.back < herd.clients)
        violations += [f"{herd.peak} attempts in a tenth of a second"] * (herd.peak > CROWD)
    else:
        clients = arguments.clients or 20
        soak = Soak(seconds=arguments.minutes * 60, seed=arguments.seed, clients=clients, samples=SAMPLES, say=say)
        report = soak.run()
        violations, result = report.violations, report.result
    write(result, arguments.json)
    for violation in violations:
        say(violation)
    return 1 if violations else 0


def say(words: str) -> None:
    """Of the progress."""
    sys.stderr.write(words + "\n")


def write(result: dict[str, Any], path: Path | None) -> None:
    """Print a result, and keep it."""
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if path is not None:
        path.write_text(text)


if __name__ == "__main__":
    sys.exit(main())
