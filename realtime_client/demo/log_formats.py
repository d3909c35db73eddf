"""Recognise a log line: when it was written, how severe it is, who wrote it, and what it says.

The formats, each a small function in :data:`FORMATS`, tried in order:

===================  ===================================================================================
syslog RFC 5424      ``<165>1 2026-01-02T03:04:05Z host app 42 ID47 - text``
syslog RFC 3164      ``<34>Oct 11 22:14:15 host su[42]: text``, as in files: without priority, or
                     with an ISO 8601 time
JSON lines           an object with ``message`` or ``msg``
access log           nginx and Apache, combined or common: 5xx reads ``ERROR``, 4xx ``WARNING``
nginx error log      ``2026/01/02 03:04:05 [error] 12#12: *1 text``
Python logging       ``2026-01-02 03:04:05,123 ERROR shop.cart: text`` and ``ERROR:shop.cart:text``
dpkg                 ``2026-01-02 03:04:05 status installed tar:amd64 1.34``
plain                anything else: a leading time and a level word near the beginning, if there are any
===================  ===================================================================================

Levels are ``DEBUG``, ``INFO``, ``WARNING``, ``ERROR`` and ``CRITICAL``. A time without a zone is the machine's local
time. Everything in a line is hostile: control characters are replaced, lengths are cut, and a line that matches no
format is plain text, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import attrs
import msgspec

__all__ = ["MAX_MESSAGE_CHARS", "ParsedLine", "parse_line"]

MAX_MESSAGE_CHARS = 4096
MAX_SOURCE_CHARS = 100
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

SYSLOG_LEVELS = ("CRITICAL", "CRITICAL", "CRITICAL", "ERROR", "WARNING", "INFO", "INFO", "DEBUG")
"""By the severity of RFC 5424 section 6.2.1, from 0, emergency, to 7, debug."""

LEVELS = {
    "trace": "DEBUG",
    "debug": "DEBUG",
    "info": "INFO",
    "information": "INFO",
    "notice": "INFO",
    "warn": "WARNING",
    "warning": "WARNING",
    "err": "ERROR",
    "error": "ERROR",
    "severe": "ERROR",
    "crit": "CRITICAL",
    "critical": "CRITICAL",
    "alert": "CRITICAL",
    "emerg": "CRITICAL",
    "emergency": "CRITICAL",
    "fatal": "CRITICAL",
    "panic": "CRITICAL",
}

MONTHS = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), start=1
    )
}


@attrs.frozen
class ParsedLine:
    """What a log line says.

    Attributes:
        timestamp: When it was written, timezone-aware UTC; ``None`` where the line does not tell.
        level: ``DEBUG``, ``INFO``, ``WARNING``, ``ERROR`` or ``CRITICAL``; ``INFO`` where the line does not tell.
        source: The service that wrote it, at most 100 characters.
        message: The text without what the other fields hold, at most 4,096 characters.
    """

    timestamp: datetime | None
    level: str
    source: str
    message: str


@attrs.frozen
class Context:
    """What a format may need besides the line: the present, the local zone and the name of the file."""

    now: datetime
    local: tzinfo | None
    source: str

    def utc(self, moment: datetime) -> datetime | None:
        """The moment in UTC, read as local time if it has no zone; ``None`` if no log can be from then."""
        try:
            if moment.tzinfo is None and self.local is not None:
                moment = moment.replace(tzinfo=self.local)
            moment = moment.astimezone(UTC)
        except (OverflowError, ValueError, OSError):
            return None
        return moment if moment > EPOCH else None

    def time(self, text: str) -> datetime | None:
        """An ISO 8601 time, also with a space, slashes or a decimal comma; ``None`` if it is none."""
        try:
            return self.utc(datetime.fromisoformat(text.replace("/", "-").replace(",", ".")))
        except ValueError:
            return None


def parse_line(text: str, *, now: datetime, source: str = "", local: tzinfo | None = None) -> ParsedLine:
    """Recognise one line. Pure; never raises for what the line holds.

    Args:
        text: The line without its newline.
        now: The present, timezone-aware: it gives RFC 3164 times their year.
        source: The source of a line that names none, for example the file's name.
        local: The zone of times without one; ``None`` is the machine's.
    """
    text = printable(text)
    context = Context(now=now, local=local, source=source)
    for recognise in FORMATS:
        if (line := recognise(text, context)) is not None:
            break
    else:
        line = plain(text, context)
    return attrs.evolve(
        line,
        source=(line.source or source)[:MAX_SOURCE_CHARS],
        message=line.message[:MAX_MESSAGE_CHARS],
    )


def printable(text: str) -> str:
    """The text with tabs as blanks and every other control character, escape sequences included, as U+FFFD."""
    if text.isprintable():
        return text
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\t", " "))


# C0, DEL and C1, the line separators, the characters that turn the direction of text, and lone surrogates.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

RFC5424 = re.compile(
    r"<(?P<pri>\d{1,3})>1 (?P<time>\S+) (?P<host>\S+) (?P<app>\S+) (?P<pid>\S+) (?P<msgid>\S+) "
    r'(?:-|(?:\[(?:[^"\]]|"(?:\\.|[^"\\])*")*\])+)(?: (?P<message>.*))?$'
)


def rfc5424(text: str, context: Context) -> ParsedLine | None:
    """RFC 5424 section 6."""
    if (match := RFC5424.match(text)) is None or (level := priority_level(match["pri"])) is None:
        return None
    app = match["app"] if match["app"] != "-" else match["host"]
    return ParsedLine(context.time(match["time"]), level, app if app != "-" else "", match["message"] or "")


RFC3164 = re.compile(
    r"(?:<(?P<pri>\d{1,3})>)?(?P<month>[A-Z][a-z]{2}) {1,2}(?P<day>\d{1,2}) (?P<time>\d\d:\d\d:\d\d) "
    r"(?P<host>\S+) (?P<app>[^\s:\[]+)(?:\[[^\]]*\])?: ?(?P<message>.*)$"
)


def rfc3164(text: str, context: Context) -> ParsedLine | None:
    """RFC 3164 section 4, whose time has no year: the latest year that is not in the future."""
    if (match := RFC3164.match(text)) is None or (month := MONTHS.get(match["month"])) is None:
        return None
    level = guessed_level(match["message"]) if match["pri"] is None else priority_level(match["pri"])
    if level is None:
        return None
    moment = None
    # A day's grace for clocks that differ. Eight years back, because 29 February may skip a century year.
    for year in range(context.now.year + 1, context.now.year - 9, -1):
        moment = context.time(f"{year:04}-{month:02}-{int(match['day']):02} {match['time']}")
        if moment is not None and moment <= context.now + timedelta(days=1):
            break
    return ParsedLine(moment, level, match["app"], match["message"])


def priority_level(priority: str) -> str | None:
    """The level of a syslog priority, facility * 8 + severity; ``None`` above 191."""
    value = int(priority)
    return SYSLOG_LEVELS[value % 8] if value <= 191 else None


JSON_MESSAGE = ("message", "msg", "event", "text")
JSON_LEVEL = ("level", "severity", "levelname", "log.level", "lvl")
JSON_TIME = ("timestamp", "time", "ts", "@timestamp", "datetime")
JSON_SOURCE = ("service", "logger", "source", "app", "component", "name")


def json_line(text: str, context: Context) -> ParsedLine | None:
    """One JSON object a line, by the keys that the common loggers use."""
    if not text.startswith("{"):
        return None
    try:
        fields = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return None
    message = first_of(fields, JSON_MESSAGE)
    if not isinstance(message, str):
        return None
    source = first_of(fields, JSON_SOURCE)
    return ParsedLine(
        json_time(first_of(fields, JSON_TIME), context),
        json_level(first_of(fields, JSON_LEVEL)),
        printable(source) if isinstance(source, str) else "",
        printable(message),
    )


def first_of(fields: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """The first of these fields that is there."""
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def json_level(value: Any) -> str:
    """A level as a word, or as a number: Python's, of which those of bunyan and pino are a finer division."""
    if isinstance(value, str):
        return LEVELS.get(value.lower(), "INFO")
    if isinstance(value, int) and not isinstance(value, bool):
        numbers = ((60, "CRITICAL"), (50, "ERROR"), (40, "WARNING"), (30, "INFO"))
        return next((level for least, level in numbers if value >= least), "DEBUG")
    return "INFO"


