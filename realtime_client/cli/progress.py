"""The wait for a feed that reads what is in its log files, with a bar where somebody sees it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from realtime_client.demo import LogFeed

__all__ = ["bar", "wait_for_history"]

PATIENCE = 10.0
"""Seconds that are waited for sources that never pause, once the files' history has been read."""
REDRAW = 0.1
WIDTH = 24
MB = 1_000_000


def wait_for_history(feed: LogFeed, *, quiet: bool, clock: Callable[[], float] = time.monotonic) -> None:
    """Wait until a feed has read what was in its files at the start; blocks for as long as that takes.

    Whoever connects then gets the last anomalies of it; whoever connects before would get all of them at once, and
    might be too slow for that.

    Args:
        feed: Started.
        quiet: Whether to show no bar. None is shown either where standard error is no terminal.
        clock: Monotonic seconds.
    """
    stream = None if quiet or not _is_seen(sys.stderr) else sys.stderr
    began = clock()
    drawn = False
    try:
        while not feed.wait_caught_up(REDRAW):
            read, total = feed.history
            elapsed = clock() - began
            if read >= total and elapsed >= PATIENCE:
                return
            if stream is not None and total:
                stream.write(f"\r{bar(read, total, elapsed)}\x1b[K")
                stream.flush()
                drawn = True
    finally:
        if drawn and stream is not None:
            stream.write("\r\x1b[K")
            stream.flush()


def bar(read: int, total: int, elapsed: float) -> str:
    """How far it is: a bar, a share, bytes, and how long it may still take."""
    share = read / total if total else 1.0
    left = f", {elapsed / share - elapsed:.0f} s left" if 0 < share < 1 else ""
    marks = "#" * round(share * WIDTH)
    return f"reading history [{marks:-<{WIDTH}}] {share:4.0%} of {total / MB:,.1f} MB{left}"


def _is_seen(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
