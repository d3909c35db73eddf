"""The store: bounds, order, counting, one version at a time, and those who watch it or wait for it."""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from realtime_client._core.codec import Codec
from realtime_client._core.picture import Picture
from realtime_client.errors import ClientClosed
from realtime_client.events import (
    ConnectionEstablished,
    Event,
    FrozenMapping,
    LogEntry,
    NewAnomaly,
    Origin,
    Pong,
    StatsUpdate,
    SystemAlert,
)
from realtime_client.observers import Lane, Subscription
from realtime_client.status import Transport
from realtime_client.store import FURTHER_LIMIT, DashboardSnapshot, DashboardStats, DashboardStore

T0 = datetime(2024, 1, 1, 12, tzinfo=UTC)
ALERT = SystemAlert("x")
PATIENCE = 30.0


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def anomaly(log_id: str, seconds: float | None = 0, message: str = "m") -> NewAnomaly:
    return NewAnomaly(LogEntry(log_id, message, None if seconds is None else at(seconds)))


def stats(**figures: Any) -> StatsUpdate:
    return StatsUpdate(figures)


def apply(
    store: DashboardStore, *events: Event, received_at: datetime = T0, transport: Transport = Transport.WEBSOCKET
) -> None:
    store.apply(events, received_at=received_at, transport=transport)


def ids(store: DashboardStore) -> list[str]:
    return [log.id for log in store.recent_logs]


class Watchers:
    """Stands for the dispatcher: tells the watchers, takes care of claims, keeps what they raise."""

    def __init__(self, store: DashboardStore) -> None:
        self.store = store
        self.lane = Lane()
        self.errors: list[Exception] = []

    def tell(self) -> None:
        self.store.tell(self._call)

    def _call(self, subscription: Subscription, function: Callable[[Any], object], argument: Any) -> None:
        if subscription.claim(self.lane):
            try:
                function(argument)
            except Exception as error:  # noqa: BLE001 - as the dispatcher does
                self.errors.append(error)
            finally:
                subscription.release(self.lane)


@pytest.fixture
def store() -> DashboardStore:
    return DashboardStore()


@pytest.fixture
def watchers(store: DashboardStore) -> Watchers:
    return Watchers(store)


@pytest.fixture
def elsewhere() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


