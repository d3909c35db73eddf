"""The thread that polls: over and over while the stream cannot be had, or once, to fill in what was missed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from realtime_client._core.retry import LONGEST_RETRY_AFTER
from realtime_client._runtime.clock import Clock, Inbox
from realtime_client._runtime.counters import Counters
from realtime_client._runtime.intake import Intake
from realtime_client.config import ClientConfig
from realtime_client.errors import PollError
from realtime_client.status import Transport
from realtime_client.transports.base import Poller

__all__ = ["PollReport", "PollThread", "poll_once"]

logger = logging.getLogger("realtime_client")

LONGEST_DELAY = 60.0
"""Failing polls are spaced out, up to this many seconds."""


class PollReport:
    """What one poll gave, as the reconnect thread is told.

    Attributes:
        thread: Who polled.
        error: Why it failed, or ``None``.
        recovered: How many new events it gave.
        at: When it was asked (UTC).
        since: From when on the next poll has to ask.
        not_before: When the next poll may be made at the earliest (monotonic).
        last: Whether it was the last one.
    """

    def __init__(
        self,
        thread: PollThread,
        error: PollError | None,
        *,
        recovered: int,
        at: datetime,
        since: datetime | None,
        not_before: float,
        last: bool,
    ) -> None:
        self.thread = thread
        self.error = error
        self.recovered = recovered
        self.at = at
        self.since = since
        self.not_before = not_before
        self.last = last


def poll_once(
    poller: Poller,
    *,
    since: datetime | None,
    intake: Intake,
    counters: Counters,
    timeout: float,
    transport: Callable[[], Transport | None],
) -> tuple[int, datetime | None]:
    """Ask once and take the answer over.

    Returns:
        How many events were new, and the newest timestamp in the answer.

    Raises:
        PollError: It failed.
    """
    answer = poller.poll(since, timeout)
    if answer is None:
        recovered, newest = 0, None
        intake.unchanged(transport)
    else:
        recovered, newest = intake.take_answer(answer, transport)
    counters.add(polls=1)
    return recovered, newest


class PollThread:
    """One period of polling.

    Args:
        poller: Asks.
        since: What the first poll asks from: the newest timestamp held when the stream was lost. Not what the store
            holds by then, since that may have come after the gap.
        not_before: When the server wants to be asked at the earliest (monotonic).
        config: For the spacing.
        intake, counters, clock: What the threads share.
        report: Told of each poll.
        only_once: Whether to fill in a gap with one poll, instead of standing in for the stream.
    """

    def __init__(
        self,
        poller: Poller,
        *,
        since: datetime | None,
        not_before: float,
        config: ClientConfig,
        intake: Intake,
        counters: Counters,
        clock: Clock,
        report: Callable[[PollReport], None],
        only_once: bool,
    ) -> None:
        self._poller = poller
        self._since = since
        self._not_before = not_before
        self._config = config
        self._intake = intake
        self._counters = counters
        self._clock = clock
        self._report = report
        self._only_once = only_once
        self._inbox: Inbox[bool] = Inbox()
        self._stopped = False
        self._finishing = False
        self._failures = 0

    def run(self) -> None:
        """The thread's life."""
        last = self._only_once
        try:
            while not self._stopped:
                # A poll is left out while slow callbacks leave no room: what waits must stay bounded.
                waits = not last and not self._intake.has_room
                delay = self._config.polling_interval if waits else self._poll(last=last)
                if last:
                    return
                post: bool | None = self._clock.get(self._inbox, delay)
                last = post is True
        finally:
            self._poller.close()

    def finish(self) -> None:
        """Poll one last time, now, and end."""
        self._finishing = True
        self._inbox.post(True)

    def stop(self) -> None:
        """End at once, whatever it waits for."""
        self._stopped = True
        self._poller.abort()
        self._inbox.post(False)

    def disown(self) -> None:
        """In a forked child: let go of the parent's connections."""
        self._poller.disown()

    def _poll(self, *, last: bool) -> float:
        """Poll, report, and return the delay before the next poll."""
        at = self._clock.now()
        error: PollError | None = None
        recovered = 0
        try:
            if (wait := self._not_before - self._clock.monotonic()) > 0:
                raise PollError(f"the server asked not to be polled for another {wait:.0f} s", retry_after=wait)
            recovered, newest = poll_once(
                self._poller,
                since=self._since,
                intake=self._intake,
                counters=self._counters,
                timeout=self._config.connect_timeout,
                # Asked when the answer has come: by then the stream may be back.
                transport=lambda: None if last or self._finishing else Transport.POLLING,
            )
            self._failures = 0
            self._since = max((time for time in (self._since, newest) if time is not None), default=None)
        except PollError as expected:
            error = expected
        except Exception as unexpected:
            logger.exception("[%s] unexpected error on the poll thread", self._config.name)
            error = PollError(f"unexpected {type(unexpected).__name__} on the poll thread")
        if error is not None and not self._stopped:
            self._failures += 1
            level = logging.WARNING if self._failures == 1 else logging.DEBUG
            logger.log(level, "[%s] %s", self._config.name, error)
        if error is not None and error.retry_after is not None:
            self._not_before = self._clock.monotonic() + min(error.retry_after, LONGEST_RETRY_AFTER)
        if not self._stopped:
            report = PollReport(
                self,
                error,
                recovered=recovered,
                at=at,
                since=self._since,
                not_before=self._not_before,
                last=last,
            )
            self._report(report)
        return self._delay(error)

    def _delay(self, error: PollError | None) -> float:
        interval = self._config.polling_interval
        if error is None:
            return interval
        delay = min(interval * 2.0 ** min(self._failures - 1, 16), max(LONGEST_DELAY, interval))
        return delay if error.retry_after is None else max(delay, min(error.retry_after, LONGEST_RETRY_AFTER))
