"""The dashboard store: a bounded picture of the feed that any thread may read at any time.

The reader (and, while degraded, the poll thread) applies batches; everybody else reads. Values that leave the store are
immutable, and one snapshot is one consistent version. Reads take a lock that is held for microseconds, never while the
network, a callback or a predicate runs.
"""

from __future__ import annotations

import contextlib
import json
import operator
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

import attrs

from realtime_client._core.picture import Picture
from realtime_client.events import (
    EMPTY,
    FIGURES,
    Event,
    FrozenMapping,
    LogEntry,
    NewAnomaly,
    Origin,
    StatsUpdate,
    SystemAlert,
    camel,
    wire_value,
)
from realtime_client.observers import ObserverRegistry, Subscription
from realtime_client.patience import SteadyQueue, pieces
from realtime_client.status import Transport

__all__ = ["DashboardSnapshot", "DashboardStats", "DashboardStore"]

KNOWN_STATS = tuple(FIGURES)
PARTS = ("stats", "recent_logs", "alerts")
WATCHERS = "watchers"
FURTHER_LIMIT = 1_000
"""How many further figures are kept; beyond that, those that a server invented first go first."""
Selector = Callable[["DashboardSnapshot"], Any]
_Key = TypeVar("_Key", bound=Hashable)
Entry = tuple[datetime, int, LogEntry]
"""A kept log behind what orders it: its time, and its arrival, which is unique, so that logs are never compared."""


@attrs.frozen(kw_only=True)
class DashboardStats:
    """The figures of the dashboard, each as the server last gave it.

    Attributes:
        total_logs: Lines seen by the analyser.
        anomaly_count: Anomalies, as the server last said, plus those that arrived since.
        anomaly_rate: Share of anomalies.
        active_services: Services that are writing.
        extra: Further figures, under the server's own names.
    """

    total_logs: int = 0
    anomaly_count: int = 0
    anomaly_rate: float = 0.0
    active_services: int = 0
    extra: Mapping[str, Any] = EMPTY

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON-ready data in the wire's documented naming."""
        return {**wire_value(self.extra), **{camel(name): getattr(self, name) for name in KNOWN_STATS}}


@attrs.frozen(kw_only=True)
class DashboardSnapshot:
    """One consistent version of the store.

    Attributes:
        stats: The figures.
        recent_logs: Newest first, by timestamp and then by arrival.
        alerts: Newest first, by arrival.
        version: Grows with each change of the figures, logs or alerts.
        as_of: When the feed was last heard from (UTC), or ``None``.
        transport: Where that came from.
    """

    stats: DashboardStats = attrs.field(factory=DashboardStats)
    recent_logs: tuple[LogEntry, ...] = ()
    alerts: tuple[SystemAlert, ...] = ()
    version: int = 0
    as_of: datetime | None = None
    transport: Transport = Transport.NONE

    def to_dict(self) -> dict[str, Any]:
        """The snapshot as JSON-ready data in the wire's documented naming."""
        return {
            "stats": self.stats.to_dict(),
            "recentLogs": [log.to_dict() for log in self.recent_logs],
            "alerts": [{**alert.data_to_dict(), "timestamp": wire_value(alert.timestamp)} for alert in self.alerts],
            "version": self.version,
            "asOf": wire_value(self.as_of),
            "transport": self.transport.value,
        }


@attrs.define(eq=False, repr=False)
class Watch:
    """What somebody watches, and what it gave when they were last told."""

    select: Selector
    callback: Callable[[Any, Any], object]
    seen: DashboardSnapshot
    previous: Any

    def look(self, snapshot: DashboardSnapshot) -> None:
        """Call the callback if the selected part is another one; user code, on the dispatcher thread."""
        self.seen = snapshot
        previous, current = self.previous, self.select(snapshot)
        if current is not previous and current != previous:
            self.previous = current
            self.callback(previous, current)


