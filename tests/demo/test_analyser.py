from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_client.demo import Analyser, ParsedLine, parse_line
from realtime_client.demo.advice import RULES, rules_for
from realtime_client.demo.analyser import rarity, score_of
from realtime_client.demo.watch import BurstWatch, SilenceWatch
from realtime_client.events import LogEntry, NewAnomaly, SystemAlert

NOW = datetime(2026, 10, 17, 12, 0, tzinfo=UTC)
START = datetime(2026, 10, 16, 12, 0, tzinfo=UTC)


def second(number: float) -> datetime:
    return START + timedelta(seconds=number)


def line(message: str, *, level: str = "INFO", source: str = "app", at: datetime | None = START) -> ParsedLine:
    return ParsedLine(at, level, source, message)


class Log:
    """Lines given to an analyser one after the other."""

    def __init__(self, analyser: Analyser | None = None) -> None:
        self.analyser = analyser or Analyser()
        self.anomalies: list[LogEntry] = []
        self.alerts: list[SystemAlert] = []

    def add(self, *lines: ParsedLine, arrived: datetime = NOW) -> None:
        for number, each in enumerate(lines):
            for event in self.analyser.analyse(each, log_id=f"id-{number}", arrived=arrived):
                if isinstance(event, NewAnomaly):
                    self.anomalies.append(event.log)
                else:
                    self.alerts.append(event)


def dpkg_log() -> list[str]:
    """What dpkg writes for two hundred packages, with a trigger, an upgrade and a removal among them."""
    lines: list[str] = []

    def say(text: str) -> None:
        lines.append(f"2026-10-16 10:{len(lines) // 60 % 60:02}:{len(lines) % 60:02} {text}")

    for number in range(200):
        package = f"lib{'abcdefgh'[number % 8]}tool-{number}" if number % 3 else f"{'qrstuv'[number % 6]}tool"
        name, version = f"{package}:{'all' if number % 2 else 'amd64'}", f"1.{number}-{number % 5}+deb12u1"
        if number % 50 == 0:
            say("startup archives unpack")
        say(f"install {name} <none> {version}")
        say(f"status half-installed {name} {version}")
        say(f"status unpacked {name} {version}")
        say(f"configure {name} {version} <none>")
        say(f"status half-configured {name} {version}")
        if number in (120, 170):
            say(f"status triggers-awaited {name} {version}")
        say(f"status installed {name} {version}")
        if number == 150:
            say("remove oldtool:amd64 1.0-1 <none>")
            say("status config-files oldtool:amd64 1.0-1")
    return lines


def test_a_package_log_has_a_handful_of_anomalies_and_they_are_the_rare_kinds() -> None:
    log = Log()
    lines = dpkg_log()
    log.add(*(parse_line(text, now=NOW, local=UTC) for text in lines))
    messages = [entry.message for entry in log.anomalies]
    assert 3 <= len(messages) <= len(lines) // 50
    rare = re.compile(r"status triggers-awaited|remove |status config-files|startup")
    assert all(rare.match(message) for message in messages)
    assert any(message.startswith("remove oldtool") for message in messages)
    assert sum("triggers-awaited" in message for message in messages) == 2
    removal = next(entry for entry in log.anomalies if entry.message.startswith("remove"))
    assert removal.root_causes[0] == "A package was taken off the system"
    assert "First time" in removal.root_causes[1]
    assert removal.source == "dpkg"
    assert log.analyser.figures()["totalLogs"] == len(lines)


def test_an_error_is_an_anomaly_from_the_first_line_on() -> None:
    log = Log()
    log.add(line("connection refused by 10.0.0.1", level="ERROR"))
    (entry,) = log.anomalies
    assert entry.id == "id-0"
    assert entry.is_anomaly
    assert 0.6 <= entry.anomaly_score <= 1
    assert entry.root_causes[0] == "The service that was called is not listening"
    assert entry.recommendations == ("Check that it runs and that address and port are right",)
    assert entry.timestamp == START


