"""One page's stream: heartbeats, its end, and both ways to read it."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import datetime
from typing import Any

import pytest

from realtime_client import RealtimeClient
from realtime_client.testing import MemoryTransport
from realtime_client.web import Dashboard, stream
from realtime_client.web.broadcast import Broadcast, Cursor
from tests.client.recording import anomaly
from tests.web.pages import PATIENCE, Event, EventReader, Page


def quick(client: RealtimeClient, **options: float) -> Dashboard:
    def connected() -> RealtimeClient:
        client.connect(wait=False)
        return client

    return Dashboard(connected, heartbeat=options.get("heartbeat", 0.05))


def test_a_quiet_stream_beats(client: RealtimeClient) -> None:
    page = Page(events := quick(client).stream())
    page.wait_until(lambda p: p.names.count("heartbeat") >= 4)
    beat = [event for event in page.events if event.name == "heartbeat"][-1]
    assert set(beat.data) == {"every", "asOf", "now"}
    assert beat.data["every"] == 0.05
    assert datetime.fromisoformat(beat.data["now"]).tzinfo is not None
    assert beat.last_id == page.reader.last_id != ""  # it moves no id
    events.close()
    page.wait_for_end()


def test_close_from_another_thread_ends_a_waiting_stream(client: RealtimeClient) -> None:
    page = Page(events := quick(client, heartbeat=0.05).stream())
    page.wait_for_state("connected")
    events.close()
    page.wait_for_end()


def test_a_stream_that_is_closed_as_it_begins_keeps_no_place(
    client: RealtimeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    dashboard = quick(client)
    events, join = dashboard.stream(), Broadcast.join

    def close_and_join(self: Broadcast, *arguments: Any) -> Cursor:
        events.close()  # as by another thread
        return join(self, *arguments)

    monkeypatch.setattr(Broadcast, "join", close_and_join)
    assert len(list(events)) <= 1
    assert dashboard.open_streams == 0


def test_end_streams_ends_them_at_once(client: RealtimeClient) -> None:
    dashboard = quick(client, heartbeat=3600)
    page = Page(dashboard.stream()).wait_for_state("connected")
    dashboard.end_streams()
    page.wait_for_end()


def test_a_stream_ends_after_its_lifetime(client: RealtimeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "LIFETIME", 0.2)
    page = Page(quick(client, heartbeat=3600).stream()).wait_for_end()
    assert "snapshot" in page.names
    assert 1000 <= (page.reader.retry or 0) <= 4000


def test_pages_come_back_one_after_the_other(client: RealtimeClient) -> None:
    dashboard = quick(client, heartbeat=3600)
    delays = set()
    for _ in range(10):
        events = dashboard.stream()
        reader = EventReader()
        reader.feed(next(events))
        events.close()
        delays.add(reader.retry)
    assert len(delays) > 5


def test_a_brief_stream_says_what_there_is_and_ends(client: RealtimeClient, network: MemoryTransport) -> None:
    dashboard = quick(client, heartbeat=3600)
    client.connect(PATIENCE)
    page = Page(dashboard.stream(brief=True)).wait_for_end()
    assert page.names == ["heartbeat", "snapshot"]
    assert page.reader.retry == 5000
    network.current.put(anomaly(1))
    client.store.wait_for(lambda s: s.recent_logs, PATIENCE)
    again = Page(dashboard.stream(page.reader.last_id, brief=True)).wait_for_end()
    assert again.names == ["heartbeat", "change"]
    began = time.monotonic()
    last = Page(dashboard.stream(again.reader.last_id, brief=True)).wait_for_end()
    assert set(last.names) == {"heartbeat"}
    assert time.monotonic() - began < 5
    assert dashboard.open_streams == 0


def read_async(dashboard: Dashboard, until: str) -> list[Event]:
    async def read() -> list[Event]:
        reader, events = EventReader(), list[Event]()
        chunks = dashboard.async_stream()
        async for chunk in chunks:
            events += reader.feed(chunk)
            if until in json.dumps([event.data for event in events]):
                await chunks.aclose()
        return events

    return asyncio.run(asyncio.wait_for(read(), PATIENCE))


def test_an_event_loop_can_read_it(client: RealtimeClient) -> None:
    dashboard = quick(client, heartbeat=3600)
    events = read_async(dashboard, '"connected": true')
    assert [event.name for event in events][:2] == ["heartbeat", "snapshot"]
    assert dashboard.open_streams == 0


def test_many_streams_share_an_event_loop(client: RealtimeClient, network: MemoryTransport) -> None:
    dashboard = quick(client)
    client.connect(PATIENCE)

    async def read() -> int:
        async def one() -> None:
            chunks = dashboard.async_stream()
            async for chunk in chunks:
                if b"log-1" in chunk:
                    chunks.close()

        tasks = [asyncio.ensure_future(one()) for _ in range(40)]
        while dashboard.open_streams < 40:
            await asyncio.sleep(0.01)
        network.current.put(anomaly(1))
        await asyncio.gather(*tasks)
        return dashboard.open_streams

    assert asyncio.run(asyncio.wait_for(read(), PATIENCE)) == 0


def test_a_cancelled_stream_gives_its_place_back(client: RealtimeClient) -> None:
    dashboard = quick(client, heartbeat=3600)

    async def leave() -> int:
        async def read() -> None:
            async for _ in dashboard.async_stream():
                pass

        task = asyncio.ensure_future(read())
        while dashboard.open_streams == 0:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        return dashboard.open_streams

    assert asyncio.run(asyncio.wait_for(leave(), PATIENCE)) == 0


@pytest.mark.parametrize("turns", range(5))
def test_a_cancellation_that_meets_the_bell_is_not_lost(turns: int, client: RealtimeClient) -> None:
    """However many turns of the event loop it comes after something new."""
    dashboard = quick(client, heartbeat=3600)
    body = dashboard.async_stream()

    async def leave() -> int:
        async def read() -> None:
            async for _ in body:
                pass

        task = asyncio.ensure_future(read())
        while dashboard.open_streams == 0:
            await asyncio.sleep(0.01)
        body._bell.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return dashboard.open_streams

    assert asyncio.run(asyncio.wait_for(leave(), PATIENCE)) == 0


def test_a_full_house_is_told_to_event_loops_too(client: RealtimeClient) -> None:
    full = Dashboard(lambda: client, max_streams=0)
    assert [event.name for event in read_async(full, "never")] == ["busy"]
