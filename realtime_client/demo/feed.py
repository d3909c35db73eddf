"""The embedded feed server: it speaks the feed over WebSocket and HTTP, with threads and plain sockets.

It is for demonstrations, development and tests of whole applications: small, bounded and well-behaved. It is not
built for thousands of clients, has no TLS, and belongs behind a proxy if anything but this machine is to reach it.
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Self

from realtime_client.demo.connection import HANDSHAKE_SECONDS, Connection, Terms
from realtime_client.demo.hub import Hub
from realtime_client.demo.polling import MESSAGES_PATH, POLL_PATH
from realtime_client.errors import ConfigError
from realtime_client.hosts import is_this_machine

__all__ = ["FeedServer"]

log: logging.Logger = logging.getLogger(__name__)

ACCEPT_PAUSE_SECONDS = 0.2
SAY_GOODBYE_SECONDS = 1.0
OVERDUE_CHECK_SECONDS = 0.5


class FeedServer:
    """Serves the feed to any number of clients, up to a bound.

    The WebSocket is at ``path``. A client is greeted with ``connection_established``, the figures as they are and the
    last anomalies; then it gets every published message as it comes, and the figures, when they have changed, once in
    ``stats_interval``. Its ``{"type": "ping"}`` is answered with ``{"type": "pong"}``, its ping frames with pong
    frames. A client for which more than 5,000 messages or 4 MiB wait is closed with code 1013 (try again later), so
    that it delays nobody.

    Over HTTP, ``GET /poll`` answers with the figures, anomalies and alerts as one object, and ``GET /messages`` with
    the same as a list of messages. Both take ``?since=``, ``If-None-Match`` and gzip. If there is a token, every
    request needs it as ``Authorization: Bearer <token>``.

    Thread-safe. As a context manager it starts and closes.

    Example:
        >>> from realtime_client.demo import FeedServer
        >>> with FeedServer(port=0) as server:
        ...     server.publish({"type": "system_alert", "data": {"message": "Hello", "severity": "info"}})
        ...     server.url.startswith("ws://127.0.0.1:")
        True

    Args:
        host: The address to listen on; by default only this machine can connect.
        port: The port; 0 takes any that is free, see :attr:`port`.
        path: The path of the WebSocket.
        token: The bearer token that every request needs; ``None`` lets everybody in. It is never shown.
        history: Anomalies, and alerts, kept for those who connect or poll later.
        max_clients: WebSocket clients at one time; more are answered 503.
        stats_interval: Seconds between two ``stats_update`` messages.
        handshake_timeout: Seconds that a client has for its request.
        max_pending_messages: Messages that may wait for one client.
        max_pending_bytes: Bytes that may wait for one client.

    Raises:
        ConfigError: Arguments are wrong; every wrong one is named.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8080,
        path: str = "/ws",
        token: str | None = None,
        *,
        history: int = 100,
        max_clients: int = 256,
        stats_interval: float = 1.0,
        handshake_timeout: float = HANDSHAKE_SECONDS,
        max_pending_messages: int = 5_000,
        max_pending_bytes: int = 4 * 1024 * 1024,
    ) -> None:
        problems = []
        if not 0 <= port <= 65535:
            problems.append(f"port is {port!r}, allowed is 0 to 65535")
        if not path.startswith("/") or path in (POLL_PATH, MESSAGES_PATH) or "?" in path:
            problems.append(f"path is {path!r}, must start with '/', without '?', and not be one of the HTTP paths")
        if token is not None and not (token and token.isascii() and token.isprintable() and " " not in token):
            problems.append("token must be visible ASCII characters without blanks")
        amounts = {
            "history": history,
            "max_clients": max_clients,
            "stats_interval": stats_interval,
            "handshake_timeout": handshake_timeout,
            "max_pending_messages": max_pending_messages,
            "max_pending_bytes": max_pending_bytes,
        }
        problems += [f"{name} is {value!r}, must be above 0" for name, value in amounts.items() if not value > 0]
        if problems:
            raise ConfigError(*problems)
        self._host = host
        self._port = port
        self._terms = Terms(path, token, handshake_timeout)
        self._stats_interval = stats_interval
        self._max_connections = 2 * max_clients
        self._hub = Hub(
            history=history,
            max_clients=max_clients,
            max_pending_messages=max_pending_messages,
            max_pending_bytes=max_pending_bytes,
        )
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # guards the two attributes below
        self._connections: set[Connection] = set()
        self._threads: list[threading.Thread] = []
        self._waker: socket.socket | None = None  # written once by start(); to close it wakes the accepting thread

    @property
    def port(self) -> int:
        """The port that it listens on; before ``start()`` the one that was asked for."""
        return self._port

    @property
    def url(self) -> str:
        """The address of the WebSocket, without secrets."""
        return f"ws://{self._address}{self._terms.path}"

    @property
    def poll_url(self) -> str:
        """The address of the HTTP answer in its object form."""
        return f"http://{self._address}{POLL_PATH}"

    @property
    def messages_url(self) -> str:
        """The address of the HTTP answer in its list form."""
        return f"http://{self._address}{MESSAGES_PATH}"

    @property
    def clients(self) -> int:
        """How many WebSocket clients are connected now."""
        return self._hub.clients

    def start(self) -> None:
        """Listen, and serve from threads of its own. Returns at once.

        Raises:
            OSError: The address cannot be listened on, for example because the port is taken.
            RuntimeError: It was started, or closed, before.
        """
        with self._lock:
            if self._threads or self._stopping.is_set():
                raise RuntimeError("a FeedServer can be started only once")
            family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
            listener = socket.create_server((self._host, self._port), family=family, backlog=128)
            listener.setblocking(False)
            self._port = listener.getsockname()[1]
            woken, self._waker = socket.socketpair()
            self._threads = [
                threading.Thread(target=self._accept, args=(listener, woken), name="feed-accept", daemon=True),
                threading.Thread(target=self._tick, name="feed-ticker", daemon=True),
            ]
            for thread in self._threads:
                thread.start()
        if self._terms.token is None and not is_this_machine(self._host):
            log.warning("the feed is served on %s without a token: whoever can connect can read it", self._host)

    def publish(self, *events: Mapping[str, Any]) -> None:
        """Send messages to every client and keep them for those who come later. Never blocks.

        Several are taken all at once: nobody sees some of them without the others. A ``stats_update`` is merged into
        the figures, which are sent once in ``stats_interval``. May be called before ``start()``.

        Args:
            events: Messages as the wire has them: ``type``, ``data``, ``timestamp``; without ``timestamp`` it is the
                present.

        Raises:
            ValueError: A message is malformed, naming the field. None of the messages was taken.
            TypeError: Something in a message is no JSON value. None of the messages was taken.
        """
        self._hub.publish(*events)

    def wait_for_room(self, timeout: float = 10.0) -> None:
        """Block until no client has more than half of what may wait for it.

        It is for one who publishes faster than others read, and can wait.

        Args:
            timeout: Seconds; a client that is still behind then is closed as one that is too slow.
        """
        self._hub.wait_for_room(timeout)

    def close(self, timeout: float = 3.0) -> None:
        """Close every connection with code 1001 and stop listening. Idempotent, from any thread.

        Args:
            timeout: Seconds that this may take; a thread that has not ended by then is named in the log.
        """
        deadline = time.monotonic() + timeout
        with self._lock:
            threads, self._threads = self._threads, []
            self._stopping.set()
        if not threads:
            return
        if self._waker is not None:
            self._waker.close()
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.finish(1001, "the server is closing")
        goodbye = min(deadline, time.monotonic() + SAY_GOODBYE_SECONDS)
        late = [c for c in connections if not c.join(max(0.0, goodbye - time.monotonic()))]
        for connection in late:
            connection.abort()
        for connection in late:
            if not connection.join(max(0.0, deadline - time.monotonic())):
                log.warning("connection %d did not end in time", connection.number)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def _address(self) -> str:
        # A wildcard is no address to connect to; this machine's own is.
        host = self._host
        if not host or is_wildcard(host):
            host = "::1" if ":" in host else "127.0.0.1"
        return f"[{host}]:{self._port}" if ":" in host else f"{host}:{self._port}"

    def _accept(self, listener: socket.socket, woken: socket.socket) -> None:
        number = 0
        with listener, woken, selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            while not self._stopping.is_set():
                selector.select()
                try:
                    sock, _ = listener.accept()
                except BlockingIOError:
                    continue
                except OSError as error:  # out of descriptors, or the peer has gone already
                    log.warning("cannot accept a connection: %s", error)
                    self._stopping.wait(ACCEPT_PAUSE_SECONDS)
                    continue
                number += 1
                self._serve(sock, number)

    def _serve(self, sock: socket.socket, number: int) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The kernel finds the clients that have vanished without a word, so they do not hold their place.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection = Connection(sock, number, hub=self._hub, terms=self._terms, gone=self._forget)
        with self._lock:
            full = len(self._connections) >= self._max_connections
            if not full:
                self._connections.add(connection)
        if full:
            sock.close()
        else:
            connection.start()

    def _forget(self, connection: Connection) -> None:
        with self._lock:
            self._connections.discard(connection)

    def _tick(self) -> None:
        tell_at = time.monotonic() + self._stats_interval
        while not self._stopping.wait(max(0.0, min(tell_at - time.monotonic(), OVERDUE_CHECK_SECONDS))):
            if time.monotonic() >= tell_at:
                self._hub.tell_figures()
                tell_at = time.monotonic() + self._stats_interval
            with self._lock:
                connections = list(self._connections)
            for connection in connections:
                connection.abort_if_overdue()


def is_wildcard(host: str) -> bool:
    """Whether the address stands for all addresses of this machine."""
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False
