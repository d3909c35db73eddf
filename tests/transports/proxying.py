"""A small HTTP proxy that makes tunnels, in threads."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from types import TracebackType

from tests.client.recording import PATIENCE, Record
from tests.serving import read_head


class ConnectProxy:
    """Answers CONNECT and carries bytes to a fixed place, whatever target it is asked for.

    Args:
        to: The port on 127.0.0.1 where every tunnel leads.
        credentials: ``user:password`` that it wants, or ``None``.
        answer: What it says instead of opening a tunnel, or ``None``.

    Attributes:
        requests: The heads of the requests, as text.
    """

    def __init__(self, to: int, *, credentials: str | None = None, answer: bytes | None = None) -> None:
        self._to = to
        self._wanted = credentials and "Basic " + base64.b64encode(credentials.encode()).decode()
        self._answer = answer
        self.requests = Record()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, name="proxy-accept")]
        self._lock = threading.Lock()  # guards the lists

    @property
    def port(self) -> int:
        port = self._listening.getsockname()[1]
        assert isinstance(port, int)
        return port

    def url(self, credentials: str = "") -> str:
        at = f"{credentials}@" if credentials else ""
        return f"http://{at}127.0.0.1:{self.port}"

    def __enter__(self) -> ConnectProxy:
        self._port = self.port
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        with self._lock:
            sockets = list(self._sockets)
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(PATIENCE)
        self._listening.close()
        for sock in self._sockets:
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            self._start(self._serve, client)

    def _start(self, target: object, *arguments: socket.socket) -> None:
        with self._lock:
            self._sockets += [sock for sock in arguments if sock not in self._sockets]
            thread = threading.Thread(target=target, args=arguments, name="proxy-pump")  # type: ignore[arg-type]
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        try:
            head, _ = read_head(client)
        except OSError:
            return
        self.requests(head.decode("latin-1"))
        if self._wanted and f"Proxy-Authorization: {self._wanted}\r\n" not in head.decode("latin-1"):
            with contextlib.suppress(OSError):  # the client may leave as soon as it has read enough
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n")
                client.shutdown(socket.SHUT_WR)
            return
        if self._answer is not None:
            with contextlib.suppress(OSError):  # the client may have left before the end of it
                client.sendall(self._answer)
                client.shutdown(socket.SHUT_WR)
            return
        server = socket.create_connection(("127.0.0.1", self._to))
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self._start(self._pump, client, server)
        self._start(self._pump, server, client)

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for sock in (source, target):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
