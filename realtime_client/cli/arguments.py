"""How single arguments are read; each refusal says what is allowed, and never repeats a secret."""

from __future__ import annotations

import argparse
import math

from realtime_client.config import ClientConfig, TokenFile
from realtime_client.errors import ConfigError

__all__ = ["count", "port", "readable_file", "seconds", "token_file"]


def count(text: str) -> int:
    """A whole number of at least 1."""
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: a whole number of at least 1")
    return int(text)


def port(text: str) -> int:
    """A TCP port, or 0 for any that is free."""
    if not (text.isascii() and text.isdecimal()) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: 0 to 65535 (0 takes any that is free)")
    return int(text)


def seconds(text: str) -> float:
    """A finite number of seconds above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: a number of seconds above 0")
    return value


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
