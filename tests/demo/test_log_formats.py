from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_client.demo import ParsedLine, parse_line

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LEVELS = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}


def parsed(text: str) -> ParsedLine:
    return parse_line(text, now=NOW, source="file", local=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "<34>Oct 11 22:14:15 mymachine su[12]: 'su root' failed for lonvick on /dev/pts/8",
            ParsedLine(at("2025-10-11T22:14:15"), "CRITICAL", "su", "'su root' failed for lonvick on /dev/pts/8"),
            id="rfc3164",
        ),
        pytest.param(
            "Feb  5 17:32:18 host cron: session opened",
            ParsedLine(at("2026-02-05T17:32:18"), "INFO", "cron", "session opened"),
            id="rfc3164 in a file, this year",
        ),
        pytest.param(
            "Feb 29 10:00:00 host kernel: error: link is down",
            ParsedLine(at("2024-02-29T10:00:00"), "ERROR", "kernel", "error: link is down"),
            id="rfc3164 leap day",
        ),
        pytest.param(
            "<165>1 2003-10-11T22:14:15.003+02:00 host evntslog 42 ID47 "
            '[ex@1 iut="3" text="a \\" ] b"][ex@2 a="b"] An event',
            ParsedLine(at("2003-10-11T20:14:15.003"), "INFO", "evntslog", "An event"),
            id="rfc5424 with structured data",
        ),
        pytest.param(
            "<11>1 - host - - - - text",
            ParsedLine(None, "ERROR", "host", "text"),
            id="rfc5424 with nothing given",
        ),
        pytest.param(
            "2026-01-02T03:04:05.678901+01:00 host sshd[99]: Failed password for root",
            ParsedLine(at("2026-01-02T02:04:05.678901"), "INFO", "sshd", "Failed password for root"),
            id="syslog with an iso time",
        ),
        pytest.param(
            '{"time": "2026-01-02T03:04:05Z", "level": "warn", "msg": "slow", "logger": "shop"}',
            ParsedLine(at("2026-01-02T03:04:05"), "WARNING", "shop", "slow"),
            id="json",
        ),
        pytest.param(
            '{"@timestamp": 1767323045000, "severity": "FATAL", "message": "down", "service": "db"}',
            ParsedLine(at("2026-01-02T03:04:05"), "CRITICAL", "db", "down"),
            id="json in milliseconds",
        ),
        pytest.param(
            '{"ts": 1767323045.5, "level": 50, "msg": "numbers"}',
            ParsedLine(at("2026-01-02T03:04:05.5"), "ERROR", "file", "numbers"),
            id="json in seconds, level as a number",
        ),
        pytest.param(
            '{"level": true, "ts": "soon", "msg": "odd types"}',
            ParsedLine(None, "INFO", "file", "odd types"),
            id="json with odd types",
        ),
        pytest.param(
            '{"no": "message"}',
            ParsedLine(None, "INFO", "file", '{"no": "message"}'),
            id="json that is no log is plain",
        ),
        pytest.param(
            '127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /a.gif?x=1 HTTP/1.0" 200 2326 "http://r/" "Mozilla"',
            ParsedLine(at("2000-10-10T20:55:36"), "INFO", "file", "GET /a.gif 200"),
            id="access, combined",
        ),
        pytest.param(
            '::1 - - [10/Oct/2000:13:55:36 +0000] "POST /pay HTTP/2.0" 502 -',
            ParsedLine(at("2000-10-10T13:55:36"), "ERROR", "file", "POST /pay 502"),
            id="access, common, 5xx",
        ),
        pytest.param(
            '::1 - - [10/Oct/2000:13:55:36 +0000] "\\x16\\x03\\"" 400 0',
            ParsedLine(at("2000-10-10T13:55:36"), "WARNING", "file", '\\x16\\x03\\" 400'),
            id="access, 4xx, no http",
        ),
        pytest.param(
            "2026/01/02 03:04:05 [crit] 12#34: *5 connect() failed",
            ParsedLine(at("2026-01-02T03:04:05"), "CRITICAL", "nginx", "connect() failed"),
            id="nginx error",
        ),
        pytest.param(
            "2024-01-01 10:00:00,123 ERROR shop.cart: it broke",
            ParsedLine(at("2024-01-01T10:00:00.123"), "ERROR", "shop.cart", "it broke"),
            id="python, level first",
        ),
        pytest.param(
            "2024-01-01 10:00:00,123 - shop.cart - WARNING - a - b: c",
            ParsedLine(at("2024-01-01T10:00:00.123"), "WARNING", "shop.cart", "a - b: c"),
            id="python, name first",
        ),
        pytest.param(
            "ERROR:shop.cart:it broke",
            ParsedLine(None, "ERROR", "shop.cart", "it broke"),
            id="python, basicConfig",
        ),
        pytest.param(
            "2026-02-16 23:03:12 status installed foo:amd64 1.0",
            ParsedLine(at("2026-02-16T23:03:12"), "INFO", "dpkg", "status installed foo:amd64 1.0"),
            id="dpkg",
        ),
        pytest.param(
            "[2026-02-16 23:03:12] fatal: cannot open",
            ParsedLine(at("2026-02-16T23:03:12"), "CRITICAL", "file", "fatal: cannot open"),
            id="plain with time and level",
        ),
        pytest.param("hello", ParsedLine(None, "INFO", "file", "hello"), id="plain"),
        pytest.param("", ParsedLine(None, "INFO", "file", ""), id="empty"),
        pytest.param(
            "x" * 80 + " error", ParsedLine(None, "INFO", "file", "x" * 80 + " error"), id="level word far away"
        ),
        pytest.param("terrors", ParsedLine(None, "INFO", "file", "terrors"), id="level inside a word"),
    ],
)
def test_each_format_is_recognised(text: str, expected: ParsedLine) -> None:
    assert parsed(text) == expected


