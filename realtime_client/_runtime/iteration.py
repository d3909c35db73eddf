"""Events for a thread that asks for them, instead of a callback."""

from __future__ import annotations

import contextlib
import weakref
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from realtime_client._runtime.hub import SideLane, Topic
from realtime_client._runtime.mailbox import Notice, Run
from realtime_client.errors import RealtimeError
from realtime_client.events import Event

__all__ = ["EventIterator"]


class EventIterator:
    """An iterator over events, subscribed from its making on. Also a context manager that unsubscribes on exit.

    It ends when the client is closed or gives up, after ``timeout`` seconds without an event, or when `close` is
    called. Events wait in a buffer of their own, under the client's overflow policy, until they are asked for.

    Args:
        lane: The buffer.
        timeout: Seconds without an event after which it ends; ``None`` for never.
        check: Called before each wait; raises where waiting is not allowed.

    Attributes:
        failure: Why it ended, where the client gave up; else ``None``.
        ended: Whether the client was closed or gave up.
    """

    def __init__(self, lane: SideLane, *, timeout: float | None, check: Callable[[], None]) -> None:
        self._lane = lane
        self._timeout = timeout
        self._check = check
        self._hand: Run = deque()
        self._over = False
        self.ended: bool = False
        self.failure: RealtimeError | None = None
        # A dropped iterator unsubscribes. Only a flag is set: a finaliser may run anywhere, even under the hub's lock.
        weakref.finalize(self, _leave, lane).atexit = False

    def next_within(self, timeout: float | None) -> Event | None:
        """The next event; ``None`` when the time is up or there will be none any more."""
        while not self._over:
            if self._hand:
                with contextlib.suppress(IndexError):  # the overflow policy may take from the hand, too
                    return self._hand.popleft()
            self._check()
            item = self._lane.mailbox.take(timeout)
            if item is None:
                return None
            if isinstance(item, Notice):
                self._over = self.ended = True
                if item.topic is Topic.FAILED:
                    self.failure = item.argument
            else:
                self._hand = item
        return None

    def close(self) -> None:
        """Unsubscribe, and end, from any thread, also while another one waits in it."""
        self._over = True
        _leave(self._lane)
        self._lane.mailbox.close("cancelled")
        self._lane.mailbox.nudge()

    def end(self) -> None:
        """End as if the client were closed, from any thread, also while another one waits in it."""
        self._lane.active = False
        self._lane.mailbox.close("cancelled")
        self._lane.mailbox.tell(Notice(Topic.END))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        event = self.next_within(self._timeout)
        if event is None:
            self.close()
            raise StopIteration
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _leave(lane: SideLane) -> None:
    lane.active = False
    lane.mailbox.abandoned = True
