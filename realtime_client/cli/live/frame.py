"""The view as it is drawn: for each line of the screen, pieces of text at columns. Pure.

A piece stands at its column whatever was written before it, so that a character which a terminal takes for wider than
it is cannot move what follows. All text that comes from outside goes through `cut`, `fit` or `wrap`, which leave
nothing in it that could command a terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

import attrs
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

from realtime_client import ConnectionState, LogEntry, SystemAlert
from realtime_client.cli.cells import cells, cut, fit, wrap
from realtime_client.cli.live.rates import Series, spark
from realtime_client.cli.live.view import Facts, View
from realtime_client.cli.rendering import local_time
from realtime_client.cli.selection import rank
from realtime_client.redaction import show_url

__all__ = ["Frame", "Line", "Piece", "draw"]

PLAIN, BOLD, DIM, MARKED = Style(), Style(bold=True), Style(dim=True), Style(reverse=True)
RED, YELLOW, CYAN = Style(color="red"), Style(color="yellow"), Style(color="cyan")
BOLD_RED = Style(color="red", bold=True)
IN_TROUBLE = Style(color="black", bgcolor="yellow", bold=True)
DOWN = Style(color="white", bgcolor="red", bold=True)
BARS: Mapping[ConnectionState, Style] = MappingProxyType(
    {
        ConnectionState.CONNECTED: Style(color="black", bgcolor="green", bold=True),
        ConnectionState.CONNECTING: IN_TROUBLE,
        ConnectionState.RECONNECTING: IN_TROUBLE,
        ConnectionState.UNAVAILABLE: DOWN,
        ConnectionState.FAILED: DOWN,
    }
)
LEVEL_STYLES = (DIM, PLAIN, PLAIN, YELLOW, RED, BOLD_RED)
"""By rank."""
SCORE_STYLES = ((0.9, BOLD_RED), (0.75, RED), (0.6, YELLOW))
"""From which score on. The feed fixes no range; most analysers stay between 0 and 1."""
SMALLEST = (60, 10)
"""Columns and lines below which only the state is shown."""
WIDE = 140
"""Columns from which the marked anomaly is shown beside the list."""
ALERTS = 3
TOO_LOW_FOR_ALERTS = 8
"""Lines for both lists below which there is only the one of the anomalies."""
LONGEST_TEXT, LONGEST_ITEM = 2_000, 500
"""Characters of an opened anomaly's message, and of whatever else belongs to it."""
MOST_PARTS = 20
"""Causes, recommendations and further fields that are shown of an anomaly."""
HELP = (
    ("p, Space", "let the list stand still, or go on; figures and state are always those of now"),
    ("↑ ↓, j k", "move the mark; the list then stands still"),
    ("PgUp PgDn, Home End", "move further"),
    ("Enter", "open the marked anomaly, with its causes and recommendations"),
    ("/", "list only anomalies with a text in them"),
    ("s", "list only some sources; * and ? stand for anything, blanks stand between several"),
    ("l", "list only anomalies of a level and above: the next one with each press, at last all again"),
    ("Esc", "go back, or list all again, or go on"),
    ("q, Ctrl-C", "end"),
)


class Piece(NamedTuple):
    """Text at a column, from 0."""

    column: int
    text: str
    style: Style


Line = list[Piece]


