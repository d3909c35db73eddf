"""Messages that could not be understood: the last few are kept, all are counted, and a burst is logged once."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence

from realtime_client._runtime.clock import Clock
from realtime_client._runtime.counters import Counters
from realtime_client.errors import MalformedMessage

__all__ = ["Rejected"]

logger = logging.getLogger("realtime_client")

KEPT = 20
BURST = 60.0
"""After a warning, further ones are left out for this many seconds."""


class Rejected:
    """The ring of malformed messages.

    Args:
        counters: Where they are counted.
        clock: For the spacing of warnings.
    """

    def __init__(self, counters: Counters, clock: Clock) -> None:
        self._counters = counters
        self._clock = clock
        self._ring: deque[MalformedMessage] = deque(maxlen=KEPT)
        self._quiet_until = float("-inf")
        self._unsaid = 0

    def add(self, errors: Sequence[MalformedMessage]) -> None:
        """Count and keep, and warn unless that was just done. Called by whoever reads from the feed."""
        self._ring.extend(errors)
        self._counters.add(malformed=len(errors))
        now = self._clock.monotonic()
        if now < self._quiet_until:
            self._unsaid += len(errors)
            return
        more = f" ({self._unsaid} more since the last such warning)" if self._unsaid else ""
        logger.warning("a message could not be understood: %s%s; see client.rejected", errors[0].reason, more)
        self._quiet_until = now + BURST
        self._unsaid = 0

    def read(self) -> tuple[MalformedMessage, ...]:
        """The last few, oldest first."""
        return tuple(self._ring)
