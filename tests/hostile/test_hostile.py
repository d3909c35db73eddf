"""Every hostile input of the table, against a real client over a real socket; and that the table would notice.

What is proved elsewhere, end to end, and not repeated here: credentials at no other origin
(``tests/outages/test_retry_policy.py``, ``test_no_redirect_carries_credentials``), the renewal of a callable token
(there too), the whole list of malformed messages on one connection (``tests/client/test_malformed.py``), and that
silent, dripping and endless handshakes are given up by default settings too (``tests/defaults/test_handshakes.py``).
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from realtime_client._core.handshake import Headers, Request
from tests.hostile.__main__ import Tally, main
from tests.hostile.authority import Authority
from tests.hostile.case import ROOM, Asked, Case, Expected, Then, event, lives
from tests.hostile.comparison import Verdict, as_json, as_markdown, compare, judge
from tests.hostile.meeting import Meeting
from tests.hostile.play import AFTER_IN_ENGINE_IO, Played, faults, in_engine_io, play, play_fairly
from tests.hostile.server import Heard, HostileServer
from tests.hostile.subject import Subject
from tests.hostile.table import KINDS, TABLE

ASKED = Asked(key="dGhlIHNhbXBsZSBub25jZQ==", port=1)
REQUEST = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
BY_NAME = {case.name: case for case in TABLE}

LISTED = {
    "handshake": (
        "wrong accept key",
        "accept key in another letter case",
        "letter case",
        "status line",
        "duplicate headers",
        "missing headers",
        "header flood",
        "endless header",
        "unasked extension",
        "unasked subprotocol",
        "NUL",
        "folded lines",
        "non-UTF-8",
        "1xx before",
        "2xx",
        "3xx",
        "4xx",
        "5xx",
        "body instead of upgrade",
        "silence",
        "dripping",
    ),
    "tls": ("TLS versions", "self-signed", "unknown CA", "wrong host", "expired"),
    "frames": (
        "masked",
        "reserved bits",
        "reserved opcodes",
        "fragmented control frames",
        "long control frames",
        "non-minimal lengths",
        "over-large lengths",
        "invalid close codes",
        "one-byte close body",
        "non-UTF-8 close body",
        "data after close",
    ),
    "sizes": (
        "2^40 header",
        "300 MB text",
        "300 MB text in fragments",
        "a million one-byte fragments",
        "deflate bombs",
    ),
    "json": ("depth", "huge numbers", "duplicate keys", "lone surrogates", "NaN"),
}
"""What a table of hostile inputs has to have, by kind and group."""


@pytest.fixture(scope="module")
def authority() -> Iterator[Authority]:
    with Authority() as authority:
        yield authority


@pytest.fixture(scope="module")
def subject() -> Iterator[Subject]:
    with Subject("realtime_client") as subject:
        yield subject


# The table


def test_the_table_has_every_kind_of_input() -> None:
    assert len(BY_NAME) == len(TABLE) >= 120
    groups = {kind: {case.group for case in TABLE if case.kind == kind} for kind in KINDS}
    assert {kind: set(listed) - groups[kind] for kind, listed in LISTED.items()} == {kind: set() for kind in KINDS}
    for code in (0, 999, 1004, 1005, 1006, 1015, 5000):
        assert BY_NAME[f"frames: close code {code}"].expected.code == 1002


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
def test_hostile(case: Case, subject: Subject, authority: Authority) -> None:
    assert faults(case, play_fairly(case, subject, authority)) == []


# That it would notice

CASE = BY_NAME["frames: opcode 3"]
GOOD = Played(
    Meeting(
        then="RECOVERS",
        error="ProtocolError",
        message="the server broke the protocol: reserved opcode 3",
        code=1002,
        delivered=["before", "again"],
    ),
    [Heard(close_code=1002), Heard(close_code=1000)],
    alone=True,
)


def test_what_is_as_expected_has_no_faults() -> None:
    assert faults(CASE, GOOD) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"then": "STOPS"}, "the client STOPS"),
        ({"error": "ConnectionLost"}, "error ConnectionLost"),
        ({"message": "something"}, "it says"),
        ({"code": 1006}, "the error's code is 1006"),
        ({"malformed": 1}, "1 malformed"),
        ({"delivered": ["before", "after"]}, "behind what is refused"),
        ({"delivered": ["again"]}, "of the messages before what is hostile 0 were delivered, not 1"),
        ({"seconds": 1.1}, "the verdict took"),
        ({"peak": CASE.limit + ROOM + 1}, "bytes of memory"),
        ({"left": ["rtc-hostile-reader-1"]}, "left behind: ['rtc"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_a_client_does_otherwise_is_a_fault(change: dict[str, Any], words: str) -> None:
    (fault,) = faults(CASE, attrs.evolve(GOOD, meeting=attrs.evolve(GOOD.meeting, **change)))
    assert words in fault


@pytest.mark.parametrize(
    ("heard", "alone", "words"),
    [
        ([Heard(close_code=1000), Heard()], True, "closed with [1000], expected 1002"),
        ([Heard(close_code=1002)], True, "1 attempts, expected 2"),
        ([Heard(close_code=1002), Heard(), Heard()], True, "3 attempts, expected 2"),
        ([Heard(close_code=1002, nonsense="reserved bit set"), Heard()], True, "the client broke the protocol"),
        ([Heard(close_code=1002), Heard()], False, "left behind: a connection"),
    ],
)
def test_what_a_server_hears_otherwise_is_a_fault(heard: list[Heard], alone: bool, words: str) -> None:
    (fault,) = faults(CASE, attrs.evolve(GOOD, heard=heard, alone=alone))
    assert words in fault


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("frames: opcode 3", lives()),
        ("json: nothing", lives()),
        ("handshake: 404", attrs.evolve(BY_NAME["handshake: 404"].expected, then=Then.RECOVERS)),
        ("handshake: Connection: close", attrs.evolve(BY_NAME["handshake: Connection: close"].expected, words="NUL")),
    ],
)
def test_a_wrong_expectation_does_not_pass(
    name: str, expected: Expected, subject: Subject, authority: Authority
) -> None:
    case = attrs.evolve(BY_NAME[name], expected=expected)
    assert faults(case, play(case, subject, authority)) != []


def test_memory_is_measured(subject: Subject, authority: Authority) -> None:
    """A client that may take a message of 40 MiB takes them."""
    case = attrs.evolve(BY_NAME["sizes: as much as the default allows"], name="sizes: 40 MiB")
    big = attrs.evolve(
        BY_NAME["sizes: 300 MB of text in fragments of 64 KiB"], options={"max_message_bytes": 40 * 1024 * 1024}
    )
    small, large = play(case, subject, authority).meeting.peak, play(big, subject, authority).meeting.peak
    assert small < 20 * 1024 * 1024
    assert 40 * 1024 * 1024 < large < 60 * 1024 * 1024


# The comparison


@pytest.mark.parametrize(
    ("name", "meeting", "heard", "verdict"),
    [
        ("frames: opcode 3", Meeting(then="REFUSED"), [Heard(close_code=1002)], Verdict.RIGHT),
        ("frames: opcode 3", Meeting(then="REFUSED"), [Heard(close_code=1000)], Verdict.WRONG_CODE),
        ("frames: opcode 3", Meeting(then="REFUSED"), [Heard()], Verdict.WRONG_CODE),
        ("frames: opcode 3", Meeting(then="LIVES", delivered=["after"]), [Heard()], Verdict.ACCEPTED),
        ("frames: opcode 3", Meeting(), [Heard()], Verdict.HUNG),
        ("frames: opcode 3", Meeting(), [Heard(close_code=1002)], Verdict.UNTOLD),
        ("frames: opcode 3", Meeting(then="REFUSED", peak=2**30), [Heard(close_code=1002)], Verdict.MEMORY),
        ("frames: 5,000 pings", Meeting(then="LIVES", delivered=["after"]), [Heard()], Verdict.RIGHT),
        ("frames: 5,000 pings", Meeting(then="REFUSED"), [Heard()], Verdict.TOO_STRICT),
        ("frames: 5,000 pings", Meeting(), [Heard()], Verdict.HUNG),
        ("handshake: 404", Meeting(then="REFUSED"), [Heard()], Verdict.RIGHT),
        ("handshake: 404", Meeting(), [Heard()], Verdict.HUNG),
        (
            "handshake: a redirect to another host",
            Meeting(then="REFUSED"),
            [Heard(), Heard(request=Request("GET", "/ws", Headers([("Authorization", "x")])))],
            Verdict.ACCEPTED,
        ),
    ],
)
def test_verdicts(name: str, meeting: Meeting, heard: list[Heard], verdict: Verdict) -> None:
    assert judge(BY_NAME[name], Played(meeting, heard, alone=True)) is verdict


def test_the_comparison_plays_the_same_cases_with_the_peers() -> None:
    names = [
        "handshake: an accept key in lower case",
        "handshake: Connection with more than is due",
        "frames: text, masked",
        "sizes: one byte too much",
    ]
    told: list[str] = []
    rows = compare([BY_NAME[name] for name in names], told.append)
    assert [(row.client, row.kind) for row in rows] == [
        *itertools.product(("realtime_client", "WebSocketApp", "websockets.sync"), ("handshake", "frames", "sizes")),
        ("python-socketio", "handshake"),
    ]
    assert [len(row.verdicts) for row in rows] == [2, 1, 1] * 3 + [2]
    ours, of_socketio = rows[:3], rows[-1]
    assert all({*row.verdicts.values()} == {Verdict.RIGHT} for row in ours)
    assert (
        of_socketio.verdicts["handshake: Connection with more than is due"] is Verdict.RIGHT
    )  # it accepts what is valid
    assert not any(line.startswith("realtime_client") for line in told)
    assert len(as_markdown(rows).splitlines()) == 14
    assert [row["counts"]["right"] for row in as_json(rows)["rows"][:3]] == [2, 1, 1]


def test_for_engine_io_good_messages_are_packets() -> None:
    for case in TABLE:
        if case.kind == "handshake" and case.expected.then is Then.LIVES:
            said = b"".join(step for step in in_engine_io(case).speech(ASKED) if isinstance(step, bytes))
            assert AFTER_IN_ENGINE_IO in said, case.name
            assert event("after") not in said, case.name


# The command


def test_a_slow_verdict_counts_by_its_share_of_the_time_allowed() -> None:
    tally = Tally()
    slow = attrs.evolve(CASE, name="frames: slow", expected=attrs.evolve(CASE.expected, within=10))
    slower = attrs.evolve(CASE, name="frames: slower", expected=attrs.evolve(CASE.expected, within=3))
    for case, seconds in ((CASE, 0.2), (CASE, 0.1), (slow, 4.0), (slower, 2.0), (slow, 5.0)):
        tally.add(case, attrs.evolve(GOOD, meeting=attrs.evolve(GOOD.meeting, seconds=seconds)), well=True)
    assert (tally.cases, tally.as_expected, tally.slowest_verdict) == (5, 5, 0.2)
    assert tally.slow == ("frames: slower", 2.0, 3)


def test_only_a_whole_run_goes_into_the_documentation(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--docs"], ["--docs", "--peers", "--only", "frames"]):
        with pytest.raises(SystemExit):
            main(arguments)
    assert "--docs wants the whole" in capsys.readouterr().err


def test_a_choice_of_cases_leaves_the_documentation_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.hostile.__main__.keep", lambda *_: pytest.fail("the documentation is written"))
    assert main(["--only", "frames: opcode 3"]) == 0


def test_who_asks_for_no_websocket_is_a_stranger_and_does_not_count(authority: Authority) -> None:
    with HostileServer(CASE, authority) as server:
        for request in (b"GET / HTTP/1.1\r\nHost: elsewhere\r\n\r\n", REQUEST):
            with socket.create_connection(("127.0.0.1", server.port)) as sock:
                sock.sendall(request)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(4096):
                    pass
        assert server.wait_for_silence(20)
        (heard,) = server.heard
    assert heard.request is not None
    assert heard.request.path == "/ws"
