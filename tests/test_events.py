"""The event classes: frozen, picklable, compared by content, and the wire's naming in ``to_dict``."""

from __future__ import annotations

import copy
import enum
import json
import pickle
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import realtime_client
from realtime_client import events
from realtime_client.events import (
    EMPTY,
    ENVELOPE,
    FIGURES,
    ConnectionEstablished,
    Event,
    FrozenMapping,
    LogEntry,
    NewAnomaly,
    Origin,
    Pong,
    StatsUpdate,
    SystemAlert,
    UnknownEvent,
    camel,
    wire_value,
)

SENT = datetime(2024, 5, 1, 12, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=2)))
READ = datetime(2024, 5, 1, 10, 0, 1, tzinfo=UTC)

LOG = LogEntry(
    "log-1",
    "disk full",
    timestamp=SENT,
    level="ERROR",
    source="db",
    is_anomaly=False,
    anomaly_score=0.9,
    root_causes=("a",),
    recommendations=("b", "c"),
    extra=FrozenMapping({"trace_id": "t", "nested": FrozenMapping({"snake_key": (1, 2)})}),
)
LOG_ON_THE_WIRE = {
    "id": "log-1",
    "message": "disk full",
    "timestamp": "2024-05-01T10:00:00.250000Z",
    "level": "ERROR",
    "source": "db",
    "isAnomaly": False,
    "anomalyScore": 0.9,
    "rootCauses": ["a"],
    "recommendations": ["b", "c"],
    "trace_id": "t",
    "nested": {"snake_key": [1, 2]},
}
STATS = FrozenMapping({"total_logs": 5, "anomaly_rate": 0.5, "requests_per_second": 7, "p99": None})

# Each class: an event of it, the type it has on the wire, and its data there.
EXAMPLES: dict[type[Event], tuple[Event, str, Any]] = {
    NewAnomaly: (NewAnomaly(LOG), "new_anomaly", {"log": LOG_ON_THE_WIRE}),
    StatsUpdate: (
        StatsUpdate(STATS),
        "stats_update",
        {"stats": {"totalLogs": 5, "anomalyRate": 0.5, "requests_per_second": 7, "p99": None}},
    ),
    SystemAlert: (
        SystemAlert("reboot", "critical"),
        "system_alert",
        {"message": "reboot", "severity": "critical"},
    ),
    ConnectionEstablished: (ConnectionEstablished({"server": "s"}), "connection_established", {"server": "s"}),
    Pong: (Pong([1]), "pong", [1]),
    UnknownEvent: (UnknownEvent({"some_key": {"x": 1}}, type="deploy"), "deploy", {"some_key": {"x": 1}}),
    Event: (Event(type="bare"), "bare", None),
}
CLASSES = sorted(EXAMPLES, key=lambda cls: cls.__name__)


def example(cls: type[Event]) -> Event:
    return attrs.evolve(EXAMPLES[cls][0], timestamp=SENT, received_at=READ, origin=Origin.POLL)


def test_every_event_class_has_an_example() -> None:
    public = [getattr(events, name) for name in events.__all__]
    assert set(EXAMPLES) == {cls for cls in public if isinstance(cls, type) and issubclass(cls, Event)}


@pytest.mark.parametrize("name", ["LogEntry", "Origin", *(cls.__name__ for cls in CLASSES)])
def test_every_class_is_public(name: str) -> None:
    assert getattr(realtime_client, name) is getattr(events, name)


# Each class


@pytest.mark.parametrize("cls", CLASSES)
def test_type_on_the_wire(cls: type[Event]) -> None:
    assert EXAMPLES[cls][0].type == EXAMPLES[cls][1]


@pytest.mark.parametrize("cls", CLASSES)
def test_an_event_made_by_hand(cls: type[Event]) -> None:
    event = EXAMPLES[cls][0]
    assert (event.timestamp, event.received_at, event.origin) == (None, None, Origin.STREAM)


@pytest.mark.parametrize("cls", [*CLASSES, LogEntry])
def test_it_is_frozen(cls: type[Any]) -> None:
    value: Any = LOG if cls is LogEntry else example(cls)
    for field in attrs.fields(cls):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(value, field.name, None)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        value.anything = 1
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        del value.type


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_can_be_pickled(cls: type[Event], protocol: int) -> None:
    event = example(cls)
    again = pickle.loads(pickle.dumps(event, protocol))
    assert type(again) is cls
    assert again == event
    assert again.received_at == event.received_at


@pytest.mark.parametrize("cls", CLASSES)
def test_it_can_be_copied(cls: type[Event]) -> None:
    assert copy.deepcopy(example(cls)) == example(cls)


@pytest.mark.parametrize("cls", CLASSES)
def test_to_dict_is_the_envelope_in_the_wires_naming(cls: type[Event]) -> None:
    _, wire_type, data = EXAMPLES[cls]
    expected = {
        "type": wire_type,
        "timestamp": "2024-05-01T10:00:00.250000Z",
        "receivedAt": "2024-05-01T10:00:01Z",
        "origin": "poll",
    }
    if data is not None:
        expected["data"] = data
    assert example(cls).to_dict() == expected


@pytest.mark.parametrize("cls", CLASSES)
def test_to_dict_is_json_ready(cls: type[Event]) -> None:
    as_dict = example(cls).to_dict()
    assert json.loads(json.dumps(as_dict, allow_nan=False)) == as_dict


