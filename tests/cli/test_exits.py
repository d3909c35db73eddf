"""Which error leads to which exit code."""

from __future__ import annotations

import pytest

from realtime_client import (
    AuthenticationError,
    ClientConfig,
    ConfigError,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    HandshakeRejected,
    HeartbeatTimeout,
    MessageTooLarge,
    ProtocolError,
    RealtimeError,
)
from realtime_client.cli.exits import EXIT_CODES, Exit, failure_of


@pytest.mark.parametrize(
    ("error", "before", "after"),
    [
        (ConfigError("url: ..."), Exit.USAGE, Exit.USAGE),
        (AuthenticationError("401", status=401), Exit.REFUSED, Exit.REFUSED),
        (HandshakeRejected("404", status=404), Exit.UNREACHABLE, Exit.FAILURE),
        (ConnectError("refused"), Exit.UNREACHABLE, Exit.FAILURE),
        (ConnectTimeout("slow"), Exit.UNREACHABLE, Exit.FAILURE),
        (HeartbeatTimeout("silent", silence=40), Exit.UNREACHABLE, Exit.FAILURE),
        (ConnectionLost("gone", code=1001), Exit.UNREACHABLE, Exit.FAILURE),
        (ConnectionLost("policy", code=1008), Exit.DATA, Exit.DATA),
        (ProtocolError("mask", code=1002), Exit.DATA, Exit.DATA),
        (MessageTooLarge("big", size=9, limit=1), Exit.DATA, Exit.DATA),
        (RealtimeError("odd"), Exit.FAILURE, Exit.FAILURE),
        (None, Exit.FAILURE, Exit.FAILURE),
    ],
)
def test_failure_of(error: RealtimeError | None, before: Exit, after: Exit) -> None:
    assert failure_of(error, was_connected=False).code is before
    assert failure_of(error, was_connected=True).code is after


def test_the_help_names_every_exit_code() -> None:
    assert all(str(code.value) in EXIT_CODES for code in Exit)


def test_who_gave_no_address_is_told_where_one_is_given() -> None:
    here = ConnectError("nobody listens", url=ClientConfig().url)
    elsewhere = ConnectError("nobody listens", url="ws://elsewhere/")
    assert str(failure_of(here, was_connected=False)) == (
        "nobody listens; that is the default address; another is given as URL or in REALTIME_URL"
    )
    assert str(failure_of(elsewhere, was_connected=False)) == "nobody listens"