class DashboardStore:
    """A bounded, thread-safe picture of the feed.

    Made by the client (``client.store``); one of your own is useful in tests.

    Args:
        recent_logs_limit: Logs kept.
        alerts_limit: Alerts kept.
        dedup_window: Log ids remembered.
        clock: Monotonic seconds, for `is_stale`.
        on_own_thread: Whether the caller runs on one of the client's own threads, where waiting is refused.
        awake: Called first by every reading method, so that a client in a forked process can come back to life.
        stir: Lets the dispatcher thread, if there is one, look at the store again.
        polls: Whether answers to polls will come, so that what has no id must be remembered too.
    """

    def __init__(
        self,
        *,
        recent_logs_limit: int = 100,
        alerts_limit: int = 100,
        dedup_window: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
        on_own_thread: Callable[[], bool] = lambda: False,
        awake: Callable[[], object] = lambda: None,
        stir: Callable[[], object] = lambda: None,
        polls: bool = False,
    ) -> None:
        self._recent_logs_limit = recent_logs_limit
        self._alerts_limit = alerts_limit
        self._dedup_window = dedup_window
        self._clock = clock
        self._on_own_thread = on_own_thread
        self._awake = awake
        self._stir = stir
        self._polls = polls
        self._watchers = ObserverRegistry()
        self._watches: dict[Subscription, Watch] = {}  # touched by subscribe() and by the lane: single dict operations
        # Guards everything below.
        self._lock = threading.Lock()
        self._waiters: set[SteadyQueue[None]] = set()  # the wakers of those in wait_for()
        self._wakes = 0  # how often they had reason to look
        # The newest logs by id; a batch may add more than the limit, and is cut back at its end.
        self._recent: dict[str, Entry] = {}
        # Whether they stand in their order, oldest first, as they come from most feeds: then nothing need be sorted.
        self._in_order = True
        self._last_at: datetime | None = None  # the time of the last one in order
        self._seen: OrderedDict[str, None] = OrderedDict()  # log ids
        self._seen_others: OrderedDict[Hashable, None] = OrderedDict()  # what stands for the id of the rest
        # What polls have delivered and the stream has not repeated: its first repetition is not delivered again.
        self._polled: OrderedDict[Hashable, None] = OrderedDict()
        # What was seen before a restart from a snapshot that does not know it: its first repetition is not delivered.
        self._before: OrderedDict[Hashable, None] = OrderedDict()
        self._untimed: set[Hashable] = set()  # of the last answer, what had neither id nor timestamp
        self._arrivals = 0
        self._alerts: list[SystemAlert] = []  # oldest first
        self._figures: dict[str, Any] = {}
        self._further: dict[str, Any] = {}
        self._snapshot = DashboardSnapshot()
        self._stale_parts: set[str] = set()  # parts of _snapshot that have changed since it was made
        self._touched = False  # whether the batch at hand has changed anything
        self._version = 0
        self._as_of: datetime | None = None
        self._transport = Transport.NONE
        self._heard_at: float | None = None
        self._end: BaseException | None = None
        self.duplicates: int = 0
        """Logs that were seen before within the window."""

    # Reading

    @property
    def recent_logs(self) -> tuple[LogEntry, ...]:
        """The newest logs, newest first by timestamp and then by arrival."""
        return self.snapshot().recent_logs

    @property
    def stats(self) -> DashboardStats:
        """The figures."""
        return self.snapshot().stats

    @property
    def alerts(self) -> tuple[SystemAlert, ...]:
        """The newest alerts, newest first by arrival."""
        return self.snapshot().alerts

    @property
    def version(self) -> int:
        """Grows with each change; a cheap way to see whether there is news."""
        self._awake()
        return self._version

    def snapshot(self) -> DashboardSnapshot:
        """Everything at once, as one consistent version. Thread-safe; waits for nothing but microseconds of writing."""
        self._awake()
        with self._lock:
            return self._current()

    def is_stale(self, max_age: float) -> bool:
        """Whether nothing was heard from the feed for longer than ``max_age`` seconds, or ever.

        Heard is every sign of life: events, and the answers to heartbeats and polls.
        """
        self._awake()
        heard_at = self._heard_at
        return heard_at is None or self._clock() - heard_at > max_age

    def wait_for(
        self, predicate: Callable[[DashboardSnapshot], object], timeout: float | None = None
    ) -> DashboardSnapshot:
        """Block until the predicate is true of a snapshot, and return that snapshot.

        The predicate runs on the calling thread, under no lock, on each new snapshot, and after each change of the
        connection's status, which it may ask for as well (some may be skipped, so a transient state may be missed).

        Args:
            predicate: Takes a snapshot.
            timeout: Seconds; ``None`` waits for as long as it takes.

        Raises:
            TimeoutError: The time is up.
            ClientClosed: The client was closed, and the predicate is not true of the last state.
            RuntimeError: Called on one of the client's own threads, which it would block.
        """
        return self._wait_for(predicate, timeout, lambda: self._end)

    def subscribe(self, part: str | Selector, callback: Callable[[Any, Any], object]) -> Subscription:
        """Be told when a part of the store has changed.

        Args:
            part: ``"stats"``, ``"recent_logs"``, ``"alerts"``, or a function from a snapshot to any value that can be
                compared. It is called at once, on this thread, and from then on on the dispatcher thread.
            callback: Called on the dispatcher thread with ``(previous, current)``, only when that part differs from
                what it was told last. Versions may be skipped, never reordered.

        Raises:
            ValueError: There is no such part.
            TypeError: The callback is not callable.
        """
        if not callable(callback):
            raise TypeError(f"callback: {callback!r} is not allowed; allowed: a callable")
        if callable(part):
            select = part
        elif part in PARTS:
            select = operator.attrgetter(part)
        else:
            raise ValueError(f"part: {part!r} is not allowed; allowed: {', '.join(PARTS)} or a function of a snapshot")
        subscription = Subscription(callback, forget=self._forget, on_own_thread=self._on_own_thread)
        snapshot = self.snapshot()
        self._watches[subscription] = Watch(select, callback, snapshot, select(snapshot))
        self._watchers.add(WATCHERS, subscription)
        if self.snapshot() is not snapshot:  # it changed while nobody watched, and the dispatcher may have gone by
            self._stir()
        return subscription

    def _wait_for(
        self,
        predicate: Callable[[DashboardSnapshot], object],
        timeout: float | None,
        ended: Callable[[], BaseException | None],
    ) -> DashboardSnapshot:
        if self._on_own_thread():
            raise RuntimeError("store.wait_for() would block the client's own thread; use store.subscribe() instead")
        deadline = None if timeout is None else self._clock() + timeout
        waker: SteadyQueue[None] = SteadyQueue()
        self._awake()
        looked = -1
        try:
            while True:
                with self._lock:
                    self._waiters.add(waker)
                    snapshot, wakes = self._current(), self._wakes
                if looked != wakes:
                    looked = wakes
                    if predicate(snapshot):
                        return snapshot
                    continue
                if (end := ended()) is not None:
                    raise end.with_traceback(None)  # one error for many waits: each has its own trace
                left = None if deadline is None else deadline - self._clock()
                if left is not None and left <= 0:
                    raise TimeoutError(f"the store did not come to the awaited state in {timeout:g} s")
                # Not a condition: its wait() lets go of the lock and takes it again in steps of Python, and a
                # Ctrl-C between them would leave the lock in the wrong hands.
                for piece in pieces(None if left is None else min(left, threading.TIMEOUT_MAX)):
                    with contextlib.suppress(queue.Empty):
                        waker.get(timeout=piece)
                        break
        finally:
            with self._lock:
                self._waiters.discard(waker)

    # Writing, by the client's threads

    def apply(self, events: Iterable[Event], *, received_at: datetime, transport: Transport) -> set[int]:
        """Take over a batch of events from the stream, in order, as one change.

        Returns:
            The positions of events that were delivered before, by a poll or before `restore`; usually none.
        """
        known: set[int] = set()
        with self._lock:
            # The hot path: what is looked up for each event is looked up once.
            seen, polled, recent, window = self._seen, self._polled, self._recent, self._dedup_window
            fresh, arrivals, repeated = 0, self._arrivals, 0
            last_at, polls, before = self._last_at, self._polls, self._before
            for position, event in enumerate(events):
                if isinstance(event, NewAnomaly):
                    log = event.log
                    log_id = log.id
                    if log_id in seen:
                        seen.move_to_end(log_id)
                        repeated += 1
                        if polled and polled.pop(log_id, 0) is None:
                            known.add(position)
                    else:
                        seen[log_id] = None
                        fresh += 1
                        if len(seen) > window:
                            seen.popitem(last=False)
                        if before and before.pop(log_id, 0) is None:
                            known.add(position)
                    arrivals += 1
                    at = log.timestamp or received_at
                    if at is not last_at:
                        if last_at is not None and at < last_at:
                            self._in_order = False
                        last_at = at
                    if log_id in recent:
                        del recent[log_id]  # it moves to the end
                    recent[log_id] = (at, arrivals, log)
                elif isinstance(event, StatsUpdate):
                    if fresh:  # those before it: what the server says of a figure overwrites
                        self._count_anomalies(fresh)
                        fresh = 0
                    self._merge(event.stats)
                    if polls and self._mark(event):
                        known.add(position)
                elif polls and self._mark(event):
                    known.add(position)
                elif isinstance(event, SystemAlert):
                    self._alerts.append(event)
                    self._touch("alerts")
            if arrivals != self._arrivals:
                self._arrivals, self._last_at = arrivals, last_at
                self.duplicates += repeated
                self._touch("recent_logs")
                self._count_anomalies(fresh)
            self._finish(received_at, transport)
        return known

    def merge(
        self,
        logs: Iterable[LogEntry],
        others: Iterable[Event],
        *,
        received_at: datetime,
        transport: Callable[[], Transport | None],
    ) -> list[Event]:
        """Take over the answer to a poll, as one change.

        A log is matched by its id. What has no id is the same if type, timestamp and data are the same; without a
        timestamp it counts as new if the answer before did not have it. Figures always overwrite.

        Returns:
            What is new, as events in the order of their timestamps.
        """
        fresh: list[Event] = []
        untimed: set[Hashable] = set()
        with self._lock:
            for log in sorted(logs, key=lambda log: log.timestamp or received_at):
                if self._remember(log.id, self._seen):
                    self._arrivals += 1
                    self._recent.pop(log.id, None)
                    self._recent[log.id] = (log.timestamp or received_at, self._arrivals, log)
                    self._in_order = False
                    self._touch("recent_logs")
                    if log.is_anomaly:
                        self._count_anomalies(1)
                        self._expect_repetition(log.id)
                        fresh.append(
                            NewAnomaly(log, timestamp=log.timestamp, received_at=received_at, origin=Origin.POLL)
                        )
            for event in others:
                if isinstance(event, StatsUpdate):
                    self._merge(event.stats)
                key = _identity(event)
                if event.timestamp is None:
                    untimed.add(key)
                    is_new = key not in self._untimed
                else:
                    is_new = self._remember(key, self._seen_others)
                    if is_new:
                        self._expect_repetition(key)
                if is_new:
                    fresh.append(event)
                    if isinstance(event, SystemAlert):
                        self._alerts.append(event)
                        self._touch("alerts")
            self._untimed = untimed
            while len(self._polled) > self._dedup_window:
                self._polled.popitem(last=False)
            self._finish(received_at, transport() or self._transport)
        return sorted(fresh, key=lambda event: event.timestamp or received_at)

    def picture(self) -> Picture:
        """All that this store knows, so that another one can go on from there."""
        with self._lock:
            self._put_in_order()
            return Picture(
                stats=FrozenMapping({**self._further, **self._figures}),
                logs=tuple((at, log) for at, _, log in self._recent.values()),
                alerts=tuple(self._alerts),
                seen=tuple(self._seen),
            )

    def restore(self, picture: Picture, *, received_at: datetime, transport: Transport) -> list[Event]:
        """Replace what this store knows, as one change.

        What was seen here and is unknown there may come as news: it counts as such, and is not delivered again.

        Returns:
            The logs and alerts that are new here, as events in the order of their timestamps.
        """
        with self._lock:
            # Only what was delivered before is remembered, and not what another store had.
            known = self._seen.keys() | self._before.keys()
            had = {_identity(alert) for alert in self._alerts}
            there = set(picture.seen)
            self._before.update((log_id, None) for log_id in self._seen if log_id not in there)
            while len(self._before) > self._dedup_window:
                self._before.popitem(last=False)
            fresh: list[Event] = [
                NewAnomaly(log, timestamp=log.timestamp, received_at=received_at, origin=Origin.REDIS)
                for _, log in picture.logs
                if log.is_anomaly and log.id not in known
            ]
            fresh += [alert for alert in picture.alerts if _identity(alert) not in had]
            self._figures = {name: value for name, value in picture.stats.items() if name in KNOWN_STATS}
            self._further = {name: value for name, value in picture.stats.items() if name not in KNOWN_STATS}
            logs = picture.logs[-self._recent_logs_limit :]
            self._recent = {log.id: (at, number, log) for number, (at, log) in enumerate(logs, self._arrivals + 1)}
            self._arrivals += len(logs)
            self._in_order, self._last_at = False, None
            self._alerts = list(picture.alerts[-self._alerts_limit :])
            self._seen = OrderedDict.fromkeys(picture.seen[-self._dedup_window :])
            for part in PARTS:
                self._touch(part)
            self._finish(received_at, transport)
        return sorted(fresh, key=lambda event: event.timestamp or received_at)

    def find_log(self, log_id: str) -> tuple[bool, LogEntry | None]:
        """Whether a log's id is remembered, and the log if it is among those kept."""
        with self._lock:
            entry = self._recent.get(log_id)
            return log_id in self._seen, None if entry is None else entry[2]

    def newest_timestamp(self) -> datetime | None:
        """The newest timestamp of the logs held; what a poll asks for begins there."""
        with self._lock:
            return max((log.timestamp for _, _, log in self._recent.values() if log.timestamp), default=None)

    def heard(self, received_at: datetime, transport: Callable[[], Transport | None]) -> None:
        """The feed gave a sign of life that changes nothing else; ``None`` leaves the transport as it is."""
        with self._lock:
            self._finish(received_at, transport() or self._transport)

    def end(self, error: BaseException | None) -> None:
        """Release everybody in `wait_for` with this error; ``None`` begins a new run."""
        with self._lock:
            self._end = error
            self._wake_waiters()

    def wake(self) -> None:
        """Let everybody in `wait_for` look again: at its predicate, and at whether there is anything to wait for."""
        with self._lock:
            self._wake_waiters()

    @property
    def watched(self) -> bool:
        """Whether anybody has subscribed."""
        return bool(self._watchers.get(WATCHERS))

    def tell(self, call: Callable[..., object]) -> None:
        """Let every watcher look at the newest snapshot, on the dispatcher thread.

        Args:
            call: Called with a subscription, a function that runs user code, and its argument; takes care of claims
                and errors.
        """
        subscriptions = self._watchers.get(WATCHERS)
        if not subscriptions:
            return
        snapshot = self.snapshot()
        for subscription in subscriptions:
            watch = self._watches.get(subscription)
            if watch is not None and watch.seen is not snapshot:
                call(subscription, watch.look, snapshot)

    def after_fork(self) -> None:
        """Fresh locks in a child process: the old ones may be held by threads that do not exist here."""
        self._lock = threading.Lock()
        self._waiters = set()
        self._touched = False
        # The thread that was changing it may have been cut off in the middle, its own counting with it.
        self._arrivals = max((arrival for _, arrival, _ in self._recent.values()), default=0)
        self._in_order, self._last_at = False, None
        self._watchers.after_fork()

    def _forget(self, subscription: Subscription) -> None:
        self._watchers.remove(subscription)
        self._watches.pop(subscription, None)

    def _remember(self, key: _Key, seen: OrderedDict[_Key, None]) -> bool:
        """Whether an id (or what stands for one) is new within the window."""
        if key in seen:
            seen.move_to_end(key)
            return False
        seen[key] = None
        if len(seen) > self._dedup_window:
            seen.popitem(last=False)
        return True

    def _expect_repetition(self, key: Hashable) -> None:
        """A poll has delivered this: the stream's first repetition of it is not delivered again."""
        self._polled[key] = None
        self._polled.move_to_end(key)  # what was known, and forgotten, is as young as what is new

    def _mark(self, event: Event) -> bool:
        """Remember what has no id but a timestamp; whether a poll has delivered it before."""
        if event.timestamp is None:
            return False
        key = _identity(event)
        return not self._remember(key, self._seen_others) and self._polled.pop(key, 0) is None

    def _count_anomalies(self, count: int) -> None:
        if count:
            self._figures["anomaly_count"] = self._figures.get("anomaly_count", 0) + count
            self._touch("stats")

    def _merge(self, stats: Mapping[str, Any]) -> None:
        figures, further = self._figures, self._further
        for name, value in stats.items():
            if name in KNOWN_STATS:
                figures[name] = value
            else:
                further[name] = value
        excess = len(further) - FURTHER_LIMIT
        if excess > 0:  # a server that invents names must not fill the memory
            self._further = dict(islice(further.items(), excess, None))
        self._touch("stats")

    def _touch(self, part: str) -> None:
        self._stale_parts.add(part)
        self._touched = True

    def _finish(self, received_at: datetime, transport: Transport) -> None:
        self._as_of, self._transport, self._heard_at = received_at, transport, self._clock()
        if self._touched:
            self._touched = False
            self._version += 1
            if len(self._alerts) > self._alerts_limit:
                del self._alerts[: len(self._alerts) - self._alerts_limit]
            excess = len(self._recent) - self._recent_logs_limit
            if excess > 0:
                self._put_in_order()
            if excess == 1:  # a lone event
                del self._recent[next(iter(self._recent))]
            elif excess > 0:
                self._recent = dict(islice(self._recent.items(), excess, None))
        self._wake_waiters()

    def _put_in_order(self) -> None:
        if not self._in_order:
            self._recent = {entry[2].id: entry for entry in sorted(self._recent.values())}
            self._in_order = True
            self._last_at = max((at for at, _, _ in self._recent.values()), default=None)

    def _wake_waiters(self) -> None:
        self._wakes += 1
        for waker in self._waiters:
            waker.put(None)

    def _current(self) -> DashboardSnapshot:
        last = self._snapshot
        stale = self._stale_parts
        if stale or last.as_of != self._as_of or last.transport is not self._transport:
            self._put_in_order()
            self._snapshot = DashboardSnapshot(
                stats=DashboardStats(**self._figures, extra=FrozenMapping(self._further))
                if "stats" in stale
                else last.stats,
                recent_logs=tuple(log for _, _, log in reversed(self._recent.values()))
                if "recent_logs" in stale
                else last.recent_logs,
                alerts=tuple(reversed(self._alerts)) if "alerts" in stale else last.alerts,
                version=self._version,
                as_of=self._as_of,
                transport=self._transport,
            )
            self._stale_parts = set()
        return self._snapshot


def _identity(event: Event) -> Hashable:
    """What stands for the id of an event that has none; in which order its data came does not matter."""
    return event.type, event.timestamp, json.dumps(event.data_to_dict(), sort_keys=True, default=repr)
