"""What the measurements of our own client have in common."""

from __future__ import annotations

import threading
from typing import Any

from realtime_client import RealtimeClient

ONE_CONNECTION: dict[str, Any] = {"max_reconnect_attempts": 0, "give_up": True}
"""Options for a feed that ends: the client does not wait for the next."""


def follow(client: RealtimeClient) -> None:
    """Connect, and return when the server has closed and the callbacks of all events before have returned."""
    over = threading.Event()
    client.on_connection_change(lambda connected: None if connected else over.set())
    client.connect(wait=False)
    over.wait()
