"""What a polling answer says: its two forms, the order of its parts, and that one bad part spoils no other."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from realtime_client._core.answers import PollAnswer, read_answer
from realtime_client._core.codec import Codec
from realtime_client.errors import MalformedMessage
from realtime_client.events import LogEntry, Origin, Pong, StatsUpdate, SystemAlert, UnknownEvent

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LOG = {"id": "1", "message": "m"}
ALERT = {"message": "disk full", "severity": "warning", "timestamp": "2026-01-02T03:00:00Z"}
FIGURES = {"totalLogs": 5}


def read(answer: Any) -> PollAnswer:
    return read_answer(answer, Codec(), received_at=NOW)


def reasons(answer: Any) -> list[str]:
    return [error.reason for error in read(answer).malformed]


def test_an_object_gives_its_parts() -> None:
    found = read({"stats": FIGURES, "logs": [LOG, {"id": "2", "message": "n"}], "alerts": [ALERT]})
    assert found.logs == [LogEntry("1", "m"), LogEntry("2", "n")]
    alert, figures = found.events
    assert alert == SystemAlert(
        "disk full", "warning", timestamp=datetime(2026, 1, 2, 3, tzinfo=UTC), origin=Origin.POLL
    )
    assert figures == StatsUpdate({"total_logs": 5}, origin=Origin.POLL)
    assert alert.received_at == figures.received_at == NOW
    assert found.malformed == []


@pytest.mark.parametrize("answer", [{}, {"stats": None, "logs": None, "alerts": None}, {"other": 1}, []])
def test_each_part_is_optional(answer: Any) -> None:
    assert read(answer) == PollAnswer()


def test_a_list_of_messages_gives_the_same() -> None:
    found = read(
        [
            {"type": "stats_update", "data": {"stats": FIGURES}},
            {"type": "new_anomaly", "data": {"log": LOG}},
            {"type": "system_alert", "data": {"message": "m", "severity": "info"}},
            {"type": "deployed", "data": 7},
            {"type": "pong"},
        ]
    )
    assert [log.id for log in found.logs] == ["1"]
    # What the server says of a figure overwrites, so the figures come last.
    assert found.events == [
        SystemAlert("m", "info", origin=Origin.POLL),
        UnknownEvent(7, type="deployed", origin=Origin.POLL),
        Pong(origin=Origin.POLL),
        StatsUpdate({"total_logs": 5}, origin=Origin.POLL),
    ]
    assert {event.received_at for event in found.events} == {NOW}


def test_a_poller_s_own_types_are_taken_too() -> None:
    assert len(read({"logs": (LOG,), "alerts": (ALERT,)}).logs) == 1
    assert len(read(({"type": "pong"},)).events) == 1


def test_what_is_wrong_with_one_part_spoils_no_other() -> None:
    found = read({"stats": {"totalLogs": "five"}, "logs": [{"id": 1}, LOG], "alerts": [ALERT, {"severity": "info"}, 3]})
    assert [log.id for log in found.logs] == ["1"]
    assert [event.type for event in found.events] == ["system_alert"]
    assert len(found.malformed) == 4
    assert [type(error) for error in found.malformed] == [MalformedMessage] * 4


def test_a_message_that_is_wrong_spoils_no_other() -> None:
    found = read([{"type": "pong"}, 3, {"data": {}}, {"type": "pong"}])
    assert [event.type for event in found.events] == ["pong", "pong"]
    assert len(found.malformed) == 2


@pytest.mark.parametrize("value", [{}, "text", 3, True])
@pytest.mark.parametrize("part", ["logs", "alerts"])
def test_a_part_that_is_no_list_is_named_and_the_others_count(part: str, value: Any) -> None:
    assert reasons({part: value}) == [f"{part} is not a list"]
    assert len(read({part: value, "stats": FIGURES}).events) == 1


@pytest.mark.parametrize(("answer", "kind"), [(None, "NoneType"), ("text", "str"), (3, "int"), (b"{}", "bytes")])
def test_an_answer_of_neither_form_is_refused(answer: Any, kind: str) -> None:
    with pytest.raises(MalformedMessage, match=f"^the answer is a {kind}, neither an object nor a list of messages$"):
        read(answer)
