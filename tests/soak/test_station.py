"""What a gap may be excused for: only what the proxy has really held up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.faults.proxy import HEALTHY, Toxics
from tests.soak.station import Obstacle, Way

START = datetime(2024, 5, 1, tzinfo=UTC)


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def obstacle(since: float, until: float | None, *, passable: bool) -> Obstacle:
    return Obstacle(at(since), None if until is None else at(until), passable=passable)


@pytest.mark.parametrize(
    ("obstacles", "sent_by"),
    [
        ([], 99),
        ([obstacle(50, 60, passable=True)], 99),
        ([obstacle(97, 99.5, passable=True)], 96),
        ([obstacle(97, 99.5, passable=False)], 96),  # it let all go at once, in the end
        ([obstacle(97, None, passable=True)], 96),
        ([obstacle(97, None, passable=False)], 99),  # nothing that was heard came through it
        ([obstacle(97, 105, passable=False)], 99),
        ([obstacle(101, None, passable=True)], 99),
        ([obstacle(90, 95.5, passable=False), obstacle(96, 99.5, passable=True)], 89),
        ([obstacle(90, 94, passable=False), obstacle(96, 99.5, passable=True)], 95),
    ],
)
def test_what_was_heard_at_100_was_sent_by(obstacles: list[Obstacle], sent_by: float) -> None:
    way = Way()
    way._past.extend(one for one in obstacles if one.until is not None)
    way._present = next((one for one in obstacles if one.until is None), None)
    assert way.sent_by(at(100)) == at(sent_by)


def test_the_way_remembers_its_changes() -> None:
    way = Way()
    for toxics in (Toxics(latency=1), Toxics(black_hole=True), HEALTHY, HEALTHY):
        way.change(toxics)
    assert [one.passable for one in way._past] == [True, False]
    assert way._past[0].until == way._past[1].since
    assert way._present is None
