"""Damaged server streams: what is not refused is read, however it arrives; no surprise, no hang, no bad text."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from realtime_client._core.frames import FrameReader, Item, Violation
from tests.bulk import bulk
from tests.fuzz import __main__ as command
from tests.fuzz import feed
from tests.fuzz.live import Stage, judge_live
from tests.fuzz.mutation import KINDS, sliced
from tests.fuzz.silence import no_errors_logged
from tests.fuzz.streams import DamagedStream, Reading, Tally, damaged_streams, judge, read_stream
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
STREAMS = bulk(1000, 10_000)
THROUGH_THE_CLIENT = bulk(120, 500)


def judged(streams: Iterator[DamagedStream], judge_one: Callable[[DamagedStream], Reading]) -> Tally:
    tally = Tally()
    for number, stream in enumerate(streams):
        began = time.monotonic()
        try:
            reading = judge_one(stream)
        except Exception as error:
            error.add_note(f"stream {number}, {stream.mutations}: {stream.wire!r}")
            raise
        tally.add(stream, reading, began)
    return tally


def test_damaged_streams_are_read_or_refused() -> None:
    tally = judged(damaged_streams(STREAMS, seed=1), judge)
    assert tally.streams == STREAMS
    assert set(tally.mutations) == set(KINDS)
    ends = {"handshake refused", "refused with 1002", "refused with 1007", "refused with 1009", "closed", "cut"}
    assert set(tally.ends) == ends
    assert min(tally.events, tally.malformed) > STREAMS / 4


def test_the_client_delivers_what_was_read_without_a_socket() -> None:
    with no_errors_logged(), Stage() as stage:
        tally = judged(damaged_streams(THROUGH_THE_CLIENT, seed=2), lambda stream: judge_live(stage, stream))
    assert tally.streams == THROUGH_THE_CLIENT
    assert tally.events > 0


def test_undamaged_streams_are_read_to_their_end() -> None:
    events = 0
    for number in range(200):
        dice = random.Random(number)
        head, frames = feed.stream(dice)
        wire = head + b"".join(frames)
        reading = judge(DamagedStream(wire, sliced(wire, dice), []))
        assert reading.refusal is None
        # Some hold a text of 70,000 bytes, which is over the limit.
        assert not any(isinstance(item, Violation) and item.code != 1009 for item in reading.items)
        events += len(reading.events)
    assert events > 500


def test_a_stream_is_the_same_whenever_it_is_made() -> None:
    assert list(damaged_streams(20, seed=3)) == list(damaged_streams(30, seed=3))[:20]
    assert list(damaged_streams(20, seed=3)) != list(damaged_streams(20, seed=4))


def test_bad_text_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def feed_lone_surrogate(reader: FrameReader, data: bytes) -> list[Item]:
        return ["\ud800"]

    monkeypatch.setattr(FrameReader, "feed", feed_lone_surrogate)
    with pytest.raises(UnicodeEncodeError):
        judged(damaged_streams(10, seed=1), judge)


def test_what_depends_on_how_the_bytes_arrive_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    read = FrameReader.feed
    monkeypatch.setattr(FrameReader, "feed", lambda reader, data: read(reader, data)[:1])
    with pytest.raises(AssertionError):
        judged(damaged_streams(50, seed=1), judge)


def test_the_client_is_compared_with_what_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client delivers less than was read without it."""

    def judge_and_double(stream: DamagedStream) -> Reading:
        reading = read_stream(stream.pieces)
        reading.events *= 2
        return reading

    monkeypatch.setattr("tests.fuzz.live.judge", judge_and_double)
    with Stage() as stage, pytest.raises(AssertionError):
        judged(damaged_streams(20, seed=2), lambda stream: judge_live(stage, stream))


# The command


def test_the_command_shows_its_figures() -> None:
    arguments = ["streams", "--count", "40", "--live", "3", "--seed", "7"]
    part = [sys.executable, "-m", "tests.fuzz", *arguments]
    shown = json.loads(subprocess.run(part, cwd=ROOT, check=True, capture_output=True, timeout=50).stdout)
    streams = shown["streams"]
    assert (streams["run"]["seed"], streams["streams"], streams["findings"]) == (7, 40, 0)
    assert streams["through_the_client"]["streams"] == 3
    assert sum(streams["ends"].values()) == 40


@pytest.mark.parametrize("part", [["streams"], ["codec"], ["--count", "99999"], ["--seconds", "59"], ["--live", "3"]])
def test_a_part_of_it_does_not_go_into_the_documentation(part: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main([*part, "--docs"])
    assert "--docs wants the whole" in capsys.readouterr().err


def test_the_whole_goes_into_the_documentation(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[str, Any] = {}
    monkeypatch.setattr(command, "run_guided", lambda part, seconds, seed: {"findings": 0})
    monkeypatch.setattr(command, "run_streams", lambda count, live, seed: {"findings": int(count != 100_000)})
    monkeypatch.setattr(command, "find_spec", lambda name: True)
    monkeypatch.setattr(command, "keep", lambda name, figures: kept.update({name: figures}))
    assert command.main(["--docs"]) == 0
    assert [*kept["fuzz"]] == [*TARGETS, "streams"]
    assert command.main(["streams", "--count", "10"]) == 1  # a finding


def test_the_command_counts_findings(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "judge", lambda stream: 1 / 0)
    monkeypatch.setattr("faulthandler.dump_traceback_later", lambda *_, **__: None)
    monkeypatch.setattr("faulthandler.cancel_dump_traceback_later", lambda: None)  # nor pytest's own
    assert command.run_streams(3, 0, seed=1)["findings"] == 3
    assert "FINDING in stream 2 of seed 1" in capsys.readouterr().err


def test_the_guided_fuzzers_report_is_read() -> None:
    report = """
INFO: seed corpus: files: 192 min: 1b max: 386b total: 17407b rss: 71Mb
#193	INITED cov: 240 ft: 600 corp: 90/9Kb exec/s: 0 rss: 71Mb
#668436	DONE   cov: 171 ft: 292 corp: 69/6004b lim: 4096 exec/s: 10957 rss: 73Mb
Done 668436 runs in 61 second(s)
stat::number_of_executed_units: 668436
"""
    expected = {"executions": 668436, "edges": 171, "features": 292, "corpus": 69}
    assert command.read_report(report) == expected
    assert command.read_report("") == dict.fromkeys(expected, 0)


def test_without_atheris_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        command.main(["codec"])
    assert "realtime-client[fuzz]" in capsys.readouterr().err
