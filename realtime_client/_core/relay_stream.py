"""The stream that a relay writes and readers follow: its keys, its entries, their JSON, and the rules for reading them.

See docs/design/relay.md for the whole.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from realtime_client.events import Event, LogEntry, NewAnomaly, wire_value

__all__ = [
    "BEAT",
    "EVENT",
    "GAP",
    "NOWHERE",
    "Entry",
    "Keys",
    "Place",
    "Portion",
    "Verdict",
    "at_of",
    "encode_event",
    "encode_json",
    "judge",
    "log_fields",
    "read_entry",
]

EVENT, GAP, BEAT = b"event", b"gap", b"beat"
"""What an entry may be. Its one field has this and the fencing number for its name, ``event:17``."""
NOWHERE = b"0-0"
"""The id before every entry."""
ENTRIES_AT_ONCE = 500
BYTES_AT_ONCE = 4 * 1024 * 1024
FIRST = 16
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
encode_json = msgspec.json.Encoder().encode
"""JSON, with times as they are, and whole numbers of any size."""


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


class Portion:
    """How much a read asks for: Redis counts entries, and it is bytes that fill the memory.

    Attributes:
        count: Entries of the next read: few before we know how large they are, then as many as would take 4 MiB, were
            all like the largest of the last read, and 500 at most.
    """

    def __init__(self) -> None:
        self.count: int = FIRST

    def learn(self, raw_entries: Sequence[Any]) -> None:
        """See what the last read gave; it was not empty."""
        largest = max(len(fields[-1]) if fields else 0 for _, fields in raw_entries)
        self.count = max(1, min(ENTRIES_AT_ONCE, BYTES_AT_ONCE // max(1, largest)))


class Verdict(enum.Enum):
    """What an entry is to a reader."""

    NEXT = "the one that follows"
    STALE = "from a relay whose lease was over"
    BROKEN = "not the one that follows: something is missing, or was lost and written anew"


def judge(place: Place | Entry, entry: Entry) -> Verdict:
    """What an entry is to a reader who has come this far, or has taken that one last.

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
    if fields is None or len(fields) != 2:
        return None
    kind, _, fence = fields[0].partition(b":")
    at, _, seq = entry_id.partition(b"-")
    try:
        return Entry(entry_id, at, int(seq), int(fence), kind, fields[1])
    except ValueError:
        return None


def at_of(milliseconds: bytes | int) -> datetime:
    """The time of entries."""
    return EPOCH + timedelta(milliseconds=int(milliseconds))


def encode_event(event: Event) -> bytes:
    """The event as the message that readers decode."""
    message: dict[str, Any] = {"type": event.type}
    if isinstance(event, NewAnomaly):
        message["data"] = {"log": log_fields(event.log)}
    elif (data := event.data_to_dict()) is not None:
        message["data"] = data
    if event.timestamp is not None:
        message["timestamp"] = event.timestamp
    return encode_json(message)


def log_fields(log: LogEntry) -> dict[str, Any]:
    """As `LogEntry.to_dict`, in a small part of its time; dates are left to the encoder."""
    data = {
        "id": log.id,
        "message": log.message,
        "timestamp": log.timestamp,
        "level": log.level,
        "source": log.source,
        "isAnomaly": log.is_anomaly,
        "anomalyScore": log.anomaly_score,
        "rootCauses": log.root_causes,
        "recommendations": log.recommendations,
    }
    return {**wire_value(log.extra), **data} if log.extra else data
