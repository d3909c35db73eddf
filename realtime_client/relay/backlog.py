"""What came from upstream and is not in Redis yet: bounded, filled by the upstream client, emptied by the relay."""

from __future__ import annotations

import math
import threading
from collections import deque
from typing import Generic, TypeVar

from realtime_client._runtime.clock import Clock

__all__ = ["Backlog"]

T = TypeVar("T")


class Backlog(Generic[T]):
    """A bounded line. When it is full, whoever puts waits, and so holds the feed back.

    Args:
        limit: How many items.
        max_bytes: How many bytes they may take; a single item may take more.
        linger: Seconds in which more may gather behind the first item before it is taken.
        clock: The time; for tests.
    """

    def __init__(
        self, limit: int, *, max_bytes: float = math.inf, linger: float = 0.0, clock: Clock | None = None
    ) -> None:
        self._limit = limit
        self._max_bytes = max_bytes
        self._linger = linger
        self._clock = clock or Clock()
        self._items: deque[T] = deque()
        self._sizes: deque[int] = deque()  # of the items
        self._bytes = 0
        self._held_back = 0  # how many wait for room
        self._changed = threading.Condition(threading.Lock())  # guards everything here
        self._first_at = 0.0  # when the first of those that wait came, or earlier
        self._awaited = 0  # with how many items whoever takes wants to be woken
        self._open = True
        self._nudged = False
        self._high_water = 0  # when something was last taken

    def put(self, item: T, size: int = 0) -> None:
        """Add an item of so many bytes; waits while there is no room. After `close` the item is dropped."""
        with self._changed:
            if self._open and not self._has_room(size):
                self._held_back += 1
                self._changed.notify_all()  # nothing more can gather
                while self._open and not self._has_room(size):
                    self._changed.wait()
                self._held_back -= 1
            if not self._open:
                return
            if not self._items:
                self._first_at = self._clock.monotonic()
            self._items.append(item)
            self._sizes.append(size)
            self._bytes += size
            if len(self._items) == self._awaited:
                self._changed.notify_all()

    def take(self, most: int, timeout: float) -> list[T]:
        """Take the oldest items, at most so many; waits for the first, and then while more may gather.

        It comes back when the time is up, and at once when nudged, with what there is.
        """
        with self._changed:
            deadline = self._clock.monotonic() + timeout
            self._wait_for(1, deadline)
            if self._items:
                self._wait_for(min(most, self._limit), min(deadline, self._first_at + self._linger))
            self._nudged = False
            self._high_water = max(self._high_water, len(self._items))
            count = min(most, len(self._items))
            self._bytes -= sum(self._sizes.popleft() for _ in range(count))
            if self._held_back:
                self._changed.notify_all()
            return [self._items.popleft() for _ in range(count)]

    def _has_room(self, size: int) -> bool:
        return not self._items or (len(self._items) < self._limit and self._bytes + size <= self._max_bytes)

    def _wait_for(self, count: int, until: float) -> None:
        self._awaited = count
        while len(self._items) < count and not self._nudged and (left := until - self._clock.monotonic()) > 0:
            if self._items and self._held_back:
                break
            self._clock.wait(self._changed, left)
        self._awaited = 0

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

    @property
    def high_water(self) -> int:
        """The most items that ever waited."""
        with self._changed:
            return max(self._high_water, len(self._items))

    def __len__(self) -> int:
        with self._changed:
            return len(self._items)
