"""Timestamps of the feed: RFC 3339 with the leniencies that the feed allows."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

__all__ = ["in_utc", "parse_timestamp"]


def parse_timestamp(text: str) -> datetime:
    """Read a timestamp.

    Without an offset it reads as UTC, and an offset may lack its colon; more than six fractional digits are rounded to
    six; the leap second ``:60`` reads as ``:59``; a space may stand for the ``T``, and ``t`` and ``z`` for the capitals
    (RFC 3339 section 5.6).

    Args:
        text: As it came.

    Returns:
        The instant, with ``tzinfo=timezone.utc``.

    Raises:
        ValueError: The text is anything else, or no instant that ``datetime`` can hold.
    """
    if text[17:19] == "60":
        text = f"{text[:17]}59{text[19:]}"
    try:
        return in_utc(msgspec.convert(text, datetime))
    except msgspec.ValidationError as error:
        raise ValueError("no RFC 3339 date and time") from error


def in_utc(moment: datetime) -> datetime:
    """The same instant, with ``tzinfo=timezone.utc``; without an offset it is read as UTC.

    Raises:
        ValueError: ``datetime`` cannot hold the instant in UTC.
    """
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("no instant that datetime can hold") from error
