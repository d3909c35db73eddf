"""Which changes are made to the code, and that a trial says of each whether a test has noticed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.examples import ROOT
from tests.mutation.__main__ import _again as again
from tests.mutation.__main__ import main
from tests.mutation.mutants import changed, mutants_of
from tests.mutation.subjects import PACKAGE, SUBJECTS
from tests.mutation.survivors import WHY


def changes(source: str) -> list[str]:
    return [mutant.change for mutant in mutants_of(source)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b <= c", ["`a < b <= c` becomes `a <= b <= c`", "`a < b <= c` becomes `a < b < c`"]),
        ("a and b", ["`a and b` becomes `a or b`"]),
        ("a // b", ["`a // b` becomes `a * b`"]),
        ("not a", ["`not a` becomes `a`"]),
        ("f(x=y)", ["without `x=y`"]),
        ("lambda: a", ["`lambda: a` becomes `lambda: None`"]),
        ("a if b else c", ["`b` becomes `not b`"]),
        ("lambda: None", []),
        ("a.b", []),
    ],
)
def test_an_expression_is_changed(source: str, expected: list[str]) -> None:
    assert changes(f"x = {source}") == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a += b", ["`a += b` becomes `a -= b`", "without `a += b`"]),
        ("a.b = c", ["without `a.b = c`"]),
        ("a.b: int = c", ["without `a.b: int = c`"]),
        ("a: int = c", []),
        ("a()", ["without `a()`"]),
        ("raise a", ["without `raise a`"]),
        ("if a: b = c", ["`a` becomes `not a`"]),
        ("while a: break", ["`a` becomes `not a`", "`break` becomes `continue`"]),
        ("def f(): return a", ["`return a` becomes `return None`"]),
        ("def f(): return None", []),
        ("def f(x=1): pass", ["`1` becomes `2`"]),
    ],
)
def test_a_statement_is_changed(source: str, expected: list[str]) -> None:
    assert changes(source) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("3", "4"),
        ("0.5", "1.5"),
        ("1e+300", "0.0"),
        ("True", "False"),
        ("'word'", "'XXwordXX'"),
        ("b''", "b'XXXX'"),
    ],
)
def test_a_constant_is_changed(value: str, expected: str) -> None:
    assert changes(f"x = {value}") == [f"`{value}` becomes `{expected}`"]


@pytest.mark.parametrize(
    "source",
    [
        '"""A module."""',
        "x = 'words for people'",
        "x = f'{y}: text'",
        "__all__ = ['a']",
        "import a",
        "assert a == b",
        "Number = Callable[[int, float], float]",
        "Item: TypeAlias = str | bytes",
        "T = TypeVar('T')",
        "if TYPE_CHECKING:\n    a = 1",
        "x: Literal[1] = y",
        "@attrs.frozen(kw_only=True)\nclass A: pass",
        "def f(x: int | str) -> str | None: pass",
        "x = None",
    ],
)
def test_what_no_test_can_notice_is_left_alone(source: str) -> None:
    assert changes(source) == []


def test_rows_of_a_table_are_taken_away_and_members_of_an_enum_exchanged() -> None:
    source = "class E(enum.Enum):\n    A = x\n    B = y\nT = {E.A: z, E.B: z}\ndef f(): t = (u, v)"
    assert changes(source) == [
        "without `E.A`",
        "without `E.B`",
        "`E.A` becomes `E.B`",
        "`E.B` becomes `E.A`",
    ]


def test_a_mutant_knows_its_place_and_is_one_change() -> None:
    source = "class A:\n    def f(self):\n        return self.a == 3\n"
    mutants = mutants_of(source)
    assert {(mutant.place, mutant.line) for mutant in mutants} == {("A.f", 3)}
    made = [ast.unparse(changed(source, mutant.number)) for mutant in mutants]
    assert [text.rpartition("\n")[2].strip() for text in made] == [
        "return None",
        "return self.a != 3",
        "return self.a == 4",
    ]


def test_each_file_can_be_changed_and_has_tests() -> None:
    for file, tests in SUBJECTS.items():
        source = (PACKAGE / file).read_text(encoding="utf-8")
        mutants = mutants_of(source)
        assert len(mutants) > 10, file
        compile(changed(source, mutants[-1].number), file, "exec")
        assert all((ROOT / test).exists() for test in tests)


def test_every_reason_is_about_a_mutant_that_there_is() -> None:
    there = {
        (file, mutant.place, mutant.change)
        for file in SUBJECTS
        for mutant in mutants_of((PACKAGE / file).read_text(encoding="utf-8"))
    }
    assert set(WHY) <= there


def test_survivors_are_tried_again_only_where_the_code_is_the_same() -> None:
    gone = {"file": "store.py", "line": 1, "place": "f", "change": "`a` becomes `b`"}
    with pytest.raises(SystemExit, match="is no mutant of today's code: try all of them"):
        again({"files": {"store.py": {}}, "survivors": [gone]})


def test_a_part_that_there_is_not_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["client.py"])
    assert "no such part: client.py; there are _core/answers.py, " in capsys.readouterr().err


MODULE = "def f(x):\n    while x > 3:\n        x -= 1\n    return x\n"
TESTS = "from made_up import f\ndef test_it():\n    assert f(5) == 3\n"
JUDGE = """
import sys
from pathlib import Path
from tests.mutation.mutants import changed, mutants_of
from tests.mutation.trial import Trial

path = Path(sys.argv[1], "made_up.py")
trial = Trial("made_up", path, ("--rootdir", sys.argv[1], sys.argv[1]))
source = path.read_text()
assert trial.baseline(1) > 0
for mutant in mutants_of(source):
    print(mutant.change, "->", trial.judge(changed(source, mutant.number), 1, cpu=2, patience=50).value)
"""


def test_a_trial_says_which_mutants_a_test_has_noticed(tmp_path: Path) -> None:
    (tmp_path / "made_up.py").write_text(MODULE)
    (tmp_path / "test_made_up.py").write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-c", JUDGE, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=55, check=True
    )
    assert done.stdout.splitlines() == [
        "`x > 3` becomes `x >= 3` -> killed",
        "`3` becomes `4` -> killed",
        "`x -= 1` becomes `x += 1` -> timed out",
        "without `x -= 1` -> timed out",
        "`1` becomes `2` -> survived",
        "`return x` becomes `return None` -> killed",
    ]


def test_no_trial_begins_where_the_tests_fail_anyway(tmp_path: Path) -> None:
    (tmp_path / "made_up.py").write_text(MODULE)
    (tmp_path / "test_made_up.py").write_text(TESTS.replace("== 3", "== 4"))
    done = subprocess.run(
        [sys.executable, "-c", JUDGE, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=55, check=False
    )
    assert done.returncode == 1
    assert "made_up: the tests fail without any change" in done.stderr
