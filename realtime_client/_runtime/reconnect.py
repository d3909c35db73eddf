"""The reconnect thread: it alone feeds the connection machine and performs what the machine names.

Everybody else posts to its one inbox. Each attempt has a generation; what an older one still reports is discarded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple, TypeAlias

import attrs

from realtime_client._core.backoff import Attempts
from realtime_client._core.machine import Action, Fact, Machine, Phase
from realtime_client._core.retry import STRIKE_CODES, Situation, decide
from realtime_client._runtime.announcer import Announcer
from realtime_client._runtime.board import StatusBoard
from realtime_client._runtime.clock import Clock, Inbox
from realtime_client._runtime.counters import Counters
from realtime_client._runtime.fallback import Fallback
from realtime_client._runtime.heartbeat import Heartbeat
from realtime_client._runtime.hub import Hub, Topic
from realtime_client._runtime.intake import Intake
from realtime_client._runtime.mailbox import Notice
from realtime_client._runtime.poll import PollReport
from realtime_client._runtime.reader import Reader
from realtime_client._runtime.threads import ClientThread, Threads, join_all
from realtime_client.config import ClientConfig
from realtime_client.errors import ClientClosed, ConnectError, ConnectionLost, RealtimeError, RecordingError
from realtime_client.status import ConnectionStatus, RetryDecision, StatusChange, Transport
from realtime_client.transports.base import FeedOver, Link, LinkFactory

__all__ = ["Close", "Dropped", "Outcome", "Post", "Request", "Supervisor"]

logger = logging.getLogger("realtime_client")

WATCHDOG_GRACE = 0.5
"""A dial keeps its own deadline; this much later the watchdog ends it whatever it is doing."""
LAST_MOMENT = 0.1
"""Part of the closing deadline, in seconds, that is kept for what follows the peer's answer."""


class Outcome(NamedTuple):
    """What became of a request: connected, or an error."""

    error: RealtimeError | None = None


@attrs.define(eq=False, repr=False)
class Request:
    """Somebody called ``connect()`` or ``reconnect()``.

    Attributes:
        fact: Which of the two.
        reply: Who waits for the outcome, if anybody.
        handled: Whether the reconnect thread has acted on it.
    """

    fact: Fact
    reply: Inbox[Outcome] | None = None
    handled: bool = False


class Close(NamedTuple):
    """Somebody called ``close()``.

    Attributes:
        deadline: Monotonic time by which the connection must be gone.
    """

    deadline: float


class Dropped(NamedTuple):
    """The client, or a handle on it, was collected without a ``close()``.

    Attributes:
        abandon: What to do about it.
    """

    abandon: Callable[[], object]


class Opened(NamedTuple):
    """A link's handshake is done."""

    generation: int


class Proved(NamedTuple):
    """A link has given its first message or pong."""

    generation: int


class Ended(NamedTuple):
    """A link has ended, or could not be opened; its reader does nothing any more."""

    generation: int
    error: RealtimeError


Post: TypeAlias = Request | Close | Dropped | Opened | Proved | Ended | PollReport


@attrs.define(eq=False, repr=False)
class _Generation:
    """One attempt, and the connection that comes of it."""

    number: int
    reader: Reader
    thread: ClientThread
    watchdog_at: float
    heartbeat: Heartbeat | None = None
    heartbeat_thread: ClientThread | None = None


