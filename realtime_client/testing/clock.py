"""A clock that stands still until a test advances it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from realtime_client._runtime.clock import Clock, Inbox

__all__ = ["FakeClock"]

T = TypeVar("T")
WAKE: Any = object()


class FakeClock(Clock):
    """Time that passes only when `advance` is called. Give it to ``RealtimeClient(clock=...)``.

    The client's threads wait on it; `wait_for_waiters` tells when they have come to rest, and `advance` wakes those
    whose time has come, in the order of their deadlines.

    Args:
        start: The wall time at the beginning (UTC).

    Example:
        >>> clock = FakeClock()
        >>> before = clock.monotonic()
        >>> clock.advance(3600)
        >>> clock.monotonic() - before
        3600.0
    """

    def __init__(self, start: datetime = datetime(2024, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed = 0.0
        self._lock = threading.Condition(threading.Lock())  # guards _elapsed and _waiters
        self._waiters: dict[object, tuple[float, Callable[[], None]]] = {}

    def monotonic(self) -> float:
        """Seconds since the beginning, plus a thousand."""
        return 1000.0 + self._elapsed

    def now(self) -> datetime:
        """The wall time (UTC)."""
        return self._start + timedelta(seconds=self._elapsed)

    def advance(self, seconds: float) -> None:
        """Let time pass, waking on the way whoever waits for less."""
        with self._lock:
            target = self._elapsed + seconds
        while True:
            with self._lock:
                due = [(at, key) for key, (at, _) in self._waiters.items() if at <= 1000.0 + target]
                if not due:
                    self._elapsed = max(self._elapsed, target)
                    return
                at, key = min(due, key=lambda pair: pair[0])
                self._elapsed = max(self._elapsed, at - 1000.0)
                _, wake = self._waiters.pop(key)
            wake()

    def wait_for_waiters(self, count: int = 1, timeout: float = 5.0) -> None:
        """Block, in real time, until at least so many threads wait for a time to come.

        Raises:
            TimeoutError: They did not come to wait.
        """
        deadline = time.monotonic() + timeout
        with self._lock:
            while len(self._waiters) < count:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"{len(self._waiters)} threads wait for a time, not {count}")
                self._lock.wait(left)

    def get(self, inbox: Inbox[T], timeout: float | None) -> T | None:
        """See `Clock.get`; the time is up when `advance` has passed it."""
        if timeout is None:
            return self._next(inbox)
        key = object()
        deadline = self.monotonic() + timeout
        if timeout > 0:
            self._register(key, deadline, lambda: inbox.queue.put(WAKE))
        try:
            while True:
                try:
                    item = inbox.queue.get(block=self.monotonic() < deadline)
                except queue.Empty:
                    return None
                if item is not WAKE:
                    return item
        finally:
            self._forget(key)

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        """See `Clock.wait`."""
        if timeout is None:
            condition.wait()
            return
        if timeout <= 0:
            return
        key = object()

        def wake() -> None:
            with condition:
                condition.notify_all()

        self._register(key, self.monotonic() + timeout, wake)
        try:
            condition.wait()
        finally:
            self._forget(key)

    @staticmethod
    def _next(inbox: Inbox[T]) -> T:
        while True:
            item = inbox.queue.get()
            if item is not WAKE:
                return item

    def _register(self, key: object, deadline: float, wake: Callable[[], None]) -> None:
        with self._lock:
            self._waiters[key] = (deadline, wake)
            self._lock.notify_all()

    def _forget(self, key: object) -> None:
        with self._lock:
            self._waiters.pop(key, None)
