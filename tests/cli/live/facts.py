"""What a client says, made by hand."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from realtime_client import (
    ClientConfig,
    ConnectionState,
    ConnectionStatus,
    DashboardSnapshot,
    DashboardStats,
    LogEntry,
    Metrics,
    SystemAlert,
    Transport,
)
from realtime_client.cli.live.view import Facts

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def log(number: int, **fields: Any) -> LogEntry:
    base: dict[str, Any] = {
        "id": f"id-{number}",
        "message": f"message {number}",
        "timestamp": NOON + timedelta(seconds=number),
        "level": "ERROR",
        "source": "db",
        "anomaly_score": 0.75,
    }
    return LogEntry(**{**base, **fields})


def facts(
    logs: Iterable[LogEntry] = (),
    *,
    after: float = 0.0,
    heard: float | None = 0.0,
    alerts: tuple[SystemAlert, ...] = (),
    stats: DashboardStats | None = None,
    metrics: Metrics | None = None,
    config: ClientConfig | None = None,
    **status: Any,
) -> Facts:
    """Facts of so many seconds after noon, from logs oldest first; the feed was heard so many seconds before that."""
    at = NOON + timedelta(seconds=after)
    base: dict[str, Any] = {
        "state": ConnectionState.CONNECTED,
        "since": NOON,
        "transport": Transport.WEBSOCKET,
        "max_reconnect_attempts": 5,
    }
    return Facts(
        at=at,
        now=after,
        config=config or ClientConfig("ws://user:s3cret@feed.example/ws?key=s3cret"),
        status=ConnectionStatus(**{**base, **status}),
        metrics=metrics or Metrics(),
        snapshot=DashboardSnapshot(
            stats=stats or DashboardStats(),
            recent_logs=tuple(reversed(list(logs))),
            alerts=alerts,
            as_of=None if heard is None else at - timedelta(seconds=heard),
        ),
    )
