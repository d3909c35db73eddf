"""What one option allows, and how text (an environment variable, a flag) is read as it.

A rule answers three questions about a value: is it allowed (and in which normal form), how is it written as text, and
what may be shown of it. `ClientConfig` has one rule for each field; nothing else knows what a field allows.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

import attrs

from realtime_client.addresses import SCHEME, read_replay_url
from realtime_client.events import FrozenMapping
from realtime_client.redaction import show_url
from realtime_client.redis_url import SCHEMES as REDIS_SCHEMES
from realtime_client.redis_url import read_redis_url

__all__ = [
    "Choice",
    "FeedUrl",
    "Flag",
    "Header",
    "Number",
    "Object",
    "Refused",
    "Rule",
    "Text",
    "Token",
    "Tokens",
    "Url",
    "Whole",
]

TOKEN_CHARACTERS = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
OURS = ("host", "upgrade", "connection", "sec-websocket-")
"""Headers that the handshake itself sets (RFC 6455 section 4.1)."""
SHOWN = 120
"""Characters of a value in messages and in a configuration's ``repr``."""


class Refused(ValueError):
    """A rule refuses a value; the text, if any, says more than the rule's ``allowed`` and is free of secrets."""


class Rule(Protocol):
    """What one option allows."""

    @property
    def allowed(self) -> str:
        """What is allowed, in words."""

    def accept(self, value: Any) -> Any:
        """The value in its normal form; `Refused` where it is not allowed."""

    def parse(self, text: str) -> Any:
        """The value that a text stands for, not yet accepted; ``ValueError`` where it stands for none."""

    def show(self, value: Any) -> str:
        """The value for people, without secrets."""


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


class _Shown:
    def show(self, value: Any) -> str:
        try:
            text = repr(value)
        except ValueError:  # an int of thousands of digits
            return f"(a {type(value).__name__} without a text)"
        return _short(text)

    def parse(self, text: str) -> Any:
        return text


class _Secret(_Shown):
    def show(self, value: Any) -> str:
        return "None" if value is None else f"(a {type(value).__name__}, hidden)"


@attrs.frozen(eq=False, repr=False)
class Text(_Shown):
    """Text without control characters."""

    optional: bool = False

    @property
    def allowed(self) -> str:
        """What the text must be, in words."""
        return "text that is not empty, without control characters" + (" or None" if self.optional else "")

    def accept(self, value: Any) -> Any:
        """Text, or a path as text."""
        if value is None and self.optional:
            return None
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        if not isinstance(value, str) or not value or not value.isprintable():
            raise Refused
        return value


@attrs.frozen(eq=False, repr=False)
class Token(_Secret):
    """A bearer token, or a callable that gives one."""

    allowed: str = "text in printable ASCII, a callable that returns such a text, or None"

    def accept(self, value: Any) -> Any:
        """The token, which must fit a header."""
        if value is None or callable(value):
            return value
        if not isinstance(value, str) or not value or not (value.isascii() and value.isprintable()):
            raise Refused
        return value


@attrs.frozen(eq=False, repr=False)
class Header(_Secret):
    """Further request headers: a mapping, or a callable that gives one."""

    allowed: str = (
        "a mapping of header names to texts of one line (not Host, Upgrade, Connection or Sec-WebSocket-*), "
        "a callable that returns one, or None"
    )

    def accept(self, value: Any) -> Any:
        """The mapping, read-only."""
        if value is None or callable(value):
            return value
        if not isinstance(value, Mapping):
            raise Refused
        for name, text in value.items():
            if not isinstance(name, str) or not name or not TOKEN_CHARACTERS.issuperset(name):
                raise Refused("a header's name is not a token")
            if name.lower().startswith(OURS):
                raise Refused(f"the header {name} is set by the handshake")
            if not isinstance(text, str) or not _fits_header(text):
                raise Refused(f"the value of the header {name} is not one line of Latin-1 text")
        return FrozenMapping(value)

    def parse(self, text: str) -> Any:
        """A JSON object."""
        return json.loads(text)


def _fits_header(text: str) -> bool:
    return all((32 <= ord(c) < 256 and ord(c) != 127) or c == "\t" for c in text)


@attrs.frozen(eq=False, repr=False)
class Url(_Shown):
    """A URL with one of some schemes."""

    schemes: tuple[str, ...]
    optional: bool = False
    words: tuple[str, ...] = ()
    """Texts that are allowed besides URLs."""

    @property
    def allowed(self) -> str:
        """The schemes, in words."""
        return " or ".join(
            [
                f"a URL with {'/'.join(self.schemes)} and a host",
                *map(repr, self.words),
                *(["None"] if self.optional else []),
            ]
        )

    def accept(self, value: Any) -> Any:
        """The URL as it came."""
        if (value is None and self.optional) or (isinstance(value, str) and value in self.words):
            return value
        if not isinstance(value, str) or not value.isprintable() or " " in value or not value.isascii():
            raise Refused
        parts = urlsplit(value)
        if not parts.hostname:  # first: without a host, what stands before the colon may be a user name
            raise Refused("the host is missing")
        if parts.scheme.lower() not in self.schemes:
            raise Refused(f"the scheme {parts.scheme!r} is not supported")
        if parts.port == 0:
            raise Refused("the port is 0")
        if parts.fragment:
            raise Refused("a fragment ('#...') is not allowed (RFC 6455 section 3)")
        return value

    def show(self, value: Any) -> str:
        """The URL without its secrets; what is no text may be another library's URL, and stays hidden."""
        if value is None or (isinstance(value, str) and value in self.words):
            return repr(value)
        return _short(show_url(value)) if isinstance(value, str) else f"(a {type(value).__name__}, hidden)"


