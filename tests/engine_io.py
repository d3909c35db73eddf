"""The little of Engine.IO 4 and Socket.IO 5 that a server needs to tell python-socketio's client the same events."""

from __future__ import annotations

import json
from collections.abc import Iterable

from realtime_client._core.frames import TEXT, encode_frame

__all__ = ["PING", "frames", "message", "opening"]

PING = "2"
"""The server's, after each interval; without one the client leaves in the end."""


def opening(sid: str, *, interval: float, timeout: float) -> list[str]:
    """The packets that open a session and its one namespace.

    Args:
        sid: The session's name.
        interval: Seconds from one of the server's pings to the next.
        timeout: Seconds for which the client waits for a late one.
    """
    session = {
        "sid": sid,
        "upgrades": [],
        "pingInterval": round(interval * 1000),
        "pingTimeout": round(timeout * 1000),
        "maxPayload": 1_000_000,
    }
    return ["0" + json.dumps(session), '40{"sid":"namespace"}']


def message(name: str, data: object) -> str:
    """The packet of an event."""
    return "42" + json.dumps([name, data], ensure_ascii=False)


def frames(packets: Iterable[str]) -> bytes:
    """The packets as frames of a WebSocket."""
    return b"".join(encode_frame(TEXT, packet.encode()) for packet in packets)
