"""What the client says of itself: plain frozen values, made by the client and handed to the user."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from realtime_client.errors import RealtimeError
from realtime_client.events import EMPTY, wire_value

__all__ = [
    "ConnectionState",
    "ConnectionStatus",
    "Gap",
    "LaneMetrics",
    "Metrics",
    "Notification",
    "RetryDecision",
    "StatusChange",
    "Transport",
]


class ConnectionState(enum.Enum):
    """Where the client stands."""

    IDLE = "idle"
    """Made, never asked to connect."""
    CONNECTING = "connecting"
    """Making the first attempt."""
    CONNECTED = "connected"
    """The handshake is done and the connection lives."""
    RECONNECTING = "reconnecting"
    """Waiting for, or making, another attempt."""
    UNAVAILABLE = "unavailable"
    """The outage is declared; the client probes on and comes back by itself."""
    FAILED = "failed"
    """Given up, with a reason in ``last_error``; ``connect()`` or ``reconnect()`` starts again."""
    CLOSED = "closed"
    """Closed because somebody asked for it, or because a recording has come to its end."""


class Transport(enum.Enum):
    """Where events come from at the moment."""

    NONE = "none"
    WEBSOCKET = "websocket"
    POLLING = "polling"
    REDIS = "redis"
    REPLAY = "replay"


@attrs.frozen(kw_only=True)
class ConnectionStatus:
    """The present, as one consistent snapshot.

    Attributes:
        state: Where the client stands.
        connecting: Whether an attempt is under way right now (as opposed to waiting for its turn).
        reconnect_attempts: Failed attempts in a row, not counting the very first dial; 0 when connected.
        max_reconnect_attempts: How many declare the outage; ``None`` for never.
        transport: Where events come from at the moment.
        since: When the state was entered (UTC).
        last_error: Why the last attempt failed or the last connection ended, or ``None``.
        last_message_at: When the last bytes were heard from the feed (UTC), or ``None``.
        next_retry_at: When the next attempt is due (UTC), or ``None`` where none is planned.
        latency: Seconds between the last answered heartbeat and its answer, or ``None``.
    """

    state: ConnectionState
    since: datetime
    connecting: bool = False
    reconnect_attempts: int = 0
    max_reconnect_attempts: int | None = None
    transport: Transport = Transport.NONE
    last_error: RealtimeError | None = None
    last_message_at: datetime | None = None
    next_retry_at: datetime | None = None
    latency: float | None = None

    @property
    def connected(self) -> bool:
        """Whether the connection lives."""
        return self.state is ConnectionState.CONNECTED

    def to_dict(self) -> dict[str, Any]:
        """The status as JSON-ready data; the error as text."""
        result = {a.name: wire_value(getattr(self, a.name)) for a in attrs.fields(type(self))}
        error = self.last_error
        return {**result, "connected": self.connected, "last_error": None if error is None else str(error)}


@attrs.frozen
class StatusChange:
    """One step of the connection, as told to ``on_status`` callbacks: every one, in order.

    Attributes:
        previous: The status before.
        current: The status that this step led to; ``client.status`` may have moved on since.
    """

    previous: ConnectionStatus
    current: ConnectionStatus


@attrs.frozen(kw_only=True)
class Notification:
    """Something that a person may want to be told.

    Attributes:
        level: ``"success"``, ``"info"``, ``"warning"`` or ``"error"``.
        title: A few words.
        message: A sentence.
        kind: What it is about: ``"connected"``, ``"lost"``, ``"retry"``, ``"unavailable"``, ``"failed"``,
            ``"anomaly"`` or ``"alert"``.
        count: How many events it stands for.
        at: When it was made (UTC).
    """

    level: str
    title: str
    message: str
    kind: str
    at: datetime
    count: int = 1


@attrs.frozen(kw_only=True)
class Gap:
    """A time in which events may have been missed.

    Attributes:
        since: When the feed was last heard before the gap (UTC).
        until: When the feed was back (UTC).
        recovered: How many missed events were fetched and delivered.
        complete: Whether everything that was missed has been fetched, as far as the server still gives it.
    """

    since: datetime
    until: datetime
    recovered: int = 0
    complete: bool = False


@attrs.frozen
class RetryDecision:
    """What is done after an attempt failed or a connection ended.

    Attributes:
        action: ``"retry"``, ``"renew"`` (ask the callable token again and retry at once, one time) or ``"fatal"``.
        at_least: Seconds to wait at least before the next attempt (the server's ``Retry-After``), or ``None``.
        spread: The range of seconds that the next delay is drawn from; ``None`` for the usual backoff.
    """

    action: str = attrs.field(default="retry", validator=attrs.validators.in_(("retry", "renew", "fatal")))
    at_least: float | None = None
    spread: tuple[float, float] | None = None


@attrs.frozen(kw_only=True)
class LaneMetrics:
    """The counters of one bounded buffer: ``received = delivered + sum of dropped + waiting``.

    Attributes:
        name: ``"main"`` for the dispatcher's, else the callback's or the iterator's name.
        received: Events handed to the buffer.
        delivered: Events taken out of it for a callback or an iterating thread.
        dropped: Events that never came out, by reason: ``"drop_oldest"``, ``"drop_newest"``, ``"closed"`` or
            ``"cancelled"``.
        waiting: Events in it now.
        high_water: The most that ever waited.
    """

    name: str
    received: int = 0
    delivered: int = 0
    dropped: Mapping[str, int] = EMPTY
    waiting: int = 0
    high_water: int = 0


@attrs.frozen(kw_only=True)
class Metrics:
    """Counters since the client was made. For the callbacks' buffer, received = delivered + dropped + waiting.

    Attributes:
        received: Events decoded and handed to the callbacks' buffer.
        delivered: Events taken out of it for the callbacks.
        dropped: Events that never reached callbacks, by reason.
        waiting: Events that wait for callbacks now; ``queue_depth`` is the same.
        queue_high_water: The most that ever waited.
        malformed: Messages that could not be understood.
        duplicates: Logs that were seen before within ``dedup_window``.
        connects: Connections established.
        reconnects: Connections established after an earlier one.
        failed_attempts: Attempts that failed.
        polls: Polls answered.
        heartbeats: Heartbeats sent.
        bytes_received: Bytes read from connections, after the handshakes.
        bytes_sent: Bytes written to connections, after the handshakes.
        messages_sent: Messages sent by ``send()``.
        callbacks: Callbacks called on the dispatcher.
        callback_errors: Callbacks that raised.
        callback_time: Seconds spent in callbacks on the dispatcher.
        latency: Seconds between the last answered heartbeat and its answer, or ``None``.
        lanes: The buffers of callbacks with ``own_thread=True`` and of iterators, summed by name; those that have ended
            stay counted.
    """

    received: int = 0
    delivered: int = 0
    dropped: Mapping[str, int] = EMPTY
    waiting: int = 0
    queue_high_water: int = 0
    malformed: int = 0
    duplicates: int = 0
    connects: int = 0
    reconnects: int = 0
    failed_attempts: int = 0
    polls: int = 0
    heartbeats: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    messages_sent: int = 0
    callbacks: int = 0
    callback_errors: int = 0
    callback_time: float = 0.0
    latency: float | None = None
    lanes: tuple[LaneMetrics, ...] = ()

    @property
    def queue_depth(self) -> int:
        """Events that wait for callbacks now."""
        return self.waiting
