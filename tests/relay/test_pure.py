"""The rules without Redis: the lease, the numbers of entries, what is appended, and the addresses."""

from __future__ import annotations

import contextlib
import json
import math
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_client import (
    ClientConfig,
    ConfigError,
    Gap,
    LogEntry,
    NewAnomaly,
    Origin,
    Pong,
    StatsUpdate,
    SystemAlert,
    Transport,
    UnknownEvent,
)
from realtime_client._core.codec import Codec
from realtime_client._core.picture import decode_picture, encode_picture
from realtime_client._core.relay_stream import (
    EVENT,
    GAP,
    Entry,
    Keys,
    Place,
    Portion,
    Verdict,
    at_of,
    encode_event,
    judge,
    read_entry,
)
from realtime_client.errors import MalformedMessage
from realtime_client.redis_url import read_redis_url
from realtime_client.relay.lease import Lease
from realtime_client.relay.ledger import BATCH, BATCH_BYTES, Ledger
from realtime_client.relay.order import Order
from realtime_client.store import DashboardStore

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)


# The lease


def test_a_lease_is_counted_from_before_it_was_asked_for() -> None:
    lease = Lease(10.0)
    assert lease.left(0.0) == 0
    lease.granted(asked_at=100.0)
    assert lease.renew_at == pytest.approx(103.3, abs=0.1)
    assert lease.left(100.0) == pytest.approx(8.0)
    assert lease.left(107.9) > 0
    assert lease.left(108.0) == 0  # before it is over in Redis, whose clock began later
    lease.granted(asked_at=104.0)
    assert lease.left(108.0) > 0
    lease.given_up()
    assert lease.left(104.0) == 0


# Entries


def entry(seq: int, fence: int) -> Entry:
    return Entry(b"1-%d" % seq, b"1", seq, fence, EVENT, b"{}")


@pytest.mark.parametrize(
    ("seq", "fence", "verdict"),
    [
        (11, 3, Verdict.NEXT),
        (11, 4, Verdict.NEXT),
        (10, 3, Verdict.BROKEN),  # the same fencing number, given again after a failover
        (1, 3, Verdict.BROKEN),
        (12, 3, Verdict.BROKEN),
        (12, 4, Verdict.BROKEN),
        (10, 4, Verdict.BROKEN),  # a new numbering
        (11, 2, Verdict.STALE),
        (10, 2, Verdict.STALE),
        (99, 2, Verdict.STALE),
    ],
)
def test_what_an_entry_is_to_a_reader(seq: int, fence: int, verdict: Verdict) -> None:
    assert judge(Place(b"e", 10, 3, b"1-10", b"1-10"), entry(seq, fence)) is verdict


def test_entries_of_others_are_not_read() -> None:
    assert read_entry([b"17-4", [b"event:2", b"{}"]]) == Entry(b"17-4", b"17", 4, 2, EVENT, b"{}")
    assert read_entry([b"17-4", [b"a", b"b"]]) is None
    assert read_entry([b"17-4", [b"event:x", b"{}"]]) is None
    assert read_entry([b"17-4", None]) is None
    assert at_of(b"1500") == datetime(1970, 1, 1, 0, 0, 1, 500000, tzinfo=UTC)


@pytest.mark.parametrize(("sizes", "count"), [([350] * 16, 500), ([350, 1_000_000], 4), ([50_000_000], 1), ([0], 500)])
def test_a_read_asks_for_less_where_entries_are_large(sizes: list[int], count: int) -> None:
    portion = Portion()
    assert portion.count == 16
    portion.learn([(b"1-1", [b"x" * size]) for size in sizes])
    assert portion.count == count


def test_deleted_entries_have_no_size() -> None:
    portion = Portion()
    portion.learn([(b"1-1", None)])
    assert portion.count == 500


def test_all_keys_of_a_stream_share_one_hash_tag() -> None:
    keys = Keys("logs")
    assert {key.partition("{")[2].partition("}")[0] for key in vars(keys).values()} == {"logs"}
    assert len(set(vars(keys).values())) == 4


# What is appended


def ledger(**limits: int) -> Ledger:
    return Ledger(**{"recent_logs_limit": 3, "alerts_limit": 3, "dedup_window": 5, **limits})


