"""Notifications about events: at most one a second of each kind, and each event counted in exactly one of them."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_client._core.digest import Digest
from realtime_client.events import (
    ConnectionEstablished,
    Event,
    LogEntry,
    NewAnomaly,
    Pong,
    StatsUpdate,
    SystemAlert,
    UnknownEvent,
)
from realtime_client.status import Notification

AT = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)


def anomaly(message: str = "disk full", source: str = "db") -> NewAnomaly:
    return NewAnomaly(LogEntry("1", message, source=source))


def notified(*events: Event) -> list[Notification]:
    digest = Digest()
    for event in events:
        digest.add(event, 1)
    return digest.due(0.0, AT)


def test_nothing_delivered_is_nothing_to_say() -> None:
    digest = Digest()
    assert digest.due(0.0, AT) == []
    assert digest.next_due() is None


def test_an_anomaly_becomes_a_warning() -> None:
    assert notified(anomaly()) == [
        Notification(level="warning", title="Anomaly detected", message="db: disk full", kind="anomaly", count=1, at=AT)
    ]


def test_an_anomaly_without_a_source_is_its_message() -> None:
    (notification,) = notified(anomaly(source=""))
    assert notification.message == "disk full"


def test_several_anomalies_become_one_with_the_newest() -> None:
    assert notified(anomaly("a"), anomaly("b"), anomaly("c")) == [
        Notification(
            level="warning",
            title="3 anomalies detected",
            message="db: c (the newest of 3)",
            kind="anomaly",
            count=3,
            at=AT,
        )
    ]


@pytest.mark.parametrize(
    ("severity", "level"),
    [("info", "info"), ("warning", "warning"), ("error", "error"), ("critical", "error"), ("purple", "error")],
)
def test_an_alert_has_the_level_of_its_severity(severity: str, level: str) -> None:
    assert notified(SystemAlert("reboot", severity)) == [
        Notification(level=level, title="System alert", message="reboot", kind="alert", count=1, at=AT)
    ]


def test_several_alerts_become_one_with_the_newest() -> None:
    (notification,) = notified(SystemAlert("one", "critical"), SystemAlert("two", "info"))
    assert (notification.level, notification.title, notification.count) == ("info", "2 system alerts", 2)
    assert notification.message == "two (the newest of 2)"


def test_a_long_message_is_cut_and_its_count_is_not() -> None:
    (notification,) = notified(SystemAlert("one"), SystemAlert("x" * 10_000))
    assert notification.message == "x" * 500 + " (the newest of 2)"


@pytest.mark.parametrize(
    "event",
    [StatsUpdate({"total_logs": 1}), ConnectionEstablished(), Pong(), UnknownEvent(type="deploy")],
    ids=lambda event: str(event.type),
)
def test_other_events_make_no_notification(event: Event) -> None:
    assert notified(event) == []


def test_the_first_is_told_at_once_and_the_rest_a_second_later() -> None:
    digest = Digest()
    digest.add(anomaly("a"), 1)
    assert [n.count for n in digest.due(10.0, AT)] == [1]
    assert digest.next_due() is None
    digest.add(anomaly("b"), 1)
    digest.add(anomaly("c"), 1)
    assert digest.due(10.999, AT) == []
    assert digest.next_due() == 11.0
    assert [n.count for n in digest.due(11.0, AT)] == [2]


def test_after_a_quiet_second_the_next_is_told_at_once() -> None:
    digest = Digest()
    digest.add(anomaly(), 1)
    digest.due(10.0, AT)
    assert digest.due(11.0, AT) == []
    digest.add(anomaly(), 1)
    due = digest.next_due()
    assert due is not None
    assert due <= 15.0
    assert len(digest.due(15.0, AT)) == 1


def test_the_kinds_do_not_wait_for_each_other() -> None:
    digest = Digest()
    digest.add(anomaly(), 1)
    assert [n.kind for n in digest.due(10.0, AT)] == ["anomaly"]
    digest.add(SystemAlert("reboot"), 1)
    digest.add(anomaly(), 1)
    assert [n.kind for n in digest.due(10.5, AT)] == ["alert"]
    assert digest.next_due() == 11.0
    assert [n.kind for n in digest.due(11.0, AT)] == ["anomaly"]


def test_next_due_is_the_earliest_of_the_kinds() -> None:
    digest = Digest()
    for start, event in ((10.0, anomaly()), (10.4, SystemAlert("reboot"))):
        digest.add(event, 1)
        digest.due(start, AT)
        digest.add(event, 1)
    assert digest.next_due() == 11.0
    digest.due(11.0, AT)
    assert digest.next_due() == 11.4


steps = st.lists(st.tuples(st.sampled_from(["anomaly", "alert", "look"]), st.floats(0, 2)), max_size=60)


@settings(deadline=None)
@given(steps)
def test_every_event_is_counted_once_and_no_kind_speaks_twice_a_second(script: list[tuple[str, float]]) -> None:
    digest, now = Digest(), 100.0
    added = {"anomaly": 0, "alert": 0}
    told: dict[str, list[tuple[float, int]]] = {"anomaly": [], "alert": []}

    def look() -> None:
        for notification in digest.due(now, AT):
            told[notification.kind].append((now, notification.count))

    for what, later in script:
        now += later
        if what == "look":
            look()
        else:
            added[what] += 1
            digest.add(anomaly() if what == "anomaly" else SystemAlert("reboot"), 1)
    while (due := digest.next_due()) is not None:
        now = max(now, due)
        look()
    for kind, notifications in told.items():
        assert sum(count for _, count in notifications) == added[kind]
        assert all(count > 0 for _, count in notifications)
        moments = [moment for moment, _ in notifications]
        assert all(later >= earlier + 1.0 for earlier, later in pairwise(moments))
