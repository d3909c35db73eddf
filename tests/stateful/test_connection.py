"""The rules of reconnecting, all together: the machine's table, the account of attempts and the table of outcomes.

The model counts by itself what the documentation promises: when an outage is declared, how long each delay may be, when
the schedule starts anew.
"""

from __future__ import annotations

import random

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

REFUSALS = st.sampled_from(
    [
        *[ConnectError("connection refused")] * 12,  # most of the time, so that delays come to grow
        ConnectTimeout("too slow", timeout=10),
        ConnectError("certificate", retryable=False),
        *(HandshakeRejected("no", status=status) for status in (204, 302, 404, 426, 429, 500)),
        *(HandshakeRejected("busy", status=503, retry_after=after) for after in (None, 0.0, 7.0, 1e9)),
        AuthenticationError("who?", status=401),
    ]
)
LOSSES = st.sampled_from(
    [
        *[ConnectionLost("end of stream")] * 5,
        HeartbeatTimeout("silent", silence=10),
        MessageTooLarge("large", size=2, limit=1),
        *(ConnectionLost("closed", code=code) for code in (1000, 1001, 1008, 1011, 1012, 1013, 4000)),
        *(ProtocolError("broken", code=code) for code in (1002, 1007)),
    ]
)
FATAL_STATUSES = (302, 404, 426, 401)
STRIKE_CODES = (1002, 1003, 1007, 1008, 1010)


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
    @rule(error=REFUSALS)
    def an_attempt_fails(self, error: RealtimeError) -> None:
        self.begin_an_attempt()
        decision = self.decide(error)
        renews = isinstance(error, AuthenticationError) and callable(self.config.token) and not self.renewed
        assert (decision.action == "renew") is renews
        if self.state is not ConnectionState.CONNECTING:
            self.failed += 1
            self.attempts.count_failure()
        if renews:
            self.renewed = True
            self.feed(Fact.RENEW, Action.DIAL)
            return
        hopeless = not getattr(error, "retryable", True) or getattr(error, "status", 0) in FATAL_STATUSES
        assert (decision.action == "fatal") is hopeless
        self.goes_on(decision)

    @precondition(lambda self: self.state is ConnectionState.CONNECTED)
    @rule(error=LOSSES)
    def the_connection_ends(self, error: ConnectionLost) -> None:
        self.attempts.ended(self.now)
        if self.now - self.opened_at >= self.config.reconnect_reset_after:
            self.step = 0
        self.strikes = self.strikes + 1 if error.code in STRIKE_CODES else 0
        decision = self.decide(error)
        assert (decision.action == "fatal") is (self.strikes >= 3)
        self.goes_on(decision)

    @precondition(lambda self: self.trying or self.waits)
    @rule(error=LOSSES)
    def a_connection_ends_at_once(self, error: ConnectionLost) -> None:
        self.an_attempt_succeeds()
        self.the_connection_ends(error)

    def decide(self, error: RealtimeError) -> RetryDecision:
        situation = Situation(config=self.config, renewed=self.renewed, strikes=self.strikes)
        return decide(error, situation)[1]

    def goes_on(self, decision: RetryDecision) -> None:
        """What the reconnect thread makes of a decision, and what is promised of it."""
        limit = self.config.max_reconnect_attempts
        used_up = limit is not None and self.failed >= limit
        assert self.attempts.exhausted is used_up
        fatal = decision.action == "fatal"
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
        low, high = self.promised(decision)
        delay = self.attempts.next_delay(decision, declared=self.state is ConnectionState.UNAVAILABLE)
        assert low <= delay <= high
        self.due_at = self.now + delay

    def promised(self, decision: RetryDecision) -> tuple[float, float]:
        """The shortest and the longest delay that the documentation allows."""
        config = self.config
        less, more = 1 - config.reconnect_jitter, 1 + config.reconnect_jitter
        if decision.action == "fatal":
            return config.fatal_retry_delay * less, config.fatal_retry_delay * more
        self.step += 1
        exact = min(1.0 * 2.0 ** (self.step - 1), 16.0)
        if self.state is ConnectionState.UNAVAILABLE:
            exact = 16.0
        low, high = exact * less, exact * more
        if decision.spread is not None:
            low, high = min(decision.spread[0], 16.0), min(decision.spread[1], 16.0 * more)
        if decision.at_least is not None:
            assert decision.at_least <= 86_400
            low = max(low, decision.at_least)
            high = max(high, decision.at_least + config.reconnect_jitter)
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
