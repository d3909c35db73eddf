"""How steps of the connection are told to people: notifications, and the same in the log."""

from __future__ import annotations

import logging
from datetime import datetime

from realtime_client._runtime.clock import Clock
from realtime_client._runtime.hub import Hub, Topic
from realtime_client._runtime.mailbox import Notice
from realtime_client.errors import RealtimeError
from realtime_client.status import Notification

__all__ = ["Announcer"]

logger = logging.getLogger("realtime_client")


class Announcer:
    """Makes the notifications about the connection, on the reconnect thread.

    In the log: WARNING at the first failure and at giving up, INFO at the first connection and at recovery with the
    downtime, DEBUG for what lies between.

    Args:
        where: The address, without secrets.
        name: The client's name.
        hub: Where notifications go.
        clock: The time.
    """

    def __init__(self, where: str, name: str, hub: Hub, clock: Clock) -> None:
        self._where = where
        self._name = name
        self._hub = hub
        self._clock = clock
        self._trouble_since: datetime | None = None

    def connected(self) -> None:
        """The connection stands."""
        message = f"Connected to {self._where}"
        if self._trouble_since is not None:
            downtime = (self._clock.now() - self._trouble_since).total_seconds()
            message += f" again after {downtime:.1f} s"
        self._trouble_since = None
        self._say(logging.INFO, "success", "Connected", message, "connected")

    def lost(self, error: RealtimeError) -> None:
        """The connection ended."""
        self._say(self._level(), "warning", "Connection lost", f"Connection to {self._where} lost: {error}", "lost")

    def refused(self, error: RealtimeError) -> None:
        """An attempt failed; only for the log, since the retry is announced next."""
        logger.log(self._level(), "[%s] %s", self._name, error)

    def retry(self, attempt: int, limit: int | None, delay: float) -> None:
        """Another attempt is due."""
        of = "" if limit is None else f" of {limit}"
        self._say(logging.DEBUG, "info", "Reconnecting", f"Attempt {attempt}{of} in {delay:.1f} s", "retry")

    def unavailable(self, error: RealtimeError, delay: float) -> None:
        """The outage is declared."""
        message = f"{self._where} is unavailable: {error}; trying again every {delay:.0f} s or so"
        self._say(logging.WARNING, "error", "Service unavailable", message, "unavailable")

    def probe(self, delay: float) -> None:
        """Another probe is due."""
        logger.debug("[%s] still unavailable, next attempt in %.1f s", self._name, delay)

    def failed(self, error: RealtimeError) -> None:
        """Given up."""
        self._say(logging.WARNING, "error", "Gave up", f"Not connected to {self._where}: {error}", "failed")

    def closed(self) -> None:
        """Closed because somebody asked for it."""
        self._trouble_since = None
        logger.debug("[%s] closed", self._name)  # and no notification: nothing follows the change to CLOSED

    def _level(self) -> int:
        if self._trouble_since is None:
            self._trouble_since = self._clock.now()
            return logging.WARNING
        return logging.DEBUG

    def _say(self, log_level: int, level: str, title: str, message: str, kind: str) -> None:
        logger.log(log_level, "[%s] %s", self._name, message)
        notification = Notification(level=level, title=title, message=message, kind=kind, at=self._clock.now())
        self._hub.tell(Notice(Topic.NOTIFICATION, notification))
