"""The store fed by the stream and by polls, against a naive model: nothing doubled, nothing that a poll brings lost.

The stream alone is held against a model in ``tests/test_store.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from realtime_client.events import Event, LogEntry, NewAnomaly, Origin, Pong, StatsUpdate, SystemAlert
from realtime_client.observers import Lane, Subscription
from realtime_client.status import Transport
from realtime_client.store import DashboardSnapshot, DashboardStats, DashboardStore
from tests.stateful.effort import effort

T0 = datetime(2024, 1, 1, tzinfo=UTC)


def at(seconds: int | None) -> datetime | None:
    return None if seconds is None else T0 + timedelta(seconds=seconds)


times = st.sampled_from([None, 0, 1, 2])
logs = st.builds(
    lambda log_id, time, anomalous: LogEntry(log_id, f"m{time}", at(time), is_anomaly=anomalous),
    st.sampled_from("abcdef"),
    times,
    st.booleans(),
)
figures = st.dictionaries(st.sampled_from(["total_logs", "anomaly_count", "further"]), st.integers(0, 3), max_size=2)
others: st.SearchStrategy[Event] = st.one_of(
    st.builds(lambda stats, time: StatsUpdate(stats, timestamp=at(time)), figures, times),
    st.builds(lambda text, time: SystemAlert(text, timestamp=at(time)), st.sampled_from("pqr"), times),
    st.builds(lambda time: Pong(timestamp=at(time)), times),
)
streamed = st.builds(lambda log: NewAnomaly(log, timestamp=log.timestamp), logs) | others

Identity = tuple[str, datetime | None, str]


def identity(event: Event) -> Identity:
    return event.type, event.timestamp, repr(event.data_to_dict())


class Window:
    """The newest so many keys, the last seen at the end."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.keys: list[Hashable] = []

    def is_new(self, key: Hashable) -> bool:
        new = key not in self.keys
        self.keys = [*(known for known in self.keys if known != key), key][-self.size :]
        return new


