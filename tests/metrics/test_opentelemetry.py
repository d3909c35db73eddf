"""Metrics for OpenTelemetry, through its SDK and without it."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Gauge, InMemoryMetricReader, Sum

from realtime_client import RealtimeClient, __version__
from realtime_client.demo import FeedServer
from realtime_client.integrations.opentelemetry import RealtimeInstruments
from realtime_client.measures import CLIENT, Kind, Reading
from realtime_client.relay import Relay, RelayState
from realtime_client.testing import FakeServer, accept, repeat, send
from tests.client.conftest import Make
from tests.client.recording import Record, anomaly

PATIENCE = 20.0


@pytest.fixture
def reader() -> InMemoryMetricReader:
    return InMemoryMetricReader()


@pytest.fixture
def provider(reader: InMemoryMetricReader) -> Iterator[MeterProvider]:
    made = MeterProvider([reader], shutdown_on_exit=False)
    yield made
    made.shutdown()


def collected(reader: InMemoryMetricReader) -> dict[str, Any]:
    """The metrics by name."""
    data = reader.get_metrics_data()
    if data is None:
        return {}
    scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
    assert {(scope.scope.name, scope.scope.version) for scope in scopes} <= {("realtime_client", __version__)}
    return {metric.name: metric for scope in scopes for metric in scope.metrics}


def points(metric: Any) -> dict[tuple[tuple[str, Any], ...], float]:
    return {tuple(sorted(point.attributes.items())): point.value for point in metric.data.data_points}


def test_figures_are_those_of_the_client(
    server: FakeServer, make: Make, provider: MeterProvider, reader: InMemoryMetricReader
) -> None:
    client, told = make(server.url, name="pager", heartbeat="none"), Record()
    RealtimeInstruments(client, meter_provider=provider)
    client.on("new_anomaly", told)
    client.connect(PATIENCE)
    server.send(anomaly(1))
    server.send(anomaly(2))
    told.wait_for(2)
    client.close()
    found = collected(reader)
    reading = Reading(client.metrics(), client.status, client.config.max_pending_events)
    for measure in CLIENT:
        expected = {
            tuple(
                sorted({"realtime_client.name": "pager", **({measure.attribute: of} if of else {})}.items())
            ): pytest.approx(figure)
            for of, figure in measure.points(reading)
        }
        assert (points(found[measure.name]) if measure.name in found else {}) == expected
        if expected:
            metric = found[measure.name]
            assert (metric.unit, metric.description) == (measure.unit, measure.description)
            assert isinstance(metric.data, Gauge if measure.kind is Kind.PEAK else Sum)
            if isinstance(metric.data, Sum):
                assert metric.data.is_monotonic == (measure.kind is Kind.COUNTER)
    received = found["realtime_client.received.events"]
    assert points(received) == {(("realtime_client.name", "pager"),): 1 + 2}  # a greeting first


def test_the_sdk_has_nothing_to_complain_of(
    provider: MeterProvider, reader: InMemoryMetricReader, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        RealtimeInstruments(make(name="a"), make(name="b"), meter_provider=provider)
        found = collected(reader)
    assert caplog.records == []
    assert len(points(found["realtime_client.waiting.limit"])) == 2


def test_names_must_differ_and_what_is_removed_is_gone(
    provider: MeterProvider, reader: InMemoryMetricReader, make: Make
) -> None:
    client = make(name="a")
    instruments = RealtimeInstruments(client, meter_provider=provider)
    with pytest.raises(ValueError, match="'a' already"):
        instruments.add(make(name="a"))
    instruments.remove(client)
    assert collected(reader) == {}


def test_a_dropped_client_is_not_held(provider: MeterProvider, reader: InMemoryMetricReader) -> None:
    instruments = RealtimeInstruments(RealtimeClient(), meter_provider=provider)
    gc.collect()
    assert collected(reader) == {}
    assert instruments is not None


def test_figures_are_those_of_the_relay(url: str, provider: MeterProvider, reader: InMemoryMetricReader) -> None:
    with FeedServer(port=0) as feed, Relay(feed.url, url, name="r1") as relay:
        RealtimeInstruments(relay, meter_provider=provider)
        assert relay.wait_for(RelayState.ACTIVE, PATIENCE)
        found = points(collected(reader)["realtime_relay.status"])
        assert found[("realtime_relay.name", "r1"), ("realtime_relay.state", "active")] == 1


FORKED = """
import os, sys
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from realtime_client import RealtimeClient
from realtime_client.integrations.opentelemetry import RealtimeInstruments

reader = InMemoryMetricReader()
provider = MeterProvider([reader], shutdown_on_exit=False)
client = RealtimeClient("{url}")
instruments = RealtimeInstruments(client, meter_provider=provider)
client.connect(20)
if os.fork() == 0:
    assert reader.get_metrics_data() is None, "the child has not used it"
    client.connect(20)
    client.wait_for("new_anomaly", timeout=20)
    (metric,) = [
        metric
        for resource in reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "realtime_client.connections"
    ]
    assert [point.value for point in metric.data.data_points] == [1]
    client.close()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
client.close()
"""


def test_collecting_does_not_connect_a_child_that_does_not_use_the_client(server: FakeServer) -> None:
    server.then = [accept(), repeat(None, send(anomaly(1)), interval=0.05)]
    done = subprocess.run(
        [sys.executable, "-c", FORKED.format(url=server.url)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
    assert len(server.connections) == 2


def test_without_an_sdk_nothing_happens() -> None:
    client = RealtimeClient()
    RealtimeInstruments(client)
    client.close()


def test_without_the_library_the_error_says_what_to_install() -> None:
    code = "import sys; sys.modules['opentelemetry'] = None\nimport realtime_client.integrations.opentelemetry"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False)
    assert "pip install 'realtime-client[otel]'" in done.stderr
