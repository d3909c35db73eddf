"""``python -m tests.stateful``: how far the state machines go; with ``--long`` they are driven on for much longer."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import attrs

from tests.records import add_docs_option, conditions, keep
from tests.stateful.effort import LONG
from tests.tally import run_tests

PLACE = "tests/stateful"


def main(given: Sequence[str] | None = None) -> int:
    """Drive them; returns pytest's exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.stateful", description=__doc__)
    parser.add_argument("--long", action="store_true", help="twenty times as often, and twice as far")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    add_docs_option(parser)
    arguments = parser.parse_args(given)
    if arguments.docs and not arguments.long:
        parser.error("--docs wants the whole: with --long")
    run = conditions(seed=arguments.seed)
    effort = [f"--hypothesis-profile={LONG}", "-o", "faulthandler_timeout=0"] if arguments.long else []
    status, tally = run_tests(PLACE, "-k", "runTest", f"--hypothesis-seed={arguments.seed}", *effort)
    machines = {name: attrs.asdict(way) for name, way in sorted(tally.machines.items()) if way.examples}
    for name, way in machines.items():
        sys.stdout.write(f"{name}: {way['examples']:,} examples, {way['steps']:,} steps\n")
    if arguments.docs:
        command = f"python -m tests.stateful --long --seed {arguments.seed}"
        failed = sum(found.failed for tests in tally.outcomes.values() for found in tests.values())
        keep("machines", {"command": command, "run": run, "failed": failed, "machines": machines})
    return status


if __name__ == "__main__":
    sys.exit(main())
