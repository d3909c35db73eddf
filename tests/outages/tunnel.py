"""An HTTP proxy that tunnels, on the loopback device."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from types import TracebackType
from typing import Self


class TunnelProxy:
    """Answers CONNECT (RFC 9110 section 9.3.6) and moves bytes, one connection at a time.

    Args:
        status: Another answer than 200 refuses the tunnel.

    Attributes:
        requests: The heads of the requests, in order.
    """

    def __init__(self, status: str = "200 OK") -> None:
        self._status = status
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.requests: list[str] = []
        self._thread = threading.Thread(target=self._run, name="tunnel-proxy", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listening.close()

    def _run(self) -> None:
        while True:
            try:
                client = self._listening.accept()[0]
            except OSError:
                return
            with client, contextlib.suppress(OSError):
                self._serve(client)

    def _serve(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            data = client.recv(4096)
            if not data:
                return
            head += data
        self.requests.append(head.decode("latin-1"))
        client.sendall(f"HTTP/1.1 {self._status}\r\n\r\n".encode())
        if not self._status.startswith("200"):
            return
        host, _, port = head.split()[1].decode().rpartition(":")
        with socket.create_connection((host, int(port))) as target:
            pair = {client: target, target: client}
            while True:
                for source in select.select(list(pair), [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    pair[source].sendall(data)
