"""Counts of what happened since the client was made."""

from __future__ import annotations

import threading
from collections import Counter

from realtime_client.transports.base import Link

__all__ = ["Counters"]


class Counters:
    """Named sums that any thread adds to, once a batch and not once a message."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards all below
        self._sums: Counter[str] = Counter()
        self._links: tuple[Link, ...] = ()
        self._seconds = 0.0

    def add(self, **amounts: int) -> None:
        """Add to the sums."""
        with self._lock:
            for name, amount in amounts.items():  # Counter.update, which does this too, takes three times as long
                self._sums[name] += amount

    def follow(self, link: Link) -> None:
        """Count the bytes that a link has sent, too, from now on."""
        with self._lock:
            self._links = (*self._links, link)

    def settle(self, link: Link) -> None:
        """Such a link has ended; what it sent stays counted."""
        sent = link.sent_bytes
        with self._lock:
            self._links = tuple(other for other in self._links if other is not link)
            self._sums["bytes_sent"] += sent

    def spent(self, seconds: float) -> None:
        """Add to the time spent in callbacks."""
        with self._lock:
            self._seconds += seconds

    def read(self) -> tuple[dict[str, int], float]:
        """All sums, consistent with each other, and the time spent in callbacks."""
        with self._lock:
            sums, links, seconds = dict(self._sums), self._links, self._seconds
        for link in links:  # of what ends meanwhile the sum is without, and the link still says it
            sums["bytes_sent"] = sums.get("bytes_sent", 0) + link.sent_bytes
        return sums, seconds

    def after_fork(self) -> None:
        """Count anew in a child process, with a fresh lock."""
        self._lock = threading.Lock()
        self._links = ()
        self._sums = Counter()
        self._seconds = 0.0
