"""The harder conditions that the suite can be run under, and its repetition, do what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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
    done = run(tmp_path, source, "tests.repeat", "3", "--first-seed", "7")
    assert done.returncode == 0, done.stdout + done.stderr
    assert seeds.read_text().split() == ["7/7", "8/8", "9/9"]
    assert [line.partition(",")[0] for line in done.stdout.splitlines()] == [f"run {n} of 3" for n in (1, 2, 3)]


def test_repeat_ends_with_the_first_run_that_fails_and_shows_it(tmp_path: Path) -> None:
    source = "import os\ndef test_it():\n    assert os.environ['PYTHONHASHSEED'] != '2', 'the flake'\n"
    done = run(tmp_path, source, "tests.repeat", "5")
    assert done.returncode == 1
    assert "run 2 of 5" in done.stdout
    assert "run 3 of 5" not in done.stdout
    assert "the flake" in done.stdout
    again = done.stdout.partition("the same again: ")[2]
    assert again.startswith("PYTHONHASHSEED=2 ")
    assert " --hypothesis-seed=2 " in again


def test_what_hypothesis_finds_is_told_with_the_line_that_repeats_it(tmp_path: Path) -> None:
    source = (
        "from hypothesis import given, strategies as st\n@given(st.integers())\ndef test_it(n):\n    assert n < 5\n"
    )
    done = run(tmp_path, source, "pytest", "-p", "no:cacheprovider")
    assert "@reproduce_failure(" in done.stdout
