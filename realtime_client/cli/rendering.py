"""Events as lines: JSON for programs, one readable line for people, or what a template asks for."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from string import Formatter
from types import MappingProxyType
from typing import Any, TextIO

from realtime_client.cli.cells import cells, cut, visible
from realtime_client.events import Event, NewAnomaly, StatsUpdate, SystemAlert, wire_value

__all__ = [
    "FIELDS",
    "json_line",
    "local_time",
    "pretty_line",
    "raw_text",
    "template",
    "wants_colour",
    "words_of",
]

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
    label, score = _level(event), ""
    match event:
        case NewAnomaly(log=log):
            score = f"{log.anomaly_score:.2f}"
            text = f"{log.source}: {log.message}" if log.source else log.message
        case StatsUpdate(stats=stats):
            label, text = "STATS", _figures(stats)
        case SystemAlert(message=message):
            text = f"alert: {message}"
        case _:
            data = event.data_to_dict()
            label, text = "EVENT", event.type if data is None else f"{event.type}: {_json(data)}"
    label, text = cut(label, 20), visible(_cut(text, MAX_TEXT))
    before, after = (COLOURS.get(label, ""), PLAIN) if colour else ("", "")
    dim = DIM if colour else ""
    blanks = " " * (8 - cells(label))
    return f"{dim}{_time(event):19}{after}  {before}{label}{blanks}{after}  {score:>5}  {text}"


def local_time(moment: datetime) -> datetime:
    """A time in this machine's zone; in its own where the calendar ends before (Go writes "no time" as of year 1)."""
    try:
        return moment.astimezone()
    except (OverflowError, ValueError, OSError):  # platforms differ
        return moment


def words_of(event: Event) -> str:
    """What an event says: its message, else its data as JSON."""
    match event:
        case NewAnomaly(log=log):
            return log.message
        case SystemAlert(message=message):
            return message
        case _:
            return _json(event.data_to_dict())


def raw_text(event: Event, *, on_terminal: bool) -> str:
    """What an event says, and nothing else; into a pipe exactly as it came."""
    return visible(_cut(words_of(event), MAX_TEXT)) if on_terminal else words_of(event)


def _moment(event: Event) -> datetime | None:
    return (event.log.timestamp if isinstance(event, NewAnomaly) else None) or event.timestamp


def _time(event: Event) -> str:
    moment = _moment(event) or event.received_at
    return f"{local_time(moment):%Y-%m-%d %H:%M:%S}" if moment is not None else ""


def _level(event: Event) -> str:
    match event:
        case NewAnomaly(log=log):
            return log.level.upper()
        case SystemAlert(severity=severity):
            return severity.upper()
        case _:
            return ""


def _of_log(name: str) -> Callable[[Event], str]:
    def value(event: Event) -> str:
        found = getattr(event.log, name) if isinstance(event, NewAnomaly) else ""
        return found if isinstance(found, str) else "; ".join(found)

    return value


FIELDS: Mapping[str, Callable[[Event], str | float]] = MappingProxyType(
    {
        "type": lambda event: event.type,
        "time": _time,
        "timestamp": lambda event: wire_value(_moment(event)) or "",
        "received": lambda event: wire_value(event.received_at) or "",
        "origin": lambda event: event.origin.value,
        "level": _level,
        "score": lambda event: event.log.anomaly_score if isinstance(event, NewAnomaly) else 0.0,
        "source": _of_log("source"),
        "id": _of_log("id"),
        "message": words_of,
        "causes": _of_log("root_causes"),
        "advice": _of_log("recommendations"),
        "data": lambda event: _json(event.data_to_dict()),
    }
)
"""What a template may ask for."""


def template(text: str) -> Callable[[Event], str]:
    """What makes the line that a template asks for; what it inserts cannot command a terminal or break the line.

    Args:
        text: Has names of `FIELDS` in braces, each with a format of Python's if wished: ``"{level:8} {score:.2f}"``.

    Raises:
        ValueError: It asks for something else, or a format does not fit.
    """
    asked = []
    for _, name, form, conversion in Formatter().parse(text):
        if name is not None:
            if name not in FIELDS or conversion:
                raise ValueError(f"there is no {{{name}{'!' + conversion if conversion else ''}}}")
            if form and "{" in form:  # what a log says would be the format
                raise ValueError(f"the format of {{{name}}} cannot hold a field")
            asked.append(name)

    def line(event: Event) -> str:
        values = {name: FIELDS[name](event) for name in asked}
        return text.format_map({k: visible(v) if isinstance(v, str) else v for k, v in values.items()})

    try:
        line(SystemAlert(""))  # a format that does not fit fails for every event alike
    except (LookupError, OverflowError, MemoryError) as error:
        raise ValueError(f"its formats do not fit: {error}") from None
    return line


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
