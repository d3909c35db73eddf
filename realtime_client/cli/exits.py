"""How the command ends: the exit codes, and which error leads to which."""

from __future__ import annotations

import enum

from realtime_client import (
    AuthenticationError,
    ClientConfig,
    ConfigError,
    ConnectError,
    ConnectionLost,
    MalformedMessage,
    MessageTooLarge,
    ProtocolError,
    RealtimeError,
    RecordingError,
)

__all__ = ["EXIT_CODES", "Exit", "Failure", "Terminated", "failure_of"]

FAULT_CODES = frozenset({1002, 1003, 1007, 1008, 1010})
"""Close codes that blame what was sent (RFC 6455 section 7.4.1)."""
DEFAULT_HINT = "that is the default address; another is given as URL or in REALTIME_URL"


class Exit(enum.IntEnum):
    """The exit codes."""

    DONE = 0
    FAILURE = 1
    USAGE = 2
    REFUSED = 3
    UNREACHABLE = 4
    TIMEOUT = 5
    DATA = 6
    INTERRUPTED = 130
    TERMINATED = 143


EXIT_CODES = """\
exit codes:
  0 done (--count reached, or the reader of the pipe left)    1 failed while running
  2 wrong usage or configuration                              3 the server refused the credentials
  4 cannot connect                                            5 no event within --timeout
  6 what the server sends breaks the protocol, or a recording is damaged
  130 Ctrl-C                                                  143 SIGTERM"""


class Failure(Exception):
    """The command cannot go on; the text is one line for people, without secrets.

    Attributes:
        code: The exit code.
    """

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code


class Terminated(BaseException):
    """SIGTERM arrived. Like ``KeyboardInterrupt`` it is no ``Exception``: nobody on the way may take it for one."""


def failure_of(error: RealtimeError | None, *, was_connected: bool) -> Failure:
    """What it means for the command that the client got no further.

    Args:
        error: The client's reason; ``None`` where it gave none.
        was_connected: Whether there was a connection before.
    """
    if isinstance(error, ConfigError):
        return Failure(Exit.USAGE, str(error))
    if isinstance(error, AuthenticationError):
        hint = "check the token (--token-file, REALTIME_TOKEN or REALTIME_TOKEN_FILE)"
        return Failure(Exit.REFUSED, f"{error}; {hint}")
    if isinstance(error, RecordingError):
        return Failure(Exit.FAILURE if error.line is None else Exit.DATA, str(error))
    if isinstance(error, ProtocolError | MessageTooLarge | MalformedMessage) or (
        isinstance(error, ConnectionLost) and error.code in FAULT_CODES
    ):
        return Failure(Exit.DATA, str(error))
    if isinstance(error, ConnectError | ConnectionLost) and not was_connected:
        is_default = isinstance(error, ConnectError) and error.url == ClientConfig().url
        return Failure(Exit.UNREACHABLE, f"{error}; {DEFAULT_HINT}" if is_default else str(error))
    return Failure(Exit.FAILURE, "the client was closed" if error is None else str(error))
