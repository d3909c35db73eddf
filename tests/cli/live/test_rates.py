"""Figures over time."""

from __future__ import annotations

import pytest

from realtime_client.cli.live.rates import Series, spark


def observed(series: Series, *points: tuple[float, float]) -> Series:
    for now, value in points:
        series.observe(now, value)
    return series


def test_a_counter_is_sampled_by_its_growth() -> None:
    series = observed(Series(counts=True), (0, 10), (0.5, 12), (1, 20), (2, 20), (4, 30))
    assert series.last(9) == (10.0, 0.0, 5.0, 5.0)
    assert series.last(2) == (5.0, 5.0)
    assert series.last(0) == ()
    assert series.rate == 5.0


def test_a_figure_is_sampled_as_it_is() -> None:
    assert observed(Series(counts=False), (0, 5), (1, 7), (2, 6)).last(9) == (7.0, 6.0)


def test_a_count_that_is_told_for_the_first_time_is_no_growth() -> None:
    assert observed(Series(counts=True), (0, 0), (1, 100_000), (2, 100_003)).last(9) == (0.0, 3.0)


def test_a_count_that_begins_anew_is_no_growth() -> None:
    assert observed(Series(counts=True), (0, 50), (1, 3), (2, 5)).last(9) == (0.0, 2.0)


def test_strange_numbers_count_as_nothing() -> None:
    assert observed(Series(counts=False), (0, 1), (1, float("nan")), (2, float("inf"))).last(9) == (0.0, 0.0)


def test_it_is_bounded() -> None:
    series = observed(Series(counts=True), (0, 1), (1_000_000, 5))
    for second in range(1_000):
        series.observe(1_000_001 + second, second)
    assert len(series.last(10_000)) == 240


@pytest.mark.parametrize(
    ("values", "width", "drawn"),
    [
        ((), 3, "   "),
        ((0, 0), 3, " ▁▁"),
        ((0, 5, 10), 3, "▁▅█"),
        ((1, 2, 3, 4), 2, "▆█"),
        ((1, -1), 2, "█▁"),
        ((1,), 0, ""),
        ((1,), -1, ""),
    ],
)
def test_spark(values: tuple[float, ...], width: int, drawn: str) -> None:
    assert spark(values, width) == drawn
