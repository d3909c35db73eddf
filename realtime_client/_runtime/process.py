"""What the process does to a client: it forks, and it ends.

One hook each for the whole module, over weak references: hooks cannot be taken back.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import time
import weakref
from typing import Protocol, TypeVar

__all__ = ["snapshot", "watch"]

T = TypeVar("T")

EXIT_TIMEOUT = 0.3
"""Seconds that all open clients together may take to say goodbye when the interpreter ends."""


class Watched(Protocol):
    """What wants to be told."""

    def after_fork(self) -> None:
        """This is a child process, and the caller its only thread: no lock may be waited for, no thread started."""

    def close_at_exit(self, timeout: float) -> None:
        """The interpreter ends: close within that time, without a word."""


_watched: weakref.WeakSet[Watched] = weakref.WeakSet()


def watch(engine: Watched) -> None:
    """Tell this one, for as long as it lives."""
    _watched.add(engine)


def snapshot(things: weakref.WeakSet[T]) -> list[T]:
    """A list of what is in a weak set, which other threads may add to meanwhile."""
    while True:
        try:
            return list(things)
        except RuntimeError:  # it changed its size under the iteration
            continue


def _after_fork_in_child() -> None:
    for engine in list(_watched):
        # One that cannot be mended here is mended, or says why not, at its next public call.
        with contextlib.suppress(Exception):
            engine.after_fork()


def _at_exit() -> None:
    # atexit runs before daemon threads are frozen, so that they can still do their part.
    deadline = time.monotonic() + EXIT_TIMEOUT
    for engine in snapshot(_watched):
        engine.close_at_exit(max(0.0, deadline - time.monotonic()))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
