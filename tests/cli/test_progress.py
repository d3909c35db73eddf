"""The wait for what is in the log files."""

from __future__ import annotations

import io
import itertools
import re
from types import SimpleNamespace
from typing import Any, cast

import pytest

from realtime_client.cli.progress import bar, wait_for_history
from realtime_client.demo import LogFeed


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Feed:
    """Reads a tenth of its history with each look."""

    def __init__(self, total: int, *, looks: int) -> None:
        self.history = (0, total)
        self._looks = looks

    def wait_caught_up(self, timeout: float) -> bool:
        read, total = self.history
        self.history = min(read + total // 10, total), total
        self._looks -= 1
        return self._looks <= 0


def wait(feed: Feed, *, quiet: bool = False) -> None:
    seconds = itertools.count()
    wait_for_history(cast(LogFeed, feed), quiet=quiet, clock=lambda: float(next(seconds)))


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    stream = Terminal()
    # Not sys.stderr itself, which is swapped between the preparation of a test and the test.
    monkeypatch.setattr("realtime_client.cli.progress.sys", SimpleNamespace(stderr=stream))
    monkeypatch.setenv("TERM", "xterm")
    return stream


@pytest.mark.parametrize(
    ("read", "total", "elapsed", "text"),
    [
        (0, 2_000_000, 5.0, "reading history [------------------------]   0% of 2.0 MB"),
        (500_000, 2_000_000, 5.0, "reading history [######------------------]  25% of 2.0 MB, 15 s left"),
        (2_000_000, 2_000_000, 5.0, "reading history [########################] 100% of 2.0 MB"),
    ],
)
def test_bar(read: int, total: int, elapsed: float, text: str) -> None:
    assert bar(read, total, elapsed) == text


def test_the_bar_is_drawn_and_taken_away(stderr: Terminal) -> None:
    wait(Feed(1_000_000, looks=5))
    drawn = stderr.getvalue().split("\r")
    assert drawn[0] == ""
    assert [re.findall(r"\d+%", text) for text in drawn[1:-1]] == [["10%"], ["20%"], ["30%"], ["40%"]]
    assert drawn[-1] == "\x1b[K"


def test_history_is_waited_for_however_long_it_takes(stderr: Terminal) -> None:
    feed = Feed(1_000_000, looks=1_000)
    wait(feed)
    assert feed.history == (1_000_000, 1_000_000)


def test_what_never_pauses_is_not_waited_for_for_ever(stderr: Terminal) -> None:
    feed: Any = Feed(0, looks=10**9)
    wait(feed)
    assert stderr.getvalue() == ""


@pytest.mark.parametrize("reason", ["quiet", "dumb", "no terminal", "no standard error"])
def test_nobody_sees_a_bar(reason: str, stderr: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    if reason == "dumb":
        monkeypatch.setenv("TERM", "dumb")
    elif reason != "quiet":
        there = None if reason == "no standard error" else stream
        monkeypatch.setattr("realtime_client.cli.progress.sys", SimpleNamespace(stderr=there))
    wait(Feed(1_000_000, looks=5), quiet=reason == "quiet")
    assert stderr.getvalue() == stream.getvalue() == ""
