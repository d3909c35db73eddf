"""A clock that a test moves, and that knows which threads have come to rest on it."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime
from typing import Any, TypeVar

from realtime_client._runtime.clock import Inbox
from realtime_client.testing import FakeClock
from tests.client.recording import PATIENCE

T = TypeVar("T")

START = datetime(2024, 1, 1, tzinfo=UTC)


class RestingClock(FakeClock):
    """What time brings a thread that rests is fixed from then on: only then a test may move the time."""

    def __init__(self) -> None:
        super().__init__(START)
        self._moved = threading.Condition()  # guards the two below
        self._resting: set[str] = set()
        self.turns: Counter[str] = Counter()

    def get(self, inbox: Inbox[T], timeout: float | None) -> T | None:
        name = threading.current_thread().name
        if timeout is None:
            self._rests(name)
        try:
            return super().get(inbox, timeout)
        finally:
            with self._moved:
                self._resting.discard(name)
                self.turns[name] += 1

    def _register(self, *arguments: Any) -> bool:
        waits = super()._register(*arguments)
        if waits:
            self._rests(threading.current_thread().name)
        return waits

    def _rests(self, name: str) -> None:
        with self._moved:
            self._resting.add(name)
            self._moved.notify_all()

    def wait_for_rest(self, name: str, *, turns: int = 0) -> None:
        """Wait until the thread whose name begins like this rests, after so many turns."""
        with self._moved:
            assert self._moved.wait_for(
                lambda: any(one.startswith(name) and self.turns[one] >= turns for one in self._resting), PATIENCE
            )