def test_a_syslog_time_is_of_the_latest_year_that_is_not_in_the_future() -> None:
    new_year = datetime(2026, 1, 1, 0, 5, tzinfo=UTC)
    line = parse_line("Dec 31 23:59:59 host app: x", now=new_year, local=UTC)
    assert line.timestamp == at("2025-12-31T23:59:59")


def test_a_time_without_a_zone_is_local() -> None:
    line = parse_line("2026-01-02 03:04:05 status installed a 1", now=NOW, local=timezone(timedelta(hours=2)))
    assert line.timestamp == at("2026-01-02T01:04:05")
    machine = datetime(2026, 1, 2, 3, 4, 5).astimezone(UTC)
    assert parse_line("2026-01-02 03:04:05 status installed a 1", now=NOW).timestamp == machine


@pytest.mark.parametrize(
    "text",
    [
        "2026-13-45 03:04:05 ERROR a: b",
        "0001-01-01 00:00:00 ERROR a: b",
        "1969-12-31 00:00:00 ERROR a: b",
        '{"ts": 0, "level": "error", "msg": "b"}',
        '{"ts": "0001-01-01T00:00:01Z", "level": "error", "msg": "b"}',
    ],
)
def test_a_time_that_no_log_is_from_is_none(text: str) -> None:
    line = parse_line(text, now=NOW, local=timezone(timedelta(hours=14)))
    assert line.timestamp is None
    assert line.level == "ERROR"


def test_control_characters_and_direction_marks_are_replaced() -> None:
    assert parsed("ERROR:a:\x1b[31mred\u202e\tx").message == "\ufffd[31mred\ufffd x"
    assert "\x1b" not in parsed('{"msg": "\\u001b[2J", "logger": "\\u0007"}').message


def test_lengths_are_cut() -> None:
    line = parsed(f"ERROR:{'s' * 500}:{'m' * 10_000}")
    assert len(line.source) == 100
    assert len(line.message) == 4096


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.text(),
        st.from_regex(
            r'\A<\d{1,4}>[ -~]{0,40}\Z|\A\{"[ -~]{0,40}\Z|\A\d{4}[-/]\d\d[-/]\d\d \d\d:\d\d:\d\d[ -~]{0,30}\Z'
        ),
        st.from_regex(r'\A\S+ \S+ \S+ \[\d\d/[A-Z][a-z][a-z]/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "[ -~]{0,9}" \d{3} -\Z'),
    )
)
def test_no_line_raises(text: str) -> None:
    line = parsed(text)
    assert line.level in LEVELS
    assert line.timestamp is None or line.timestamp.utcoffset() == timedelta(0)
    assert not any(ord(character) < 32 for character in line.message + line.source)
