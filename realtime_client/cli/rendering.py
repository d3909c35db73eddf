"""Events as lines: JSON for programs, one readable line for people."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, TextIO

from realtime_client.events import Event, NewAnomaly, StatsUpdate, SystemAlert

__all__ = ["json_line", "pretty_line", "visible", "wants_colour"]

MAX_TEXT = 2_000
"""Characters of one event's text on a terminal; the rest is cut and its length said."""

BOLD_RED, RED, YELLOW, CYAN, DIM, PLAIN = "\x1b[1;31m", "\x1b[31m", "\x1b[33m", "\x1b[36m", "\x1b[2m", "\x1b[0m"
COLOURS = {
    "CRITICAL": BOLD_RED,
    "FATAL": BOLD_RED,
    "ERROR": RED,
    "WARNING": YELLOW,
    "WARN": YELLOW,
    "STATS": CYAN,
}


def visible(text: str) -> str:
    r"""Text that cannot command a terminal: whatever is not printable is written out, ESC as ``\x1b``.

    That covers control characters of both ranges, line breaks, and the invisible marks that turn the direction of text.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def json_line(event: Event, *, encoding: str = "utf-8") -> str:
    """The event as one line of JSON, safe to print: what is not printable is escaped, as JSON allows.

    Args:
        event: The event.
        encoding: Of the stream; only UTF-8 gets more than ASCII, since JSON knows no other.
    """
    ascii_only = encoding.lower().replace("_", "-") not in ("utf-8", "utf8")
    line = _json(event.to_dict(), ascii_only=ascii_only)
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)


def pretty_line(event: Event, *, colour: bool = False) -> str:
    """The event as one line for a person: local time, level, score, source and message.

    Args:
        event: The event.
        colour: Whether to colour the level and dim the time.
    """
    moment, score = event.timestamp, ""
    match event:
        case NewAnomaly(log=log):
            moment, label, score = log.timestamp or moment, log.level.upper(), f"{log.anomaly_score:.2f}"
            text = f"{log.source}: {log.message}" if log.source else log.message
        case StatsUpdate(stats=stats):
            label, text = "STATS", _figures(stats)
        case SystemAlert(message=message, severity=severity):
            label, text = severity.upper(), f"alert: {message}"
        case _:
            data = event.data_to_dict()
            label, text = "EVENT", event.type if data is None else f"{event.type}: {_json(data)}"
    moment = moment or event.received_at
    time = f"{moment.astimezone():%Y-%m-%d %H:%M:%S}" if moment is not None else ""
    label, text = visible(_cut(label, 20)), visible(_cut(text, MAX_TEXT))
    before, after = (COLOURS.get(label, ""), PLAIN) if colour else ("", "")
    dim = DIM if colour else ""
    return f"{dim}{time:19}{after}  {before}{label:8}{after}  {score:>5}  {text}"


def wants_colour(choice: str, stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether to colour.

    Args:
        choice: ``"always"``, ``"never"`` or ``"auto"``. The latter asks the environment: ``FORCE_COLOR`` wins over
            ``NO_COLOR`` (each if not empty), then a terminal is coloured unless ``TERM`` is ``dumb``.
        stream: Where the lines go.
        environ: The environment.
    """
    if choice != "auto":
        return choice == "always"
    if environ.get("FORCE_COLOR"):
        return True
    return not environ.get("NO_COLOR") and environ.get("TERM") != "dumb" and stream.isatty()


def _figures(stats: Mapping[str, Any]) -> str:
    def shown(value: Any) -> str:
        return f"{value:.4g}" if isinstance(value, float) else value if isinstance(value, str) else _json(value)

    return ", ".join(f"{name.replace('_', ' ')} {shown(value)}" for name, value in stats.items())


def _json(value: Any, *, ascii_only: bool = False) -> str:
    return json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":"), default=str)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit} more)"
