"""The dashboard, the alert rules and the page of metrics name what there is, and all that there is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from metric_table import client_metric_table, relay_metric_table

from realtime_client import ConnectionState, Transport
from realtime_client.measures import CLIENT, RELAY
from realtime_client.relay import RelayState
from tests.docs.examples import ROOT

LABELS = {
    **{m.prometheus_name: {"client", m.label} - {""} for m in CLIENT},
    **{m.prometheus_name: {"relay", m.label} - {""} for m in RELAY},
}
EVERYWHERE = {"job", "instance"}
VALUES = {
    ("realtime_client_connection_status", "state"): {state.value for state in ConnectionState},
    ("realtime_client_source_status", "transport"): {transport.value for transport in Transport},
    ("realtime_relay_status", "state"): {state.value for state in RelayState},
    ("realtime_client_dropped_events_total", "reason"): {"drop_oldest", "drop_newest", "closed"},
}
SERIES = re.compile(r"(realtime_[a-z_]+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!=|=)\s*"([^"]*)"')


def dashboard() -> Any:
    return json.loads((ROOT / "docs/grafana-dashboard.json").read_text(encoding="utf-8"))


def rules() -> list[Any]:
    groups = yaml.safe_load((ROOT / "docs/alert-rules.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> Iterator[tuple[str, str]]:
    """Every query, with where it stands."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for rule in rules():
        yield rule["alert"], rule["expr"]


QUERIES = list(queries())


def complaints(query: str) -> list[str]:
    """What a query gets wrong about our metrics."""
    found = []
    outside = re.sub(r"\{[^}]*\}", "", query)
    names = set(SERIES.findall(query))
    if not names:
        found.append("no metric of ours")
    for name, matchers in names:
        if name not in LABELS:
            found.append(f"no such metric: {name}")
            continue
        for label, operator, value in MATCHER.findall(matchers):
            if label not in LABELS[name] | EVERYWHERE:
                found.append(f"{name} has no label {label}")
            allowed = VALUES.get((name, label))
            if allowed and not set(value.split("|") if operator == "=~" else [value]) <= allowed:
                found.append(f"{name} has no {label} {value}")
        if name.endswith("_total") and not re.search(rf"(rate|increase)\({name}\b", outside):
            found.append(f"{name} is a counter: its rate says something")
    labels = set.intersection(*(LABELS.get(name, set()) for name, _ in names)) | EVERYWHERE if names else set()
    for grouped in re.findall(r"\b(?:by|on) \(([^)]*)\)", outside):
        found += [f"no label {label} to group by" for label in grouped.split(", ") if label not in labels]
    return found


@pytest.mark.parametrize(("where", "query"), QUERIES, ids=[f"{where}-{n}" for n, (where, _) in enumerate(QUERIES)])
def test_queries_ask_for_what_there_is(where: str, query: str) -> None:
    assert complaints(query) == []


@pytest.mark.parametrize(
    "query",
    [
        "up == 0",
        "sum(realtime_client_gone)",
        'realtime_client_connection_status{stage="connected"}',
        'realtime_client_connection_status{state="up"}',
        'realtime_client_connection_status{state=~"connected|up"}',
        "sum by (reason) (rate(realtime_client_received_events_total[5m]))",
        "realtime_client_received_events_total > 5",
        "realtime_relay_waiting_events / on (client) realtime_relay_waiting_limit",
    ],
)
def test_what_there_is_not_is_noticed(query: str) -> None:
    assert complaints(query)


def test_nearly_everything_is_on_the_dashboard() -> None:
    shown = {
        name
        for panel in dashboard()["panels"]
        for target in panel.get("targets", ())
        for name, _ in SERIES.findall(target["expr"])
    }
    left_out = {name for name in LABELS if name not in shown}
    assert {name for name in left_out if name.startswith("realtime_client")} == {
        "realtime_client_callback_calls_total",
        "realtime_client_connections_total",
        "realtime_client_consecutive_failures",
        "realtime_client_heartbeats_total",
        "realtime_client_sent_messages_total",
        "realtime_client_waiting_peak",
    }


def test_panels_say_what_they_show_and_do_not_overlap() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"].endswith(".")
            assert panel["datasource"]["uid"] == "${datasource}"


def test_variables_of_the_dashboard_are_defined() -> None:
    page = dashboard()
    defined = {variable["name"] for variable in page["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(page)))
    assert used <= defined
    assert defined == {"datasource", "job", "client", "relay"}


def test_alerts_say_what_to_do() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names) >= 10
    for rule in rules():
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert set(rule["annotations"]) == {"summary", "description"}
        used = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        grouped = re.findall(r"by \(([^)]*)\)", rule["expr"])
        kept = (
            set(grouped[0].split(", ")) if grouped else set.union(*(LABELS[n] for n, _ in SERIES.findall(rule["expr"])))
        )
        assert used <= kept, rule["alert"]


def test_the_page_has_a_row_for_each_metric() -> None:
    rows = (client_metric_table() + "\n" + relay_metric_table()).splitlines()
    for measure in (*CLIENT, *RELAY):
        assert sum(f"`{measure.prometheus_name}" in row and f"`{measure.name}`" in row for row in rows) == 1
        assert len(measure.description) > 10
    text = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    assert "{{ client_metric_table }}" in text
    assert "{{ relay_metric_table }}" in text
    named = set(re.findall(r"realtime_(?:client|relay)_[a-z_]+", text)) - {"realtime_client_name"}
    assert named <= set(LABELS)
