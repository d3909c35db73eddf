"""What is counted, what was rejected, and the present status."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from realtime_client._runtime.board import StatusBoard
from realtime_client._runtime.counters import Counters
from realtime_client._runtime.rejected import BURST, KEPT, Rejected
from realtime_client.errors import ConnectionLost, MalformedMessage
from realtime_client.status import ConnectionState, ConnectionStatus, StatusChange, Transport
from realtime_client.testing import FakeClock, MemoryLink, MemoryTransport

T0 = datetime(2024, 1, 1, tzinfo=UTC)
PATIENCE = 30.0


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def frequent_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


# Counters


def test_counters_begin_with_nothing(counters: Counters) -> None:
    assert counters.read() == ({}, 0.0)


def test_counters_add_up(counters: Counters) -> None:
    counters.add(polls=1)
    counters.add(polls=2, connects=1)
    counters.spent(0.5)
    counters.spent(0.25)
    assert counters.read() == ({"polls": 3, "connects": 1}, 0.75)


def test_what_was_read_stays_as_it_was(counters: Counters) -> None:
    counters.add(polls=1)
    sums, _ = counters.read()
    sums["polls"] = 99
    assert counters.read()[0] == {"polls": 1}


def test_what_a_link_sent_is_counted_while_it_lives_and_after(counters: Counters) -> None:
    one, two = (MemoryLink(MemoryTransport(), None, hangs=False) for _ in range(2))
    counters.follow(one)
    one.sent_bytes = 10
    assert counters.read()[0] == {"bytes_sent": 10}
    counters.settle(one)
    counters.follow(two)
    two.sent_bytes = 5
    assert counters.read()[0] == {"bytes_sent": 15}
    counters.after_fork()
    assert counters.read()[0] == {}


@pytest.mark.usefixtures("frequent_switches")
def test_sums_are_consistent_with_each_other(counters: Counters) -> None:
    done = threading.Event()

    def add() -> None:
        for _ in range(2000):
            counters.add(one=1, other=2)

    def read() -> None:
        while not done.is_set():
            sums, _ = counters.read()
            assert sums.get("other", 0) == 2 * sums.get("one", 0)

    with ThreadPoolExecutor() as pool:
        reading = pool.submit(read)
        for one in [pool.submit(add) for _ in range(3)]:
            one.result(PATIENCE)
        done.set()
        reading.result(PATIENCE)
    assert counters.read()[0] == {"one": 6000, "other": 12000}


def test_after_fork_a_lock_held_by_nobody_does_not_block(counters: Counters) -> None:
    counters._lock.acquire()  # by a thread that the child process does not have
    counters.after_fork()
    counters.add(polls=1)
    assert counters.read()[0] == {"polls": 1}


# Rejected


def malformed(*numbers: int) -> list[MalformedMessage]:
    return [MalformedMessage(f"reason {n}", payload=f"payload {n}") for n in numbers]


def test_the_last_few_are_kept_oldest_first_and_all_are_counted(counters: Counters) -> None:
    rejected = Rejected(counters, FakeClock())
    assert rejected.read() == ()
    rejected.add(malformed(*range(KEPT)))
    rejected.add(malformed(KEPT, KEPT + 1))
    assert [error.reason for error in rejected.read()] == [f"reason {n}" for n in range(2, KEPT + 2)]
    assert counters.read()[0] == {"malformed": KEPT + 2}


def test_a_burst_is_logged_once_without_its_payload(counters: Counters, caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    rejected = Rejected(counters, clock)
    rejected.add(malformed(1, 2))
    rejected.add(malformed(3))
    clock.advance(BURST - 1)
    rejected.add(malformed(4))
    clock.advance(1)
    rejected.add(malformed(5))
    clock.advance(BURST)
    rejected.add(malformed(6))
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.WARNING, "a message could not be understood: reason 1; see client.rejected"),
        (
            logging.WARNING,
            "a message could not be understood: reason 5 (2 more since the last such warning); see client.rejected",
        ),
        (logging.WARNING, "a message could not be understood: reason 6; see client.rejected"),
    ]


# StatusBoard


def status(state: ConnectionState, **more: object) -> ConnectionStatus:
    return ConnectionStatus(state=state, since=T0, **more)  # type: ignore[arg-type]


def test_the_board_shows_what_was_published_and_tells_the_step() -> None:
    board = StatusBoard(status(ConnectionState.IDLE))
    told: list[StatusChange] = []
    connecting, connected = status(ConnectionState.CONNECTING), status(ConnectionState.CONNECTED)
    shown = []
    for step in (connecting, connected):
        board.publish(step, told.append)
        shown.append(board.connected)
    assert shown == [False, True]
    assert board.read() == connected
    assert told == [StatusChange(status(ConnectionState.IDLE), connecting), StatusChange(connecting, connected)]


def test_the_status_is_published_before_it_is_told() -> None:
    board = StatusBoard(status(ConnectionState.IDLE))
    shown: list[ConnectionStatus] = []
    board.publish(status(ConnectionState.CONNECTED), lambda change: shown.append(board.read()))
    assert shown == [status(ConnectionState.CONNECTED)]


def test_the_board_shows_what_readers_note() -> None:
    board = StatusBoard(status(ConnectionState.CONNECTED))
    board.last_message_at = T0
    board.latency = 0.25
    assert (board.read().last_message_at, board.read().latency) == (T0, 0.25)


def test_an_amendment_shows_and_is_no_step_of_its_own() -> None:
    lost = ConnectionLost("gone")
    waiting = status(ConnectionState.RECONNECTING, next_retry_at=T0, last_error=lost, reconnect_attempts=1)
    board = StatusBoard(waiting)
    board.amend(connecting=True, next_retry_at=None)
    now = board.read()
    assert (now.connecting, now.next_retry_at, now.last_error, now.state) == (True, None, lost, waiting.state)
    told: list[StatusChange] = []
    board.publish(status(ConnectionState.CONNECTED, transport=Transport.WEBSOCKET), told.append)
    assert [change.previous for change in told] == [waiting]


def test_a_reset_is_told_to_nobody() -> None:
    board = StatusBoard(status(ConnectionState.CONNECTED))
    board.last_message_at = T0
    board.latency = 0.25
    board.reset(status(ConnectionState.IDLE))
    assert board.read() == status(ConnectionState.IDLE)
