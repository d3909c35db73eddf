"""Our link in the core cases of the Autobahn WebSocket test suite; ``python -m tests.conformance`` runs them all."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.echo import OURS
from tests.conformance.run import patterns, run
from tests.conformance.suite import REQUIREMENT, find_python27
from tests.conformance.verdicts import CORE, GROUPS, SIZES, Verdict, shortcomings
from tests.records import recorded

HERE: list[Any]
"""The groups that can be run; where there is no Python 2.7 that is said once, not for each group."""
try:
    PYTHON27, HERE = find_python27(), [*CORE]
except LookupError as missing:
    PYTHON27, HERE = "", [pytest.param("none", marks=pytest.mark.skip(reason=str(missing)))]


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> list[Verdict]:
    return run(OURS, PYTHON27, tmp_path_factory.mktemp("autobahn"), cases=patterns(CORE))


@pytest.mark.timeout(600)  # with the first of them the suite is installed, and run
@pytest.mark.parametrize("group", HERE)
def test_the_suite_finds_nothing_in(group: str, verdicts: list[Verdict]) -> None:
    found = [verdict for verdict in verdicts if verdict.group == group]
    assert len(found) == SIZES[group]
    assert shortcomings(found) == []


def test_the_figures_in_the_documentation_are_of_the_whole_suite_and_without_a_fault() -> None:
    figures = recorded("conformance")
    assert figures["suite"] == REQUIREMENT
    ours = figures["clients"][OURS]
    assert {group: one["cases"] for group, one in ours["groups"].items()} == {**SIZES}
    assert list(ours["groups"]) == list(GROUPS)
    assert ours["total"]["ok"] + ours["total"]["informational"] == 517
    for fault in ("non_strict", "failed", "unimplemented", "wrong_close_code", "unclean", "failed_close"):
        assert ours["total"][fault] == 0
