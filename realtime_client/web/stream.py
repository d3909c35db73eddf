"""One page's stream: what a broadcast has for it, heartbeats, and an end; for threads and for an event loop.

The first thing that goes out is a heartbeat, so that a page that is up to date knows at once that it is heard. Its data
are ``every``, the spacing of heartbeats in seconds; ``asOf``, when the feed was last heard from; and ``now``, by which
the page tells how far its own clock is off.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Self

from realtime_client.events import wire_value
from realtime_client.patience import SteadyQueue
from realtime_client.web.broadcast import Broadcast, Cursor, HouseIsFull
from realtime_client.web.event_stream import encode_event, retry_after

__all__ = ["AsyncStream", "Stream"]

LIFETIME = 900.0
"""Seconds, or so, after which a stream ends. The page comes back, is asked for its login again, and goes on."""
RETRY = (1.0, 4.0)
"""Seconds after which a page comes back, drawn for each: a restarted server must not meet all of them at once."""
BRIEF_RETRY = 5.0
"""The same where a stream is brief."""
BRIEF_WAIT = 0.2
"""Seconds that a brief stream waits for something new."""
BUSY_RETRY = 15.0
"""The same where the house is full."""


class _Course:
    """What goes out next; neither waits nor knows who does.

    Args:
        broadcast: Where the frames are.
        last_event_id: The id of the last event that the page has.
        as_of: Gives what a heartbeat says of the feed.
        heartbeat: Seconds between heartbeats.
        brief: End after the first frame.
        ring: Called, on another thread, when there may be something to take.
    """

    def __init__(
        self,
        broadcast: Broadcast,
        last_event_id: str | None,
        *,
        as_of: Callable[[], Any],
        heartbeat: float,
        brief: bool,
        ring: Callable[[], object],
    ) -> None:
        self._broadcast = broadcast
        self._last_event_id = last_event_id
        self._as_of = as_of
        self._heartbeat = heartbeat
        self._brief = brief
        self._ring = ring
        self._cursor: Cursor | None = None
        self._ends_at = self._due = 0.0  # monotonic; known when it begins
        self._ended = False

    def take(self) -> bytes | None:
        """What goes out now; nothing yet (see `patience`); or ``None`` at the end."""
        if self._ended:
            return None
        now = time.monotonic()
        head = b"" if self._cursor is not None else self._begin(now)
        if self._cursor is None:  # the house is full
            self._ended = True
            return retry_after(BUSY_RETRY) + encode_event("busy", {"retry": BUSY_RETRY})
        news = self._broadcast.take(self._cursor) if now < self._ends_at else None
        if news is None:
            return head or None
        if not news and now >= self._due:
            news = self._beat()
        if news:
            self._due = now + self._heartbeat
            if self._brief:
                self._ends_at = now
        return head + news

    def _begin(self, now: float) -> bytes:
        """Take a place. Only now: an answer that is never read, to a HEAD for instance, takes none."""
        with contextlib.suppress(HouseIsFull):
            self._cursor = self._broadcast.join(self._last_event_id, self._ring)
        if self._ended:  # closed meanwhile, before there was a place to give back
            self.close()
        self._ends_at = now + LIFETIME * random.uniform(0.9, 1.1)  # noqa: S311 - spreads load, hides nothing
        self._due = now + (BRIEF_WAIT if self._brief else self._heartbeat)
        retry = BRIEF_RETRY if self._brief else random.uniform(*RETRY)  # noqa: S311 - as above
        return retry_after(retry) + self._beat()

    def _beat(self) -> bytes:
        now = wire_value(datetime.now(UTC))
        return encode_event("heartbeat", {"every": self._heartbeat, "asOf": self._as_of(), "now": now})

    def patience(self) -> float:
        """Seconds until there is something to take even without news."""
        return max(0.0, min(self._due, self._ends_at) - time.monotonic())

    def close(self) -> None:
        """The stream is over; idempotent, from any thread, never blocks."""
        self._ended = True
        if self._cursor is not None:
            self._broadcast.leave(self._cursor)


class Stream:
    """The body of an answer, as an iterator of bytes that blocks; for WSGI.

    Whoever has it must `close` it, as servers do by PEP 3333.
    """

    def __init__(self, broadcast: Broadcast, last_event_id: str | None, **course: Any) -> None:
        self._bell: SteadyQueue[None] = SteadyQueue()
        self._course = _Course(broadcast, last_event_id, ring=self._ring, **course)

    def _ring(self) -> None:
        self._bell.put(None)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        while (chunk := self._course.take()) is not None:
            if chunk:
                return chunk
            with contextlib.suppress(queue.Empty):
                self._bell.get(timeout=self._course.patience())
        self.close()
        raise StopIteration

    def close(self) -> None:
        """Give the place back; idempotent, from any thread, never blocks."""
        self._course.close()


class AsyncStream:
    """The body of an answer, as an asynchronous iterator of bytes; for ASGI."""

    def __init__(self, broadcast: Broadcast, last_event_id: str | None, **course: Any) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._bell = asyncio.Event()
        self._course = _Course(broadcast, last_event_id, ring=self._ring, **course)

    def _ring(self) -> None:
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed, and so is whoever would listen
            self._loop.call_soon_threadsafe(self._bell.set)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        self._loop = asyncio.get_running_loop()
        try:
            while (chunk := self._course.take()) is not None:
                if chunk:
                    return chunk
                # Not wait_for(): below Python 3.12 it swallows a cancellation that meets the bell.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._course.patience()):
                        await self._bell.wait()
                self._bell.clear()
        except BaseException:  # the page has left, and the server cancels the task
            self.close()
            raise
        self.close()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """The same as `close`."""
        self.close()

    def close(self) -> None:
        """Give the place back; idempotent, from any thread, never blocks."""
        self._course.close()
