"""The stream that a relay writes and readers follow: its keys, its entries, and the rules for reading them.

See docs/design/relay.md for the whole.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

__all__ = ["BEAT", "EVENT", "GAP", "NOWHERE", "Entry", "Keys", "Place", "Verdict", "at_of", "judge", "read_entry"]

EVENT, GAP, BEAT = b"event", b"gap", b"beat"
"""What an entry may be: the name of its second field."""
NOWHERE = b"0-0"
"""The id before every entry."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Keys:
    """The keys of one stream; they share a hash tag, so that a Redis Cluster keeps them together.

    Args:
        stream: The stream's name.
    """

    def __init__(self, stream: str) -> None:
        prefix = f"realtime:{{{stream}}}:"
        self.events: str = prefix + "events"
        self.snapshot: str = prefix + "snapshot"
        self.state: str = prefix + "state"
        self.lease: str = prefix + "lease"


class Entry(NamedTuple):
    """One entry of the stream.

    Attributes:
        id: As Redis has it, ``<milliseconds>-<number>``.
        at: The milliseconds, as they came: entries that were appended together have the same.
        seq: The number.
        fence: The fencing number of the relay that wrote it.
        kind: `EVENT`, `GAP` or `BEAT`.
        body: The JSON.
    """

    id: bytes
    at: bytes
    seq: int
    fence: int
    kind: bytes
    body: bytes


class Place(NamedTuple):
    """How far a reader has come.

    Attributes:
        epoch: The history that this is about; empty before anything was read.
        seq: The number of the last entry that was taken over.
        fence: The highest fencing number seen.
        id: The last entry that was taken over.
        read_to: The last entry that was looked at, also if it was passed over.
    """

    epoch: bytes = b""
    seq: int = 0
    fence: int = 0
    id: bytes = NOWHERE
    read_to: bytes = NOWHERE


class Verdict(enum.Enum):
    """What an entry is to a reader."""

    NEXT = "the one that follows"
    STALE = "from a relay whose lease was over"
    BROKEN = "not the one that follows: something is missing, or was lost and written anew"


def judge(place: Place, entry: Entry) -> Verdict:
    """What an entry is to a reader who has come this far.

    A fencing number below the highest seen is refused, whatever else is true of the entry. A number that we have had
    comes only from a relay that does not know what we have read: Redis lost it, perhaps in a failover, and with it
    perhaps the last fencing number, so that the same one may have been given again.
    """
    if entry.fence < place.fence:
        return Verdict.STALE
    return Verdict.NEXT if entry.seq == place.seq + 1 else Verdict.BROKEN


def read_entry(raw: Sequence[Any]) -> Entry | None:
    """One entry of an answer to ``XREAD`` or ``XRANGE``; ``None`` if no relay has written it."""
    entry_id, fields = raw
    if fields is None or len(fields) != 4 or fields[0] != b"fence":
        return None
    at, _, seq = entry_id.partition(b"-")
    try:
        return Entry(entry_id, at, int(seq), int(fields[1]), fields[2], fields[3])
    except ValueError:
        return None


def at_of(milliseconds: bytes | int) -> datetime:
    """The time of entries."""
    return EPOCH + timedelta(milliseconds=int(milliseconds))
