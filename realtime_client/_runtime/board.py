"""The status that everybody may read and only the reconnect thread publishes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import attrs

from realtime_client.status import ConnectionStatus, StatusChange

__all__ = ["StatusBoard"]


class StatusBoard:
    """The present status, replaced as a whole, so that a reader needs no lock.

    Args:
        first: The status before anything happened.

    Attributes:
        present: As it was published, without the two below.
        last_message_at: Written by whoever reads from the feed, batch by batch.
        latency: Written by whoever hears a heartbeat's answer.
    """

    def __init__(self, first: ConnectionStatus) -> None:
        self.present: ConnectionStatus = first
        self._told = first
        self.last_message_at: datetime | None = None
        self.latency: float | None = None

    def read(self) -> ConnectionStatus:
        """The present."""
        return attrs.evolve(self.present, last_message_at=self.last_message_at, latency=self.latency)

    @property
    def connected(self) -> bool:
        """Whether the connection lives."""
        return self.present.connected

    def reset(self, status: ConnectionStatus) -> None:
        """Start over with a status that nobody is told."""
        self.present = self._told = status
        self.last_message_at = self.latency = None

    def publish(self, status: ConnectionStatus, tell: Callable[[StatusChange], None]) -> None:
        """Replace the status and tell the change."""
        self.present = status
        change = StatusChange(self._told, self.read())
        self._told = change.current
        tell(change)

    def amend(self, *, connecting: bool, next_retry_at: datetime | None) -> None:
        """Replace what is no step of its own: that the delay is over and the attempt under way."""
        self.present = attrs.evolve(self.present, connecting=connecting, next_retry_at=next_retry_at)
