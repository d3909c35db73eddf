"""Plain JSON data: what it may hold, and how far it may nest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["MAX_DEPTH", "Mismatch", "plain", "too_deep"]

MAX_DEPTH: Final = 64
"""Levels of objects and lists in one message; its outermost object is the first."""

_SHOWN_PATH: Final = 6


class Mismatch(Exception):
    """A value is not what its place calls for; ``str()`` names the place and the problem.

    Attributes:
        problem: What is wrong, as the end of a sentence that begins with the place.
        wrong_type: Whether the value is of a type that JSON does not have.
    """

    def __init__(self, problem: str, *, wrong_type: bool = False) -> None:
        super().__init__(problem)
        self.problem = problem
        self.wrong_type = wrong_type
        self._path: list[str] = []

    def at(self, *places: str) -> Mismatch:
        """Say where: each caller adds the place it went into, so the outermost comes last."""
        self._path.extend(places)
        return self

    def __str__(self) -> str:
        if not self._path:
            return self.problem
        shown = self._path[:_SHOWN_PATH] + ["..."] * (len(self._path) > _SHOWN_PATH)
        return f"{'.'.join(reversed(shown)).replace('.[', '[')} {self.problem}"


def plain(value: Any, level: int = 1) -> Any:
    """Copy a value into exactly what a JSON parser gives: dict, list, str, int, float, bool, ``None``.

    Mappings become dicts, tuples become lists, subclasses of text and numbers the plain ones.

    Args:
        value: What to copy.
        level: The level at which it stands.

    Returns:
        The copy, which shares nothing mutable with the value.

    Raises:
        Mismatch: JSON cannot carry it: another type, a key that is not text, NaN or an infinity, a number past a
            double's range, a lone surrogate, or more than ``MAX_DEPTH`` levels.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, (int, float)):
        return _number(value)
    if not isinstance(value, (Mapping, list, tuple)):
        raise Mismatch(f"is of type {type(value).__name__}, which JSON cannot carry", wrong_type=True)
    if level > MAX_DEPTH:
        raise Mismatch(f"is too deep: more than {MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        return {_key(key): _inside(ascii(key)[1:-1][:40], item, level) for key, item in value.items()}
    return [_inside(f"[{index}]", item, level) for index, item in enumerate(value)]


def _inside(place: str, item: Any, level: int) -> Any:
    try:
        return plain(item, level + 1)
    except Mismatch as error:
        raise error.at(place) from None


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise Mismatch(f"has a key of type {type(key).__name__}; JSON keys are text", wrong_type=True)
    return _text(key)


def _text(text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Mismatch("has a lone surrogate") from None
    return str.__str__(text)


def _number(number: float) -> int | float:
    try:
        as_float = float(number)
    except OverflowError:
        raise Mismatch("is a number out of range") from None
    if not math.isfinite(as_float):
        raise Mismatch("is NaN or infinite, which JSON cannot carry")
    return as_float if isinstance(number, float) else int(number)


def too_deep(value: Any) -> bool:
    """Whether parsed JSON nests deeper than ``MAX_DEPTH``; level by level, so without recursion."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [item for item in level if type(item) in (dict, list)]
        if not level:
            return False
        level = [child for item in level for child in (item.values() if type(item) is dict else item)]
    return True
