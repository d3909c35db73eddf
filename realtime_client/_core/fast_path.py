"""The common messages, decoded by msgspec straight into structs that mirror the attrs classes.

The structs are made from the fields of the attrs classes, one set for each spelling of the keys. They refuse whatever
is not plainly the documented message (an unknown key, a null, the other spelling, an integral float for an int ...),
so that what they accept is exactly what the strict reading gives; everything refused is left to it.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import attrs
import msgspec

from realtime_client._core.timestamps import in_utc
from realtime_client.events import (
    ENVELOPE,
    FIGURES,
    ConnectionEstablished,
    Event,
    Figures,
    FrozenMapping,
    LogEntry,
    NewAnomaly,
    Origin,
    Pong,
    StatsUpdate,
    SystemAlert,
    camel,
)

__all__ = ["REFUSED", "Decode", "fast_decoders"]

REFUSED: Final = (msgspec.MsgspecError, ValueError, RecursionError)
"""What a fast decoder and its messages raise for what the strict reading has to decide."""

# Beyond 64 bits a number may be past a double's range, which is for the strict reading to see.
_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]

# Plain figures are few and scalar; whatever else a server invents is for the strict reading.
_Figures = Annotated[dict[str, _Int64 | float | str | bool | None], msgspec.Meta(max_length=100)]
_KNOWN_FIGURES: Final = {key: (name, kind) for name, kind in FIGURES.items() for key in (name, camel(name))}

_astuple = msgspec.structs.astuple

_ToEvent = Callable[[Any, datetime, Origin], Event]
_Fill = Callable[[dict[str, Any], Any, datetime | None], None]
Decode = Callable[[str | bytes], Any]
"""Decodes one message into a struct with ``to_event(received_at, origin)``."""


@functools.cache
def fast_decoders() -> tuple[Decode, Decode]:
    """The decoder for the documented camelCase, and the one for snake_case; stateless, so shared by all."""
    classes: list[type[Any]] = [LogEntry, *_EVENTS]
    for cls in classes:
        attrs.resolve_types(cls)
    return _decoder(camel), _decoder(str)


def _decoder(spelling: Callable[[str], str]) -> Decode:
    messages = [_message(cls, fill, spelling) for cls, fill in _EVENTS.items()]
    return msgspec.json.Decoder(functools.reduce(operator.or_, messages)).decode


def _message(cls: type[Event], fill: _Fill, spelling: Callable[[str], str]) -> type[msgspec.Struct]:
    fields = [field for field in attrs.fields(cls) if field.name not in ENVELOPE]
    wire_type = str(attrs.fields_dict(cls)["type"].default)
    # A greeting may carry anything; only its absence is plain.
    data: Any = None if fill is _no_data else _struct(f"{cls.__name__}Data", fields, spelling)
    return msgspec.defstruct(
        cls.__name__,
        [("data", data, *([None] if data is None else [])), ("timestamp", datetime | None, None)],
        tag_field="type",
        tag=wire_type,
        forbid_unknown_fields=True,
        gc=False,  # a struct lives for one message and refers to nothing that could refer back
        namespace={"to_event": _to_event(cls, wire_type, fill)},
    )


def _struct(name: str, fields: list[attrs.Attribute[Any]], spelling: Callable[[str], str]) -> type[msgspec.Struct]:
    members = [
        (field.name, _wire_type(field, spelling), *([] if field.default is attrs.NOTHING else [field.default]))
        for field in fields
        if field.name != "extra"
    ]
    return msgspec.defstruct(name, members, rename=spelling, forbid_unknown_fields=True, gc=False)


def _wire_type(field: attrs.Attribute[Any], spelling: Callable[[str], str]) -> Any:
    if field.type == Figures:
        return _Figures
    if isinstance(field.type, type) and attrs.has(field.type):
        return _struct(field.type.__name__, list(attrs.fields(field.type)), spelling)
    return field.type


def _to_event(cls: type[Event], wire_type: str, fill: _Fill) -> _ToEvent:
    def to_event(message: Any, received_at: datetime, origin: Origin) -> Event:
        timestamp = message.timestamp
        if timestamp is not None and timestamp.tzinfo is not UTC:
            timestamp = in_utc(timestamp)
        # Filled as attrs would fill it: the constructor of a frozen subclass takes a sixth of the whole message's time.
        event = object.__new__(cls)
        fields = event.__dict__
        fields["type"] = wire_type
        fields["timestamp"] = timestamp
        fields["received_at"] = received_at
        fields["origin"] = origin
        fill(fields, message, timestamp)
        return event

    return to_event


# Not frozen, and of the same layout: filled in a third of the time that LogEntry's own constructor takes.
_LogDraft: Final = attrs.make_class(
    "_LogDraft",
    {field.name: attrs.field(default=field.default) for field in attrs.fields(LogEntry)},
    slots=True,
    weakref_slot=False,
)


def _anomaly(fields: dict[str, Any], message: Any, timestamp: datetime | None) -> None:
    log = message.data.log
    at = log.timestamp
    if at is None:
        log.timestamp = timestamp
    elif at.tzinfo is not UTC:
        log.timestamp = in_utc(at)
    draft = _LogDraft(*_astuple(log))
    draft.__class__ = LogEntry
    fields["log"] = draft


def _stats(fields: dict[str, Any], message: Any, _: datetime | None) -> None:
    figures: dict[str, Any] = {}
    for key, figure in message.data.stats.items():
        known = _KNOWN_FIGURES.get(key)
        if figure is None:
            continue
        if known is None:
            figures[key] = figure
            continue
        name, kind = known
        if name in figures:
            raise ValueError("a figure in both spellings")
        figures[name] = figure if figure.__class__ is kind else _whole(figure, kind)
    fields["stats"] = FrozenMapping(figures)


def _whole(figure: Any, kind: type[int] | type[float]) -> float:
    """A whole number where a fraction may be; nothing else that is not of its kind is plain."""
    if figure.__class__ is int and kind is float:
        return float(figure)
    raise ValueError("a figure of another type")


def _data_fields(fields: dict[str, Any], message: Any, _: datetime | None) -> None:
    fields.update(msgspec.structs.asdict(message.data))


def _no_data(fields: dict[str, Any], _message: Any, _: datetime | None) -> None:
    fields["data"] = None


_EVENTS: Final[Mapping[type[Event], _Fill]] = {
    NewAnomaly: _anomaly,
    StatsUpdate: _stats,
    SystemAlert: _data_fields,
    ConnectionEstablished: _no_data,
    Pong: _no_data,
}
