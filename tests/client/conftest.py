"""A server, clients that are closed in any case, and the proof that nothing of them is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import psutil
import pytest

from realtime_client import RealtimeClient
from realtime_client.testing import FakeClock, FakeServer, MemoryLink, MemoryTransport
from realtime_client.transports.base import Received
from tests.client.recording import Record, own_threads
from tests.outages.waiting import wait_until_ended

Make: TypeAlias = Callable[..., RealtimeClient]

PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxy_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in PROXY_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No thread and no descriptor of a client outlives its test."""
    process = psutil.Process()
    before = process.num_fds()
    yield
    wait_until_ended("rtc-resolve-")  # nobody else does: it has told its result, and is about to end
    assert own_threads() == []
    assert process.num_fds() <= before


@pytest.fixture
def server(nothing_is_left: None) -> Iterator[FakeServer]:
    with FakeServer() as fake:
        yield fake


@pytest.fixture
def network() -> MemoryTransport:
    return MemoryTransport()


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Record:
    """Called by the reader each time it has dealt with all that came, and begins to listen again."""
    turns, receive = Record(), MemoryLink.receive

    def receive_and_tell(link: MemoryLink) -> Received:
        turns(link)
        return receive(link)

    monkeypatch.setattr(MemoryLink, "receive", receive_and_tell)
    return turns


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def make(nothing_is_left: None) -> Iterator[Make]:
    """Makes clients, and closes them when the test is over, however it ended."""
    made: list[RealtimeClient] = []

    def build(*arguments: Any, **options: Any) -> RealtimeClient:
        client = RealtimeClient(*arguments, **{"name": f"test{len(made)}", **options})
        made.append(client)
        return client

    yield build
    for client in made:
        client.close()
