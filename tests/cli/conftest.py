"""The command, as a process of its own or, where that makes no difference, as a call."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import pytest

from realtime_client.cli import main
from tests.cli.process import STEERING, Process, Start


class Ended(NamedTuple):
    """What came of a call."""

    code: int
    out: list[str]
    err: list[str]


PATIENCE = 30.0
"""Seconds after which a thread of a feed is left for good."""

Call: TypeAlias = Callable[..., Ended]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start the command with arguments, ``env=`` and the streams of ``subprocess.Popen``."""
    running: list[Process] = []

    def begin(*args: str, **more: Any) -> Process:
        running.append(Process(*args, **more))
        return running[-1]

    yield begin
    for process in running:
        process.stop()


@pytest.fixture(params=["WEST+5", "EAST-9"])
def another_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine stands far from Greenwich."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Call the command with arguments and ``env=``; it must leave no thread behind."""
    for name in [name for name in os.environ if STEERING.match(name)]:
        monkeypatch.delenv(name)

    def run(*args: str, env: Mapping[str, str] | None = None) -> Ended:
        for name, value in (env or {}).items():
            monkeypatch.setenv(name, value)
        before = set(threading.enumerate())
        code = main(args)
        captured = capsys.readouterr()
        left = [t for t in threading.enumerate() if t not in before and t.name.startswith(("rtc-", "feed-"))]
        for thread in left:
            if thread.name.startswith("feed-"):  # of the feed that the test itself serves, perhaps
                thread.join(PATIENCE)
        assert [thread.name for thread in left if thread.is_alive()] == []
        return Ended(code, captured.out.splitlines(), captured.err.splitlines())

    return run
