"""Byte streams over connected sockets that one thread reads and any thread writes.

Plain TCP: the reader blocks in ``recv`` without a lock; a writer never blocks in ``send`` but waits for room with a
deadline, under the write lock. TLS: one OpenSSL object must not be used by two threads at once, so every read and write
is non-blocking under one lock, and waiting happens outside it.
"""

from __future__ import annotations

import contextlib
import functools
import select
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from typing import Protocol

__all__ = ["PlainStream", "Stream", "TlsStream"]

READ_SIZE = 128 * 1024


class Stream(Protocol):
    """A connected byte stream.

    Attributes:
        sent: Bytes given to `send`.
    """

    sent: int

    def recv(self) -> bytes:
        """Wait for bytes; ``b""`` at the end. Reader thread only. ``OSError`` on trouble."""

    def send(self, data: bytes, timeout: float) -> None:
        """Write everything, by any thread, not interleaved with others.

        Raises:
            TimeoutError: An unknown part was written; the stream must be aborted.
            OSError: The same.
        """

    def drain(self, timeout: float) -> None:
        """Say that no more will be written, then read and discard until the peer's end, for a while.

        Reader thread only. A socket that is closed with unread bytes resets the connection, and the peer may then never
        see our last words.
        """

    def close(self) -> None:
        """Give the descriptor back. Reader thread only, after its last ``recv``: the number may be reused at once."""


class PlainStream:
    """A stream over a TCP socket in blocking mode."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(None)
        self._sock = sock
        self._give_way = _way_giver(sock)
        self._write_lock = threading.Lock()  # guards sent and the order of bytes on the wire: an I/O lock
        self.sent = 0

    def recv(self) -> bytes:
        """See `Stream.recv`."""
        self._give_way()
        return self._sock.recv(READ_SIZE)

    def send(self, data: bytes, timeout: float) -> None:
        """See `Stream.send`."""
        deadline = time.monotonic() + timeout
        if not self._write_lock.acquire(timeout=timeout):
            raise TimeoutError("another thread's write did not end")
        try:
            self.sent += len(data)
            view = memoryview(data)
            while view:
                try:
                    view = view[self._sock.send(view, socket.MSG_DONTWAIT) :]
                except BlockingIOError:
                    _wait(self._sock, select.POLLOUT, deadline)
        finally:
            self._write_lock.release()

    def drain(self, timeout: float) -> None:
        """See `Stream.drain`."""
        _drain(self._sock, timeout)

    def close(self) -> None:
        """See `Stream.close`."""
        self._sock.close()


class TlsStream:
    """A stream over a TLS socket, after the TLS handshake."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        sock.settimeout(0.0)
        self._sock = sock
        self._give_way = _way_giver(sock)
        self._io_lock = threading.Lock()  # guards the OpenSSL object; only non-blocking calls happen under it
        self._write_lock = threading.Lock()  # guards sent and the order of bytes on the wire: an I/O lock
        self.sent = 0

    def recv(self) -> bytes:
        """See `Stream.recv`."""
        self._give_way()
        while True:
            with self._io_lock:
                try:
                    data = self._sock.recv(READ_SIZE)
                    # One record is 16 KiB at most; take what is decrypted already along.
                    while data and len(data) < READ_SIZE and self._sock.pending():
                        data += self._sock.recv(READ_SIZE - len(data))
                    return data
                except ssl.SSLWantReadError:
                    wanted = select.POLLIN
                except ssl.SSLWantWriteError:
                    wanted = select.POLLOUT
                except ssl.SSLEOFError:
                    return b""
            _wait(self._sock, wanted, None)

    def send(self, data: bytes, timeout: float) -> None:
        """See `Stream.send`."""
        deadline = time.monotonic() + timeout
        if not self._write_lock.acquire(timeout=timeout):
            raise TimeoutError("another thread's write did not end")
        try:
            self.sent += len(data)
            view = memoryview(data)
            while view:
                with self._io_lock:
                    try:
                        view = view[self._sock.send(view) :]
                        continue
                    except ssl.SSLWantReadError:
                        wanted = select.POLLIN
                    except ssl.SSLWantWriteError:
                        wanted = select.POLLOUT
                _wait(self._sock, wanted, deadline)
        finally:
            self._write_lock.release()

    def drain(self, timeout: float) -> None:
        """See `Stream.drain`."""
        _drain(self._sock, timeout)

    def close(self) -> None:
        """See `Stream.close`."""
        self._sock.close()


def _way_giver(sock: socket.socket) -> Callable[[], object]:
    """What lets others run: nothing where threads are real, a switch where they are gevent's greenlets.

    gevent's ``recv`` returns at once while there is data, so that a burst would starve everybody else in the process.
    """
    if type(sock).__module__.startswith("gevent."):
        # Not a wait: it is gevent's way to let others run. With no time at all fifty turns may go by before its loop
        # looks at timers and sockets, so it is a moment.
        return functools.partial(vars(sys.modules["gevent"])["sleep"], 1e-6)
    return _nothing


def _nothing() -> None:
    pass


def _drain(sock: socket.socket, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_WR)
        while True:
            _wait(sock, select.POLLIN, deadline)
            # The bytes do not matter, so that TLS need not be told: they are read below it.
            if not socket.socket.recv(sock, READ_SIZE):
                return


def _wait(sock: socket.socket, wanted: int, deadline: float | None) -> None:
    timeout = None
    if deadline is not None:
        timeout = (deadline - time.monotonic()) * 1000
        if timeout <= 0:
            raise TimeoutError("the peer takes no data")
    poll = select.poll()
    poll.register(sock, wanted)
    poll.poll(timeout)
