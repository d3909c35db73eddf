"""The fixtures of the relay's tests: a Redis server for the whole run, and a stream for each test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from realtime_client.relay import Relay
from tests.client.conftest import make, no_proxy_of_the_machine, nothing_is_left, server
from tests.relay.servers import RedisServer

__all__ = ["make", "no_proxy_of_the_machine", "nothing_is_left", "server"]

streams = itertools.count(1)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


@pytest.fixture
def stream() -> str:
    return f"stream-{next(streams)}"


@pytest.fixture
def url(redis_server: RedisServer, stream: str) -> str:
    return redis_server.url(stream)


@pytest.fixture
def make_relay(nothing_is_left: None) -> Iterator[Callable[..., Relay]]:
    """Makes relays, and stops them when the test is over, however it ended."""
    made: list[Relay] = []

    def build(*arguments: Any, **options: Any) -> Relay:
        relay = Relay(*arguments, **{"name": f"relay{len(made)}", "lease": 1.0, **options})
        made.append(relay)
        return relay

    yield build
    for relay in made:
        relay.stop()
