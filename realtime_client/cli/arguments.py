"""How single arguments are read; each refusal says what is allowed, and never repeats a secret."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from realtime_client.addresses import read_speed
from realtime_client.cli.rendering import FIELDS, template
from realtime_client.config import ClientConfig, TokenFile
from realtime_client.errors import ConfigError

__all__ = [
    "amount",
    "count",
    "delay",
    "moment",
    "number",
    "pattern",
    "port",
    "readable_file",
    "seconds",
    "size",
    "speed",
    "template_text",
    "token_file",
    "too_much",
]

AGO = re.compile(r"-?(\d+(?:\.\d+)?)(s|m|h|d|w)")
SIZES = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def count(text: str) -> int:
    """A whole number of at least 1."""
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: a whole number of at least 1")
    return int(text)


def amount(text: str) -> int:
    """A whole number of at least 0."""
    return 0 if text.isascii() and text.isdecimal() and int(text) == 0 else count(text)


def port(text: str) -> int:
    """A TCP port, or 0 for any that is free."""
    if not (text.isascii() and text.isdecimal()) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: 0 to 65535 (0 takes any that is free)")
    return int(text)


def seconds(text: str) -> float:
    """A finite number of seconds above 0, or one of minutes and so on, as in ``90s``, ``10m``, ``2h``."""
    try:
        value = float(text[:-1]) * UNITS[text[-1]] if text[-1:] in UNITS else float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not allowed; allowed: a number of seconds above 0, or a time like 90s, 10m, 2h"
        )
    return value


def delay(text: str) -> float:
    """A finite number of seconds, also 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: a number of seconds of at least 0")
    return value


def size(text: str) -> int:
    """A number of bytes, perhaps in ``K``, ``M`` or ``G`` of 1024, 1024 K and 1024 M."""
    digits, unit = (text[:-1], text[-1:].upper()) if text[-1:].isalpha() else (text, "")
    if unit not in SIZES or not (digits.isascii() and digits.isdecimal()) or int(digits) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: a size like 500K, 10M, 2G, or in bytes")
    return int(digits) * SIZES[unit]


def speed(text: str) -> float:
    """How much faster than recorded something is replayed."""
    try:
        return read_speed(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: a number above 0, or max") from None


def number(text: str) -> float:
    """A finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: a number")
    return value


def pattern(text: str) -> re.Pattern[str]:
    """A regular expression; one without capitals finds capitals too."""
    try:
        return re.compile(text, 0 if any(map(str.isupper, text)) else re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed ({error}); allowed: a regular expression") from None


def moment(text: str) -> datetime:
    """A time: RFC 3339 (local time if it names no zone), a day, or so long ago as in ``90s``, ``10m``, ``2h``."""
    try:
        if ago := AGO.fullmatch(text):
            return datetime.now(UTC) - timedelta(seconds=float(ago[1]) * UNITS[ago[2]])
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not allowed; allowed: a time (2026-01-31T08:30:00Z, 2026-01-31), or how long ago"
            " (90s, 10m, 2h, 3d, 1w)"
        ) from None


def template_text(text: str) -> str:
    """What makes a template."""
    try:
        template(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not allowed ({error}); allowed: text with {', '.join(f'{{{name}}}' for name in FIELDS)}"
        ) from None
    return text


def readable_file(path: str) -> str:
    """The path of a file that can be read now."""
    try:
        with open(path, "rb") as file:
            file.read(1)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot read {path!r}: {error.strerror}") from None
    return path


def token_file(path: str) -> TokenFile:
    """A file with a token, which is read anew for every attempt to connect."""
    source = TokenFile(readable_file(path))
    try:
        ClientConfig(token=source())
    except (ConfigError, UnicodeDecodeError):
        raise argparse.ArgumentTypeError(f"{path!r} holds no token; allowed: one line of printable ASCII") from None
    return source


def too_much(strange: Sequence[str]) -> str:
    """What is wrong with arguments that a parser does not know; what may be a value, and so a secret, is left out."""
    options = [text.partition("=")[0] if text.startswith("--") else text[:2] for text in strange if text[:1] == "-"]
    return f"unknown option {', '.join(options)}" if options else "too many arguments"
