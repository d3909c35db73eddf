"""Certificates: an authority that the clients trust, and those of servers that they should not."""

from __future__ import annotations

import functools
import os
import ssl
import tempfile
from collections.abc import Callable
from typing import Self

import attrs
import trustme

from tests.serving import serving


class Authority:
    """The authority that the clients are told to trust, with its certificate in a file.

    Attributes:
        ca: The authority.
        path: The file, for ``ca_file``.
    """

    def __init__(self) -> None:
        self.ca = trustme.CA()
        descriptor, self.path = tempfile.mkstemp(suffix=".pem")
        with open(descriptor, "wb") as file:
            file.write(self.ca.cert_pem.bytes())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        os.unlink(self.path)

    @functools.cached_property
    def good(self) -> ssl.SSLContext:
        """What a server that deserves trust has."""
        return serving(self.ca.issue_cert("127.0.0.1", "localhost"))


@attrs.frozen
class Security:
    """What a server of a ``wss`` URL has.

    Attributes:
        context: Makes its TLS settings; ``None`` for a server that speaks no TLS, or only pretends to.
    """

    context: Callable[[Authority], ssl.SSLContext] | None = None
