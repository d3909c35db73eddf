"""Who changes the network interfaces of this machine, and who must not see it.

Chromium gives up what it loads when an interface comes or goes (``ERR_NETWORK_CHANGED``), also what comes from this
machine itself. So tests that make interfaces and tests with a browser take turns, across processes.
"""

from __future__ import annotations

import contextlib
import fcntl
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["changing", "steady"]


@contextlib.contextmanager
def changing() -> Iterator[None]:
    """While no browser is at work, and none begins."""
    with _lock("gate", fcntl.LOCK_EX), _lock("network", fcntl.LOCK_EX):
        yield


@contextlib.contextmanager
def steady() -> Iterator[None]:
    """While no interface comes or goes. Who waits to change one has precedence over whoever comes after."""
    with contextlib.ExitStack() as held:
        with _lock("gate", fcntl.LOCK_SH):
            held.enter_context(_lock("network", fcntl.LOCK_SH))
        yield


@contextlib.contextmanager
def _lock(name: str, kind: int) -> Iterator[None]:
    with (Path(tempfile.gettempdir()) / f"realtime-client-tests.{name}").open("a") as file:
        fcntl.flock(file, kind)
        yield
