"""Byte streams over connected sockets that one thread reads and any thread writes.

Plain TCP: the reader blocks in ``recv`` without a lock; a writer never blocks in ``send`` but waits for room with a
deadline, under the write lock. TLS: one OpenSSL object must not be used by two threads at once, so every read and write
is non-blocking under one lock, and waiting happens outside it.
"""

from __future__ import annotations

import abc
import contextlib
import functools
import select
import socket
import ssl
import sys
import threading
import time
from collections import deque
from collections.abc import Callable

__all__ = ["NotSentError", "PlainStream", "Stream", "TlsStream"]

READ_SIZE = 128 * 1024
MAX_SOON = 100
"""How many answers to pings may wait for a write to end; of more the newest count (RFC 6455 section 5.5.3)."""


class NotSentError(Exception):
    """Another thread's write did not end in time; nothing of this one was written."""


class Stream(abc.ABC):
    """A connected byte stream that one thread reads and any thread writes.

    Attributes:
        sent: Bytes given to the socket.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._give_way = _way_giver(sock)
        self._write_lock = threading.Lock()  # guards sent and the order of bytes on the wire: an I/O lock
        self._soon: deque[bytes] = deque(maxlen=MAX_SOON)  # appended to by the reader, emptied under the write lock
        self.sent: int = 0

    @abc.abstractmethod
    def recv(self) -> bytes:
        """Wait for bytes; ``b""`` at the end. Reader thread only. ``OSError`` on trouble."""

    def send(self, data: bytes, timeout: float) -> None:
        """Write everything, by any thread, not interleaved with others.

        Raises:
            NotSentError: Nothing was written, and the stream is as good as before.
            OSError: An unknown part was written; the stream must be aborted.
        """
        deadline = time.monotonic() + timeout
        if not self._write_lock.acquire(timeout=max(0.0, timeout)):
            raise NotSentError
        try:
            self._write(data, deadline)
        finally:
            self._write_lock.release()
        try:
            # With time of its own: an answer that finds no room just now must not end a connection that is well.
            self._write_what_waits(time.monotonic() + timeout)
        except OSError:
            # What came to grief is an answer of the reader's: this one's message is out, and its caller is told so. An
            # unknown part of the answer is on the wire, and the reader finds the end.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def send_soon(self, data: bytes, deadline: float) -> None:
        """Write now if nobody else does; else whoever does writes this next, so that the reader need not wait."""
        self._soon.append(data)
        self._write_what_waits(deadline)

    def drain(self, timeout: float) -> None:
        """Say that no more will be written, then read and discard until the peer's end, for a while.

        Reader thread only. A socket that is closed with unread bytes resets the connection, and the peer may then never
        see our last words.
        """
        deadline = time.monotonic() + timeout
        with contextlib.suppress(OSError):
            # After a write that is under way, and after the last words, which may wait for that.
            if self._write_lock.acquire(timeout=timeout):
                try:
                    self._empty_soon(deadline)
                finally:
                    self._write_lock.release()
            socket.socket.shutdown(self._sock, socket.SHUT_WR)
            while True:
                _wait(self._sock, select.POLLIN, deadline)
                # The bytes do not matter, so that TLS need not be told: they are read below it.
                if not socket.socket.recv(self._sock, READ_SIZE):
                    return

    def settle(self, timeout: float) -> None:
        """Let a write end, for a while, so that it finds no other socket under the descriptor's number."""
        if self._write_lock.acquire(timeout=timeout):
            self._write_lock.release()

    def _write_what_waits(self, deadline: float) -> None:
        # Whoever held the lock looks again after releasing it: nothing is left behind by one who came in between.
        while self._soon and self._write_lock.acquire(blocking=False):
            try:
                self._empty_soon(deadline)
            finally:
                self._write_lock.release()

    def _empty_soon(self, deadline: float) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._write(self._soon.popleft(), deadline)

    def _write(self, data: bytes, deadline: float) -> None:
        self.sent += len(data)
        view = memoryview(data)
        while view:
            written, wanted = self._push(view)
            if written:
                view = view[written:]
            else:
                _wait(self._sock, wanted, deadline)

    @abc.abstractmethod
    def _push(self, view: memoryview) -> tuple[int, int]:
        """Write what goes without waiting: how many bytes, and what to wait for if none."""


class PlainStream(Stream):
    """A stream over a TCP socket in blocking mode."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        sock.settimeout(None)

    def recv(self) -> bytes:
        """See `Stream.recv`."""
        self._give_way()
        return self._sock.recv(READ_SIZE)

    def _push(self, view: memoryview) -> tuple[int, int]:
        try:
            return self._sock.send(view, socket.MSG_DONTWAIT), 0
        except BlockingIOError:
            return 0, select.POLLOUT


class TlsStream(Stream):
    """A stream over a TLS socket, after the TLS handshake."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        super().__init__(sock)
        sock.settimeout(0.0)
        self._tls = sock
        self._io_lock = threading.Lock()  # guards the OpenSSL object; only non-blocking calls happen under it

    def recv(self) -> bytes:
        """See `Stream.recv`."""
        self._give_way()
        while True:
            with self._io_lock:
                try:
                    data = self._tls.recv(READ_SIZE)
                    # One record is 16 KiB at most; take what is decrypted already along.
                    while data and len(data) < READ_SIZE and self._tls.pending():
                        data += self._tls.recv(READ_SIZE - len(data))
                    return data
                except ssl.SSLWantReadError:
                    wanted = select.POLLIN
                except ssl.SSLWantWriteError:
                    wanted = select.POLLOUT
                except ssl.SSLEOFError:
                    return b""
            _wait(self._tls, wanted, None)

    def _push(self, view: memoryview) -> tuple[int, int]:
        with self._io_lock:
            try:
                return self._tls.send(view), 0
            except ssl.SSLWantReadError:
                return 0, select.POLLIN
            except ssl.SSLWantWriteError:
                return 0, select.POLLOUT


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


def _wait(sock: socket.socket, wanted: int, deadline: float | None) -> None:
    timeout = None
    if deadline is not None:
        timeout = (deadline - time.monotonic()) * 1000
        if timeout <= 0:
            raise TimeoutError("the peer takes no data")
    poll = select.poll()
    poll.register(sock, wanted)
    poll.poll(timeout)
