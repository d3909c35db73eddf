"""The first steps, as a reader takes them, and what else on the pages is to be copied and is no Python."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from codeop import compile_command
from pathlib import Path

import pytest

from tests.docs.examples import FEED_URL, examples, lines, pages
from tests.docs.feeds import started
from tests.docs.test_examples import HEARING, TUTORIAL, run_page, until_ctrl_c


def test_the_tutorial_with_the_feed_that_it_starts(tmp_path: Path) -> None:
    (line,) = [line for example in examples(TUTORIAL, "console") for line in lines(example) if " serve " in line]
    make_log, serve = line.split(" && ")
    subprocess.run(["bash", "-c", make_log], cwd=tmp_path, check=True)
    _, *arguments = serve.split()
    with started("-m", "realtime_client", *arguments, "--port", "0", cwd=tmp_path) as (_, url):
        done = run_page(TUTORIAL, url, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_tutorial_can_be_typed_line_by_line() -> None:
    """Its reader sits at Python's prompt, where an empty line ends a block and nothing else does."""
    for example in examples(TUTORIAL, "python"):
        if not example.endless:  # that one is a file
            typed: list[str] = []
            for line in [*example.code.splitlines(), ""]:
                typed.append(line)
                if compile_command("\n".join(typed), example.page) is not None:
                    typed = []
            assert not typed, example.code


def test_the_first_script_is_ten_lines_and_runs_as_a_file(feed: str, tmp_path: Path) -> None:
    script = examples("README.md", "python")[0]
    assert len([line for line in script.code.splitlines() if line]) <= 10
    path = tmp_path / "follow.py"
    path.write_text(script.code.replace(FEED_URL, feed))
    with subprocess.Popen([*HEARING, sys.executable, "-u", str(path)], stdout=subprocess.PIPE, text=True) as process:
        until_ctrl_c(process)
    assert process.returncode == -signal.SIGINT


@pytest.mark.parametrize("page", [page for page in pages() if examples(page, "json")])
def test_what_is_shown_as_json_is_json(page: str) -> None:
    for example in examples(page, "json"):
        json.loads(example.code)


def test_the_lines_for_gevent(feed: str) -> None:
    (patching,) = [example.code for example in examples("docs/processes.md", "text")]
    client = f"import realtime_client\nwith realtime_client.RealtimeClient({feed!r}) as c: c.wait_for(timeout=20)"
    subprocess.run([sys.executable, "-c", patching + client], timeout=50, check=True)