class Supervisor:
    """Drives one run of a client, from the first request to the close.

    Args:
        inbox: What is posted to it.
        config: The options.
        make_link: Makes the link for each attempt.
        intake: What becomes of received messages.
        fallback: What stands in for the stream.
        attempts: The account of attempts.
        hub, board, counters, clock, threads, announcer: What the threads share.
        over: Called when the feed has come to its end, before the run ends because of that.
        ended: Called when the run has ended or given up, with the error for those who wait.
        changed: Called when there is another status.
    """

    def __init__(
        self,
        *,
        inbox: Inbox[Post],
        config: ClientConfig,
        make_link: LinkFactory,
        intake: Intake,
        fallback: Fallback,
        attempts: Attempts,
        hub: Hub,
        board: StatusBoard,
        counters: Counters,
        clock: Clock,
        threads: Threads,
        announcer: Announcer,
        over: Callable[[], None],
        ended: Callable[[RealtimeError], None],
        changed: Callable[[], None],
    ) -> None:
        self._inbox = inbox
        self._config = config
        self._make_link = make_link
        self._intake = intake
        self._fallback = fallback
        self._attempts = attempts
        self._hub = hub
        self._board = board
        self._counters = counters
        self._clock = clock
        self._threads = threads
        self._announcer = announcer
        self._over = over
        self._ended_for_now = ended
        self._changed = changed
        self._machine = Machine()
        self._generations = 0
        self._current: _Generation | None = None
        self._due_at = 0.0
        self._error: RealtimeError | None = None  # why the last attempt failed or the last connection ended
        self._decision = RetryDecision()
        self._renewed = False
        self._strikes = 0
        self._connections = 0
        self._waiting: list[Inbox[Outcome]] = []
        self._close_by = 0.0
        self.lingering: str | None = None
        """The name of a thread that outlived its link because nothing can interrupt it."""

    def run(self) -> None:
        """The thread's life."""
        while self._machine.phase is not Phase.CLOSED:
            post = self._clock.get(self._inbox, self._patience())
            try:
                self._handle(post)
            except BaseException as error:
                logger.exception("[%s] unexpected error on the reconnect thread", self._config.name)
                try:
                    self._recover(error)
                except BaseException:
                    logger.exception("[%s] unexpected error while mending the last one", self._config.name)

    def disown(self) -> None:
        """In a forked child: let go of the parent's connections."""
        if self._current is not None:
            self._current.reader.link.disown()
        self._fallback.disown()

    @property
    def link(self) -> Link | None:
        """The current link, for whoever sends."""
        current = self._current
        return None if current is None else current.reader.link

    # Facts

    def _patience(self) -> float | None:
        due = [] if self._fallback.next_due is None else [self._fallback.next_due]
        if self._machine.phase in (Phase.WAITING, Phase.OUTAGE):
            due.append(self._due_at)
        elif self._machine.dialling and self._current is not None:
            due.append(self._current.watchdog_at)
        return min(due) - self._clock.monotonic() if due else None

    def _handle(self, post: Post | None) -> None:
        match post:
            case None:
                self._time_passed()
            case Request(fact, reply):
                self._requested(fact, reply)
                post.handled = True
            case Opened(generation):
                if self._is_current(generation):
                    self._step(Fact.OPENED)
            case Proved(generation):
                if self._is_current(generation) and self._fallback.degraded:
                    self._fallback.proved()
                    self._publish_transport()
                    self._intake.unchanged(self._transport)  # a poll may just have said otherwise to the store
            case Ended(generation, error):
                if self._is_current(generation):
                    self._ended(error)
            case PollReport():
                if self._fallback.polled(post):
                    self._publish_transport()
            case Dropped(abandon):
                abandon()
            case Close(deadline):
                self._close_by = deadline
                self._step(Fact.CLOSE)

    def _is_current(self, generation: int) -> bool:
        return self._current is not None and self._current.number == generation

    def _time_passed(self) -> None:
        self._fallback.time_passed()
        now = self._clock.monotonic()
        if self._machine.phase in (Phase.WAITING, Phase.OUTAGE):
            if now >= self._due_at:
                self._step(Fact.DUE)
        elif self._machine.dialling and self._current is not None and now >= self._current.watchdog_at:
            self._current.watchdog_at = float("inf")
            self._current.reader.stop(ConnectionLost(f"not connected within {self._config.connect_timeout:g} s"))

    def _requested(self, fact: Fact, reply: Inbox[Outcome] | None) -> None:
        if fact is Fact.RECONNECT or self._machine.phase in (Phase.IDLE, Phase.FAILED):  # a fresh start
            self._attempts.reset()
            self._renewed = False
            self._strikes = 0
        if reply is not None:
            if fact is Fact.CONNECT and self._machine.phase is Phase.CONNECTED:
                reply.post(Outcome())
            else:
                self._waiting.append(reply)
        self._step(fact)

    def _ended(self, error: RealtimeError) -> None:
        """The current link is gone: find out which fact that is."""
        now = self._clock.monotonic()
        phase = self._machine.phase
        self._let_go()
        if isinstance(error, FeedOver):
            logger.info("[%s] %s", self._config.name, error)
            self._over()
            self._close_by = now + self._config.close_timeout
            self._step(Fact.CLOSE)
            return
        self._error = error
        if phase is Phase.CONNECTED:
            self._attempts.ended(now)
            self._fallback.was_connected()
            struck = isinstance(error, ConnectionLost) and error.code in STRIKE_CODES
            self._strikes = self._strikes + 1 if struck else 0
            self._announcer.lost(error)
        else:
            self._counters.add(failed_attempts=1)
            self._announcer.refused(error)
            if phase is not Phase.CONNECTING:  # the very first dial is no reconnection
                self._attempts.count_failure()
        self._decision = self._decide(error)
        fact = self._fact(error, self._decision)
        if fact is Fact.RENEW:  # dialled again at once, but this refusal is told like any other
            self._publish(connecting=True)
        self._step(fact)

    def _decide(self, error: RealtimeError) -> RetryDecision:
        situation = Situation(config=self._config, renewed=self._renewed, strikes=self._strikes)
        _, decision = decide(error, situation)
        if self._config.retry_policy is not None:
            try:
                answer = self._config.retry_policy(error, decision)
                if answer is not None and not isinstance(answer, RetryDecision):
                    raise TypeError(f"retry_policy returned a {type(answer).__name__}, not a RetryDecision or None")
                decision = answer or decision
            except BaseException:
                logger.exception("[%s] retry_policy raised; the table decides", self._config.name)
        return decision

    def _fact(self, error: RealtimeError, decision: RetryDecision) -> Fact:
        hopeless = self._config.give_up
        if decision.action == "renew" and self._machine.dialling and not self._renewed:
            self._renewed = True
            return Fact.RENEW
        if decision.action == "fatal":
            final = hopeless or not self._connections or isinstance(error, RecordingError)
            return Fact.HOPELESS if final else Fact.FATAL
        if self._attempts.exhausted:
            return Fact.HOPELESS if hopeless else Fact.EXHAUSTED
        return Fact.FAILED

    def _recover(self, error: BaseException) -> None:
        """After an unexpected error: end what there is and go on as after a failed attempt."""
        wrapped = ConnectError(f"unexpected {type(error).__name__} on the reconnect thread")
        wrapped.__cause__ = error
        self._drop_link(ConnectionLost("unexpected error"))
        if self._machine.dialling or self._machine.phase is Phase.CONNECTED:
            self._ended(wrapped)
        elif self._machine.phase in (Phase.WAITING, Phase.OUTAGE):
            self._error = wrapped
            self._due_at = self._clock.monotonic() + self._config.reconnect_delay_max
            self._publish(delay=self._config.reconnect_delay_max)

    # Actions

    def _step(self, fact: Fact) -> None:
        match self._machine.feed(fact):
            case Action.DIAL:
                self._dial()
            case Action.SERVE:
                self._serve()
            case Action.WAIT:
                self._wait()
            case Action.DECLARE:
                self._declare()
            case Action.GIVE_UP:
                self._give_up()
            case Action.END:
                self._end()
            case Action.NOTHING:
                pass

    def _dial(self) -> None:
        if self._board.connected:  # reconnect() was called
            self._fallback.was_connected()
        else:
            self._fallback.went_down()
        self._drop_link(ConnectionLost("the connection was dropped to connect anew"))
        self._generations += 1
        generation = self._generations
        now = self._clock.monotonic()
        reader = Reader(
            self._make_link(),
            connect_timeout=self._config.connect_timeout,
            intake=self._intake,
            clock=self._clock,
            read_interval=self._config.read_interval,
            opened=lambda: self._inbox.post(Opened(generation)),
            proved=lambda: self._inbox.post(Proved(generation)),
            ended=lambda error: self._inbox.post(Ended(generation, error)),
        )
        if self._machine.state is not self._board.read().state:
            self._publish(connecting=True)
        else:  # still RECONNECTING or UNAVAILABLE: no step that needs telling
            self._board.amend(connecting=True, next_retry_at=None)
        self._hub.hurry(False)
        self._current = _Generation(
            number=generation,
            reader=reader,
            thread=self._threads.start(f"reader-{generation}", reader.run),
            watchdog_at=now + self._config.connect_timeout + WATCHDOG_GRACE,
        )
        self._counters.follow(reader.link)

    def _serve(self) -> None:
        current = self._current
        if current is None:
            raise RuntimeError("connected without a link")
        current.watchdog_at = float("inf")
        self._attempts.opened(self._clock.monotonic())
        self._renewed = False
        self._error = None
        self._connections += 1
        self._counters.add(connects=1, reconnects=int(self._connections > 1))
        self._publish()
        self._announcer.connected()
        self._fallback.came_up(tells_gaps=current.reader.link.tells_gaps)
        if self._config.heartbeat != "none" and current.reader.link.sends:
            heartbeat = Heartbeat(
                current.reader,
                config=self._config,
                board=self._board,
                counters=self._counters,
                clock=self._clock,
                # While polling stands in, the stream is to prove itself at once and not with its next event.
                at_once=self._fallback.degraded,
            )
            current.heartbeat = heartbeat
            current.heartbeat_thread = self._threads.start(f"heartbeat-{current.number}", heartbeat.run)
        current.reader.go()
        self._answer(None)

    def _wait(self) -> None:
        delay = self._plan()
        if self._machine.phase is Phase.OUTAGE:
            self._announcer.probe(delay)
            self._answer(self._error)
        else:
            self._announcer.retry(self._attempts.failed + 1, self._config.max_reconnect_attempts, delay)

    def _declare(self) -> None:
        delay = self._plan()
        self._fallback.stand_in()
        self._announcer.unavailable(self._reason(), delay)
        self._answer(self._error)

    def _give_up(self) -> None:
        self._fallback.stop()
        self._publish()
        self._announcer.failed(self._reason())
        self._answer(self._error)
        self._ended_for_now(self._reason())
        self._hub.tell_side(Notice(Topic.FAILED, self._reason()))

    def _end(self) -> None:
        self._fallback.stop()
        self._say_goodbye()
        join_all(self._fallback.threads, self._clock, self._close_by)
        self._publish()
        self._announcer.closed()
        error = ClientClosed("the client was closed")
        self._answer(error)
        while (post := self._clock.get(self._inbox, 0)) is not None:
            if isinstance(post, Request) and post.reply is not None:
                post.reply.post(Outcome(error))
        self._ended_for_now(error)
        self._hub.end()

    def _say_goodbye(self) -> None:
        """The closing handshake, for as long as the deadline allows; then the end without ceremony."""
        current = self._current
        if current is None:
            return
        peer_by = self._close_by - LAST_MOMENT
        if self._board.connected:
            current.reader.link.close(max(0.0, peer_by - self._clock.monotonic()))
            current.thread.join(max(0.0, peer_by - self._clock.monotonic()))
        self._drop_link(ConnectionLost("the client was closed"), by=self._close_by)

    def _plan(self) -> float:
        """Fix the time of the next attempt, and publish it."""
        declared = self._machine.phase is Phase.OUTAGE
        delay = self._attempts.next_delay(self._decision, declared=declared)
        self._due_at = self._clock.monotonic() + delay
        self._publish(delay=delay)
        return delay

    def _publish(self, *, connecting: bool = False, delay: float | None = None) -> None:
        now = self._clock.now()
        before = self._board.read()
        state = self._machine.state
        status = ConnectionStatus(
            state=state,
            since=before.since if state is before.state else now,
            connecting=connecting,
            reconnect_attempts=self._attempts.failed,
            max_reconnect_attempts=self._config.max_reconnect_attempts,
            transport=self._transport(),
            last_error=self._error,
            next_retry_at=None if delay is None else now + timedelta(seconds=delay),
        )
        self._board.publish(status, self._tell_change)

    def _publish_transport(self) -> None:
        """Tell that events come from somewhere else now, and nothing else."""
        transport = self._transport()
        if self._board.present.transport is not transport:
            self._board.publish(attrs.evolve(self._board.present, transport=transport), self._tell_change)

    def _transport(self) -> Transport:
        if self._fallback.polling:
            return Transport.POLLING
        if self._machine.phase is Phase.CONNECTED and self._current is not None:
            return self._current.reader.link.transport
        return Transport.NONE

    def _tell_change(self, change: StatusChange) -> None:
        self._hub.tell(Notice(Topic.STATUS, change))
        self._changed()

    def _answer(self, error: RealtimeError | None) -> None:
        waiting, self._waiting = self._waiting, []
        for reply in waiting:
            reply.post(Outcome(error))

    def _reason(self) -> RealtimeError:
        return self._error or ConnectError("no reason is known")

    # Links

    def _drop_link(self, reason: ConnectionLost, *, by: float | None = None) -> None:
        """End the current link, if any, without waiting for its peer."""
        current = self._current
        if current is None:
            return
        # A reader that waits for room in a full mailbox puts the rest of its one batch over the bound and comes out.
        self._hub.hurry(True)
        current.reader.stop(reason)
        self._let_go(by=by)

    def _let_go(self, *, by: float | None = None) -> None:
        """The current link has ended or is ending: see its threads out before anything else is dialled."""
        current = self._current
        if current is None:
            return
        self._current = None
        if current.heartbeat is not None:
            current.heartbeat.stop()
        threads = [t for t in (current.thread, current.heartbeat_thread) if t is not None]
        deadline = self._clock.monotonic() + self._config.close_timeout if by is None else by
        for thread in join_all(threads, self._clock, deadline):
            logger.warning("[%s] thread %s did not end", self._config.name, thread.name)
        self._counters.settle(current.reader.link)
        self.lingering = current.reader.link.lingering
