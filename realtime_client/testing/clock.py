"""A clock that stands still until a test advances it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from realtime_client._runtime.clock import Clock, Inbox

if TYPE_CHECKING:
    from realtime_client import RealtimeClient

__all__ = ["FakeClock"]

T = TypeVar("T")
WAKE: Any = object()
START = 1000.0
"""What `FakeClock.monotonic` begins with."""
ROUNDING = timedelta(microseconds=2)
"""By how much two sums of a wall time and some seconds may differ; a `datetime` counts microseconds."""


class _Wait(NamedTuple):
    """Somebody who waits."""

    until: float
    thread: str
    wake: Callable[[], None]
    rests: Callable[[], bool]
    """Whether nothing has come that it has still to wake up for."""


class FakeClock(Clock):
    """Time that passes only when `advance` is called. Give it to ``RealtimeClient(clock=...)``.

    The client's threads wait on it. `advance` wakes those whose time has come, in the order of their deadlines;
    `wait_for_waiters` tells when they have come to rest, and `skip_delay` lets the delay before a client's next attempt
    pass. What comes over real sockets takes the time that it takes.

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
        self._lock = threading.Condition(threading.Lock())  # guards _elapsed and _waits
        self._waits: dict[object, _Wait] = {}

    def monotonic(self) -> float:
        """Seconds since the beginning, plus a thousand."""
        return START + self._elapsed

    def now(self) -> datetime:
        """The wall time (UTC)."""
        return self._start + timedelta(seconds=self._elapsed)

    def advance(self, seconds: float) -> None:
        """Let time pass, waking on the way whoever waits for less."""
        self._pass(self._elapsed + seconds)

    def skip_delay(self, client: RealtimeClient, timeout: float = 5.0) -> float:
        """Let the delay pass after which a client tries again to connect.

        Blocks, in real time, until the client waits for that moment, and then makes it come. What was due earlier, a
        poll for instance, comes at its own time.

        Args:
            client: One that lives by this clock.
            timeout: Seconds of real time.

        Returns:
            Seconds that have passed on this clock.

        Raises:
            TimeoutError: The client does not wait for an attempt; the message tells what it does.
        """
        began, deadline = self.now(), time.monotonic() + timeout
        told = threading.Event()
        with client.on_status(lambda _: told.set()):
            while (retry_at := client.status.next_retry_at) is None or retry_at - ROUNDING <= self.now():
                if not told.wait(deadline - time.monotonic()):
                    raise TimeoutError(f"{client!r} waits for no attempt: not within {timeout:g} s")
                told.clear()
        while self.now() < retry_at - ROUNDING:
            # One wake-up after the other: only from a thread that has come to rest is it known what it waits for.
            self._pass(self._rest_of(f"rtc-{client.config.name}-reconnect", deadline) - START)
        return (retry_at - began).total_seconds()

    def wait_for_waiters(self, count: int = 1, timeout: float = 5.0) -> None:
        """Block, in real time, until at least so many threads wait for a time to come, and have nothing else to do.

        Raises:
            TimeoutError: They did not come to wait.
        """
        deadline = time.monotonic() + timeout
        with self._lock:
            while (resting := sum(wait.rests() for wait in self._waits.values())) < count:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"{resting} threads wait for a time, not {count}")
                self._lock.wait(left)

    def get(self, inbox: Inbox[T], timeout: float | None) -> T | None:
        """See `Clock.get`; the time is up when `advance` has passed it."""
        if timeout is None:
            return self._next(inbox)
        deadline = self.monotonic() + timeout
        while True:
            if timeout > 0:
                self._wait_for_item(inbox, deadline)
            try:
                item = inbox.queue.get(block=False)
            except queue.Empty:
                return None
            if item is not WAKE:
                return item

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

        if self._register(key, self.monotonic() + timeout, wake, lambda: True):
            try:
                condition.wait()
            finally:
                self._forget(key)

    def _wait_for_item(self, inbox: Inbox[Any], deadline: float) -> None:
        """Wait until there is an item, or the time has come."""
        key = object()
        if self._register(key, deadline, lambda: inbox.queue.put(WAKE), inbox.queue.empty):
            try:
                inbox.queue.wait()
            finally:
                # Before the item is taken: who has something to do is never taken for one that rests.
                self._forget(key)

    def _pass(self, elapsed: float) -> None:
        """Let time pass until so much of it has, from the beginning."""
        while True:
            with self._lock:
                due = [(wait.until, key) for key, wait in self._waits.items() if wait.until <= START + elapsed]
                if not due:
                    self._elapsed = max(self._elapsed, elapsed)
                    return
                until, key = min(due, key=lambda pair: pair[0])
                self._elapsed = max(self._elapsed, until - START)
                wait = self._waits.pop(key)
            wait.wake()

    def _rest_of(self, thread: str, deadline: float) -> float:
        """Block, in real time, until a thread waits for a time to come, and tell which."""
        with self._lock:
            while not (until := [w.until for w in self._waits.values() if w.thread == thread and w.rests()]):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"the thread {thread} does not wait by this clock")
                self._lock.wait(left)
            return until[0]

    @staticmethod
    def _next(inbox: Inbox[T]) -> T:
        while True:
            item = inbox.queue.get()
            if item is not WAKE:
                return item

    def _register(self, key: object, until: float, wake: Callable[[], None], rests: Callable[[], bool]) -> bool:
        """Note that the calling thread waits; returns whether, since the time may have come already."""
        with self._lock:
            if self.monotonic() >= until:
                return False
            self._waits[key] = _Wait(until, threading.current_thread().name, wake, rests)
            self._lock.notify_all()
            return True

    def _forget(self, key: object) -> None:
        with self._lock:
            self._waits.pop(key, None)