class Awaited(set[Any]):
    """Tells when somebody comes to wait; whoever then gets the lock finds them waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = threading.Semaphore(0)

    def add(self, waker: Any) -> None:
        super().add(waker)
        self.waits.release()

    def somebody_waits(self) -> None:
        assert self.waits.acquire(timeout=PATIENCE)


@pytest.fixture
def awaited(store: DashboardStore) -> Awaited:
    store._waiters = awaited = Awaited()
    return awaited


@pytest.fixture
def frequent_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


# What it keeps


def test_an_empty_store(store: DashboardStore) -> None:
    assert store.snapshot() == DashboardSnapshot()
    assert (store.recent_logs, store.alerts, store.stats) == ((), (), DashboardStats())
    assert store.version == 0


def test_recent_logs_are_newest_first_by_timestamp(store: DashboardStore) -> None:
    apply(store, anomaly("b", 2), anomaly("a", 1), anomaly("c", 3))
    assert ids(store) == ["c", "b", "a"]


def test_recent_logs_with_equal_timestamps_are_newest_first_by_arrival(store: DashboardStore) -> None:
    apply(store, anomaly("a"), anomaly("b"))
    apply(store, anomaly("c"))
    assert ids(store) == ["c", "b", "a"]


def test_a_log_without_timestamp_is_placed_by_its_arrival(store: DashboardStore) -> None:
    apply(store, anomaly("before", 5), anomaly("after", 15))
    apply(store, anomaly("none", None), received_at=at(10))
    assert ids(store) == ["after", "none", "before"]
    assert store.recent_logs[1].timestamp is None


def test_recent_logs_are_at_most_a_hundred_by_default(store: DashboardStore) -> None:
    apply(store, *(anomaly(str(n), n) for n in range(150)))
    assert ids(store) == [str(n) for n in range(149, 49, -1)]


def test_the_limit_keeps_the_newest_by_timestamp_not_by_arrival() -> None:
    store = DashboardStore(recent_logs_limit=2)
    apply(store, anomaly("c", 3), anomaly("b", 2), anomaly("a", 1))
    assert ids(store) == ["c", "b"]
    assert store.stats.anomaly_count == 3


def test_alerts_are_newest_first_by_arrival_and_bounded() -> None:
    store = DashboardStore(alerts_limit=2)
    apply(store, *(SystemAlert(str(n), timestamp=at(-n)) for n in range(5)))
    assert [alert.message for alert in store.alerts] == ["4", "3"]


def test_limits_of_zero_keep_nothing() -> None:
    store = DashboardStore(recent_logs_limit=0, alerts_limit=0, dedup_window=0)
    apply(store, anomaly("a"), anomaly("a"), SystemAlert("x"))
    assert (store.recent_logs, store.alerts, store.stats.anomaly_count) == ((), (), 2)


def test_what_leaves_the_store_cannot_be_changed(store: DashboardStore) -> None:
    apply(store, stats(further={"a": 1}), anomaly("a"))
    snapshot = store.snapshot()
    with pytest.raises(AttributeError):
        snapshot.stats.total_logs = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        snapshot.stats.extra["x"] = 1  # type: ignore[index]
    apply(store, stats(further={"a": 2}), anomaly("b"))
    assert (snapshot.stats.extra, snapshot.recent_logs) == ({"further": {"a": 1}}, (anomaly("a").log,))


# Counting


def test_new_anomaly_adds_one_to_anomaly_count(store: DashboardStore) -> None:
    apply(store, anomaly("a"), anomaly("b"))
    assert store.stats.anomaly_count == 2


def test_an_id_seen_again_is_not_counted_again_and_replaces_the_log(store: DashboardStore) -> None:
    apply(store, anomaly("a", 1, "first"), anomaly("b", 2))
    apply(store, anomaly("a", 3, "second"))
    assert [(log.id, log.message) for log in store.recent_logs] == [("a", "second"), ("b", "m")]
    assert store.stats.anomaly_count == 2
    assert store.duplicates == 1


def test_an_id_seen_again_with_the_same_timestamp_arrived_later(store: DashboardStore) -> None:
    apply(store, anomaly("a"), anomaly("b"), anomaly("a"))
    assert ids(store) == ["a", "b"]


def test_ids_are_remembered_beyond_the_logs_that_are_kept() -> None:
    store = DashboardStore(recent_logs_limit=1)
    apply(store, anomaly("a", 1), anomaly("b", 2), anomaly("a", 1))
    assert store.stats.anomaly_count == 2


def test_an_id_is_forgotten_after_dedup_window_others() -> None:
    store = DashboardStore(dedup_window=2)
    apply(store, anomaly("a"), anomaly("b"), anomaly("c"), anomaly("a"))
    assert store.stats.anomaly_count == 4
    assert ids(store) == ["a", "c", "b"]


def test_seeing_an_id_again_keeps_it_in_the_window() -> None:
    store = DashboardStore(dedup_window=2)
    apply(store, anomaly("a"), anomaly("b"), anomaly("a"), anomaly("c"), anomaly("a"))
    assert store.stats.anomaly_count == 3
    apply(store, anomaly("b"))
    assert store.stats.anomaly_count == 4


def test_stats_update_merges_what_it_carries_and_leaves_the_others(store: DashboardStore) -> None:
    apply(store, stats(total_logs=10, anomaly_rate=0.5, errorsPerMinute=7))
    apply(store, stats(total_logs=11, active_services=3, peak={"at": "noon"}))
    assert store.stats == DashboardStats(
        total_logs=11, anomaly_rate=0.5, active_services=3, extra={"errorsPerMinute": 7, "peak": {"at": "noon"}}
    )


def test_anomaly_count_is_what_the_server_said_plus_what_came_since(store: DashboardStore) -> None:
    apply(store, anomaly("a"), stats(anomaly_count=40), anomaly("b"), anomaly("b"), anomaly("c"))
    assert store.stats.anomaly_count == 42
    apply(store, stats(anomaly_count=7))
    assert store.stats.anomaly_count == 7


# Versions and freshness


def test_version_grows_with_each_change_and_only_then(store: DashboardStore) -> None:
    versions = [store.version]
    for event in (anomaly("a"), stats(total_logs=1), SystemAlert("x"), Pong(), ConnectionEstablished()):
        apply(store, event)
        versions.append(store.version)
    assert versions == [0, 1, 2, 3, 3, 3]
    assert store.snapshot().version == 3


def test_snapshot_is_the_same_object_while_nothing_happens(store: DashboardStore) -> None:
    apply(store, anomaly("a"))
    assert store.snapshot() is store.snapshot()


def test_a_batch_is_one_version(store: DashboardStore) -> None:
    apply(store, anomaly("a"), stats(total_logs=1), SystemAlert("x"))
    assert store.version == 1


def test_as_of_and_transport_tell_who_was_heard_last(store: DashboardStore) -> None:
    assert (store.snapshot().as_of, store.snapshot().transport) == (None, Transport.NONE)
    apply(store, Pong(), received_at=at(1))
    assert (store.snapshot().as_of, store.snapshot().transport) == (at(1), Transport.WEBSOCKET)
    store.heard(at(2), lambda: Transport.POLLING)
    assert (store.snapshot().as_of, store.snapshot().transport) == (at(2), Transport.POLLING)
    assert store.version == 0


def test_is_stale_when_nothing_was_heard_for_longer() -> None:
    now = 100.0
    store = DashboardStore(clock=lambda: now)
    assert store.is_stale(1e9)
    store.heard(T0, lambda: Transport.WEBSOCKET)
    now += 5
    assert not store.is_stale(5)
    assert store.is_stale(4.9)
    apply(store, Pong())
    assert not store.is_stale(0)


@pytest.mark.usefixtures("frequent_switches")
def test_snapshot_is_one_consistent_version_while_others_write(elsewhere: ThreadPoolExecutor) -> None:
    store = DashboardStore(recent_logs_limit=5, alerts_limit=3)
    done = threading.Event()

    def write() -> None:
        for n in range(1, 1500):
            apply(store, anomaly(str(n), n), stats(total_logs=n), SystemAlert(str(n)), received_at=at(n))
        done.set()

    def read() -> int:
        last, seen = DashboardSnapshot(), 0
        while not done.is_set():
            now = store.snapshot()
            n = now.stats.total_logs
            expected = [str(k) for k in range(n, 0, -1)]
            assert now.version == now.stats.anomaly_count == n >= last.stats.total_logs
            assert [log.id for log in now.recent_logs] == expected[:5]
            assert [alert.message for alert in now.alerts] == expected[:3]
            assert now.as_of == (at(n) if n else None)
            assert (now is last) == (now.version == last.version and seen > 0)
            last, seen = now, seen + 1
        return seen

    readers = [elsewhere.submit(read) for _ in range(3)]
    elsewhere.submit(write).result(PATIENCE)
    assert all(reader.result(PATIENCE) for reader in readers)


# The answers to polls


def merge(
    store: DashboardStore, *events: Event, logs: Sequence[LogEntry] = (), received_at: datetime = T0
) -> list[tuple[str, object]]:
    """What a poll brings that is new, each as its type and data."""
    fresh = store.merge(logs, events, received_at=received_at, transport=lambda: Transport.POLLING)
    return [(event.type, event.data_to_dict()) for event in fresh]


def log(log_id: str, seconds: float = 0, *, is_anomaly: bool = True) -> LogEntry:
    return LogEntry(log_id, "m", at(seconds), is_anomaly=is_anomaly)


def test_a_poll_delivers_logs_that_are_new_in_the_order_of_their_timestamps(store: DashboardStore) -> None:
    fresh = store.merge([log("b", 2), log("a", 1)], [], received_at=at(9), transport=lambda: Transport.POLLING)
    expected = [NewAnomaly(log(name, n), timestamp=at(n), origin=Origin.POLL) for n, name in enumerate("ab", 1)]
    assert fresh == expected
    assert [event.received_at for event in fresh] == [at(9), at(9)]
    assert (ids(store), store.stats.anomaly_count) == (["b", "a"], 2)
    assert (store.snapshot().transport, store.snapshot().as_of) == (Transport.POLLING, at(9))


def test_an_id_seen_before_is_not_delivered_from_a_poll_and_not_counted(store: DashboardStore) -> None:
    apply(store, anomaly("a"))
    assert merge(store, logs=[log("a")]) == []
    assert store.stats.anomaly_count == 1


def test_a_log_that_is_no_anomaly_fills_the_list_and_makes_no_event_and_no_count(store: DashboardStore) -> None:
    assert merge(store, logs=[log("a", is_anomaly=False)]) == []
    assert (ids(store), store.stats.anomaly_count) == (["a"], 0)


def test_figures_from_a_poll_overwrite(store: DashboardStore) -> None:
    assert merge(store, stats(anomaly_count=40), logs=[log("a")])
    assert store.stats.anomaly_count == 40


def test_what_has_a_timestamp_and_no_id_is_delivered_once(store: DashboardStore) -> None:
    first, later = SystemAlert("x", timestamp=at(1)), SystemAlert("x", timestamp=at(2))
    assert len(merge(store, first)) == 1
    assert len(merge(store)) == 0
    assert len(merge(store, first, later)) == 1
    assert store.alerts == (later, first)


def test_what_has_neither_is_delivered_if_the_answer_before_did_not_have_it(store: DashboardStore) -> None:
    counts = [len(merge(store, *answer)) for answer in ([ALERT], [ALERT], [], [ALERT], [ALERT, SystemAlert("y")])]
    assert counts == [1, 0, 0, 1, 1]
    assert [alert.message for alert in store.alerts] == ["y", "x", "x"]


def test_what_was_seen_before_a_restart_from_a_snapshot_is_not_delivered_again() -> None:
    """The snapshot is of another history, whose relay may tell again what the feed still gives."""
    store, other = DashboardStore(dedup_window=6), DashboardStore()
    apply(store, anomaly("a"), anomaly("b"), anomaly("c"))
    apply(other, anomaly("c"), anomaly("d"))
    restored = store.restore(other.picture(), received_at=at(1), transport=Transport.REDIS)
    assert [event.log.id for event in restored if isinstance(event, NewAnomaly)] == ["d"]
    events = [anomaly("a"), anomaly("e"), anomaly("a"), anomaly("c")]
    assert store.apply(events, received_at=at(2), transport=Transport.REDIS) == {0}  # the next repetition is one
    assert store.stats.anomaly_count == 4  # as in every store of this history
    again = store.restore(DashboardStore().picture(), received_at=at(3), transport=Transport.REDIS)
    assert again == []
    apply(other, anomaly("b"))  # seen two histories ago
    assert store.restore(other.picture(), received_at=at(4), transport=Transport.REDIS) == []


def test_what_a_poll_delivered_the_stream_does_not_repeat() -> None:
    store = DashboardStore(polls=True)
    alert = SystemAlert("x", timestamp=at(1))
    merge(store, alert, logs=[log("a")])
    again = [Pong(), anomaly("a"), alert]
    assert store.apply(again, received_at=T0, transport=Transport.WEBSOCKET) == {1, 2}
    assert (store.alerts, store.stats.anomaly_count, store.duplicates) == ((alert,), 1, 1)
    assert store.apply(again, received_at=T0, transport=Transport.WEBSOCKET) == set()


def test_what_the_stream_delivered_a_poll_does_not_repeat() -> None:
    store = DashboardStore(polls=True)
    alert = SystemAlert("x", timestamp=at(1))
    apply(store, alert)
    assert merge(store, alert) == []
    assert store.alerts == (alert,)


def test_in_which_order_a_message_has_its_data_does_not_make_it_another_one() -> None:
    """The stream's common messages keep the order of the wire; those of a poll have that of the fields."""
    codec, content = Codec(), {"activeServices": 5, "host": "a", "totalLogs": 9}
    message = {"type": "stats_update", "data": {"stats": content}, "timestamp": "2024-01-01T10:00:00Z"}
    turned = {"type": "own", "data": {"x": 1, "y": [{"b": 1, "a": 2}]}, "timestamp": "2024-01-01T10:00:00Z"}
    turned_back = {**turned, "data": {"y": [{"a": 2, "b": 1}], "x": 1}}
    store = DashboardStore(polls=True)
    streamed = [codec.decode(json.dumps(one), received_at=T0) for one in (message, turned)]
    apply(store, *streamed)
    polled = [codec.decode_object(one, received_at=T0, origin=Origin.POLL) for one in (message, turned_back)]
    assert merge(store, *polled) == []
    changed = {**turned, "data": {"x": 2, "y": [{"b": 1, "a": 2}]}}
    assert len(merge(store, codec.decode_object(changed, received_at=T0, origin=Origin.POLL))) == 1


