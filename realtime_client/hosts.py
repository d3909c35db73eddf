"""Which hosts are this machine itself: no proxy leads there, and nobody listens on the way."""

from __future__ import annotations

from ipaddress import ip_address

__all__ = ["is_this_machine"]


def is_this_machine(host: str) -> bool:
    """Whether a host is a loopback address, ``localhost``, or a name below that (RFC 6761 section 6.3)."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
