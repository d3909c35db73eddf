"""A relay's health and metrics over HTTP."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from realtime_client.demo import FeedServer
from realtime_client.integrations.prometheus import RealtimeCollector
from realtime_client.relay import Relay, RelayState
from realtime_client.relay.endpoint import Endpoint, exposition
from tests.outages.processes import in_child
from tests.relay.servers import PATIENCE, RedisServer, RelayProcess, free_port

NOWHERE = "redis://127.0.0.1:1/0?stream=s"


def get(port: int, path: str) -> tuple[int, str, str]:
    """Status, content type and body."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


def families(text: str) -> dict[str, Any]:
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_it_is_what_the_library_writes() -> None:
    relay = Relay("ws://localhost:1/", NOWHERE, name='a "quoted" \\ name')
    registry = CollectorRegistry()
    RealtimeCollector(relay, registry=registry)
    ours, theirs = families(exposition(relay)), families(generate_latest(registry).decode())
    assert ours == theirs
    assert len(ours) > 15


def test_health_is_503_until_it_is_well(redis_server: RedisServer, stream: str, nothing_is_left: None) -> None:
    with FeedServer(port=0) as feed:
        relay = Relay(feed.url, redis_server.url(stream), name="r")
        with Endpoint(relay) as endpoint:
            status, kind, body = get(endpoint.port, "/health")
            assert (status, kind, json.loads(body)["state"]) == (503, "application/json", "stopped")
            with relay:
                assert relay.wait_for(RelayState.ACTIVE, PATIENCE)
                status, _, body = get(endpoint.port, "/health?verbose")
                assert (status, json.loads(body)["healthy"]) == (200, True)
                status, kind, body = get(endpoint.port, "/metrics")
                assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
                assert 'realtime_relay_status{relay="r",state="active"} 1.0' in body
            assert get(endpoint.port, "/health")[0] == 503
            assert get(endpoint.port, "/")[0] == 404
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", endpoint.port), timeout=PATIENCE)


def test_nobody_else_can_ask_by_default() -> None:
    with Endpoint(Relay("ws://localhost:1/", NOWHERE)) as endpoint:
        (host, _), *_ = [endpoint._server.server_address[:2]]
        assert host == "127.0.0.1"


def test_a_forked_child_can_leave_it() -> None:
    with Endpoint(Relay("ws://localhost:1/", NOWHERE)) as endpoint:
        in_child(endpoint.close)
        assert get(endpoint.port, "/metrics")[0] == 200


def test_it_does_not_say_what_it_is_made_of() -> None:
    with (
        Endpoint(Relay("ws://localhost:1/", NOWHERE)) as endpoint,
        urllib.request.urlopen(f"http://127.0.0.1:{endpoint.port}/metrics", timeout=PATIENCE) as answer,
    ):
        assert "Python" not in answer.headers["Server"]


def test_the_command_answers(redis_server: RedisServer, stream: str) -> None:
    port = free_port()
    with (
        FeedServer(port=0) as feed,
        RelayProcess(feed.url, redis_server.url(stream), "--status-port", str(port), name="r") as relay,
    ):
        relay.wait_for("following")
        status, _, body = get(port, "/health")
        assert (status, json.loads(body)["state"]) == (200, "active")
        assert get(port, "/metrics")[0] == 200
        assert relay.terminate() == 0


def test_a_port_that_is_taken_is_said(redis_server: RedisServer, stream: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        url = redis_server.url(stream)
        with RelayProcess("ws://localhost:1/", url, "--status-port", str(port), name="r") as relay:
            assert relay.wait() == 1
            assert any(f"127.0.0.1:{port}" in item.get("line", "") for item in relay.said.items)