@attrs.frozen
class Frame:
    """A screen; rich can print it."""

    lines: Sequence[Line]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Every line as segments, with blanks where there is nothing."""
        for line in self.lines:
            column = 0
            for piece in line:
                yield Segment(" " * (piece.column - column))
                yield Segment(piece.text, piece.style)
                column = piece.column + cells(piece.text)
            yield Segment.line()


def draw(view: View, width: int, height: int) -> Frame:
    """What the view looks like on so many columns and lines; tells the view how much of it is seen."""
    if width < SMALLEST[0] or height < SMALLEST[1]:
        words = (view.facts.status.state.value.upper(), view.facts.source, "{}x{} shows more".format(*SMALLEST))
        return Frame([[Piece(0, cut(text, width), BOLD)] for text in words[:height]])
    head = [_bar(view.facts, width), *_connection(view.facts, width), _rule(view.facts, width)]
    head += [*_figures(view, width), _counters(view.facts, width)]
    room = height - len(head) - 1
    body = _body(view, width, room)
    return Frame([*head, *_filled(body, room), _foot(view, width)])


# The head


def _bar(facts: Facts, width: int) -> Line:
    state = f" {facts.status.state.value.upper()} · {facts.source} "
    room = width - cells(state)
    style = BARS.get(facts.status.state, MARKED)
    return [Piece(0, fit(f" {show_url(facts.config.url)}", room), MARKED), Piece(room, state, style)]


def _connection(facts: Facts, width: int) -> Iterator[Line]:
    status = facts.status
    lasted = duration((facts.at - status.since).total_seconds())
    style, words = PLAIN, [f"for {lasted}"]
    match status.state:
        case ConnectionState.CONNECTED | ConnectionState.CONNECTING:
            if status.latency is not None:
                words.append(f"latency {status.latency * 1000:.1f} ms")
            if facts.age is not None:
                words.append(f"last heard {duration(facts.age)} ago")
        case ConnectionState.RECONNECTING:
            style, words = YELLOW, [_attempt(facts)]
        case ConnectionState.UNAVAILABLE:
            style, words = RED, [f"outage declared {lasted} ago", _attempt(facts)]
        case ConnectionState.CLOSED:
            words = [f"the recording ended {lasted} ago"]
    yield [Piece(1, cut(" · ".join(words), width - 1), style)]
    if status.last_error is not None and not status.connected:
        yield [Piece(1, cut(str(status.last_error), width - 1), style)]


def _attempt(facts: Facts) -> str:
    status = facts.status
    number, limit = status.reconnect_attempts + 1, status.max_reconnect_attempts
    text = f"attempt {number} of {limit}" if limit is not None and number <= limit else f"attempt {number}"
    if status.connecting or status.next_retry_at is None:
        return f"{text} under way"
    return f"{text} in {duration((status.next_retry_at - facts.at).total_seconds())}"


def _rule(facts: Facts, width: int) -> Line:
    line = [Piece(0, "─" * width, DIM)]
    if facts.is_stale and facts.snapshot.as_of is not None:
        text = f" the figures are of {local_time(facts.snapshot.as_of):%H:%M:%S}, {duration(facts.age or 0)} ago "
        line.append(Piece(2, cut(text, width - 2), YELLOW))
    return line


class _Figure(NamedTuple):
    name: str
    value: str
    series: Series
    unit: str = ""


def _figures(view: View, width: int) -> Iterator[Line]:
    stats, series = view.facts.snapshot.stats, view.series
    figures = (
        _Figure("lines", shortened(stats.total_logs), series["logs"], "/s"),
        _Figure("anomalies", shortened(stats.anomaly_count), series["anomalies"], "/s"),
        _Figure("rate", f"{stats.anomaly_rate:.2%}", series["rate"]),
        _Figure("services", shortened(stats.active_services), series["services"]),
        _Figure("events", shortened(view.facts.metrics.received), series["events"], "/s"),
    )
    abreast = 3 if width >= WIDE else 2
    room = width // abreast
    for start in range(0, len(figures), abreast):
        line: Line = []
        for index, figure in enumerate(figures[start : start + abreast]):
            line += _figure(figure, index * room + 1, room - 2)
        yield line


def _figure(figure: _Figure, column: int, width: int) -> Line:
    rate = f"{rounded(figure.series.rate)}{figure.unit}" if figure.unit else ""
    curve = width - 28
    return [
        Piece(column, figure.name, DIM),
        Piece(column + 10, fit(figure.value, 8, right=True), BOLD),
        Piece(column + 19, fit(rate, 8, right=True), PLAIN),
        Piece(column + 28, spark(figure.series.last(curve), curve), CYAN),
    ]


def _counters(facts: Facts, width: int) -> Line:
    metrics = facts.metrics
    counters = (
        ("dropped", sum(metrics.dropped.values()), RED),
        ("malformed", metrics.malformed, YELLOW),
        ("duplicates", metrics.duplicates, PLAIN),
        ("reconnects", metrics.reconnects, PLAIN),
        ("failed attempts", metrics.failed_attempts, PLAIN),
        ("polls", metrics.polls, PLAIN),
    )
    line: Line = []
    column = 1
    for name, value, style in counters:
        text = f"{name} {value:,}"
        if column + len(text) <= width:
            line.append(Piece(column, text, style if value else DIM))
        column += len(text) + 3
    return line


# The body


def _body(view: View, width: int, room: int) -> list[Line]:
    if view.help:
        return list(_help(width))
    if width < WIDE:
        return _lists(view, 0, width, room) if view.opened is None else _opened(view, view.opened, 0, width, room)
    left = width * 3 // 5
    lists = _filled(_lists(view, 0, left, room), room)
    shown = view.opened or view.marked
    beside = [] if shown is None else _opened(view, shown, left + 3, width - left - 3, room)
    between = Piece(left + 1, "│", DIM)
    return [[*a, between, *b] for a, b in zip(lists, _filled(beside, room), strict=True)]


def _lists(view: View, column: int, width: int, room: int) -> list[Line]:
    alerts = view.facts.snapshot.alerts
    below = 0 if room < TOO_LOW_FOR_ALERTS else 1 + ALERTS
    page = room - 1 - below
    if view.opened is None:
        view.fit(page=page, lines=0)
    lines = _filled([_title(view, column, width), *_anomalies(view, column, width, page)], room - below)
    if below:
        text = f" Alerts · {len(alerts)}" if alerts else " Alerts · none yet"
        lines.append([Piece(column, fit(text, width), MARKED)])
        lines += [_alert(view.facts, alert, column, width) for alert in alerts[:ALERTS]]
    return lines


def _title(view: View, column: int, width: int) -> Line:
    words = [" Anomalies", str(view.selection)]
    if view.listed:
        words.append(f"{view.cursor + 1} of {len(view.listed):,}" if view.paused else f"{len(view.listed):,}")
    right = f" PAUSED, {view.news:,} new " if view.paused else ""
    room = width - len(right)
    line = [Piece(column, fit(" · ".join(filter(None, words)), room), MARKED)]
    return [*line, Piece(column + room, right, IN_TROUBLE)] if right else line


def _anomalies(view: View, column: int, width: int, page: int) -> Iterator[Line]:
    if not view.listed:
        chosen = str(view.selection)
        yield [Piece(column + 1, cut("none fits; Esc lists all again" if chosen else "none yet", width - 1), DIM)]
    first = max(0, min(view.cursor - page // 2, len(view.listed) - page))
    seen = view.listed[first : first + page]
    dated = any(_is_old(view.facts, log.timestamp) for log in seen)
    for index, log in enumerate(seen, first):
        yield _anomaly(log, column, width, dated=dated, marked=view.paused and index == view.cursor)


def _anomaly(log: LogEntry, column: int, width: int, *, dated: bool, marked: bool) -> Line:
    score = log.anomaly_score
    source = min(24, width // 6)
    columns = (  # what, in how many cells, how, and whether to the right
        (">" if marked else "", 1, BOLD, False),
        (time_of(log.timestamp, dated=dated), 14 if dated else 8, DIM, False),
        (log.level.upper(), 8, _level_style(log.level), False),
        (f"{score:.2f}", 5, next((style for least, style in SCORE_STYLES if score >= least), PLAIN), True),
        (log.source, source, CYAN, False),
    )
    line: Line = []
    at = column
    for text, room, style, right in columns:
        line.append(Piece(at, fit(text, room, right=right), style))
        at += room + 1
    line.append(Piece(at, fit(log.message, column + width - at), PLAIN))
    return [piece._replace(style=piece.style + MARKED) for piece in line] if marked else line


def _alert(facts: Facts, alert: SystemAlert, column: int, width: int) -> Line:
    dated = _is_old(facts, alert.timestamp)
    time = 14 if dated else 8
    return [
        Piece(column + 2, fit(time_of(alert.timestamp, dated=dated), time), DIM),
        Piece(column + 3 + time, fit(alert.severity.upper(), 8), _level_style(alert.severity)),
        Piece(column + 12 + time, fit(alert.message, width - 12 - time), PLAIN),
    ]


def _opened(view: View, log: LogEntry, column: int, width: int, room: int) -> list[Line]:
    title = [Piece(column, fit(" Anomaly", width), MARKED)]
    lines = [[Piece(column + 1, text, style)] for text, style in _whole(log, width - 2)]
    if view.opened is not None:
        view.fit(page=room - 1, lines=len(lines))
    start = 0 if view.opened is None else view.scroll
    return [title, *lines[start : start + room - 1]]


def _whole(log: LogEntry, width: int) -> Iterator[tuple[str, Style]]:
    """All that is known of an anomaly, in lines."""
    moment = "time unknown" if log.timestamp is None else f"{local_time(log.timestamp):%Y-%m-%d %H:%M:%S %Z}"
    yield cut(f"{log.level.upper()} · score {log.anomaly_score:.2f}", width), _level_style(log.level) + BOLD
    yield cut(f"{moment} · {log.source or 'source unknown'}", width), DIM
    yield "", PLAIN
    yield from ((text, BOLD) for text in wrap(_shortened(log.message, LONGEST_TEXT), width))
    for heading, texts in (("Likely causes", log.root_causes), ("Recommendations", log.recommendations)):
        if texts:
            yield "", PLAIN
            yield heading, CYAN
            for text in texts[:MOST_PARTS]:
                yield from _item(text, width)
    fields = {"id": log.id, **log.extra}
    yield "", PLAIN
    yield "Further", CYAN
    for name, value in list(fields.items())[:MOST_PARTS]:
        yield from _item(f"{name}: {value}", width)


def _item(text: str, width: int) -> Iterator[tuple[str, Style]]:
    for index, line in enumerate(wrap(_shortened(text, LONGEST_ITEM), width - 2)):
        yield f"{'  ' if index else '- '}{line}", PLAIN


def _help(width: int) -> Iterator[Line]:
    yield [Piece(0, fit(" Keys · any key goes back", width), MARKED)]
    for keys, text in HELP:
        first, *more = wrap(text, max(10, width - 22))
        yield [Piece(1, keys, BOLD), Piece(21, first, PLAIN)]
        yield from ([Piece(21, line, PLAIN)] for line in more)


# The foot


def _foot(view: View, width: int) -> Line:
    if view.prompt is not None:
        about = "list anomalies with this text: " if view.prompt.about == "text" else "list these sources: "
        typed = view.prompt.typed
        while cells(typed) > max(1, width - len(about) - 20):
            typed = typed[1:]
        line = [Piece(0, about, BOLD), Piece(len(about), f"{typed}_", PLAIN)]
        return [*line, Piece(max(len(about) + cells(typed) + 2, width - 17), cut("Enter, or Esc", 16), DIM)]
    if view.help:
        keys: tuple[tuple[str, str], ...] = (("any key", "back"),)
    elif view.opened is not None:
        keys = (("Esc", "back"), ("↑↓", "scroll"), ("q", "quit"))
    else:
        pause = ("p", "go on" if view.paused else "pause")
        keys = (("q", "quit"), pause, ("↑↓", "move"), ("Enter", "open"), ("/", "text"), ("s", "source"), ("l", "level"))
        keys += (("?", "help"),)
    line = []
    column = 1
    for key, text in keys:
        if column + len(key) + 1 + len(text) <= width:
            line += [Piece(column, key, BOLD), Piece(column + len(key) + 1, text, DIM)]
        column += len(key) + len(text) + 3
    return line


# Words and numbers


def duration(seconds: float) -> str:
    """A time span in words, as exactly as anybody cares."""
    seconds = max(0.0, seconds)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} d"


def shortened(count: int) -> str:
    """A count in few digits."""
    return f"{count:,}" if abs(count) < 1_000_000 else f"{count / 1e6:,.1f}M"


def rounded(value: float) -> str:
    """A rate in few digits."""
    return f"{value:,.0f}" if value >= 10 or not value else f"{value:.1f}"


def time_of(moment: datetime | None, *, dated: bool) -> str:
    """A local time."""
    return "" if moment is None else f"{local_time(moment):{'%m-%d %H:%M:%S' if dated else '%H:%M:%S'}}"


def _level_style(level: str) -> Style:
    place = rank(level)
    return LEVEL_STYLES[place] if place >= 0 else PLAIN


def _is_old(facts: Facts, moment: datetime | None) -> bool:
    """Whether a time is of another day, so that the hour alone would mislead."""
    return moment is not None and local_time(moment).date() != local_time(facts.at).date()


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text) - longest:,} characters more)"


def _filled(lines: Sequence[Line], room: int) -> list[Line]:
    """The lines, and empty ones below them; or as many as there is room for."""
    return [*lines, *([] for _ in range(room - len(lines)))][:room]
