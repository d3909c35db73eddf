"""Gaps, how they are filled, and heartbeats that notice when the server falls silent; on a clock that a test moves.

The model says what callbacks are told, in one line: states, events of stream and poll, gaps with their times.
"""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from realtime_client import Gap, NewAnomaly, Origin, PollError, RealtimeClient, StatusChange
from realtime_client.testing import MemoryLink, MemoryTransport
from realtime_client.transports.base import Received
from tests.client.recording import PATIENCE, Record, anomaly, own_threads
from tests.fuzz.silence import no_errors_logged
from tests.outages.waiting import wait_until_ended
from tests.stateful.effort import effort
from tests.stateful.resting import START, RestingClock

NAME = "filling"
RECONNECT, HEARTBEAT = f"rtc-{NAME}-reconnect", f"rtc-{NAME}-heartbeat"
DELAY, INTERVAL, TIMEOUT, BACKFILL = 1.0, 10.0, 4.1, 6.3
"""Seconds: until the reconnection, between heartbeats, of silence after one, for a gap to be filled."""


class Question:
    """A poll that waits for its answer.

    Attributes:
        answer: The numbers of the events, or ``None`` for a failure.
    """

    def __init__(self) -> None:
        self._answered = threading.Event()
        self._answer: list[int] | None = None

    def settle(self, answer: list[int] | None) -> None:
        self._answer = answer
        self._answered.set()

    def wait(self) -> dict[str, Any]:
        assert self._answered.wait(PATIENCE)
        if self._answer is None:
            raise PollError("not now")
        return {"logs": [{**anomaly(number)["data"]["log"], "isAnomaly": True} for number in self._answer]}


class Peer(MemoryLink):
    """A server's end, which answers heartbeats, unless it is mute.

    Attributes:
        turns: The reader's calls: each time it has dealt with everything before.
        pinged: Heartbeats, which are answered by then.
    """

    def __init__(self, owner: MemoryTransport) -> None:
        super().__init__(owner, None, hangs=False)
        self.mute = False
        self.turns = Record()
        self.pinged = Record()

    def receive(self) -> Received:
        self.turns(None)
        return super().receive()

    def ping(self, payload: bytes, timeout: float, message: str | None = None) -> None:
        super().ping(payload, timeout, message)
        if not self.mute:
            self.pong(payload)
        self.pinged(payload)


class Peers(MemoryTransport):
    """Every attempt succeeds."""

    def __call__(self) -> Peer:
        peer = Peer(self)
        with self._changed:
            self.links.append(peer)
            self._changed.notify_all()
        return peer


class FillingAgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.errors = no_errors_logged()
        self.errors.__enter__()
        self.clock, self.network = RestingClock(), Peers()
        self.questions = Record()
        self.story = Record()
        self.client = RealtimeClient(
            name=NAME,
            link_factory=self.network,
            clock=self.clock,
            poller=self.poll,
            poll_after=1e6,
            backfill_timeout=BACKFILL,
            heartbeat="frame",
            heartbeat_interval=INTERVAL,
            heartbeat_timeout=TIMEOUT,
            max_reconnect_attempts=None,
            reconnect_delay=DELAY,
            reconnect_delay_max=DELAY,
            reconnect_jitter=0,
        )
        self.client.on("new_anomaly", self.story)
        self.client.on_status(self.changed)
        self.client.on_gap(self.story)
        # The model.
        self.elapsed = 0.0
        self.told: list[Any] = ["CONNECTING"]
        self.feed: list[int] = []  # what the server has had to tell
        self.missing: list[int] = []  # what of it the client has not got
        self.held: list[int] = []  # what it has got, and keeps back until the gap is filled
        self.polls = 0
        self.filling = False  # a poll is under way
        self.holding = False
        self.hold_until = self.due_at = self.next_ping = 0.0
        self.pinged_at: float | None = None
        self.pings = 0
        self.connected = False
        self.heard_at: float | None = None
        self.gap_since: float | None = None
        self.back_at = 0.0
        self.client.connect(wait=False)
        self.comes_up()

    def poll(self) -> dict[str, Any]:
        question = Question()
        self.questions(question)
        return question.wait()

    def changed(self, change: StatusChange) -> None:
        if change.current.state is not change.previous.state:
            self.story(change.current.state.name)

    @property
    def peer(self) -> Peer:
        peer = self.network.current
        assert isinstance(peer, Peer)
        return peer

    # The model's half

    def at(self, elapsed: float) -> datetime:
        return START + timedelta(seconds=elapsed)

    def streamed(self, numbers: list[int]) -> None:
        self.told += [(Origin.STREAM, number) for number in numbers]

    def comes_up(self) -> None:
        self.told.append("CONNECTED")
        self.connected, self.back_at = True, self.elapsed
        self.next_ping, self.pinged_at, self.pings = self.elapsed + INTERVAL, None, 0
        self.settle()
        if self.gap_since is not None:
            self.filling = self.holding = True
            self.hold_until = self.elapsed + BACKFILL
            self.polls += 1
            self.questions.wait_for(self.polls)
        self.clock.wait_for_rest(RECONNECT)
        self.clock.wait_for_rest(HEARTBEAT)
        self.peer.turns.wait_for(1)

    def goes_down(self) -> None:
        """What was kept back comes; the gap stays open, where there was one."""
        if self.gap_since is None:
            self.gap_since = self.elapsed if self.heard_at is None else self.heard_at
        self.lets_go()
        self.connected = False
        self.told.append("RECONNECTING")
        self.due_at = self.elapsed + DELAY
        self.settle()
        self.clock.wait_for_rest(RECONNECT)
        if self.filling:
            self.filling = False
            self.questions.items[-1].settle(self.feed)  # too late: nobody listens any more

    def lets_go(self) -> None:
        self.streamed(self.held)
        self.held = []
        self.holding = False

    def settle(self) -> None:
        told = self.story.wait_until(lambda items: len(items) >= len(self.told))
        assert [self.as_told(item) for item in told] == self.told

    @staticmethod
    def as_told(item: Any) -> Any:
        if isinstance(item, Gap):
            return item
        if isinstance(item, NewAnomaly):
            return item.origin, int(item.log.id.removeprefix("log-"))
        return item

    # What the server does

    @precondition(lambda self: self.connected and not self.peer.mute)
    @rule(count=st.integers(1, 3))
    def events_come(self, count: int) -> None:
        numbers = list(range(len(self.feed), len(self.feed) + count))
        self.feed += numbers
        turns = len(self.peer.turns.items)
        self.peer.put(*map(anomaly, numbers))
        self.heard_at = self.elapsed
        if self.holding:
            self.held += numbers
        else:
            self.streamed(numbers)
        self.peer.turns.wait_for(turns + 1)
        assert self.client.store.recent_logs[0].id == f"log-{numbers[-1]}"  # there at once, held back or not

    @precondition(lambda self: not self.connected or self.peer.mute)
    @rule(count=st.integers(1, 3))
    def events_are_missed(self, count: int) -> None:
        numbers = list(range(len(self.feed), len(self.feed) + count))
        self.feed += numbers
        self.missing += numbers

    @precondition(lambda self: self.connected)
    @rule()
    def the_server_falls_silent(self) -> None:
        self.peer.mute = True

    @precondition(lambda self: self.connected)
    @rule()
    def the_connection_is_lost(self) -> None:
        self.peer.lose()
        self.goes_down()

    @precondition(lambda self: self.filling)
    @rule(succeeds=st.booleans())
    def the_poll_is_answered(self, succeeds: bool) -> None:
        """With all that there is, most of which the client has."""
        recovered = len(self.missing) if succeeds else 0
        if succeeds:
            self.told += [(Origin.POLL, number) for number in self.missing]
            self.missing = []
            self.heard_at = self.elapsed
        assert self.gap_since is not None
        self.told.append(
            Gap(
                since=self.at(self.gap_since),
                until=self.at(self.back_at),
                recovered=recovered,
                complete=succeeds and self.holding,
            )
        )
        self.gap_since = None
        self.filling = False
        self.lets_go()
        turns = self.clock.turns[RECONNECT]
        self.questions.items[-1].settle(self.feed if succeeds else None)
        self.settle()
        self.clock.wait_for_rest(RECONNECT, turns=turns + 1)

    # What time brings

    def next_event(self) -> tuple[float, str]:
        coming = []
        if not self.connected:
            coming.append((self.due_at, "reconnection"))
        else:
            coming.append((self.next_ping, "heartbeat"))
            if self.pinged_at is not None:
                coming.append((self.pinged_at + TIMEOUT, "death"))
        if self.holding:
            coming.append((self.hold_until, "release"))
        return min(coming)

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0, 7.0, 20.0]))
    def time_passes(self, seconds: float) -> None:
        end = self.elapsed + seconds
        while (coming := self.next_event())[0] <= end:
            at, what = coming
            turns, rounds = len(self.peer.turns.items), self.clock.turns[RECONNECT]
            self.clock.advance(at - self.elapsed)
            self.elapsed = at
            if what == "reconnection":
                self.comes_up()
            elif what == "heartbeat":
                self.beats(turns)
            elif what == "death":
                self.goes_down()
            else:
                self.lets_go()
                self.settle()
                self.clock.wait_for_rest(RECONNECT, turns=rounds + 1)
        self.clock.advance(end - self.elapsed)
        self.elapsed = end

    def beats(self, turns: int) -> None:
        """A heartbeat is due; `turns` had been made before."""
        peer = self.peer
        self.pings += 1
        self.next_ping = self.elapsed + INTERVAL
        peer.pinged.wait_for(self.pings)
        if peer.mute:
            self.pinged_at = self.elapsed
        else:
            self.heard_at = self.elapsed
            peer.turns.wait_for(turns + 1)
        self.clock.wait_for_rest(HEARTBEAT)

    # What always holds

    @invariant()
    def callbacks_are_told_what_the_model_tells(self) -> None:
        self.settle()

    @invariant()
    def counters_add_up(self) -> None:
        metrics = self.client.metrics()
        assert metrics.received == metrics.delivered + sum(metrics.dropped.values()) + metrics.waiting

    def teardown(self) -> None:
        for question in self.questions.items:
            question.settle(None)
        self.client.close()
        wait_until_ended(f"rtc-{NAME}-poller")  # with polls that were given up
        self.errors.__exit__(None, None, None)
        assert own_threads(self.client) == []


FillingAgainstModel.TestCase.settings = effort(60, 40)
TestFilling = FillingAgainstModel.TestCase
