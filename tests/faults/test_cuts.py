"""A cut after every byte of a conversation, by FIN and by RST: nothing partial, nothing twice, no loss unsaid."""

from __future__ import annotations

import math
import socket
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from realtime_client import ConnectionState, Gap, NewAnomaly, Origin, RealtimeClient
from tests.client.conftest import Make
from tests.client.recording import Record
from tests.faults.numbered_feed import EPOCH, EVENTS, NumberedFeed, conversation, log
from tests.faults.proxy import Cut, Direction, FaultProxy, Way
from tests.serving import read_head

QUICK: dict[str, Any] = {
    "reconnect_delay": 0.001,
    "reconnect_delay_max": 0.001,
    "reconnect_jitter": 0,
    "max_reconnect_attempts": None,
    "poll_after": 3600.0,
    "backfill_timeout": 30.0,
}
PATIENCE = 50.0
REQUEST = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.fixture
def feed(nothing_is_left: None) -> Iterator[NumberedFeed]:
    with NumberedFeed() as feed:
        yield feed


@pytest.fixture
def proxy(feed: NumberedFeed) -> Iterator[FaultProxy]:
    with FaultProxy(feed.port) as proxy:
        yield proxy


def size_of_answer() -> int:
    """Bytes of the handshake's answer, which are the same for every request."""
    with NumberedFeed() as feed, socket.create_connection(("127.0.0.1", feed.port)) as sock:
        sock.sendall(REQUEST)
        return len(read_head(sock)[0])


ANSWER = size_of_answer()
SIZE = ANSWER + sum(len(data) for data, _ in conversation(0))


def arrived(connection: int, cut: Cut) -> list[int]:
    """The numbers of the events of a connection that are complete before the cut."""
    end, numbers = ANSWER, []
    for data, number in conversation(connection):
        end += len(data)
        if end <= cut.after and number is not None:
            numbers.append(number)
    return numbers


def expected_line(cuts: Sequence[Cut]) -> list[str]:
    """What callbacks are told without a poller, by the promise alone: connection 0 is whole, and so is the last one."""
    whole = Cut(SIZE)
    line = ["connecting", "connected", *(f"STREAM {number}" for number in arrived(0, whole))]
    for connection, cut in enumerate([*cuts, whole], start=1):
        if line[-1] != "reconnecting":
            line.append("reconnecting")
        if cut.after >= ANSWER:
            line += ["connected", "gap", *(f"STREAM {number}" for number in arrived(connection, cut))]
    return line


def watch(client: RealtimeClient) -> Record:
    """Changes of the state, gaps and events in the order in which callbacks are told."""
    told = Record()
    state = ConnectionState.IDLE

    def step(change: Any) -> None:
        nonlocal state
        if change.current.state is not state:
            state = change.current.state
            told(state.value)

    client.on_status(step)
    client.on_gap(told)
    client.on("new_anomaly", told)
    return told


def line_of(told: Record) -> list[str]:
    line = []
    for item in told.items:
        if isinstance(item, NewAnomaly):
            line.append(f"{item.origin.name} {number_of(item)}")
        else:
            line.append("gap" if isinstance(item, Gap) else item)
    return line


def number_of(event: NewAnomaly) -> int:
    return int(event.log.id.removeprefix("log-"))


def run(client: RealtimeClient, proxy: FaultProxy, cuts: Sequence[Cut]) -> Record:
    """Connect, go through all cuts, and come back for good."""
    told = watch(client)
    client.connect(PATIENCE)
    told.wait_until(lambda items: is_there(items, EVENTS - 1), PATIENCE)
    proxy.plan(*cuts)
    assert proxy.cut("rst") == 1
    last = (len(cuts) + 2) * EVENTS - 1
    told.wait_until(lambda items: is_there(items, last), PATIENCE)
    assert proxy.accepted == len(cuts) + 2  # one connection each, and none beside
    return told


def is_there(items: list[Any], number: int) -> bool:
    latest = items[-2 * EVENTS :]  # what a poll gives may run ahead of the stream
    return any(isinstance(item, NewAnomaly) and number_of(item) == number for item in latest)


@pytest.mark.parametrize("by", ["fin", "rst"])
def test_a_cut_after_every_byte_that_the_server_sends(
    by: Way, feed: NumberedFeed, proxy: FaultProxy, make: Make
) -> None:
    cuts = [Cut(after, by) for after in range(SIZE + 1)]
    client = make(proxy.url(), **QUICK)
    told = run(client, proxy, cuts)
    assert line_of(told) == expected_line(cuts)
    assert client.metrics().malformed == 0
    assert client.metrics().received == sum(isinstance(item, NewAnomaly) for item in told.items)
    gaps = [item for item in told.items if isinstance(item, Gap)]
    assert len(gaps) == SIZE + 1 - ANSWER + 1
    assert not any(gap.complete for gap in gaps)
    assert all(gap.since <= gap.until for gap in gaps)
    assert gaps == sorted(gaps, key=lambda gap: (gap.since, gap.until))


def size_of_a_request(proxy: FaultProxy, make: Make) -> int:
    """How many bytes a client asks with."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = make(proxy.url().replace(str(proxy.port), str(listening.getsockname()[1])), **QUICK)
        client.connect(wait=False)
        connection, _ = listening.accept()
        with connection:
            head, _ = read_head(connection)
        client.close()
    return len(head)


@pytest.mark.parametrize("by", ["fin", "rst"])
def test_a_cut_after_every_byte_that_the_client_asks_with(
    by: Way, feed: NumberedFeed, proxy: FaultProxy, make: Make
) -> None:
    cuts = [Cut(after, by, Direction.TO_SERVER) for after in range(size_of_a_request(proxy, make))]
    client = make(proxy.url(), **QUICK)
    told = run(client, proxy, cuts)
    assert client.metrics().failed_attempts == len(cuts)
    assert line_of(told) == expected_line([Cut(0)] * len(cuts))


@pytest.mark.parametrize("by", ["fin", "rst"])
def test_with_a_poller_nothing_is_lost_either(by: Way, feed: NumberedFeed, proxy: FaultProxy, make: Make) -> None:
    """The poller knows what the server has sent, and more than reached the client."""

    def poll(since: datetime | None) -> dict[str, Any]:
        first = 0 if since is None else math.ceil((since - EPOCH) / timedelta(milliseconds=1))
        return {"logs": [log(number) for number in range(max(0, first), proxy.accepted * EVENTS)]}

    cuts = [Cut(after, by) for after in range(ANSWER, SIZE + 1)]
    client = make(proxy.url(), poller=poll, **QUICK)
    told = run(client, proxy, cuts)
    wanted = (len(cuts) + 2) * EVENTS
    told.wait_until(lambda items: len([item for item in items if isinstance(item, NewAnomaly)]) >= wanted, PATIENCE)
    told.wait_until(lambda items: any(isinstance(item, Gap) for item in items), PATIENCE)
    events = [item for item in told.items if isinstance(item, NewAnomaly)]
    assert sorted(number_of(event) for event in events) == list(range(wanted))
    streamed = [number_of(event) for event in events if event.origin is Origin.STREAM]
    assert streamed == sorted(streamed)
    assert len(streamed) < wanted
    assert all(item.complete for item in told.items if isinstance(item, Gap))