def test_figures_with_a_timestamp_that_a_poll_delivered_the_stream_does_not_repeat() -> None:
    store = DashboardStore(polls=True)
    figures = StatsUpdate({"total_logs": 5}, timestamp=at(1))
    assert len(merge(store, figures)) == 1
    again = [figures, stats(total_logs=7), figures]
    assert store.apply(again, received_at=T0, transport=Transport.WEBSOCKET) == {0}
    assert store.stats.total_logs == 5


def test_a_store_that_is_never_polled_remembers_nothing_but_ids() -> None:
    store = DashboardStore()
    alert = SystemAlert("x", timestamp=at(1))
    apply(store, alert)
    assert len(merge(store, alert)) == 1


def test_what_polls_have_delivered_is_remembered_within_the_window() -> None:
    """The youngest are kept; what is forgotten is delivered by the stream once more."""
    store = DashboardStore(polls=True, dedup_window=2)
    alerts = [SystemAlert("x", timestamp=at(n)) for n in (1, 2)]
    merge(store, *alerts, logs=[log("a"), log("b")])
    again = [anomaly("a"), anomaly("b"), *alerts]
    assert store.apply(again, received_at=T0, transport=Transport.WEBSOCKET) == {2, 3}


def test_what_a_poll_brings_anew_is_as_young_as_what_is_new() -> None:
    store = DashboardStore(polls=True, dedup_window=2)
    merge(store, logs=[log("a", 1), log("b", 2)])
    merge(store, logs=[log("c", 3)])  # "a" is forgotten ...
    merge(store, logs=[log("a", 4)])  # ... and brought again, so that "b" is the oldest now
    known = store.apply([anomaly(name) for name in "cab"], received_at=T0, transport=Transport.WEBSOCKET)
    assert known == {0, 1}