@pytest.mark.parametrize("cls", CLASSES)
def test_an_event_is_compared_by_content_and_not_by_when_it_was_read(cls: type[Event]) -> None:
    event = example(cls)
    assert attrs.evolve(event, received_at=None) == event
    assert attrs.evolve(event, timestamp=None) != event
    assert attrs.evolve(event, origin=Origin.REPLAY) != event
    assert attrs.evolve(event, type="other") != event


def test_events_of_different_classes_are_different() -> None:
    pong: Event = Pong(1)
    assert pong != UnknownEvent(1, type="pong")


def test_the_empty_greeting_and_answer_carry_no_data() -> None:
    for event in (ConnectionEstablished(), Pong(), UnknownEvent(type="x")):
        assert event.to_dict() == {"type": event.type, "timestamp": None, "receivedAt": None, "origin": "stream"}


def test_the_envelope_is_what_every_event_has() -> None:
    assert {"type", "timestamp", "received_at", "origin"} == ENVELOPE


def test_defaults() -> None:
    assert SystemAlert("reboot").severity == "error"
    assert LogEntry("1", "m") == LogEntry(
        id="1",
        message="m",
        timestamp=None,
        level="UNKNOWN",
        source="",
        is_anomaly=True,
        anomaly_score=0.0,
        root_causes=(),
        recommendations=(),
        extra=EMPTY,
    )


def test_origins() -> None:
    assert {origin.name: origin.value for origin in Origin} == {
        "STREAM": "stream",
        "POLL": "poll",
        "REDIS": "redis",
        "REPLAY": "replay",
    }


def test_an_event_class_of_ones_own() -> None:
    @attrs.frozen(slots=False)
    class DeployFinished(Event):
        service_name: str
        finished_at: datetime
        hosts: frozenset[str] = frozenset()

    event = DeployFinished("api", SENT, frozenset({"h"}), type="deploy_finished")
    assert event.data_to_dict() == {
        "serviceName": "api",
        "finishedAt": "2024-05-01T10:00:00.250000Z",
        "hosts": ["h"],
    }


# Logs


def test_a_log_in_the_wires_naming_with_its_further_keys_beside() -> None:
    assert LOG.to_dict() == LOG_ON_THE_WIRE


def test_a_further_key_does_not_hide_one_of_the_logs_own() -> None:
    log = LogEntry("1", "m", extra=FrozenMapping({"id": "other", "isAnomaly": "no"}))
    assert (log.to_dict()["id"], log.to_dict()["isAnomaly"]) == ("1", True)


# Naming and values


@pytest.mark.parametrize(
    ("name", "wire"),
    [("id", "id"), ("is_anomaly", "isAnomaly"), ("root_causes", "rootCauses"), ("a_b_c", "aBC"), ("", "")],
)
def test_camel(name: str, wire: str) -> None:
    assert camel(name) == wire


def test_figures() -> None:
    assert dict(FIGURES) == {"total_logs": int, "anomaly_count": int, "anomaly_rate": float, "active_services": int}
    with pytest.raises(TypeError):
        FIGURES["more"] = int  # type: ignore[index]


class Colour(enum.Enum):
    RED = "red"


@attrs.frozen
class Nested:
    some_field: Any


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (None, None),
        (True, True),
        ("text", "text"),
        (SENT, "2024-05-01T10:00:00.250000Z"),
        (READ, "2024-05-01T10:00:01Z"),
        (Colour.RED, "red"),
        (FrozenMapping({"keep_me": (1, Colour.RED)}), {"keep_me": [1, "red"]}),
        ({1: 2}, {"1": 2}),
        ((1, [2, {"a": READ}]), [1, [2, {"a": "2024-05-01T10:00:01Z"}]]),
        (frozenset({1}), [1]),
        (Nested(Nested(1)), {"someField": {"someField": 1}}),
    ],
)
def test_wire_value(value: Any, wire: Any) -> None:
    assert wire_value(value) == wire
    assert type(wire_value(value)) is type(wire)


# The read-only mapping


def test_a_frozen_mapping_is_a_mapping() -> None:
    mapping = FrozenMapping({"a": 1, "b": 2})
    assert mapping == {"a": 1, "b": 2}
    assert mapping != {"a": 1}
    assert list(mapping) == ["a", "b"]
    assert len(mapping) == 2
    assert mapping.get("c") is None
    assert repr(mapping) == "{'a': 1, 'b': 2}"
    with pytest.raises(KeyError):
        mapping["c"]


def test_a_frozen_mapping_cannot_be_changed() -> None:
    source = {"a": 1}
    mapping = FrozenMapping(source)
    source["a"] = 2
    assert mapping == {"a": 1}
    with pytest.raises(TypeError):
        mapping["a"] = 2  # type: ignore[index]
    with pytest.raises(TypeError):
        del mapping["a"]  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        mapping.extra = 1  # type: ignore[attr-defined]


@settings(deadline=None)
@given(st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.integers())))
def test_a_frozen_mapping_survives_pickling_and_hashes_like_its_equals(items: dict[str, Any]) -> None:
    mapping = FrozenMapping(items)
    again = pickle.loads(pickle.dumps(mapping))
    assert type(again) is FrozenMapping
    assert again == mapping == items
    assert hash(again) == hash(mapping) == hash(FrozenMapping(dict(reversed(items.items()))))


def test_the_empty_mapping() -> None:
    assert FrozenMapping() == FrozenMapping(None) == EMPTY == {}
