"""The rules of reconnecting, all together: the machine's table, the account of attempts and the table of outcomes.

The model counts by itself what the documentation promises: when an outage is declared, how long each delay may be, when
the schedule starts anew.
"""

from __future__ import annotations

import random

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from realtime_client._core.backoff import Attempts
from realtime_client._core.machine import Action, Fact, Machine, Phase
from realtime_client._core.retry import Situation, decide
from realtime_client.config import ClientConfig
from realtime_client.errors import (
    AuthenticationError,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    HandshakeRejected,
    HeartbeatTimeout,
    MessageTooLarge,
    ProtocolError,
    RealtimeError,
)
from realtime_client.status import ConnectionState, RetryDecision
from tests.stateful.effort import effort


@attrs.frozen
class Promise:
    """What the documentation says of an outcome, written down here once more, and asked of no code.

    Attributes:
        fatal: Another attempt will hardly help.
        asks_for_credentials: A token that can be renewed is renewed first, once.
        strike: Fatal the third time in a row.
        at_least: The server's word: seconds before which there is no attempt.
        between: The delay, in place of the schedule's; with jitter, the longer one grows by it.
    """

    fatal: bool = False
    asks_for_credentials: bool = False
    strike: bool = False
    at_least: float | None = None
    between: tuple[float, float] | None = None


AGAIN, NEVER, STRIKE = Promise(), Promise(fatal=True), Promise(strike=True)
DAY = 86_400
SCHEDULE = (1.0, 2.0, 4.0, 8.0, 16.0)
LONGEST = 16.0
REFUSALS = st.sampled_from(
    [
        *[(ConnectError("connection refused"), AGAIN)] * 12,  # most of the time, so that delays come to grow
        (ConnectTimeout("too slow", timeout=10), AGAIN),
        (ConnectError("certificate", retryable=False), NEVER),
        *((HandshakeRejected("no", status=status), AGAIN) for status in (101, 204, 408, 421, 425, 429, 500, 502, 599)),
        *((HandshakeRejected("no", status=status), NEVER) for status in (302, 308, 400, 404, 410, 426)),
        *((HandshakeRejected("busy", status=status, retry_after=7.0), Promise(at_least=7)) for status in (429, 503)),
        (HandshakeRejected("busy", status=503, retry_after=0.0), Promise(at_least=0)),
        (HandshakeRejected("busy", status=503, retry_after=1e9), Promise(at_least=DAY)),
        *((AuthenticationError("who?", status=status), Promise(asks_for_credentials=True)) for status in (401, 403)),
    ]
)
LOSSES = st.sampled_from(
    [
        *[(ConnectionLost("end of stream"), AGAIN)] * 5,
        (HeartbeatTimeout("silent", silence=10), AGAIN),
        (MessageTooLarge("large", size=2, limit=1), AGAIN),
        *((ConnectionLost("closed", code=code), AGAIN) for code in (1000, 1001, 1006, 1009, 1011, 4000)),
        *((ConnectionLost("closed", code=code), STRIKE) for code in (1003, 1008, 1010)),
        *((ProtocolError("broken", code=code), STRIKE) for code in (1002, 1007)),
        (ConnectionLost("restart", code=1012), Promise(between=(5, LONGEST))),
        (ConnectionLost("later", code=1013), Promise(between=(LONGEST, LONGEST))),
    ]
)


