"""How long to wait before the next attempt, and when failed attempts make an outage.

Two numbers that are often confused are kept apart here: *failed* counts attempts in a row and declares the outage, it
is 0 as soon as a connection stands; *step* drives the delay and goes back only after a connection has *lived*, so that
a server that accepts and cuts, over and over, is met with growing delays.
"""

from __future__ import annotations

from collections.abc import Callable

from realtime_client.config import ClientConfig
from realtime_client.status import RetryDecision

__all__ = ["Attempts", "Uniform", "delay_before"]

LONGEST_DELAY = 1e6
"""Nothing waits longer, in seconds, whatever a ``retry_policy`` says: "never" is twelve days here."""
Uniform = Callable[[float, float], float]
"""A source of randomness: ``random.uniform`` or a seeded one."""


def delay_before(attempt: int, config: ClientConfig) -> float:
    """Seconds before attempt ``attempt`` (from 1), capped, without jitter: 1, 2, 4, 8, 16, 16 ... by default."""
    try:
        delay = config.reconnect_delay * config.reconnect_multiplier ** (attempt - 1)
    except OverflowError:  # past every float, so past the cap
        return config.reconnect_delay_max
    return min(delay, config.reconnect_delay_max)


class Attempts:
    """The account of attempts of one client.

    Args:
        config: The documented schedule.
        uniform: The source of randomness.
    """

    def __init__(self, config: ClientConfig, uniform: Uniform) -> None:
        self._config = config
        self._uniform = uniform
        self.failed = 0
        self._step = 0
        self._opened_at: float | None = None

    @property
    def exhausted(self) -> bool:
        """Whether so many attempts failed in a row that this is an outage."""
        limit = self._config.max_reconnect_attempts
        return limit is not None and self.failed >= limit

    def count_failure(self) -> None:
        """A reconnection attempt failed."""
        self.failed += 1

    def opened(self, now: float) -> None:
        """A connection stands."""
        self.failed = 0
        self._opened_at = now

    def ended(self, now: float) -> None:
        """The connection ended; if it lived long enough the schedule starts anew."""
        if self._opened_at is not None and now - self._opened_at >= self._config.reconnect_reset_after:
            self._step = 0
        self._opened_at = None

    def reset(self) -> None:
        """Somebody asked for a fresh start."""
        self.failed = 0
        self._step = 0

    def next_delay(self, decision: RetryDecision, *, declared: bool) -> float:
        """Seconds to wait before the next attempt.

        Args:
            decision: What the retry table says.
            declared: Whether the outage is declared, so that probes keep the longest spacing.
        """
        config, uniform = self._config, self._uniform
        if decision.action == "fatal":
            delay = self._jittered(config.fatal_retry_delay)
        else:
            self._step += 1
            if decision.spread is not None:
                delay = uniform(*decision.spread)
            else:
                delay = self._jittered(config.reconnect_delay_max if declared else delay_before(self._step, config))
        if decision.at_least is not None and delay < decision.at_least:
            # Not before the time that the server named, and not all clients at that very moment.
            delay = decision.at_least + uniform(0.0, config.reconnect_jitter * config.reconnect_delay)
        return min(delay, LONGEST_DELAY)

    def _jittered(self, seconds: float) -> float:
        jitter = self._config.reconnect_jitter
        return seconds * self._uniform(1 - jitter, 1 + jitter)
