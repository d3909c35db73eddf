"""The kinds of log lines: one template for all lines that differ in their variable parts only."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Hashable
from typing import TypeVar

__all__ = ["TemplateCounts", "template_of"]

Key = TypeVar("Key", bound=Hashable)

MASK = "<*>"
# One alternation, so that a line is read once. No alternative can start inside a run of another's characters
# and look back over it, so a hostile line costs no more than an honest one.
VARIABLE = re.compile(
    r"""
      "[^"]*"                                       # quoted text may hold anything
    | (?<!\w)'[^']*'(?!\w)                          # ... but an apostrophe is no quote
    | (?<![\w.+:~\-])[a-z0-9][a-z0-9.+\-]*:(?:all|any|amd64|arm64|armel|armhf|i386|ppc64el|riscv64|s390x)\b  # packages
    | (?<![\w.+:~\-])[\w.+:~\-]*?\d[\w.+:~\-]*      # a word with a digit: number, version, address, UUID, time
    | \b[a-fA-F]{8,}\b                              # a hexadecimal identity that happens to have no digit
    | \d+
    """,
    re.VERBOSE,
)


def template_of(message: str) -> str:
    """The message with quoted text, numbers, versions, addresses and identities masked.

    Pure. No digit of the message is left. The analyser takes lines with one template for one kind of line.
    """
    return VARIABLE.sub(MASK, message)


class TemplateCounts:
    """How often each kind of line was seen, in bounded memory.

    Kinds are counted for each source apart, so that a quiet service is not rare beside a chatty one. The kinds, and
    the sources, that were not seen for longest are forgotten first. Not for use by several threads at once.

    Args:
        limit: Kinds remembered, and sources.
    """

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit
        self._kinds: OrderedDict[tuple[str, str, str], int] = OrderedDict()
        self._sources: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kinds)

    def add(self, source: str, level: str, template: str) -> tuple[int, int]:
        """Count one line; returns how many of its kind, and of its source, had been seen before it."""
        return (
            count(self._kinds, (source, level, template), self._limit),
            count(self._sources, source, self._limit),
        )


def count(counts: OrderedDict[Key, int], key: Key, limit: int) -> int:
    """Add one to a key's count, forget the least recent key past the limit; returns the count before."""
    before = counts.pop(key, 0)
    counts[key] = before + 1
    if len(counts) > limit:
        counts.popitem(last=False)
    return before
