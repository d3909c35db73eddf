"""Counts of what happened since the client was made."""

from __future__ import annotations

import threading
from collections import Counter

__all__ = ["Counters"]


class Counters:
    """Named sums that any thread adds to, once a batch and not once a message."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards _sums
        self._sums: Counter[str] = Counter()
        self._seconds = 0.0

    def add(self, **amounts: int) -> None:
        """Add to the sums."""
        with self._lock:
            for name, amount in amounts.items():  # Counter.update, which does this too, takes three times as long
                self._sums[name] += amount

    def spent(self, seconds: float) -> None:
        """Add to the time spent in callbacks."""
        with self._lock:
            self._seconds += seconds

    def read(self) -> tuple[dict[str, int], float]:
        """All sums, consistent with each other, and the time spent in callbacks."""
        with self._lock:
            return dict(self._sums), self._seconds

    def after_fork(self) -> None:
        """Count anew in a child process, with a fresh lock."""
        self._lock = threading.Lock()
        self._sums = Counter()
        self._seconds = 0.0
