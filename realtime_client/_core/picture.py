"""All that a store knows, as one value, and that value as JSON: how a picture gets from one process to another."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from realtime_client._core.codec import Codec
from realtime_client._core.relay_stream import encode_json, log_fields
from realtime_client.errors import MalformedMessage
from realtime_client.events import EMPTY, LogEntry, Origin, StatsUpdate, SystemAlert, wire_value

__all__ = ["Picture", "decode_picture", "encode_picture"]


@attrs.frozen
class Picture:
    """All that a store knows, so that another store can go on as if it were the same.

    Attributes:
        stats: The figures, the known ones in snake_case.
        logs: The newest logs, oldest first, each behind the time that orders it.
        alerts: The newest alerts, oldest first.
        seen: The log ids that are remembered, oldest first.
    """

    stats: Mapping[str, Any] = EMPTY
    logs: tuple[tuple[datetime, LogEntry], ...] = ()
    alerts: tuple[SystemAlert, ...] = ()
    seen: tuple[str, ...] = ()


def encode_picture(picture: Picture) -> bytes:
    """The picture as JSON."""
    alerts = [{**alert.data_to_dict(), "timestamp": alert.timestamp} for alert in picture.alerts]
    logs = [[at, log_fields(log)] for at, log in picture.logs]
    return encode_json({"stats": wire_value(picture.stats), "logs": logs, "alerts": alerts, "seen": picture.seen})


def decode_picture(text: str | bytes, codec: Codec, *, received_at: datetime) -> Picture:
    """Read a picture, as strictly as messages are read.

    Raises:
        MalformedMessage: It is none.
    """
    data = codec.parse(text)
    if not isinstance(data, Mapping):
        raise MalformedMessage("a snapshot is an object")
    logs, alerts, seen = (_list(data, name) for name in ("logs", "alerts", "seen"))
    if not all(isinstance(log_id, str) for log_id in seen):
        raise MalformedMessage("seen: is not a list of texts")
    figures = {"type": "stats_update", "data": {"stats": data.get("stats", {})}}
    told = codec.decode_object(figures, received_at=received_at, origin=Origin.REDIS)
    assert isinstance(told, StatsUpdate)
    return Picture(
        stats=told.stats,
        logs=tuple(_log(item, codec) for item in logs),
        alerts=tuple(codec.decode_alert(item, received_at=received_at, origin=Origin.REDIS) for item in alerts),
        seen=tuple(seen),
    )


def _list(data: Mapping[str, Any], name: str) -> list[Any]:
    value = data.get(name, [])
    if not isinstance(value, list):
        raise MalformedMessage(f"{name}: is not a list")
    return value


def _log(item: Any, codec: Codec) -> tuple[datetime, LogEntry]:
    if not isinstance(item, list) or len(item) != 2 or not isinstance(item[0], str):
        raise MalformedMessage("logs: is not a list of pairs of a time and a log")
    try:
        at = datetime.fromisoformat(item[0])
    except ValueError:
        raise MalformedMessage("logs: a time is not RFC 3339") from None
    if at.tzinfo is None:
        raise MalformedMessage("logs: a time has no offset")
    return at, codec.decode_log(item[1])