def json_time(value: Any, context: Context) -> datetime | None:
    """ISO 8601 text, or seconds, milliseconds, microseconds or nanoseconds since 1970, told by their size."""
    if isinstance(value, str):
        return context.time(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        for unit, largest in ((1, 1e11), (1e3, 1e14), (1e6, 1e17), (1e9, 1e20)):
            if 0 <= value < largest:
                return context.utc(EPOCH + timedelta(seconds=value / unit))
    return None


ACCESS = re.compile(
    r"(?P<peer>\S+) \S+ \S+ "
    r"\[(?P<day>\d{2})/(?P<month>[A-Z][a-z]{2})/(?P<year>\d{4}):(?P<time>\d\d:\d\d:\d\d) (?P<zone>[+-]\d{4})\] "
    r'"(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}) (?:\d+|-)(?: |$)'
)


def access_log(text: str, context: Context) -> ParsedLine | None:
    """Access logs of nginx and Apache, common and combined; the message is ``GET /path 502``, without the query."""
    if (match := ACCESS.match(text)) is None or (month := MONTHS.get(match["month"])) is None:
        return None
    moment = context.time(f"{match['year']}-{month:02}-{match['day']} {match['time']}{match['zone']}")
    request = match["request"].rsplit(" HTTP/", 1)[0].split("?", 1)[0]
    status = match["status"]
    level = {"5": "ERROR", "4": "WARNING"}.get(status[0], "INFO")
    return ParsedLine(moment, level, context.source or "web", f"{request} {status}")


NGINX_ERROR = re.compile(
    r"(?P<time>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) \[(?P<level>[a-z]+)\] \d+#\d+: (?:\*\d+ )?(?P<message>.*)$"
)


def nginx_error(text: str, context: Context) -> ParsedLine | None:
    """The error log of nginx."""
    if (match := NGINX_ERROR.match(text)) is None or (level := LEVELS.get(match["level"])) is None:
        return None
    return ParsedLine(context.time(match["time"]), level, "nginx", match["message"])


LEVEL_WORD = r"(?P<level>DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL)"
ISO_TIME = r"(?P<time>\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d{1,6})?(?:Z|[+-]\d\d:?\d\d)?)"
PYTHON_FORMS = (
    re.compile(rf"{ISO_TIME} (?:- )?(?P<name>[\w.\-]+) (?:- )?{LEVEL_WORD}(?::| -)? (?P<message>.*)$"),
    re.compile(rf"{ISO_TIME} (?:- )?{LEVEL_WORD}:? (?:- )?(?:(?P<name>[\w.\-]+)(?: -|:) )?(?P<message>.*)$"),
    re.compile(rf"(?P<time>){LEVEL_WORD}:(?P<name>[\w.\-]+):(?P<message>.*)$"),
)


def python_logging(text: str, context: Context) -> ParsedLine | None:
    """``logging.basicConfig``'s form, and the usual ones with a time, the name before or after the level."""
    for form in PYTHON_FORMS:
        if match := form.match(text):
            moment, level = context.time(match["time"]), LEVELS[match["level"].lower()]
            return ParsedLine(moment, level, match["name"] or "", match["message"])
    return None


ISO_SYSLOG = re.compile(rf"{ISO_TIME} \S+ (?P<app>[^\s:\[]+)(?:\[[^\]]*\])?: (?P<message>.*)$")


def iso_syslog(text: str, context: Context) -> ParsedLine | None:
    """Syslog files as rsyslog and journald write them now: RFC 3164 with an ISO 8601 time."""
    if (match := ISO_SYSLOG.match(text)) is None:
        return None
    message = match["message"]
    return ParsedLine(context.time(match["time"]), guessed_level(message), match["app"], message)


DPKG = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) "
    r"(?P<message>(?:startup|status|install|upgrade|configure|trigproc|remove|purge|disappear|conffile) \S.*)$"
)


