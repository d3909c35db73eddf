"""From log lines to the feed: sources are read, judged and published."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Self

from realtime_client.demo.analyser import Analyser
from realtime_client.demo.feed import FeedServer
from realtime_client.demo.follow import FollowedFile, LineSource
from realtime_client.demo.log_formats import parse_line
from realtime_client.events import Event, SystemAlert

__all__ = ["LogFeed"]

log: logging.Logger = logging.getLogger(__name__)

SILENCE_CHECK_SECONDS = 1.0


class LogFeed:
    """Reads sources of log lines, has them analysed, and publishes what comes of it.

    One thread does it all: it asks every source in turn, and waits ``poll_interval`` when none had anything new. The
    sources belong to it from now on, and it closes them; the server stays the caller's.

    Example:
        >>> from realtime_client.demo import FeedServer, GeneratedLog, LogFeed
        >>> with FeedServer(port=0) as server, LogFeed(server, [GeneratedLog(seed=7)]) as feed:
        ...     feed.wait_caught_up(timeout=10)
        True

    Args:
        server: Where to publish.
        sources: What to read; see :class:`FollowedFile`, :class:`FollowedInput` and :class:`GeneratedLog`.
        analyser: Judges the lines; by default a new one.
        poll_interval: Seconds between two looks for new lines.
    """

    def __init__(
        self,
        server: FeedServer,
        sources: Sequence[LineSource],
        *,
        analyser: Analyser | None = None,
        poll_interval: float = 0.2,
    ) -> None:
        if not poll_interval > 0:
            raise ValueError(f"poll_interval is {poll_interval!r}, must be above 0")
        self._server = server
        self._sources = tuple(sources)
        self._analyser = analyser if analyser is not None else Analyser()
        self._poll_interval = poll_interval
        self._troubled: set[LineSource] = set()
        self._stopping = threading.Event()
        self._caught_up = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed-log", daemon=True)

    def start(self) -> None:
        """Start reading, on a thread of its own. Returns at once.

        Raises:
            RuntimeError: It was started before.
        """
        self._thread.start()

    def wait_caught_up(self, timeout: float | None = None) -> bool:
        """Block until everything that was there at the start has been read and published.

        Args:
            timeout: Seconds; ``None`` waits as long as it takes.

        Returns:
            Whether it has; ``False`` at the timeout.
        """
        return self._caught_up.wait(timeout)

    @property
    def history(self) -> tuple[int, int]:
        """Of what was in the files at the start: how many bytes have been read, and how many there are."""
        files = [source.history for source in self._sources if isinstance(source, FollowedFile)]
        return sum(read for read, _ in files), sum(total for _, total in files)

    def wait_ended(self, timeout: float | None = None) -> bool:
        """Block until every source has ended, as standard input does, or it was closed.

        Args:
            timeout: Seconds; ``None`` waits as long as it takes.

        Returns:
            Whether it has; ``False`` at the timeout.
        """
        return self._ended.wait(timeout)

    def close(self, timeout: float = 2.0) -> None:
        """Stop reading and close the sources. Idempotent, from any thread.

        Args:
            timeout: Seconds that this may take.
        """
        self._stopping.set()
        if self._thread.ident is None:
            self._close_sources()
            return
        self._thread.join(timeout)
        if self._thread.is_alive():
            log.warning("%s did not end within %.1f s", self._thread.name, timeout)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _run(self) -> None:
        try:
            notices = [source.notice for source in self._sources if source.notice]
            self._server.publish(*(message_of(SystemAlert(notice, "info")) for notice in notices))
            self._follow()
        finally:
            self._close_sources()
            self._ended.set()

    def _follow(self) -> None:
        checked_at = time.monotonic()
        while not self._stopping.is_set():
            read = sum([self._read(source) for source in self._sources])
            if time.monotonic() - checked_at >= SILENCE_CHECK_SECONDS:
                checked_at = time.monotonic()
                alerts = self._analyser.watch(datetime.now(UTC))
                self._server.publish(*map(message_of, alerts))
            if read:
                continue
            self._caught_up.set()
            if all(source.ended for source in self._sources):
                return
            self._stopping.wait(self._poll_interval)

    def _read(self, source: LineSource) -> int:
        """Publish what is new in one source; how many lines that was."""
        if self._stopping.is_set():
            return 0
        try:
            lines = source.read()
        except (OSError, ValueError) as error:
            if source not in self._troubled:
                self._troubled.add(source)
                log.warning("cannot read %s, will go on trying: %s", source.name, error)
            return 0
        self._troubled.discard(source)
        arrived = datetime.now(UTC)
        events: list[Event] = []
        for line in lines:
            parsed = parse_line(line.text, now=arrived, source=source.name)
            events += self._analyser.analyse(parsed, log_id=line.id, arrived=arrived)
        if lines:
            figures = {"type": "stats_update", "data": {"stats": self._analyser.figures()}}
            self._server.publish(*map(message_of, events), figures)
        return len(lines)

    def _close_sources(self) -> None:
        for source in self._sources:
            source.close()


def message_of(event: Event) -> Mapping[str, Any]:
    """An event as the wire has it."""
    written = event.to_dict()
    return {key: written[key] for key in ("type", "data", "timestamp") if written.get(key) is not None}
