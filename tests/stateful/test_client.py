"""The whole client on a clock that a test moves, over links without a network.

The model says of each step what the client tells, and when it will try again to the second: statuses, events, gaps.
"""

from __future__ import annotations

import itertools
from collections import deque
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from realtime_client import (
    AuthenticationError,
    ClientClosed,
    ConnectionLost,
    ConnectionState,
    Event,
    Gap,
    NotConnected,
    RealtimeClient,
    StatusChange,
)
from realtime_client._runtime.reconnect import WATCHDOG_GRACE
from realtime_client.testing import MemoryLink, MemoryTransport
from tests.client.recording import Record, own_threads
from tests.fuzz.silence import no_errors_logged
from tests.stateful.effort import effort
from tests.stateful.resting import START, RestingClock

IDLE, CONNECTING, CONNECTED = ConnectionState.IDLE, ConnectionState.CONNECTING, ConnectionState.CONNECTED
RECONNECTING, UNAVAILABLE = ConnectionState.RECONNECTING, ConnectionState.UNAVAILABLE
FAILED, CLOSED = ConnectionState.FAILED, ConnectionState.CLOSED

NAME = "stateful"
RECONNECT_THREAD = f"rtc-{NAME}-reconnect"
CONNECT_TIMEOUT, LONGEST, FATAL_DELAY, RESET_AFTER, LIMIT = 3.0, 4.0, 60.0, 10.0, 2
TRY_AGAIN_LATER = 1013

Told = tuple[ConnectionState, int, datetime | None]
"""A status as it is told: state, failed attempts in a row, when the next one is due."""


class GreetingTransport(MemoryTransport):
    """Each connection brings an event along with the handshake, as a server's greeting does."""

    def __init__(self) -> None:
        super().__init__()
        self.greetings: deque[int] = deque()

    def opened(self, link: MemoryLink) -> None:
        link.put({"type": "deploy", "data": self.greetings.popleft()})
        super().opened(link)


class ClientAgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.errors = no_errors_logged()
        self.errors.__enter__()
        self.clock, self.network = RestingClock(), GreetingTransport()
        self.client = RealtimeClient(
            name=NAME,
            link_factory=self.network,
            clock=self.clock,
            heartbeat="none",
            reconnect_jitter=0,
            reconnect_delay_max=LONGEST,
            reconnect_reset_after=RESET_AFTER,
            fatal_retry_delay=FATAL_DELAY,
            connect_timeout=CONNECT_TIMEOUT,
            max_reconnect_attempts=LIMIT,
        )
        # What callbacks are told, all in one: statuses, numbers of events, gaps.
        self.story, self.changes, self.connected = Record(), Record(), Record()
        self.client.on("*", self.story)
        self.client.on_status(self.story)
        self.client.on_gap(self.story)
        self.client.on_status(self.changes)
        self.client.on_connection_change(self.connected)
        # The model.
        self.state = IDLE
        self.elapsed = 0.0
        self.told: list[Told] = []
        self.plan: list[str] = []
        self.attempts = self.failed = self.step = self.gaps = 0
        self.connections = 0  # of this run, from the first request to the close
        self.due_at: float | None = None  # when the next attempt begins, or the one that hangs is given up
        self.hanging = False
        self.opened_at = 0.0
        self.numbers = self.malformed = 0
        self.certain: list[int] = []  # numbers of events that must have been delivered
        self.possible: list[int] = []  # those that were not waited for
        self.doubtful: list[list[int]] = []  # the same, of connections that were then ended from this side

    # The model's half of an attempt

    def tell(self, state: ConnectionState, due_in: float | None = None) -> None:
        self.state = state
        self.due_at = None if due_in is None else self.elapsed + due_in
        due = None if self.due_at is None else START + timedelta(seconds=self.due_at)
        self.told.append((state, self.failed, due))

    def attempt(self) -> None:
        """The next attempt begins, and ends unless it hangs."""
        self.attempts += 1
        self.due_at = None
        outcome = self.plan.pop(0) if self.plan else "succeeds"
        if outcome == "hangs":
            self.hanging = True
            self.due_at = self.elapsed + CONNECT_TIMEOUT + WATCHDOG_GRACE
        elif outcome == "succeeds":
            self.failed = 0
            self.tell(CONNECTED)
            self.gaps += self.connections > 0
            self.connections += 1
            self.opened_at = self.elapsed
            self.network.greetings.append(self.numbers)
            self.possible.append(self.numbers)
            self.numbers += 1
        else:
            self.fails(fatal=outcome == "is refused for good")

    def fails(self, *, fatal: bool) -> None:
        self.hanging = False
        if self.state is not CONNECTING:
            self.failed += 1
        if fatal and not self.connections:
            self.tell(FAILED)
        elif fatal:
            self.tell(UNAVAILABLE, FATAL_DELAY)
        else:
            self.step += 1
            declared = self.state is UNAVAILABLE or self.failed >= LIMIT
            self.tell(
                UNAVAILABLE if declared else RECONNECTING,
                LONGEST if declared else min(2.0 ** (self.step - 1), LONGEST),
            )

    def start_anew(self) -> None:
        self.failed = self.step = 0
        self.hanging = False

    def settle(self) -> None:
        """Wait until the client has told all that the model tells, and its reconnect thread rests."""
        told = self.changes.wait_until(lambda changes: len(changes) >= len(self.told))
        assert [self.as_told(change) for change in told] == self.told
        self.network.wait_for_links(self.attempts)
        if self.state not in (IDLE, CLOSED):
            self.clock.wait_for_rest(RECONNECT_THREAD)

    @staticmethod
    def as_told(change: StatusChange) -> Told:
        return change.current.state, change.current.reconnect_attempts, change.current.next_retry_at

    # What somebody asks for

    @rule()
    def connect(self) -> None:
        turns = self.clock.turns[RECONNECT_THREAD]
        begins = self.state in (IDLE, CLOSED, FAILED)
        if begins:
            self.start_anew()
            self.tell(CONNECTING)
            self.attempt()
        self.client.connect(wait=False)
        if not begins:
            self.clock.wait_for_rest(RECONNECT_THREAD, turns=turns + 1)
        self.settle()

    @rule()
    def reconnect(self) -> None:
        self.some_may_be_lost()
        self.start_anew()
        if self.state in (IDLE, CLOSED, FAILED):
            self.tell(CONNECTING)
        elif self.state in (CONNECTED, UNAVAILABLE):
            self.lived()
            self.step = 0
            self.tell(RECONNECTING)
        self.attempt()
        self.client.reconnect(wait=False)
        self.settle()

    @precondition(lambda self: self.state is not IDLE)
    @rule()
    def close(self) -> None:
        self.some_may_be_lost()
        if self.state is not CLOSED:
            self.tell(CLOSED)
        self.hanging = False
        self.connections = 0
        self.client.close()
        assert own_threads(self.client) == []
        self.settle()

    @rule()
    def send(self) -> None:
        if self.state is CONNECTED:
            self.client.send({"type": "hello"})
            assert self.network.current.sent[-1] == '{"type":"hello"}'
        else:
            with pytest.raises(ClientClosed if self.state is CLOSED else NotConnected):
                self.client.send({"type": "hello"})

    # What the network does

    @precondition(lambda self: len(self.plan) < 3)
    @rule(outcome=st.sampled_from(["is refused", "is refused", "is refused for good", "hangs"]))
    def the_next_attempt(self, outcome: str) -> None:
        self.plan.append(outcome)
        if outcome == "hangs":
            self.network.hang()
        else:
            self.network.refuse(None if outcome == "is refused" else AuthenticationError("who?", status=401))

    @precondition(lambda self: self.state is CONNECTED)
    @rule(counts=st.lists(st.integers(1, 3), min_size=1, max_size=3), malformed=st.booleans(), wait=st.booleans())
    def events_come(self, counts: list[int], malformed: bool, wait: bool) -> None:
        for count in counts:
            numbers = range(self.numbers, self.numbers + count)
            self.numbers += count
            self.possible += numbers
            noise = ["{"] if malformed else []
            self.network.current.put(*noise, *({"type": "deploy", "data": number} for number in numbers))
        if wait:
            self.malformed += len(counts) * malformed
            self.all_are_delivered()
        elif malformed:
            self.malformed = -1_000_000  # from here on it depends on who was quicker

    @precondition(lambda self: self.state is CONNECTED)
    @rule(code=st.sampled_from([1006, 1000, TRY_AGAIN_LATER]))
    def the_connection_is_lost(self, code: int) -> None:
        self.lived()
        self.step += 1
        delay = LONGEST if code == TRY_AGAIN_LATER else min(2.0 ** (self.step - 1), LONGEST)
        self.tell(RECONNECTING, delay)
        self.network.current.lose(ConnectionLost("lost", code=code))
        self.settle()
        self.all_are_delivered()

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.0, 4.0, 11.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        end = self.elapsed + seconds
        while self.due_at is not None and self.due_at <= end:
            step, self.elapsed = self.due_at - self.elapsed, self.due_at
            if self.hanging:
                self.fails(fatal=False)
            else:
                self.attempt()
            self.clock.advance(step)
            self.settle()
        self.clock.advance(end - self.elapsed)
        self.elapsed = end

    # Bookkeeping

    def lived(self) -> None:
        if self.state is CONNECTED and self.elapsed - self.opened_at >= RESET_AFTER:
            self.step = 0

    def all_are_delivered(self) -> None:
        self.certain += self.possible
        self.possible = []
        last = self.certain[-1:]
        self.story.wait_until(lambda story: not last or last[0] in numbers_in(story))

    def some_may_be_lost(self) -> None:
        """Events that nobody waited for before the connection is ended from this side: some, the first ones, come."""
        self.doubtful.append(self.possible)
        self.possible = []

    # What always holds

    @invariant()
    def the_present_is_the_promised_one(self) -> None:
        status = self.client.status
        assert status.state is self.state
        assert self.client.is_connected is (self.state is CONNECTED)
        assert status.reconnect_attempts == self.failed or self.state is not CONNECTED
        assert status.connecting is self.hanging
        if not self.hanging:
            due = None if self.due_at is None else START + timedelta(seconds=self.due_at)
            assert status.next_retry_at == due
        assert self.clock.monotonic() == 1000.0 + self.elapsed

    @invariant()
    def never_connected_without_a_link(self) -> None:
        opened = [link for link in self.network.links if link._failure is None and not link.closing]
        if self.client.is_connected:
            assert self.network.current in opened
        assert len(self.network.links) == self.attempts

    @invariant()
    def changes_follow_from_each_other(self) -> None:
        changes = self.changes.items
        assert all(one.current == other.previous for one, other in itertools.pairwise(changes))
        connected = self.connected.items
        assert connected == [number % 2 == 0 for number in range(len(connected))]

    @invariant()
    def events_come_once_and_in_order_and_while_connected(self) -> None:
        story = self.story.items
        numbers = numbers_in(story)
        assert numbers == sorted(set(numbers))
        assert set(self.certain) <= set(numbers)
        for doubtful in self.doubtful:
            came = [number for number in doubtful if number in numbers]
            assert came == doubtful[: len(came)]
        state = IDLE
        for item in story:
            if isinstance(item, StatusChange):
                state = item.current.state
            else:
                assert state is CONNECTED

    @invariant()
    def counters_add_up(self) -> None:
        metrics = self.client.metrics()
        assert metrics.received == metrics.delivered + sum(metrics.dropped.values()) + metrics.waiting
        if self.malformed >= 0:
            assert metrics.malformed == self.malformed

    def teardown(self) -> None:
        self.client.close()
        self.errors.__exit__(None, None, None)
        assert own_threads(self.client) == []
        assert self.client.status.state in (CLOSED, IDLE)
        gaps = [item for item in self.story.items if isinstance(item, Gap)]
        assert len(gaps) == self.gaps
        assert not any(gap.complete for gap in gaps)


def numbers_in(story: list[Any]) -> list[int]:
    return [item.to_dict()["data"] for item in story if isinstance(item, Event)]


ClientAgainstModel.TestCase.settings = effort(60, 40)
TestClient = ClientAgainstModel.TestCase
