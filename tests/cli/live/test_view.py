"""What is seen, and what keys do to it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from realtime_client import ClientConfig, ConnectionState, DashboardStats, LogEntry, Metrics, Transport
from realtime_client.cli.live.view import KEPT, View
from realtime_client.cli.selection import Selection
from tests.cli.live.facts import NOON, facts, log


def view_of(*logs: LogEntry) -> View:
    view = View(facts(logs))
    view.fit(page=5, lines=0)
    return view


def press(view: View, *keys: str) -> View:
    for key in keys:
        assert view.press(key)
    return view


def ids(view: View) -> list[str]:
    return [entry.id.removeprefix("id-") for entry in view.listed]


# The list


def test_the_newest_comes_first() -> None:
    assert ids(view_of(log(1), log(3), log(2))) == ["3", "2", "1"]


def test_of_the_same_moment_the_last_one_comes_first() -> None:
    moment = log(1).timestamp
    assert ids(view_of(log(1, timestamp=moment), log(2, timestamp=moment), log(3, timestamp=None))) == ["3", "2", "1"]


def test_what_is_no_anomaly_is_not_listed() -> None:
    assert ids(view_of(log(1), log(2, is_anomaly=False))) == ["1"]


def test_what_the_store_forgets_is_still_listed_up_to_a_bound() -> None:
    view = view_of(*map(log, range(5)))
    for first in range(5, 2 * KEPT, 100):
        view.observe(facts(map(log, range(first, first + 100))))
    assert len(view.listed) == KEPT
    assert len(view._known) == 100


def test_a_log_that_comes_again_takes_the_place_of_the_first() -> None:
    view = view_of(log(1), log(2))
    view.observe(facts([log(1, message="better"), log(2)]))
    assert [entry.message for entry in view.listed] == ["message 2", "better"]


def test_a_pause_lets_the_list_stand_still_and_counts_what_comes() -> None:
    view = press(view_of(log(1)), "p")
    view.observe(facts([log(1), log(2), log(3)]))
    assert (view.paused, ids(view), view.news) == (True, ["1"], 2)
    press(view, " ")
    assert (view.paused, ids(view), view.news) == (False, ["3", "2", "1"], 0)


@pytest.mark.parametrize(
    ("keys", "cursor"),
    [
        (["down"], 1),
        (["j", "j", "k"], 1),
        (["up"], 0),
        (["pagedown"], 5),
        (["end"], 19),
        (["G", "up"], 18),
        (["end", "pageup"], 14),
        (["end", "g"], 0),
        (["end", "home"], 0),
        (["pagedown"] * 9, 19),
    ],
)
def test_moving_marks_and_pauses(keys: list[str], cursor: int) -> None:
    view = press(view_of(*map(log, range(20))), *keys)
    assert (view.cursor, view.paused) == (cursor, True)
    assert view.marked is view.listed[cursor]


def test_moving_in_an_empty_list_does_nothing() -> None:
    view = press(view_of(), "down", "end", "enter")
    assert (view.cursor, view.paused, view.opened, view.marked) == (0, False, None, None)


def test_a_mark_stays_on_its_anomaly_while_others_come() -> None:
    view = press(view_of(log(1), log(2), log(3)), "down")
    view.observe(facts([log(2), log(3), log(4), log(5)]))
    assert view.marked == log(2)


# Opening


def test_enter_opens_and_escape_goes_back() -> None:
    view = press(view_of(log(1), log(2)), "down", "enter")
    assert (view.opened, view.paused) == (log(1), True)
    press(view, "escape")
    assert (view.opened, view.paused, view.cursor) == (None, True, 1)


def test_an_opened_anomaly_is_scrolled_within_its_lines() -> None:
    view = press(view_of(log(1)), "enter")
    view.fit(page=5, lines=12)
    press(view, "down", "down", "pagedown")
    view.fit(page=5, lines=12)
    assert view.scroll == 7
    press(view, "home")
    assert view.scroll == 0
    press(view, "end")
    view.fit(page=5, lines=12)
    assert view.scroll == 7
    press(view, "up")
    assert (view.scroll, view.cursor) == (6, 0)


# Selecting


LOGS = (log(1, message="disk full"), log(2, level="WARN", source="web"), log(3, level="CRITICAL", message="DISK gone"))


def test_a_text_is_meant_as_it_stands_and_finds_capitals() -> None:
    view = press(view_of(*LOGS), "/", *"dsk", "backspace", "backspace", *"isk", "enter")
    assert ids(view) == ["3", "1"]
    assert ids(press(view, "/", "[", "enter")) == []
    assert ids(press(view, "/", "enter")) == ["3", "2", "1"]


def test_a_text_is_said_as_it_was_typed() -> None:
    view = press(view_of(*LOGS), "/", *"out of memory (10.0)", "enter")
    assert str(view.selection) == "text out of memory (10.0)"


def test_a_text_can_be_given_up() -> None:
    view = press(view_of(*LOGS), "/", *"disk", "escape")
    assert (view.prompt, ids(view)) == (None, ["3", "2", "1"])
    assert view.press("q") is False


def test_letters_that_are_typed_are_no_commands() -> None:
    view = press(view_of(*LOGS), "/", "q", "?", "clear", "p", "up")
    assert view.prompt is not None
    assert (view.prompt.typed, view.help, view.paused) == ("p", False, False)


def test_what_is_typed_is_bounded() -> None:
    view = press(view_of(*LOGS), "/", *("x" * 1_000))
    assert view.prompt is not None
    assert len(view.prompt.typed) == 200


def test_sources_are_selected() -> None:
    assert ids(press(view_of(*LOGS), "s", *"w* x", "enter")) == ["2"]


def test_levels_take_turns() -> None:
    view = view_of(*LOGS)
    seen = [ids(press(view, "l")) for _ in range(7)]
    assert seen == [["3", "2", "1"]] * 4 + [["3", "1"], ["3"], ["3", "2", "1"]]


def test_escape_lists_what_was_listed_at_first() -> None:
    view = View(facts(LOGS), Selection(level="error"))
    assert ids(view) == ["3", "1"]
    press(view, "s", *"nobody", "enter")
    assert ids(view) == []
    press(view, "escape")
    assert (ids(view), str(view.selection)) == (["3", "1"], "level error and above")


def test_what_passed_while_it_was_selected_is_found_again() -> None:
    view = press(view_of(*LOGS), "/", *"disk", "enter")
    view.observe(facts(map(log, range(10, 20))))
    assert ids(view) == ["3", "1"]
    press(view, "escape")
    assert ids(view)[-2:] == ["3", "1"]
    assert len(ids(view)) == 12


def test_escape_at_last_goes_on() -> None:
    assert press(view_of(log(1)), "p", "escape").paused is False


# The rest


def test_q_ends_and_the_help_is_left_by_any_key() -> None:
    view = view_of(log(1))
    assert press(view, "?").help
    assert not press(view, "q").help
    assert view.press("q") is False


def test_keys_without_a_meaning_change_nothing() -> None:
    view = press(view_of(log(1)), "x", "ü", "clear", "backspace")
    assert (view.paused, view.opened, view.prompt, view.help) == (False, None, None, False)


def test_figures_are_sampled() -> None:
    view = View(facts())
    for second in range(1, 4):
        stats = DashboardStats(total_logs=second * 10, anomaly_count=second, anomaly_rate=0.5, active_services=3)
        view.observe(facts(after=second, stats=stats, metrics=Metrics(received=second * 2)))
    latest = {name: series.last(1) for name, series in view.series.items()}
    assert latest == {"logs": (10.0,), "anomalies": (1.0,), "rate": (0.5,), "services": (3.0,), "events": (2.0,)}


@pytest.mark.parametrize(
    ("options", "source"),
    [
        ({}, "stream"),
        ({"heard": None}, "no data yet"),
        ({"heard": 69.0}, "stream"),
        ({"heard": 71.0}, "stale"),
        ({"heard": 71.0, "config": ClientConfig(heartbeat="none")}, "stream"),
        ({"state": ConnectionState.RECONNECTING, "transport": Transport.NONE}, "stale"),
        ({"state": ConnectionState.UNAVAILABLE, "transport": Transport.POLLING, "heard": 5.0}, "polling"),
        ({"state": ConnectionState.UNAVAILABLE, "transport": Transport.POLLING, "heard": 21.0}, "stale"),
        ({"state": ConnectionState.RECONNECTING, "transport": Transport.NONE, "heard": None}, "no data yet"),
        ({"transport": Transport.REPLAY}, "replay"),
    ],
)
def test_where_the_figures_come_from(options: dict[str, Any], source: str) -> None:
    assert facts(**options).source == source


def test_a_replay_is_heard_now_however_old_its_recording_is() -> None:
    at = NOON - timedelta(seconds=2)
    seen = facts(heard=86_400.0, transport=Transport.REPLAY, last_message_at=at, config=ClientConfig(heartbeat="none"))
    assert (seen.age, seen.is_stale, seen.source) == (2.0, False, "replay")