def test_a_poll_without_a_transport_leaves_the_one_before(store: DashboardStore) -> None:
    apply(store, anomaly("a"))
    store.merge([], [], received_at=at(5), transport=lambda: None)
    assert (store.snapshot().transport, store.snapshot().as_of) == (Transport.WEBSOCKET, at(5))
    store.heard(at(6), lambda: Transport.POLLING)
    store.heard(at(7), lambda: None)
    assert (store.snapshot().transport, store.snapshot().as_of, store.version) == (Transport.POLLING, at(7), 1)


def test_find_log(store: DashboardStore) -> None:
    small = DashboardStore(recent_logs_limit=1)
    apply(small, anomaly("a", 1), anomaly("b", 2))
    assert small.find_log("a") == (True, None)
    assert small.find_log("b") == (True, anomaly("b", 2).log)
    assert small.find_log("c") == (False, None)


# Pictures


def filled() -> DashboardStore:
    store = DashboardStore(recent_logs_limit=2)
    apply(store, stats(total_logs=9, queue=3), anomaly("b", 2), anomaly("a", 1), anomaly("c", 3), SystemAlert("x"))
    return store


def test_a_picture_is_all_that_a_store_knows() -> None:
    assert filled().picture() == Picture(
        stats=FrozenMapping({"queue": 3, "total_logs": 9, "anomaly_count": 3}),
        logs=tuple((at(n), anomaly(name, n).log) for name, n in (("b", 2), ("c", 3))),
        alerts=(SystemAlert("x"),),
        seen=("b", "a", "c"),
    )


def test_a_store_made_from_a_picture_goes_on_as_if_it_were_the_same() -> None:
    first, second = filled(), DashboardStore(recent_logs_limit=2)
    second.restore(first.picture(), received_at=at(9), transport=Transport.REDIS)
    for store in (first, second):
        apply(store, anomaly("a", 2.5), anomaly("d", 0), stats(queue=4), SystemAlert("y"), received_at=at(10))
    assert attrs.evolve(second.snapshot(), version=0) == attrs.evolve(first.snapshot(), version=0)
    assert second.picture() == first.picture()
    assert second.stats.extra == {"queue": 4}
    assert ids(second) == ["c", "a"]


def test_a_picture_replaces_what_was_there_as_one_change(store: DashboardStore, watchers: Watchers) -> None:
    told: list[int] = []
    store.subscribe(lambda s: s.version, lambda _, version: told.append(version))
    apply(store, anomaly("z", 50), stats(total_logs=1, other=1), SystemAlert("z"))
    version = store.version
    store.restore(filled().picture(), received_at=at(9), transport=Transport.REDIS)
    snapshot = store.snapshot()
    assert (snapshot.version, snapshot.as_of, snapshot.transport) == (version + 1, at(9), Transport.REDIS)
    assert (ids(store), [alert.message for alert in store.alerts]) == (["c", "b"], ["x"])
    assert (store.stats.total_logs, store.stats.anomaly_count, store.stats.extra) == (9, 3, {"queue": 3})
    watchers.tell()
    assert told == [version + 1]


