"""The live page over HTTP, for whoever sits at this machine; threads and the standard library, like the feed server."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from realtime_client import RealtimeClient
from realtime_client.web import (
    FILE_HEADERS,
    FILES,
    PAGE_HEADERS,
    STREAM_HEADERS,
    Dashboard,
    from_elsewhere,
    page,
    static_file,
)

__all__ = ["PageServer"]

log: logging.Logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")
FILES_PATH = "/files/"
STALLED_SECONDS = 30.0
"""Seconds for a request to come, and for a visitor to take what is written."""


class PageServer:
    """Serves the live page of one client, on the loopback device only, to whoever can log in to this machine.

    For demonstrations and development: it has neither a login nor TLS. As a context manager it starts, and in the end
    closes. `realtime_client.integrations` has the page for real applications.

    Args:
        client: The client; starting asks it to connect, and does not wait for that.
        port: The port; 0 takes any that is free.
        title: What the page is called.
    """

    def __init__(self, client: RealtimeClient, port: int = 0, *, title: str = "Realtime demo") -> None:
        self._client = client
        self._port = port
        self._title = title
        self._dashboard = Dashboard(lambda: client)
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The page's address; with the port that was taken, once it is started."""
        return f"http://{HOST}:{self._port}/"

    def start(self) -> None:
        """Listen, and serve on threads of its own.

        Raises:
            OSError: The address cannot be listened on.
        """
        server = self._server = _Server(self._port, self._dashboard, self._title)
        self._port = server.server_port
        self._client.connect(wait=False)
        self._thread = threading.Thread(target=server.serve_forever, name="demo-page", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the streams and stop listening; idempotent."""
        server, self._server = self._server, None
        if server is None or self._thread is None:
            return
        server.shutdown()
        self._thread.join(STALLED_SECONDS)
        server.server_close()
        self._dashboard.end_streams()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a visitor who does not read must not delay the end

    def __init__(self, port: int, dashboard: Dashboard, title: str) -> None:
        super().__init__((HOST, port), _Visit)
        self.dashboard = dashboard
        self.title = title
        self.names = [f"{name}:{self.server_port}" for name in NAMES]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A visitor has left, or said nonsense."""
        log.debug("a visit to the page ended early", exc_info=True)


class _Visit(BaseHTTPRequestHandler):
    """One request."""

    server: _Server
    timeout = STALLED_SECONDS
    server_version = "realtime-client"
    sys_version = ""

    def do_GET(self) -> None:
        """Find what is asked for."""
        address = urlsplit(self.path)
        host = self.headers.get("Host", "")
        # Another site's name may be made to lead to this machine; its pages then ask for that name, and get nothing.
        if host not in self.server.names:
            self.send_error(HTTPStatus.FORBIDDEN, "Only this machine is served")
        elif from_elsewhere(self.headers, host, page=address.path == "/"):
            self.send_error(HTTPStatus.FORBIDDEN, "Asked for by another site")
        elif address.path == "/":
            urls = {name: FILES_PATH + name for name in FILES}
            self._send(page(title=self.server.title, stream_url="/stream", file_urls=urls), PAGE_HEADERS)
        elif address.path == "/stream":
            self._stream(parse_qs(address.query).get("last_event_id"))
        elif address.path.removeprefix(FILES_PATH) in FILES and address.path.startswith(FILES_PATH):
            file = static_file(address.path.removeprefix(FILES_PATH))
            self._send(file.body, {**FILE_HEADERS, "Content-Type": file.media_type})
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what is said on the terminal is the feed."""

    def _stream(self, query: list[str] | None) -> None:
        last_event_id = self.headers.get("Last-Event-ID") or (query[0] if query else None)
        stream = self.server.dashboard.stream(last_event_id)
        try:
            self._begin(STREAM_HEADERS)
            for chunk in stream:
                self.wfile.write(chunk)
        finally:
            stream.close()

    def _send(self, body: bytes, headers: Mapping[str, str]) -> None:
        self._begin({**headers, "Content-Length": str(len(body))})
        self.wfile.write(body)

    def _begin(self, headers: Mapping[str, str]) -> None:
        self.send_response(HTTPStatus.OK)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