def test_errors_that_are_every_days_business_are_no_anomalies() -> None:
    log = Log()
    log.add(*(line(f"job {number} broke", level="ERROR") for number in range(1000)))
    assert 1 <= len(log.anomalies) < 100


def test_ordinary_lines_are_no_anomalies_at_first_and_rare_ones_are_later() -> None:
    log = Log()
    log.add(*(line(f"request {number} served") for number in range(1000)))
    assert log.anomalies == []
    log.add(line("configuration was reloaded"))
    (entry,) = log.anomalies
    assert entry.root_causes == ("First time this kind of line was seen, after 1000 lines of app",)
    log.add(line("configuration was reloaded"))
    assert log.anomalies[1].root_causes == ("INFO of a kind seen in 2 of 1002 lines",)


def test_a_quiet_source_is_not_rare_beside_a_chatty_one() -> None:
    log = Log()
    log.add(*(line(f"request {number} served", source="web") for number in range(2000)))
    log.add(*(line("backup done", source="cron") for _ in range(5)))
    assert log.anomalies == []


def test_the_same_lines_give_the_same_events() -> None:
    lines = [parse_line(text, now=NOW, local=UTC) for text in dpkg_log()]
    one, other = Log(), Log()
    one.add(*lines)
    other.add(*lines)
    assert one.anomalies == other.anomalies
    assert one.alerts == other.alerts


def test_figures() -> None:
    log = Log()
    assert log.analyser.figures() == {"totalLogs": 0, "anomalyCount": 0, "anomalyRate": 0.0, "activeServices": 0}
    log.add(line("x", source="old", at=second(0)), line("x", source="new", at=second(200)))
    assert log.analyser.figures()["activeServices"] == 2
    log.add(line("y", level="CRITICAL", source="new", at=second(301)), line("x", source="new", at=second(301)))
    assert log.analyser.figures() == {"totalLogs": 4, "anomalyCount": 1, "anomalyRate": 0.25, "activeServices": 1}


def test_a_time_in_the_future_counts_as_now() -> None:
    log = Log()
    log.add(line("x", source="a", at=datetime(9999, 1, 1, tzinfo=UTC)), line("x", source="b", at=NOW))
    assert log.analyser.figures()["activeServices"] == 2
    log.add(line("broken", level="CRITICAL", at=None))
    assert log.anomalies[0].timestamp == NOW


def test_a_burst_of_anomalies_is_told_once() -> None:
    log = Log()
    log.add(*(line("fine", at=second(number)) for number in range(100)))
    log.add(*(line(f"{chr(97 + number)} failed", level="CRITICAL", at=second(100)) for number in range(20)))
    assert [alert.severity for alert in log.alerts] == ["error"]
    assert log.alerts[0].message.startswith("A burst of anomalies")
    assert log.alerts[0].timestamp == second(100)


def test_a_burst_needs_a_usual_to_compare_with_and_is_told_once_in_five_minutes() -> None:
    watch = BurstWatch(least=5)
    assert not any(watch.add(second(0)) for _ in range(100))
    assert not any(watch.add(second(number)) for number in range(10, 200))
    assert [watch.add(second(200)) for _ in range(60)].count(True) == 1
    assert not any(watch.add(second(210)) for _ in range(600))
    assert any(watch.add(second(600)) for _ in range(600))


def test_the_usual_fades_over_empty_windows_and_old_times_are_left_out() -> None:
    watch = BurstWatch(least=5)
    for number in range(500):
        watch.add(second(number))
    busy = watch.average
    watch.add(second(5000))
    assert watch.average < busy / 100
    assert not any(watch.add(second(0)) for _ in range(1000))


def test_a_regular_source_that_falls_silent_is_told_once() -> None:
    watch = SilenceWatch()
    for number in range(90):
        watch.add("heart", second(number))
    assert watch.silent(second(115)) == []
    assert watch.silent(second(120)) == [("heart", timedelta(seconds=31))]
    assert watch.silent(second(121)) == []
    watch.add("heart", second(130))
    assert watch.silent(second(131)) == []
    assert watch.silent(second(260)) == [("heart", timedelta(seconds=130))]


