"""How to wait without missing a Ctrl-C."""

from __future__ import annotations

import threading
from collections.abc import Iterator

__all__ = ["pieces"]

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