class ConnectionAgainstModel(RuleBasedStateMachine):
    """Stands for the thread that feeds the machine, with the time at its command."""

    @initialize(
        jitter=st.sampled_from([0.0, 0.5]),
        limit=st.sampled_from([None, None, 0, 1, 3]),
        give_up=st.booleans(),
        renewable=st.booleans(),
        seed=st.integers(0, 9),
    )
    def begin(self, jitter: float, limit: int | None, give_up: bool, renewable: bool, seed: int) -> None:
        self.config = ClientConfig(
            reconnect_jitter=jitter,
            max_reconnect_attempts=limit,
            give_up=give_up,
            token=(lambda: "token") if renewable else "token",
        )
        self.machine = Machine()
        self.attempts = Attempts(self.config, random.Random(seed).uniform)
        self.now = 1000.0
        self.due_at = self.opened_at = self.now
        self.state = ConnectionState.IDLE
        self.trying = self.renewed = self.ever = False
        self.failed = self.step = self.strikes = 0

    def feed(self, fact: Fact, *expected: Action) -> None:
        assert self.machine.feed(fact) in expected

    # What somebody asks for

    @rule(what=st.sampled_from(["connect", "connect", "connect", "reconnect", "close"]))
    def somebody_asks(self, what: str) -> None:
        if what == "connect":
            self.connect()
        elif what == "reconnect":
            self.reconnect()
        else:
            self.close()

    def connect(self) -> None:
        begins = self.state in (ConnectionState.IDLE, ConnectionState.FAILED)
        self.feed(Fact.CONNECT, Action.DIAL if begins else Action.NOTHING)
        if begins:
            self.start_anew(ConnectionState.CONNECTING)

    def reconnect(self) -> None:
        first = self.state in (ConnectionState.IDLE, ConnectionState.FAILED, ConnectionState.CONNECTING)
        self.feed(Fact.RECONNECT, Action.DIAL)
        self.start_anew(ConnectionState.CONNECTING if first else ConnectionState.RECONNECTING)

    def start_anew(self, state: ConnectionState) -> None:
        self.attempts.reset()
        self.state, self.trying, self.renewed = state, True, False
        self.failed = self.step = self.strikes = 0

    def close(self) -> None:
        """The end of this run; the next one has a machine of its own, and the same account."""
        self.feed(Fact.CLOSE, Action.END)
        for late in (Fact.CONNECT, Fact.RECONNECT, Fact.CLOSE):
            self.feed(late, Action.NOTHING)
        assert self.machine.state is ConnectionState.CLOSED
        self.machine = Machine()
        self.state, self.trying, self.ever = ConnectionState.IDLE, False, False

    # What happens

    @precondition(lambda self: not self.waits)
    @rule(seconds=st.sampled_from([0.1, 5.0, 11.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @property
    def waits(self) -> bool:
        return self.state in (ConnectionState.RECONNECTING, ConnectionState.UNAVAILABLE) and not self.trying

    def begin_an_attempt(self) -> None:
        """Let the delay be over, if there is one."""
        if not self.trying:
            self.now = self.due_at
            self.feed(Fact.DUE, Action.DIAL)
            self.trying = True

    @precondition(lambda self: self.trying or self.waits)
    @rule()
    def an_attempt_succeeds(self) -> None:
        self.begin_an_attempt()
        self.feed(Fact.OPENED, Action.SERVE)
        self.attempts.opened(self.now)
        self.state, self.trying, self.renewed = ConnectionState.CONNECTED, False, False
        self.failed, self.opened_at, self.ever = 0, self.now, True

    @precondition(lambda self: self.trying or self.waits)
    @rule(refusal=REFUSALS)
    def an_attempt_fails(self, refusal: tuple[RealtimeError, Promise]) -> None:
        error, promise = refusal
        self.begin_an_attempt()
        decision = self.decide(error)
        renews = promise.asks_for_credentials and callable(self.config.token) and not self.renewed
        assert (decision.action == "renew") is renews
        if self.state is not ConnectionState.CONNECTING:
            self.failed += 1
            self.attempts.count_failure()
        if renews:
            self.renewed = True
            self.feed(Fact.RENEW, Action.DIAL)
            return
        self.goes_on(decision, promise, fatal=promise.fatal or promise.asks_for_credentials)

    @precondition(lambda self: self.state is ConnectionState.CONNECTED)
    @rule(loss=LOSSES)
    def the_connection_ends(self, loss: tuple[ConnectionLost, Promise]) -> None:
        error, promise = loss
        self.attempts.ended(self.now)
        if self.now - self.opened_at >= self.config.reconnect_reset_after:
            self.step = 0
        self.strikes = self.strikes + 1 if promise.strike else 0
        self.goes_on(self.decide(error), promise, fatal=self.strikes >= 3)

    @precondition(lambda self: self.trying or self.waits)
    @rule(loss=LOSSES)
    def a_connection_ends_at_once(self, loss: tuple[ConnectionLost, Promise]) -> None:
        self.an_attempt_succeeds()
        self.the_connection_ends(loss)

    def decide(self, error: RealtimeError) -> RetryDecision:
        """What the table says; it is judged by what comes of it, and never asked by the model."""
        situation = Situation(config=self.config, renewed=self.renewed, strikes=self.strikes)
        return decide(error, situation)[1]

    def goes_on(self, decision: RetryDecision, promise: Promise, *, fatal: bool) -> None:
        """What the reconnect thread makes of a decision, and what is promised of the outcome."""
        assert (decision.action == "fatal") is fatal
        limit = self.config.max_reconnect_attempts
        used_up = limit is not None and self.failed >= limit
        assert self.attempts.exhausted is used_up
        before, self.trying = self.state, False
        if (fatal and not self.ever) or ((fatal or used_up) and self.config.give_up):
            self.feed(Fact.HOPELESS, Action.GIVE_UP)
            self.state = ConnectionState.FAILED
            return
        fact = Fact.FATAL if fatal else Fact.EXHAUSTED if used_up else Fact.FAILED
        declared = before is ConnectionState.UNAVAILABLE
        self.feed(fact, Action.WAIT if declared or not (fatal or used_up) else Action.DECLARE)
        if not declared:
            self.state = ConnectionState.UNAVAILABLE if fatal or used_up else ConnectionState.RECONNECTING
        low, high = self.promised(promise, fatal=fatal)
        delay = self.attempts.next_delay(decision, declared=self.state is ConnectionState.UNAVAILABLE)
        assert low <= delay <= high
        self.due_at = self.now + delay

    def promised(self, promise: Promise, *, fatal: bool) -> tuple[float, float]:
        """The shortest and the longest delay that the documentation allows, with the default schedule."""
        jitter = self.config.reconnect_jitter
        if fatal:
            return 60 * (1 - jitter), 60 * (1 + jitter)
        self.step += 1
        exact = LONGEST if self.state is ConnectionState.UNAVAILABLE else SCHEDULE[min(self.step, len(SCHEDULE)) - 1]
        low, high = exact * (1 - jitter), exact * (1 + jitter)
        if promise.between is not None:
            low, high = promise.between[0], promise.between[1] * (1 + jitter)
        if promise.at_least is not None:
            low, high = max(low, promise.at_least), max(high, promise.at_least + jitter)
        return low, high

    # What always holds

    @invariant()
    def the_state_is_the_promised_one(self) -> None:
        assert self.machine.state is self.state
        assert self.machine.dialling is self.trying
        assert self.attempts.failed == self.failed

    @invariant()
    def connected_only_after_an_attempt_succeeded(self) -> None:
        assert (self.machine.phase is Phase.CONNECTED) is (self.state is ConnectionState.CONNECTED)


ConnectionAgainstModel.TestCase.settings = effort(200, 50)
TestConnection = ConnectionAgainstModel.TestCase
