"""A way to wake a thread that waits in ``poll()``."""

from __future__ import annotations

import contextlib
import socket
import threading

__all__ = ["Waker"]


class Waker:
    """Wakes the one thread that polls it; any thread may wake."""

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        # Guards _closed. The byte goes out under it, which cannot block, so that it never goes to a descriptor
        # whose number was given to somebody else after close().
        self._lock = threading.Lock()
        self._closed = False

    def fileno(self) -> int:
        """The descriptor to poll for input."""
        return self._receiver.fileno()

    def wake(self) -> None:
        """End the present or the next wait; nothing after ``close()``."""
        # A full buffer means that the thread is awake already.
        with self._lock, contextlib.suppress(BlockingIOError):
            if not self._closed:
                self._sender.send(b"\0")

    def rest(self) -> None:
        """Forget the wake-ups so far; for the waiting thread."""
        with contextlib.suppress(BlockingIOError):
            self._receiver.recv(4096)

    def close(self) -> None:
        """Release the descriptors; for the waiting thread, after its last wait."""
        with self._lock:
            self._closed = True
            self._sender.close()
            self._receiver.close()