def anomaly(number: int, cause: str = "", seconds: int | None = 0, origin: Origin = Origin.STREAM) -> NewAnomaly:
    at = None if seconds is None else NOW + timedelta(seconds=seconds)
    return NewAnomaly(LogEntry(f"log-{number}", "m", timestamp=at, root_causes=(cause,)), origin=origin)


def append(book: Ledger, *items: Any) -> int:
    """How many entries it made."""
    batch = book.admit(deque(items))
    if batch is None:
        return 0
    assert batch.after == book.seq
    assert book.commit(1, b"%d-%d" % (NOW.timestamp() * 1000, batch.last)) is batch
    return len(batch.entries)


def test_no_log_is_appended_twice() -> None:
    book = ledger()
    assert append(book, anomaly(1), anomaly(2), anomaly(1)) == 2
    assert append(book, anomaly(1), anomaly(2, origin=Origin.POLL), anomaly(3)) == 1
    assert book.seq == 3
    assert book.duplicates == 3
    assert book.store.stats.anomaly_count == 3


def test_a_log_that_the_server_has_changed_is_appended_while_it_is_shown() -> None:
    book = ledger()
    append(book, anomaly(1, "disk"), anomaly(2, "disk"))
    assert append(book, anomaly(1, "network")) == 1
    assert append(book, anomaly(1, "network")) == 0
    assert append(book, anomaly(3), anomaly(4), anomaly(5)) == 3
    assert append(book, anomaly(2, "network")) == 0  # nobody shows it any more
    assert book.store.stats.anomaly_count == 5


def test_a_log_that_a_poll_tells_otherwise_is_not_appended() -> None:
    """Polls may tell less of a log (no causes, for instance), and a client delivers none from them that it had."""
    book = ledger()
    append(book, anomaly(1, "disk"))
    assert append(book, anomaly(1, "", seconds=9, origin=Origin.POLL)) == 0
    assert append(book, anomaly(2, "disk"), anomaly(2, "", origin=Origin.POLL)) == 1
    assert append(book, anomaly(3, "", origin=Origin.POLL), anomaly(3, "disk")) == 2  # but the stream may follow a poll
    assert book.duplicates == 2


def test_a_change_that_goes_back_in_time_is_a_repetition() -> None:
    book = ledger()
    append(book, anomaly(1, "disk", seconds=5))
    assert append(book, anomaly(1, "network", seconds=4)) == 0
    assert append(book, anomaly(1, "network", seconds=6)) == 1
    assert append(book, anomaly(1, "third", seconds=None)) == 1
    assert append(book, anomaly(1, "fourth", seconds=7)) == 0  # against a time that only its arrival gave it


def test_what_is_on_the_way_is_known() -> None:
    book = ledger()
    first, second = book.admit(deque([anomaly(1), anomaly(2)])), book.admit(deque([anomaly(2), anomaly(3)]))
    assert first is not None
    assert second is not None
    assert (first.after, first.last, second.after, second.last) == (0, 2, 2, 3)
    assert book.count_new([anomaly(3), anomaly(4)]) == 1
    assert book.duplicates == 1
    assert book.commit(1, b"1-2") is first
    assert (book.seq, book.store.stats.anomaly_count) == (2, 2)
    assert book.count_new([anomaly(3)]) == 0
    book.drop()
    assert book.count_new([anomaly(3)]) == 1


def test_what_was_written_without_an_answer_is_confirmed_by_what_is_read() -> None:
    book = ledger()
    batches = [book.admit(deque([anomaly(number)])) for number in (1, 2, 3)]
    book.replay([Entry(b"5-%d" % n, b"5", n, 1, EVENT, encode_event(anomaly(n))) for n in (1, 2)])
    assert book.confirm_replayed() == batches[:2]
    assert list(book.unconfirmed) == batches[2:]
    assert (book.seq, book.last_id, book.store.stats.anomaly_count) == (2, b"5-2", 2)


