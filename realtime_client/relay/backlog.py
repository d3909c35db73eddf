"""What came from upstream and is not in Redis yet: bounded, filled by the upstream client, emptied by the relay."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

__all__ = ["Backlog"]

T = TypeVar("T")


class Backlog(Generic[T]):
    """A bounded line. When it is full, whoever puts waits, and so holds the feed back.

    Args:
        limit: How many items.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: deque[T] = deque()
        self._changed = threading.Condition(threading.Lock())  # guards everything here
        self._open = True
        self._nudged = False
        self.high_water: int = 0

    def put(self, item: T) -> None:
        """Add an item; waits while there is no room. After `close` the item is dropped."""
        with self._changed:
            while self._open and len(self._items) >= self._limit:
                self._changed.wait()
            if not self._open:
                return
            self._items.append(item)
            self.high_water = max(self.high_water, len(self._items))
            if len(self._items) == 1:
                self._changed.notify_all()

    def take(self, most: int, timeout: float) -> list[T]:
        """Take the oldest items, at most so many; waits for the first, and comes back with nothing when nudged."""
        with self._changed:
            if not self._items and not self._nudged:
                self._changed.wait(max(0.0, timeout))
            self._nudged = False
            was_full = len(self._items) >= self._limit
            taken = [self._items.popleft() for _ in range(min(most, len(self._items)))]
            if was_full:
                self._changed.notify_all()
            return taken

    def nudge(self) -> None:
        """Let whoever waits in `take` look around."""
        with self._changed:
            self._nudged = True
            self._changed.notify_all()

    def close(self) -> None:
        """Take nothing more; what waits can still be taken. Whoever waits for room goes on."""
        with self._changed:
            self._open = False
            self._changed.notify_all()

    def __len__(self) -> int:
        with self._changed:
            return len(self._items)
