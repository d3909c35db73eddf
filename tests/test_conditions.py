"""The harder conditions that the suite can be run under, and its repetition, do what they say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests import repeat
from tests.records import conditions

ROOT = Path(__file__).parents[1]

BREAKS_THE_LAW = """
from realtime_client import RealtimeClient

SOURCE = "def two(engine):\\n    with engine.store._lock, engine.registry._lock:\\n        pass\\n"

def test_that_breaks_the_law():
    module = {"__name__": "realtime_client.wrong"}
    exec(SOURCE, module)
    module["two"](RealtimeClient()._engine)

def test_that_keeps_it():
    assert RealtimeClient().metrics().received == 0
"""


def run(directory: Path, source: str, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run pytest over a file with this source, under the suite's conditions."""
    (directory / "test_this.py").write_text(source)
    arguments = ["-c", str(ROOT / "setup.cfg"), "--rootdir", str(directory), "-p", "tests.conftest", str(directory)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("REALTIME_")}
    return subprocess.run(
        [sys.executable, "-m", *command, *arguments],
        check=False,
        capture_output=True,
        cwd=ROOT,
        env={**clean, **environment},
        text=True,
        timeout=50,
    )


@pytest.mark.parametrize("wanted", ["1e-06", "0.25", ""])
def test_the_switch_interval_is_what_was_asked_for(wanted: str, tmp_path: Path) -> None:
    expected = wanted or "0.005"  # the interpreter's own
    source = f"import sys\ndef test_it():\n    assert abs(sys.getswitchinterval() - {expected}) < 1e-9\n"
    done = run(tmp_path, source, "pytest", "-p", "no:cacheprovider", REALTIME_SWITCH_INTERVAL=wanted)
    assert done.returncode == 0, done.stdout


def test_the_lock_check_fails_the_test_that_breaks_the_law_and_no_other(tmp_path: Path) -> None:
    done = run(tmp_path, BREAKS_THE_LAW, "pytest", "-p", "no:cacheprovider", REALTIME_LOCK_CHECK="1")
    assert "2 passed, 1 error" in done.stdout
    assert re.search("ERROR .*test_this.py::test_that_breaks_the_law", done.stdout)
    assert "takes realtime_client.observers:_lock while it held realtime_client.store:_lock" in done.stdout
    assert run(tmp_path, BREAKS_THE_LAW, "pytest", "-p", "no:cacheprovider").returncode == 0


def test_repeat_runs_as_often_as_it_is_told_each_time_with_another_seed(tmp_path: Path) -> None:
    seeds = tmp_path / "seeds"
    source = f"""
import os
from hypothesis import core
def test_it():
    with open({str(seeds)!r}, "a") as file:
        file.write(f"{{os.environ['PYTHONHASHSEED']}}/{{core.global_force_seed}} ")
"""
    done = run(tmp_path, source, "tests.repeat", "3", "--first-seed", "7", "-n", "0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert seeds.read_text().split() == ["7/7", "8/8", "9/9"]
    assert [line.partition(",")[0] for line in done.stdout.splitlines()] == [f"run {n} of 3" for n in (1, 2, 3)]


def test_repeat_ends_with_the_first_run_that_fails_and_shows_it(tmp_path: Path) -> None:
    source = "import os\ndef test_it():\n    assert os.environ['PYTHONHASHSEED'] != '2', 'the flake'\n"
    done = run(tmp_path, source, "tests.repeat", "5", "-n", "0")
    assert done.returncode == 1
    assert "run 2 of 5" in done.stdout
    assert "run 3 of 5" not in done.stdout
    assert "the flake" in done.stdout
    again = done.stdout.partition("the same again: ")[2]
    assert again.startswith("PYTHONHASHSEED=2 ")
    assert " --hypothesis-seed=2 " in again


def test_every_run_is_written_down_the_one_that_fails_included(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[str] = []
    well = "...\n7533 passed, 1 skipped in 300.12s (0:05:00)\n"
    endings = iter([(0, well), (1, "1 failed, 7531 passed, 2 errors in 9s")])
    monkeypatch.setattr(repeat, "run_once", lambda seed, options: next(endings))
    monkeypatch.setattr(repeat, "keep", lambda name, record: kept.append(json.dumps({name: record})))
    monkeypatch.setattr(repeat, "recorded", lambda name: {})
    monkeypatch.setattr(repeat, "state", lambda: "1")
    assert repeat.main(["20", "--first-seed", "5", "--docs"]) == 1
    records = [json.loads(text)["repeats"] for text in kept]
    assert [len(record["runs"]) for record in records] == [1, 2]
    found = records[-1]
    assert found["wanted"] == 20
    assert found["command"] == "python -m tests.repeat 20 --first-seed 5"
    assert [{**run, "seconds": 0} for run in found["runs"]] == [
        {"seed": 5, "seconds": 0, "exit_code": 0, "passed": 7533, "failed": 0, "skipped": 1},
        {"seed": 6, "seconds": 0, "exit_code": 1, "passed": 7531, "failed": 3, "skipped": 0},
    ]


@pytest.mark.parametrize(
    ("changed", "seeds"),
    [
        ({}, [7]),
        ({"command": "another"}, [5, 6, 7]),
        ({"state": "0"}, [5, 6, 7]),
        ({"exit_code": 1}, [5, 6, 7]),
        ({"run": {"python": "2.7", "machine": "PDP-11"}}, [5, 6, 7]),
    ],
    ids=["nothing", "the command", "a file", "its end", "the machine"],
)
def test_a_record_that_was_interrupted_goes_on_unless_something_has_changed(
    changed: dict[str, Any], seeds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def run_once(seed: int, options: Sequence[str]) -> tuple[int, str]:
        made.append(seed)
        return 0, "2 passed in 9s"

    run = {"seed": 6, "seconds": 9, "exit_code": 0, "passed": 2, "failed": 0, "skipped": 0} | changed
    record = {"command": "python -m tests.repeat 3 --first-seed 5", "state": "1", "run": conditions()} | changed
    kept: list[Any] = []
    monkeypatch.setattr(repeat, "run_once", run_once)
    monkeypatch.setattr(repeat, "keep", lambda name, record: kept.append(record))
    monkeypatch.setattr(repeat, "state", lambda: "1")
    monkeypatch.setattr(repeat, "recorded", lambda name: {**record, "runs": [{**run, "seed": 5}, run]})
    assert repeat.main(["3", "--first-seed", "5", "--docs"]) == 0
    assert made == seeds
    assert [run["seed"] for run in kept[-1]["runs"]] == [5, 6, 7]


def test_a_choice_of_tests_does_not_go_into_the_documentation(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        repeat.main(["20", "--docs", "-k", "nothing"])
    assert "--docs wants the whole: without -k nothing" in capsys.readouterr().err


def test_what_hypothesis_finds_is_told_with_the_line_that_repeats_it(tmp_path: Path) -> None:
    source = (
        "from hypothesis import given, strategies as st\n@given(st.integers())\ndef test_it(n):\n    assert n < 5\n"
    )
    done = run(tmp_path, source, "pytest", "-p", "no:cacheprovider")
    assert "@reproduce_failure(" in done.stdout
