"""Figures for the documentation: who counts them, and that only a whole run writes them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.conformance.__main__ import main as conformance
from tests.coverage import main as coverage
from tests.mutation.__main__ import main as mutation
from tests.records import add_docs_option, conditions, keep, recorded
from tests.soak.__main__ import main as soak
from tests.stateful.__main__ import main as stateful
from tests.tally import Outcomes, Way, run_tests, words_of

TESTS = """
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, rule

@pytest.mark.parametrize("value", [1, 2, 3])
def test_small_numbers(value):
    assert value < 3

def test_left_out():
    pytest.skip("for a reason")

def test_the_client_s_end():
    pass

class Machine(RuleBasedStateMachine):
    @rule()
    def step(self):
        pass

Machine.TestCase.settings = settings(max_examples=5, stateful_step_count=4, database=None)
Machine.__module__ = "tests.made_up"
TestMachine = Machine.TestCase
"""


def test_a_record_is_read_as_it_was_kept(tmp_path: Path) -> None:
    assert recorded("x", tmp_path) == {}
    keep("x", {"words": "größer", "count": 5}, tmp_path)
    assert recorded("x", tmp_path) == {"words": "größer", "count": 5}


def test_conditions_are_of_today_and_of_this_machine() -> None:
    before = datetime.now(UTC).date()
    found = conditions(seed=7)
    assert before <= datetime.fromisoformat(found["date"]).date() <= datetime.now(UTC).date()
    assert found["seed"] == 7
    assert "seed" not in conditions()
    assert {"python", "machine"} < set(found)


def test_docs_is_no_default() -> None:
    parser = argparse.ArgumentParser()
    add_docs_option(parser)
    assert parser.parse_args([]).docs is False


@pytest.mark.parametrize(
    ("main", "part"),
    [
        (conformance, ["--cases", "1.*"]),
        (coverage, ["-k", "client"]),
        (mutation, ["store.py"]),
        (stateful, []),
        (soak, []),
        (soak, ["--minutes", "8", "--clients", "19"]),
        (soak, ["--herd"]),
        (soak, ["--herd", "--peers", "--clients", "49"]),
        (soak, ["--peers", "--faults", "49"]),
    ],
)
def test_a_part_does_not_go_into_the_documentation(
    main: Callable[[list[str]], int], part: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*part, "--docs"])
    assert "--docs wants the whole" in capsys.readouterr().err


def test_outcomes_and_steps_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "test_made_up.py"
    path.write_text(TESTS)
    status, tally = run_tests(str(path), "--rootdir", str(tmp_path), "--hypothesis-seed=1")
    assert status == pytest.ExitCode.TESTS_FAILED
    (found,) = tally.outcomes.values()
    assert found["small numbers"] == Outcomes(passed=2, failed=1)
    assert found["left out"] == Outcomes(skipped=1, reasons=["for a reason"])
    assert found["the client's end"] == Outcomes(passed=1)
    way = tally.machines["Machine"]
    assert isinstance(way, Way)
    assert way.examples >= 5
    assert way.examples < way.steps <= 4 * way.examples


def test_nothing_is_counted_where_pytest_cannot_begin() -> None:
    status, tally = run_tests("--no-such-option")
    assert status == pytest.ExitCode.USAGE_ERROR
    assert tally.outcomes == {}


def test_names_in_words() -> None:
    assert words_of("test_a_reset[x]") == "a reset"
    assert words_of("TestMachine::runTest") == "runTest"
    assert words_of("test_the_kernel_s_buffers") == "the kernel's buffers"
