"""The way to a server: the steps from its name to a socket that is connected to it, as the client itself takes them."""

from __future__ import annotations

import contextlib
import math
import socket
import ssl
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import cast
from urllib.parse import urlsplit

from realtime_client.config import ClientConfig
from realtime_client.doctor.checks import Finding, Step, Verdict
from realtime_client.errors import ConnectError, ConnectTimeout
from realtime_client.transports.dialing import Dial
from realtime_client.transports.errands import Abandoned, Errands, Raised
from realtime_client.transports.proxies import Proxy, find_proxy
from realtime_client.transports.tls import TlsSettings

__all__ = ["SLOW", "Route"]

EXPIRES_SOON = timedelta(days=14)
SLOW = 1.0
"""Seconds; a step that takes longer works, and is felt at every reconnection."""


class Route:
    """The steps to a server; each leaves to the next what it has come to.

    Args:
        config: For ``proxy``, ``ssl_context`` and ``ca_file``.
        nodes: Host and port of the server, or of several of which one is enough.
        tls: What makes the connection secure; ``None`` where it is not.
        proxies: Whether the environment's proxies are for this connection.

    Attributes:
        deadline: Monotonic time by which the next step must be done.
        host: Whom a step is about: the server, or the proxy on the way.
        dial: The socket, as far as it has come.
    """

    def __init__(
        self, config: ClientConfig, nodes: Sequence[tuple[str, int]], *, tls: TlsSettings | None, proxies: bool = True
    ) -> None:
        self._target = urlsplit(config.url)
        self._configured = config.proxy
        self._nodes = tuple(nodes)
        self._tls = tls
        self._proxies = proxies
        self._proxy: Proxy | None = None
        self._addresses: list[tuple[str, str, int]] = []  # whose, the address, the port
        self._name = nodes[0][0]  # whom the certificate is for
        self.deadline: float = math.inf
        self.host: str = self._name
        self.dial: Dial | None = None

    @property
    def sock(self) -> socket.socket:
        """The connected socket."""
        assert self.dial is not None
        assert self.dial.sock is not None
        return self.dial.sock

    def steps(self) -> tuple[Step, ...]:
        """The steps, in their order, behind one called config."""
        return (
            Step("dns", self.look_up, needs="config"),
            Step("proxy", self.choose_proxy, needs="dns"),
            Step("tcp", self.connect, needs="proxy"),
            Step("tls", self.secure, needs="tcp"),
        )

    def leave(self) -> None:
        """Close what is open."""
        if self.dial is not None:
            self.dial.close()

    def look_up(self) -> Finding:
        """Look up the server's name, or the proxy's."""
        with contextlib.suppress(ConnectError):  # which is for the next step to tell
            self._proxy = self._find_proxy()
        nodes = self._nodes if self._proxy is None else ((self._proxy.host, self._proxy.port),)
        began = time.monotonic()
        unknown: list[tuple[str, Exception]] = []
        for host, port in nodes:
            self.host = host
            try:
                self._addresses += [(host, address, port) for address in self._resolve(host, port)]
            except OSError as error:
                unknown.append((host, error))
        if not self._addresses:
            raise unknown[-1][1]
        found = ", ".join(dict.fromkeys(address for _, address, _ in self._addresses))
        found = found if self._proxy is None else f"the proxy {self._proxy.host}: {found}"
        if unknown:
            nowhere = ", ".join(host for host, _ in unknown)
            cause = "the name is misspelt, or the name server knows nothing of it"
            return Finding(f"{found}; unknown: {nowhere}", Verdict.WARN, cause, "check also= in the URL")
        if time.monotonic() - began > SLOW:
            return Finding(found, Verdict.WARN, "the first name server does not answer", "check /etc/resolv.conf")
        return Finding(found)

    def _resolve(self, host: str, port: int) -> list[str]:
        try:
            answers = Errands().call(
                f"rtc-resolve-{host}", lambda: socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM), self.deadline
            )
        except Raised as raised:
            raise raised.error from None
        except Abandoned:
            raise ConnectTimeout("the time is up") from None
        return list(dict.fromkeys(str(answer[4][0]) for answer in answers))

    def _find_proxy(self) -> Proxy | None:
        return find_proxy(self._configured if self._proxies else self._configured or "direct", self._target)

    def choose_proxy(self) -> Finding:
        """See which proxy is on the way."""
        self._proxy = self._find_proxy()
        if self._proxy is not None:
            origin = "from the environment" if self._configured is None else "as configured"
            return Finding(f"{self._proxy.scheme} proxy {self._proxy.host}:{self._proxy.port}, {origin}")
        return Finding("none" if self._configured is None else "none, as configured")

    def connect(self) -> Finding:
        """Connect to the first address that answers, or through the proxy."""
        if self._proxy is not None:
            host, port = self._nodes[0]
            self.dial = Dial()
            self.dial.through(self._proxy, host, port, self.deadline)
            return Finding(f"connected through the proxy to {host}:{port}")
        refused: list[tuple[str, OSError]] = []
        for number, (host, address, port) in enumerate(self._addresses):
            began = time.monotonic()
            share = (self.deadline - began) / (len(self._addresses) - number)
            dial = self.dial = Dial()
            try:
                dial.connect(address, port, began + share)
            except OSError as error:
                dial.close()
                refused.append((address, error))
                continue
            self.host = self._name = host
            found = f"connected to {address}, port {port}"
            if refused:
                failed = ", ".join(f"{address}: {error.strerror or error}" for address, error in refused)
                cause = "there are addresses at which nobody listens"
                return Finding(f"{found}; not to {failed}", Verdict.WARN, cause, "mend the name's addresses")
            if time.monotonic() - began > SLOW:
                return Finding(found, Verdict.WARN, "it is far away, or packets are lost", "look at the network")
            return Finding(found)
        raise refused[-1][1]

    def secure(self) -> Finding:
        """Do the TLS handshake, and look at the certificate."""
        if self._tls is None:
            return Finding(f"none: {self._target.scheme}://", Verdict.SKIP)
        assert self.dial is not None
        self.dial.secure(self._tls.context(), self._name, self.deadline)
        sock = self.sock
        assert isinstance(sock, ssl.SSLSocket)
        return _of_peer(sock, datetime.now(UTC))


def _of_peer(sock: ssl.SSLSocket, now: datetime) -> Finding:
    """What the TLS connection has come to."""
    cipher = sock.cipher()
    found = f"{sock.version()}, {cipher[0] if cipher else 'no cipher'}"
    certificate = sock.getpeercert()
    if not certificate:
        cause = "the ssl_context given does not verify"
        return Finding(f"{found}; the certificate is not verified", Verdict.WARN, cause, "verify it")
    names = [value for _, value in cast("tuple[tuple[str, str], ...]", certificate.get("subjectAltName", ()))]
    until = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    left = until - now
    found += f"; certificate for {', '.join(names[:5]) or 'no name'}, until {until:%Y-%m-%d} ({left.days} days)"
    if left < EXPIRES_SOON:
        return Finding(found, Verdict.WARN, "the certificate expires soon", "renew it")
    return Finding(found)
