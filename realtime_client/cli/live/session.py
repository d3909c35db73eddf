"""The live view over a client, until somebody ends it."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime

from realtime_client import RealtimeClient
from realtime_client.cli.course import Course
from realtime_client.cli.live.frame import draw
from realtime_client.cli.live.terminal import Terminal
from realtime_client.cli.live.view import Facts, View
from realtime_client.cli.selection import Selection

__all__ = ["show"]

REFRESH = 0.5
"""Seconds between two frames, unless a key is pressed or the connection changes."""
HELD_LINES = 200
"""Lines said meanwhile that are kept for afterwards; of more, the newest."""


def show(client: RealtimeClient, course: Course, selection: Selection, *, colour: bool) -> None:
    """Show the live view on the terminal; blocks until ``q``. Main thread only.

    Args:
        client: Connecting, or connected.
        course: Watches it, and knows when there is no hope.
        selection: What is listed at first.
        colour: Whether to colour.

    Raises:
        Failure: There is no hope.
        KeyboardInterrupt, Terminated: A signal.
        OSError: The terminal has gone.
    """
    view = View(_facts(client), selection)
    with _said_afterwards(), Terminal(colour=colour) as terminal, client.on_status(lambda _: terminal.wake()):
        while True:
            columns, lines = terminal.size
            terminal.draw(draw(view, columns, lines))
            keys = terminal.keys(REFRESH)
            if not all(map(view.press, keys)):
                return
            if course.failure is not None:
                raise course.failure
            view.observe(_facts(client))


def _facts(client: RealtimeClient) -> Facts:
    return Facts(
        at=datetime.now(UTC),
        now=time.monotonic(),
        config=client.config,
        status=client.status,
        metrics=client.metrics(),
        snapshot=client.store.snapshot(),
    )


class _Aside(io.TextIOBase):
    """A stream that keeps its last lines. From any thread."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: deque[str] = deque(maxlen=HELD_LINES)

    def write(self, text: str) -> int:
        """Keep a text."""
        self.parts.append(text)
        return len(text)


@contextlib.contextmanager
def _said_afterwards() -> Iterator[None]:
    """What is said on standard error meanwhile is said when the view is gone, if it would appear in the midst of it."""
    stderr = sys.stderr
    if stderr is None or not stderr.isatty():
        yield
        return
    sys.stderr = aside = _Aside()
    try:
        yield
    finally:
        sys.stderr = stderr
        stderr.write("".join(aside.parts))
        stderr.flush()
