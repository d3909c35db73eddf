"""The typed events: frozen, picklable classes, one for each message type of the feed."""

from __future__ import annotations

import enum
from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated, Any, Final

import attrs

__all__ = [
    "ConnectionEstablished",
    "Event",
    "LogEntry",
    "NewAnomaly",
    "Origin",
    "Pong",
    "StatsUpdate",
    "SystemAlert",
    "UnknownEvent",
    "camel",
]


class Origin(enum.Enum):
    """Where an event came from."""

    STREAM = "stream"
    """The WebSocket."""
    POLL = "poll"
    """HTTP polling, or the backfill of a gap."""
    REDIS = "redis"
    """A relay's Redis stream."""
    REPLAY = "replay"
    """A recording."""


def camel(name: str) -> str:
    """The documented wire spelling of a field: ``anomaly_score`` is ``anomalyScore``."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


class FrozenMapping(Mapping[str, Any]):
    """A read-only, picklable, comparable view of a dict that nobody else holds."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, Any] | None = None) -> None:
        self._items = dict(items or {})

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    # Mapping's own views would ask for item by item.

    def keys(self) -> KeysView[str]:
        """The keys, as of a dict."""
        return self._items.keys()

    def items(self) -> ItemsView[str, Any]:
        """The items, as of a dict."""
        return self._items.items()

    def values(self) -> ValuesView[Any]:
        """The values, as of a dict."""
        return self._items.values()

    def __repr__(self) -> str:
        return repr(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items))

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenMapping, (self._items,)


EMPTY = FrozenMapping()
"""The mapping without items, shared by everything that has none."""

FIGURES: Final[Mapping[str, type[int] | type[float]]] = MappingProxyType(
    {"total_logs": int, "anomaly_count": int, "anomaly_rate": float, "active_services": int}
)
"""The figures that the feed documents, and what each is."""

Figures = Annotated[Mapping[str, Any], "known keys in snake_case, further ones verbatim"]


def wire_value(value: object) -> Any:
    """A field's value as JSON-ready data in the wire's documented naming."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): wire_value(item) for key, item in value.items()}
    if isinstance(value, (tuple, list, set, frozenset)):
        return [wire_value(item) for item in value]
    cls: type[Any] = type(value)
    if attrs.has(cls):
        return {camel(a.name): wire_value(getattr(value, a.name)) for a in attrs.fields(cls)}
    return value


# No slot for weak references: the codec makes logs in an unfrozen class of the same layout, and CPython lets an object
# change between two such classes only without it.
@attrs.frozen(weakref_slot=False)
class LogEntry:
    """One line of the log as the analyser saw it.

    Attributes:
        id: The line's identity; a line seen twice has the same.
        message: The text of the line.
        timestamp: When it was written, timezone-aware; the envelope's time where the log has none, else ``None``.
        level: The severity as the source names it; ``"UNKNOWN"`` where it does not.
        source: The service or file that wrote it.
        is_anomaly: Whether the analyser calls it one.
        anomaly_score: How unusual it is, as the analyser scores it (the feed does not fix a range).
        root_causes: Likely causes, in words.
        recommendations: What to do, in words.
        extra: What else the server sent for this log, verbatim.
    """

    id: str
    message: str
    timestamp: datetime | None = None
    level: str = "UNKNOWN"
    source: str = ""
    is_anomaly: bool = True
    anomaly_score: float = 0.0
    root_causes: tuple[str, ...] = ()
    recommendations: tuple[str, ...] = ()
    extra: Mapping[str, Any] = EMPTY

    def to_dict(self) -> dict[str, Any]:
        """The log as JSON-ready data in the wire's documented naming; ``extra`` keys stand beside the others."""
        data = {camel(a.name): wire_value(getattr(self, a.name)) for a in attrs.fields(LogEntry) if a.name != "extra"}
        return {**wire_value(self.extra), **data}


