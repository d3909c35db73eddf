"""A few words with a server on a connection that the doctor has opened, on the calling thread."""

from __future__ import annotations

import contextlib
import socket
import time
from collections import deque

from websocket import ABNF

from realtime_client._core.deflate import Agreement, Inflate
from realtime_client._core.frames import Close, FrameReader, Item, Ping, Violation, close_payload
from realtime_client.errors import ConnectionLost, ProtocolError

__all__ = ["ListeningSocket", "Talk"]

CHUNK = 64 * 1024


class ListeningSocket:
    """What the handshake takes for the socket; it keeps what the server says first.

    Args:
        sock: The socket.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.heard: bytearray = bytearray()

    def settimeout(self, timeout: float | None) -> None:
        """See ``socket.socket.settimeout``."""
        self._sock.settimeout(timeout)

    def sendall(self, data: bytes) -> None:
        """See ``socket.socket.sendall``."""
        self._sock.sendall(data)

    def recv(self, size: int) -> bytes:
        """See ``socket.socket.recv``."""
        data = self._sock.recv(size)
        self.heard += data
        return data


class Talk:
    """Reads what comes, and answers pings.

    Args:
        sock: After the handshake.
        first: Bytes that came with it.
        agreement: What was agreed on compression.
        max_message_bytes: The longest message.
    """

    def __init__(self, sock: socket.socket, first: bytes, agreement: Agreement | None, max_message_bytes: int) -> None:
        self._sock = sock
        inflate = None if agreement is None else Inflate(agreement)
        self._frames = FrameReader(max_message_bytes=max_message_bytes, inflate=inflate)
        self._items: deque[Item] = deque(self._frames.feed(first) if first else ())

    def hear(self, deadline: float) -> Item:
        """The next message or pong.

        Args:
            deadline: Monotonic time until which to wait.

        Raises:
            TimeoutError: Nothing came.
            ConnectionLost: The server has ended the connection, or broken the protocol.
        """
        while True:
            while not self._items:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError("nothing came")
                self._sock.settimeout(left)
                data = self._sock.recv(CHUNK)
                if not data:
                    raise ConnectionLost("the server ended the connection without a close frame")
                self._items.extend(self._frames.feed(data))
            item = self._items.popleft()
            match item:
                case Ping(payload):
                    self.say(ABNF.OPCODE_PONG, payload, deadline)
                case Close(code, reason):
                    words = f" {reason!r}" if reason else ""
                    raise ConnectionLost(f"the server closed the connection with {code}{words}", code=code)
                case Violation(code, reason):
                    raise ProtocolError(f"the server broke the protocol: {reason}", code=code)
                case _:
                    return item

    def say(self, opcode: int, payload: bytes, deadline: float) -> None:
        """Send a frame.

        Raises:
            OSError: It was not sent.
        """
        self._sock.settimeout(max(0.001, deadline - time.monotonic()))
        self._sock.sendall(ABNF.create_frame(payload, opcode).format())

    def leave(self, deadline: float) -> None:
        """Say goodbye, and wait for the answer until the deadline."""
        with contextlib.suppress(OSError, ConnectionLost):
            self.say(ABNF.OPCODE_CLOSE, close_payload(1000), deadline)
            while True:
                self.hear(deadline)