def test_a_picture_gives_as_events_what_is_new_here_in_the_order_of_their_timestamps(store: DashboardStore) -> None:
    alerts = [SystemAlert("x", timestamp=at(2.5)), SystemAlert("had", timestamp=at(1)), SystemAlert("untimed")]
    apply(store, anomaly("a", 1), alerts[1])
    quiet = LogEntry("quiet", "m", at(2), is_anomaly=False)
    picture = Picture(
        logs=tuple((at(n), log) for n, log in enumerate((anomaly("c", 3).log, quiet, anomaly("a", 1).log))),
        alerts=tuple(alerts),
        seen=("a",),
    )
    fresh = store.restore(picture, received_at=at(2.75), transport=Transport.REDIS)
    log = anomaly("c", 3).log
    assert fresh == [alerts[0], alerts[2], NewAnomaly(log, timestamp=at(3), origin=Origin.REDIS)]
    assert fresh[2].received_at == at(2.75)
    assert store.restore(picture, received_at=at(9), transport=Transport.REDIS) == [fresh[2]]  # its id is in no list


def test_an_alert_of_a_picture_that_is_graver_than_the_one_here_is_new(store: DashboardStore) -> None:
    warned, failed = (SystemAlert("disk", severity, timestamp=at(1)) for severity in ("warning", "error"))
    apply(store, warned)
    picture = Picture(alerts=(warned, failed))
    assert store.restore(picture, received_at=at(2), transport=Transport.REDIS) == [failed]


def test_a_picture_is_cut_to_what_this_store_keeps() -> None:
    small = DashboardStore(recent_logs_limit=1, alerts_limit=1, dedup_window=2)
    picture = Picture(
        logs=((at(1), log("a")), (at(2), log("b"))),
        alerts=(SystemAlert("x"), SystemAlert("y")),
        seen=("a", "b", "c"),
    )
    small.restore(picture, received_at=T0, transport=Transport.REDIS)
    assert (ids(small), [alert.message for alert in small.alerts]) == (["b"], ["y"])
    assert [small.find_log(name)[0] for name in "abc"] == [False, True, True]


def test_newest_timestamp_is_that_of_the_logs_held(store: DashboardStore) -> None:
    assert store.newest_timestamp() is None
    apply(store, anomaly("a", None), received_at=at(9))
    assert store.newest_timestamp() is None
    apply(store, anomaly("b", 2), anomaly("c", 1))
    assert store.newest_timestamp() == at(2)


# wait_for


def test_wait_for_returns_at_once_what_is_true_already(store: DashboardStore) -> None:
    apply(store, anomaly("a"))
    assert store.wait_for(lambda s: s.recent_logs, timeout=0) is store.snapshot()


def test_wait_for_is_woken_by_the_state_it_waits_for(
    store: DashboardStore, awaited: Awaited, elsewhere: ThreadPoolExecutor
) -> None:
    waiting = elsewhere.submit(store.wait_for, lambda s: s.stats.anomaly_count >= 2, PATIENCE)
    for log_id in "ab":
        awaited.somebody_waits()
        apply(store, anomaly(log_id))
    assert waiting.result(PATIENCE).stats.anomaly_count == 2


def test_wait_for_on_the_main_thread_is_woken_at_once(
    store: DashboardStore, awaited: Awaited, elsewhere: ThreadPoolExecutor
) -> None:
    """There a wait is cut into pieces; who is woken in one of them does not wait for the rest."""

    def come() -> None:
        for log_id in "ab":
            awaited.somebody_waits()
            apply(store, anomaly(log_id))

    assert threading.current_thread() is threading.main_thread()
    coming = elsewhere.submit(come)
    began = time.monotonic()
    assert store.wait_for(lambda s: s.stats.anomaly_count >= 2, timeout=6 * PATIENCE).stats.anomaly_count == 2
    assert time.monotonic() - began < 3 * PATIENCE
    coming.result(PATIENCE)


@pytest.mark.parametrize(
    "predicate",
    [lambda s: s.transport is Transport.POLLING, lambda s: s.as_of == at(1)],
    ids=["transport", "as_of"],
)
def test_wait_for_freshness(
    store: DashboardStore, awaited: Awaited, elsewhere: ThreadPoolExecutor, predicate: Callable[[Any], bool]
) -> None:
    waiting = elsewhere.submit(store.wait_for, predicate, PATIENCE)
    awaited.somebody_waits()
    store.heard(at(1), lambda: Transport.POLLING)
    assert waiting.result(PATIENCE).version == 0


def test_wait_for_asks_on_the_calling_thread_under_no_lock(store: DashboardStore) -> None:
    threads: list[threading.Thread] = []

    def reads_and_writes(snapshot: DashboardSnapshot) -> bool:
        threads.append(threading.current_thread())
        apply(store, anomaly(str(len(threads))))
        assert len(store.recent_logs) == len(threads)
        return len(threads) == 3

    assert store.wait_for(reads_and_writes, PATIENCE).stats.anomaly_count == 2
    assert set(threads) == {threading.current_thread()}


def test_wait_for_misses_no_version_between_its_check_and_its_wait(store: DashboardStore) -> None:
    def check(snapshot: DashboardSnapshot) -> object:
        found = snapshot.recent_logs
        if not found:  # it was looked at, and is about to be waited for
            apply(store, anomaly("a"))
        return found

    assert store.wait_for(check, PATIENCE).version == 1


def test_wait_for_raises_timeout_error(store: DashboardStore) -> None:
    with pytest.raises(TimeoutError, match=r"did not come to the awaited state in 0\.01 s"):
        store.wait_for(lambda s: False, timeout=0.01)


