"""``demo`` on a real terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.live.screen import PROMPT, Screen


@pytest.fixture
def screen() -> Iterator[Screen]:
    terminal = Screen()
    yield terminal
    terminal.close()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "app.log"
    path.write_text("".join(f"2026-11-23 12:00:{n:02},000 CRITICAL shop: out of memory {n}\n" for n in range(8)))
    return path


def test_it_opens_the_live_view(screen: Screen, log: Path) -> None:
    screen.run("demo", "--tail", str(log))
    screen.wait_for("CONNECTED · stream", "shop", "out of memory")
    screen.type("q")
    text = screen.wait_until(lambda text: text.count(PROMPT) == 2)
    assert f"following {log}"[:60] in text
    assert "REALTIME_URL=ws://127.0.0.1:" in text


@pytest.mark.parametrize(
    "options", [["--count", "1"], ["--output", "pretty", "--count", "1"], ["-n", "0", "--duration", "1"]]
)
def test_it_writes_lines_where_they_are_asked_for(options: list[str], screen: Screen, log: Path) -> None:
    screen.run("demo", "--tail", str(log), *options)
    screen.wait_until(lambda text: text.count(PROMPT) == 2)
    assert b"\x1b[?1049h" not in screen.written


def test_without_rich_it_writes_lines_and_says_why(screen: Screen, log: Path, tmp_path: Path) -> None:
    (tmp_path / "rich.py").write_text("raise ModuleNotFoundError(\"No module named 'rich'\", name='rich')")
    screen.type(f"export PYTHONPATH={tmp_path}\n")
    screen.run("demo", "--tail", str(log))
    screen.wait_for("lines instead of the live view, which needs rich: pip install", "out of memory 7")


def test_a_bar_is_shown_while_a_long_history_is_read(screen: Screen, tmp_path: Path) -> None:
    path = tmp_path / "long.log"
    line = "2026-11-23 12:00:00,000 INFO web: page served\n"
    path.write_text(line * 100_000 + "2026-11-23 12:10:00,000 CRITICAL shop: out of memory\n")
    screen.run("demo", "--tail", str(path))
    screen.wait_for("CONNECTED · stream", "shop", "out of memory")
    assert b"reading history [" in screen.written
    assert b"% of 4.6 MB" in screen.written
