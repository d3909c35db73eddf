"""How the events of one class are made from a message's ``data``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs

from realtime_client._core.plain import Mismatch
from realtime_client._core.registered import as_event, event_class
from realtime_client._core.structure import Fields, make
from realtime_client.events import (
    ENVELOPE,
    ConnectionEstablished,
    Event,
    NewAnomaly,
    Pong,
    UnknownEvent,
)

if TYPE_CHECKING:
    import cattrs

__all__ = ["EventType"]

_Build = Callable[[Any, Mapping[str, Any]], Event]
_VERBATIM: Final = (ConnectionEstablished, Pong, UnknownEvent)


class EventType(NamedTuple):
    """A kind of event.

    Attributes:
        cls: The class of its events.
        build: Makes one from the message's ``data`` and the fields of ``Event``; raises ``Mismatch``.
    """

    cls: type[Event]
    build: _Build

    @classmethod
    def of(cls, target: type[Any], converter: cattrs.Converter) -> EventType:
        """Work out how to make events of an attrs class.

        Raises:
            TypeError: Its fields cannot be read from JSON, or bear the names of an event's own.
        """
        if issubclass(target, _VERBATIM):
            return cls(target, lambda data, envelope: make(target, {"data": data, **envelope}))
        if issubclass(target, Event):
            return cls(target, _from_fields(target, converter))
        build = _from_instance(target, converter)  # first: it says which annotation is at fault
        return cls(event_class(target), build)


def _from_fields(target: type[Event], converter: cattrs.Converter) -> _Build:
    fields = Fields.of(target, converter, leave=ENVELOPE)
    needs_data = _needs_data(target)
    lends_timestamp = issubclass(target, NewAnomaly)

    def build(data: Any, envelope: Mapping[str, Any]) -> Event:
        arguments = {**fields.read(_object(data, needs_data)), **envelope}
        if lends_timestamp and arguments["log"].timestamp is None:
            arguments["log"] = attrs.evolve(arguments["log"], timestamp=envelope["timestamp"])
        event: Event = make(target, arguments)
        return event

    return build


def _from_instance(target: type[Any], converter: cattrs.Converter) -> _Build:
    structure = converter.get_structure_hook(target)
    needs_data = _needs_data(target)
    takes_timestamp = "timestamp" in attrs.fields_dict(target)

    def build(data: Any, envelope: Mapping[str, Any]) -> Event:
        data = _object(data, needs_data)
        sent = envelope["timestamp"]
        if takes_timestamp and sent is not None and data.get("timestamp") is None:
            data = {**data, "timestamp": sent.isoformat()}
        return as_event(structure(data, target), envelope)

    return build


def _needs_data(target: type[Any]) -> bool:
    fields = attrs.fields(target)
    return any(field.init and field.default is attrs.NOTHING for field in fields)


def _object(data: Any, needed: bool) -> dict[str, Any]:
    if type(data) is dict:
        return data
    if data is not None:
        raise Mismatch("is not an object").at("data")
    if needed:
        raise Mismatch("missing").at("data")
    return {}
