"""From an address to a connected socket: name look-up, TCP, proxy and TLS, under one deadline.

The socket is ours from its first moment, because whoever ends the attempt (`abort`) must be able to reach it. So the
steps are the standard library's, and not a library's call that would keep the socket to itself until it is done.
"""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import socket
import ssl
import threading
import time
import traceback
from typing import Any, cast

from realtime_client._core.handshake import MAX_HEAD_BYTES, parse_answer
from realtime_client.errors import ConnectError, ConnectTimeout
from realtime_client.transports.errands import Errands, Raised
from realtime_client.transports.proxies import Proxy

__all__ = ["Dial", "left", "read_head"]


class Dial:
    """One attempt to get a connected socket, and the way to end it and what came of it.

    Attributes:
        errands: For calls that nothing can interrupt.
        sock: The socket as far as it has come; of the thread that dials.
    """

    def __init__(self) -> None:
        self.errands: Errands = Errands()
        self.sock: socket.socket | None = None
        self._aborted = False
        self._closing = threading.Lock()  # keeps the descriptor from being closed, and reused, under an abort's hands

    def abort(self) -> None:
        """End the attempt at once, from any thread."""
        # The dialling thread writes sock and then reads _aborted; this writes _aborted and then reads sock.
        self._aborted = True
        self.errands.abandon()
        with self._closing:
            sock = self.sock
            if sock is None:
                return
            # A shutdown wakes a blocked recv at once, also below TLS, where close() alone would leave it blocked. The
            # base class's method: SSLSocket.shutdown() would drop the TLS object under the reader's hands, and its recv
            # would return ciphertext.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the descriptor back, on the dialling thread."""
        with self._closing:
            if self.sock is not None:
                self.sock.close()

    @property
    def is_closed(self) -> bool:
        """Whether the descriptor was given back."""
        return self.sock is not None and self.sock.fileno() == -1

    def disown(self) -> None:
        """Give the descriptor back in a child process, where a lock may be held for ever by nobody."""
        if self.sock is not None:
            self.sock.close()

    def connect(self, host: str, port: int, deadline: float) -> None:
        """Look a name up and connect to the first of its addresses that answers."""
        addresses = self._resolve(host, port, deadline)
        for position, (family, kind, protocol, _, address) in enumerate(addresses):
            last = position == len(addresses) - 1
            # An address that does not answer must leave time for the others.
            share = left(deadline) if last else left(deadline) / (len(addresses) - position)
            try:
                sock = self._adopt(socket.socket(family, kind, protocol))
                sock.settimeout(share)
                sock.connect(address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                return
            except OSError:
                self.close()
                if last or self._aborted:
                    raise

    def through(self, proxy: Proxy, host: str, port: int, deadline: float) -> None:
        """Connect to a proxy, and through it to the target."""
        self.connect(proxy.host, proxy.port, deadline)
        if proxy.scheme == "http":
            self._tunnel(proxy, host, port, deadline)
        else:
            self._socks(proxy, host, port, deadline)

    def secure(self, context: ssl.SSLContext, host: str, deadline: float) -> None:
        """Do the TLS handshake."""
        assert self.sock is not None
        self.sock.settimeout(left(deadline))
        try:
            wrapped = context.wrap_socket(self.sock, server_hostname=host, do_handshake_on_connect=False)
        except BaseException as error:
            _close_half_made(error)
            raise
        sock = self._adopt(wrapped)
        sock.settimeout(left(deadline))
        sock.do_handshake()

    def _resolve(self, host: str, port: int, deadline: float) -> list[Any]:
        def look_up(flags: int = 0) -> list[Any]:
            return socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, flags=flags)

        if _is_address(host):
            return look_up(socket.AI_NUMERICHOST)
        try:
            return self.errands.call(f"rtc-resolve-{host}", look_up, deadline)
        except Raised as raised:
            raise raised.error from None

    def _adopt(self, sock: Any) -> Any:
        self.sock = sock
        if self._aborted:
            sock.close()
            raise ConnectionAbortedError("the attempt was ended")
        return sock

    def _tunnel(self, proxy: Proxy, host: str, port: int, deadline: float) -> None:
        """Ask an HTTP proxy for a tunnel (RFC 9110 section 9.3.6)."""
        assert self.sock is not None
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {where} HTTP/1.1", f"Host: {where}"]
        if proxy.user is not None:
            credentials = f"{proxy.user}:{proxy.password or ''}".encode()
            lines.append("Proxy-Authorization: Basic " + base64.b64encode(credentials).decode("ascii"))
        self.sock.settimeout(left(deadline))
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        head, rest = read_head(self.sock, deadline)
        answer = parse_answer(head)
        if answer.status != 200:
            raise ConnectError(
                f"the proxy {proxy.host}:{proxy.port} refused the tunnel with {answer.status} {answer.reason}",
                retryable=answer.status != 407,
            )
        if rest:
            raise ConnectError(f"the proxy {proxy.host}:{proxy.port} sent bytes of its own into the tunnel")

    def _socks(self, proxy: Proxy, host: str, port: int, deadline: float) -> None:
        assert self.sock is not None
        try:
            from python_socks import ProxyError, ProxyType  # noqa: PLC0415
            from python_socks.sync import Proxy as SocksProxy  # noqa: PLC0415
        except ImportError:
            raise ConnectError(
                "a socks proxy needs the package python-socks: pip install 'realtime-client[socks]'", retryable=False
            ) from None
        if proxy.scheme in ("socks4", "socks5"):  # with an h or an a at its end the proxy looks names up
            host = self._resolve(host, port, deadline)[0][4][0]
        socks = SocksProxy(
            proxy_type=ProxyType.SOCKS4 if proxy.scheme.startswith("socks4") else ProxyType.SOCKS5,
            host=proxy.host,
            port=proxy.port,
            username=proxy.user,
            password=proxy.password,
            rdns=True,
            forward=cast("SocksProxy", _Connected(self.sock)),
        )
        self.sock.settimeout(left(deadline))
        try:
            socks.connect(host, port, timeout=left(deadline))
        except ProxyError as error:
            raise ConnectError(f"the proxy {proxy.host}:{proxy.port} refused: {error}") from error


