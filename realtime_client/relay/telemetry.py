"""What a relay says of itself."""

from __future__ import annotations

import enum

import attrs

__all__ = ["RelayMetrics", "RelayState"]


class RelayState(enum.Enum):
    """Where a relay stands."""

    STOPPED = "stopped"
    """Not started, or ended."""
    DISCONNECTED = "disconnected"
    """Redis cannot be reached; what comes from upstream, if this relay was active, is kept as long as there is room."""
    STANDBY = "standby"
    """Another relay is active; or this one could not reach the feed, and lets others try for a while."""
    ACTIVE = "active"
    """This relay has the lease: it follows the feed and appends."""


@attrs.frozen(kw_only=True)
class RelayMetrics:
    """Counters since the relay was made, and gauges.

    Attributes:
        terms: How often it became active.
        appended: Events appended.
        batches: Appends of one or more entries.
        bytes: Bytes of the entries appended.
        beats: Entries that say nothing but that the feed lives.
        gaps: Gaps told to readers.
        duplicates: Logs that were not appended because they were before.
        refused: Appends and snapshots that Redis refused because the lease was over.
        renewals: Leases renewed.
        snapshots: Snapshots written.
        redis_connects: Connections to Redis.
        redis_errors: Connections to Redis that failed or ended.
        waiting: Events that wait to be appended, in line or for the answer to a poll.
        waiting_high_water: The most that ever waited in line.
        seq: The number of the last entry; 0 before there is one.
        fence: The fencing number of the present or last term.
        active: 1 while the relay is active, otherwise 0.
        upstream_connected: 1 while it is connected to the feed, otherwise 0.
        lease_left: Seconds in which it may still publish without a renewal.
    """

    terms: int = 0
    appended: int = 0
    batches: int = 0
    bytes: int = 0
    beats: int = 0
    gaps: int = 0
    duplicates: int = 0
    refused: int = 0
    renewals: int = 0
    snapshots: int = 0
    redis_connects: int = 0
    redis_errors: int = 0
    waiting: int = 0
    waiting_high_water: int = 0
    seq: int = 0
    fence: int = 0
    active: int = 0
    upstream_connected: int = 0
    lease_left: float = 0.0
