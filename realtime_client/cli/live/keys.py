"""Keys, from the bytes that a terminal sends for them. Pure."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

__all__ = ["KeyDecoder"]

ESCAPE = "\x1b"
SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O[ -~])")
BEGINNING = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|O)?")
LONGEST = 64
"""Characters of a sequence that has not ended; what is longer is none."""

NAMES: Mapping[str, str] = MappingProxyType(
    {
        **{
            f"\x1b{start}{end}": name
            for start in "[O"
            for end, name in zip("ABHF", ("up", "down", "home", "end"), strict=True)
        },
        **{
            f"\x1b[{number}~": name
            for number, name in ((1, "home"), (4, "end"), (5, "pageup"), (6, "pagedown"), (7, "home"), (8, "end"))
        },
        "\r": "enter",
        "\n": "enter",
        "\x7f": "backspace",
        "\b": "backspace",
        "\x15": "clear",
    }
)


class KeyDecoder:
    """Makes keys of bytes, which may be cut anywhere.

    A printable character is its own name. The others are ``up``, ``down``, ``pageup``, ``pagedown``, ``home``, ``end``,
    ``enter``, ``escape``, ``backspace`` and ``clear`` (Ctrl-U). What has no name here is left out as a whole.
    """

    def __init__(self) -> None:
        self._text = codecs.getincrementaldecoder("utf-8")(errors="ignore")
        self._begun = ""

    @property
    def waits(self) -> bool:
        """Whether the bytes so far are the beginning of a key, or the Escape key itself: time will tell."""
        return bool(self._begun)

    def feed(self, data: bytes) -> list[str]:
        """The keys that these bytes complete."""
        text, self._begun = self._begun + self._text.decode(data), ""
        return list(self._split(text))

    def flush(self) -> list[str]:
        """Nothing more came for a while: what has begun is not the beginning of a key."""
        begun, self._begun = self._begun, ""
        return ["escape"] if begun == ESCAPE else []

    def _split(self, text: str) -> Iterator[str]:
        position = 0
        while position < len(text):
            character = text[position]
            if character != ESCAPE:
                position += 1
                if name := NAMES.get(character, character if character.isprintable() else ""):
                    yield name
                continue
            if found := SEQUENCE.match(text, position):
                position = found.end()
                if name := NAMES.get(found[0], ""):
                    yield name
                continue
            begun = BEGINNING.match(text, position)
            if begun is not None and begun.end() == len(text) and len(begun[0]) <= LONGEST:
                self._begun = begun[0]
                return
            yield "escape"
            position += 1
