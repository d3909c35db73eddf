"""A client over a network in memory, a dashboard of it, and the proof that nothing of them is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from realtime_client import RealtimeClient
from realtime_client.testing import MemoryTransport
from realtime_client.web import Dashboard
from realtime_client.web.stream import Stream
from tests.web.pages import PATIENCE, Page, PageModel, own_threads


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No thread outlives its test."""
    yield
    deadline = time.monotonic() + PATIENCE
    while own_threads() and time.monotonic() < deadline:
        time.sleep(0.01)  # the thread of the pages ends by itself when the last page has left
    assert own_threads() == []


@pytest.fixture
def network() -> MemoryTransport:
    return MemoryTransport()


@pytest.fixture
def client(nothing_is_left: None, network: MemoryTransport) -> Iterator[RealtimeClient]:
    made = RealtimeClient(
        link_factory=network, name="web", reconnect_delay=0.05, reconnect_delay_max=0.05, heartbeat="none"
    )
    yield made
    made.close()


@pytest.fixture
def dashboard(client: RealtimeClient) -> Iterator[Dashboard]:
    def connected() -> RealtimeClient:
        client.connect(wait=False)
        return client

    made = Dashboard(connected)
    yield made
    made.end_streams()


@pytest.fixture
def visit(dashboard: Dashboard) -> Iterator[Callable[..., Page]]:
    """Open a page; all of them are closed in the end."""
    streams: list[Stream] = []

    def visit(last_event_id: str | None = None, model: PageModel | None = None, of: Dashboard = dashboard) -> Page:
        stream = of.stream(last_event_id)
        streams.append(stream)
        return Page(stream, model)

    yield visit
    for stream in streams:
        stream.close()
