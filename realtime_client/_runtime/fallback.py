"""What stands in for the stream: polling while it cannot be had, and the filling of gaps when it is back.

Owned by the reconnect thread, which tells it what happens to the connection and when time has passed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from realtime_client._runtime.board import StatusBoard
from realtime_client._runtime.clock import Clock
from realtime_client._runtime.counters import Counters
from realtime_client._runtime.hub import Hub, Topic
from realtime_client._runtime.intake import Intake
from realtime_client._runtime.mailbox import Notice
from realtime_client._runtime.poll import PollReport, PollThread
from realtime_client._runtime.threads import ClientThread, Threads
from realtime_client.config import ClientConfig
from realtime_client.status import Gap
from realtime_client.store import DashboardStore
from realtime_client.transports.base import Poller

__all__ = ["Fallback"]


class Fallback:
    """Decides when to poll, holds stream events back while a gap is filled, and reports the gap.

    Args:
        make_poller: Makes a poller, or ``None`` where none is configured.
        report: Takes the reports of polls to the reconnect thread, which hands them to `polled`.
        config, intake, store, hub, board, counters, clock, threads: What the threads share.

    Attributes:
        polling: Whether polls give what the stream cannot.
    """

    def __init__(
        self,
        *,
        make_poller: Callable[[], Poller | None],
        report: Callable[[PollReport], None],
        config: ClientConfig,
        intake: Intake,
        store: DashboardStore,
        hub: Hub,
        board: StatusBoard,
        counters: Counters,
        clock: Clock,
        threads: Threads,
    ) -> None:
        self._make_poller = make_poller
        self._report = report
        self._config = config
        self._intake = intake
        self._store = store
        self._hub = hub
        self._board = board
        self._counters = counters
        self._clock = clock
        self._threads = threads
        self._can_poll = config.polling_url is not None or config.poller is not None
        self._degraded = False  # from the first poll in place of the stream until the stream has proved itself
        self._down_since: float | None = None
        self._poll: PollThread | None = None
        self._poll_threads: list[ClientThread] = []
        self._since: datetime | None = None  # the newest timestamp held when the stream was lost, or polled since
        self._not_before = float("-inf")  # when the polling address wants to be asked again (monotonic)
        self._gap_since: datetime | None = None  # when the feed was last heard, while there is a gap to report
        self._gap_until: datetime | None = None  # when the stream was back
        self._hold_until: float | None = None
        self.polling = False

    @property
    def degraded(self) -> bool:
        """Whether polling stands in for the stream, or for a stream that has not yet proved itself."""
        return self._degraded

    @property
    def next_due(self) -> float | None:
        """When `time_passed` wants to be called (monotonic), or ``None``."""
        due = [] if self._hold_until is None else [self._hold_until]
        if self._down_since is not None and self._can_poll and not self._degraded:
            due.append(self._down_since + self._config.poll_after)
        return min(due, default=None)

    def time_passed(self) -> None:
        """See whether it is time to poll, or to stop holding events back."""
        now = self._clock.monotonic()
        if self._hold_until is not None and now >= self._hold_until:
            self._let_go()
        if self._down_since is not None and now >= self._down_since + self._config.poll_after:
            self.stand_in()

    # What happens to the connection

    def went_down(self) -> None:
        """There is no stream, from now on or still."""
        if self._down_since is None:
            self._down_since = self._clock.monotonic()
        if self._gap_until is not None:  # cut again before the gap was filled: it stays open
            self._gap_until = None
            if not self._degraded:
                self._stop_polling()
        self._let_go()

    def was_connected(self) -> None:
        """A connection has ended: what comes until there is another one may be missed."""
        if self._gap_since is None:
            self._gap_since = self._board.last_message_at or self._clock.now()
            self._since = self._store.newest_timestamp()
        self.went_down()

    def stand_in(self) -> None:
        """The stream cannot be had for now: poll, if that is possible."""
        if self._can_poll and not self._degraded:
            self._start(only_once=False)
            self._degraded = True

    def came_up(self, *, tells_gaps: bool = False) -> None:
        """The stream is back (or there for the first time); its change to CONNECTED has been told.

        Args:
            tells_gaps: Whether the stream goes on where it ended, and says itself what is missing.
        """
        self._down_since = None
        if tells_gaps and not self._degraded:
            self._gap_since = None
            return
        if self._gap_since is None and not self._degraded:
            return
        if not self._can_poll:
            self._tell_gap(self._clock.now(), recovered=0, complete=False)
            return
        self._gap_until = self._clock.now()
        self._hub.hold()
        self._hold_until = self._clock.monotonic() + self._config.backfill_timeout
        if not self._degraded:
            self._start(only_once=True)

    def proved(self) -> None:
        """The stream has spoken: it takes over, after one last poll."""
        if self._degraded:
            self._degraded = self.polling = False
            if self._poll is not None:
                self._poll.finish()

    def polled(self, report: PollReport) -> bool:
        """A poll has ended; returns whether `polling` has changed."""
        if report.thread is not self._poll:
            return False
        self._not_before = report.not_before
        if report.error is None:
            self._since = report.since
            if not report.last:  # and the stream may be back meanwhile, silent as yet: the gap ends where it began
                self._gap_since = report.at if self._gap_until is None else min(report.at, self._gap_until)
        before, self.polling = self.polling, self._degraded and report.error is None
        if report.last:
            self._poll = None
            if self._gap_until is not None:
                in_time = self._hold_until is not None
                self._tell_gap(self._gap_until, recovered=report.recovered, complete=in_time and report.error is None)
                self._let_go()
        return self.polling is not before

    def stop(self) -> None:
        """End all polling; nothing is held back any more."""
        self._stop_polling()
        self._degraded = self.polling = False
        self._down_since = None
        self._let_go()

    @property
    def threads(self) -> list[ClientThread]:
        """The threads that poll, or have."""
        return [thread for thread in self._poll_threads if thread.is_alive()]

    def disown(self) -> None:
        """In a forked child: let go of the parent's connections."""
        if self._poll is not None:
            self._poll.disown()

    def _start(self, *, only_once: bool) -> None:
        self._stop_polling()
        poller = self._make_poller()
        if poller is None:
            return
        self._poll = PollThread(
            poller,
            since=self._since,
            not_before=self._not_before,
            config=self._config,
            intake=self._intake,
            counters=self._counters,
            clock=self._clock,
            report=self._report,
            only_once=only_once,
        )
        self._poll_threads = [*self.threads, self._threads.start("poll", self._poll.run)]

    def _stop_polling(self) -> None:
        if self._poll is not None:
            self._poll.stop()
            self._poll = None

    def _tell_gap(self, until: datetime, *, recovered: int, complete: bool) -> None:
        gap = Gap(since=self._gap_since or until, until=until, recovered=recovered, complete=complete)
        self._gap_since = self._gap_until = None
        self._hub.tell(Notice(Topic.GAP, gap), through_hold=True)

    def _let_go(self) -> None:
        if self._hold_until is not None:
            self._hold_until = None
            self._hub.release()
