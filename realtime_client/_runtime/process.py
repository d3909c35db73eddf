"""What the process does to a client: it forks, and it ends.

One hook each for the whole module, over weak references: hooks cannot be taken back.
"""

from __future__ import annotations

import atexit
import os
import time
import weakref
from typing import Protocol

__all__ = ["watch"]

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


def _after_fork_in_child() -> None:
    for engine in list(_watched):
        engine.after_fork()


def _at_exit() -> None:
    # atexit runs before daemon threads are frozen, so that they can still do their part.
    deadline = time.monotonic() + EXIT_TIMEOUT
    for engine in list(_watched):
        engine.close_at_exit(max(0.0, deadline - time.monotonic()))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
