"""The first line of a property's or a value's docstring is a sentence, also if it has a colon in it.

Napoleon would read the words before the colon as the type.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

__all__ = ["setup"]

BEFORE_NAPOLEON = 400


def shift(app: Sphinx, what: str, *about: Any) -> None:
    """Begin with an empty comment: only the very first line is searched for a type."""
    if what in ("property", "attribute", "data"):
        lines: list[str] = about[-1]
        lines[:0] = ["..", ""]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("autodoc-process-docstring", shift, priority=BEFORE_NAPOLEON)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
