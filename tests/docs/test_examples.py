"""Every example of the README and of the documentation is run, against a real feed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.docs import examples as documentation
from tests.docs.examples import FEED_URL, REDIS_ADDRESS, ROOT, Example, blocks, commands, examples, pages

PYTHON_PAGES = [page for page in pages() if examples(page, "python", "pycon")]
TUTORIAL = "docs/tutorial.md"
"""Whose reader makes a feed; `test_tutorial` runs it."""
COMMANDS = [
    (example, command) for page in pages() for example in examples(page, "console") for command in commands(example)
]
PROJECTS = sorted(
    {(page, example.file[0]) for page in PYTHON_PAGES for example in examples(page, "python") if example.file}
)
LANGUAGES = {"python", "pycon", "console", "json", "text"}
REAL_LOG = "/var/log/dpkg.log"
LINES_UNTIL_CTRL_C = 3
SECONDS_EACH = 30
LAUNCHER = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)  # a background job ignores Ctrl-C, and its children inherit that
os.execvp(sys.argv[1], sys.argv[1:])
"""
HEARING = (sys.executable, "-c", LAUNCHER)


def run_page(
    page: str, url: str, redis_address: str = REDIS_ADDRESS, *, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run the Python examples of a page in a process of their own."""
    command = [sys.executable, "-W", "error", "-m", "tests.docs.run_page", page, url]
    environment = {**os.environ, "REDIS_ADDRESS": redis_address, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=55, check=False)


@pytest.mark.parametrize("page", [page for page in PYTHON_PAGES if page != TUTORIAL])
def test_python_examples(page: str, feed: str, redis_address: str, tmp_path: Path) -> None:
    done = run_page(page, feed, redis_address, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("page", "project"), PROJECTS)
def test_projects(page: str, project: str, tmp_path: Path) -> None:
    done, wanted = run_project(page, project, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"\b{wanted} passed|\bRan {wanted} tests", done.stdout + done.stderr), done.stdout + done.stderr


def run_project(page: str, project: str, folder: Path) -> tuple[subprocess.CompletedProcess[str], int]:
    """Run the tests of a project that a page shows; how that went, and how many tests there are."""
    files = {e.file[1]: e.code for e in examples(page, "python") if e.file and e.file[0] == project}
    for name, code in files.items():
        (folder / name).write_text(code)
    with_django = ["django", "test", "--settings", "settings"]
    runner = with_django if "settings.py" in files else ["pytest", "-c", os.devnull, "--rootdir", str(folder)]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", *runner],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    return done, sum(code.count("def test_") for code in files.values())


@pytest.mark.parametrize(("example", "command"), COMMANDS, ids=[f"{e.page}:{e.line}:{c}" for e, c in COMMANDS])
@pytest.mark.usefixtures("recording")
def test_console_examples(example: Example, command: str, feed: str, redis_address: str, log_file: Path) -> None:
    command = command.replace(REAL_LOG, str(log_file)).replace(FEED_URL, feed)
    command = command.replace(REDIS_ADDRESS, redis_address)
    if " serve" in command and "--port" not in command:
        command += " --port 0"
    if " --web" in command and "--web-port" not in command:
        command += " --web-port 0"
    before, last = ("", command) if " && " not in command else command.rsplit(" && ", 1)
    with subprocess.Popen(
        [*HEARING, "bash", "-c", f"{before or ':'} && exec {last}" if example.endless else command],
        cwd=log_file.parent,
        env=command_environment(feed),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        said = until_ctrl_c(process) if example.endless else process.communicate(timeout=SECONDS_EACH)[0]
    assert process.returncode in ((0, 130) if example.endless else (0,)), said
    assert said.strip(), "it said nothing"
    assert "Traceback" not in said, said


def command_environment(feed: str) -> dict[str, str]:
    """The environment of a command: the installed one comes first, and the feed of the tests is the default."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "REALTIME_URL": feed, "PYTHONUNBUFFERED": "1"}


def until_ctrl_c(process: subprocess.Popen[str]) -> str:
    """Let a command say a few lines, press Ctrl-C, and wait for its end."""
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(LINES_UNTIL_CTRL_C)]
    process.send_signal(signal.SIGINT)
    return "".join(said) + process.communicate(timeout=SECONDS_EACH)[0]