def dpkg(text: str, context: Context) -> ParsedLine | None:
    """The log of dpkg, ``/var/log/dpkg.log``; see its manual under ``--log``."""
    if (match := DPKG.match(text)) is None:
        return None
    return ParsedLine(context.time(match["time"]), "INFO", "dpkg", match["message"])


LEADING_TIME = re.compile(
    r"\[?(?P<time>\d{4}[-/]\d\d[-/]\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d{1,6})?\d*(?:Z|[+-]\d\d:?\d\d)?)\]?[ :]*"
)
NEAR_THE_BEGINNING = 80
GUESSED_LEVEL = re.compile(rf"\b(?P<level>{'|'.join(sorted(LEVELS, key=len, reverse=True))})\b", re.IGNORECASE)


def plain(text: str, context: Context) -> ParsedLine:
    """Any text: a leading time is taken off, and a level word among the first 80 characters counts."""
    moment = None
    if match := LEADING_TIME.match(text):
        moment = context.time(match["time"])
        text = text[match.end() :] if moment is not None else text
    return ParsedLine(moment, guessed_level(text), "", text)


def guessed_level(message: str) -> str:
    """The first level word near the beginning, in any letter case; ``INFO`` without one."""
    match = GUESSED_LEVEL.search(message, 0, NEAR_THE_BEGINNING)
    return LEVELS[match["level"].lower()] if match else "INFO"


FORMATS: tuple[Callable[[str, Context], ParsedLine | None], ...] = (
    rfc5424,
    rfc3164,
    json_line,
    access_log,
    nginx_error,
    dpkg,
    python_logging,
    iso_syslog,
)
