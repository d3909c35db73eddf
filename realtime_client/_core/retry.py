"""What is done after each outcome: one table, in code, in the documentation and in the tests.

Rows are tried from the top; the first that fits decides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from realtime_client.config import ClientConfig
from realtime_client.errors import (
    AuthenticationError,
    ConnectError,
    ConnectionLost,
    HandshakeRejected,
    MessageTooLarge,
    RealtimeError,
    RecordingError,
)
from realtime_client.status import RetryDecision

__all__ = ["LONGEST_RETRY_AFTER", "STRIKES", "STRIKE_CODES", "TABLE", "Row", "Situation", "decide"]

STRIKE_CODES = frozenset({1002, 1003, 1007, 1008, 1010})
"""Close codes that say "your fault" (RFC 6455 section 7.4.1): worth another try or two, not for ever."""
STRIKES = 3
"""How many of them in a row are fatal."""
LONGEST_RETRY_AFTER = 86_400.0
"""A ``Retry-After`` beyond a day is taken for a day: a mistyped date must not silence a client for years."""
PATIENT_STATUSES = frozenset({408, 421, 425, 429})
"""The client errors (4xx) that pass by themselves."""


class Situation(NamedTuple):
    """What the table may look at besides the error itself."""

    config: ClientConfig
    renewed: bool
    """Whether the token has been renewed since the last connection."""
    strikes: int
    """Connections in a row that ended with one of `STRIKE_CODES`, this one included."""


class Row(NamedTuple):
    """One row of the table.

    Attributes:
        outcome: The outcome, in words.
        answer: What is done, in words.
        fits: Whether the row is about this outcome.
        decision: What is done.
    """

    outcome: str
    answer: str
    fits: Callable[[RealtimeError, Situation], bool]
    decision: Callable[[RealtimeError, Situation], RetryDecision]


def _status(error: RealtimeError) -> int:
    return error.status if isinstance(error, HandshakeRejected) else 0


def _code(error: RealtimeError) -> int:
    return error.code if isinstance(error, ConnectionLost) else 0


def _retry(_error: RealtimeError, _situation: Situation) -> RetryDecision:
    return RetryDecision("retry")


def _fatal(_error: RealtimeError, _situation: Situation) -> RetryDecision:
    return RetryDecision("fatal")


def _when_the_server_says(error: RealtimeError, _situation: Situation) -> RetryDecision:
    after = getattr(error, "retry_after", None)
    return RetryDecision("retry", at_least=None if after is None else min(after, LONGEST_RETRY_AFTER))


def _spread(low: float, high: float) -> Callable[[RealtimeError, Situation], RetryDecision]:
    def decision(_error: RealtimeError, situation: Situation) -> RetryDecision:
        config = situation.config
        longest = config.reconnect_delay_max * (1 + config.reconnect_jitter)
        return RetryDecision("retry", spread=(min(low, config.reconnect_delay_max), min(high, longest)))

    return decision


TABLE: tuple[Row, ...] = (
    Row(
        "handshake refused with 401 or 403, the token is a callable and was not yet renewed",
        "renew the token and try again at once, one time",
        lambda e, s: isinstance(e, AuthenticationError) and callable(s.config.token) and not s.renewed,
        lambda e, s: RetryDecision("renew"),
    ),
    Row("handshake refused with 401 or 403", "fatal", lambda e, s: isinstance(e, AuthenticationError), _fatal),
    Row(
        "handshake refused with 408, 421, 425, 429 or 5xx",
        "retry, not before Retry-After",
        lambda e, s: _status(e) in PATIENT_STATUSES or _status(e) >= 500,
        _when_the_server_says,
    ),
    Row(
        "handshake answered with 1xx or 2xx instead of 101",
        "retry",
        lambda e, s: 100 <= _status(e) < 300,
        _retry,
    ),
    Row(
        "handshake answered with a redirect (3xx)",
        "fatal: credentials are not carried to another address",
        lambda e, s: 300 <= _status(e) < 400,
        _fatal,
    ),
    Row(
        "handshake refused with another 4xx (404, 410, 426 ...)",
        "fatal",
        lambda e, s: 400 <= _status(e) < 500,
        _fatal,
    ),
    Row(
        "a recording that cannot be read, or is none",
        "fatal, and always FAILED: there is nothing to probe",
        lambda e, s: isinstance(e, RecordingError),
        _fatal,
    ),
    Row(
        "certificate not trusted, TLS settings unusable, or the token or headers callable raised a TypeError",
        "fatal",
        lambda e, s: isinstance(e, ConnectError) and not e.retryable,
        _fatal,
    ),
    Row(
        "name look-up failed, connection refused or reset, time-out, TLS or proxy trouble, a broken handshake answer",
        "retry",
        lambda e, s: isinstance(e, ConnectError),
        _retry,
    ),
    Row(
        "connection ended with 1012 (service restart)",
        "retry after 5 to 30 s at random, within the longest delay",
        lambda e, s: _code(e) == 1012,
        _spread(5, 30),
    ),
    Row(
        "connection ended with 1013 (try again later)",
        "retry after the longest delay",
        lambda e, s: _code(e) == 1013,
        _spread(float("inf"), float("inf")),
    ),
    Row(
        "connection ended with 1002, 1003, 1007, 1008 or 1010, three times in a row",
        "fatal",
        lambda e, s: _code(e) in STRIKE_CODES and s.strikes >= STRIKES,
        _fatal,
    ),
    Row(
        "a message over max_message_bytes (close 1009)",
        "retry",
        lambda e, s: isinstance(e, MessageTooLarge),
        _retry,
    ),
    Row(
        "connection ended in any other way: close frame, end of stream, reset, heartbeat time-out",
        "retry",
        lambda e, s: isinstance(e, ConnectionLost),
        _retry,
    ),
    Row("anything unexpected", "retry", lambda e, s: True, _retry),
)


def decide(error: RealtimeError, situation: Situation) -> tuple[Row, RetryDecision]:
    """Look an outcome up in the table, without asking ``retry_policy``."""
    row = next(row for row in TABLE if row.fits(error, situation))
    return row, row.decision(error, situation)