def test_there_are_examples_on_the_pages_that_need_them() -> None:
    needed = {
        *("tutorial", "scripts", "custom-events", "migrating", "concepts", "guarantees", "outages", "reconnection"),
        *(
            "testing",
            "processes",
            "sharing",
            "recording",
            "flask",
            "django",
            "dashboard",
            "relay",
            "metrics",
            "diagnosing",
        ),
    }
    assert {"README.md", *(f"docs/{page}.md" for page in needed)} <= set(PYTHON_PAGES)
    assert {"README.md", "docs/command-line.md", "docs/tutorial.md"} <= {example.page for example, _ in COMMANDS}


@pytest.mark.parametrize("page", pages())
def test_every_block_says_its_language(page: str) -> None:
    languages = {example.language for example in blocks(page)}
    assert {language for language in languages if not language.startswith("{")} <= LANGUAGES | {"typescript"}


BAD_PAGES = {
    "an exception": ("```python\nraise ValueError('broken example')\n```\n", "broken example"),
    "a failed assertion": ("```python\nassert 1 + 1 == 3\n```\n", "AssertionError"),
    "another answer": ("```pycon\n>>> 1 + 1\n3\n```\n", "Expected:"),
    "an endless example that ends": (f"{documentation.UNTIL_CTRL_C}\n```python\nprint(1)\n```\n", "before Ctrl-C"),
    "nobody at the address": (
        "```python\nfrom socket import create_connection as c\nc(('localhost', 1))\n```\n",
        "refused",
    ),
}


@pytest.mark.parametrize(("text", "complaint"), BAD_PAGES.values(), ids=BAD_PAGES.keys())
def test_a_broken_example_is_noticed(text: str, complaint: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    done = run_page(str(page), FEED_URL)
    assert done.returncode != 0
    assert complaint in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("def test_it():\n    assert 1 + 1 == 3", "1 failed"), ("def test_it(nonsense):\n    pass", "1 error")],
)
def test_a_project_whose_tests_fail_is_noticed(text: str, complaint: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"<!-- the file shop/test_shop.py -->\n```python\n{text}\n```\n")
    done, wanted = run_project(str(page), "shop", tmp_path)
    assert done.returncode != 0
    assert complaint in done.stdout
    assert wanted == 1


def test_an_example_that_hangs_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nimport threading\nthreading.Event().wait()\n```\n")
    program = f"from tests.docs import run_page\nrun_page.SECONDS_EACH = 0.2\nrun_page.main({str(page)!r}, '')"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode != 0
    assert "Timeout" in done.stderr


def test_commands_are_found() -> None:
    code = textwrap.dedent(
        """\
        $ python3 -m venv .venv && .venv/bin/realtime-client demo \\
            --count 3
        an answer of realtime-client
        $ REALTIME_TOKEN=x realtime-client tail | head -3
        $ pip install realtime-client
        $ echo x > a.log && .venv/bin/realtime-client serve --tail a.log
        """
    )
    found = commands(Example("page.md", 1, "console", code, ""))
    assert [" ".join(command.split()) for command in found] == [
        "realtime-client demo --count 3",
        "REALTIME_TOKEN=x realtime-client tail | head -3",
        "echo x > a.log && realtime-client serve --tail a.log",
    ]


def test_an_installed_command_is_meant(feed: str) -> None:
    environment: dict[str, Any] = command_environment(feed)
    found = subprocess.run(
        ["bash", "-c", "command -v realtime-client"], env=environment, capture_output=True, text=True, check=False
    )
    assert found.stdout.strip() == str(Path(sys.executable).parent / "realtime-client")
