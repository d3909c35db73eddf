"""TLS in front of a server that has none."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from types import TracebackType
from typing import Self

import trustme


class TlsFront:
    """Listens with TLS on the loopback device, and passes what it gets on to a port.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, to: int, authority: trustme.CA) -> None:
        self._to = to
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", "127.0.0.1").configure_cert(self._context)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._sockets: list[socket.socket] = []
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(10)
        self._listening.close()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                plain = self._listening.accept()[0]
            except OSError:
                return
            thread = threading.Thread(target=self._carry, args=(plain,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _carry(self, plain: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            contextlib.closing(plain),
            self._context.wrap_socket(plain, server_side=True) as near,
            socket.create_connection(("127.0.0.1", self._to)) as far,
        ):
            self._sockets += [near, far]
            while True:
                ready = [near] if near.pending() else select.select([near, far], [], [])[0]
                for source, sink in ((near, far), (far, near)):
                    if source in ready:
                        data = source.recv(65536)
                        if not data:
                            return
                        sink.sendall(data)
