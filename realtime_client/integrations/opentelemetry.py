"""Metrics for OpenTelemetry, of clients and relays: ``RealtimeInstruments(client)``. Needs its API alone.

All instruments are observable: the counters are read when the application's SDK collects, on its thread, and events
cost nothing more. Without an SDK nothing happens at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

try:
    from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation, get_meter
except ImportError:
    raise ImportError("metrics for OpenTelemetry need its API: pip install 'realtime-client[otel]'") from None

from realtime_client import __version__
from realtime_client.integrations.sources import Sources
from realtime_client.measures import CLIENT, RELAY, Kind, Measure

__all__ = ["RealtimeInstruments"]


class RealtimeInstruments:
    """Exports the metrics of clients and relays through OpenTelemetry.

    Make it once in a process, and hold the clients yourself: here they are held weakly. Each has the attribute
    ``realtime_client.name`` (or ``realtime_relay.name``), by which several must differ.

    Args:
        sources: `RealtimeClient`, what `shared` returned, or `Relay`; more by `add`.
        meter_provider: Where the instruments are made; ``None`` for the global provider.

    Raises:
        ValueError: Two sources have the same name.
    """

    def __init__(self, *sources: Any, meter_provider: MeterProvider | None = None) -> None:
        self._sources = Sources()
        meter = get_meter("realtime_client", __version__, meter_provider)
        for measure in (*CLIENT, *RELAY):
            _maker(meter, measure.kind)(
                measure.name,
                callbacks=[partial(self._observe, measure)],
                unit=measure.unit,
                description=measure.description,
            )
        for source in sources:
            self.add(source)

    def add(self, source: Any) -> None:
        """Export another client or relay, too.

        Raises:
            ValueError: There is another one of that name.
        """
        self._sources.add(source)

    def remove(self, source: Any) -> None:
        """Export it no longer."""
        self._sources.remove(source)

    def _observe(self, measure: Measure, options: CallbackOptions) -> Iterable[Observation]:
        for source, reading in self._sources.readings():
            if measure in source.measures:
                of = {f"realtime_{source.kind}.name": source.name}
                for value_of_label, value in measure.points(reading):
                    yield Observation(value, {**of, measure.attribute: value_of_label} if measure.label else of)


def _maker(meter: Meter, kind: Kind) -> Callable[..., Any]:
    return {
        Kind.COUNTER: meter.create_observable_counter,
        Kind.SUM: meter.create_observable_up_down_counter,
        Kind.PEAK: meter.create_observable_gauge,
    }[kind]
