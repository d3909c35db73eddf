"""A server that answers each handshake and sends the same few frames, with numbers that go on, in one write."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import threading
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from realtime_client._core.frames import CONTINUATION, PING, PONG, TEXT, Close, FrameReader, Ping, encode_frame
from realtime_client._core.handshake import parse_request, upgrade_answer
from tests import engine_io
from tests.client.recording import PATIENCE
from tests.serving import read_head

EVENTS = 3
"""Numbered events of one connection."""
EPOCH = datetime(2024, 5, 1, tzinfo=UTC)
LONG = "Überlauf \N{FIRE} " * 9


def log(number: int) -> dict[str, Any]:
    """The numbered log; a millisecond lies between two, and every connection's are equally long."""
    at = (EPOCH + timedelta(milliseconds=number)).isoformat(timespec="milliseconds")
    return {"id": f"log-{number:06}", "message": LONG if number % EVENTS == 2 else "short", "timestamp": at}


def conversation(connection: int) -> list[tuple[bytes, int | None]]:
    """The five frames of a connection (from 0), and which event is complete with each.

    A short text, a text of two fragments with a ping between them (RFC 6455 section 5.4), and a text whose length needs
    two bytes more and whose characters need up to four.
    """
    first, second, third = range(connection * EVENTS, (connection + 1) * EVENTS)
    fragmented = _payload(second)
    return [
        (encode_frame(TEXT, _payload(first)), first),
        (encode_frame(TEXT, fragmented[:41], fin=False), None),
        (encode_frame(PING, b"still there?"), None),
        (encode_frame(CONTINUATION, fragmented[41:]), second),
        (encode_frame(TEXT, _payload(third)), third),
    ]


def _payload(number: int) -> bytes:
    return json.dumps({"type": "new_anomaly", "data": {"log": log(number)}}, ensure_ascii=False).encode()


class NumberedFeed:
    """Listens on the loopback device; each connection, in the order of their arrival, gets its `conversation`.

    Attributes:
        port: Where.
    """

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listening.getsockname()[1]
        self._lock = threading.Lock()  # guards the lists
        self._sockets: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._acceptor = threading.Thread(target=self._accept, name="numbered-feed", daemon=True)
        self._acceptor.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(PATIENCE)
        self._listening.close()
        with self._lock:
            for sock in self._sockets:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            threads = tuple(self._threads)
        for thread in threads:
            thread.join(PATIENCE)

    def _accept(self) -> None:
        for connection in itertools.count():
            try:
                sock = self._listening.accept()[0]
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(sock, connection), name="numbered-feed-connection")
            with self._lock:
                self._sockets.add(sock)
                self._threads.add(thread)
            thread.start()

    def _serve(self, sock: socket.socket, connection: int) -> None:
        with contextlib.suppress(OSError):
            head, _ = read_head(sock)
            sock.sendall(upgrade_answer(parse_request(head)) + self._first_words(connection))
            self._converse(sock)
        sock.close()  # first: who ends the feed waits for this thread only as long as it is listed
        with self._lock:
            self._sockets.discard(sock)
            self._threads.discard(threading.current_thread())

    def _first_words(self, connection: int) -> bytes:
        return b"".join(data for data, _ in conversation(connection))

    def _converse(self, sock: socket.socket) -> None:
        """Answer pings, until the client ends it; its close frame is answered by the end of the stream."""
        reader = FrameReader(max_message_bytes=65536, expect_masked=True)
        while data := sock.recv(4096):
            for item in reader.feed(data):
                match item:
                    case Ping():
                        sock.sendall(encode_frame(PONG, item.payload))
                    case Close():
                        return


class EngineFeed(NumberedFeed):
    """The same events for a client that speaks Engine.IO 4 and Socket.IO 5, over a WebSocket from the beginning."""

    def _first_words(self, connection: int) -> bytes:
        packets = engine_io.opening(f"sid-{connection}", interval=0.5, timeout=0.5)
        logs = (log(number) for number in range(connection * EVENTS, (connection + 1) * EVENTS))
        return engine_io.frames([*packets, *(engine_io.message("new_anomaly", {"log": one}) for one in logs)])

    def _converse(self, sock: socket.socket) -> None:
        """Send the server's pings, at its interval; what the client says is not looked at."""
        sock.settimeout(0.5)
        while True:
            try:
                if not sock.recv(4096):
                    return
            except TimeoutError:
                sock.sendall(engine_io.frames([engine_io.PING]))
