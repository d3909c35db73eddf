"""Events as lines."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_client import (
    ConnectionEstablished,
    Event,
    LogEntry,
    NewAnomaly,
    StatsUpdate,
    SystemAlert,
    UnknownEvent,
)
from realtime_client.cli.cells import visible
from realtime_client.cli.rendering import FIELDS, json_line, pretty_line, raw_text, template, wants_colour

NOON = datetime(2026, 11, 23, 12, 0, 1, tzinfo=UTC)
LOCAL_NOON = f"{NOON.astimezone():%Y-%m-%d %H:%M:%S}"

texts = st.text(st.characters(exclude_categories=["Cs"]))


def anomaly(**fields: Any) -> NewAnomaly:
    return NewAnomaly(LogEntry(**{"id": "1", "message": "disk full", "timestamp": NOON, **fields}), timestamp=NOON)


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            anomaly(level="error", anomaly_score=0.874, source="db"),
            f"{LOCAL_NOON}  ERROR      0.87  db: disk full",
        ),
        (anomaly(), f"{LOCAL_NOON}  UNKNOWN    0.00  disk full"),
        (
            StatsUpdate({"total_logs": 12, "anomaly_rate": 0.123456, "eu": {"x": [1]}, "host": "a"}, timestamp=NOON),
            f'{LOCAL_NOON}  STATS            total logs 12, anomaly rate 0.1235, eu {{"x":[1]}}, host a',
        ),
        (SystemAlert("hot", "warning", timestamp=NOON), f"{LOCAL_NOON}  WARNING          alert: hot"),
        (
            UnknownEvent([1], type="deploy", timestamp=None, received_at=NOON),
            f"{LOCAL_NOON}  EVENT            deploy: [1]",
        ),
        (ConnectionEstablished(timestamp=NOON), f"{LOCAL_NOON}  EVENT            connection_established"),
        (SystemAlert("x"), f"{'':19}  ERROR            alert: x"),
    ],
)
def test_pretty_line(event: Event, line: str) -> None:
    assert pretty_line(event) == line


def test_pretty_line_colours_the_level_and_nothing_else() -> None:
    line = pretty_line(anomaly(level="ERROR", message="\x1b[32mfine"), colour=True)
    assert line == f"\x1b[2m{LOCAL_NOON}\x1b[0m  \x1b[31mERROR   \x1b[0m   0.00  \\x1b[32mfine"


def test_pretty_line_cuts_long_texts() -> None:
    line = pretty_line(anomaly(message="x" * 100_000, level="L" * 100_000))
    assert line.endswith("x… (98000 more)")
    assert len(line) < 2200


@given(texts)
@settings(max_examples=200)
def test_no_line_can_command_a_terminal(text: str) -> None:
    hostile = anomaly(level=text, source=text, message=text, extra={text: text})
    assert visible(text).isprintable()
    assert pretty_line(hostile).isprintable()
    line = json_line(hostile)
    assert line.isprintable()
    assert json.loads(line)["data"]["log"]["message"] == text
    assert raw_text(hostile, on_terminal=True).isprintable()
    assert template("".join(f"{{{name}}}" for name in FIELDS))(hostile).isprintable()


def test_pretty_line_keeps_its_columns_beside_a_wide_level() -> None:
    line, plain = (pretty_line(anomaly(level=level)) for level in ("警告", "WARN"))
    assert line.index("disk full") == plain.index("disk full") - 2  # two characters that take a cell more each


@pytest.mark.usefixtures("another_zone")
@pytest.mark.parametrize("end", [datetime.min, datetime.max])
def test_a_time_at_the_end_of_the_calendar_is_shown(end: datetime) -> None:
    assert pretty_line(anomaly(timestamp=end.replace(tzinfo=UTC))).endswith("disk full")


def test_raw_text_is_the_message_as_it_came_unless_on_a_terminal() -> None:
    event = anomaly(message="two\nlines \x1b[2J")
    assert raw_text(event, on_terminal=False) == "two\nlines \x1b[2J"
    assert raw_text(event, on_terminal=True) == "two\\nlines \\x1b[2J"
    assert raw_text(SystemAlert("hot"), on_terminal=False) == "hot"
    assert raw_text(StatsUpdate({"total_logs": 5}), on_terminal=False) == '{"stats":{"totalLogs":5}}'


def test_template_inserts_every_field() -> None:
    event = anomaly(
        level="error", anomaly_score=0.874, source="db", root_causes=("a", "b"), recommendations=("c\n", "d")
    )
    line = template(
        "{time}|{timestamp}|{received}|{origin}|{type}|{level:8}|{score:.2f}|{source}|{id}|{message}|{causes}|{advice}"
    )
    assert line(event) == (
        f"{LOCAL_NOON}|2026-11-23T12:00:01Z||stream|new_anomaly|ERROR   |0.87|db|1|disk full|a; b|c\\n; d"
    )
    assert json.loads(template("{data}")(event))["log"]["rootCauses"] == ["a", "b"]
    assert template("{level}{score}{{}}")(StatsUpdate({})) == "0.0{}"


@pytest.mark.parametrize(
    "text",
    [
        *("{", "{}", "{0}", "{pid}", "{message.__class__}", "{level!r}", "{score:s}", "{level:q}"),
        *("{level:{width}}", "{message}{id:{message}}"),
    ],
)
def test_template_refuses_what_it_cannot_have(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the command's tests see the words
        template(text)


def test_visible_writes_out_what_it_hides() -> None:
    assert visible("a\x1b[2J\r\n\x9b31m\u202eb ü") == "a\\x1b[2J\\r\\n\\x9b31m\\u202eb ü"


def test_json_line_is_the_event() -> None:
    event = anomaly(message="Überlauf \U0001f525 \U000e0001")
    line = json_line(event)
    assert json.loads(line) == json.loads(json.dumps(event.to_dict()))
    assert "Überlauf \U0001f525" in line
    assert "\\udb40\\udc01" in line


def test_json_line_is_ascii_where_the_stream_is_not_utf_8() -> None:
    line = json_line(anomaly(message="Überlauf"), encoding="iso-8859-1")
    assert line.isascii()
    assert json.loads(line)["data"]["log"]["message"] == "Überlauf"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("choice", "terminal", "environ", "wanted"),
    [
        ("auto", True, {}, True),
        ("auto", False, {}, False),
        ("auto", True, {"TERM": "dumb"}, False),
        ("auto", True, {"NO_COLOR": "1"}, False),
        ("auto", True, {"NO_COLOR": ""}, True),
        ("auto", False, {"FORCE_COLOR": "1"}, True),
        ("auto", False, {"FORCE_COLOR": ""}, False),
        ("auto", True, {"FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "dumb"}, True),
        ("never", True, {"FORCE_COLOR": "1"}, False),
        ("always", False, {"NO_COLOR": "1"}, True),
    ],
)
def test_wants_colour(choice: str, terminal: bool, environ: Mapping[str, str], wanted: bool) -> None:
    stream = Terminal() if terminal else io.StringIO()
    assert wants_colour(choice, stream, environ) is wanted
