from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from realtime_client.demo import Analyser, GeneratedLog, Line, parse_line
from realtime_client.events import NewAnomaly

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def minutes_of(source: GeneratedLog, clock: Clock, minutes: int) -> list[Line]:
    lines = []
    for _ in range(minutes * 60):
        clock.now += timedelta(seconds=1)
        lines += source.read()
    return lines


def test_the_same_seed_gives_the_same_log_and_another_seed_another() -> None:
    logs = []
    for seed in (1, 1, 2):
        clock = Clock()
        logs.append(minutes_of(GeneratedLog(seed=seed, now=clock), clock, 2))
    assert logs[0] == logs[1]
    assert logs[0] != logs[2]


def test_it_says_that_it_is_generated() -> None:
    clock = Clock()
    lines = [parse_line(line.text, now=START) for line in minutes_of(GeneratedLog(seed=5, now=clock), clock, 1)]
    assert lines[0].message == "This is a generated log (seed 5): every line of it is invented"
    assert all(line.source.startswith("demo") for line in lines)


def test_it_has_the_rhythm_that_was_asked_for_and_incidents_now_and_then() -> None:
    clock = Clock()
    lines = minutes_of(GeneratedLog(seed=1, lines_per_second=10, now=clock), clock, 10)
    assert 5_000 <= len(lines) <= 7_000
    assert len({line.id for line in lines}) == len(lines)
    analyser = Analyser()
    anomalies = []
    for line in lines:
        parsed = parse_line(line.text, now=clock.now)
        assert parsed.timestamp is not None
        assert START <= parsed.timestamp <= clock.now
        events = analyser.analyse(parsed, log_id=line.id, arrived=clock.now)
        anomalies += [event for event in events if isinstance(event, NewAnomaly)]
    assert 15 <= len(anomalies) <= len(lines) // 20
    assert {event.log.level for event in anomalies} >= {"ERROR", "CRITICAL"}


def test_a_long_pause_is_not_made_up_for() -> None:
    clock = Clock()
    source = GeneratedLog(now=clock)
    clock.now += timedelta(days=1)
    assert len(source.read()) == 1000
    assert source.read() == []


def test_it_ends_when_it_is_closed() -> None:
    source = GeneratedLog()
    before = source.ended
    source.close()
    assert [before, source.ended] == [False, True]
    assert source.read() == []


def test_a_wrong_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="lines_per_second is -1"):
        GeneratedLog(lines_per_second=-1)
