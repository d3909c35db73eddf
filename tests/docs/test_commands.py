"""What the README and the documentation tell one to type or to install is there, and is run by some test."""

from __future__ import annotations

import configparser
import re

from tests.docs.examples import ROOT, Example, commands, examples, lines, pages

ELSEWHERE = {
    r"(python3 -m venv \S+ && )?\.venv/bin/pip install \S+ (-e )?\S+": ".ci/run",
    r"(.* |)\.venv/bin/python -m pytest.*": ".ci/run",
    r"\.venv/bin/python examples/feed\.py": "tests/docs/conftest.py",
    r"\.venv/bin/python follow\.py": "tests/docs/test_tutorial.py",
    r"\.venv/bin/python -m benchmarks\.capacity .*": "tests/test_capacity.py",
    r"\.venv/bin/python -m benchmarks .*": "tests/test_benchmarks.py",
    r"\.venv/bin/python -m tests\..*": "tests/docs/test_reliability.py",
    r"source <\(realtime-client completion bash\)": "tests/cli/test_completion.py",
    r"(gunicorn|uvicorn|uwsgi|celery) .*": "tests/django/test_deploying.py",
    r"cd examples/django_site|python manage\.py .*": "tests/django/test_site.py",
    r"flask realtime .*": "tests/flask/test_example.py",
    r"curl .*/stream": "tests/flask/test_views.py",
}
"""What else one is told to type, and where that is run."""


def every_line(page: str) -> list[str]:
    """All that the page tells its reader to type into a shell."""
    return [line for example in examples(page, "console") for line in lines(example)]


def test_whatever_one_is_told_to_type_is_run_somewhere() -> None:
    run_here = {line for page in pages() for e in examples(page, "console") for line in lines(e) if commands_in(line)}
    others = {line for page in pages() for line in every_line(page)} - run_here
    assert [line for line in others if not any(re.fullmatch(known, line) for known in ELSEWHERE)] == []
    assert [known for known in ELSEWHERE if not any(re.fullmatch(known, line) for line in others)] == []
    assert [place for place in ELSEWHERE.values() if not (ROOT / place).is_file()] == []


def commands_in(line: str) -> list[str]:
    return commands(Example("", 1, "console", f"$ {line}\n", ""))


def test_every_extra_that_is_named_can_be_installed() -> None:
    known = configparser.ConfigParser()
    known.read(ROOT / "setup.cfg")
    texts = "".join((ROOT / page).read_text(encoding="utf-8") for page in pages())
    named = {extra for found in re.findall(r"(?:realtime-client|'\.)\[([\w,]+)\]", texts) for extra in found.split(",")}
    assert len(named) >= 8
    assert named <= set(known["options.extras_require"])


def test_the_readme_is_short_and_begins_with_what_to_type() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert 90 <= len(text) <= 140
    first_screen = "\n".join(text[:30])
    assert "realtime-client demo --tail" in first_screen
    assert "-m pytest" in first_screen
    assert "![" in first_screen
