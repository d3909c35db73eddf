"""What a reconnection fills in, in which order, and what it says of it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from realtime_client import ConnectionState, Gap, NewAnomaly, Origin, PollError, RealtimeClient, Transport
from realtime_client._runtime.poll import PollThread
from realtime_client.testing import FakeClock, FakeServer, MemoryTransport
from tests.client.conftest import Make
from tests.client.recording import PATIENCE, QUICK, Record, Stopwatch, alert, anomaly, numbers, own_threads, stats
from tests.outages.waiting import in_turn, wait_until_ended

FILLING: Mapping[str, Any] = {**QUICK, "backfill_timeout": 30.0, "poll_after": 3600.0}
"""Options for a client that is back at once and has all the time to fill the gap."""


def log(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": f"log-{number}", "message": f"number {number}", "isAnomaly": True, **fields}


def at(minute: int) -> str:
    return f"2024-05-01T12:{minute:02}:00Z"


class GatedPoller:
    """A poller that answers each question when it is let.

    Attributes:
        answer: What it gives.
    """

    def __init__(self, answer: Any = None) -> None:
        self.answer: Any = {} if answer is None else answer
        self.asked = Record()
        self._leave = threading.Semaphore(0)

    def __call__(self) -> Any:
        self.asked(1)
        assert self._leave.acquire(timeout=30)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def release(self, times: int = 1) -> None:
        self._leave.release(times)

    def end(self) -> None:
        """Let a question that nobody waits for any more be answered, and its thread end."""
        self._leave.release()
        wait_until_ended("-poller")


def watch(client: RealtimeClient) -> Record:
    """Everything that callbacks are told, in one line, as short texts; and gaps as they are."""
    told = Record()

    def event(event: Any) -> None:
        told(f"{event.origin.name} {event.log.id if isinstance(event, NewAnomaly) else event.type}")

    client.on("*", event)
    client.on_status(lambda change: told(change.current.state.name))
    client.on_gap(told)
    return told


def line(told: Record) -> list[str]:
    return ["GAP" if isinstance(item, Gap) else item for item in told.items]


def gap_of(told: Record) -> Gap:
    """The first gap, waited for."""
    seen = told.wait_until(lambda items: any(isinstance(item, Gap) for item in items))
    gap: Gap = next(item for item in seen if isinstance(item, Gap))
    return gap


def cut(network: MemoryTransport, connections: int = 1) -> None:
    """Cut the connection, and wait until there is another one."""
    network.wait_for_open(connections).lose()
    network.wait_for_open(connections + 1)


def told_of_both(told: Record) -> None:
    """Wait until callbacks have heard of the second connection."""
    told.wait_until(lambda items: items.count("CONNECTED") == 2)


def in_store(client: RealtimeClient, *ids: int) -> None:
    """Wait until logs are in the store."""
    wanted = {f"log-{number}" for number in ids}
    client.store.wait_for(lambda seen: wanted <= {entry.id for entry in seen.recent_logs}, PATIENCE)


def test_connected_then_the_backfill_in_the_order_of_time_then_the_gap_then_the_stream(
    network: MemoryTransport, make: Make
) -> None:
    poller = GatedPoller({"logs": [log(3, timestamp=at(3)), log(1, timestamp=at(1)), log(2, timestamp=at(2))]})
    client = make(link_factory=network, poller=poller, **FILLING)
    told = watch(client)
    client.connect(PATIENCE)
    cut(network)
    poller.asked.wait_for(1)
    network.current.put(anomaly(10), anomaly(11))
    in_store(client, 10, 11)
    network.current.put(anomaly(12))
    in_store(client, 12)
    told_of_both(told)
    assert line(told)[-1] == "CONNECTED"
    poller.release()
    told.wait_until(lambda items: items and items[-1] == "STREAM log-12")
    assert line(told) == [
        "CONNECTING",
        "CONNECTED",
        "RECONNECTING",
        "CONNECTED",
        *(f"POLL log-{number}" for number in (1, 2, 3)),
        "GAP",
        *(f"STREAM log-{number}" for number in (10, 11, 12)),
    ]
    gap = gap_of(told)
    assert gap.complete
    assert gap.recovered == 3
    assert gap.since < gap.until <= datetime.now(UTC)
    assert client.metrics().reconnects == 1


def test_the_backfill_asks_since_the_newest_log_held(server: FakeServer, make: Make) -> None:
    server.poll_answer = {}
    client = make(server.url, polling_url=server.poll_url, **FILLING)
    told = watch(client)
    client.connect(PATIENCE)
    server.send(anomaly(1, timestamp=at(7)))
    in_store(client, 1)
    server.drop()
    assert gap_of(told).complete
    assert server.polls[0].request.target == "/poll?since=2024-05-01T12%3A07%3A00Z"
    assert len(server.polls) == 1  # one poll fills it


@pytest.mark.parametrize("poll_knows_it", [True, False])
def test_a_stream_event_during_the_backfill_is_neither_lost_nor_doubled(
    poll_knows_it: bool, network: MemoryTransport, make: Make
) -> None:
    poller = GatedPoller({"logs": [log(1), *([log(2)] if poll_knows_it else [])]})
    client = make(link_factory=network, poller=poller, **FILLING)
    told = watch(client)
    client.connect(PATIENCE)
    cut(network)
    poller.asked.wait_for(1)
    network.current.put(anomaly(2))
    in_store(client, 2)
    poller.release()
    gap_of(told)
    network.current.put(anomaly(3))
    told.wait_until(lambda items: items and items[-1] == "STREAM log-3")
    assert line(told)[4:] == ["POLL log-1", "GAP", "STREAM log-2", "STREAM log-3"]
    assert client.store.stats.anomaly_count == 3


def test_what_the_backfill_brought_is_not_delivered_again_by_the_stream(network: MemoryTransport, make: Make) -> None:
    known = {**alert("disk full", "error"), "timestamp": at(1)}
    poller = GatedPoller([anomaly(1), known])
    client = make(link_factory=network, poller=poller, **FILLING)
    told = watch(client)
    client.connect(PATIENCE)
    cut(network)
    poller.release()
    gap_of(told)
    network.current.put(anomaly(1), known, anomaly(2))
    told.wait_until(lambda items: items and items[-1] == "STREAM log-2")
    assert sorted(line(told)[4:6]) == ["POLL log-1", "POLL system_alert"]
    assert line(told)[6:] == ["GAP", "STREAM log-2"]
    assert client.store.stats.anomaly_count == 2
    assert len(client.store.alerts) == 1


def test_logs_from_before_the_gap_are_neither_delivered_nor_counted_again(network: MemoryTransport, make: Make) -> None:
    poller = GatedPoller({"logs": [log(1, timestamp=at(1)), log(2, timestamp=at(2))]})
    client = make(link_factory=network, poller=poller, **FILLING)
    told = watch(client)
    client.connect(PATIENCE)
    network.current.put(anomaly(1, timestamp=at(1)))
    in_store(client, 1)
    cut(network)
    poller.release()
    assert gap_of(told).recovered == 1
    assert line(told)[-2:] == ["POLL log-2", "GAP"]
    assert client.store.stats.anomaly_count == 2


def test_a_slow_backfill_lets_the_stream_go_first_and_the_gap_is_not_complete(
    network: MemoryTransport, make: Make
) -> None:
    poller = GatedPoller({"logs": [log(1)]})
    client = make(link_factory=network, poller=poller, **{**FILLING, "backfill_timeout": 0.1})
    told = watch(client)
    client.connect(PATIENCE)
    cut(network)
    poller.asked.wait_for(1)
    network.current.put(anomaly(10))
    told.wait_until(lambda items: items and items[-1] == "STREAM log-10")
    assert "GAP" not in line(told)
    poller.release()
    gap = gap_of(told)
    assert not gap.complete
    assert gap.recovered == 1
    network.current.put(anomaly(11))
    told.wait_until(lambda items: items and items[-1] == "STREAM log-11")
    assert line(told)[4:] == ["STREAM log-10", "POLL log-1", "GAP", "STREAM log-11"]


def test_backfill_timeout_is_exact(network: MemoryTransport, clock: FakeClock, make: Make) -> None:
    poller = GatedPoller()
    options = {"reconnect_delay": 1, "reconnect_jitter": 0, "heartbeat": "none"}
    client = make(link_factory=network, clock=clock, poller=poller, backfill_timeout=5, **options)
    told = watch(client)
    client.connect(PATIENCE)
    network.current.lose()
    clock.wait_for_waiters(1)
    clock.advance(1)
    network.wait_for_open(2).put(anomaly(1))
    poller.asked.wait_for(1)
    in_store(client, 1)
    clock.wait_for_waiters(1)
    clock.advance(4.9)
    clock.wait_for_waiters(1)
    told_of_both(told)
    assert line(told)[-1] == "CONNECTED"
    clock.advance(0.2)
    told.wait_until(lambda items: items and items[-1] == "STREAM log-1")
    poller.release()
    assert not gap_of(told).complete


@pytest.mark.parametrize("answer", [PollError("down", status=503), ValueError("broken"), b"<html>"])
def test_a_backfill_that_fails_leaves_the_gap_incomplete_and_holds_nothing_back(
    answer: Any, network: MemoryTransport, make: Make
) -> None:
    poller = GatedPoller(answer)
    client = make(link_factory=network, poller=poller, **FILLING)
    told = watch(client)
    client.connect(PATIENCE)
    cut(network)
    network.current.put(anomaly(1))
    in_store(client, 1)
    poller.release()
    told.wait_until(lambda items: items and items[-1] == "STREAM log-1")
    assert line(told)[-2:] == ["GAP", "STREAM log-1"]
    gap = gap_of(told)
    assert (gap.complete, gap.recovered) == (False, 0)


def test_without_a_poller_the_gap_is_reported_at_once_as_incomplete(network: MemoryTransport, make: Make) -> None:
    client = make(link_factory=network, **QUICK)
    told = watch(client)
    client.connect(PATIENCE)
    cut(network)
    network.current.put(anomaly(1))
    told.wait_until(lambda items: items and items[-1] == "STREAM log-1")
    assert line(told) == ["CONNECTING", "CONNECTED", "RECONNECTING", "CONNECTED", "GAP", "STREAM log-1"]
    gap = gap_of(told)
    assert (gap.complete, gap.recovered) == (False, 0)
    assert gap.since <= gap.until


def test_the_first_connection_has_no_gap_however_long_it_took(network: MemoryTransport, make: Make) -> None:
    network.refuse(times=3)
    client = make(link_factory=network, poller=dict, **FILLING)
    told = watch(client)
    client.connect(PATIENCE)
    network.current.put(anomaly(1))
    told.wait_until(lambda items: items and items[-1] == "STREAM log-1")
    assert "GAP" not in line(told)


def test_reconnect_has_a_gap_too(network: MemoryTransport, make: Make) -> None:
    poller = GatedPoller({"logs": [log(1)]})
    poller.release()
    client = make(link_factory=network, poller=poller, **FILLING)
    told = watch(client)
    client.connect(PATIENCE)
    client.reconnect(PATIENCE)
    assert gap_of(told).complete
    assert line(told)[-2:] == ["POLL log-1", "GAP"]


def test_a_cut_during_the_backfill_leaves_one_gap_from_the_first_loss_on(network: MemoryTransport, make: Make) -> None:
    poller = GatedPoller({"logs": [log(1)]})
    client = make(link_factory=network, poller=poller, **FILLING)
    told = watch(client)
    client.connect(PATIENCE)
    network.current.put(anomaly(0))
    in_store(client, 0)
    heard = client.status.last_message_at
    cut(network)
    poller.asked.wait_for(1)
    network.current.put(anomaly(10))
    in_store(client, 10)
    cut(network, 2)
    poller.asked.wait_for(2)
    network.current.put(anomaly(11))
    in_store(client, 11)
    poller.release(2)
    wait_until_ended("-poller")  # also for the first question, for which nobody waits any more
    told.wait_until(lambda items: items and items[-1] == "STREAM log-11")
    assert line(told) == [
        *("CONNECTING", "CONNECTED", "STREAM log-0", "RECONNECTING", "CONNECTED"),
        *("STREAM log-10", "RECONNECTING", "CONNECTED"),  # of that connection, before the next state
        *("POLL log-1", "GAP", "STREAM log-11"),
    ]
    gap = gap_of(told)
    assert gap.complete
    assert heard is not None
    assert gap.since == heard


def test_close_during_the_backfill(network: MemoryTransport, make: Make) -> None:
    poller = GatedPoller()
    client = make(link_factory=network, poller=poller, **FILLING)
    told = watch(client)
    client.connect(PATIENCE)
    cut(network)
    poller.asked.wait_for(1)
    network.current.put(anomaly(1))
    in_store(client, 1)
    with Stopwatch() as took:
        client.close()
    assert took.seconds < 1
    assert line(told)[-1] == "CLOSED"
    assert "STREAM log-1" not in line(told)
    metrics = client.metrics()
    assert metrics.dropped == {"closed": 1}
    assert metrics.waiting == 0
    poller.end()


def test_own_threads_and_iterators_have_the_same_order(network: MemoryTransport, make: Make) -> None:
    poller = GatedPoller({"logs": [log(1, timestamp=at(1)), log(2, timestamp=at(2))]})
    client = make(link_factory=network, poller=poller, **FILLING)
    own = Record()
    client.on("new_anomaly", own, own_thread=True)
    client.connect(PATIENCE)
    with client.events("new_anomaly", timeout=PATIENCE) as iterator:
        cut(network)
        poller.asked.wait_for(1)
        network.current.put(anomaly(10))
        in_store(client, 10)
        assert own.items == []
        poller.release()
        assert numbers([next(iterator) for _ in range(3)]) == [1, 2, 10]
    events = own.wait_for(3)
    assert numbers(events) == [1, 2, 10]
    assert [event.origin for event in events] == [Origin.POLL, Origin.POLL, Origin.STREAM]


@pytest.mark.parametrize("kind", ["iterator", "own thread", "dispatcher"])
def test_who_subscribes_during_the_backfill_has_that_order_too(kind: str, network: MemoryTransport, make: Make) -> None:
    poller = GatedPoller({"logs": [log(1)]})
    client = make(link_factory=network, poller=poller, **FILLING)
    client.connect(PATIENCE)
    client.reconnect(PATIENCE)
    poller.asked.wait_for(1)
    heard = Record()
    events = client.events("new_anomaly", timeout=PATIENCE)
    if kind != "iterator":
        client.on("new_anomaly", heard, own_thread=kind == "own thread")
    network.current.put(anomaly(10))
    in_store(client, 10)
    poller.release()
    if kind == "iterator":
        heard(next(events))
        heard(next(events))
    assert numbers(heard.wait_for(2)) == [1, 10]


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest", "block"])
def test_the_overflow_policy_holds_while_events_are_held_back(
    overflow: str, network: MemoryTransport, listening: Record, make: Make
) -> None:
    poller = GatedPoller({"logs": [log(number, timestamp=at(number)) for number in range(1, 6)]})
    client = make(link_factory=network, poller=poller, overflow=overflow, max_pending_events=4, **FILLING)
    told, lane = watch(client), Record()
    client.on("new_anomaly", lane, own_thread=True)
    client.connect(PATIENCE)
    cut(network)
    poller.asked.wait_for(1)
    network.current.put(*(anomaly(number) for number in range(10, 20)))
    in_store(client, *range(10, 20))  # the store has them all at once, whatever the policy
    assert client.is_connected
    if overflow != "block":  # the lanes have them a moment later; then the reader listens again
        listening.wait_until(lambda links: links.count(network.current) == 2)
    poller.release()
    gap = gap_of(told)
    assert gap.recovered == 5
    network.current.put(anomaly(99))
    told.wait_until(lambda items: items and items[-1] == "STREAM log-99")
    delivered = [int(text.rpartition("-")[2]) for text in line(told) if "log-" in text]
    assert delivered[-1] == 99
    stream = [number for number in delivered if 10 <= number < 20]
    polled = [number for number in delivered if number < 10]
    metrics = client.metrics()
    assert metrics.received == 16
    if overflow == "block":
        assert polled == [1, 2, 3, 4, 5]
        assert stream == list(range(10, 20))
        assert metrics.dropped == {}
        assert numbers(lane.wait_for(16)) == [*polled, *stream, 99]
    elif overflow == "drop_oldest":
        assert stream == [16, 17, 18, 19][4 - len(stream) :]
        assert set(metrics.dropped) == {"drop_oldest"}
    else:
        assert stream == [10, 11, 12, 13]
        assert polled == []
        assert metrics.dropped == {"drop_newest": 11}
    assert delivered.index(stream[0]) == len(polled)  # what was polled comes first
    assert metrics.received == metrics.delivered + sum(metrics.dropped.values())


def test_block_does_not_hold_up_the_reading_past_backfill_timeout(network: MemoryTransport, make: Make) -> None:
    poller = GatedPoller()
    options = {**FILLING, "backfill_timeout": 0.2}
    client = make(link_factory=network, poller=poller, overflow="block", max_pending_events=1, **options)
    told = watch(client)
    client.connect(PATIENCE)
    cut(network)
    poller.asked.wait_for(1)
    for number in range(10):
        network.current.put(anomaly(number))
    told.wait_until(lambda items: items and items[-1] == "STREAM log-9")
    poller.release()
    gap_of(told)


def test_block_with_a_cut_while_the_reader_waits_for_the_backfill(network: MemoryTransport, make: Make) -> None:
    poller = GatedPoller()
    client = make(link_factory=network, poller=poller, overflow="block", max_pending_events=1, **FILLING)
    told = watch(client)
    client.connect(PATIENCE)
    cut(network)
    poller.asked.wait_for(1)
    network.current.put(*(anomaly(number) for number in range(5)))
    in_store(client, 0, 4)  # the reader now waits for room that nobody can make
    with Stopwatch() as took:
        client.reconnect(PATIENCE)
    assert took.seconds < 1
    poller.release(2)
    gap_of(told)
    client.close()
    assert line(told)[-1] == "CLOSED"
    poller.end()


def test_block_with_close_while_the_reader_waits_for_the_backfill(network: MemoryTransport, make: Make) -> None:
    poller = GatedPoller()
    client = make(link_factory=network, poller=poller, overflow="block", max_pending_events=1, **FILLING)
    client.connect(PATIENCE)
    cut(network)
    poller.asked.wait_for(1)
    network.current.put(*(anomaly(number) for number in range(5)))
    in_store(client, 0, 4)
    with Stopwatch() as took:
        client.close()
    assert took.seconds < 1
    metrics = client.metrics()
    assert metrics.received == metrics.delivered + sum(metrics.dropped.values()) == 5
    poller.end()


def test_a_callback_that_hangs_holds_up_no_backfill(network: MemoryTransport, make: Make) -> None:
    poller = GatedPoller({"logs": [log(1)]})
    client, hangs, entered = make(link_factory=network, poller=poller, **FILLING), threading.Event(), Record()
    client.on("system_alert", in_turn(lambda: entered(1), lambda: hangs.wait(30)))
    client.connect(PATIENCE)
    network.current.put(alert("hang here"))
    entered.wait_for(1)
    cut(network)
    poller.release()
    in_store(client, 1)
    network.current.put(anomaly(2))
    in_store(client, 2)
    hangs.set()


def test_figures_of_the_backfill_do_not_undo_what_the_stream_brings_later(network: MemoryTransport, make: Make) -> None:
    poller = GatedPoller({"stats": {"totalLogs": 5, "anomalyCount": 3}})
    client = make(link_factory=network, poller=poller, **FILLING)
    told = watch(client)
    client.connect(PATIENCE)
    cut(network)
    poller.release()
    gap_of(told)
    network.current.put(stats(totalLogs=6), anomaly(1))
    snapshot = client.store.wait_for(lambda seen: seen.stats.total_logs == 6, PATIENCE)
    assert snapshot.stats.anomaly_count == 4
    assert snapshot.transport is Transport.WEBSOCKET


def test_after_polling_the_gap_begins_with_the_last_good_poll(network: MemoryTransport, make: Make) -> None:
    network.refuse(times=None)
    polled = Record()
    client = make(
        link_factory=network, poller=lambda: polled(datetime.now(UTC)), polling_interval=3600.0,
        max_reconnect_attempts=0, reconnect_delay_max=3600.0,
    )  # fmt: skip
    gaps, changes = Record(), Record()
    client.on_gap(gaps)
    client.on_status(changes)
    client.connect(wait=False)
    changes.wait_until(lambda seen: seen and seen[-1].current.transport is Transport.POLLING)
    network.accept()
    client.reconnect(PATIENCE)
    network.current.put({"type": "pong"})
    gap = gaps.wait_for(1)[0]
    first, last = polled.wait_for(2)
    assert gap.complete
    assert gap.since <= first < gap.until <= last


def test_every_reconnection_has_its_gap(network: MemoryTransport, make: Make) -> None:
    poller = GatedPoller()
    poller.release(1000)
    client = make(link_factory=network, poller=poller, **FILLING)
    told, gaps = watch(client), Record()
    client.on_gap(gaps)
    client.connect(PATIENCE)
    for round_ in range(1, 31):
        cut(network, round_)
        gaps.wait_for(round_)
    assert all(gap.complete for gap in gaps.items)
    assert all(one.until <= other.until for one, other in itertools.pairwise(gaps.items))
    assert line(told)[2:] == ["RECONNECTING", "CONNECTED", "GAP"] * 30
    assert client.status.state is ConnectionState.CONNECTED


def test_a_gap_callback_may_do_everything(server: FakeServer, make: Make) -> None:
    server.poll_answer = {"stats": {"totalLogs": 2}}
    client = make(server.url, polling_url=server.poll_url, **FILLING)
    done = Record()
    deeds: list[Callable[[], object]] = [
        client.refresh,
        client.store.snapshot,
        lambda: client.send({"type": "hello"}),
        client.metrics,
        lambda: client.on("new_anomaly", done, own_thread=True),
    ]

    def on_gap(_gap: Gap) -> None:
        for deed in deeds:
            deed()
        done("all")

    client.on_gap(on_gap)
    client.connect(PATIENCE)
    server.drop()
    done.wait_for(1)
    server.wait_for_message({"type": "hello"})
    server.send(anomaly(1))
    assert len(done.wait_for(2)) == 2


# What is asked, and how long


class Feed:
    """A poller that knows logs by the minute of their timestamps, and gives those after the one it is asked from.

    Attributes:
        down: While it is set, the poller fails.
        may_answer: While it is not set, the poller takes its time.
        asked: What it was asked from, each time.
    """

    def __init__(self, *minutes: int) -> None:
        self._minutes = minutes
        self.down = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.asked = Record()

    def __call__(self, since: datetime) -> Any:
        self.asked(since.minute)
        assert self.may_answer.wait(PATIENCE)
        if self.down.is_set():
            raise PollError("down", status=503)
        return {"logs": [log(minute, timestamp=at(minute)) for minute in self._minutes if minute > since.minute]}


def test_the_backfill_asks_from_the_loss_on_whatever_the_new_stream_has_brought_already(
    network: MemoryTransport, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_ask, run = threading.Event(), PollThread.run

    def run_late(thread: PollThread) -> None:
        assert may_ask.wait(PATIENCE)
        run(thread)

    monkeypatch.setattr(PollThread, "run", run_late)
    feed = Feed(1, 5, 6, 10)
    client = make(link_factory=network, poller=feed, **FILLING)
    told = watch(client)
    client.connect(PATIENCE)
    network.current.put(anomaly(1, timestamp=at(1)))
    in_store(client, 1)
    cut(network)
    network.current.put(anomaly(10, timestamp=at(10)))
    in_store(client, 10)
    may_ask.set()
    gap = gap_of(told)
    told.wait_until(lambda items: items and items[-1] == "STREAM log-10")
    assert feed.asked.items == [1]
    assert (gap.complete, gap.recovered) == (True, 2)
    assert line(told)[-4:] == ["POLL log-5", "POLL log-6", "GAP", "STREAM log-10"]


def test_the_last_poll_of_an_outage_asks_from_the_last_answer_on_not_from_the_new_stream(
    network: MemoryTransport, make: Make
) -> None:
    feed = Feed(1, 5, 6, 10)
    feed.down.set()
    options = {"max_reconnect_attempts": 0, "reconnect_delay_max": 3600.0, "polling_interval": 3600.0}
    client = make(link_factory=network, poller=feed, heartbeat="none", **{**FILLING, **options})
    told = watch(client)
    client.connect(PATIENCE)
    network.current.put(anomaly(1, timestamp=at(1)))
    in_store(client, 1)
    network.refuse(times=None)
    network.current.lose()
    feed.asked.wait_for(1)  # and fails: nothing of the outage is known yet
    told.wait_until(lambda items: "UNAVAILABLE" in items)
    feed.down.clear()
    feed.may_answer.clear()
    network.accept()
    client.reconnect(PATIENCE)
    network.current.put(anomaly(10, timestamp=at(10)))
    in_store(client, 10)
    feed.may_answer.set()
    gap = gap_of(told)
    assert feed.asked.items == [1, 1]
    assert (gap.complete, gap.recovered) == (True, 2)
    told.wait_until(lambda items: items and items[-1] == "STREAM log-10")
    events = [one for one in line(told) if not one.isupper() or one == "GAP"]
    assert events == ["STREAM log-1", "POLL log-5", "POLL log-6", "GAP", "STREAM log-10"]


def test_the_watchdog_of_the_dial_leaves_a_connection_alone_that_waits_for_its_backfill(
    network: MemoryTransport, clock: FakeClock, make: Make
) -> None:
    poller = GatedPoller()
    options = {"reconnect_delay": 1, "reconnect_jitter": 0, "heartbeat": "none", "connect_timeout": 10}
    client = make(link_factory=network, clock=clock, poller=poller, backfill_timeout=20, **options)
    told = watch(client)
    client.connect(PATIENCE)
    network.current.lose()
    clock.wait_for_waiters(1)
    clock.advance(1)
    network.wait_for_open(2).put(anomaly(1))
    poller.asked.wait_for(1)
    in_store(client, 1)
    clock.wait_for_waiters(1)
    clock.advance(20)  # far past the time that the dial had
    told.wait_until(lambda items: items and items[-1] == "STREAM log-1")
    poller.release()
    gap_of(told)
    network.current.put(anomaly(2))
    told.wait_until(lambda items: items and items[-1] == "STREAM log-2")
    assert client.is_connected
    assert len(network.links) == 2


def test_a_backfill_obeys_the_retry_after_of_an_earlier_one(server: FakeServer, make: Make) -> None:
    server.poll_answer = lambda _: (503, {"Retry-After": "3600"}, b"")
    client, gaps = make(server.url, polling_url=server.poll_url, **FILLING), Record()
    client.on_gap(gaps)
    client.connect(PATIENCE)
    server.drop()
    gaps.wait_for(1)
    server.poll_answer = {}
    server.wait_for_connection(2)
    server.drop()
    assert [gap.complete for gap in gaps.wait_for(2)] == [False, False]
    assert len(server.polls) == 1


def test_a_poller_that_hangs_does_not_pile_threads_up_over_many_backfills(network: MemoryTransport, make: Make) -> None:
    poller, gaps = GatedPoller(), Record()
    client = make(link_factory=network, poller=poller, **{**FILLING, "connect_timeout": 0.05})
    client.on_gap(gaps)
    client.connect(PATIENCE)
    for round_ in range(1, 9):
        cut(network, round_)
        assert not gaps.wait_for(round_)[-1].complete
    assert len(poller.asked.items) == 4
    assert len([name for name in own_threads(client) if name.endswith("-poller")]) == 4
    poller.release(4)
    wait_until_ended("-poller")
    poller.release()
    cut(network, 9)
    assert gaps.wait_for(9)[-1].complete  # and when they have returned it is asked again
