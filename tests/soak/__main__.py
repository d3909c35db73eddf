"""Clients under a seeded mixture of every fault, for as long as asked; the result as JSON.

usage: python -m tests.soak [--minutes N] [--seed S] [--clients 20] [--docs]
       python -m tests.soak --peers [--faults 50] [--seed S] [--docs]
       python -m tests.soak --herd [--peers] [--clients 50] [--seed S] [--docs]

The exit code is 1 where this client doubled anything, gave it out of order, lost it without a word, has grown, did not
come back, or came back in a crowd.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import logging
import math
import sys
from collections.abc import Sequence
from typing import Any

import attrs

from realtime_client import __version__
from tests.records import add_docs_option, conditions, keep
from tests.soak.compare import DISTRIBUTIONS, compare
from tests.soak.herd import scatter, scatter_peers
from tests.soak.herd_peer import WAYS
from tests.soak.run import Soak

SAMPLES = 6
"""At least; in a long run two a minute."""
AWAY = 15
"""Seconds for which the herd's server is away."""
CLIENTS, HERD, FAULTS, LONG = 20, 50, 50, 8
"""How many clients, how many in a herd, how many faults of each kind and how many minutes a whole run has at least."""
OUR_WAY = "default settings: 1, 2, 4, 8, 16 s, times 0.5 to 1.5"
CROWD = 16
"""The most attempts of the herd in a tenth of a second."""


def _part(arguments: argparse.Namespace) -> str:
    """What is missing to a run that the documentation may show; empty where nothing is."""
    if arguments.herd:
        short = (arguments.clients or HERD) < HERD or not arguments.peers
        return f"with --peers, and no fewer than {HERD} clients" if short else ""
    if arguments.peers:
        return f"no fewer than {FAULTS} faults" if arguments.faults < FAULTS else ""
    short = arguments.minutes < LONG or (arguments.clients or CLIENTS) < CLIENTS
    return f"no fewer than {LONG} minutes and {CLIENTS} clients" if short else ""


def main(given: Sequence[str] | None = None) -> int:
    """Run what was asked for; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", action="store_true", help="compare with other clients under the same cuts")
    parser.add_argument("--herd", action="store_true", help="many clients that lose their server at once, for 15 s")
    parser.add_argument("--minutes", type=float, default=1.0, help="how long there are faults (default 1)")
    parser.add_argument("--faults", type=int, default=FAULTS, help="of each kind, with --peers (default 50)")
    parser.add_argument("--seed", type=int, default=1, help="of every choice (default 1)")
    parser.add_argument("--clients", type=int, help="how many (default 20; 50 with --herd)")
    add_docs_option(parser)
    arguments = parser.parse_args(given)
    if arguments.docs and (lacking := _part(arguments)):
        parser.error(f"--docs wants the whole: {lacking}")
    run = conditions(seed=arguments.seed)
    violations: list[str] = []
    result: dict[str, Any]
    if arguments.herd:
        clients, name = arguments.clients or HERD, "herd"
        herd = scatter(clients=clients, away=AWAY, seed=arguments.seed)
        herds = {"realtime_client": {"version": __version__, "way": OUR_WAY, **attrs.asdict(herd)}}
        for which, way in WAYS.items() if arguments.peers else ():
            version = importlib.metadata.version(DISTRIBUTIONS[which][0])
            herds[which] = {"version": version, "way": way, **attrs.asdict(scatter_peers(which, clients, AWAY))}
            say(f"{which}: {herds[which]}")
        command = f"python -m tests.soak --herd{' --peers' * arguments.peers} --clients {clients}"
        result = {"command": f"{command} --seed {arguments.seed}", "away": AWAY, "herds": herds}
        violations += [f"{herd.clients - herd.back} clients did not come back"] * (herd.back < herd.clients)
        violations += [f"{herd.peak} attempts in a tenth of a second"] * (herd.peak > CROWD)
    elif arguments.peers:
        result = compare(faults=arguments.faults, seed=arguments.seed, say=say)
        name = "faults"
        ours = result["clients"]["realtime_client"]["all"]
        wrong = ("ended_for_good", "unnoticed", "lost_without_a_word", "wrong")
        violations = [f"{ours[fault]} x {fault.replace('_', ' ')}" for fault in wrong if ours[fault]]
        if uncovered := ours["lost"] - ours["losses_reported"]:
            violations.append(f"{uncovered} x lost outside of every gap that was told")
    else:
        clients, name = arguments.clients or CLIENTS, "soak"
        samples = max(SAMPLES, math.ceil(2 * arguments.minutes))
        soak = Soak(seconds=arguments.minutes * 60, seed=arguments.seed, clients=clients, samples=samples, say=say)
        report = soak.run()
        violations, result = report.violations, report.result
    result["run"] = run
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    if arguments.docs:
        keep(name, result)
    for violation in violations:
        say(violation)
    return 1 if violations else 0


def say(words: str) -> None:
    """Of the progress."""
    sys.stderr.write(words + "\n")


if __name__ == "__main__":
    logging.getLogger("realtime_client").setLevel(logging.CRITICAL)
    sys.exit(main())
