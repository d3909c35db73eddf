"""How to wait without missing a Ctrl-C."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

__all__ = ["SteadyQueue", "pieces"]

T = TypeVar("T")

FIRST = 0.05
LONGEST = 10.0


def pieces(timeout: float | None) -> Iterator[float | None]:
    """Cut a wait into pieces, on the main thread; on any other thread it stays whole.

    A signal that arrives in the moment between CPython's last look at signals and the wait for a lock is noticed only
    when that wait ends. So the first pieces are short, and each is twice as long as the one before: a Ctrl-C that
    comes just as a wait begins is noticed at once, and a long wait costs next to nothing.

    Args:
        timeout: Seconds in all; ``None`` for no end.

    Yields:
        Seconds to wait next.
    """
    if threading.current_thread() is not threading.main_thread():
        yield timeout
        return
    piece, left = FIRST, timeout
    while left is None:
        yield piece
        piece = min(2 * piece, LONGEST)
    while True:
        yield min(piece, left)
        left -= piece
        piece = min(2 * piece, LONGEST)
        if left <= 0:
            return


class SteadyQueue(Generic[T]):
    """A queue for one consumer, whose waits bear signals, and whose `put` may come from anywhere, a finaliser too.

    Each step is one call into C, so that a Ctrl-C between two of them leaves nothing half done. (A condition lets go of
    its lock and takes it again in steps of Python; a ``SimpleQueue`` waits for ever when a signal comes at the very end
    of its timeout.)
    """

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        # Locked while there is nothing new. Made here and not at import: a gevent-patched process gets gevent's.
        self._bell = threading.Lock()
        self._bell.acquire()

    def put(self, item: T) -> None:
        """Add an item; never blocks."""
        self._items.append(item)
        with contextlib.suppress(RuntimeError):  # it is ringing already
            self._bell.release()

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Take the next item.

        Raises:
            queue.Empty: There is none, or none came in time.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._items:
            left = -1.0 if deadline is None else deadline - time.monotonic()
            if not block or (deadline is not None and left <= 0):
                raise queue.Empty
            self._bell.acquire(timeout=left)
        return self._items.popleft()

    def wait(self) -> None:
        """Wait until there is an item, and leave it where it is."""
        while not self._items:
            self._bell.acquire()

    def empty(self) -> bool:
        """Whether there is nothing to take."""
        return not self._items
