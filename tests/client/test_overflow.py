"""What happens when callbacks are slower than the feed: the three policies, counted exactly."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from realtime_client import ConnectionState, LaneMetrics, Metrics, RealtimeClient
from realtime_client.testing import FakeServer, MemoryTransport, accept, repeat, send
from tests.client.conftest import Make
from tests.client.recording import (
    PATIENCE,
    QUICK,
    Record,
    Task,
    anomaly,
    connect_and_settle,
    numbers,
    own_threads,
    stats,
)

DONE = {"type": "done"}


class Jam:
    """A connected client whose first event's callback holds up the dispatcher until the test lets go."""

    def __init__(self, make: Make, network: MemoryTransport, **options: Any) -> None:
        self.network = network
        self.events = Record()
        self.statuses = Record()
        self._release = threading.Event()
        self.client: RealtimeClient = make(link_factory=network, **{"max_pending_events": 10, **QUICK, **options})
        self.client.on("*", self._slow)
        connect_and_settle(self.client)
        self.client.on_status(self.statuses)
        network.current.put(anomaly(0))
        self.events.wait_for(1)

    def _slow(self, event: object) -> None:
        self.events(event)
        assert self._release.wait(PATIENCE)

    def put(self, *messages: dict[str, Any]) -> None:
        """Let a batch arrive and be handed over, as far as the policy lets it."""
        link = self.network.current
        link.put(*messages)
        before = self.client.store.stats.extra.get("batches", 0)
        # What comes behind it is in the store, so that the batch itself has been dealt with.
        link.put(stats(batches=before + 1))
        self.client.store.wait_for(lambda s: s.stats.extra.get("batches") == before + 1, timeout=PATIENCE)

    def let_go(self) -> None:
        self._release.set()

    def flow(self) -> list[Any]:
        """Let go, and wait until everything that was not dropped has been delivered."""
        self.let_go()
        self.events.wait_until(lambda items: self.client.metrics().waiting == 0)
        self.network.current.put(DONE)
        return self.events.wait_until(lambda items: items[-1].type == "done")


def adds_up(line: Metrics | LaneMetrics) -> bool:
    return line.received == line.delivered + sum(line.dropped.values()) + line.waiting


def test_overflow_drop_oldest_keeps_the_newest(make: Make, network: MemoryTransport) -> None:
    jam = Jam(make, network, overflow="drop_oldest")
    jam.put(*[anomaly(i) for i in range(1, 101)])
    jam.client.store.wait_for(lambda s: s.stats.anomaly_count == 101, timeout=PATIENCE)
    metrics = jam.client.metrics()
    assert adds_up(metrics)
    assert metrics.waiting == metrics.queue_depth <= 10
    events = jam.flow()
    metrics = jam.client.metrics()
    assert adds_up(metrics)
    assert (metrics.received, metrics.delivered, metrics.waiting) == (103, len(events), 0)
    assert metrics.dropped == {"drop_oldest": 103 - len(events)}
    assert metrics.queue_high_water <= 10
    assert numbers(events) == [0, *range(101 - (len(events) - 3), 101)]
    assert len(numbers(events)) in (10, 11)  # the marker behind the batch may have pushed one more out


def test_overflow_drop_newest_keeps_the_oldest(make: Make, network: MemoryTransport) -> None:
    jam = Jam(make, network, overflow="drop_newest")
    jam.put(*[anomaly(i) for i in range(1, 101)])
    events = jam.flow()
    metrics = jam.client.metrics()
    assert numbers(events) == list(range(11))
    assert adds_up(metrics)
    assert metrics.delivered == len(events)
    assert metrics.dropped == {"drop_newest": metrics.received - len(events)}
    assert jam.client.store.stats.anomaly_count == 101


def test_overflow_block_holds_the_reader_up_and_drops_nothing(make: Make, network: MemoryTransport) -> None:
    jam = Jam(make, network, overflow="block")
    network.current.put(*[anomaly(i) for i in range(1, 101)])
    jam.client.store.wait_for(lambda s: s.stats.anomaly_count == 101, timeout=PATIENCE)
    network.current.put(stats(totalLogs=7), DONE)
    events = jam.flow()
    jam.events.wait_until(lambda items: [e.type for e in items].count("done") == 2)
    assert jam.client.store.stats.total_logs == 7
    metrics = jam.client.metrics()
    assert numbers(events) == list(range(101))
    assert metrics.dropped == {}
    assert adds_up(metrics)
    assert metrics.queue_high_water <= 10


def test_overflow_block_is_back_pressure_on_the_wire(server: FakeServer, make: Make) -> None:
    """The server is held up, and nothing is lost when it goes on."""
    padding = "x" * 10_000
    server.add_script(accept(), repeat(3_000, lambda i: send(anomaly(i, message=padding))))
    entered, release, seen = threading.Event(), threading.Event(), Record()
    client = make(server.url, overflow="block", max_pending_events=5, heartbeat="none")

    def slow(event: object) -> None:
        seen(event)
        entered.set()
        assert release.wait(PATIENCE)

    client.on("new_anomaly", slow)
    client.connect(PATIENCE)
    assert entered.wait(PATIENCE)
    client.store.wait_for(lambda s: s.stats.anomaly_count >= 6, timeout=PATIENCE)
    # Far less than the 30 MB that the server would like to send: one batch and what the policy allows.
    assert client.metrics().bytes_received < 2_000_000
    release.set()
    assert numbers(seen.wait_for(3_000, timeout=20)) == list(range(3_000))
    assert client.metrics().dropped == {}


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
def test_overflow_by_bytes(overflow: str, make: Make, network: MemoryTransport) -> None:
    jam = Jam(make, network, overflow=overflow, max_pending_events=1_000_000, max_pending_bytes=50_000)
    jam.put(*[anomaly(i, message="x" * 10_000) for i in range(1, 21)])
    waiting = jam.client.metrics().waiting
    assert 3 <= waiting <= 5  # four messages of ten thousand bytes and a marker
    events = jam.flow()
    kept = [1, 2, 3, 4] if overflow == "drop_newest" else [17, 18, 19, 20]
    assert numbers(events) == [0, *kept]
    assert adds_up(jam.client.metrics())


