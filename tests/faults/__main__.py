"""``python -m tests.faults``: what a network does to a connection, and of each test how many cases held."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import attrs

from tests.records import add_docs_option, conditions, keep
from tests.tally import run_tests

PARTS = {"proxy": "tests/faults/test_toxics.py", "kernel": "tests/faults/test_kernel.py"}


def main(given: Sequence[str] | None = None) -> int:
    """Run them; returns pytest's exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    add_docs_option(parser)
    arguments = parser.parse_args(given)
    run = conditions()
    status, tally = run_tests(*PARTS.values())
    if arguments.docs:
        parts = {
            part: {test: attrs.asdict(found) for test, found in tally.outcomes.get(file, {}).items()}
            for part, file in PARTS.items()
        }
        keep("network", {"command": "python -m tests.faults", "run": run, **parts})
    return status


if __name__ == "__main__":
    sys.exit(main())
