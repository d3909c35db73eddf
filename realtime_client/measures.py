"""What is measured of clients and relays: one table of names, kinds and units, from which every exporter is made.

The names are OpenTelemetry's way of naming; what Prometheus calls them follows by the usual translation, so that a
dashboard finds the same names whichever way they came.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any

import attrs

from realtime_client.status import ConnectionStatus, Metrics

__all__ = ["CLIENT", "RELAY", "Kind", "Measure", "Reading"]

NONE_DROPPED = {"drop_oldest": 0, "drop_newest": 0, "closed": 0}
"""The reasons, there from the beginning: ``increase`` does not see the first count of a series that begins with it."""
SUFFIXES = {"s": "_seconds", "By": "_bytes"}
"""What Prometheus appends for a unit."""


class Kind(enum.Enum):
    """How a figure behaves in time, and how those of several processes become one."""

    COUNTER = "counter"
    """Only grows; the figures of several processes add up."""
    SUM = "sum"
    """Goes up and down; the figures of several processes add up."""
    PEAK = "peak"
    """Goes up and down; of several processes the highest counts."""


@attrs.frozen
class Reading:
    """What a client or a relay says of itself at one moment.

    Attributes:
        metrics: `Metrics` or `RelayMetrics`.
        status: `ConnectionStatus` or `RelayState`.
        limit: How many events may wait.
    """

    metrics: Any
    status: Any
    limit: int


@attrs.frozen
class Measure:
    """One metric.

    Attributes:
        name: As OpenTelemetry writes it.
        kind: How it behaves.
        unit: UCUM: ``s``, ``By``, or in braces what is counted.
        description: A sentence.
        read: Takes it from a reading: a number, ``None`` for none at the moment, or numbers by the label's value.
        label: What tells several numbers of it apart, as Prometheus writes it; empty for one number.
        attribute: The same as OpenTelemetry writes it.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    read: Callable[[Reading], float | Mapping[str, float] | None]
    label: str = ""
    attribute: str = ""

    @property
    def prometheus_name(self) -> str:
        """The name of its series in Prometheus."""
        total = "_total" if self.kind is Kind.COUNTER else ""
        return self.name.replace(".", "_") + SUFFIXES.get(self.unit, "") + total

    def points(self, reading: Reading) -> Iterable[tuple[str, float]]:
        """The numbers by the label's value, which is empty where there is no label."""
        value = self.read(reading)
        if value is None:
            return ()
        return value.items() if isinstance(value, Mapping) else (("", value),)


def _one_of(member: enum.Enum) -> dict[str, float]:
    """1 for what is the case, 0 for what else might be."""
    return {other.value: float(other is member) for other in type(member)}


def _bytes(reading: Reading) -> dict[str, float]:
    metrics: Metrics = reading.metrics
    return {"receive": metrics.bytes_received, "transmit": metrics.bytes_sent}


def _dropped(reading: Reading) -> dict[str, float]:
    metrics: Metrics = reading.metrics
    return {**NONE_DROPPED, **metrics.dropped}


def _side_dropped(reading: Reading) -> dict[str, float]:
    metrics: Metrics = reading.metrics
    total = Counter({**NONE_DROPPED, "cancelled": 0})
    for lane in metrics.lanes:
        total.update(lane.dropped)
    return dict(total)


def _side_waiting(reading: Reading) -> float:
    metrics: Metrics = reading.metrics
    return sum(lane.waiting for lane in metrics.lanes)


def _last_message(reading: Reading) -> float | None:
    status: ConnectionStatus = reading.status
    return None if status.last_message_at is None else status.last_message_at.timestamp()


def _state(reading: Reading) -> dict[str, float]:
    return _one_of(reading.status if isinstance(reading.status, enum.Enum) else reading.status.state)


def _transport(reading: Reading) -> dict[str, float]:
    return _one_of(reading.status.transport)


def _client(name: str, kind: Kind, unit: str, field: str, description: str) -> Measure:
    """One that is a field of the reading."""
    return Measure(f"realtime_client.{name}", kind, unit, description, attrgetter(field))


def _relay(name: str, kind: Kind, unit: str, field: str, description: str) -> Measure:
    """One that is a field of the reading."""
    return Measure(f"realtime_relay.{name}", kind, unit, description, attrgetter(field))


