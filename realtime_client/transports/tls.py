"""The TLS settings of one client, which are the same for its stream and for its polls."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from realtime_client.config import ClientConfig
from realtime_client.errors import ConnectError

__all__ = ["TlsSettings"]


class TlsSettings:
    """Where the TLS context comes from: the user's own, or one that is made once, with the first connection.

    Args:
        config: For ``ssl_context`` and ``ca_file``.
        protocols: What is offered by ALPN (RFC 7301); nothing for a peer that does not know it.
    """

    def __init__(self, config: ClientConfig, *, protocols: Sequence[str] = ("http/1.1",)) -> None:
        self._protocols = protocols
        self._ca_file = config.ca_file
        self._context = config.ssl_context

    def context(self) -> ssl.SSLContext:
        """The context; reads the authorities' certificates the first time, on any thread.

        Raises:
            ConnectError: ``ca_file`` holds none; not retryable.
        """
        # Without a lock: two threads that come first at the same time make two that are alike, and one of them stays.
        if self._context is None:
            try:
                context = ssl.create_default_context(cafile=self._ca_file)
            except OSError as error:
                raise ConnectError(
                    f"ca_file: {self._ca_file} holds no usable certificates ({error.strerror or error})",
                    retryable=False,
                ) from error
            if self._protocols:
                context.set_alpn_protocols(self._protocols)
            self._context = context
        return self._context
