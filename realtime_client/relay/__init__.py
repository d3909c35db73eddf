"""The relay: one connection to a feed for many processes, by way of a Redis stream.

Any number of relays may run for one stream; exactly one of them is active. Readers are ordinary clients:
``RealtimeClient("redis://host:6379/0?stream=name")``.
"""

try:
    import redis as _redis  # noqa: F401 - said here in words, and not from the depth of an import
except ImportError:
    raise ImportError("a relay needs redis-py: pip install 'realtime-client[redis]'") from None

from realtime_client.relay.endpoint import Endpoint
from realtime_client.relay.relay import Relay
from realtime_client.relay.telemetry import RelayMetrics, RelayState

__all__ = ["Endpoint", "Relay", "RelayMetrics", "RelayState"]
