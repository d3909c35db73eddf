"""What the client says of itself: frozen values and what is derived from them."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

import realtime_client
from realtime_client import status
from realtime_client.errors import ConnectError
from realtime_client.events import FrozenMapping
from realtime_client.status import (
    ConnectionState,
    ConnectionStatus,
    Gap,
    LaneMetrics,
    Metrics,
    Notification,
    RetryDecision,
    StatusChange,
    Transport,
)

NOW = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)
IDLE = ConnectionStatus(state=ConnectionState.IDLE, since=NOW)

EXAMPLES: dict[type[Any], Any] = {
    ConnectionStatus: IDLE,
    StatusChange: StatusChange(IDLE, attrs.evolve(IDLE, state=ConnectionState.CONNECTING)),
    Notification: Notification(level="info", title="t", message="m", kind="closed", at=NOW),
    Gap: Gap(since=NOW, until=NOW),
    RetryDecision: RetryDecision("retry", at_least=1.0, spread=(5.0, 30.0)),
    LaneMetrics: LaneMetrics(name="main", dropped=FrozenMapping({"closed": 2})),
    Metrics: Metrics(dropped=FrozenMapping({"closed": 2}), lanes=(LaneMetrics(name="page"),)),
}
CLASSES = sorted(EXAMPLES, key=lambda cls: cls.__name__)


def test_every_value_class_has_an_example() -> None:
    public = {getattr(status, name) for name in status.__all__}
    assert set(EXAMPLES) == public - {ConnectionState, Transport}


@pytest.mark.parametrize("name", status.__all__)
def test_every_name_is_public(name: str) -> None:
    assert getattr(realtime_client, name) is getattr(status, name)


@pytest.mark.parametrize("cls", CLASSES)
def test_it_is_frozen(cls: type[Any]) -> None:
    for field in attrs.fields(cls):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(EXAMPLES[cls], field.name, None)


@pytest.mark.parametrize("cls", CLASSES)
def test_it_can_be_pickled(cls: type[Any]) -> None:
    assert pickle.loads(pickle.dumps(EXAMPLES[cls])) == EXAMPLES[cls]


def test_a_status_with_an_error_can_be_pickled() -> None:
    failed = attrs.evolve(IDLE, last_error=ConnectError("no such host", url="ws://h/"))
    again = pickle.loads(pickle.dumps(failed))
    assert str(again.last_error) == "no such host"
    assert again.last_error.url == "ws://h/"
    assert attrs.evolve(again, last_error=None) == IDLE


def test_states() -> None:
    names = ["IDLE", "CONNECTING", "CONNECTED", "RECONNECTING", "UNAVAILABLE", "FAILED", "CLOSED"]
    assert [state.name for state in ConnectionState] == names
    assert all(state.value == state.name.lower() for state in ConnectionState)


def test_transports() -> None:
    assert {transport.name for transport in Transport} == {"WEBSOCKET", "POLLING", "REDIS", "REPLAY", "NONE"}
    assert all(transport.value == transport.name.lower() for transport in Transport)


@pytest.mark.parametrize("state", ConnectionState)
def test_connected_in_one_state_alone(state: ConnectionState) -> None:
    assert attrs.evolve(IDLE, state=state).connected == (state is ConnectionState.CONNECTED)


def test_a_status_knows_only_what_it_was_told() -> None:
    assert attrs.asdict(IDLE) == {
        "state": ConnectionState.IDLE,
        "since": NOW,
        "connecting": False,
        "reconnect_attempts": 0,
        "max_reconnect_attempts": None,
        "transport": Transport.NONE,
        "last_error": None,
        "last_message_at": None,
        "next_retry_at": None,
        "latency": None,
    }


def test_status_to_dict_is_json_ready() -> None:
    full = ConnectionStatus(
        state=ConnectionState.UNAVAILABLE,
        since=NOW,
        connecting=True,
        reconnect_attempts=5,
        max_reconnect_attempts=5,
        transport=Transport.POLLING,
        last_error=ConnectError("no such host"),
        last_message_at=NOW,
        next_retry_at=NOW,
        latency=0.25,
    )
    as_dict = full.to_dict()
    assert as_dict == {
        "state": "unavailable",
        "since": "2024-05-01T12:00:00Z",
        "connecting": True,
        "connected": False,
        "reconnect_attempts": 5,
        "max_reconnect_attempts": 5,
        "transport": "polling",
        "last_error": "no such host",
        "last_message_at": "2024-05-01T12:00:00Z",
        "next_retry_at": "2024-05-01T12:00:00Z",
        "latency": 0.25,
    }
    assert json.loads(json.dumps(as_dict)) == as_dict
    assert IDLE.to_dict()["last_error"] is None


def test_defaults() -> None:
    assert RetryDecision() == RetryDecision(action="retry", at_least=None, spread=None)
    assert EXAMPLES[Notification].count == 1
    assert (EXAMPLES[Gap].recovered, EXAMPLES[Gap].complete) == (0, False)


def test_metrics_begin_at_zero() -> None:
    counters = attrs.asdict(Metrics(), recurse=False)
    assert counters.pop("latency") is None
    assert counters.pop("dropped") == {}
    assert counters.pop("lanes") == ()
    assert set(counters.values()) == {0}


def test_queue_depth_is_what_waits() -> None:
    assert Metrics(waiting=3).queue_depth == 3