class PolledStoreAgainstModel(RuleBasedStateMachine):
    @initialize(keep=st.integers(1, 4), alerts=st.integers(1, 3), window=st.integers(2, 5))
    def begin(self, keep: int, alerts: int, window: int) -> None:
        self.store = DashboardStore(recent_logs_limit=keep, alerts_limit=alerts, dedup_window=window, polls=True)
        self.keep, self.alerts_limit = keep, alerts
        self.ids, self.identities, self.polled = Window(window), Window(window), Window(window)
        self.untimed: set[Identity] = set()
        self.entries: list[tuple[datetime, int, LogEntry]] = []
        self.alerts: list[SystemAlert] = []
        self.figures: dict[str, Any] = {}
        self.seconds = self.arrivals = self.duplicates = self.version = 0
        self.now = T0
        self.transport = Transport.NONE
        self.lane = Lane()
        self.told: dict[str, Any] = {}
        for part, select in SELECTORS.items():
            self.told[part] = select(self.store.snapshot())
            self.store.subscribe(part if part != "ids" else select, self.hear(part))

    def hear(self, part: str) -> Callable[[Any, Any], None]:
        def heard(previous: Any, current: Any) -> None:
            assert previous == self.told[part] != current
            self.told[part] = current

        return heard

    def a_second_passes(self) -> None:
        self.seconds += 1
        self.now = T0 + timedelta(seconds=self.seconds)

    def was_polled(self, key: Hashable) -> bool:
        """Whether a poll has delivered it, and the stream not repeated it since."""
        known = key in self.polled.keys
        self.polled.keys = [other for other in self.polled.keys if other != key]
        return known

    def enter(self, log: LogEntry) -> None:
        self.arrivals += 1
        self.entries = [entry for entry in self.entries if entry[2].id != log.id]
        self.entries.append((log.timestamp or self.now, self.arrivals, log))

    def count_an_anomaly(self) -> None:
        self.figures["anomaly_count"] = self.figures.get("anomaly_count", 0) + 1

    def cut_back(self) -> None:
        self.entries = sorted(self.entries, key=lambda entry: entry[:2])[-self.keep :]
        self.alerts = self.alerts[-self.alerts_limit :]

    @rule(batch=st.lists(streamed, max_size=5))
    def the_stream_brings(self, batch: list[Event]) -> None:
        self.a_second_passes()
        self.transport = Transport.WEBSOCKET
        known = set()
        for position, event in enumerate(batch):
            if isinstance(event, NewAnomaly):
                if self.ids.is_new(event.log.id):
                    self.count_an_anomaly()
                else:
                    self.duplicates += 1
                    if self.was_polled(event.log.id):
                        known.add(position)
                self.enter(event.log)
                continue
            if event.timestamp is not None:
                new = self.identities.is_new(identity(event))
                if not new and self.was_polled(identity(event)):
                    known.add(position)
            if isinstance(event, StatsUpdate):
                self.figures |= event.stats
            elif isinstance(event, SystemAlert) and position not in known:
                self.alerts.append(event)
        self.cut_back()
        assert self.store.apply(batch, received_at=self.now, transport=Transport.WEBSOCKET) == known

    @rule(answer=st.lists(logs, max_size=4), rest=st.lists(others, max_size=3), degraded=st.booleans())
    def a_poll_brings(self, answer: list[LogEntry], rest: list[Event], degraded: bool) -> None:
        self.a_second_passes()
        fresh: list[Event] = []
        for log in sorted(answer, key=lambda log: log.timestamp or self.now):
            if not self.ids.is_new(log.id):
                continue
            self.enter(log)
            if log.is_anomaly:
                self.count_an_anomaly()
                self.polled.is_new(log.id)
                fresh.append(NewAnomaly(log, timestamp=log.timestamp, origin=Origin.POLL))
        untimed = set()
        for event in rest:
            if isinstance(event, StatsUpdate):
                self.figures |= event.stats
            if event.timestamp is None:
                untimed.add(identity(event))
                new = identity(event) not in self.untimed
            else:
                new = self.identities.is_new(identity(event))
                if new:
                    self.polled.is_new(identity(event))
            if new:
                fresh.append(event)
                if isinstance(event, SystemAlert):
                    self.alerts.append(event)
        self.untimed = untimed
        self.cut_back()
        if degraded:
            self.transport = Transport.POLLING
        found = self.store.merge(
            answer, rest, received_at=self.now, transport=lambda: Transport.POLLING if degraded else None
        )
        assert found == sorted(fresh, key=lambda event: event.timestamp or self.now)

    @rule()
    def the_feed_gives_a_sign_of_life(self) -> None:
        self.a_second_passes()
        self.store.heard(self.now, lambda: None)

    @rule()
    def the_watchers_are_told(self) -> None:
        def call(subscription: Subscription, function: Callable[[Any], object], argument: Any) -> None:
            assert subscription.claim(self.lane)
            function(argument)
            subscription.release(self.lane)

        self.store.tell(call)
        snapshot = self.store.snapshot()
        assert self.told == {part: select(snapshot) for part, select in SELECTORS.items()}

    @invariant()
    def same(self) -> None:
        snapshot = self.store.snapshot()
        assert snapshot.recent_logs == tuple(log for _, _, log in reversed(self.entries))
        assert snapshot.alerts == tuple(reversed(self.alerts))
        known = {name: figure for name, figure in self.figures.items() if name != "further"}
        extra = {name: figure for name, figure in self.figures.items() if name == "further"}
        assert snapshot.stats == DashboardStats(**known, extra=extra)
        assert snapshot.as_of == (self.now if self.seconds else None)
        assert snapshot.transport is self.transport
        assert self.store.duplicates == self.duplicates
        timed = [log.timestamp for _, _, log in self.entries if log.timestamp is not None]
        assert self.store.newest_timestamp() == max(timed, default=None)
        assert snapshot.version >= self.version
        self.version = snapshot.version


SELECTORS: dict[str, Callable[[DashboardSnapshot], Any]] = {
    "stats": lambda snapshot: snapshot.stats,
    "recent_logs": lambda snapshot: snapshot.recent_logs,
    "alerts": lambda snapshot: snapshot.alerts,
    "ids": lambda snapshot: {log.id for log in snapshot.recent_logs},
}

PolledStoreAgainstModel.TestCase.settings = effort(100, 30)
TestPolledStore = PolledStoreAgainstModel.TestCase


def test_what_is_polled_again_counts_as_new_in_the_window() -> None:
    store = DashboardStore(dedup_window=2, polls=True)

    def poll(log_id: str) -> None:
        store.merge([LogEntry(log_id, "m")], [], received_at=T0, transport=lambda: None)

    def stream(*ids: str) -> set[int]:
        events = [NewAnomaly(LogEntry(log_id, "m")) for log_id in ids]
        return store.apply(events, received_at=T0, transport=Transport.WEBSOCKET)

    poll("a")
    poll("b")
    stream("x", "y")
    poll("a")
    poll("c")
    assert stream("a") == {0}
