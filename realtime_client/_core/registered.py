"""Events of a server's own: the class that the user wrote, and an event as well."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import attrs

from realtime_client.events import ENVELOPE, Event

__all__ = ["as_event", "event_class"]


def event_class(cls: type[Any]) -> type[Event]:
    """The event class for a user's attrs class: itself, or a frozen subclass of it and of ``Event``.

    The subclass bears the same name. Where the class has a ``timestamp`` of its own, that is the event's too.

    Raises:
        TypeError: A field has the name of an event's own, or the class cannot be subclassed.
    """
    return cls if issubclass(cls, Event) else _combined(cls)


def _combine(cls: type[Any]) -> type[Event]:
    attrs.resolve_types(cls)
    for field in attrs.fields(cls):
        if field.name == "timestamp" and field.type in (datetime, datetime | None):
            continue
        if field.name in ENVELOPE:
            raise TypeError(f"{cls.__qualname__}.{field.name}: every event has a field of this name")
    body = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    combined = types.new_class(
        cls.__name__, (cls, Event), exec_body=lambda namespace: namespace.update(body, __reduce__=_reduce)
    )
    # A frozen class may not have setter hooks, and the user's fields may bring some.
    return attrs.frozen(
        combined,
        slots=False,
        field_transformer=lambda _, fields: [field.evolve(on_setattr=None) for field in fields],
    )


_combined: Callable[[Any], type[Event]] = functools.cache(_combine)  # one subclass for one class, also unpickled


def as_event(value: Any, envelope: Mapping[str, Any]) -> Event:
    """The event for an instance of a user's class, whose own checks and defaults ran when it was made.

    Args:
        value: The instance.
        envelope: The fields of ``Event``; the instance's own ``timestamp`` goes before.
    """
    fields = {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
    return _rebuild(type(value), {**envelope, **fields})


def _reduce(event: Event) -> tuple[Any, ...]:
    # The subclass has no place in its module, the user's class has.
    fields = {field.name: getattr(event, field.name) for field in attrs.fields(type(event))}
    return _rebuild, (type(event).__bases__[0], fields)


def _rebuild(cls: type[Any], fields: dict[str, Any]) -> Event:
    event = object.__new__(event_class(cls))
    for name, value in fields.items():
        object.__setattr__(event, name, value)
    return event
