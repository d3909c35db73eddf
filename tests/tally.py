"""Runs tests for their figures: how each test's cases ended, what was left out and why, how far state machines went.

Also the plugin that counts, in pytest's process: ``python -m pytest -p tests.tally --tally FILE``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

__all__ = ["Outcomes", "Tally", "run_tests", "words_of"]

ROOT = Path(__file__).parents[1]


@attrs.define
class Outcomes:
    """How the cases of one test ended.

    Attributes:
        passed: How many were as they should be.
        failed: How many were not.
        skipped: How many were left out.
        reasons: Why.
    """

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    reasons: list[str] = attrs.Factory(list)


@attrs.define
class Way:
    """How far a state machine has gone.

    Attributes:
        examples: How often it began anew.
        steps: What was done to it in all.
    """

    examples: int = 0
    steps: int = 0


@attrs.define(eq=False)  # pytest keeps its plugins in sets
class Tally:
    """What a run of tests gave.

    Attributes:
        outcomes: By file and by test, which is in words.
        machines: By class.
    """

    outcomes: dict[str, dict[str, Outcomes]] = attrs.Factory(dict)
    machines: dict[str, Way] = attrs.Factory(dict)

    def pytest_collection_finish(self) -> None:
        """Give every state machine an invariant, which is looked at when it begins and after each of its steps."""
        if "hypothesis" in sys.modules:
            from hypothesis.stateful import RuleBasedStateMachine, invariant

            for machine in _below(RuleBasedStateMachine):
                way = self.machines[machine.__name__] = Way()
                machine.counts_its_steps = invariant(check_during_init=True)(_count(way))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a case; what goes wrong before or after it counts as well."""
        if report.when != "call" and report.outcome == "passed":
            return
        file, _, name = report.nodeid.partition("::")
        found = self.outcomes.setdefault(file, {}).setdefault(words_of(name), Outcomes())
        setattr(found, report.outcome, getattr(found, report.outcome) + 1)
        if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
            reason = report.longrepr[2].removeprefix("Skipped: ")
            found.reasons += [reason] * (reason not in found.reasons)


def _below(parent: Any) -> Iterator[Any]:
    for child in parent.__subclasses__():
        if child.__module__.startswith("tests."):
            yield child
        yield from _below(child)


def _count(way: Way) -> Any:
    def counts_its_steps(machine: Any) -> None:
        if "has_begun" in vars(machine):
            way.steps += 1
        else:
            machine.has_begun = True
            way.examples += 1

    return counts_its_steps


def words_of(name: str) -> str:
    """A test's name in words, without its parameters: ``test_a_reset[x]`` is *a reset*."""
    plain = name.partition("[")[0].rpartition("::")[2].removeprefix("test_")
    return plain.replace("_s_", "'s ").replace("_", " ")


def run_tests(*arguments: str) -> tuple[int, Tally]:
    """Run tests in a process of their own, which shows what pytest shows.

    Args:
        arguments: As for the command ``pytest``.

    Returns:
        Pytest's exit code and what was counted.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "tally.json")
        plugin = ["-p", "no:cacheprovider", "-p", "tests.tally", "--tally", str(path)]
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", *plugin, *arguments], cwd=ROOT, check=False)
        return done.returncode, _read(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else Tally()


def _read(told: Mapping[str, Any]) -> Tally:
    return Tally(
        {
            file: {test: Outcomes(**found) for test, found in outcomes.items()}
            for file, outcomes in told["outcomes"].items()
        },
        {name: Way(**way) for name, way in told["machines"].items()},
    )


# Pytest's side

_tally = pytest.StashKey[Tally]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--tally", type=Path, required=True, metavar="FILE", help="where the counts go, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_tally] = Tally()
    config.pluginmanager.register(config.stash[_tally])


def pytest_sessionfinish(session: pytest.Session) -> None:
    text = json.dumps(attrs.asdict(session.config.stash[_tally]))
    session.config.getoption("--tally").write_text(text, encoding="utf-8")
