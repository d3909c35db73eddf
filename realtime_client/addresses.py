"""Addresses of recordings: ``replay:feed.jsonl?speed=2&loop=yes``, taken apart and put together."""

from __future__ import annotations

import math
import os
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import attrs

__all__ = ["SCHEME", "Replay", "read_replay_url", "replay_url"]

SCHEME = "replay"
MAX = "max"
YES, NO = ("yes", "true", "1", "on", ""), ("no", "false", "0", "off")


@attrs.frozen
class Replay:
    """What is replayed, and how.

    Attributes:
        path: The recording.
        speed: How much faster than recorded; infinite for as fast as it can be read.
        loop: Whether it begins again at its end.
    """

    path: str
    speed: float = 1.0
    loop: bool = False


def replay_url(path: str | os.PathLike[str], *, speed: float | str = 1.0, loop: bool = False) -> str:
    """The URL under which a client replays a recording.

    Args:
        path: The recording.
        speed: How much faster than recorded; ``"max"`` or infinity for as fast as it can be read.
        loop: Whether it begins again at its end.

    Raises:
        ValueError: The path is empty, or the speed is not allowed.

    Example:
        >>> from realtime_client.recording import replay_url
        >>> replay_url("my feed.jsonl", speed=10)
        'replay:my%20feed.jsonl?speed=10'
    """
    pace = read_speed(speed) if isinstance(speed, str) else _allowed(float(speed))
    words = MAX if pace == math.inf else repr(pace).removesuffix(".0").replace("+", "")
    options = [] if pace == 1 else [f"speed={words}"]
    options += ["loop=yes"] * loop
    place = quote(os.fsdecode(path), errors="surrogateescape")  # names of files need not be UTF-8
    if not place:
        raise ValueError("the path of a recording is empty")
    if place.startswith("//"):  # else the first of its folders would be taken for a host
        place = f"//{place}"
    return f"{SCHEME}:{place}" + (f"?{'&'.join(options)}" if options else "")


def read_replay_url(url: str) -> Replay:
    """Take such a URL apart.

    Raises:
        ValueError: Says what is wrong with it.
    """
    parts = urlsplit(url)
    if parts.scheme.lower() != SCHEME:
        raise ValueError(f"the scheme {parts.scheme!r} is not {SCHEME}")
    if parts.netloc:
        raise ValueError("a recording is a file of this machine: write replay:PATH, without a host")
    if parts.fragment or url.endswith("#"):
        raise ValueError("a '#' in the path is written %23")
    path = unquote(parts.path, errors="surrogateescape")
    if not path or "\0" in path:
        raise ValueError("the path of the recording is missing" if not path else "the path holds a NUL")
    options: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in ("speed", "loop"):
            raise ValueError("allowed behind the '?' are speed= and loop=")
        if name in options:
            raise ValueError(f"{name} is given twice")
        options[name] = value
    loop = options.get("loop", "no").lower()
    if loop not in YES + NO:
        raise ValueError("loop is yes or no")
    return Replay(path, read_speed(options.get("speed", "1")), loop in YES)


def read_speed(text: str) -> float:
    """A speed as people write it: a number above 0, perhaps with an ``x`` behind it, or ``max``.

    Raises:
        ValueError: It is none.
    """
    if text.lower() == MAX:
        return math.inf
    try:
        return _allowed(float(text.lower().removesuffix("x")), finite=True)
    except ValueError:
        raise ValueError(f"a speed is a number above 0, or {MAX}") from None


def _allowed(speed: float, *, finite: bool = False) -> float:
    if not speed > 0 or (finite and speed == math.inf):
        raise ValueError(f"a speed is a number above 0, or {MAX}")
    return speed
