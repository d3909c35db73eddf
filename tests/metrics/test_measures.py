"""The table of metrics: complete, and named as both worlds name things."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

import attrs
import pytest

from realtime_client import ConnectionState, ConnectionStatus, LaneMetrics, Metrics, Transport
from realtime_client.measures import CLIENT, RELAY, Kind, Measure, Reading
from realtime_client.relay import RelayMetrics, RelayState

ALL = (*CLIENT, *RELAY)


def touched(measures: tuple[Measure, ...], metrics: Any, status: Any) -> set[str]:
    """The fields of the metrics that are read."""
    fields: set[str] = set()

    class Watched:
        def __getattr__(self, name: str) -> Any:
            fields.add(name)
            return getattr(metrics, name)

    for measure in measures:
        list(measure.points(Reading(Watched(), status, 10)))
    return fields


def status(**fields: Any) -> ConnectionStatus:
    return ConnectionStatus(state=ConnectionState.CONNECTED, since=datetime.now(UTC), **fields)


def test_every_figure_of_a_client_is_exported() -> None:
    assert touched(CLIENT, Metrics(), status()) == {field.name for field in attrs.fields(Metrics)}


def test_every_figure_of_a_relay_is_exported() -> None:
    # That it is active is one of its states.
    assert touched(RELAY, RelayMetrics(), RelayState.ACTIVE) == {f.name for f in attrs.fields(RelayMetrics)} - {
        "active"
    }


def test_no_two_have_the_same_name() -> None:
    assert len({measure.name for measure in ALL}) == len({measure.prometheus_name for measure in ALL}) == len(ALL)


@pytest.mark.parametrize("measure", ALL, ids=attrgetter("name"))
def test_names_follow_the_conventions(measure: Measure) -> None:
    assert re.fullmatch(r"realtime_(client|relay)(\.[a-z]+(_[a-z]+)*)+", measure.name)
    assert measure.unit in ("s", "By") or re.fullmatch(r"\{[a-z]+\}", measure.unit)
    # No name is a namespace as well, and the unit and the kind are not part of the name.
    assert not any(other.name.startswith(measure.name + ".") for other in ALL)
    assert not re.search(r"seconds|bytes|total|count", measure.name)
    assert measure.description.endswith(".")
    assert bool(measure.label) == bool(measure.attribute)
    prometheus = measure.prometheus_name
    assert prometheus.endswith("_total") == (measure.kind is Kind.COUNTER)
    assert ("_seconds" in prometheus) == (measure.unit == "s")
    assert ("_bytes" in prometheus) == (measure.unit == "By")


def figures(**fields: Any) -> dict[str, dict[str, float]]:
    reading = Reading(Metrics(**fields), status(transport=Transport.POLLING), 10_000)
    return {measure.name: dict(measure.points(reading)) for measure in CLIENT}


def test_a_state_is_one_of_all_states() -> None:
    found = figures()["realtime_client.connection.status"]
    assert found == {state.value: float(state is ConnectionState.CONNECTED) for state in ConnectionState}
    assert figures()["realtime_client.source.status"]["polling"] == 1
    relay = dict(RELAY[0].points(Reading(RelayMetrics(), RelayState.STANDBY, 1)))
    assert relay == {"stopped": 0, "disconnected": 0, "standby": 1, "active": 0}


def test_what_is_not_known_has_no_figure() -> None:
    assert figures()["realtime_client.heartbeat.latency"] == {}
    assert figures()["realtime_client.last_message.timestamp"] == {}
    assert figures(latency=0.25)["realtime_client.heartbeat.latency"] == {"": 0.25}


def test_side_buffers_are_added_up() -> None:
    def lane(name: str, waiting: int, dropped: Mapping[str, int]) -> LaneMetrics:
        return LaneMetrics(name=name, waiting=waiting, dropped=dropped)

    lanes = lane("a", 2, {"closed": 1, "drop_oldest": 5}), lane("b", 3, {"closed": 10})
    found = figures(lanes=lanes, dropped={"drop_oldest": 7})
    assert found["realtime_client.side_buffers.waiting.events"] == {"": 5}
    assert found["realtime_client.side_buffers.dropped.events"] == {
        "closed": 11,
        "drop_oldest": 5,
        "drop_newest": 0,
        "cancelled": 0,
    }
    assert found["realtime_client.dropped.events"] == {"drop_oldest": 7, "drop_newest": 0, "closed": 0}
