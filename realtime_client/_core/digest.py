"""Notifications about events: at most one a second of each kind, each saying for how many events it stands."""

from __future__ import annotations

from datetime import datetime

import attrs

from realtime_client.events import Event, NewAnomaly, SystemAlert
from realtime_client.status import Notification

__all__ = ["Digest"]

INTERVAL = 1.0
ALERT_LEVELS = {"info": "info", "warning": "warning"}
MESSAGE_LENGTH = 500
KINDS = {"new_anomaly": "anomaly", "system_alert": "alert"}


@attrs.define(eq=False, repr=False)
class _Pending:
    count: int = 0
    newest: Event | None = None
    quiet_until: float = float("-inf")


class Digest:
    """Counts delivered events and makes notifications of them: the first at once, the rest once a second."""

    def __init__(self) -> None:
        self._pending = {kind: _Pending() for kind in KINDS.values()}

    def add(self, newest: Event, count: int) -> None:
        """So many events of one type were delivered to callbacks, and this is the newest of them."""
        kind = KINDS.get(newest.type)
        if kind is not None:
            pending = self._pending[kind]
            pending.count += count
            pending.newest = newest

    def due(self, now: float, at: datetime) -> list[Notification]:
        """The notifications that are due by ``now`` (monotonic); each is given once."""
        result = []
        for kind, pending in self._pending.items():
            if pending.newest is not None and now >= pending.quiet_until:
                result.append(_notification(kind, pending.newest, pending.count, at))
                pending.count, pending.newest, pending.quiet_until = 0, None, now + INTERVAL
        return result

    def next_due(self) -> float | None:
        """When the next notification falls due (monotonic), or ``None`` where nothing waits."""
        waiting = [pending.quiet_until for pending in self._pending.values() if pending.newest is not None]
        return min(waiting, default=None)


def _notification(kind: str, newest: Event, count: int, at: datetime) -> Notification:
    more = "" if count == 1 else f" (the newest of {count})"
    if isinstance(newest, NewAnomaly):
        log = newest.log
        level, title = "warning", "Anomaly detected" if count == 1 else f"{count} anomalies detected"
        text = f"{log.source}: {log.message}" if log.source else log.message
    else:
        assert isinstance(newest, SystemAlert)
        level, title = (
            ALERT_LEVELS.get(newest.severity, "error"),
            "System alert" if count == 1 else f"{count} system alerts",
        )
        text = newest.message
    return Notification(level=level, title=title, message=text[:MESSAGE_LENGTH] + more, kind=kind, count=count, at=at)
