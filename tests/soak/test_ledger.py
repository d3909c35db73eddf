"""The soak's own judge: it must see what is wrong, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from realtime_client import ConnectionState, Gap, Origin
from tests.soak.ledger import Ledger

START = datetime(2024, 5, 1, tzinfo=UTC)


def ledger(held_up: float = 0) -> Ledger:
    """Of a client that is connected for the first time; an event is produced each second, and under way for so long."""
    under_way = timedelta(seconds=held_up)
    made = Ledger(lambda number: START + timedelta(seconds=number), lambda heard_at: heard_at - under_way)
    made.changed(ConnectionState.CONNECTED)
    return made


def gap(*, since: float = 0, until: float = 100, complete: bool = False) -> Gap:
    return Gap(since=START + timedelta(seconds=since), until=START + timedelta(seconds=until), complete=complete)


def reconnect(judge: Ledger) -> None:
    judge.changed(ConnectionState.RECONNECTING)
    judge.changed(ConnectionState.CONNECTED)


def stream(judge: Ledger, *numbers: int) -> None:
    for number in numbers:
        judge.event(number, Origin.STREAM)


def poll(judge: Ledger, *numbers: int) -> None:
    for number in numbers:
        judge.event(number, Origin.POLL)


def test_all_is_well() -> None:
    judge = ledger()
    stream(judge, 0, 1, 2)
    assert (judge.complete_to, judge.delivered, judge.lost, judge.violations) == (2, 3, 0, [])


def test_a_loss_that_a_gap_covers() -> None:
    judge = ledger()
    stream(judge, 0, 1)
    reconnect(judge)
    judge.gap(gap(until=4))
    stream(judge, 5, 6)
    assert (judge.complete_to, judge.lost, judge.violations) == (6, 3, [])


def test_a_loss_that_no_gap_covers() -> None:
    judge = ledger()
    stream(judge, 0, 2)
    assert judge.violations == ["1 is missing before 2, and no incomplete gap was told"]


def test_a_gap_covers_what_comes_before_the_next_stream_event_only() -> None:
    judge = ledger()
    stream(judge, 0)
    reconnect(judge)
    judge.gap(gap())
    stream(judge, 1, 3)
    assert judge.violations == ["2 is missing before 3, and no incomplete gap was told"]


def test_a_loss_that_was_produced_after_the_gap() -> None:
    judge = ledger()
    stream(judge, 0)
    reconnect(judge)
    judge.gap(gap(until=2))
    stream(judge, 4)
    assert len(judge.violations) == 1
    assert judge.violations[0].startswith("3 is lost, but was produced at 2024-05-01 00:00:03+00:00, outside of")


def test_a_loss_that_was_produced_before_the_gap() -> None:
    judge = ledger()
    stream(judge, 0)
    reconnect(judge)
    judge.gap(gap(since=2))
    stream(judge, 4)
    assert len(judge.violations) == 1
    assert judge.violations[0].startswith("1 is lost, but was produced at 2024-05-01 00:00:01+00:00, outside of")


@pytest.mark.parametrize(("held_up", "violations"), [(0.5, 1), (1, 0)])
def test_a_loss_that_was_under_way_when_the_gap_began(held_up: float, violations: int) -> None:
    judge = ledger(held_up)
    stream(judge, 0)
    reconnect(judge)
    judge.gap(gap(since=2))
    stream(judge, 4)
    assert len(judge.violations) == violations


def test_losses_in_two_gaps_and_between_them() -> None:
    for second, violations in (4, 0), (5, 1):
        judge = ledger()
        stream(judge, 0)
        reconnect(judge)
        judge.gap(gap(until=3))
        reconnect(judge)
        judge.gap(gap(since=second, until=7))
        stream(judge, 8)
        assert len(judge.violations) == violations


@pytest.mark.parametrize("origin", list(Origin)[:2])
def test_doubled(origin: Origin) -> None:
    judge = ledger()
    stream(judge, 0, 1)
    judge.event(1, origin)
    assert judge.violations == [f"1 was delivered twice, or after it was given up ({origin.value})"]


def test_doubled_past_a_hole() -> None:
    judge = ledger()
    stream(judge, 0)
    reconnect(judge)
    stream(judge, 5)
    poll(judge, 5)
    assert len(judge.violations) == 1


def test_a_backfill_out_of_order() -> None:
    judge = ledger()
    stream(judge, 0)
    reconnect(judge)
    poll(judge, 2, 1)
    assert judge.violations == ["1 came after 2 (poll)"]


def test_a_backfill_that_runs_ahead_of_the_stream() -> None:
    judge = ledger()
    stream(judge, 0)
    reconnect(judge)
    poll(judge, 1, 2, 5)  # 3 and 4 are held back, 5 has not been read yet
    judge.gap(gap(complete=True))
    stream(judge, 3, 4, 6)
    assert (judge.complete_to, judge.lost, judge.polled, judge.violations) == (6, 0, 3, [])


def test_a_complete_gap_with_a_hole() -> None:
    judge = ledger()
    stream(judge, 0)
    reconnect(judge)
    poll(judge, 1)
    judge.gap(gap(complete=True))
    stream(judge, 3)
    assert judge.violations == ["2 is missing before 3, and no incomplete gap was told"]


def test_a_late_backfill() -> None:
    judge = ledger()
    stream(judge, 0)
    reconnect(judge)
    stream(judge, 4, 5)
    poll(judge, 1, 2)
    judge.gap(gap())
    stream(judge, 6)
    assert (judge.complete_to, judge.lost, judge.violations) == (6, 1, [])


def test_a_complete_backfill_that_the_stream_has_overtaken() -> None:
    judge = ledger()
    stream(judge, 0)
    reconnect(judge)
    stream(judge, 2)
    poll(judge, 1)
    judge.gap(gap(complete=True))
    assert len(judge.violations) == 1
    assert judge.violations[0].startswith("stream events came before a complete gap")


def test_cut_again_before_the_gap_was_filled() -> None:
    judge = ledger()
    stream(judge, 0)
    reconnect(judge)
    stream(judge, 3)
    reconnect(judge)
    poll(judge, 1, 2, 4)
    judge.gap(gap(complete=True))
    stream(judge, 5)
    assert (judge.complete_to, judge.lost, judge.violations) == (5, 0, [])


def test_lost_for_a_fatal_reason_before_the_gap_was_filled() -> None:
    judge = ledger()
    stream(judge, 0)
    reconnect(judge)
    judge.changed(ConnectionState.UNAVAILABLE)
    judge.changed(ConnectionState.CONNECTED)
    poll(judge, 1)
    judge.gap(gap(complete=True))
    stream(judge, 2)
    assert (judge.complete_to, judge.lost, judge.violations) == (2, 0, [])


def test_a_connection_without_its_gap() -> None:
    judge = ledger()
    reconnect(judge)
    judge.changed(ConnectionState.CONNECTED)
    assert judge.violations == ["a second connection before the gap before it was told"]
