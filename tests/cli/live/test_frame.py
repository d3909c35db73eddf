"""The view as it is drawn."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from realtime_client import (
    ConnectError,
    ConnectionState,
    DashboardStats,
    LogEntry,
    Metrics,
    SystemAlert,
    Transport,
)
from realtime_client.cli.cells import cells
from realtime_client.cli.live.frame import Frame, draw, duration, rounded, shortened
from realtime_client.cli.live.view import View
from realtime_client.cli.selection import Selection
from tests.cli.live.facts import NOON, facts, log

SIZES = [(80, 24), (200, 50), (60, 10), (59, 10), (139, 12), (140, 10), (20, 5), (5, 2)]
HOSTILE = "\x1b]0;pwned\x07\x1b[2J\x9b31m\r\n\x00\u202e日本語🔥👨\u200d👩\u200d👧❤\ufe0fe\u0301 " + "x" * 5_000
texts = st.one_of(st.just(HOSTILE), st.text(st.characters(exclude_categories=["Cs"])))


def emulated(frame: Frame, width: int) -> pyte.Screen:
    """A terminal emulator that was given the pieces of a frame."""
    screen = pyte.Screen(width, len(frame.lines))
    stream = pyte.Stream(screen)
    stream.feed("\x1b[?7l")
    for number, line in enumerate(frame.lines, 1):
        for piece in line:
            stream.feed(f"\x1b[{number};{piece.column + 1}H{piece.text}")
    return screen


def drawn(view: View, width: int = 80, height: int = 24) -> list[str]:
    return list(emulated(draw(view, width, height), width).display)


def test_everything_is_on_it() -> None:
    stats = DashboardStats(total_logs=12_345, anomaly_count=67, anomaly_rate=0.0123, active_services=8)
    metrics = Metrics(received=99, dropped={"drop_oldest": 3}, malformed=2, duplicates=5, reconnects=1)
    alerts = (SystemAlert("the disk is hot", "critical", timestamp=NOON),)
    view = View(
        facts([log(1), log(2)], after=252, heard=0.4, stats=stats, metrics=metrics, alerts=alerts, latency=0.0123)
    )
    lines = drawn(view)
    assert lines[0].startswith(" ws://feed.example/ws?… ")
    assert lines[0].endswith(" CONNECTED · stream ")
    assert lines[1].startswith(" for 4 min · latency 12.3 ms · last heard 0.4 s ago")
    text = "\n".join(lines)
    for words in ("lines", "12,345", "anomalies", "67", "1.23%", "services", "8", "events", "99"):
        assert words in text
    assert " dropped 3   malformed 2   duplicates 5   reconnects 1   failed attempts 0" in text
    assert " Anomalies · 2" in text
    assert f"{NOON.astimezone() + timedelta(seconds=2):%H:%M:%S} ERROR     0.75 db            message 2" in text
    assert " Alerts · 1" in text
    assert "CRITICAL the disk is hot" in text
    assert lines[-1].startswith(" q quit  p pause")
    assert "s3cret" not in text


@pytest.mark.parametrize(
    ("options", "bar", "words"),
    [
        ({"state": ConnectionState.CONNECTING, "heard": None}, "CONNECTING · no data yet", ["for 60 s"]),
        (
            {
                "state": ConnectionState.RECONNECTING,
                "transport": Transport.NONE,
                "reconnect_attempts": 2,
                "next_retry_at": NOON + timedelta(seconds=67.5),
                "last_error": ConnectError("connection \x1b[31mrefused"),
                "heard": 30.0,
            },
            "RECONNECTING · stale",
            ["attempt 3 of 5 in 7.5 s", "connection \\x1b[31mrefused"],
        ),
        (
            {"state": ConnectionState.RECONNECTING, "connecting": True, "reconnect_attempts": 4},
            "RECONNECTING · stale",
            ["attempt 5 of 5 under way"],
        ),
        (
            {
                "state": ConnectionState.UNAVAILABLE,
                "transport": Transport.POLLING,
                "reconnect_attempts": 7,
                "next_retry_at": NOON + timedelta(seconds=72),
                "last_error": ConnectError("no route"),
            },
            "UNAVAILABLE · polling",
            ["outage declared 60 s ago · attempt 8 in 12 s", "no route"],
        ),
        (
            {"state": ConnectionState.FAILED, "last_error": ConnectError("404")},
            "FAILED · stale",
            ["for 60 s", "404"],
        ),
        ({"state": ConnectionState.CLOSED}, "CLOSED · ended", ["the recording ended 60 s ago"]),
        ({"last_error": ConnectError("of before")}, "CONNECTED · stream", ["for 60 s · last heard 0.0 s ago"]),
    ],
)
def test_the_state_and_its_reason_are_said(options: dict[str, Any], bar: str, words: list[str]) -> None:
    bar_line, *lines = drawn(View(facts(after=60, **options)))
    assert bar_line.endswith(f" {bar} ")
    rule = next(number for number, line in enumerate(lines) if line.startswith("─"))
    assert [line.strip() for line in lines[:rule]] == words


def test_stale_figures_say_of_when_they_are() -> None:
    view = View(facts(after=60, heard=35.0, state=ConnectionState.RECONNECTING, transport=Transport.NONE))
    assert f"── the figures are of {NOON.astimezone() + timedelta(seconds=25):%H:%M:%S}, 35 s ago ─" in drawn(view)[2]
    assert drawn(View(facts()))[2] == "─" * 80


def test_a_pause_and_a_selection_are_said() -> None:
    view = View(facts([log(1), log(2)]), Selection(level="error"))
    view.press("down")
    view.observe(facts([log(1), log(2), log(3)]))
    text = "\n".join(drawn(view))
    assert " Anomalies · level error and above · 2 of 2 " in text
    assert " PAUSED, 1 new " in text
    assert f"> {NOON.astimezone() + timedelta(seconds=1):%H:%M:%S} ERROR" in text
    assert "p go on" in text


def test_an_empty_list_says_why() -> None:
    assert "none yet" in "\n".join(drawn(View(facts())))
    assert "none fits; Esc lists all again" in "\n".join(drawn(View(facts(), Selection(level="error"))))


def test_times_of_another_day_have_their_date() -> None:
    text = "\n".join(drawn(View(facts([log(1)], after=3 * 86_400))))
    assert f"{NOON.astimezone():%m-%d} " in text


@pytest.mark.usefixtures("another_zone")
@pytest.mark.parametrize("end", [datetime.min, datetime.max])
def test_times_at_the_end_of_the_calendar_are_shown(end: datetime) -> None:
    moment = end.replace(tzinfo=UTC)
    view = View(facts([log(1, timestamp=moment)], alerts=(SystemAlert("the disk is hot", timestamp=moment),)))
    text = "\n".join(drawn(view, 200, 30))
    assert "message 1" in text
    assert "the disk is hot" in text


WHOLE = log(
    1,
    message="payment failed: the connection was refused by the upstream host",
    root_causes=("The peer is down", "日本語"),
    recommendations=("Look at the peer",),
    extra={"host": "a1", "ratio": 0.5},
)


@pytest.mark.parametrize(("width", "keys"), [(80, ["enter"]), (200, [])])
def test_an_anomaly_is_shown_whole(width: int, keys: list[str]) -> None:
    view = View(facts([WHOLE]))
    for key in keys:
        view.press(key)
    text = "\n".join(drawn(view, width, 30))
    for words in (
        "ERROR · score 0.75",
        f"{NOON.astimezone() + timedelta(seconds=1):%Y-%m-%d %H:%M:%S}",
        "Likely causes",
        "- The peer is down",
        "Recommendations",
        "- Look at the peer",
        "- id: id-1",
        "- host: a1",
        "- ratio: 0.5",
    ):
        assert words in text


def test_a_long_anomaly_is_scrolled() -> None:
    view = View(facts([log(1, root_causes=tuple(f"cause {n}" for n in range(15)))]))
    view.press("enter")
    assert "- cause 14" not in "\n".join(drawn(view))
    view.press("end")
    text = "\n".join(drawn(view))
    assert "- cause 14" in text
    assert "- id: id-1" in text
    assert "- cause 0" not in text


def test_the_marked_anomaly_is_always_seen() -> None:
    view = View(facts(map(log, range(200))))
    drawn(view)
    for key, message in (("end", "message 0"), ("home", "message 199"), ("pagedown", "message 188")):
        view.press(key)
        (marked,) = [line for line in drawn(view) if line.startswith("> ")]
        assert marked.rstrip().endswith(message)


def test_the_help_says_every_key() -> None:
    view = View(facts())
    view.press("?")
    text = "\n".join(drawn(view))
    for key in ("p, Space", "Enter", "/", "s ", "l ", "Esc", "q, Ctrl-C", "PgUp PgDn"):
        assert f" {key}" in text


def test_what_is_typed_is_seen() -> None:
    view = View(facts())
    for key in "/disk":
        view.press(key)
    assert drawn(view)[-1].startswith("list anomalies with this text: disk_")
    for _ in range(190):
        view.press("日")
    assert "日日_" in drawn(view)[-1].replace("日 ", "日")
    view.press("escape")
    view.press("s")
    assert drawn(view)[-1].startswith("list these sources: _")


def view_of(text: str) -> View:
    entry = LogEntry(
        id=text,
        message=text,
        level=text,
        source=text,
        root_causes=(text,),
        recommendations=(text,),
        extra={text: text},
    )
    error = ConnectError(text)
    return View(
        facts(
            [entry, log(1)],
            alerts=(SystemAlert(text, text),),
            state=ConnectionState.UNAVAILABLE,
            transport=Transport.NONE,
            last_error=error,
            stats=DashboardStats(extra={text: text}),
        )
    )


@given(texts, st.sampled_from(SIZES), st.sampled_from([[], ["enter"], ["down"], ["?"], ["/", "日"], ["l"]]))
@settings(max_examples=200, deadline=None)
def test_no_text_commands_the_terminal_or_leaves_its_cells(text: str, size: tuple[int, int], keys: list[str]) -> None:
    view = view_of(text)
    width, height = size
    draw(view, width, height)
    for key in keys:
        view.press(key)
    frame = draw(view, width, height)
    assert len(frame.lines) <= height
    for line in frame.lines:
        for piece in line:
            assert piece.text.isprintable()
            assert piece.column + cells(piece.text) <= width
        assert [piece.column for piece in line] == sorted(piece.column for piece in line)


STRANGE = (
    "日本語のログ",
    "🔥🔥",
    "👨\u200d👩\u200d👧",
    "❤\ufe0f",
    "🇩🇪",
    "e\u0301\u0302",
    "\u1100\u1161",
    "\x1b[5C",
    "\t",
)


@pytest.mark.parametrize("source", STRANGE)
def test_columns_stay_straight_beside_any_source(source: str) -> None:
    frame = draw(View(facts([log(1, source=source, message="here")])), 80, 24)
    ((number, piece),) = [(n, p) for n, line in enumerate(frame.lines) for p in line if p.text.startswith("here")]
    cells_of_the_line = emulated(frame, 80).buffer[number]
    assert "".join(cells_of_the_line[piece.column + n].data for n in range(4)) == "here"
    assert piece.column == 40


def test_rich_prints_a_frame() -> None:
    console = Console(file=io.StringIO(), width=80, record=True)
    console.print(draw(View(facts([WHOLE])), 80, 24))
    lines = console.export_text().splitlines()
    assert len(lines) == 24
    assert lines[0].endswith(" CONNECTED · stream ")
    assert all(cells(line) <= 80 for line in lines)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0.0 s"), (9.94, "9.9 s"), (10, "10 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172_800, "2 d")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (0.04, "0.0"), (9.94, "9.9"), (1234.5, "1,234")])
def test_rounded(value: float, text: str) -> None:
    assert rounded(value) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0"), (999_999, "999,999"), (12_345_678, "12.3M")])
def test_shortened(count: int, text: str) -> None:
    assert shortened(count) == text
