"""What a site says of its feed to whatever watches over it: health as JSON, and metrics for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from realtime_client import ConfigError, RealtimeClient, Transport

if TYPE_CHECKING:
    from realtime_client.integrations.prometheus import RealtimeCollector

__all__ = ["health_of", "make_collector"]


def health_of(client: RealtimeClient) -> tuple[dict[str, Any], int]:
    """A client's health for an address that anybody may ask.

    Returns:
        What is said, ready for JSON, and the status: 200 while the feed is connected or polled, and else 503.
    """
    health = client.health()
    # Its words may name hosts, and whoever watches over a process is told by its kind.
    error = client.status.last_error
    health["last_error"] = None if error is None else type(error).__name__
    is_well = health["connected"] or health["transport"] == Transport.POLLING.value
    return health, 200 if is_well else 503


def make_collector() -> RealtimeCollector:
    """A collector for the metrics of a site's client, in no registry.

    Raises:
        ConfigError: prometheus_client is not installed, or has no folder to write to; without the option's name.
    """
    try:
        from realtime_client.integrations.prometheus import RealtimeCollector  # noqa: PLC0415 - an optional library

        return RealtimeCollector(registry=None)
    except (ImportError, ValueError) as error:
        raise ConfigError(str(error)) from None
