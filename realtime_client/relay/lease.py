"""The lease as its holder sees it: until when it may publish, and when to renew. Pure; time is an argument."""

from __future__ import annotations

import attrs

__all__ = ["Lease"]

RENEW_AFTER = 1 / 3
"""Part of the lease after which it is renewed: two renewals may fail before it is over."""
PUBLISH_UNTIL = 4 / 5
"""Part of the lease after which its holder stops: clocks differ, and what is on its way needs time to arrive."""


@attrs.define
class Lease:
    """A lease, counted from before it was asked for, so that it ends here no later than in Redis.

    Attributes:
        duration: Seconds.
        since: When it was last asked for with success (monotonic).
    """

    duration: float
    since: float = float("-inf")

    def granted(self, asked_at: float) -> None:
        """It was granted, or renewed, after it had been asked for at this time."""
        self.since = asked_at

    def given_up(self) -> None:
        """It is not ours any more, or we do not know."""
        self.since = float("-inf")

    @property
    def renew_at(self) -> float:
        """When to renew it."""
        return self.since + self.duration * RENEW_AFTER

    @property
    def publish_until(self) -> float:
        """When to stop publishing, if it was not renewed by then."""
        return self.since + self.duration * PUBLISH_UNTIL

    def left(self, now: float) -> float:
        """Seconds in which there may still be published; 0 without a lease."""
        return max(0.0, self.publish_until - now)