def test_what_was_read_of_a_batch_in_part_is_not_written_again() -> None:
    """The connection may break between two parts, and Redis lose the second one: the rest is what is appended then."""
    book = ledger()
    gap = Gap(since=NOW, until=NOW, recovered=0, complete=False)
    batch = book.admit(deque([anomaly(1), gap, anomaly(2), anomaly(3)]))
    assert batch is not None
    book.replay([Entry(b"5-%d" % n, b"5", n, 1, *batch.entries[n - 1]) for n in (1, 2)])
    (written,) = book.confirm_replayed()
    assert [written.after, *written.events] == [0, anomaly(1)]
    (rest,) = book.unconfirmed
    assert [rest.after, *rest.events] == [2, anomaly(2), anomaly(3)]
    assert written.entries + rest.entries == batch.entries
    assert book.commit(1, b"6-4") is rest
    assert (book.seq, book.store.stats.anomaly_count) == (4, 3)


def test_the_memory_is_bounded() -> None:
    book = ledger()
    for number in range(7):
        append(book, anomaly(number))
    assert append(book, anomaly(6)) == append(book, anomaly(2)) == 0
    assert append(book, anomaly(0)) == 1


def test_what_is_about_the_connection_upstream_is_not_appended() -> None:
    book = ledger()
    assert append(book, Pong(), Pong(), StatsUpdate({"total_logs": 3})) == 1
    assert book.store.stats.total_logs == 3


def alert(text: str = "down", at: datetime | None = NOW, origin: Origin = Origin.STREAM) -> SystemAlert:
    return SystemAlert(text, "error", timestamp=at, origin=origin)


def test_an_alert_that_a_poll_repeats_is_not_appended() -> None:
    book = ledger()
    assert append(book, alert()) == 1
    assert append(book, alert(origin=Origin.POLL)) == 0
    assert append(book, alert()) == 1  # the feed says it again, and means it
    assert append(book, alert("up", origin=Origin.POLL), alert("up", origin=Origin.POLL)) == 1
    assert append(book, alert("both"), alert("both", origin=Origin.POLL)) == 1  # both at once
    assert append(book, alert("both")) == 1


def test_an_alert_without_a_timestamp_is_always_appended() -> None:
    """It cannot be told from another one that says the same: better twice than never."""
    book = ledger()
    untimed = alert(at=None, origin=Origin.POLL)
    assert append(book, alert(at=None), untimed, untimed, alert(at=None)) == 4
    assert append(book, untimed, alert(at=None)) == 2
    assert book.count_new([untimed, untimed]) == 2


def test_an_alert_that_a_poll_has_told_first_is_not_appended_again() -> None:
    """A relay that takes over is connected already while it polls: what is told meanwhile may come both ways."""
    book = ledger()
    batch = book.admit(deque([alert(origin=Origin.POLL), alert(), alert("up")]))
    assert batch is not None
    assert [event.origin for event in batch.events] == [Origin.POLL, Origin.STREAM]
    book.commit(1, b"1-2")
    assert append(book, alert()) == 0
    assert append(book, alert(at=NOW + timedelta(seconds=1))) == 1


def test_what_would_be_appended_is_counted_without_a_trace() -> None:
    book = ledger()
    append(book, anomaly(1), alert())
    before = book.duplicates
    events = [anomaly(1), anomaly(2), anomaly(2), alert(origin=Origin.POLL), alert("up", origin=Origin.POLL), Pong()]
    watched = []

    def watching() -> Iterator[Any]:
        for event in events:
            yield event
            watched.append(book.duplicates)  # as another thread may look at it

    assert book.count_new(watching()) == 2
    assert set(watched) == {before}
    assert append(book, *events) == 2
    assert book.duplicates == before + 2


