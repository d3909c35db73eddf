"""Parsed JSON into attrs classes: cattrs with hooks that never coerce, and fields by either spelling."""

from __future__ import annotations

import collections.abc
import enum
import functools
import types
import typing
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Union

import attrs

from realtime_client._core.plain import Mismatch
from realtime_client._core.timestamps import parse_timestamp
from realtime_client.events import FIGURES, Figures, FrozenMapping, LogEntry, camel

if TYPE_CHECKING:
    import cattrs

__all__ = ["Fields", "make", "strict_converter"]

_LISTS: Final = (list, collections.abc.Sequence, collections.abc.MutableSequence)
_SETS: Final = (set, frozenset, collections.abc.Set)
_DICTS: Final = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_NOT_IN_JSON: Final = (bytes, bytearray, memoryview, complex)


class _Field(NamedTuple):
    argument: str
    name: str
    wire: str
    annotation: Any
    hook: Callable[[Any, Any], Any]
    required: bool
    nullable: bool


@attrs.frozen
class Fields:
    """How the fields of one attrs class are read from a JSON object.

    A key is the field's name or its camelCase; camelCase wins, a null counts as missing.

    Attributes:
        keys: Every key that is read, in both spellings.
    """

    _plan: tuple[_Field, ...]
    keys: frozenset[str]

    @classmethod
    def of(cls, target: type[Any], converter: cattrs.Converter, *, leave: Collection[str] = ()) -> Fields:
        """Work out the fields of a class.

        Args:
            target: An attrs class.
            converter: Gives the hook for each field's type.
            leave: Names of fields that come from elsewhere.

        Raises:
            TypeError: A field's type cannot be read from JSON strictly; the message names it.
        """
        try:
            attrs.resolve_types(target)
        except NameError as error:
            raise TypeError(f"{target.__qualname__}: an annotation cannot be resolved: {error}") from error
        plan = tuple(
            _field(target, field, converter) for field in attrs.fields(target) if field.init and field.name not in leave
        )
        keys = frozenset(key for field in plan for key in (field.name, field.wire))
        return cls(plan, keys)

    def read(self, value: Any) -> dict[str, Any]:
        """The keyword arguments that an object gives, the defaults left out.

        Raises:
            Mismatch: It is no object, a required field is missing, or a value is of the wrong type.
        """
        if type(value) is not dict:
            raise Mismatch("is not an object")
        arguments: dict[str, Any] = {}
        wire = ""
        try:
            for argument, name, wire, annotation, hook, required, nullable in self._plan:
                item = value.get(wire)
                if item is None:
                    item = value.get(name)
                if item is not None:
                    arguments[argument] = hook(item, annotation)
                elif required:
                    if not (nullable and (wire in value or name in value)):
                        raise Mismatch("missing")
                    arguments[argument] = None
        except Mismatch as error:
            raise error.at(wire) from None
        except Exception as error:
            raise _refused(error).at(wire) from error
        return arguments


def _field(target: type[Any], field: attrs.Attribute[Any], converter: cattrs.Converter) -> _Field:
    annotation = Any if field.type is None else field.type
    try:
        hook = _hook_for(annotation, converter)
    except Exception as error:
        raise TypeError(f"{target.__qualname__}.{field.name} cannot be read from JSON: {error}") from error
    return _Field(
        argument=field.alias or field.name,
        name=field.name,
        wire=camel(field.name),
        annotation=annotation,
        hook=hook,
        required=field.default is attrs.NOTHING,
        nullable=annotation is Any or type(None) in typing.get_args(annotation),
    )


