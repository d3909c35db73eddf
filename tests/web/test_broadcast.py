"""Frames: made once for all pages, numbered, kept for those that come back; and the thread that makes them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from realtime_client import ConnectionState, RealtimeClient
from realtime_client.testing import MemoryTransport
from realtime_client.web import Dashboard, broadcast, event_stream
from realtime_client.web.broadcast import Broadcast
from realtime_client.web.changes import Picture
from tests.client.recording import alert, anomaly, stats
from tests.web.pages import PATIENCE, Page, PageModel, own_threads

Visit = Callable[..., Page]


def test_a_page_gets_the_picture_and_then_what_changes(network: MemoryTransport, visit: Visit) -> None:
    page = visit().wait_for_state("connected")
    assert page.names[:2] == ["heartbeat", "snapshot"]
    network.current.put(anomaly(1), stats(totalLogs=7), alert("look"))
    page.wait_for_log("log-1").wait_until(lambda p: p.model.alerts)
    assert page.model.stats["known"]["totalLogs"] == 7
    assert page.names.count("snapshot") == 1
    assert "reset" not in page.names


def test_the_state_is_told_and_comes_back(network: MemoryTransport, visit: Visit) -> None:
    page = visit().wait_for_state("connected")
    network.refuse(times=3)
    network.current.lose()
    page.wait_for_state("reconnecting")
    page.wait_for_state("connected")


def test_a_slow_callback_holds_no_page_up(client: RealtimeClient, network: MemoryTransport, visit: Visit) -> None:
    release = threading.Event()
    client.on("*", lambda _: release.wait(PATIENCE))
    page = visit().wait_for_state("connected")
    network.current.put(anomaly(1), anomaly(2))
    page.wait_for_log("log-2")
    network.refuse(times=None)
    network.current.lose()
    page.wait_for_state("reconnecting")
    release.set()


def test_fifty_pages_cost_one_encoding(network: MemoryTransport, visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[str] = []

    def encode(name: str, *rest: Any) -> bytes:
        encoded.append(name)
        return original(name, *rest)

    original = event_stream.encode_event
    monkeypatch.setattr(broadcast, "encode_event", encode)
    first = visit().wait_for_state("connected")
    pages = [visit() for _ in range(49)]
    for page in pages:
        page.wait_for_state("connected")
    wholes, changes = encoded.count("snapshot"), encoded.count("change")
    network.current.put(anomaly(1))
    for page in [first, *pages]:
        page.wait_for_log("log-1")
    assert encoded.count("change") == changes + 1
    assert encoded.count("snapshot") == wholes <= 3  # one for each state that a page may have found
    assert first.chunks[-1] is pages[-1].chunks[-1]  # the same bytes, not only equal ones


def test_after_a_large_frame_the_next_one_waits(
    network: MemoryTransport, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[float, int]] = []

    def encode(name: str, *rest: Any) -> bytes:
        frame = original(name, *rest)
        if name == "change":
            made.append((time.monotonic(), len(frame)))
        return frame

    original = event_stream.encode_event
    monkeypatch.setattr(broadcast, "encode_event", encode)
    page = visit().wait_for_state("connected")
    network.current.put(*(anomaly(number, message="x" * 2000) for number in range(100)))
    page.wait_for_log("log-99")
    network.current.put(anomaly(100))
    page.wait_for_log("log-100")
    (before, size), (after, _) = made[-2:]
    assert size > broadcast.WIDEST_SPACING * broadcast.BYTES_A_SECOND
    assert after - before >= broadcast.WIDEST_SPACING


def test_a_page_that_leaves_as_another_one_comes_does_not_end_the_spacing(
    network: MemoryTransport, dashboard: Dashboard, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was the last one when it looked, and says so when there is another one already."""
    made: list[float] = []

    def encode(name: str, *rest: Any) -> bytes:
        if name == "change":
            made.append(time.monotonic())
        return original(name, *rest)

    original = event_stream.encode_event
    monkeypatch.setattr(broadcast, "encode_event", encode)
    page = visit().wait_for_state("connected")
    (own,) = dashboard._broadcasts.values()
    own._pause.set()
    for number in range(3):
        network.current.put(anomaly(number))
        page.wait_for_log(f"log-{number}")
    assert made[-1] - made[-2] >= broadcast.SPACING


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_no_page_is_left_with_a_picture_that_stands_still(
    network: MemoryTransport, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> dict[str, Any]:
        raise LookupError("of this test")

    page = visit().wait_for_state("connected")
    with monkeypatch.context() as patch:
        patch.setattr(broadcast, "difference", broken)
        network.current.put(anomaly(1))
        page.wait_for_end()
    again = visit(page.reader.last_id, page.model)
    again.wait_for_log("log-1")


def test_the_house_has_room_for_so_many(client: RealtimeClient, visit: Visit) -> None:
    small = Dashboard(lambda: client, max_streams=2)
    pages = [visit(of=small), visit(of=small)]
    for page in pages:
        page.wait_until(lambda p: "snapshot" in p.names)
    refused = visit(of=small).wait_for_end()
    assert refused.names == ["busy"]
    assert refused.reader.retry == 15_000
    assert small.open_streams == 2
    small.end_streams()
    assert small.open_streams == 0
    visit(of=small).wait_until(lambda p: "snapshot" in p.names)
    small.end_streams()


def test_a_page_goes_on_where_it_was(network: MemoryTransport, visit: Visit) -> None:
    first = visit().wait_for_state("connected")
    network.current.put(anomaly(1))
    last, model = first.wait_for_log("log-1").reader.last_id, first.model.copy()
    network.current.put(anomaly(2))
    first.wait_for_log("log-2")
    again = visit(last, model)
    again.wait_until(lambda p: "change" in p.names)
    assert "snapshot" not in again.names
    assert "reset" not in again.names
    (change,) = [event for event in again.events if event.name == "change"]
    assert [placed["log"]["id"] for placed in change.data["logs"]] == ["log-2"]
    assert again.model.picture() == first.model.picture()


def test_a_page_that_is_up_to_date_gets_a_heartbeat_at_once(visit: Visit) -> None:
    first = visit().wait_for_state("connected")
    again = visit(first.reader.last_id).wait_until(lambda p: p.names)
    assert again.names == ["heartbeat"]


@pytest.mark.parametrize(
    "last_event_id", ["other-3", "x", "-1", "é-1", "1" * 5000, "{epoch}-999", "{epoch}-", "{epoch}-²", "{epoch}--1"]
)
def test_a_page_that_cannot_go_on_is_reset(last_event_id: str, network: MemoryTransport, visit: Visit) -> None:
    first = visit().wait_for_state("connected")
    network.current.put(anomaly(1))
    first.wait_for_log("log-1")
    epoch = first.reader.last_id.rpartition("-")[0]
    again = visit(last_event_id.format(epoch=epoch)).wait_for_log("log-1")
    assert again.names == ["heartbeat", "reset"]


def test_a_page_keeps_what_it_shows_until_a_new_process_has_something(network: MemoryTransport, visit: Visit) -> None:
    had = PageModel()
    had.logs = [{"id": "old"}]
    page = visit("other-3", had).wait_for_state("connected")
    assert set(page.names) == {"heartbeat", "change"}
    assert page.model.logs == [{"id": "old"}]
    assert page.reader.last_id == ""  # so that it asks in the same way should it have to come back
    network.current.put(anomaly(1))
    page.wait_for_log("log-1")
    assert page.names[-1] == "reset"
    assert len(page.model.logs) == 1


def test_a_gap_that_is_too_large_is_a_reset(
    network: MemoryTransport, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcast, "FRAMES", 2)
    monkeypatch.setattr(broadcast, "SPACING", 0.0)
    page = visit().wait_for_state("connected")
    last = page.reader.last_id
    for number in range(5):
        network.current.put(anomaly(number))
        page.wait_for_log(f"log-{number}")
    again = visit(last).wait_for_log("log-4")
    assert again.names == ["heartbeat", "reset"]
    assert again.model.picture() == page.model.picture()


def test_what_is_kept_is_bounded_in_bytes(
    network: MemoryTransport, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcast, "FRAME_BYTES", 1000)
    monkeypatch.setattr(broadcast, "SPACING", 0.0)
    page = visit().wait_for_state("connected")
    last = page.reader.last_id
    for number in range(3):
        network.current.put(anomaly(number, message="x" * 600))
        page.wait_for_log(f"log-{number}")
    assert visit(last).wait_for_log("log-2").names == ["heartbeat", "reset"]


def test_many_changes_at_once_are_one_frame(network: MemoryTransport, visit: Visit) -> None:
    page = visit().wait_for_state("connected")
    for number in range(200):
        network.current.put(anomaly(number))
    page.wait_for_log("log-199")
    assert page.names.count("change") < 50
    assert [log["id"] for log in page.model.logs] == [f"log-{n}" for n in range(199, 99, -1)]


def test_the_thread_lives_while_there_are_pages(network: MemoryTransport, dashboard: Dashboard) -> None:
    stream = dashboard.stream()
    assert "rtc-web-pages" not in own_threads()  # a stream that nobody reads takes no place and does nothing
    assert dashboard.open_streams == 0
    next(stream)
    assert "rtc-web-pages" in own_threads()
    pages = threading.enumerate()
    thread = next(one for one in pages if one.name == "rtc-web-pages")
    stream.close()
    stream.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert dashboard.open_streams == 0
    with pytest.raises(StopIteration):
        next(stream)


def test_frames_go_on_after_a_time_without_pages(network: MemoryTransport, dashboard: Dashboard, visit: Visit) -> None:
    page = visit().wait_for_state("connected")
    last, thread = page.reader.last_id, next(t for t in threading.enumerate() if t.name == "rtc-web-pages")
    dashboard.end_streams()
    page.wait_for_end()
    thread.join(PATIENCE)
    network.current.put(anomaly(1))
    again = visit(last).wait_for_log("log-1")
    assert "reset" not in again.names


def test_a_client_that_is_closed_and_connected_again(
    client: RealtimeClient, network: MemoryTransport, visit: Visit
) -> None:
    page = visit().wait_for_state("connected")
    client.close()
    page.wait_for_state("closed")
    client.connect(PATIENCE)
    page.wait_for_state("connected")
    network.current.put(anomaly(1))
    page.wait_for_log("log-1")


def test_a_connection_that_begins_while_the_thread_ends(
    client: RealtimeClient, network: MemoryTransport, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first word finds the thread alive, which has seen the end, and is about to show it and to end as well."""
    page = visit().wait_for_state("connected")
    again, ends = threading.Event(), list[Picture]()
    client.on_status(lambda change: again.set() if change.current.connected else None)  # told after the broadcast is
    publish = Broadcast._publish

    def connect_meanwhile(self: Broadcast, picture: Picture) -> int:
        if picture.status.state is ConnectionState.CLOSED:
            ends.append(picture)
        if len(ends) == 2:  # the first look was for the change of the status, this one is for the end of waiting
            client.connect(wait=False)
            assert again.wait(PATIENCE)
        return publish(self, picture)

    monkeypatch.setattr(Broadcast, "_publish", connect_meanwhile)
    client.close()
    page.wait_for_state("closed")
    page.wait_for_state("connected")


def test_a_client_that_has_given_up_is_shown_and_costs_nothing(network: MemoryTransport, visit: Visit) -> None:
    network.refuse(times=None)
    with RealtimeClientThatGivesUp(network) as client:
        small = Dashboard(lambda: client)
        with pytest.raises(ConnectionError):
            client.connect(PATIENCE)
        page = visit(of=small).wait_for_state("failed")
        assert page.model.status["error"]
        thread = [t for t in threading.enumerate() if t.name == "rtc-web-pages"]
        for one in thread:
            one.join(PATIENCE)  # nobody can wait for the store of a client that has given up
            assert not one.is_alive()
        network.accept()
        client.reconnect(PATIENCE)
        page.wait_for_state("connected")
        small.end_streams()


class RealtimeClientThatGivesUp:
    def __init__(self, network: MemoryTransport) -> None:
        self.client = RealtimeClient(
            link_factory=network, name="web", give_up=True, max_reconnect_attempts=0, reconnect_delay=0.01
        )

    def __enter__(self) -> RealtimeClient:
        return self.client

    def __exit__(self, *_: object) -> None:
        self.client.close()


def test_another_client_has_another_broadcast(network: MemoryTransport, client: RealtimeClient, visit: Visit) -> None:
    """As where an application's settings are overridden in a test."""
    clients = [client]
    both = Dashboard(lambda: clients[-1])
    client.connect(PATIENCE)
    visit(of=both).wait_for_state("connected")
    other = RealtimeClient(link_factory=MemoryTransport(), name="web")
    clients.append(other)
    visit(of=both).wait_for_state("idle")
    both.end_streams()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_has_streams_of_its_own(network: MemoryTransport, dashboard: Dashboard, visit: Visit) -> None:
    page = visit().wait_for_state("connected")
    network.current.put(anomaly(1))
    page.wait_for_log("log-1")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            stream = dashboard.stream(page.reader.last_id)
            found = b""
            while b"event: reset" not in found and b"event: snapshot" not in found:
                found += next(stream)
            os.write(writing, b"%d " % dashboard.open_streams + found[:20_000])
        finally:
            os._exit(0)
    os.close(writing)
    said = b""
    while chunk := os.read(reading, 65536):
        said += chunk
    os.close(reading)
    os.waitpid(child, 0)
    assert said.startswith(b"1 ")
    assert b"event: reset" in said
    assert dashboard.open_streams == 1
