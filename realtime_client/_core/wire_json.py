"""Events and logs as the JSON that a relay writes, quicker than by way of ``to_dict``, which serves people."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from realtime_client.events import Event, LogEntry, NewAnomaly, wire_value

__all__ = ["encode_event", "encode_value", "log_fields"]

_encode = msgspec.json.Encoder().encode


def encode_event(event: Event) -> bytes:
    """The event as the message that readers decode."""
    message: dict[str, Any] = {"type": event.type}
    if isinstance(event, NewAnomaly):
        message["data"] = {"log": log_fields(event.log)}
    elif (data := event.data_to_dict()) is not None:
        message["data"] = data
    if event.timestamp is not None:
        message["timestamp"] = event.timestamp
    return encode_value(message)


def encode_value(value: dict[str, Any]) -> bytes:
    """JSON, with times in UTC and whole numbers of any size."""
    try:
        return _encode(value)
    except (OverflowError, TypeError, ValueError):  # a whole number past 64 bits, where msgspec refuses it
        return json.dumps(wire_value(value), ensure_ascii=False, separators=(",", ":")).encode()


def log_fields(log: LogEntry) -> dict[str, Any]:
    """As `LogEntry.to_dict`; times are left to the encoder."""
    data = {
        "id": log.id,
        "message": log.message,
        "timestamp": log.timestamp,
        "level": log.level,
        "source": log.source,
        "isAnomaly": log.is_anomaly,
        "anomalyScore": log.anomaly_score,
        "rootCauses": log.root_causes,
        "recommendations": log.recommendations,
    }
    return {**wire_value(log.extra), **data} if log.extra else data
