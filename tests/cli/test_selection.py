"""Which events are selected."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from realtime_client import Event, LogEntry, NewAnomaly, StatsUpdate, SystemAlert, UnknownEvent
from realtime_client.cli.arguments import moment, pattern
from realtime_client.cli.selection import LEVELS, Selection, add_selection_arguments, rank, selection_of

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def anomaly(**fields: Any) -> NewAnomaly:
    return NewAnomaly(LogEntry(**{"id": "1", "message": "disk full", **fields}))


@pytest.mark.parametrize(
    ("selection", "event", "taken"),
    [
        (Selection(), anomaly(), True),
        (Selection(), StatsUpdate({}), True),
        (Selection(level="error"), anomaly(level="ERROR"), True),
        (Selection(level="error"), anomaly(level="err"), True),
        (Selection(level="error"), anomaly(level="Fatal"), True),
        (Selection(level="error"), anomaly(level="WARN"), False),
        (Selection(level="debug"), anomaly(level="UNKNOWN"), False),
        (Selection(level="error"), SystemAlert("x", "critical"), True),
        (Selection(level="error"), SystemAlert("x", "info"), False),
        (Selection(level="debug"), StatsUpdate({}), False),
        (Selection(sources=("db", "web*")), anomaly(source="web-1"), True),
        (Selection(sources=("db", "web*")), anomaly(source="Web-1"), False),
        (Selection(sources=("sshd[1?]",)), anomaly(source="sshd[12]"), True),
        (Selection(sources=("db",)), SystemAlert("db"), False),
        (Selection(words=pattern("disk|net")), anomaly(message="DISK"), True),
        (Selection(words=pattern("Disk")), anomaly(message="disk"), False),
        (Selection(words=pattern("^hot")), SystemAlert("hotter"), True),
        (Selection(words=pattern("deploy")), UnknownEvent({"what": "deployed"}, type="x"), True),
        (Selection(words=pattern("x")), UnknownEvent({"what": "deployed"}, type="x"), False),
        (Selection(min_score=0.5), anomaly(anomaly_score=0.5), True),
        (Selection(min_score=0.5), anomaly(anomaly_score=0.49), False),
        (Selection(min_score=0.0), SystemAlert("x"), False),
        (Selection(since=NOON), anomaly(timestamp=NOON), True),
        (Selection(since=NOON), anomaly(timestamp=NOON - timedelta(seconds=1)), False),
        (Selection(since=NOON), anomaly(), True),
        (Selection(since=NOON), SystemAlert("x", timestamp=NOON - timedelta(seconds=1)), False),
        (Selection(level="error", min_score=0.5), anomaly(level="ERROR", anomaly_score=0.4), False),
    ],
)
def test_every_condition_must_hold(selection: Selection, event: Event, taken: bool) -> None:
    assert selection.takes(event) is taken


def test_levels_are_ranked_whatever_their_spelling() -> None:
    assert [rank(level.upper()) for level in LEVELS] == list(range(len(LEVELS)))
    assert rank("") == rank("loud") == -1


def test_the_options_make_a_selection() -> None:
    parser = argparse.ArgumentParser()
    add_selection_arguments(parser)
    args = parser.parse_args(
        ["--level", "WARNING", "--source", "a", "--source", "b*", "--grep", "x", "--min-score", "-1"]
    )
    assert selection_of(args, since=NOON) == Selection(
        level="warning", sources=("a", "b*"), words=pattern("x"), min_score=-1.0, since=NOON
    )
    assert selection_of(parser.parse_args([])) == Selection()


def test_a_selection_says_what_it_is() -> None:
    assert str(Selection()) == ""
    selection = Selection(level="error", sources=("a", "b"), words=pattern("x+"), min_score=0.5)
    assert str(selection) == "level error and above, source a or b, text x+, score 0.5 and above"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-11-23T12:00:00Z", NOON),
        ("2026-11-23T13:00+01:00", NOON),
        ("2026-11-23", datetime(2026, 11, 23).astimezone()),
        ("2026-11-23 08:30", datetime(2026, 11, 23, 8, 30).astimezone()),
    ],
)
def test_a_moment_is_a_time(text: str, meant: datetime) -> None:
    assert moment(text) == meant


@pytest.mark.parametrize(
    ("text", "ago"), [("90s", 90), ("1.5m", 90), ("-2h", 7200), ("3d", 3 * 86400), ("1w", 7 * 86400)]
)
def test_a_moment_is_so_long_ago(text: str, ago: float) -> None:
    before = datetime.now(UTC)
    found = moment(text)
    assert before <= found + timedelta(seconds=ago) <= datetime.now(UTC)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "10 m", "10y", "99999999999999w", "nan"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="allowed: a time"):
        moment(text)
