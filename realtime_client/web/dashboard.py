"""`Dashboard`: what a web framework needs to show the feed in browsers."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any

from realtime_client import RealtimeClient
from realtime_client.events import wire_value
from realtime_client.web.broadcast import Broadcast
from realtime_client.web.stream import AsyncStream, Stream

__all__ = ["Dashboard", "end_all_streams"]

_dashboards: weakref.WeakSet[Dashboard] = weakref.WeakSet()


class Dashboard:
    """Gives the streams of one client to browsers; one for an application.

    Making one does nothing. Thread-safe. After a fork each process has its own streams.

    Args:
        client: Gives the client; called for each stream, and may make it and ask it to connect, but not wait for that.
        max_streams: Streams at one time in a process; a further page is told that the house is full.
        heartbeat: Seconds between heartbeats. They also find out, on WSGI servers, who has left: only a write does.
    """

    def __init__(self, client: Callable[[], RealtimeClient], *, max_streams: int = 50, heartbeat: float = 15.0) -> None:
        self._client = client
        self._max_streams = max_streams
        self._heartbeat = heartbeat
        # By process: what a parent has, its threads and locks, is of no use after a fork. Single steps, so no lock.
        self._broadcasts: dict[int, Broadcast] = {}
        _dashboards.add(self)

    def stream(self, last_event_id: str | None = None, *, brief: bool = False) -> Stream:
        """A stream for WSGI: an iterator of bytes, which blocks its thread between them. It must be closed.

        Args:
            last_event_id: The request's ``Last-Event-ID``.
            brief: Send what there is, and end: for a server that can answer one request at a time (its
                ``wsgi.multithread`` is false), which a stream would block. The page comes back after five seconds.
        """
        broadcast = self._broadcast()
        return Stream(broadcast, last_event_id, brief=brief, **self._terms(broadcast))

    def async_stream(self, last_event_id: str | None = None) -> AsyncStream:
        """A stream for ASGI: an asynchronous iterator of bytes; takes no thread. Call it on the event loop."""
        broadcast = self._broadcast()
        return AsyncStream(broadcast, last_event_id, brief=False, **self._terms(broadcast))

    @property
    def open_streams(self) -> int:
        """How many streams this process has at the moment."""
        broadcast = self._broadcasts.get(os.getpid())
        return 0 if broadcast is None else broadcast.streams

    def end_streams(self) -> None:
        """End all streams of this process, which lets a server stop; their pages come back, to whoever listens then."""
        if (broadcast := self._broadcasts.get(os.getpid())) is not None:
            broadcast.end()

    def _broadcast(self) -> Broadcast:
        client, process = self._client(), os.getpid()
        broadcast = self._broadcasts.get(process)
        if broadcast is None:
            broadcast = self._broadcasts.setdefault(process, Broadcast(client, max_streams=self._max_streams))
        if broadcast.client is not client:  # the application has another one by now
            broadcast = self._broadcasts[process] = Broadcast(client, max_streams=self._max_streams)
        return broadcast

    def _terms(self, broadcast: Broadcast) -> dict[str, Any]:
        store = broadcast.client.store
        return {"heartbeat": self._heartbeat, "as_of": lambda: wire_value(store.snapshot().as_of)}


def end_all_streams() -> None:
    """End all streams of this process, whichever dashboard they are of; for a server that stops."""
    for dashboard in tuple(_dashboards):
        dashboard.end_streams()
