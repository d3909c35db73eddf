"""What a page is told: the whole picture once, and then what has changed between two pictures. Pure.

A page keeps the rows in the order in which it gets them, so a change says exactly how to get from one picture to the
next: which rows go, and above which row each new or changed one stands.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import islice
from typing import Any

import attrs

from realtime_client.events import LogEntry, SystemAlert, wire_value
from realtime_client.status import ConnectionStatus
from realtime_client.store import DashboardSnapshot, DashboardStats

__all__ = ["ALERTS", "ROWS", "Picture", "difference", "status_alone", "whole"]

ROWS = 200
"""Logs on a page, the newest ones; the store may keep more."""
ALERTS = 50
"""Alerts on a page."""
FURTHER_FIGURES = 12
"""Figures on a page besides the documented ones."""
TEXT = 4_000
"""Characters of a text on a page: a message may have a million, and a page has hundreds."""
WORDS = 200
"""Characters of a name: an id, a level, a source."""
SENTENCES = 20
"""Causes, recommendations and further fields of a log."""


@attrs.frozen
class Picture:
    """What there is to be shown at one moment.

    Attributes:
        snapshot: The store.
        status: The connection.
    """

    snapshot: DashboardSnapshot
    status: ConnectionStatus


def whole(picture: Picture) -> dict[str, Any]:
    """A picture as JSON-ready data, with the keys ``status``, ``stats``, ``logs`` and ``alerts`` (newest first)."""
    return {
        "asOf": wire_value(picture.snapshot.as_of),
        "status": _status(picture.status),
        "stats": _figures(picture.snapshot.stats),
        "logs": [_log(log) for log in picture.snapshot.recent_logs[:ROWS]],
        "alerts": [_alert(alert) for alert in picture.snapshot.alerts[:ALERTS]],
    }


def status_alone(picture: Picture) -> dict[str, Any]:
    """A change that tells the state of the connection, and leaves everything else as the page has it."""
    return {"status": _status(picture.status), "asOf": wire_value(picture.snapshot.as_of)}


def difference(before: Picture, after: Picture) -> dict[str, Any]:
    """What has changed between two pictures, as JSON-ready data; empty if nothing that a page shows.

    Keys, each only where there is something to say:

    - ``status`` and ``stats``: as in `whole`, and complete.
    - ``gone``: ids of logs that are not on the page any more.
    - ``logs``: new and changed logs, in the order in which they are put in their places: each as ``{"log": ...,
      "above": id}``, above the row with that id, or at the end where it is ``None``. A row with the log's own id is
      taken out before.
    - ``alerts``: new alerts, newest first, and ``alertsKept``, how many are on the page with them.
    - ``asOf``: whenever there is anything else.
    """
    result: dict[str, Any] = {}
    if (status := _status(after.status)) != _status(before.status):
        result["status"] = status
    figures = _figures(after.snapshot.stats)
    if after.snapshot.stats is not before.snapshot.stats and figures != _figures(before.snapshot.stats):
        result["stats"] = figures
    if after.snapshot.recent_logs is not before.snapshot.recent_logs:
        result |= _logs(before.snapshot.recent_logs[:ROWS], after.snapshot.recent_logs[:ROWS])
    if after.snapshot.alerts is not before.snapshot.alerts:
        result |= _alerts(before.snapshot.alerts, after.snapshot.alerts)
    if result:
        result["asOf"] = wire_value(after.snapshot.as_of)
    return result


def _logs(before: tuple[LogEntry, ...], after: tuple[LogEntry, ...]) -> dict[str, Any]:
    # A log's place depends on what is fixed when it arrives. So those that are the same objects in both have not
    # changed places among each other, and to put the others in, from the oldest on, gives the order of ``after``.
    same = {id(log) for log in before} & {id(log) for log in after}
    there = {log.id for log in after}
    placed: list[dict[str, Any]] = []
    below: str | None = None
    for log in reversed(after):
        if id(log) not in same:
            placed.append({"log": _log(log), "above": below})
        below = _key(log.id)
    gone = [_key(log.id) for log in before if log.id not in there]
    return ({"logs": placed} if placed else {}) | ({"gone": gone} if gone else {})


def _alerts(before: tuple[SystemAlert, ...], after: tuple[SystemAlert, ...]) -> dict[str, Any]:
    # A store that was restored from elsewhere has other objects, and all of them are new; or none at all.
    newest = before[0] if before else None
    fresh: list[SystemAlert] = []
    for alert in after[:ALERTS]:
        if alert is newest:
            break
        fresh.append(alert)
    if after and not fresh:
        return {}
    return {"alerts": [_alert(alert) for alert in fresh], "alertsKept": min(len(after), ALERTS)}


def _status(status: ConnectionStatus) -> dict[str, Any]:
    """What changes with a step of the connection; times that move on all the while are left out."""
    return {
        "state": status.state.value,
        "connected": status.connected,
        "transport": status.transport.value,
        "since": wire_value(status.since),
        "attempts": status.reconnect_attempts,
        "maxAttempts": status.max_reconnect_attempts,
        "nextRetryAt": wire_value(status.next_retry_at),
        "error": None if status.last_error is None else _cut(str(status.last_error), TEXT),
    }


def _figures(stats: DashboardStats) -> dict[str, Any]:
    further = ((name, value) for name, value in stats.extra.items() if isinstance(value, (int, float, str)))
    known = stats.to_dict()
    return {
        "known": {name: known[name] for name in ("totalLogs", "anomalyCount", "anomalyRate", "activeServices")},
        "further": [[_cut(name, WORDS), _value(value)] for name, value in islice(further, FURTHER_FIGURES)],
    }


def _log(log: LogEntry) -> dict[str, Any]:
    return {
        "id": _key(log.id),
        "timestamp": wire_value(log.timestamp),
        "level": _cut(log.level, WORDS),
        "source": _cut(log.source, WORDS),
        "message": _cut(log.message, TEXT),
        "isAnomaly": log.is_anomaly,
        "score": log.anomaly_score,
        "causes": [_cut(text, TEXT) for text in log.root_causes[:SENTENCES]],
        "recommendations": [_cut(text, TEXT) for text in log.recommendations[:SENTENCES]],
        "extra": [[_cut(name, WORDS), _value(value)] for name, value in islice(log.extra.items(), SENTENCES)],
    }


def _alert(alert: SystemAlert) -> dict[str, Any]:
    return {
        "message": _cut(alert.message, TEXT),
        "severity": _cut(alert.severity, WORDS),
        "timestamp": wire_value(alert.timestamp or alert.received_at),
    }


def _key(log_id: str) -> str:
    """A log's id on the page: its own, or what stands for one of absurd length."""
    if len(log_id) <= WORDS:
        return log_id
    return "digest:" + hashlib.blake2b(log_id.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _value(value: object) -> Any:
    """A value that the page shows as it is, or as text."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Mapping | list | tuple):
        return _cut(repr(wire_value(value)), TEXT)
    return _cut(str(value), TEXT)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
