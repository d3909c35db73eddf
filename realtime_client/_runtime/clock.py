"""Time as the threads see it: what they read, and the two ways in which they wait.

Every timed wait of the runtime goes through a `Clock`, so that tests can put a fake one in its place and let hours pass
in a moment, without a sleep.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Generic, TypeVar

from realtime_client.patience import SteadyQueue, pieces

__all__ = ["Clock", "Inbox"]

T = TypeVar("T")

LONGEST_WAIT = 1e6
"""No wait is longer, in seconds: the system's own types end somewhere. Whoever waits looks at the time again."""


class Inbox(Generic[T]):
    """A thread's one waker: a queue that any thread, a finaliser included, may post to."""

    def __init__(self) -> None:
        self.queue: SteadyQueue[T] = SteadyQueue()

    def post(self, item: T) -> None:
        """Put an item; never blocks, re-entrant."""
        self.queue.put(item)


class Clock:
    """The real time."""

    monotonic: Callable[[], float] = staticmethod(time.monotonic)
    """Seconds that never go back. Not a method: it is asked twice for each callback."""

    def now(self) -> datetime:
        """The wall time, timezone-aware UTC."""
        return datetime.now(UTC)

    def get(self, inbox: Inbox[T], timeout: float | None) -> T | None:
        """Wait for the next item of an inbox; ``None`` when the time is up."""
        for piece in pieces(None if timeout is None else min(max(timeout, 0.0), LONGEST_WAIT)):
            try:
                return inbox.queue.get(timeout=piece)
            except queue.Empty:
                continue
        return None

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        """Wait on a held condition until it is notified or the time is up."""
        for piece in pieces(None if timeout is None else min(timeout, LONGEST_WAIT)):
            if condition.wait(piece):
                return