@attrs.frozen(eq=False, repr=False)
class FeedUrl(Url):
    """Where a feed is: a WebSocket, a stream in Redis, or a recording."""

    schemes: tuple[str, ...] = ("ws", "wss", *REDIS_SCHEMES)

    @property
    def allowed(self) -> str:
        """The schemes, in words."""
        return f"{super().allowed} or {SCHEME}: and the path of a recording"

    def accept(self, value: Any) -> Any:
        """The URL as it came."""
        scheme = value.partition(":")[0].lower() if isinstance(value, str) else ""
        if scheme == SCHEME:
            if not value.isprintable() or " " in value or not value.isascii():
                raise Refused("replay_url() writes other characters as a URL does")
        else:
            value = super().accept(value)
        try:
            if scheme == SCHEME:
                read_replay_url(value)
            elif scheme in REDIS_SCHEMES:
                read_redis_url(value)
        except ValueError as error:
            raise Refused(str(error)) from None
        return value


@attrs.frozen(eq=False, repr=False)
class Number(_Shown):
    """A finite float in a range."""

    low: float = 0.0
    high: float = math.inf
    above: bool = False
    """Whether ``low`` itself is excluded."""
    unit: str = "seconds"

    @property
    def allowed(self) -> str:
        """The range, in words."""
        least = f"greater than {self.low:g}" if self.above else f"at least {self.low:g}"
        most = "" if self.high == math.inf else f" and at most {self.high:g}"
        return f"a finite number{' of ' + self.unit if self.unit else ''} {least}{most}"

    def accept(self, value: Any) -> Any:
        """The number as a float."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise Refused
        try:
            number = float(value)
        except OverflowError:
            raise Refused from None
        if not math.isfinite(number) or not self.low <= number <= self.high or (self.above and number == self.low):
            raise Refused
        return number

    def parse(self, text: str) -> Any:
        """A decimal number."""
        return float(text)


@attrs.frozen(eq=False, repr=False)
class Whole(_Shown):
    """A whole number with a lower bound."""

    low: int = 1
    optional: bool = False
    unit: str = ""

    @property
    def allowed(self) -> str:
        """The range, in words."""
        return f"a whole number{' of ' + self.unit if self.unit else ''} of at least {self.low}" + (
            " or None" if self.optional else ""
        )

    def accept(self, value: Any) -> Any:
        """The number as it came."""
        if value is None and self.optional:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < self.low:
            raise Refused
        return value

    def parse(self, text: str) -> Any:
        """Decimal digits, or ``none`` where None is allowed."""
        return None if self.optional and text.lower() == "none" else int(text)


@attrs.frozen(eq=False, repr=False)
class Flag(_Shown):
    """True or False."""

    allowed: str = "True or False (as text: 1/0, true/false, yes/no, on/off)"

    def accept(self, value: Any) -> Any:
        """The flag as it came."""
        if not isinstance(value, bool):
            raise Refused
        return value

    def parse(self, text: str) -> Any:
        """The usual words."""
        word = text.lower()
        if word in ("1", "true", "yes", "on"):
            return True
        if word in ("0", "false", "no", "off"):
            return False
        raise Refused


@attrs.frozen(eq=False, repr=False)
class Choice(_Shown):
    """One of some words."""

    words: tuple[str, ...]

    @property
    def allowed(self) -> str:
        """The words."""
        return "one of " + ", ".join(map(repr, self.words))

    def accept(self, value: Any) -> Any:
        """The word as it came."""
        if not isinstance(value, str) or value not in self.words:
            raise Refused
        return value


@attrs.frozen(eq=False, repr=False)
class Tokens(_Shown):
    """A sequence of distinct HTTP tokens."""

    allowed: str = "a list of distinct subprotocol names (as text: separated by commas)"

    def accept(self, value: Any) -> Any:
        """The names as a tuple."""
        if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
            raise Refused
        names = tuple(value)
        if not all(isinstance(n, str) and n and TOKEN_CHARACTERS.issuperset(n) for n in names):
            raise Refused
        if len(set(names)) != len(names):
            raise Refused
        return names

    def parse(self, text: str) -> Any:
        """Names separated by commas."""
        return [name.strip() for name in text.split(",") if name.strip()]


@attrs.frozen(eq=False, repr=False)
class Object(_Secret):
    """Something that only Python code can give: a callable or a context."""

    attribute: str
    allowed: str

    def accept(self, value: Any) -> Any:
        """The object as it came."""
        if value is not None and not hasattr(value, self.attribute):
            raise Refused
        return value

    def parse(self, text: str) -> Any:
        """Text stands for no object."""
        raise Refused("this can only be set in Python")