def test_wait_for_takes_any_timeout(store: DashboardStore, awaited: Awaited, elsewhere: ThreadPoolExecutor) -> None:
    waiting = elsewhere.submit(store.wait_for, lambda s: s.version == 1, timeout=float("inf"))
    awaited.somebody_waits()
    apply(store, anomaly("a"))
    assert waiting.result(PATIENCE).version == 1


def test_wait_for_is_released_by_the_end(
    store: DashboardStore, awaited: Awaited, elsewhere: ThreadPoolExecutor
) -> None:
    waiting = [elsewhere.submit(store.wait_for, lambda s: False, 2 * PATIENCE) for _ in range(3)]
    for _ in waiting:
        awaited.somebody_waits()
    store.end(ClientClosed("closed"))
    for one in waiting:
        with pytest.raises(ClientClosed):
            one.result(PATIENCE)


def test_wait_for_after_the_end(store: DashboardStore, awaited: Awaited, elsewhere: ThreadPoolExecutor) -> None:
    apply(store, anomaly("a"))
    store.end(ClientClosed("closed"))
    assert store.wait_for(lambda s: s.version == 1).version == 1
    with pytest.raises(ClientClosed):
        store.wait_for(lambda s: s.version == 2)
    store.end(None)
    waiting = elsewhere.submit(store.wait_for, lambda s: s.version == 2, PATIENCE)
    awaited.somebody_waits()
    apply(store, anomaly("b"))
    assert waiting.result(PATIENCE).version == 2


def test_the_error_of_the_end_does_not_grow_with_each_wait(store: DashboardStore) -> None:
    error = ClientClosed("closed")
    store.end(error)
    depths = []
    for _ in range(3):
        with pytest.raises(ClientClosed):
            store.wait_for(lambda s: False)
        trace, depth = error.__traceback__, 0
        while trace is not None:
            trace, depth = trace.tb_next, depth + 1
        depths.append(depth)
    assert len(set(depths)) == 1


def test_wake_lets_wait_for_look_again_at_the_same_state(
    store: DashboardStore, awaited: Awaited, elsewhere: ThreadPoolExecutor
) -> None:
    """What the predicate asks besides may have changed: the status of the connection, for instance."""
    beside: list[str] = []
    waiting = elsewhere.submit(store.wait_for, lambda s: beside, PATIENCE)
    awaited.somebody_waits()
    beside.append("now")
    store.wake()
    assert waiting.result(PATIENCE) is store.snapshot()


def test_wake_between_the_predicate_and_the_wait_is_not_missed(store: DashboardStore) -> None:
    looks: list[int] = []

    def check(_: DashboardSnapshot) -> bool:
        looks.append(1)
        if len(looks) == 1:
            store.wake()
        return len(looks) == 2

    store.wait_for(check, PATIENCE)


def test_wait_for_on_the_clients_own_thread_raises_runtime_error() -> None:
    store = DashboardStore(on_own_thread=lambda: True)
    with pytest.raises(RuntimeError, match=r"store\.wait_for\(\) would block the client's own thread"):
        store.wait_for(lambda s: True)


# subscribe


@pytest.mark.parametrize(
    ("part", "event", "change"),
    [
        ("stats", stats(total_logs=1), (DashboardStats(), DashboardStats(total_logs=1))),
        ("recent_logs", anomaly("a"), ((), (anomaly("a").log,))),
        ("alerts", SystemAlert("x"), ((), (SystemAlert("x"),))),
    ],
)
def test_subscribe_tells_of_a_part_that_has_changed(
    store: DashboardStore, watchers: Watchers, part: str, event: Event, change: tuple[object, object]
) -> None:
    told: list[tuple[object, object]] = []
    store.subscribe(part, lambda before, now: told.append((before, now)))
    watchers.tell()
    apply(store, event)
    assert told == []
    watchers.tell()
    watchers.tell()
    assert told == [change]


def test_subscribe_tells_only_of_that_part(store: DashboardStore, watchers: Watchers) -> None:
    told: list[str] = []
    store.subscribe("stats", lambda before, now: told.append("stats"))
    store.subscribe("recent_logs", lambda before, now: told.append("recent_logs"))
    store.subscribe("alerts", lambda before, now: told.append("alerts"))
    apply(store, SystemAlert("x"))
    watchers.tell()
    apply(store, stats(total_logs=1))
    watchers.tell()
    apply(store, anomaly("a"))
    watchers.tell()
    assert told == ["alerts", "stats", "stats", "recent_logs"]


def test_subscribe_does_not_tell_of_equal_values(store: DashboardStore, watchers: Watchers) -> None:
    apply(store, stats(total_logs=1))
    told: list[object] = []
    store.subscribe("stats", lambda before, now: told.append(now))
    apply(store, stats(total_logs=1))
    watchers.tell()
    apply(store, stats(total_logs=2))
    apply(store, stats(total_logs=1))
    watchers.tell()
    assert store.version == 4
    assert told == []


def test_subscribe_skips_versions_and_gives_the_newest(store: DashboardStore, watchers: Watchers) -> None:
    told: list[tuple[int, int]] = []
    store.subscribe(lambda s: s.stats.total_logs, lambda before, now: told.append((before, now)))
    for n in (1, 2, 3):
        apply(store, stats(total_logs=n))
    watchers.tell()
    apply(store, stats(total_logs=4))
    watchers.tell()
    assert told == [(0, 3), (3, 4)]


