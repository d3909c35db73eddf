"""How much of the package the suite reaches: ``python -m tests.coverage [--docs] [options of pytest]``.

Counted are statements and branches, also those in the processes that tests start. A process that is forked or killed
counts nothing. The proofs and what is run for the documentation are left out: they take long, and test no single thing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.records import add_docs_option, conditions, keep

__all__ = ["by_place", "main"]

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = ("browser", "conformance", "docs", "faults", "fuzz", "hostile", "soak", "test_benchmarks.py")
PATIENCE = ("--timeout=300", "--timeout-method=signal", "-o", "faulthandler_timeout=290")
"""Counting is slow, and one test that takes too long must not end the run."""
LEAST = 95.0
"""Percent of the package's branches that have to be taken; of the core all."""
PURE = "_core"


def main(given: Sequence[str] | None = None) -> int:
    """Run the suite; returns 1 if too little was reached. Whether all tests pass is not asked: counting slows them."""
    parser = argparse.ArgumentParser(prog="python -m tests.coverage", description=__doc__)
    add_docs_option(parser)
    arguments, options = parser.parse_known_args(given)
    if arguments.docs and options:
        parser.error("--docs wants the whole: no options of pytest")
    run = conditions()
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "coverage.json")
        ignored = [f"--ignore=tests/{name}" for name in LEFT_OUT]
        status = _coverage(
            directory, "run", "-m", "pytest", "-q", "-p", "no:cacheprovider", *PATIENCE, *ignored, *options
        )
        _coverage(directory, "combine", "-q")
        _coverage(directory, "json", "-q", "-o", str(report))
        _coverage(directory, "report", "--skip-covered", "--show-missing")
        places = by_place(json.loads(report.read_text(encoding="utf-8"))["files"])
    for place, found in places.items():
        sys.stdout.write(
            f"{place}: {_share(found, 'statements')} of statements, {_share(found, 'branches')} of branches\n"
        )
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):  # counting breaks tests of time limits
        return status
    if arguments.docs:
        keep("coverage", {"command": "python -m tests.coverage", "run": run, "places": places})
    enough = places["all"]["branches_taken"] >= LEAST / 100 * places["all"]["branches"]
    core = places.get(PURE, {})
    whole = all(core.get(f"{what}_taken") == core.get(what) for what in ("statements", "branches"))
    return 0 if enough and whole else 1


def by_place(files: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Sum up by subpackage; what lies above them is ``"."``, and the sum of everything is ``"all"``.

    Args:
        files: As ``coverage json`` gives them, by their path below the checkout.
    """
    places: dict[str, dict[str, int]] = {}
    for path, found in sorted(files.items()):
        parts = Path(path).parts
        summary = found["summary"]
        for place in (parts[1] if len(parts) > 2 else ".", "all"):
            sums = places.setdefault(
                place, {"statements": 0, "statements_taken": 0, "branches": 0, "branches_taken": 0}
            )
            sums["statements"] += summary["num_statements"]
            sums["statements_taken"] += summary["covered_lines"]
            sums["branches"] += summary["num_branches"]
            sums["branches_taken"] += summary["covered_branches"]
    return {place: places[place] for place in sorted(places, key=lambda place: (place == "all", place))}


def _share(found: Mapping[str, int], what: str) -> str:
    return f"{found[f'{what}_taken'] / (found[what] or 1):.1%} of {found[what]:,}"


def _coverage(directory: str, *arguments: str) -> int:
    environment = {**os.environ, "COVERAGE_FILE": str(Path(directory, "coverage"))}
    return subprocess.run(
        [sys.executable, "-m", "coverage", *arguments], cwd=ROOT, env=environment, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