class _Connected:
    """What python-socks takes for the way to the proxy: a socket that is connected to it already."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def connect(self, dest_host: str, dest_port: int, timeout: float | None = None) -> socket.socket:
        """The socket, wherever it was asked to go: it goes to the proxy."""
        del dest_host, dest_port, timeout
        return self._sock


def left(deadline: float) -> float:
    """Seconds until the deadline; ``ConnectTimeout`` where none are left."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise ConnectTimeout("the time is up")
    return seconds


def _close_half_made(error: BaseException) -> None:
    """Close the TLS socket that a failed ``wrap_socket`` has left open.

    A connection that was reset just before makes it raise when the new object has taken the descriptor over already.
    CPython 3.11 forgets to close that one (python/cpython#113280), and nobody has it but the frame that failed.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for local in frame.f_locals.values():
            if isinstance(local, ssl.SSLSocket):
                local.close()


def read_head(sock: socket.socket, deadline: float) -> tuple[bytes, bytes]:
    """Read the head of an HTTP answer, and what came with it.

    Returns:
        The head up to and including its empty line, and the bytes after it.

    Raises:
        ConnectError: The peer ended it, or sent more than `MAX_HEAD_BYTES` without an end of the head.
    """
    head = bytearray()
    while True:
        sock.settimeout(left(deadline))
        data = sock.recv(4096)
        if not data:
            raise ConnectError("the server ended the connection during the handshake")
        searched = max(0, len(head) - 3)
        head += data
        end = head.find(b"\r\n\r\n", searched)
        if end >= 0 and end + 4 <= MAX_HEAD_BYTES:
            return bytes(head[: end + 4]), bytes(head[end + 4 :])
        if len(head) > MAX_HEAD_BYTES:
            raise ConnectError(f"the head of the server's answer is longer than {MAX_HEAD_BYTES} bytes")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