def test_a_selector_is_asked_once_for_each_snapshot(store: DashboardStore, watchers: Watchers) -> None:
    asked: list[int] = []
    store.subscribe(lambda s: asked.append(s.version), print)
    for _ in range(2):
        watchers.tell()
        apply(store, anomaly("a"))
        watchers.tell()
        watchers.tell()
    assert asked == [0, 1, 2]


def test_subscribe_to_freshness(store: DashboardStore, watchers: Watchers) -> None:
    told: list[Transport] = []
    store.subscribe(lambda s: s.transport, lambda before, now: told.append(now))
    store.heard(T0, lambda: Transport.WEBSOCKET)
    watchers.tell()
    store.heard(T0, lambda: Transport.POLLING)
    watchers.tell()
    assert told == [Transport.WEBSOCKET, Transport.POLLING]


def test_subscribe_misses_no_change_made_while_it_subscribes(store: DashboardStore, watchers: Watchers) -> None:
    told: list[tuple[int, int]] = []
    store.subscribe("stats", lambda before, now: None)

    def total(snapshot: DashboardSnapshot) -> int:
        if store.version == 0:  # the subscriber has looked, and is not yet known
            apply(store, stats(total_logs=1))
            watchers.tell()
        return snapshot.stats.total_logs

    store.subscribe(total, lambda before, now: told.append((before, now)))
    watchers.tell()
    assert told == [(0, 1)]


def test_a_cancelled_store_subscription_is_told_no_more(store: DashboardStore, watchers: Watchers) -> None:
    told: list[str] = []

    def cancels_the_second(before: object, now: object) -> None:
        told.append("first")
        second.cancel()

    first = store.subscribe("stats", cancels_the_second)
    second = store.subscribe("stats", lambda before, now: told.append("second"))
    apply(store, stats(total_logs=1))
    watchers.tell()
    assert told == ["first"]
    assert first.cancel()
    apply(store, stats(total_logs=2))
    watchers.tell()
    assert told == ["first"]


def test_errors_of_a_selector_or_a_callback_stop_no_other(store: DashboardStore, watchers: Watchers) -> None:
    told: list[object] = []

    def fails_later(snapshot: DashboardSnapshot) -> int:
        return 1 // (1 - snapshot.version)

    def fails(before: object, now: object) -> None:
        raise KeyError("callback")

    store.subscribe(fails_later, lambda before, now: told.append("unreachable"))
    store.subscribe("stats", fails)
    store.subscribe("stats", lambda before, now: told.append(now))
    apply(store, stats(total_logs=1))
    watchers.tell()
    assert [type(error) for error in watchers.errors] == [ZeroDivisionError, KeyError]
    assert told == [DashboardStats(total_logs=1)]


def test_subscribe_to_an_unknown_part_names_what_is_allowed(store: DashboardStore) -> None:
    with pytest.raises(ValueError, match="part: 'logs' is not allowed; allowed: stats, recent_logs, alerts or a func"):
        store.subscribe("logs", print)


def test_subscribe_without_a_callable(store: DashboardStore) -> None:
    with pytest.raises(TypeError, match="callback: None is not allowed; allowed: a callable"):
        store.subscribe("stats", None)  # type: ignore[arg-type]


@pytest.mark.usefixtures("frequent_switches")
def test_watchers_are_never_told_in_another_order(store: DashboardStore, elsewhere: ThreadPoolExecutor) -> None:
    watchers = Watchers(store)
    told: list[tuple[int, int]] = []
    store.subscribe(lambda s: s.version, lambda before, now: told.append((before, now)))
    done = threading.Event()

    def write(name: str) -> None:
        for n in range(500):
            apply(store, anomaly(f"{name}{n}", n))

    def tell() -> None:
        while not done.is_set():
            watchers.tell()
        watchers.tell()

    telling = elsewhere.submit(tell)
    writing = [elsewhere.submit(write, name) for name in "ab"]
    for one in writing:
        one.result(PATIENCE)
    done.set()
    telling.result(PATIENCE)
    assert told[0][0] == 0
    assert told[-1][1] == 1000
    assert all(before < now for before, now in told)
    assert all(one[1] == other[0] for one, other in itertools.pairwise(told))


# to_dict, fork


def test_to_dict_is_json_ready_in_the_wires_naming(store: DashboardStore) -> None:
    log = LogEntry("1", "m", T0, "ERROR", "web", True, 0.5, ("disk",), ("mend it",), {"hostName": "h", "nested": (1,)})
    figures = stats(total_logs=2, anomaly_rate=0.5, perService={"web": 1})
    apply(store, NewAnomaly(log), figures, SystemAlert("down", "critical", timestamp=T0))
    assert json.loads(json.dumps(store.snapshot().to_dict())) == {
        "stats": {"totalLogs": 2, "anomalyCount": 1, "anomalyRate": 0.5, "activeServices": 0, "perService": {"web": 1}},
        "recentLogs": [
            {
                "id": "1",
                "timestamp": "2024-01-01T12:00:00Z",
                "level": "ERROR",
                "message": "m",
                "source": "web",
                "isAnomaly": True,
                "anomalyScore": 0.5,
                "rootCauses": ["disk"],
                "recommendations": ["mend it"],
                "hostName": "h",
                "nested": [1],
            }
        ],
        "alerts": [{"message": "down", "severity": "critical", "timestamp": "2024-01-01T12:00:00Z"}],
        "version": 1,
        "asOf": "2024-01-01T12:00:00Z",
        "transport": "websocket",
    }


