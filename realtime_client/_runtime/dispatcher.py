"""The thread on which callbacks run, one after the other."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from realtime_client._core.digest import Digest
from realtime_client._runtime.clock import Clock
from realtime_client._runtime.counters import Counters
from realtime_client._runtime.hub import Topic
from realtime_client._runtime.mailbox import Mailbox, Notice, Run
from realtime_client.errors import CallbackError, RealtimeError
from realtime_client.events import Event
from realtime_client.observers import Lane, ObserverRegistry, Subscription
from realtime_client.redaction import describe
from realtime_client.status import StatusChange
from realtime_client.store import DashboardStore

__all__ = ["CallbackLane", "Dispatcher"]

logger = logging.getLogger("realtime_client")

SLOW_CALLBACK = 1.0
"""A callback that takes longer than this many seconds is named in a warning."""
SLOW_WARNING_INTERVAL = 60.0
"""The same callback is named at most once in this many seconds."""


class CallbackLane(Lane):
    """Takes events from a mailbox and calls callbacks with them.

    Args:
        thread_name: The name of its thread.
        mailbox: What waits.
        registry: Who hears an event, in order.
        report: Takes the errors that callbacks raise.
        counters: Where calls, errors and time are counted.
        clock: For the time that callbacks take.
    """

    def __init__(
        self,
        *,
        thread_name: str,
        mailbox: Mailbox,
        registry: ObserverRegistry,
        report: Callable[[CallbackError], None],
        counters: Counters,
        clock: Clock,
    ) -> None:
        super().__init__()
        self.thread_name = thread_name
        self.mailbox = mailbox
        self._registry = registry
        self._report = report
        self._counters = counters
        self._monotonic = clock.monotonic
        self._clock = clock
        self._calls = 0
        self._spent = 0.0
        self._warned: dict[str, float] = {}

    def run(self) -> None:
        """The thread's life: until the END notice."""
        while True:
            item = self.mailbox.take(self._patience())
            if isinstance(item, Notice):
                if item.topic is Topic.END:
                    return
                self._notice(item)
            elif item is not None:
                self._deliver(item)
            self._after()

    @property
    def hanging(self) -> str | None:
        """The name of the callback that runs at this moment, if any."""
        running = self.running
        return None if running is None else running.name

    def _patience(self) -> float | None:
        """How long to wait for news, in seconds."""
        return None

    def _notice(self, notice: Notice) -> None:
        """A notice came."""

    def _delivered(self, newest: Event, count: int) -> None:
        """So many events of one type have been delivered, and this is the newest of them."""

    def _after(self) -> None:
        """A run of events or a notice has been dealt with."""
        if self._calls:
            self._counters.add(callbacks=self._calls)
            self._counters.spent(self._spent)
            self._calls, self._spent = 0, 0.0

    def _deliver(self, run: Run) -> None:
        # The hot path: what is looked up for each event is looked up once, events of one type are counted as one, and
        # the clock is read once for a callback, whose time begins where that of the one before ended.
        pop, registry, mailbox, monotonic = run.popleft, self._registry, self.mailbox, self._monotonic
        event: Event | None = None
        wire_type, count, calls = "", 0, 0
        began = now = monotonic()
        try:
            while True:
                newest = event
                try:
                    event = pop()
                except IndexError:  # empty, or emptied by the overflow policy or by close()
                    break
                if event.type != wire_type:
                    if newest is not None:
                        self._delivered(newest, count)
                    wire_type, count = event.type, 0
                count += 1
                for subscription in registry.routes[event.__class__, wire_type]:
                    if mailbox.closed:
                        return
                    if not subscription.claim(self):
                        continue
                    calls += 1
                    try:
                        subscription.callback(event)
                    except BaseException as error:  # noqa: BLE001 - SystemExit too: no callback may end the thread
                        self._failed(subscription, error, event)
                    finally:
                        subscription.release(self)
                    before, now = now, monotonic()
                    if now - before > SLOW_CALLBACK:
                        self._warn_slow(subscription, now - before)
                        now = monotonic()  # what the log took is nobody's
            if newest is not None:
                self._delivered(newest, count)
        finally:
            self._calls += calls
            self._spent += now - began

    def _call(self, subscription: Subscription, function: Callable[[Any], object], argument: Any) -> None:
        if not subscription.claim(self):
            return
        started = self._monotonic()
        try:
            function(argument)
        except BaseException as error:  # noqa: BLE001 - as above
            self._failed(subscription, error, argument)
        finally:
            subscription.release(self)
        took = self._monotonic() - started
        self._calls += 1
        self._spent += took
        if took > SLOW_CALLBACK:
            self._warn_slow(subscription, took)

    def _failed(self, subscription: Subscription, error: BaseException, argument: Any) -> None:
        self._counters.add(callback_errors=1)
        logger.error("callback %s raised %s", subscription.name, type(error).__name__, exc_info=error)
        if isinstance(argument, RealtimeError):
            return  # a callback of on_error: told of its own errors, it would raise for ever
        wrapped = CallbackError(
            f"callback {subscription.name} raised {describe(error)}",
            callback=subscription.name,
            argument=argument,
        )
        wrapped.__cause__ = error
        self._report(wrapped)

    def _warn_slow(self, subscription: Subscription, took: float) -> None:
        now = self._clock.monotonic()
        if now - self._warned.get(subscription.name, float("-inf")) < SLOW_WARNING_INTERVAL:
            return
        self._warned[subscription.name] = now
        logger.warning(
            "callback %s took %.1f s; %d events wait behind it", subscription.name, took, self.mailbox.metrics().waiting
        )


class Dispatcher(CallbackLane):
    """The main lane: events, and everything else that callbacks are told, in one order."""

    def __init__(self, *, store: DashboardStore, **lane: Any) -> None:
        super().__init__(**lane)
        self._store = store
        self._digest = Digest()

    def _patience(self) -> float | None:
        due = self._digest.next_due()
        return None if due is None else max(0.0, due - self._clock.monotonic())

    def _delivered(self, newest: Event, count: int) -> None:
        self._digest.add(newest, count)

    def _notice(self, notice: Notice) -> None:
        topic, argument = notice.topic, notice.argument
        call = self._call_unless_closed if notice.is_report else self._call
        for subscription in self._registry.get(topic):
            call(subscription, subscription.callback, argument)
        if topic is Topic.STATUS:
            change: StatusChange = argument
            if change.previous.connected is not change.current.connected:
                for subscription in self._registry.get(Topic.CONNECTION):
                    self._call(subscription, subscription.callback, change.current.connected)

    def _after(self) -> None:
        self._store.tell(self._call_unless_closed)
        for notification in self._digest.due(self._clock.monotonic(), self._clock.now()):
            logger.info("%s", notification.title)
            for subscription in self._registry.get(Topic.NOTIFICATION):
                self._call_unless_closed(subscription, subscription.callback, notification)
        super()._after()

    def _call_unless_closed(self, subscription: Subscription, function: Callable[..., object], argument: Any) -> None:
        """Call, but not after close(), also one from within the callback before: then only state changes are told."""
        if not self.mailbox.closed:
            self._call(subscription, function, argument)
