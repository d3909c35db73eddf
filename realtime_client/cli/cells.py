"""Text in the cells of a terminal: how wide it is, and how it is cut, so that columns stay straight.

Wide characters take two cells, combining ones none. What is not printable is written out, and so is every character
that this Python's Unicode tables do not know: what remains has one width. Terminals disagree about marks that ask for
another look of the character before them; those are left out.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

__all__ = ["cells", "cut", "fit", "visible", "wrap"]

ELLIPSIS = "…"
LOOKS = frozenset(map(chr, [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]))
"""Variation selectors: an emoji look is two cells wide on one terminal and one cell on another."""


def visible(text: str) -> str:
    r"""Text that cannot command a terminal: whatever is not printable is written out, ESC as ``\x1b``.

    That covers control characters of both ranges, line breaks, and the invisible marks that turn the direction of text.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def cells(text: str) -> int:
    """How many cells a printable text takes."""
    return len(text) if text.isascii() else sum(map(_width, text))


def cut(text: str, width: int) -> str:
    """The text, safe to show, in at most so many cells; what is left out is told by an ellipsis.

    Args:
        text: Any text, however hostile.
        width: Cells.
    """
    # Twice as much as could be shown at most, so that a huge text is not read as a whole.
    text = _tame(text[: 2 * width + 8])
    if cells(text) <= width:
        return text
    return _head(text, width - 1) + ELLIPSIS if width > 0 else ""


def fit(text: str, width: int, *, right: bool = False) -> str:
    """The text as `cut` gives it, filled up with blanks to exactly so many cells."""
    text = cut(text, width)
    blanks = " " * (width - cells(text))
    return blanks + text if right else text + blanks


def wrap(text: str, width: int) -> Iterator[str]:
    """The text, safe to show, in lines of at most so many cells, broken at blanks where there are any."""
    line = ""
    for word in _tame(text).split():
        if line and cells(line) + 1 + cells(word) <= width:
            line += " " + word
            continue
        if line:
            yield line
        line = word
        while cells(line) > width and len(line) > 1:
            head = _head(line, width) or line[0]  # a wide character in a single column goes over
            yield head
            line = line[len(head) :]
    yield line


def _tame(text: str) -> str:
    text = visible(text)
    return text if text.isascii() else "".join(c for c in text if c not in LOOKS)


def _width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _head(text: str, width: int) -> str:
    """The longest beginning that takes at most so many cells."""
    used = 0
    for index, character in enumerate(text):
        used += _width(character)
        if used > width:
            return text[:index]
    return text