def test_the_silence_of_other_sources_is_not_told() -> None:
    watch = SilenceWatch()
    for number in range(100):
        watch.add("at once", second(0))
        watch.add("not for long", second(number * 0.5))
        watch.add("in batches", second(number // 5 * 5))
    for number in range(10):
        watch.add("few lines", second(number * 10))
    for number in range(30):
        watch.add("slow", second(number * 10))
    assert watch.silent(second(380)) == []
    assert [source for source, _ in watch.silent(second(400))] == ["slow"]


def test_sources_remembered_for_silence_are_bounded() -> None:
    watch = SilenceWatch(limit=1)
    for number in range(90):
        watch.add("heart", second(number))
    watch.add("other", second(90))
    assert watch.silent(second(1000)) == []


def test_silence_is_told_of_sources_that_were_followed_live_only() -> None:
    log = Log()
    for number in range(90):
        log.add(line("tick", source="live", at=second(number)), arrived=second(number))
        log.add(line("tick", source="history", at=second(number - 9000)), arrived=second(number))
    (alert,) = log.analyser.watch(second(160))
    assert alert.message == "live spoke regularly and has been silent for 71 s"
    assert alert.severity == "warning"
    assert log.analyser.watch(second(260)) == []


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("upstream timed out", "An operation took longer than it was allowed to"),
        ("Connection refused", "The service that was called is not listening"),
        ("connection was reset by peer", "The other side ended the connection"),
        ("getaddrinfo: Name or service not known", "A host name could not be resolved"),
        ("write: No space left on device", "The disk is full"),
        ("oom-killer invoked", "Memory ran out"),
        ("open: Permission denied", "The process lacks a permission"),
        ("Failed password for root", "Credentials were refused"),
        ("GET /x 502", "A web request failed on the server's side"),
        ("certificate has expired", "A TLS certificate was not accepted"),
        ("foo[12]: segfault at 0", "A program crashed on a memory error"),
        ("Deadlock found", "The database is contended"),
        ("GET /x 429", "A limit was reached"),
        ("Traceback (most recent call last)", "The program met a case that it does not handle"),
        ("status half-configured tar:amd64 1", "A package was in the middle of its installation"),
        ("status triggers-pending tar:amd64 1", "A package waits for the triggers of another"),
        ("remove tar:amd64 1 <none>", "A package was taken off the system"),
        ("dependency problems - leaving unconfigured", "A package could not be installed"),
        ("backup failed", "Something reported a failure"),
    ],
)
def test_known_troubles_are_recognised(message: str, cause: str) -> None:
    assert rules_for(message)[0].cause == cause


def test_every_rule_is_reached_by_a_test() -> None:
    marks = test_known_troubles_are_recognised.pytestmark  # type: ignore[attr-defined]
    assert {cause for _, cause in marks[0].args[1]} == {rule.cause for rule in RULES}


def test_at_most_three_troubles_are_told() -> None:
    assert len(rules_for("timeout, connection refused, no space left, out of memory, permission denied")) == 3
    assert rules_for("all is well") == ()


@settings(max_examples=200)
@given(st.integers(0, 10**9), st.integers(0, 10**9), st.floats(0, 1), st.booleans())
def test_a_score_is_from_0_to_1_and_a_rarer_kind_never_scores_less(
    of_kind: int, more: int, severity: float, ordinary: bool
) -> None:
    rare = rarity(of_kind, of_kind + more, ordinary=ordinary)
    commoner = rarity(of_kind + 1, of_kind + more + 1, ordinary=ordinary)
    assert 0 <= commoner <= rare + 1e-9 <= 1 + 1e-9
    assert 0 <= score_of(severity, rare) <= 1


def test_a_threshold_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"threshold is 1.5"):
        Analyser(threshold=1.5)
