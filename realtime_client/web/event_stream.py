"""The format of server-sent events (HTML standard, section 9.2), as far as it is needed."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["encode_event", "retry_after"]

_encode = msgspec.json.Encoder(enc_hook=str).encode


def encode_event(name: str, data: Any, event_id: str | None = None) -> bytes:
    """One event.

    Args:
        name: Its type.
        data: Anything that JSON can carry. JSON has no line breaks, so it is one line of data.
        event_id: What the browser sends back as ``Last-Event-ID``; ``None`` leaves the last one as it is.
    """
    head = f"event: {name}\n" if event_id is None else f"id: {event_id}\nevent: {name}\n"
    return head.encode() + b"data: " + _encode(data) + b"\n\n"


def retry_after(seconds: float) -> bytes:
    """How long the browser waits before it connects again."""
    return b"retry: %d\n\n" % round(1000 * seconds)