def _hook_for(annotation: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    if annotation in _NOT_IN_JSON:
        raise TypeError(f"JSON has no {annotation.__name__}")
    return converter.get_structure_hook(annotation)


def _refused(error: Exception) -> Mismatch:
    """What a hook of cattrs's own raised, without its words, which may show the value."""
    return Mismatch(f"is refused ({type(error).__name__})")


def _structure(hook: Callable[[Any, Any], Any], value: Any, annotation: Any, place: str) -> Any:
    try:
        return hook(value, annotation)
    except Mismatch as error:
        raise error.at(place) from None
    except Exception as error:
        raise _refused(error).at(place) from error


@functools.cache
def strict_converter() -> cattrs.Converter:
    """The converter in which nothing is coerced; one for all, since it holds nothing but compiled hooks.

    It reads text, numbers, booleans, timestamps (as ``datetime``), enums, literals, lists, tuples, sets, dicts with
    text keys, unions of these, and attrs classes, whose unknown keys are ignored (a log keeps them).
    """
    # Not at the top: a process that imports the package, and makes no client, is spared a sixth of the time.
    import cattrs  # noqa: PLC0415

    converter = cattrs.Converter(detailed_validation=False)
    converter.register_structure_hook_factory(attrs.has, lambda cls: _class_hook(cls, converter))
    converter.register_structure_hook_factory(
        lambda t: _origin(t) in (*_LISTS, *_SETS), lambda t: _collection_hook(t, converter)
    )
    converter.register_structure_hook_factory(lambda t: _origin(t) is tuple, lambda t: _tuple_hook(t, converter))
    converter.register_structure_hook_factory(lambda t: _origin(t) in _DICTS, lambda t: _dict_hook(t, converter))
    converter.register_structure_hook_factory(
        lambda t: _origin(t) in (Union, types.UnionType), lambda t: _union_hook(t, converter)
    )
    converter.register_structure_hook_func(lambda t: t == Figures, lambda v, _: _figures(v, converter))
    converter.register_structure_hook_func(lambda t: _origin(t) is Literal, _literal)
    converter.register_structure_hook_func(lambda t: isinstance(t, type) and issubclass(t, enum.Enum), _member)
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook(int, _whole_number)
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook(bool, _boolean)
    converter.register_structure_hook(datetime, _timestamp)
    return converter


def _origin(annotation: Any) -> Any:
    return typing.get_origin(annotation) or annotation


def _text(value: Any, cls: type[Any]) -> Any:
    if type(value) is cls:
        return value
    if issubclass(cls, enum.Enum):  # cattrs finds the hook of a StrEnum's base class first
        return _member(value, cls)
    if type(value) is not str:
        raise Mismatch("is not text")
    return cls(value)


def _whole_number(value: Any, cls: type[Any]) -> Any:
    if type(value) is cls:
        return value
    if issubclass(cls, enum.Enum):
        return _member(value, cls)
    if type(value) is float and not value.is_integer():
        raise Mismatch("is not whole")
    if type(value) not in (int, float):
        raise Mismatch("is not a number")
    return cls(value)


def _number(value: Any, cls: type[Any]) -> Any:
    if type(value) is cls:
        return value
    if issubclass(cls, enum.Enum):
        return _member(value, cls)
    if type(value) not in (int, float):
        raise Mismatch("is not a number")
    return cls(value)


def _boolean(value: Any, _: Any) -> bool:
    if type(value) is not bool:
        raise Mismatch("is not a boolean")
    return value


def _timestamp(value: Any, _: Any) -> datetime:
    if type(value) is str:
        try:
            return parse_timestamp(value)
        except ValueError:
            pass
    raise Mismatch("is not RFC 3339")


def _member(value: Any, cls: type[enum.Enum]) -> enum.Enum:
    for member in cls:
        if type(member.value) is type(value) and member.value == value:
            return member
    raise Mismatch(f"is none of {cls.__name__}")


def _literal(value: Any, annotation: Any) -> Any:
    for allowed in typing.get_args(annotation):
        if type(allowed) is type(value) and allowed == value:
            return allowed
    raise Mismatch("is none of the allowed values")


def _collection_hook(annotation: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    element = (typing.get_args(annotation) or (Any,))[0]
    hook = _hook_for(element, converter)
    origin = _origin(annotation)
    if origin in _LISTS:
        return lambda value, _: _items(value, hook, element)
    build = set if origin is set else frozenset
    return lambda value, _: build(_items(value, hook, element))


def _tuple_hook(annotation: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    elements = typing.get_args(annotation) or (Any, ...)
    if elements[-1] is Ellipsis:
        element = elements[0]
        hook = _hook_for(element, converter)
        return lambda value, _: tuple(_items(value, hook, element))
    hooks = [_hook_for(element, converter) for element in elements]

    def structure(value: Any, _: Any) -> Any:
        if type(value) is not list:
            raise Mismatch("is not a list")
        if len(value) != len(hooks):
            raise Mismatch(f"is not a list of {len(hooks)}")
        return tuple(
            _structure(hook, item, element, f"[{index}]")
            for index, (hook, element, item) in enumerate(zip(hooks, elements, value, strict=True))
        )

    return structure


def _items(value: Any, hook: Callable[[Any, Any], Any], element: Any) -> list[Any]:
    if type(value) is not list:
        raise Mismatch("is not a list")
    return [_structure(hook, item, element, f"[{index}]") for index, item in enumerate(value)]


def _dict_hook(annotation: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    key, element = typing.get_args(annotation) or (str, Any)
    if key not in (str, Any):
        raise TypeError("the keys of a JSON object are text")
    hook = _hook_for(element, converter)

    def structure(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            raise Mismatch("is not an object")
        return {name: _structure(hook, item, element, "*") for name, item in value.items()}

    return structure


def _union_hook(annotation: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    members = [member for member in typing.get_args(annotation) if member is not type(None)]
    nullable = len(members) < len(typing.get_args(annotation))
    hooks = {member: _hook_for(member, converter) for member in members}

    def structure(value: Any, _: Any) -> Any:
        if value is None and nullable:
            return None
        if len(members) == 1:
            return hooks[members[0]](value, members[0])
        if type(value) in hooks:  # 5 for float | int is the int
            return hooks[type(value)](value, type(value))
        for member, hook in hooks.items():
            try:
                return hook(value, member)
            except Mismatch:
                continue
        raise Mismatch("is of none of the allowed types")

    return structure


def _class_hook(cls: type[Any], converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    keeps_unknown_keys = issubclass(cls, LogEntry)
    fields = Fields.of(cls, converter, leave=("extra",) if keeps_unknown_keys else ())

    def structure(value: Any, _: Any) -> Any:
        arguments = fields.read(value)
        if keeps_unknown_keys:
            extra = {key: item for key, item in value.items() if key not in fields.keys}
            if extra:
                arguments["extra"] = FrozenMapping(extra)
        return make(cls, arguments)

    return structure


def make(cls: type[Any], arguments: Mapping[str, Any]) -> Any:
    """Make an instance; whatever the class's own checks raise becomes a Mismatch that shows no value."""
    try:
        return cls(**arguments)
    except Exception as error:
        raise Mismatch(f"refused by {cls.__name__} ({type(error).__name__})") from error


def _figures(value: Any, converter: cattrs.Converter) -> Mapping[str, Any]:
    if type(value) is not dict:
        raise Mismatch("is not an object")
    figures: dict[str, Any] = {}
    further = value.copy()
    for name, kind in FIGURES.items():
        wire = camel(name)
        by_name, by_wire = further.pop(name, None), further.pop(wire, None)
        figure = by_name if by_wire is None else by_wire
        if figure is not None:
            figures[name] = _structure(converter.get_structure_hook(kind), figure, kind, wire)
    figures.update((name, figure) for name, figure in further.items() if figure is not None)
    return FrozenMapping(figures)