def test_a_batch_ends_where_it_is_long_or_large() -> None:
    book = ledger()
    waiting: deque[Any] = deque(anomaly(number) for number in range(BATCH + 5))
    assert [len(batch.entries) for batch in iter(lambda: book.admit(waiting), None)] == [BATCH, 5]
    half = "x" * (BATCH_BYTES // 2)
    waiting = deque(UnknownEvent({"n": number, "text": half}, type="deploy") for number in range(5))
    batches = list(iter(lambda: book.admit(waiting), None))
    assert [len(batch.entries) for batch in batches] == [2, 2, 1]
    assert [batch.after for batch in batches] == [BATCH + 5, BATCH + 7, BATCH + 9]
    assert not waiting


# In which order


def count(events: Iterable[Any]) -> int:
    return len(list(events))


def test_the_past_comes_first_then_the_gap_then_the_present() -> None:
    order = Order(10, count)
    order.begin(since=NOW - timedelta(seconds=9))
    order.hold(until=105.0)
    order.add(anomaly(3), now=NOW)
    order.add(StatsUpdate({"total_logs": 6}), now=NOW)
    order.release_if_due(104.9, now=NOW)
    assert (list(order.ready), order.holds) == ([], True)
    order.fill([anomaly(1), StatsUpdate({"total_logs": 5}), anomaly(2)], complete=True, now=NOW)
    gap = Gap(since=NOW - timedelta(seconds=9), until=NOW, recovered=2, complete=True)
    assert list(order.ready) == [anomaly(1), anomaly(2), gap, anomaly(3), StatsUpdate({"total_logs": 6})]
    assert (order.holds, order.since, order.held_until) == (False, None, math.inf)
    order.add(anomaly(4), now=NOW)
    assert order.ready[-1] == anomaly(4)


@pytest.mark.parametrize(("limit", "at"), [(10, 105.0), (2, 100.0)], ids=["the time is up", "too much waits"])
def test_the_gap_is_told_before_the_present_also_when_the_past_is_late(limit: int, at: float) -> None:
    """A relay may die before the past comes: the next one must not take the present for all that there was."""
    order = Order(limit, count)
    order.begin(since=NOW - timedelta(seconds=9))
    order.hold(until=105.0)
    order.add(anomaly(3), now=NOW)
    order.add(anomaly(4), now=NOW)
    order.release_if_due(at, now=NOW)
    gap = Gap(since=NOW - timedelta(seconds=9), until=NOW, recovered=0, complete=False)
    assert list(order.ready) == [gap, anomaly(3), anomaly(4)]
    order.ready.clear()
    order.fill([anomaly(1), StatsUpdate({"total_logs": 5})], complete=True, now=NOW)
    assert list(order.ready) == [anomaly(1)]  # no gap again, and no figures that may be older than the stream's


def test_the_present_waits_no_longer_when_it_is_too_large() -> None:
    order = Order(10, count, max_bytes=100, size_of=lambda item: 60)
    order.begin(since=NOW)
    order.hold(until=5.0)
    for number, holds in ((1, True), (2, False)):
        order.add(anomaly(number), now=NOW)
        order.release_if_due(0.0, now=NOW)
        assert order.holds is holds
    assert [type(item).__name__ for item in order.ready] == ["Gap", "NewAnomaly", "NewAnomaly"]


def test_what_comes_before_the_past_could_be_asked_for_tells_the_gap() -> None:
    """While the stream cannot be had the feed is polled, and polls give events without a connection."""
    order = Order(10, count)
    order.begin(since=NOW - timedelta(seconds=9))
    order.add(anomaly(3), now=NOW)
    gap = Gap(since=NOW - timedelta(seconds=9), until=NOW, recovered=0, complete=False)
    assert list(order.ready) == [gap, anomaly(3)]
    order.hold(until=105.0)
    order.add(anomaly(4), now=NOW)
    order.fill([anomaly(2)], complete=True, now=NOW)
    assert list(order.ready) == [gap, anomaly(3), anomaly(2), anomaly(4)]


def test_without_a_gap_none_is_told() -> None:
    order = Order(10, count)
    order.begin(since=None)
    order.release(now=NOW)
    order.hold(until=1.0)
    order.fill([anomaly(1)], complete=True, now=NOW)
    assert list(order.ready) == [anomaly(1)]
    order.begin(since=NOW + timedelta(seconds=5))  # by another machine's clock
    assert list(order.ready) == []
    order.release(now=NOW)
    assert list(order.ready) == [Gap(since=NOW, until=NOW, recovered=0, complete=False)]


def test_gaps_are_told() -> None:
    batch = ledger().admit(deque([Gap(since=NOW, until=NOW, recovered=3, complete=True)]))
    assert batch is not None
    ((kind, body),) = batch.entries
    assert kind == GAP
    assert json.loads(body) == {
        "since": "2026-01-02T03:04:05.678000Z",
        "until": "2026-01-02T03:04:05.678000Z",
        "recovered": 3,
        "complete": True,
    }


@pytest.mark.parametrize(
    "event",
    [
        anomaly(1, "ü \N{FIRE}"),
        NewAnomaly(LogEntry("1", "m", timestamp=NOW, extra={"x": {"y": [1, None]}, "big": 10**30}), timestamp=NOW),
        NewAnomaly(LogEntry("1", "m", is_anomaly=False, anomaly_score=-0.5, recommendations=("a", "b"))),
        StatsUpdate({"total_logs": 1, "further": 2.5, "läuft": "x"}),
        SystemAlert("m", "odd"),
        UnknownEvent({"a": [1, 2]}, type="deploy", timestamp=NOW),
        UnknownEvent(None, type="deploy"),
    ],
)
def test_readers_decode_what_was_encoded(event: Any) -> None:
    assert Codec().decode(encode_event(event), received_at=NOW) == event


# The picture


def test_a_picture_makes_the_same_store() -> None:
    book = ledger()
    figures = StatsUpdate({"total_logs": 7, "further": 10**30})
    append(book, anomaly(1), anomaly(2, seconds=None), figures, SystemAlert("x"))
    other = DashboardStore(recent_logs_limit=3, alerts_limit=3, dedup_window=5)
    text = encode_picture(book.store.picture())
    found = other.restore(decode_picture(text, Codec(), received_at=NOW), received_at=NOW, transport=Transport.REDIS)
    assert [event.type for event in found] == ["new_anomaly", "new_anomaly", "system_alert"]
    assert other.stats == book.store.stats
    assert other.recent_logs == book.store.recent_logs
    assert [alert.message for alert in other.alerts] == ["x"]
    assert other.picture().seen == ("log-1", "log-2")


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "nonsense",
        '{"logs": 3}',
        '{"logs": [3]}',
        '{"logs": [["yesterday", {"id": "1", "message": "m"}]]}',
        '{"logs": [["2026-01-01T00:00:00", {"id": "1", "message": "m"}]]}',
        '{"logs": [["2026-01-01T00:00:00Z", {"id": 1}]]}',
        '{"seen": [1]}',
        '{"stats": {"totalLogs": "many"}}',
        '{"alerts": [{}]}',
    ],
)
def test_what_is_no_picture_is_refused(text: str) -> None:
    with pytest.raises(MalformedMessage):
        decode_picture(text, Codec(), received_at=NOW)


