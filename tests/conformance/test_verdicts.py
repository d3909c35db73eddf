"""What counts as a fault, and what is counted."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.suite import find_python27
from tests.conformance.verdicts import (
    INFORMATIONAL,
    Verdict,
    read_verdicts,
    shortcomings,
    summary,
    table_of_groups,
)


def verdict(case: str = "1.1.1", **different: Any) -> Verdict:
    fine = {"behavior": "OK", "closing": "OK", "code": 1000, "seconds": 0.5, "words": "why"}
    return Verdict(case, **{**fine, **different})


@pytest.mark.parametrize(
    "fault",
    [
        {"behavior": "NON-STRICT"},
        {"behavior": "FAILED"},
        {"behavior": "UNIMPLEMENTED"},
        {"behavior": "INFORMATIONAL"},
        {"closing": "WRONG CODE"},
        {"closing": "UNCLEAN"},
        {"closing": "FAILED"},
        {"code": None},
    ],
)
def test_every_blemish_is_a_shortcoming(fault: dict[str, Any]) -> None:
    (line,) = shortcomings([verdict("1.1.1"), verdict("1.1.2", **fault)])
    assert line.startswith("1.1.2: ")
    assert line.endswith("why")


def test_what_the_suite_does_not_judge_is_no_shortcoming() -> None:
    cases = [verdict(case, behavior="INFORMATIONAL", closing="INFORMATIONAL") for case in INFORMATIONAL]
    assert shortcomings([*cases, verdict("7.3.1", code=None)]) == []


def test_reports_are_read_in_the_order_of_the_cases() -> None:
    entry = {"behavior": "OK", "behaviorClose": "OK", "remoteCloseCode": None, "duration": 1500}
    words = {"result": "good", "resultClose": "clean"}
    first, second, third = read_verdicts([{"id": case, **entry, **words} for case in ("10.1.1", "9.2.1", "9.1.10")])
    assert (first.case, second.case, third.case) == ("9.1.10", "9.2.1", "10.1.1")
    assert (third.group, third.seconds, third.code, third.words) == ("10", 1.5, None, "good clean")


def test_figures_and_tables() -> None:
    found = [
        verdict("1.1.1"),
        verdict("12.1.1", behavior="UNIMPLEMENTED"),
        verdict("12.1.2", behavior="FAILED", closing="WRONG CODE", code=None),
    ]
    figures = {"version": "1.0", **summary(found)}
    assert list(figures["groups"]) == ["1", "12"]
    total = figures["total"]
    assert (total["cases"], total["ok"], total["failed"], total["unimplemented"]) == (3, 1, 1, 1)
    assert (total["wrong_close_code"], total["unclean"], total["seconds"]) == (1, 0, 1.5)
    assert total["close_codes"] == {"1000": 2, "none": 1}
    lines = table_of_groups(figures).splitlines()
    assert lines[2] == "| 1.* framing | 1 | 1 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 1000 (1) | 0.5 |"
    assert lines[-1] == "| all | 3 | 1 | 0 | 0 | 1 | 1 | 1 | 0 | 0 | 1000 (2), none (1) | 1.5 |"


def interpreter(place: Path, answer: int) -> str:
    """A program that gives this exit status, whatever it is asked."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f"#!/bin/sh\nexit {answer}\n")
    place.chmod(stat.S_IRWXU)
    return str(place)


def test_python27_is_looked_for_in_the_variable_on_the_path_and_in_pyenv(tmp_path: Path) -> None:
    nothing = {"PATH": str(tmp_path / "bin"), "PYENV_ROOT": str(tmp_path / "pyenv")}
    with pytest.raises(LookupError, match=r"pyenv$"):
        find_python27(nothing)
    in_pyenv = interpreter(tmp_path / "pyenv/versions/2.7.18/bin/python2.7", 0)
    shim = interpreter(tmp_path / "bin/python2.7", 127)  # without a Python behind it
    assert find_python27(nothing) == in_pyenv
    on_path = interpreter(tmp_path / "bin/python2.7", 0)
    assert find_python27(nothing) == on_path
    named = interpreter(tmp_path / "mine", 0)
    assert find_python27({**nothing, "REALTIME_PYTHON27": named}) == named
    with pytest.raises(LookupError, match="none is wanted"):
        find_python27({**nothing, "REALTIME_PYTHON27": ""})
    interpreter(Path(shim), 127)
    with pytest.raises(LookupError, match=r"python2\.7: it answered with 127\)"):
        find_python27({"PATH": str(tmp_path / "bin"), "PYENV_ROOT": str(tmp_path)})


def test_a_python27_that_does_not_answer_is_none_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wait_for_ever(command: list[str], **_: object) -> None:
        raise subprocess.TimeoutExpired(command, 50)

    monkeypatch.setattr(subprocess, "run", wait_for_ever)
    interpreter(tmp_path / "python2.7", 0)
    with pytest.raises(LookupError, match=r"python2\.7: it did not answer within 50 s"):
        find_python27({"PATH": str(tmp_path), "PYENV_ROOT": str(tmp_path)})


def test_a_named_python27_that_is_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="REALTIME_PYTHON27"):
        find_python27({"REALTIME_PYTHON27": str(tmp_path / "missing")})
    with pytest.raises(ValueError, match="REALTIME_PYTHON27"):
        find_python27({"REALTIME_PYTHON27": interpreter(tmp_path / "python3", 1)})
