"""Timestamps of the feed: RFC 3339 with the leniencies that the feed allows."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

__all__ = ["parse_timestamp"]


def parse_timestamp(text: str) -> datetime:
    """Read a timestamp.

    Without an offset it reads as UTC; more than six fractional digits are rounded to six; the leap second ``:60``
    reads as ``:59``; a space may stand for the ``T``, and ``t`` and ``z`` for the capitals (RFC 3339 section 5.6).

    Args:
        text: As it came.

    Returns:
        The instant, with ``tzinfo=timezone.utc``.

    Raises:
        ValueError: The text is anything else, or no instant that ``datetime`` can hold.
    """
    if text[17:19] == "60":
        text = f"{text[:17]}59{text[19:]}"
    if text[-5:-4] in ("+", "-"):  # msgspec takes +0100 too, RFC 3339 asks for +01:00
        raise ValueError("the offset has no colon")
    try:
        moment = msgspec.convert(text, datetime)
        if moment.tzinfo is UTC:
            return moment
        if moment.tzinfo is None:
            return moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError) as error:
        raise ValueError("no RFC 3339 date and time") from error
