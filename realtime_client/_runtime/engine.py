"""Everything of a client but its face: what lives as long as the client, and its runs from connect to close.

Threads refer to this and never to the client itself, so that a client that nobody holds can be collected.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import warnings
from collections.abc import Callable, Hashable
from functools import partial

import attrs

from realtime_client._core.backoff import Attempts, Uniform
from realtime_client._core.codec import Codec
from realtime_client._core.machine import Fact
from realtime_client._runtime.announcer import Announcer
from realtime_client._runtime.board import StatusBoard
from realtime_client._runtime.clock import Clock, Inbox
from realtime_client._runtime.counters import Counters
from realtime_client._runtime.dispatcher import CallbackLane, Dispatcher
from realtime_client._runtime.fallback import Fallback
from realtime_client._runtime.hub import Hub, SideLane, Topic
from realtime_client._runtime.intake import Intake
from realtime_client._runtime.iteration import EventIterator
from realtime_client._runtime.mailbox import Mailbox, Notice
from realtime_client._runtime.poll import poll_once
from realtime_client._runtime.process import watch
from realtime_client._runtime.reconnect import Close, Dropped, Outcome, Post, Request, Supervisor
from realtime_client._runtime.rejected import Rejected
from realtime_client._runtime.threads import ClientThread, Threads, join_all
from realtime_client.config import ClientConfig
from realtime_client.errors import CallbackError, ClientClosed, NotConnected, PollError
from realtime_client.events import Event
from realtime_client.observers import ObserverRegistry, Subscription
from realtime_client.redaction import show_url
from realtime_client.status import ConnectionState, ConnectionStatus, Metrics, Transport
from realtime_client.store import DashboardStore
from realtime_client.transports.base import LinkFactory, Poller

__all__ = ["Engine"]

logger = logging.getLogger("realtime_client")

ITERATOR_BUFFER = 1_000
LOOK_AROUND = 0.25
"""Seconds after which one who waits for callbacks, however long they take, looks whether somebody closes the client."""


@attrs.define(eq=False, repr=False)
class _Run:
    """One run of the client, from the first request to the close."""

    inbox: Inbox[Post]
    supervisor: Supervisor
    last_request: Request | None = None
    thread: ClientThread | None = None
    threads: dict[ClientThread, CallbackLane] = attrs.Factory(dict)
    started: bool = False
    closing: bool = False
    """Whether it takes no requests any more: it was closed, or its feed is over."""
    closed: bool = False
    """Whether `Engine.close` was called."""


@attrs.define(eq=False, repr=False)
class _OwnLane:
    """A callback with a thread of its own; the buffer and the thread are made for each run."""

    subscription: Subscription
    wants: Callable[[Event], bool]
    side: SideLane | None = None
    run: _Run | None = None


class Engine:
    """The working parts of one client.

    Args:
        config: The options.
        make_link: Makes the link for each attempt.
        make_poller: Makes a poller, or ``None`` where none is configured.
        clock: The time.
        uniform: The source of randomness for the delays.
    """

    def __init__(
        self,
        config: ClientConfig,
        *,
        make_link: LinkFactory,
        make_poller: Callable[[], Poller | None],
        clock: Clock,
        uniform: Uniform,
    ) -> None:
        self.config = config
        self.clock = clock
        self._make_link = make_link
        self._make_poller = make_poller
        self.threads: Threads = Threads(config.name)
        self.codec: Codec = Codec()
        self.registry: ObserverRegistry = ObserverRegistry()
        self.counters: Counters = Counters()
        self.rejected: Rejected = Rejected(self.counters, clock)
        self.hub: Hub = Hub(partial(self._mailbox, "main"))
        self.store: DashboardStore = DashboardStore(
            recent_logs_limit=config.recent_logs_limit,
            alerts_limit=config.alerts_limit,
            dedup_window=config.dedup_window,
            clock=clock.monotonic,
            on_own_thread=self.threads.is_current_own,
            awake=self.awake,
            stir=self.hub.stir,
            polls=config.polling_url is not None or config.poller is not None,
        )
        self.board: StatusBoard = StatusBoard(self._first_status())
        self._attempts = Attempts(config, uniform)
        registry, store = self.registry, self.store  # the reader refers to no more than it needs
        self._intake = Intake(
            codec=self.codec,
            store=self.store,
            hub=self.hub,
            board=self.board,
            counters=self.counters,
            rejected=self.rejected,
            clock=clock,
            hears=lambda event: registry.routes[event.__class__, event.type] or store.watched,
        )
        self._announcer = Announcer(show_url(config.url), config.name, self.hub, clock)
        self._lock = threading.Lock()  # guards _run, _own_lanes, _refreshing and the start of threads
        self._run: _Run | None = None
        self._own_lanes: list[_OwnLane] = []
        self._refreshing: list[Poller] = []
        self._lane_numbers = itertools.count(1)
        self._unborn_closed = threading.Event()  # set unless a client that never connected is just being closed
        self._unborn_closed.set()
        self._pid = os.getpid()
        self._revive = False
        watch(self)

    # The life-cycle

    def awake(self) -> Engine:
        """This engine, made fit for this process: every public call comes through here."""
        if self._pid != os.getpid():
            # A fork whose hook did not run: uWSGI's. The process number is the only thing to go by.
            self.after_fork()
        if self._revive:
            self._revive = False
            logger.info("[%s] forked: connecting anew in process %d", self.config.name, self._pid)
            self.request(Fact.CONNECT)
        return self

    @property
    def is_in_use(self) -> bool:
        """Whether it was asked to connect in this process, or anything was counted here."""
        return self._pid == os.getpid() and (self._run is not None or any(self.counters.read()[0].values()))

    def after_fork(self) -> None:
        """In a child process: fresh locks, no threads, the parent's connection let go without a byte on it."""
        if self._pid == os.getpid():
            return
        self._pid = os.getpid()
        run, self._run = self._run, None
        self._revive = run is not None and not run.closing
        if run is not None:
            run.supervisor.disown()
        self._lock = threading.Lock()
        self._unborn_closed = threading.Event()
        self._unborn_closed.set()
        for lane in self._own_lanes:
            if lane.side is not None:
                lane.side.active = False  # before the hub looks: it keeps the lanes of iterators alone
            lane.run = lane.side = None
            lane.subscription.after_fork()
        for part in (self.threads, self.registry, self.counters, self.store, self.hub):
            part.after_fork()
        for poller in self._refreshing:
            poller.disown()
        self._refreshing = []
        if self.board.present.state is not ConnectionState.CLOSED:
            self.board.reset(self._first_status())

    def close_at_exit(self, timeout: float) -> None:
        """The interpreter ends."""
        run = self._run
        if self._pid == os.getpid() and run is not None:
            deadline = self.clock.monotonic() + timeout
            self._close(deadline)
            join_all([t for t in (run.thread, *run.threads) if t is not None], self.clock, deadline)

    def dropped(self, abandon: Callable[[], object]) -> None:
        """A face of this engine is gone; called by a finaliser, so that this does one re-entrant put and no more.

        Args:
            abandon: What to do about it, on the reconnect thread.
        """
        run = self._run
        if run is not None and not run.closing and self._pid == os.getpid():
            run.inbox.post(Dropped(abandon))

    def request(self, fact: Fact, reply: Inbox[Outcome] | None = None) -> None:
        """Ask for a connection, beginning a run where there is none."""
        run = self._run
        if run is None or run.closing or self.board.present.state is ConnectionState.FAILED:
            self.store.end(None)  # who waits for the store from now on waits for what begins here
        request = Request(fact, reply)
        with self._lock:
            if self._run is None or self._run.closing:
                self._run = self._begin(self._run)
            self._run.last_request = request
            # Under the lock: a close() cannot come between, and its run end without an answer to this request.
            self._run.inbox.post(request)

    def close(self, timeout: float | None) -> None:
        """End the run within one deadline, and say what did not end."""
        deadline = self.clock.monotonic() + (self.config.close_timeout if timeout is None else timeout)
        run, discarded = self._close(deadline)
        if discarded:
            logger.info("[%s] closed while %d events waited for callbacks", self.config.name, discarded)
        if run is not None and not self.threads.is_current_own():
            self._see_out(run, deadline)

    def wait_closed(self, deadline: float | None) -> bool:
        """Wait for the end of a run that is being closed, at most until its own deadline; whether it has ended."""
        run = self._run
        if run is None or run.thread is None or not run.closing:
            return True
        if not run.closed:
            return self._see_delivered(run, deadline)
        longest = self.clock.monotonic() + self.config.close_timeout
        return not join_all([run.thread], self.clock, longest if deadline is None else min(deadline, longest))

    def _see_delivered(self, run: _Run, deadline: float | None) -> bool:
        """Wait until everything is delivered of a feed that is over, or until it is closed; whether that is so."""
        threads = [thread for thread in (run.thread, *run.threads) if thread is not None]
        while True:
            now = self.clock.monotonic()
            until = now + LOOK_AROUND if deadline is None else min(deadline, now + LOOK_AROUND)
            if not join_all(threads, self.clock, until) or run.closed:
                return True
            if deadline is not None and now >= deadline:
                return False

    def _close(self, deadline: float) -> tuple[_Run | None, int]:
        """Begin to end the run; returns it, and how many events were discarded for it."""
        with self._lock:
            run = self._run
            first = run is None or not run.closed
            over = threading.Event()
            if run is None:
                self._unborn_closed = over
            else:
                run.closing = run.closed = True
            refreshing = list(self._refreshing)
        if not first:
            return run, 0
        for poller in refreshing:
            poller.abort()
        discarded = self.hub.close()
        if run is None:
            # Never connected: there is nobody to tell. A run that begins at this moment waits until this is over.
            self.board.reset(attrs.evolve(self._first_status(), state=ConnectionState.CLOSED))
            self.store.end(ClientClosed("the client was closed"))
            self.hub.end()  # for those who iterate
            over.set()
            return None, discarded
        run.inbox.post(Close(deadline))
        return run, discarded

    def abandon(self) -> None:
        """Nobody holds the client any more: close it. On the reconnect thread, or where it never ran."""
        if self._run is None:
            return
        self._close(self.clock.monotonic() + self.config.close_timeout)
        try:
            warnings.warn(f"client {self.config.name!r} was dropped without close()", ResourceWarning, stacklevel=2)
        except ResourceWarning as error:  # where warnings are errors; there is no caller here to be told
            logger.warning("%s", error)

    def _first_status(self) -> ConnectionStatus:
        limit = self.config.max_reconnect_attempts
        return ConnectionStatus(state=ConnectionState.IDLE, since=self.clock.now(), max_reconnect_attempts=limit)

    def _see_out(self, run: _Run, deadline: float) -> None:
        threads = [] if run.thread is None else [run.thread]
        for thread in join_all(threads, self.clock, deadline):
            logger.warning("[%s] close: thread %s did not end in time", self.config.name, thread.name)
        lanes = run.threads
        for thread in join_all(lanes, self.clock, deadline):
            hanging = lanes[thread].hanging
            logger.warning(
                "[%s] close: thread %s did not end in time%s",
                self.config.name,
                thread.name,
                f": callback {hanging} hangs" if hanging else "",
            )
        if run.supervisor.lingering is not None:
            logger.warning(
                "[%s] close: thread %s waits for the system and ends by itself",
                self.config.name,
                run.supervisor.lingering,
            )

    def _begin(self, previous: _Run | None) -> _Run:
        inbox: Inbox[Post] = Inbox()
        supervisor = Supervisor(
            inbox=inbox,
            config=self.config,
            make_link=self._make_link,
            intake=self._intake,
            fallback=Fallback(
                make_poller=self._make_poller,
                report=inbox.post,
                config=self.config,
                intake=self._intake,
                store=self.store,
                hub=self.hub,
                board=self.board,
                counters=self.counters,
                clock=self.clock,
                threads=self.threads,
            ),
            attempts=self._attempts,
            hub=self.hub,
            board=self.board,
            counters=self.counters,
            clock=self.clock,
            threads=self.threads,
            announcer=self._announcer,
            over=lambda: self._feed_over(run),
            ended=self.store.end,
            changed=self.store.wake,
        )
        run = _Run(inbox, supervisor)
        run.thread = self.threads.start("reconnect", partial(self._live, run, previous))
        return run

    def _live(self, run: _Run, previous: _Run | None) -> None:
        """The reconnect thread: prepare the run, then supervise it to its end."""
        self._unborn_closed.wait(self.config.close_timeout)
        if previous is not None:
            # What the last run still tells comes before what this one tells, and no callback runs beside another. A
            # callback that hangs is not waited for longer than closing would. Its reconnect thread first: that one may
            # still have to start the others.
            deadline = self.clock.monotonic() + 2 * self.config.close_timeout
            join_all([previous.thread] if previous.thread is not None else [], self.clock, deadline)
            join_all(previous.threads, self.clock, deadline)
            # But of a feed that is over everything is delivered, unless somebody closes the client.
            while not (previous.closed or run.closed) and join_all(
                previous.threads, self.clock, self.clock.monotonic() + LOOK_AROUND
            ):
                pass
        self.store.end(None)
        self.hub.renew()
        dispatcher = Dispatcher(
            thread_name="dispatcher",
            registry=self.registry,
            store=self.store,
            mailbox=self.hub.main,
            report=self._report,
            counters=self.counters,
            clock=self.clock,
        )
        self._start_lane(run, dispatcher)
        with self._lock:
            run.started = True
            lanes = [lane for lane in self._own_lanes if lane.run is not run]
            for lane in lanes:
                lane.run = run
        for lane in lanes:
            self._start_own_lane(run, lane)
        run.supervisor.run()
        if not run.closed:  # the feed is over: every lane ends by itself, behind what waits in it
            return
        with self._lock:
            own = [lane.side for lane in self._own_lanes if lane.run is run and lane.side is not None]
        for side in own:
            self._end_lane(side)

    def _feed_over(self, run: _Run) -> None:
        """The feed has come to its end, and so will the run; on its reconnect thread."""
        with self._lock:
            if run.closing:
                return
            run.closing = True  # who asks from now on begins a new run
        self.hub.over()

    def refresh(self, timeout: float) -> None:
        """Poll once, on the calling thread."""
        poller = self._make_poller()
        if poller is None:
            raise PollError("neither polling_url nor poller is configured")
        with self._lock:
            self._refreshing.append(poller)
        try:
            poll_once(
                poller,
                since=self.store.newest_timestamp(),
                intake=self._intake,
                counters=self.counters,
                timeout=timeout,
                transport=lambda: None if self.board.connected else Transport.POLLING,
            )
        finally:
            with self._lock:
                self._refreshing.remove(poller)
            poller.close()

    # Callbacks and iterators

    def subscribe(
        self, key: Hashable, callback: Callable[..., object], *, once: bool = False, own_thread: bool = False
    ) -> Subscription:
        """Subscribe a callback to a key of the registry: an event type's name, an event class, ``"*"`` or a topic."""
        if not own_thread:
            subscription = self._subscription(callback, self.registry.remove, once=once)
            self.registry.add(key, subscription)
            return subscription
        subscription = self._subscription(callback, self._forget_own_lane, once=once)
        lane = _OwnLane(subscription, _matcher(key))
        with self._lock:
            self._own_lanes.append(lane)
            run = self._run
            if run is not None and run.started and not run.closing:
                lane.run = run
        if lane.run is not None:
            self._start_own_lane(lane.run, lane)
        return subscription

    def find(self, callback: Callable[..., object]) -> tuple[Subscription, ...]:
        """All subscriptions of a callback."""
        with self._lock:
            own = tuple(lane.subscription for lane in self._own_lanes if lane.subscription.matches(callback))
        return (*self.registry.find(callback), *own)

    def iterate(self, key: Hashable | None, *, name: str, timeout: float | None) -> EventIterator:
        """An iterator over the events of a key; with ``None`` over no events, until the end."""
        self.check_wait(name)
        wants = _matcher(key) if key is not None else _nothing
        side = SideLane(self._mailbox(name, max_events=ITERATOR_BUFFER), wants)
        self.hub.add(side)
        with self._lock:
            run = self._run
            # Somebody may have asked to connect anew, and the reconnect thread not have said so yet.
            settled = run is None or run.closing or run.last_request is None or run.last_request.handled
        status = self.board.read()
        # Taken out at once: in the next run it would only fill up.
        if settled and status.state is ConnectionState.FAILED:
            self._end_lane(side, notice=Notice(Topic.FAILED, status.last_error))
        elif (settled and status.state is ConnectionState.CLOSED) or (run is not None and run.closing):
            self._end_lane(side)
        return EventIterator(side, timeout=timeout, check=partial(self.check_wait, name))

    def check_wait(self, name: str) -> None:
        """Refuse to wait on the client's own threads, which the awaited thing would have to come through."""
        self.awake()
        if self.threads.is_current_own():
            raise RuntimeError(f"{name} would block the client's own thread; use a callback instead")

    def _subscription(
        self, callback: Callable[..., object], forget: Callable[[Subscription], None], *, once: bool
    ) -> Subscription:
        if not callable(callback):
            raise TypeError(f"callback: {callback!r} is not allowed; allowed: a callable")
        return Subscription(callback, forget=forget, on_own_thread=self.threads.is_current_own, once=once)

    def _start_own_lane(self, run: _Run, lane: _OwnLane) -> None:
        subscription = lane.subscription
        side = lane.side = SideLane(self._mailbox(subscription.name), lane.wants)
        alone = ObserverRegistry()
        alone.add("*", subscription)
        self._start_lane(
            run,
            CallbackLane(
                thread_name=f"lane-{next(self._lane_numbers)}",
                registry=alone,
                mailbox=side.mailbox,
                report=self._report,
                counters=self.counters,
                clock=self.clock,
            ),
        )
        self.hub.add(side)
        if run.closing or not subscription.active:  # perhaps too late for others to have seen this lane
            self._end_lane(side)

    def _end_lane(self, side: SideLane, reason: str = "closed", notice: Notice | None = None) -> None:
        side.mailbox.close(reason)  # also what is held back: the end must not wait behind it
        self.hub.retire(side)
        side.mailbox.tell(Notice(Topic.END) if notice is None else notice)

    def _start_lane(self, run: _Run, lane: CallbackLane) -> None:
        thread = self.threads.start(lane.thread_name, lane.run)
        with self._lock:
            alive = {thread: lane for thread, lane in run.threads.items() if thread.is_alive()}
            run.threads = {**alive, thread: lane}

    def _forget_own_lane(self, subscription: Subscription) -> None:
        with self._lock:
            gone = [lane for lane in self._own_lanes if lane.subscription is subscription]
            self._own_lanes = [lane for lane in self._own_lanes if lane.subscription is not subscription]
        for lane in gone:
            if lane.side is not None:
                self._end_lane(lane.side, "cancelled")

    def _report(self, error: CallbackError) -> None:
        self.hub.report(Notice(Topic.ERROR, error))

    def _mailbox(self, name: str, max_events: int | None = None) -> Mailbox:
        return Mailbox(
            name,
            max_events=max_events or self.config.max_pending_events,
            max_bytes=self.config.max_pending_bytes,
            overflow=self.config.overflow,
            clock=self.clock,
        )

    # Sending and counting

    def send(self, text: str, timeout: float) -> None:
        """Write a message to the current connection."""
        run = self._run
        if (run is not None and run.closing) or self.board.read().state is ConnectionState.CLOSED:
            raise ClientClosed("the client is closed")
        link = None if run is None else run.supervisor.link
        if link is None or not self.board.connected:
            raise NotConnected(f"not connected ({self.board.read().state.value}); send() does not queue")
        if not link.sends:
            raise NotConnected(f"nothing can be sent to a feed that comes by way of {link.transport.value}")
        link.send(text, timeout)
        self.counters.add(messages_sent=1)

    def metrics(self) -> Metrics:
        """All counters."""
        sums, seconds = self.counters.read()
        main, lanes = self.hub.metrics()
        return Metrics(
            received=main.received,
            delivered=main.delivered,
            dropped=main.dropped,
            waiting=main.waiting,
            queue_high_water=main.high_water,
            duplicates=self.store.duplicates,
            callback_time=seconds,
            latency=self.board.latency,
            lanes=lanes,
            **sums,
        )


def _matcher(key: Hashable) -> Callable[[Event], bool]:
    if key == "*":
        return _everything
    if isinstance(key, type):
        return lambda event: isinstance(event, key)
    return lambda event: event.type == key


def _everything(event: Event) -> bool:
    return True


def _nothing(event: Event) -> bool:
    return False
