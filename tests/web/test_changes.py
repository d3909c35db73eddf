"""What pages are told leads from any picture to the next one, and no further than a page needs."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from realtime_client import ConnectionState, ConnectionStatus, ProtocolError, Transport
from realtime_client.events import Event, FrozenMapping, LogEntry, NewAnomaly, StatsUpdate, SystemAlert
from realtime_client.store import DashboardStore
from realtime_client.web import changes
from realtime_client.web.changes import Picture, difference, whole
from tests.web.pages import PageModel

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STATUS = ConnectionStatus(state=ConnectionState.CONNECTED, since=START)


def log(number: int = 1, **fields: Any) -> LogEntry:
    return LogEntry(**{"id": f"log-{number}", "message": f"number {number}", **fields})


def picture(store: DashboardStore, status: ConnectionStatus = STATUS) -> Picture:
    return Picture(store.snapshot(), status)


def apply(store: DashboardStore, *events: Event) -> None:
    store.apply(events, received_at=START, transport=Transport.WEBSOCKET)


anomalies = st.builds(
    lambda number, minutes, text: NewAnomaly(
        log(number, message=text, timestamp=None if minutes is None else START + timedelta(minutes=minutes))
    ),
    st.integers(0, 12),
    st.none() | st.integers(-3, 3),
    st.text(max_size=3),
)
alerts = st.builds(SystemAlert, st.text(max_size=3))
figures = st.builds(
    lambda lines, further: StatsUpdate(FrozenMapping({"total_logs": lines, **further})),
    st.integers(0, 5),
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 3) | st.booleans() | st.lists(st.integers(), max_size=1)),
)
runs = st.lists(st.lists(st.one_of(anomalies, alerts, figures), max_size=6), max_size=8)


@given(runs, st.integers(1, 8), st.integers(1, 8))
def test_differences_lead_from_picture_to_picture(batches: list[list[Event]], kept: int, shown: int) -> None:
    """Also where the store keeps more than a page shows, or fewer than come at once, or logs come late or again."""
    rows, changes.ROWS = changes.ROWS, shown
    shown_alerts, changes.ALERTS = changes.ALERTS, shown
    try:
        store = DashboardStore(recent_logs_limit=kept, alerts_limit=kept)
        before = picture(store)
        page = PageModel()
        page.status, page.stats, page.logs, page.alerts = (
            whole(before)[key] for key in ("status", "stats", "logs", "alerts")
        )
        for batch in batches:
            apply(store, *batch)
            after = picture(store)
            page.change(difference(before, after))
            expected = whole(after)
            del expected["asOf"]
            assert page.picture() == expected
            before = after
    finally:
        changes.ROWS, changes.ALERTS = rows, shown_alerts


def test_what_is_restored_from_elsewhere_is_shown_as_it_is() -> None:
    """As from Redis, which may know less than the page shows: another relay began anew, or an older copy took over."""
    store, other = DashboardStore(), DashboardStore()
    apply(store, NewAnomaly(log(1)), SystemAlert("one"), SystemAlert("two"))
    apply(other, NewAnomaly(log(2)), SystemAlert("three"))
    page = PageModel()
    page.status, page.stats, page.logs, page.alerts = (
        whole(picture(store))[key] for key in ("status", "stats", "logs", "alerts")
    )
    for known in (other, DashboardStore()):
        before = picture(store)
        store.restore(known.picture(), received_at=START, transport=Transport.REDIS)
        page.change(difference(before, picture(store)))
        expected = whole(picture(store))
        del expected["asOf"]
        assert page.picture() == expected
    assert page.alerts == page.logs == []


def test_nothing_is_said_where_nothing_has_changed() -> None:
    store = DashboardStore()
    apply(store, NewAnomaly(log()))
    before = picture(store)
    store.heard(START + timedelta(seconds=5), lambda: Transport.WEBSOCKET)
    heard_again = attrs.evolve(STATUS, last_message_at=START + timedelta(seconds=5), latency=0.1)
    assert difference(before, picture(store, heard_again)) == {}


def test_only_what_has_changed_is_said() -> None:
    store = DashboardStore()
    apply(store, NewAnomaly(log(1)), SystemAlert("one"), StatsUpdate(FrozenMapping({"total_logs": 1})))
    before = picture(store)
    apply(store, SystemAlert("two"))
    assert set(difference(before, picture(store))) == {"alerts", "alertsKept", "asOf"}
    before = picture(store)
    apply(store, NewAnomaly(log(2)))
    found = difference(before, picture(store))
    assert set(found) == {"logs", "stats", "asOf"}
    assert [(placed["log"]["id"], placed["above"]) for placed in found["logs"]] == [("log-2", "log-1")]
    lost = attrs.evolve(STATUS, state=ConnectionState.RECONNECTING, last_error=ProtocolError("bad frame", code=1002))
    found = difference(picture(store), picture(store, lost))
    assert set(found) == {"status", "asOf"}
    assert (found["status"]["state"], found["status"]["error"]) == ("reconnecting", "bad frame")


def test_what_goes_to_a_page_is_bounded() -> None:
    store = DashboardStore(recent_logs_limit=1000, alerts_limit=1000)
    huge = "x" * 1_000_000
    texts = (huge,) * 100
    one = log(
        id=huge, message=huge, level=huge, source=huge, root_causes=texts, extra={str(n): [huge] for n in range(100)}
    )
    apply(store, NewAnomaly(attrs.evolve(one, recommendations=texts)))
    apply(store, *(SystemAlert(huge, huge) for _ in range(100)))
    apply(store, StatsUpdate(FrozenMapping({huge + str(n): huge for n in range(100)})))
    apply(store, *(NewAnomaly(log(n)) for n in range(500)))
    told = whole(picture(store))
    assert len(told["logs"]) == changes.ROWS
    apply(store, NewAnomaly(one))
    assert len(json.dumps(whole(picture(store)))) < 1_000_000


def test_a_log_is_known_by_its_id_whatever_its_length() -> None:
    store = DashboardStore()
    apply(store, NewAnomaly(log(id="a" * 5000)), NewAnomaly(log(id="a" * 4999 + "b")))
    ids = [one["id"] for one in whole(picture(store))["logs"]]
    assert len(set(ids)) == 2
    assert max(map(len, ids)) < 100


def test_values_that_no_page_can_show_become_text() -> None:
    store = DashboardStore()
    apply(store, NewAnomaly(log(extra={"host": "web-1", "up": True, "tags": ["a"], "none": None, "load": 1.5})))
    extra = dict(whole(picture(store))["logs"][0]["extra"])
    assert extra == {"host": "web-1", "up": True, "tags": "['a']", "none": None, "load": 1.5}
