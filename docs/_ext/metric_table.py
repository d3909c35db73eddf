"""The tables of metrics, made from the one that exporters are made from."""

from __future__ import annotations

from realtime_client.measures import CLIENT, RELAY, Kind, Measure

__all__ = ["client_metric_table", "relay_metric_table"]

KINDS = {Kind.COUNTER: "counter", Kind.SUM: "gauge, sum", Kind.PEAK: "gauge, highest"}


def client_metric_table() -> str:
    """Markdown: what is measured of a client."""
    return _table(CLIENT)


def relay_metric_table() -> str:
    """Markdown: what is measured of a relay."""
    return _table(RELAY)


def _table(measures: tuple[Measure, ...]) -> str:
    lines = ["| Prometheus<br>OpenTelemetry | kind | unit | meaning |", "|---|---|---|---|"]
    for measure in measures:
        label = f"{{{measure.label}}}" if measure.label else ""
        attribute = f"<br>`{measure.attribute}`" if measure.attribute else ""
        names = f"`{measure.prometheus_name}{label}`<br>`{measure.name}`{attribute}"
        lines.append(f"| {names} | {KINDS[measure.kind]} | `{measure.unit}` | {measure.description} |")
    return "\n".join(lines)
