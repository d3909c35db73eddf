"""What the servers of the tests have in common: their TLS settings, and how they read a request."""

from __future__ import annotations

import socket
import ssl

import trustme

__all__ = ["read_head", "serving"]


def serving(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """The settings of a server with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def read_head(sock: socket.socket) -> tuple[bytes, bytes]:
    """Read the head of a request or an answer.

    Returns:
        The head up to and including its empty line, and what came behind it.

    Raises:
        ConnectionAbortedError: The peer ended the connection before.
    """
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            raise ConnectionAbortedError(f"the end came after {len(data)} bytes of a head")
        data += more
    head, end, rest = data.partition(b"\r\n\r\n")
    return head + end, rest
