"""The client's own threads: named, daemon, known to the client, and joined within one deadline."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from realtime_client._runtime.clock import Clock

__all__ = ["ClientThread", "Threads", "join_all"]


class ClientThread(threading.Thread):
    """A daemon thread that knows to which client it belongs."""

    def __init__(self, owner: object, name: str, target: Callable[[], None]) -> None:
        super().__init__(name=name, target=target, daemon=True)
        self.owner = owner


class Threads:
    """Starts the threads of one client and recognises them.

    Args:
        name: The client's name, part of every thread's name.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._token = object()

    def start(self, role: str, target: Callable[[], None]) -> ClientThread:
        """Start a daemon thread ``rtc-<name>-<role>``."""
        thread = ClientThread(self._token, f"rtc-{self._name}-{role}", target)
        thread.start()
        return thread

    def is_current_own(self) -> bool:
        """Whether the caller runs on one of this client's threads."""
        current = threading.current_thread()
        return isinstance(current, ClientThread) and current.owner is self._token

    def after_fork(self) -> None:
        """In a child process none of the threads is ours, not even the one that forked from within a callback."""
        self._token = object()


def join_all(threads: Iterable[ClientThread], clock: Clock, deadline: float) -> list[ClientThread]:
    """Join threads until a monotonic deadline, never the calling one; return those that still run."""
    running = []
    for thread in threads:
        if thread is threading.current_thread():
            continue
        thread.join(max(0.0, deadline - clock.monotonic()))
        if thread.is_alive():
            running.append(thread)
    return running