CLIENT = (
    _client(
        "received.events",
        Kind.COUNTER,
        "{event}",
        "metrics.received",
        "Events decoded and handed to the callbacks' buffer.",
    ),
    _client(
        "delivered.events", Kind.COUNTER, "{event}", "metrics.delivered", "Events taken out of it for the callbacks."
    ),
    Measure(
        "realtime_client.dropped.events",
        Kind.COUNTER,
        "{event}",
        "Events that never reached callbacks, by reason: drop_oldest, drop_newest, closed.",
        _dropped,
        "reason",
        "realtime_client.drop.reason",
    ),
    _client("waiting.events", Kind.SUM, "{event}", "metrics.waiting", "Events that wait for callbacks now."),
    _client("waiting.peak", Kind.PEAK, "{event}", "metrics.queue_high_water", "The most events that ever waited."),
    _client("waiting.limit", Kind.SUM, "{event}", "limit", "Events that may wait: max_pending_events."),
    Measure(
        "realtime_client.side_buffers.dropped.events",
        Kind.COUNTER,
        "{event}",
        "Events that callbacks with own_thread=True and iterators never got, by reason; also those that were left when "
        "they ended.",
        _side_dropped,
        "reason",
        "realtime_client.drop.reason",
    ),
    Measure(
        "realtime_client.side_buffers.waiting.events",
        Kind.SUM,
        "{event}",
        "Events that wait for callbacks with own_thread=True and for iterators.",
        _side_waiting,
    ),
    _client(
        "malformed.messages", Kind.COUNTER, "{message}", "metrics.malformed", "Messages that could not be understood."
    ),
    _client(
        "duplicate.logs", Kind.COUNTER, "{log}", "metrics.duplicates", "Logs that were seen before within dedup_window."
    ),
    Measure(
        "realtime_client.connection.status",
        Kind.SUM,
        "{client}",
        "1 for the state of the connection, 0 for the other states.",
        _state,
        "state",
        "realtime_client.connection.state",
    ),
    Measure(
        "realtime_client.source.status",
        Kind.SUM,
        "{client}",
        "1 for where events come from at the moment, 0 for the other sources.",
        _transport,
        "transport",
        "realtime_client.transport",
    ),
    _client("connections", Kind.COUNTER, "{connection}", "metrics.connects", "Connections established."),
    _client(
        "reconnections",
        Kind.COUNTER,
        "{connection}",
        "metrics.reconnects",
        "Connections established after an earlier one.",
    ),
    _client("failed.attempts", Kind.COUNTER, "{attempt}", "metrics.failed_attempts", "Attempts that failed."),
    _client(
        "consecutive.failures",
        Kind.PEAK,
        "{attempt}",
        "status.reconnect_attempts",
        "Failed attempts in a row; 0 when connected.",
    ),
    Measure(
        "realtime_client.last_message.timestamp",
        Kind.PEAK,
        "s",
        "When the last bytes were heard from the feed, as Unix time.",
        _last_message,
    ),
    _client("polls", Kind.COUNTER, "{poll}", "metrics.polls", "Polls answered."),
    _client("heartbeats", Kind.COUNTER, "{heartbeat}", "metrics.heartbeats", "Heartbeats sent."),
    _client(
        "heartbeat.latency",
        Kind.PEAK,
        "s",
        "metrics.latency",
        "Time between the last answered heartbeat and its answer.",
    ),
    Measure(
        "realtime_client.network.io",
        Kind.COUNTER,
        "By",
        "Bytes read from and written to connections, after the handshakes.",
        _bytes,
        "direction",
        "network.io.direction",
    ),
    _client("sent.messages", Kind.COUNTER, "{message}", "metrics.messages_sent", "Messages sent by send()."),
    _client("callback.calls", Kind.COUNTER, "{call}", "metrics.callbacks", "Callbacks called on the dispatcher."),
    _client("callback.errors", Kind.COUNTER, "{error}", "metrics.callback_errors", "Callbacks that raised."),
    _client("callback.time", Kind.COUNTER, "s", "metrics.callback_time", "Time spent in callbacks on the dispatcher."),
)
"""What is measured of a client."""

RELAY = (
    Measure(
        "realtime_relay.status",
        Kind.SUM,
        "{relay}",
        "1 for the state of the relay, 0 for the other states.",
        _state,
        "state",
        "realtime_relay.state",
    ),
    _relay(
        "upstream.connected",
        Kind.SUM,
        "{connection}",
        "metrics.upstream_connected",
        "1 while the relay is connected to the feed.",
    ),
    _relay("terms", Kind.COUNTER, "{term}", "metrics.terms", "How often the relay became active."),
    _relay(
        "lease.remaining",
        Kind.PEAK,
        "s",
        "metrics.lease_left",
        "Time in which it may still publish without a renewal.",
    ),
    _relay("lease.renewals", Kind.COUNTER, "{renewal}", "metrics.renewals", "Leases renewed."),
    _relay(
        "lease.fence", Kind.PEAK, "{term}", "metrics.fence", "The fencing number of the relay's present or last term."
    ),
    _relay(
        "refused.writes",
        Kind.COUNTER,
        "{write}",
        "metrics.refused",
        "Appends and snapshots that Redis refused because the lease was over.",
    ),
    _relay("appended.events", Kind.COUNTER, "{event}", "metrics.appended", "Events appended to the stream."),
    _relay("appends", Kind.COUNTER, "{append}", "metrics.batches", "Appends of one or more entries."),
    _relay("appended.data", Kind.COUNTER, "By", "metrics.bytes", "Bytes of the entries appended."),
    _relay("stream.position", Kind.PEAK, "{entry}", "metrics.seq", "The number of the last entry."),
    _relay("beats", Kind.COUNTER, "{entry}", "metrics.beats", "Entries that say nothing but that the feed lives."),
    _relay("gaps", Kind.COUNTER, "{gap}", "metrics.gaps", "Gaps told to readers."),
    _relay(
        "duplicate.logs",
        Kind.COUNTER,
        "{log}",
        "metrics.duplicates",
        "Logs that were not appended because they were before.",
    ),
    _relay("snapshots", Kind.COUNTER, "{snapshot}", "metrics.snapshots", "Snapshots written."),
    _relay("waiting.events", Kind.SUM, "{event}", "metrics.waiting", "Events that wait to be appended."),
    _relay("waiting.peak", Kind.PEAK, "{event}", "metrics.waiting_high_water", "The most events that ever waited."),
    _relay("waiting.limit", Kind.SUM, "{event}", "limit", "Events that may wait: max_pending_events."),
    _relay("redis.connections", Kind.COUNTER, "{connection}", "metrics.redis_connects", "Connections to Redis."),
    _relay(
        "redis.errors",
        Kind.COUNTER,
        "{error}",
        "metrics.redis_errors",
        "Connections to Redis that failed or ended.",
    ),
)
"""What is measured of a relay."""
