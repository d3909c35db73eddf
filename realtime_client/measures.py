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


Read = Callable[[Reading], float | Mapping[str, float] | None]


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
    read: Read
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


def _limit(reading: Reading) -> float:
    return reading.limit


def _failures(reading: Reading) -> float:
    status: ConnectionStatus = reading.status
    return status.reconnect_attempts


def _state(reading: Reading) -> dict[str, float]:
    return _one_of(reading.status if isinstance(reading.status, enum.Enum) else reading.status.state)


def _transport(reading: Reading) -> dict[str, float]:
    return _one_of(reading.status.transport)


def _client(name: str, kind: Kind, unit: str, read: str | Read, description: str, *labels: str) -> Measure:
    return Measure(f"realtime_client.{name}", kind, unit, description, _reader(read), *labels)


def _relay(name: str, kind: Kind, unit: str, read: str | Read, description: str, *labels: str) -> Measure:
    return Measure(f"realtime_relay.{name}", kind, unit, description, _reader(read), *labels)


def _reader(read: str | Read) -> Read:
    """What takes a figure from a reading; the name of a field of its metrics stands for that."""
    return attrgetter(f"metrics.{read}") if isinstance(read, str) else read


COUNTER, SUM, PEAK = Kind
REASON = "reason", "realtime_client.drop.reason"

CLIENT = (
    _client("received.events", COUNTER, "{event}", "received", "Events decoded and handed to the callbacks' buffer."),
    _client("delivered.events", COUNTER, "{event}", "delivered", "Events taken out of it for the callbacks."),
    _client(
        "dropped.events",
        COUNTER,
        "{event}",
        _dropped,
        "Events that never reached callbacks, by reason: drop_oldest, drop_newest, closed.",
        *REASON,
    ),
    _client("waiting.events", SUM, "{event}", "waiting", "Events that wait for callbacks now."),
    _client("waiting.peak", PEAK, "{event}", "queue_high_water", "The most events that ever waited."),
    _client("waiting.limit", SUM, "{event}", _limit, "Events that may wait: max_pending_events."),
    _client(
        "side_buffers.dropped.events",
        COUNTER,
        "{event}",
        _side_dropped,
        "Events that callbacks with own_thread=True and iterators never got, by reason; also those that were left when "
        "they ended.",
        *REASON,
    ),
    _client(
        "side_buffers.waiting.events",
        SUM,
        "{event}",
        _side_waiting,
        "Events that wait for callbacks with own_thread=True and for iterators.",
    ),
    _client("malformed.messages", COUNTER, "{message}", "malformed", "Messages that could not be understood."),
    _client("duplicate.logs", COUNTER, "{log}", "duplicates", "Logs that were seen before within dedup_window."),
    _client(
        "connection.status",
        SUM,
        "{client}",
        _state,
        "1 for the state of the connection, 0 for the other states.",
        "state",
        "realtime_client.connection.state",
    ),
    _client(
        "source.status",
        SUM,
        "{client}",
        _transport,
        "1 for where events come from at the moment, 0 for the other sources.",
        "transport",
        "realtime_client.transport",
    ),
    _client("connections", COUNTER, "{connection}", "connects", "Connections established."),
    _client("reconnections", COUNTER, "{connection}", "reconnects", "Connections established after an earlier one."),
    _client("failed.attempts", COUNTER, "{attempt}", "failed_attempts", "Attempts that failed."),
    _client("consecutive.failures", PEAK, "{attempt}", _failures, "Failed attempts in a row; 0 when connected."),
    _client(
        "last_message.timestamp",
        PEAK,
        "s",
        _last_message,
        "When the last bytes were heard from the feed, as Unix time.",
    ),
    _client("polls", COUNTER, "{poll}", "polls", "Polls answered."),
    _client("heartbeats", COUNTER, "{heartbeat}", "heartbeats", "Heartbeats sent."),
    _client("heartbeat.latency", PEAK, "s", "latency", "Time between the last answered heartbeat and its answer."),
    _client(
        "network.io",
        COUNTER,
        "By",
        _bytes,
        "Bytes read from and written to connections, after the handshakes.",
        "direction",
        "network.io.direction",
    ),
    _client("sent.messages", COUNTER, "{message}", "messages_sent", "Messages sent by send()."),
    _client("callback.calls", COUNTER, "{call}", "callbacks", "Callbacks called on the dispatcher."),
    _client("callback.errors", COUNTER, "{error}", "callback_errors", "Callbacks that raised."),
    _client("callback.time", COUNTER, "s", "callback_time", "Time spent in callbacks on the dispatcher."),
)
"""What is measured of a client."""

RELAY = (
    _relay(
        "status",
        SUM,
        "{relay}",
        _state,
        "1 for the state of the relay, 0 for the other states.",
        "state",
        "realtime_relay.state",
    ),
    _relay("upstream.connected", SUM, "{connection}", "upstream_connected", "1 while it is connected to the feed."),
    _relay("terms", COUNTER, "{term}", "terms", "How often the relay became active."),
    _relay("lease.remaining", PEAK, "s", "lease_left", "Time in which it may still publish without a renewal."),
    _relay("lease.renewals", COUNTER, "{renewal}", "renewals", "Leases renewed."),
    _relay("lease.fence", PEAK, "{term}", "fence", "The fencing number of the relay's present or last term."),
    _relay(
        "refused.writes",
        COUNTER,
        "{write}",
        "refused",
        "Appends and snapshots that Redis refused because the lease was over.",
    ),
    _relay("appended.events", COUNTER, "{event}", "appended", "Events appended to the stream."),
    _relay("appends", COUNTER, "{append}", "batches", "Appends of one or more entries."),
    _relay("appended.data", COUNTER, "By", "bytes", "Bytes of the entries appended."),
    _relay("stream.position", PEAK, "{entry}", "seq", "The number of the last entry."),
    _relay("beats", COUNTER, "{entry}", "beats", "Entries that say nothing but that the feed lives."),
    _relay("gaps", COUNTER, "{gap}", "gaps", "Gaps told to readers."),
    _relay("duplicate.logs", COUNTER, "{log}", "duplicates", "Logs that were not appended because they were before."),
    _relay("snapshots", COUNTER, "{snapshot}", "snapshots", "Snapshots written."),
    _relay("waiting.events", SUM, "{event}", "waiting", "Events that wait to be appended."),
    _relay("waiting.peak", PEAK, "{event}", "waiting_high_water", "The most events that ever waited."),
    _relay("waiting.limit", SUM, "{event}", _limit, "Events that may wait: max_pending_events."),
    _relay("redis.connections", COUNTER, "{connection}", "redis_connects", "Connections to Redis."),
    _relay("redis.errors", COUNTER, "{error}", "redis_errors", "Connections to Redis that failed or ended."),
)
"""What is measured of a relay."""