def test_to_dict_of_an_empty_store(store: DashboardStore) -> None:
    data = store.snapshot().to_dict()
    assert json.loads(json.dumps(data)) == data
    assert (data["asOf"], data["transport"], data["recentLogs"]) == (None, "none", [])


def test_after_fork_a_lock_held_by_nobody_does_not_block(store: DashboardStore, watchers: Watchers) -> None:
    apply(store, anomaly("a"))
    store._lock.acquire()  # by a thread that the child process does not have
    store._watchers._lock.acquire()
    store.after_fork()
    told: list[object] = []
    store.subscribe("recent_logs", lambda before, now: told.append(now))
    apply(store, anomaly("b"))
    watchers.tell()
    assert ids(store) == ["b", "a"]
    assert told == [store.recent_logs]


# Against a naive model

TIMES = st.sampled_from([None, 0.0, 1.0, 2.0, 3.0])
FIGURES: st.SearchStrategy[Mapping[str, Any]] = st.dictionaries(
    st.sampled_from(["total_logs", "anomaly_count", "active_services", "further"]), st.integers(0, 3), max_size=2
)
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(anomaly, st.sampled_from("abcdef"), TIMES, st.sampled_from("xyz")),
    st.builds(StatsUpdate, FIGURES),
    st.builds(SystemAlert, st.sampled_from("pqr")),
    st.just(Pong()),
)


class StoreAgainstModel(RuleBasedStateMachine):
    @initialize(logs=st.integers(1, 4), alerts=st.integers(1, 3), window=st.integers(1, 4))
    def begin(self, logs: int, alerts: int, window: int) -> None:
        self.store = DashboardStore(recent_logs_limit=logs, alerts_limit=alerts, dedup_window=window)
        self.watchers = Watchers(self.store)
        self.limits = (logs, alerts, window)
        self.logs: list[tuple[datetime, int, LogEntry]] = []
        self.alerts: list[SystemAlert] = []
        self.seen: list[str] = []
        self.figures: dict[str, Any] = {}
        self.arrivals = self.seconds = self.duplicates = 0
        self.transport = Transport.NONE
        self.told = self.last = self.store.recent_logs
        self.store.subscribe("recent_logs", self.hear)

    def hear(self, previous: tuple[LogEntry, ...], current: tuple[LogEntry, ...]) -> None:
        assert previous == self.told != current
        self.told = current

    @rule(batch=st.lists(EVENTS, max_size=5), transport=st.sampled_from([Transport.WEBSOCKET, Transport.POLLING]))
    def apply(self, batch: list[Event], transport: Transport) -> None:
        self.seconds += 1
        self.transport = transport
        apply(self.store, *batch, received_at=at(self.seconds), transport=transport)
        for event in batch:
            if isinstance(event, NewAnomaly):
                self.keep(event.log)
            elif isinstance(event, StatsUpdate):
                self.figures |= event.stats
            elif isinstance(event, SystemAlert):
                self.alerts = [event, *self.alerts][: self.limits[1]]
        self.logs = self.logs[-self.limits[0] :]  # a batch is one change

    def keep(self, log: LogEntry) -> None:
        if log.id in self.seen:
            self.seen.remove(log.id)
            self.duplicates += 1
        else:
            self.figures["anomaly_count"] = self.figures.get("anomaly_count", 0) + 1
        self.seen = [*self.seen, log.id][-self.limits[2] :]
        self.arrivals += 1
        others = [entry for entry in self.logs if entry[2].id != log.id]
        self.logs = sorted(
            [*others, (log.timestamp or at(self.seconds), self.arrivals, log)], key=lambda entry: entry[:2]
        )

    @rule()
    def tell(self) -> None:
        self.watchers.tell()
        assert self.watchers.errors == []
        assert self.told == self.store.recent_logs

    @invariant()
    def same(self) -> None:
        known = {name: value for name, value in self.figures.items() if name != "further"}
        extra = {"further": self.figures["further"]} if "further" in self.figures else {}
        snapshot = self.store.snapshot()
        assert snapshot.recent_logs == tuple(log for _, _, log in reversed(self.logs))
        assert snapshot.alerts == tuple(self.alerts)
        assert snapshot.stats == DashboardStats(**known, extra=extra)
        assert snapshot.as_of == (at(self.seconds) if self.seconds else None)
        assert snapshot.transport is self.transport
        assert self.store.duplicates == self.duplicates


StoreAgainstModel.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestStoreAgainstModel = StoreAgainstModel.TestCase


def test_a_server_that_invents_names_of_figures_costs_no_time_that_grows_with_their_square(
    store: DashboardStore,
) -> None:
    class Counted(dict[str, int]):
        """Counts how often it is walked from its beginning."""

        walks = 0

        def __iter__(self) -> Iterator[str]:
            self.walks += 1
            return super().__iter__()

    names = Counted()
    store._further = names
    apply(store, stats(**{f"n{i}": i for i in range(FURTHER_LIMIT + 5_000)}))
    assert names.walks <= 1
    assert list(store.stats.extra) == [f"n{i}" for i in range(5_000, FURTHER_LIMIT + 5_000)]


def test_in_a_forked_child_the_store_goes_on_wherever_the_parents_writer_was_cut_off(store: DashboardStore) -> None:
    apply(store, anomaly("a", 1), anomaly("b", 2), anomaly("c", 3))
    store._arrivals, store._last_at = 1, at(1)  # as if that thread had not come to write them back
    store.after_fork()
    apply(store, anomaly("d", 2), anomaly("e", 2))
    assert ids(store) == ["c", "e", "d", "b", "a"]
