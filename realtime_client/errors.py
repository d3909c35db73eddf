"""The errors, as one tree.

::

    RealtimeError
    ├── ConfigError (ValueError)            every wrong field at once
    ├── ConnectError (ConnectionError)      an attempt to connect failed
    │   ├── HandshakeRejected               the server answered, but not with an upgrade
    │   │   └── AuthenticationError         401 or 403
    │   ├── ConnectTimeout (TimeoutError)   the attempt, or the wait for it, took too long
    │   └── RecordingError                  a recording cannot be read, or is none
    ├── ConnectionLost (ConnectionError)    an established connection ended
    │   ├── HeartbeatTimeout                the peer fell silent
    │   ├── ProtocolError                   the peer broke RFC 6455
    │   └── MessageTooLarge                 a message over ``max_message_bytes``
    ├── MalformedMessage                    one message could not be understood; the connection lives
    ├── NotConnected                        ``send()`` without a connection
    ├── ClientClosed                        the client was closed while, or before, it was asked
    ├── PollError                           polling or backfill failed
    └── CallbackError                       a callback raised; the original is its ``__cause__``

Every error carries the facts that a handler needs as attributes, can be pickled, and shows no secret: URLs in
messages are shown without user names, passwords and query strings.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "AuthenticationError",
    "CallbackError",
    "ClientClosed",
    "ConfigError",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionLost",
    "HandshakeRejected",
    "HeartbeatTimeout",
    "MalformedMessage",
    "MessageTooLarge",
    "NotConnected",
    "PollError",
    "ProtocolError",
    "RealtimeError",
    "RecordingError",
]


class RealtimeError(Exception):
    """The root of every error that this package raises."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by message and attributes: the constructors' keywords differ from class to class."""
        return _rebuild, (type(self), self.args, self.__dict__.copy())


def _rebuild(cls: type[RealtimeError], args: tuple[Any, ...], fields: dict[str, Any]) -> RealtimeError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(fields)
    return error


class ConfigError(RealtimeError, ValueError):
    """The configuration is wrong.

    Attributes:
        problems: One sentence for each wrong field: its name, what was given (never a secret), what is allowed.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class ConnectError(RealtimeError, ConnectionError):
    """An attempt to connect failed.

    Attributes:
        url: Where to, without secrets; empty where the error arose before a URL was at hand.
        retryable: Whether another attempt can help (a certificate that is not trusted will not mend itself).
    """

    def __init__(self, message: str, *, url: str = "", retryable: bool = True) -> None:
        super().__init__(message)
        self.url = url
        self.retryable = retryable

    def __str__(self) -> str:
        """The message; ``OSError`` would show errno and strerror."""
        return str(self.args[0]) if self.args else ""


class HandshakeRejected(ConnectError):
    """The server answered the handshake with something else than an upgrade.

    Attributes:
        status: The HTTP status code.
        retry_after: Seconds that the server asked us to wait (``Retry-After``), or ``None``.
        body: The beginning of the answer's body, for a person to read.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        retry_after: float | None = None,
        body: str = "",
        url: str = "",
        retryable: bool = True,
    ) -> None:
        super().__init__(message, url=url, retryable=retryable)
        self.status = status
        self.retry_after = retry_after
        self.body = body


class AuthenticationError(HandshakeRejected):
    """The server refused the credentials (401 or 403)."""


class ConnectTimeout(ConnectError, TimeoutError):
    """The attempt, or the wait for a connection, took longer than allowed.

    Attributes:
        timeout: The limit, in seconds.
    """

    def __init__(self, message: str, *, timeout: float | None = None, url: str = "") -> None:
        super().__init__(message, url=url)
        self.timeout = timeout


class RecordingError(ConnectError):
    """A recording cannot be read, or is none; there is no other attempt.

    Attributes:
        path: The file.
        line: The number of the line that is malformed, from 1; ``None`` where the file itself cannot be read.
    """

    def __init__(self, message: str, *, path: str, line: int | None = None, url: str = "") -> None:
        super().__init__(message, url=url, retryable=False)
        self.path = path
        self.line = line


class ConnectionLost(RealtimeError, ConnectionError):
    """An established connection ended.

    Attributes:
        code: The close code (RFC 6455 section 7.4): the peer's, 1005 for a close without one, 1006 for a connection
            that ended without a close frame.
        reason: The peer's words, as far as it gave any.
    """

    def __init__(self, message: str, *, code: int = 1006, reason: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        """The message; ``OSError`` would show errno and strerror."""
        return str(self.args[0]) if self.args else ""


class HeartbeatTimeout(ConnectionLost):
    """Nothing was heard from the peer after a heartbeat.

    Attributes:
        silence: Seconds since the last byte from the peer.
    """

    def __init__(self, message: str, *, silence: float) -> None:
        super().__init__(message)
        self.silence = silence


class ProtocolError(ConnectionLost):
    """The peer broke the protocol; ``code`` is the close code that it was told."""


class MessageTooLarge(ConnectionLost):
    """A message was larger than ``max_message_bytes``.

    Attributes:
        size: The size in bytes as far as it was known when the message was refused.
        limit: The limit in bytes.
    """

    def __init__(self, message: str, *, size: int, limit: int) -> None:
        super().__init__(message, code=1009)
        self.size = size
        self.limit = limit


class MalformedMessage(RealtimeError):
    """One message could not be understood.

    Attributes:
        reason: Why, naming the field.
        payload: The beginning of the message, for ``client.rejected``; never logged above DEBUG.
    """

    def __init__(self, reason: str, *, payload: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.payload = payload


class NotConnected(RealtimeError):
    """``send()`` was called while there was no connection."""


class ClientClosed(RealtimeError):
    """The client was closed while, or before, it was asked."""


class PollError(RealtimeError):
    """Polling or backfill failed.

    Attributes:
        status: The HTTP status, or ``None`` where there was no answer.
        retry_after: Seconds that the server asked us to wait, or ``None``.
    """

    def __init__(self, message: str, *, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class CallbackError(RealtimeError):
    """A callback raised; the original exception is the ``__cause__``.

    Attributes:
        callback: The callback's name.
        argument: What it was called with, or ``None``.
    """

    def __init__(self, message: str, *, callback: str, argument: object = None) -> None:
        super().__init__(message)
        self.callback = callback
        self.argument = argument