# Not slotted, so that a class that the user made with slots can be combined with it (CPython combines only one such).
@attrs.frozen(slots=False)
class Event:
    """What every event has.

    Attributes:
        type: The message's type on the wire.
        timestamp: The server's time in the envelope, timezone-aware, or ``None``.
        received_at: When this process read it, timezone-aware UTC; in a replay, when it was read for the recording;
            through Redis, when it was appended there; ``None`` in an event made by hand.
        origin: Where it came from.
    """

    type: str = attrs.field(default="", kw_only=True)
    timestamp: datetime | None = attrs.field(default=None, kw_only=True)
    received_at: datetime | None = attrs.field(default=None, kw_only=True, eq=False)
    origin: Origin = attrs.field(default=Origin.STREAM, kw_only=True)

    def data_to_dict(self) -> Any:
        """The ``data`` part of the envelope as JSON-ready data; ``None`` where the event carries none."""
        own = [a.name for a in attrs.fields(type(self)) if a.name not in ENVELOPE]
        return {camel(name): wire_value(getattr(self, name)) for name in own} or None

    def to_dict(self) -> dict[str, Any]:
        """The event as JSON-ready data: the wire's envelope, plus ``receivedAt`` and ``origin``."""
        result: dict[str, Any] = {"type": self.type}
        if (data := self.data_to_dict()) is not None:
            result["data"] = data
        result["timestamp"] = wire_value(self.timestamp)
        result["receivedAt"] = wire_value(self.received_at)
        result["origin"] = self.origin.value
        return result


ENVELOPE = frozenset(a.name for a in attrs.fields(Event))


@attrs.frozen(slots=False)
class NewAnomaly(Event):
    """``new_anomaly``: an anomalous log line.

    Attributes:
        log: The line.
    """

    log: LogEntry
    type: str = attrs.field(default="new_anomaly", kw_only=True)

    def data_to_dict(self) -> Any:
        """``{"log": {...}}``."""
        return {"log": self.log.to_dict()}


@attrs.frozen(slots=False)
class StatsUpdate(Event):
    """``stats_update``: any subset of the figures.

    Attributes:
        stats: Read-only; the known keys ``total_logs``, ``anomaly_count``, ``anomaly_rate`` and ``active_services`` in
            snake_case, further figures verbatim.
    """

    stats: Figures
    type: str = attrs.field(default="stats_update", kw_only=True)

    def data_to_dict(self) -> Any:
        """``{"stats": {...}}`` in the documented spelling."""
        return {"stats": {camel(k) if k in FIGURES else k: wire_value(v) for k, v in self.stats.items()}}


@attrs.frozen(slots=False)
class SystemAlert(Event):
    """``system_alert``: a message for people.

    Attributes:
        message: The text.
        severity: ``info``, ``warning``, ``error`` or ``critical``; another word is kept as it came.
    """

    message: str
    severity: str = "error"
    type: str = attrs.field(default="system_alert", kw_only=True)


@attrs.frozen(slots=False)
class ConnectionEstablished(Event):
    """``connection_established``: the greeting after the handshake.

    Attributes:
        data: What the server said with it, or ``None``.
    """

    data: Any = None
    type: str = attrs.field(default="connection_established", kw_only=True)

    def data_to_dict(self) -> Any:
        """The data as it came."""
        return wire_value(self.data)


@attrs.frozen(slots=False)
class Pong(Event):
    """``pong``: the answer to a heartbeat.

    Attributes:
        data: What the server said with it, or ``None``.
    """

    data: Any = None
    type: str = attrs.field(default="pong", kw_only=True)

    def data_to_dict(self) -> Any:
        """The data as it came."""
        return wire_value(self.data)


@attrs.frozen(slots=False)
class UnknownEvent(Event):
    """A message of a type that is not registered; not an error.

    Attributes:
        data: The message's ``data`` as it came.
    """

    data: Any = None

    def data_to_dict(self) -> Any:
        """The data as it came."""
        return wire_value(self.data)
