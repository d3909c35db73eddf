"""Which proxy a connection goes through: we decide, so that every library is told the same."""

from __future__ import annotations

from urllib.parse import SplitResult, unquote, urlsplit

import attrs

from realtime_client.errors import ConnectError
from realtime_client.hosts import is_this_machine
from realtime_client.redaction import show_url

__all__ = ["Proxy", "find_proxy"]

SOCKS = ("socks5", "socks5h", "socks4", "socks4a")


@attrs.frozen
class Proxy:
    """A proxy to connect through.

    Attributes:
        scheme: ``http`` or one of the socks schemes.
        host: Its host.
        port: Its port.
        user: The user name, or ``None``.
        password: The password, or ``None``.
    """

    scheme: str
    host: str
    port: int
    user: str | None = attrs.field(default=None, repr=False)
    password: str | None = attrs.field(default=None, repr=False)


def find_proxy(configured: str | None, target: SplitResult) -> Proxy | None:
    """The proxy for a target, or ``None`` for a direct connection.

    Args:
        configured: The ``proxy`` option: a URL, ``"direct"``, or ``None`` for the environment: ``https_proxy`` for wss
            and https, ``http_proxy`` for ws and http, else ``all_proxy``; none of them for what ``no_proxy`` names and
            for this machine itself.
        target: Where to.

    Raises:
        ConnectError: The environment names a proxy of a kind that is not supported.
    """
    if configured == "direct":
        return None
    if configured is not None:
        return _parse(configured, "proxy")
    # Imported when first needed: it takes longer than the rest of this package together.
    from urllib.request import (  # type: ignore[attr-defined]  # noqa: PLC0415
        getproxies_environment,
        proxy_bypass_environment,
    )

    host = target.hostname or ""
    if is_this_machine(host):
        return None
    proxies = getproxies_environment()
    scheme = "https" if target.scheme in ("wss", "https") else "http"
    address = proxies.get(scheme) or proxies.get("all")
    where = f"{host}:{target.port}" if target.port is not None else host
    if not address or proxy_bypass_environment(where, proxies):
        return None
    return _parse(address if "//" in address else f"http://{address}", f"{scheme}_proxy in the environment")


def _parse(address: str, origin: str) -> Proxy:
    try:
        parts = urlsplit(address)
        scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError:
        scheme, host, port, parts = "", None, None, urlsplit("")
    if host is None or (scheme != "http" and scheme not in SOCKS):
        raise ConnectError(
            f"{origin}: {show_url(address)} is not supported; allowed: a URL with http or {'/'.join(SOCKS)}",
            retryable=False,
        )
    return Proxy(
        scheme=scheme,
        host=host,
        port=port or (80 if scheme == "http" else 1080),
        user=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
    )
