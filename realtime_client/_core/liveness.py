"""When to send a heartbeat, and when silence means that the peer is gone.

Any inbound byte is a sign of life. Time in which the reader could not read, because callbacks are slow under
``overflow="block"``, is not silence: the peer may have spoken and we did not listen.
"""

from __future__ import annotations

__all__ = ["Liveness"]


class Liveness:
    """The heartbeat's schedule and the verdict on silence, in monotonic seconds.

    Args:
        interval: Spacing of heartbeats.
        timeout: Silence after a heartbeat that means death.
        now: The moment at which the connection stood.
    """

    def __init__(self, *, interval: float, timeout: float, now: float) -> None:
        self._interval = interval
        self._timeout = timeout
        self._next_ping = now + interval
        self._pinged_at: float | None = None

    def pinged(self, now: float) -> None:
        """A heartbeat was sent (or is about to be)."""
        self._next_ping = now + self._interval
        if self._pinged_at is None:
            self._pinged_at = now

    def judge(self, now: float, *, heard_at: float) -> tuple[bool, bool, float]:
        """Judge the connection.

        Args:
            now: The present.
            heard_at: When bytes were last read, or could not be read because the reader was held up; the present while
                it is held up.

        Returns:
            Whether the peer is dead, whether a heartbeat is due, and when to judge again.
        """
        if self._pinged_at is not None and heard_at >= self._pinged_at:
            self._pinged_at = None
        if self._pinged_at is None:
            return False, now >= self._next_ping, self._next_ping
        dead_at = self._pinged_at + self._timeout
        if now >= dead_at:
            return True, False, now
        return False, now >= self._next_ping, min(dead_at, self._next_ping)
