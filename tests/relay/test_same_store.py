"""A reader that starts at any moment has the same store as one that ran from the beginning."""

from __future__ import annotations

import itertools
import json
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realtime_client import ClientConfig, Event, Gap, RealtimeClient, Transport
from realtime_client._core.codec import Codec
from realtime_client.relay.ledger import Batch, Ledger
from realtime_client.relay.writer import StreamWriter, Term
from realtime_client.store import DashboardStore
from tests.relay.servers import RedisServer

LIMITS: dict[str, Any] = {"recent_logs_limit": 4, "alerts_limit": 3, "dedup_window": 6}
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
streams = itertools.count()

times = st.one_of(st.none(), st.integers(0, 9).map(lambda n: (EPOCH + timedelta(seconds=n)).isoformat()))
anomalies = st.builds(
    lambda number, cause, at, more: {
        "type": "new_anomaly",
        "data": {"log": {"id": f"log-{number}", "message": "m", "rootCauses": [cause], "timestamp": at, **more}},
    },
    st.integers(0, 12),
    st.sampled_from(["disk", "network"]),
    times,
    st.sampled_from([{}, {"anomalyScore": 0.5, "further": [1, {"deep": "ü"}]}, {"isAnomaly": False}]),
)
stats = st.dictionaries(
    st.sampled_from(["totalLogs", "anomalyCount", "activeServices", "cpu", "läuft"]), st.integers(0, 10**20), max_size=4
).map(lambda figures: {"type": "stats_update", "data": {"stats": figures}})
alerts = st.builds(
    lambda text, at: {"type": "system_alert", "data": {"message": text, "severity": "info"}, "timestamp": at},
    st.sampled_from(["up", "down", "\N{FIRE}"]),
    times,
)
others = st.sampled_from([{"type": "pong"}, {"type": "connection_established"}, {"type": "deploy", "data": {"v": 1}}])
batches = st.lists(st.lists(st.one_of(anomalies, anomalies, stats, alerts, others), max_size=6), max_size=8)


def decode(messages: Sequence[dict[str, Any]]) -> list[Event]:
    """What an upstream client makes of them."""
    return Codec().decode_batch([json.dumps(message) for message in messages], received_at=datetime.now(UTC)).events


class Writing:
    """What a relay does, without its threads."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.writer = StreamWriter(ClientConfig(url), lease=30.0, maxlen=1000)
        self.ledger = Ledger(**LIMITS)
        self.writer.connect(lambda: False)
        term = self.writer.acquire()
        assert isinstance(term, Term)
        if (found := self.writer.read_snapshot()) is not None:
            self.ledger.restore(*found)
            for entries in self.writer.read_entries(found[0].id):
                self.ledger.replay(entries)
        self.ledger.epoch = self.ledger.epoch or b"epoch"
        self.ledger.fence = term.fence
        self.snapshot(begins=True)

    def append(self, items: Sequence[Event | Gap]) -> None:
        batch = self.ledger.admit(deque(items))
        if batch is not None:
            self.append_batch(batch)

    def append_batch(self, batch: Batch) -> None:
        self.ledger.commit(self.writer.fence, self.writer.append(batch))

    def snapshot(self, *, begins: bool = False) -> None:
        self.writer.write_snapshot(self.ledger.seq, self.ledger.epoch, self.ledger.snapshot(), begins=begins)

    def end(self) -> None:
        self.writer.release()
        self.writer.disconnect()


def facts(store: DashboardStore) -> tuple[Any, ...]:
    """What a store knows; where an alert came from and when is each process's own."""
    found = store.picture()
    alerts = [(alert.message, alert.severity, alert.timestamp) for alert in found.alerts]
    return dict(found.stats), found.logs, alerts, found.seen


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=batches, snapshots=st.sets(st.integers(0, 7)), starts=st.sets(st.integers(0, 8), max_size=3), data=st.data()
)
def test_a_reader_that_starts_at_any_moment_has_the_same_store(  # noqa: PLR0917
    redis_server: RedisServer,
    nothing_is_left: None,
    batches: list[list[dict[str, Any]]],
    snapshots: set[int],
    starts: set[int],
    data: st.DataObject,
) -> None:
    url = redis_server.url(f"same-{next(streams)}")
    change = data.draw(st.integers(0, 8), label="another relay takes over before batch")
    with ExitStack() as stack:

        def start() -> RealtimeClient:
            return stack.enter_context(RealtimeClient(url, **LIMITS))

        readers = [start()]
        relay = Writing(url)
        stack.callback(lambda: relay.end())  # noqa: PLW0108 - the one that there is by then
        for number, batch in enumerate(batches):
            if number == change:
                relay.end()
                relay = Writing(url)
            if number in starts:
                readers.append(start())
            relay.append(decode(batch))
            if number in snapshots:
                relay.snapshot()
        readers.append(start())
        relay.append(decode([{"type": "system_alert", "data": {"message": "the end"}}]))
        for reader in readers:
            reader.store.wait_for(lambda now: bool(now.alerts) and now.alerts[0].message == "the end", timeout=10)
        expected = facts(relay.ledger.store)
        for reader in readers:
            assert facts(reader.store) == expected
            assert reader.store.snapshot().transport is Transport.REDIS
            assert reader.metrics().malformed == 0
