"""What the client tells, as Django signals, so that an app subscribes where it keeps its other receivers.

Receivers are called on the client's dispatcher thread, one at a time, in the order received. One that raises is logged
by Django (``django.dispatch``) and stops nothing. Database connections are treated as around a request: what has
outlived ``CONN_MAX_AGE`` is closed before and after. When the client is closed, or has given up, all are.
"""

from __future__ import annotations

from typing import Any

from django.db import close_old_connections, connections
from django.dispatch import Signal

from realtime_client import (
    ConnectionState,
    Event,
    Gap,
    NewAnomaly,
    Notification,
    RealtimeClient,
    StatsUpdate,
    StatusChange,
    SystemAlert,
)

__all__ = [
    "ALL",
    "connection_state_changed",
    "event_received",
    "gap_found",
    "new_anomaly",
    "notification_made",
    "relay",
    "stats_update",
    "system_alert",
]

event_received: Signal = Signal()
"""Every event, with ``sender=type(event)`` and ``event=``; the way to types of the server's own."""
new_anomaly: Signal = Signal()
"""``event=`` is a `NewAnomaly`."""
stats_update: Signal = Signal()
"""``event=`` is a `StatsUpdate`."""
system_alert: Signal = Signal()
"""``event=`` is a `SystemAlert`."""
connection_state_changed: Signal = Signal()
"""The client's state is another one: ``sender=RealtimeClient``, ``change=`` is a `StatusChange`."""
notification_made: Signal = Signal()
"""What a person may want to be told: ``sender=RealtimeClient``, ``notification=`` is a `Notification`."""
gap_found: Signal = Signal()
"""Events may have been missed: ``sender=RealtimeClient``, ``gap=`` is a `Gap`."""

ALL = (
    event_received,
    new_anomaly,
    stats_update,
    system_alert,
    connection_state_changed,
    notification_made,
    gap_found,
)
OF_CLASS: dict[type[Event], Signal] = {NewAnomaly: new_anomaly, StatsUpdate: stats_update, SystemAlert: system_alert}


def relay(client: RealtimeClient) -> None:
    """Let a client's callbacks send the signals."""
    client.on("*", _event)
    client.on_status(_status)
    client.on_notification(_notification)
    client.on_gap(_gap)


def _event(event: Event) -> None:
    sender = type(event)
    _send(event_received, sender, event=event)
    if (signal := OF_CLASS.get(sender)) is not None:
        _send(signal, sender, event=event)


def _status(change: StatusChange) -> None:
    if change.previous.state is not change.current.state:
        _send(connection_state_changed, RealtimeClient, change=change)
    if change.current.state in (ConnectionState.CLOSED, ConnectionState.FAILED):
        _let_go_of_databases()


def _notification(notification: Notification) -> None:
    _send(notification_made, RealtimeClient, notification=notification)
    if notification.kind == "failed":  # which follows the change to FAILED
        _let_go_of_databases()


def _gap(gap: Gap) -> None:
    _send(gap_found, RealtimeClient, gap=gap)


def _let_go_of_databases() -> None:
    """Close this thread's connections, which CONN_MAX_AGE would keep open though nothing more is called on it."""
    connections.close_all()


def _send(signal: Signal, sender: type, **what: Any) -> None:
    if not signal.has_listeners(sender):
        return
    close_old_connections()
    try:
        signal.send_robust(sender, **what)
    finally:
        close_old_connections()
