"""Where something was done: stacks that are cheap to keep, and are made readable when somebody is to read them."""

from __future__ import annotations

import traceback
from types import CodeType, FrameType
from typing import TypeAlias

__all__ = ["Stack", "printable", "stack_of"]

Stack: TypeAlias = tuple[tuple[CodeType, int], ...]
"""Code and line of each call, the innermost first."""


def stack_of(frame: FrameType | None, depth: int) -> Stack:
    """A stack without its frames, which would keep their variables alive; the innermost so many calls of it."""
    lines: list[tuple[CodeType, int]] = []
    while frame is not None and len(lines) < depth:
        lines.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return tuple(lines)


def printable(stack: Stack) -> str:
    """The stack as in a traceback."""
    lines = [traceback.FrameSummary(code.co_filename, line, code.co_name) for code, line in reversed(stack)]
    return "".join(traceback.StackSummary.from_list(lines).format())