# Addresses


def test_an_address_is_taken_apart() -> None:
    url = read_redis_url("rediss://me:p%40ss@h:1/3?stream=logs")
    assert (url.nodes, url.tls, url.db, url.username, url.password) == ((("h", 1),), True, 3, "me", "p@ss")
    assert read_redis_url("redis://h?stream=s").nodes == (("h", 6379),)
    sentinels = read_redis_url("redis://[::1]/0?stream=s&sentinel=mymaster&also=b&also=c:7")
    assert sentinels.nodes == (("::1", 26379), ("b", 26379), ("c", 7))
    assert sentinels.sentinel == "mymaster"
    assert read_redis_url("redis://h/0?stream=s&cluster=yes").cluster
    assert "p@ss" not in repr(url)


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("redis://h/0", "stream=NAME"),
        ("redis://h/0?stream=", "stream=NAME"),
        ("redis://h/0?stream={a}", "stream=NAME"),
        ("redis://h/x?stream=s", "number of a database"),
        ("redis://h/0?stream=s&tls=1", "allowed behind"),
        ("redis://h/0?stream=s&stream=t", "more than once"),
        ("redis://h/0?stream=s&cluster=maybe", "yes or no"),
        ("redis://h/1?stream=s&cluster=yes", "database 0"),
        ("redis://h/0?stream=s&cluster=yes&sentinel=m", "sentinel"),
        ("redis://h/0?stream=s&also=:x", "also="),
        ("redis:///0?stream=s", "host is missing"),
    ],
)
def test_a_wrong_address_is_explained(url: str, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ClientConfig(url)
    assert named in str(caught.value)


def test_a_password_is_given_once_and_never_shown() -> None:
    with pytest.raises(ConfigError, match="token: cannot be given together with a password") as caught:
        ClientConfig("redis://:hunter2@h/0?stream=s", token="hunter3")
    assert "hunter" not in str(caught.value)
    assert "hunter" not in repr(ClientConfig("redis://:hunter2@h/0?stream=s"))


@given(st.text(max_size=30))
def test_no_text_breaks_the_reader_of_addresses(text: str) -> None:
    with contextlib.suppress(ValueError):
        read_redis_url(f"redis://{text}")