def test_overflow_lets_one_event_through_that_is_over_the_bound_itself(make: Make, network: MemoryTransport) -> None:
    for overflow in ("drop_oldest", "drop_newest", "block"):
        own = MemoryTransport()
        client, seen = make(link_factory=own, overflow=overflow, max_pending_bytes=10), Record()
        client.on("new_anomaly", seen)
        client.connect(PATIENCE)
        own.current.put(anomaly(1))
        assert numbers(seen.wait_for(1)) == [1]


def test_overflow_is_said_in_one_warning(
    make: Make, network: MemoryTransport, caplog: pytest.LogCaptureFixture
) -> None:
    jam = Jam(make, network)
    for _ in range(5):
        jam.put(*[anomaly(i) for i in range(1, 101)])
    warnings = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "dropped" in warnings[0]
    jam.flow()


def test_overflow_of_a_lane_is_counted_in_its_own_line_and_said(
    make: Make, network: MemoryTransport, caplog: pytest.LogCaptureFixture
) -> None:
    client, release, seen, every = (
        make(link_factory=network, max_pending_events=10),
        threading.Event(),
        Record(),
        Record(),
    )

    def lane_is_slow(event: object) -> None:
        seen(event)
        assert release.wait(PATIENCE)

    client.on("new_anomaly", lane_is_slow, own_thread=True)
    client.on("*", every)
    client.connect(PATIENCE)
    network.current.put(anomaly(0))
    seen.wait_for(1)
    for batch in range(10):  # in batches that the main line can take
        network.current.put(*[anomaly(batch * 5 + i) for i in range(1, 6)])
        every.wait_for(1 + (batch + 1) * 5)
    (lane,) = client.metrics().lanes
    assert "lane_is_slow" in lane.name
    assert lane.dropped == {"drop_oldest": 40}
    assert (lane.received, lane.waiting, lane.high_water) == (51, 10, 10)
    assert adds_up(lane)
    assert client.metrics().dropped == {}
    release.set()
    assert numbers(seen.wait_for(11)) == [0, *range(41, 51)]
    warnings = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "dropped" in warnings[0]


def test_overflow_never_drops_a_change(make: Make, network: MemoryTransport) -> None:
    jam = Jam(make, network, max_reconnect_attempts=None, max_pending_events=1)
    for turn in range(2, 12):
        network.current.put(*[anomaly(i) for i in range(100)])
        network.current.lose()
        network.wait_for_open(turn)
    connected = Task(lambda: jam.client.connect(PATIENCE))
    connected.result()
    jam.flow()
    changes = [c for c in jam.statuses.items if c.previous.connected is not c.current.connected]
    assert [c.current.connected for c in changes] == [False, True] * 10
    assert all(a.current == b.previous for a, b in zip(jam.statuses.items, jam.statuses.items[1:], strict=False))


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest", "block"])
def test_metrics_add_up_after_close(overflow: str, make: Make, network: MemoryTransport) -> None:
    jam = Jam(make, network, overflow=overflow)
    network.current.put(*[anomaly(i) for i in range(1, 101)])
    jam.client.store.wait_for(lambda s: s.stats.anomaly_count == 101, timeout=PATIENCE)
    closing = Task(jam.client.close)
    assert jam.client.join(PATIENCE) is True
    jam.let_go()
    closing.result()
    metrics = jam.client.metrics()
    assert adds_up(metrics)
    assert (metrics.delivered, metrics.waiting) == (len(jam.events.items), 0)
    assert metrics.received == 101
    assert jam.client.status.state is ConnectionState.CLOSED


def test_close_ends_a_reader_that_is_held_up(make: Make, network: MemoryTransport) -> None:
    jam = Jam(make, network, overflow="block")
    network.current.put(*[anomaly(i) for i in range(1, 101)])
    jam.client.store.wait_for(lambda s: s.stats.anomaly_count == 101, timeout=PATIENCE)
    jam.client.close(timeout=0.5)  # the callback hangs on
    left = own_threads()
    jam.let_go()
    assert left == ["rtc-test0-dispatcher"]


def test_reconnect_while_the_reader_is_held_up_loses_nothing(make: Make, network: MemoryTransport) -> None:
    jam = Jam(make, network, overflow="block")
    network.current.put(*[anomaly(i) for i in range(1, 51)])
    jam.client.store.wait_for(lambda s: s.stats.anomaly_count == 51, timeout=PATIENCE)
    jam.client.reconnect(PATIENCE)
    network.current.put(*[anomaly(i) for i in range(51, 101)])
    assert numbers(jam.flow()) == list(range(101))
    assert jam.client.metrics().dropped == {}
