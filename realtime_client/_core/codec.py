"""Messages of the feed into typed events, and mappings into messages.

There are two ways through. The fast one (``fast_path``) takes the plainly documented messages and refuses anything
else; the strict one here decides what is refused and words the error. What the fast way accepts, both read the same.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import re
import reprlib
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar

import attrs
import msgspec

from realtime_client._core.event_types import EventType
from realtime_client._core.fast_path import REFUSED, fast_decoders
from realtime_client._core.plain import MAX_DEPTH, Mismatch, plain, too_deep
from realtime_client._core.structure import strict_converter
from realtime_client.errors import MalformedMessage
from realtime_client.events import (
    ConnectionEstablished,
    Event,
    LogEntry,
    NewAnomaly,
    Origin,
    Pong,
    StatsUpdate,
    SystemAlert,
    UnknownEvent,
)

__all__ = ["Codec", "Decoded"]

_T = TypeVar("_T")
_BUILT_IN: Final[Mapping[str, type[Event]]] = {
    str(attrs.fields_dict(cls)["type"].default): cls
    for cls in (NewAnomaly, StatsUpdate, SystemAlert, ConnectionEstablished, Pong)
}
_SHOWN_PAYLOAD: Final = 200
MAX_VALUES: Final = 50_000
"""How many objects, arrays and keys a message may hold; of other texts two count as one of these."""
_TOO_DEEP: Final = f"too deep: more than {MAX_DEPTH} levels"
_DIGIT: Final = re.compile(r"[0-9]")
_LONG_NUMBER: Final = re.compile(r"(?<![0-9])[0-9]{309}")
# Possessive, and content with a string that does not end: one pass, whatever the text.
_STRING: Final = re.compile(r'"[^"\\]*+(?:\\[\s\S][^"\\]*+)*+"?')
# Half a pair: a first without its second, or a second without its first.
_LONE_SURROGATE: Final = re.compile(
    r"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD])[c-fC-F])"
)


class Decoded(NamedTuple):
    """What one batch of messages gave.

    Attributes:
        events: In the order of their messages.
        sizes: Bytes of each event's message, parallel to ``events``.
        malformed: The messages that could not be understood, in their order.
    """

    events: list[Event]
    sizes: list[int]
    malformed: list[MalformedMessage]


class Codec:
    """Decodes messages into events and encodes mappings; it knows the built-in types and those registered.

    Decoding holds no state, so several threads may decode at once; register before.
    """

    def __init__(self) -> None:
        self._converter = strict_converter()
        self._known = _known()
        self._unknown = EventType.of(UnknownEvent, self._converter)

    def register(self, wire_type: str, cls: type) -> None:
        """Read messages of a type into a class; registering a type again replaces its class.

        Args:
            wire_type: The message's ``type`` on the wire.
            cls: An attrs class whose fields are read from ``data``. If it is no ``Event``, events are instances of a
                frozen subclass of it and ``Event``.

        Raises:
            ValueError: ``wire_type`` is no text, empty, ``"*"``, or a built-in type.
            TypeError: ``cls`` is no attrs class, a field's type cannot be read from JSON, or a field has the name of an
                event's own.
        """
        if not isinstance(wire_type, str) or not wire_type or wire_type == "*":
            raise ValueError(f"wire_type: {wire_type!r} is not allowed; it is the message's type, a text")
        if wire_type in _BUILT_IN:
            raise ValueError(f"wire_type: {wire_type!r} is built in and cannot be registered")
        if not isinstance(cls, type) or not attrs.has(cls):
            raise TypeError(f"cls: {cls!r} is not allowed; it is a class made with attrs")
        self._known = {**self._known, wire_type: EventType.of(cls, self._converter)}

    def event_class(self, wire_type: str) -> type[Event] | None:
        """The class of the events of a type, or ``None`` for an unknown type."""
        known = self._known.get(wire_type)
        return None if known is None else known.cls

    def wire_types(self, cls: type) -> tuple[str, ...]:
        """The types whose events are instances of a class, in the order known; empty if there is none."""
        return tuple(name for name, known in self._known.items() if issubclass(known.cls, cls))

    def decode(self, message: str | bytes, *, received_at: datetime, origin: Origin = Origin.STREAM) -> Event:
        """Decode one message.

        Args:
            message: The JSON; of a binary message its bytes, read as UTF-8.
            received_at: When it was read, timezone-aware UTC.
            origin: Where it came from.

        Raises:
            MalformedMessage: It could not be understood; ``reason`` names the field in its wire spelling.
        """
        decoded = self.decode_batch((message,), received_at=received_at, origin=origin)
        if decoded.malformed:
            raise decoded.malformed[0]
        return decoded.events[0]

    def decode_batch(
        self, messages: Iterable[str | bytes], *, received_at: datetime, origin: Origin = Origin.STREAM
    ) -> Decoded:
        """Decode messages; one that is malformed spoils no other. Arguments as for ``decode``."""
        decoded = Decoded([], [], [])
        add_event, add_size = decoded.events.append, decoded.sizes.append
        likely, other = fast_decoders()
        for message in messages:
            raw = message
            event: Event | None = None
            try:
                if raw.__class__ is str and not raw.isascii():
                    raw = raw.encode()
                if len(raw) <= MAX_VALUES:  # what is larger is counted first, which the strict reading does
                    event = likely(raw).to_event(received_at, origin)
            except REFUSED:
                with contextlib.suppress(*REFUSED):
                    event = other(raw).to_event(received_at, origin)
                    likely, other = other, likely  # a server keeps to its spelling
            if event is None:
                try:
                    event = self._read(_parse(raw, MAX_VALUES), received_at, origin)
                except Mismatch as error:
                    decoded.malformed.append(MalformedMessage(str(error), payload=_beginning(raw)))
                    continue
            add_event(event)
            add_size(len(raw))
        return decoded

    def parse(self, body: str | bytes) -> Any:
        """The plain JSON data of a polling answer, with everything refused that no message may hold.

        Raises:
            MalformedMessage: It is no such JSON.
        """
        try:
            return _parse(body)
        except Mismatch as error:
            problem = MalformedMessage(str(error), payload=_beginning(body))
        raise problem

    def decode_object(self, obj: Any, *, received_at: datetime, origin: Origin) -> Event:
        """Decode a message that is parsed already, as strictly as ``decode``.

        Raises:
            MalformedMessage: It could not be understood.
        """
        return _or_malformed(obj, lambda: self._read(plain(obj), received_at, origin))

    def decode_log(self, obj: Any) -> LogEntry:
        """Read one of the ``logs`` of a polling answer.

        Raises:
            MalformedMessage: It is no log.
        """
        log: LogEntry = _or_malformed(obj, lambda: self._structure("log", plain(obj), LogEntry))
        return log

    def decode_alert(self, obj: Any, *, received_at: datetime, origin: Origin = Origin.POLL) -> SystemAlert:
        """Read one of the ``alerts`` of a polling answer, ``{"message", "severity", "timestamp"}``.

        Raises:
            MalformedMessage: It is no alert.
        """

        def read() -> Any:
            data = plain(obj)
            if type(data) is not dict:
                raise Mismatch("is not an object").at("alert")
            message = {"type": "system_alert", "data": data, "timestamp": data.get("timestamp")}
            return self._read(message, received_at, origin)

        alert: SystemAlert = _or_malformed(obj, read)
        return alert

    def encode(self, mapping: Mapping[str, Any]) -> str:
        """The compact JSON of a message to the server.

        Args:
            mapping: Text keys; values of text, numbers, booleans, ``None``, lists, tuples and mappings.

        Raises:
            TypeError: It is no mapping, or holds what is no JSON type (bytes, datetime ...); the message says where.
            ValueError: It holds NaN, an infinity, a number past a double's range, a lone surrogate, or nests deeper
                than 64 levels.
        """
        if not isinstance(mapping, Mapping):
            raise TypeError(f"mapping: {type(mapping).__name__} is not allowed; a message is a mapping")
        try:
            data = plain(mapping)
        except Mismatch as error:
            kind = TypeError if error.wrong_type else ValueError
            raise kind(str(error.at("message"))) from None
        return json.dumps(data, ensure_ascii=False, separators=(",", ":"))

    def _read(self, obj: Any, received_at: datetime, origin: Origin) -> Event:
        if type(obj) is not dict:
            raise Mismatch("not an object")
        if "type" not in obj:
            raise Mismatch("missing").at("type")
        wire_type = obj["type"]
        if type(wire_type) is not str:
            raise Mismatch("is not text").at("type")
        timestamp = obj.get("timestamp")
        if timestamp is not None:
            timestamp = self._structure("timestamp", timestamp, datetime)
        envelope = {"type": wire_type, "timestamp": timestamp, "received_at": received_at, "origin": origin}
        return self._known.get(wire_type, self._unknown).build(obj.get("data"), envelope)

    def _structure(self, place: str, value: Any, target: Any) -> Any:
        try:
            return self._converter.structure(value, target)
        except Mismatch as error:
            raise error.at(place) from None


@functools.cache
def _known() -> Mapping[str, EventType]:
    return {name: EventType.of(cls, strict_converter()) for name, cls in _BUILT_IN.items()}


def _or_malformed(obj: Any, read: Callable[[], _T]) -> _T:
    try:
        return read()
    except Mismatch as error:
        problem = MalformedMessage(str(error), payload=reprlib.repr(obj)[:_SHOWN_PAYLOAD])
    raise problem


def _parse(message: str | bytes, max_values: int | None = None) -> Any:
    """The JSON of a message, with everything refused that no message may hold."""
    if isinstance(message, str):
        text = message
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                raise Mismatch("lone surrogate") from None
    else:
        try:
            text = message.decode()
        except UnicodeDecodeError:
            raise Mismatch("invalid UTF-8") from None
    too_many = max_values is not None and len(text) > max_values and _values(text, max_values) > max_values
    try:
        value = msgspec.json.decode(text, type=msgspec.Raw if too_many else Any)
    except msgspec.ValidationError:  # there is no type to fail, only a number without a place
        raise Mismatch("number out of range") from None
    except msgspec.DecodeError as error:
        if _LONE_SURROGATE.search(text):
            raise Mismatch("lone surrogate") from None
        raise Mismatch(f"not JSON: {str(error).removeprefix('JSON is malformed: ')}") from None
    except RecursionError:
        raise Mismatch(_TOO_DEEP) from None
    if too_many:
        raise Mismatch(f"too many values: more than {max_values} objects, arrays, keys and pairs of texts")
    if text.count("[") + text.count("{") > MAX_DEPTH and too_deep(value):
        raise Mismatch(_TOO_DEEP)
    if _has_long_number(text):
        value = plain(value)  # which says where
        try:
            json.loads(text, parse_int=_judge_range)  # also what a later key of the same name hides
        except RecursionError:
            raise Mismatch(_TOO_DEEP) from None
    return value


def _judge_range(digits: str) -> None:
    if not math.isfinite(float(digits)):
        raise Mismatch("number out of range")


def _values(text: str, enough: int) -> float:
    """About how much JSON holds, exact where it is over ``enough``: objects, arrays, keys, and other texts by half.

    Three bytes may stand for an object of 64, five for a text of 80, so that the size alone does not bound the memory.
    """
    most = _weight(text)
    return most if most <= enough else _weight(_STRING.sub('""', text))  # what stands in strings is text


def _weight(text: str) -> float:
    keys = text.count(":")
    return text.count("{") + text.count("[") + keys + max(0.0, text.count('"') / 2 - keys) / 2


def _has_long_number(text: str) -> bool:
    """Whether there are 309 digits in a row, without which no integer is past a double's range."""
    # Of 309 characters in a row one is a 309th of the text, so those are looked at first.
    return bool(_DIGIT.search(text[308::309]) and _LONG_NUMBER.search(text))


def _beginning(message: str | bytes) -> str:
    if isinstance(message, bytes):
        message = message[: 4 * _SHOWN_PAYLOAD].decode(errors="replace")
    return message[:_SHOWN_PAYLOAD].encode(errors="replace").decode()
