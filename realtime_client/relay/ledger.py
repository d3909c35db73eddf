"""What a relay has appended, as a store like the readers', and what may be appended next. No I/O."""

from __future__ import annotations

from collections import ChainMap, deque
from collections.abc import Hashable, Iterable, Mapping, MutableMapping
from functools import partial

import attrs

from realtime_client._core.codec import Codec
from realtime_client._core.picture import decode_picture, encode_picture
from realtime_client._core.relay_stream import (
    BEAT,
    EVENT,
    GAP,
    NOWHERE,
    Entry,
    Place,
    Verdict,
    at_of,
    encode_event,
    encode_json,
    judge,
)
from realtime_client.errors import MalformedMessage
from realtime_client.events import (
    ConnectionEstablished,
    Event,
    LogEntry,
    NewAnomaly,
    Origin,
    Pong,
    SystemAlert,
)
from realtime_client.status import Gap, Transport
from realtime_client.store import DashboardStore

__all__ = ["BATCH", "Batch", "Ledger"]

BATCH = 1000
"""Entries of one append: Redis does nothing else meanwhile, for some milliseconds."""
BATCH_BYTES = 1024 * 1024
"""After how many bytes it ends earlier: a batch that did not fit through would be tried again for ever."""


@attrs.frozen
class Batch:
    """What is appended at once.

    Attributes:
        after: The number of the entry before it.
        entries: Kind and body of each.
        events: The events among them, in order.
    """

    after: int
    entries: tuple[tuple[bytes, bytes], ...]
    events: tuple[Event, ...]

    @property
    def last(self) -> int:
        """The number of its last entry."""
        return self.after + len(self.entries)

    def split(self, seq: int) -> tuple[Batch, Batch]:
        """What of it comes up to an entry, and what is behind it; either may be empty."""
        head, tail = self.entries[: seq - self.after], self.entries[max(0, seq - self.after) :]
        events = sum(kind == EVENT for kind, _ in head)
        return Batch(self.after, head, self.events[:events]), Batch(self.after + len(head), tail, self.events[events:])


class Ledger:
    """The store as all readers have it, the place in the stream to which it belongs, and the rule "no log twice".

    Args:
        recent_logs_limit, alerts_limit, dedup_window: As of a client; what a new reader can get from the snapshot.

    Attributes:
        epoch: The history; empty before there is one.
        seq: The number of the last entry.
        fence: The fencing number under which it was written.
        last_id: Its id.
        unconfirmed: What was sent, or is about to be, and may be written although no answer has come.
        duplicates: Logs that were not appended because they were.
    """

    def __init__(self, *, recent_logs_limit: int, alerts_limit: int, dedup_window: int) -> None:
        self._new_store = partial(
            DashboardStore,
            recent_logs_limit=recent_logs_limit,
            alerts_limit=alerts_limit,
            dedup_window=dedup_window,
        )
        self._alerts_limit = alerts_limit
        self._codec = Codec()
        self.duplicates: int = 0
        self.forget()

    def forget(self) -> None:
        """Begin with nothing."""
        self.epoch: bytes = b""
        self.seq: int = 0
        self.fence: int = 0
        self.last_id: bytes = NOWHERE
        self.store: DashboardStore = self._new_store()
        self._polled: deque[Hashable] = deque(maxlen=self._alerts_limit)  # alerts that polls have told first
        self.drop()

    # Writing

    def drop(self) -> None:
        """Forget the batches of which it is not known whether they were written."""
        self.unconfirmed: deque[Batch] = deque()
        self._on_the_way: dict[Hashable, LogEntry | None] = {}  # logs by id; alerts have no log

    def admit(self, waiting: deque[Event | Gap]) -> Batch | None:
        """Take from the front what makes one batch, without what readers have; ``None`` if that leaves nothing.

        The batch is unconfirmed until `commit`, and the next one follows it.
        """
        entries: list[tuple[bytes, bytes]] = []
        events: list[Event] = []
        size = 0
        while waiting and len(entries) < BATCH and size < BATCH_BYTES:
            item = waiting.popleft()
            if isinstance(item, Gap):
                kind, body = GAP, _encode_gap(item)
            elif self._is_new(item, self._on_the_way):
                kind, body = EVENT, encode_event(item)
                events.append(item)
                if item.origin is Origin.POLL and isinstance(item, SystemAlert) and item.timestamp is not None:
                    self._polled.append(_identity(item))
            else:
                self.duplicates += isinstance(item, NewAnomaly)
                continue
            entries.append((kind, body))
            size += len(body)
        return self._register(entries, events) if entries else None

    def count_new(self, events: Iterable[Event]) -> int:
        """How many of these would be appended."""
        known: ChainMap[Hashable, LogEntry | None] = ChainMap({}, self._on_the_way)
        return sum(self._is_new(event, known) for event in events)

    def _is_new(self, event: Event, known: MutableMapping[Hashable, LogEntry | None]) -> bool:
        """Whether an event is to be appended; then it is one of the known from now on."""
        if isinstance(event, NewAnomaly):
            if self._knows(event, known):
                return False
            known[event.log.id] = event.log
        elif isinstance(event, SystemAlert) and event.timestamp is not None:  # without, nothing tells it from another
            identity = _identity(event)
            if event.origin is not Origin.POLL:
                # The feed may say the same again, and mean it; but not what a poll has told before it could.
                if identity in self._polled:
                    return False
                known[identity] = None
                return True
            if identity in known or any(_identity(alert) == identity for alert in self.store.alerts):
                return False
            known[identity] = None
        return not isinstance(event, (Pong, ConnectionEstablished))

    def _register(self, entries: list[tuple[bytes, bytes]], events: list[Event]) -> Batch:
        batch = Batch(self.unconfirmed[-1].last if self.unconfirmed else self.seq, tuple(entries), tuple(events))
        self.unconfirmed.append(batch)
        return batch

    def beat(self) -> Batch:
        """A sign of life."""
        return self._register([(BEAT, b"{}")], [])

    def commit(self, fence: int, last_id: bytes) -> Batch:
        """The oldest unconfirmed batch was appended, the last entry under this id; returns it."""
        batch = self.unconfirmed.popleft()
        if not self.unconfirmed:
            self._on_the_way = {}
        self.seq, self.fence, self.last_id = batch.last, fence, last_id
        if batch.events:
            at = at_of(last_id.partition(b"-")[0])
            self.store.apply(batch.events, received_at=at, transport=Transport.REDIS)
        return batch

    def confirm_replayed(self) -> list[Batch]:
        """Batches that turned out to be written, when they were read back; what is left is still to be written.

        Of a batch that was read in part that part is confirmed: the rest may be lost before it is read.
        """
        found: list[Batch] = []
        while self.unconfirmed and self.unconfirmed[0].after < self.seq:
            written, rest = self.unconfirmed.popleft().split(self.seq)
            found.append(written)
            if rest.entries:
                self.unconfirmed.appendleft(rest)
        if not self.unconfirmed:
            self._on_the_way = {}
        return found

    def snapshot(self) -> bytes:
        """The store, for new readers."""
        return encode_picture(self.store.picture())

    def _knows(self, event: NewAnomaly, known: Mapping[Hashable, LogEntry | None]) -> bool:
        log = event.log
        remembered, held = self.store.find_log(log.id)
        held = known.get(log.id, held)
        if held is None or event.origin is Origin.POLL:  # a poll, which may tell less of a log, repeats none
            return remembered or held is not None
        # The server may have changed it since (better causes, for instance): readers that show it shall show that. One
        # whose time goes back would be shown or not as batches happen to end, so it is taken for a repetition.
        changed = held != log
        younger = log.timestamp is None or (held.timestamp is not None and log.timestamp >= held.timestamp)
        return not (changed and younger)

    # Reading, at the beginning of a term

    def restore(self, place: Place, store: bytes) -> None:
        """Take a snapshot over.

        Raises:
            MalformedMessage: It cannot be understood.
        """
        picture = decode_picture(store, self._codec, received_at=at_of(0))
        self.epoch, self.seq, self.fence, self.last_id = place.epoch, place.seq, place.fence, place.id
        self.store = self._new_store()
        self.store.restore(picture, received_at=at_of(0), transport=Transport.REDIS)

    def replay(self, entries: Iterable[Entry]) -> None:
        """Take entries over, as a reader does."""
        for entry in entries:
            if judge(Place(seq=self.seq, fence=self.fence), entry) is Verdict.STALE:
                continue
            self.seq, self.fence, self.last_id = entry.seq, entry.fence, entry.id
            if entry.kind == EVENT:
                at = at_of(entry.at)
                try:
                    event = self._codec.decode(entry.body, received_at=at, origin=Origin.REDIS)
                except MalformedMessage:
                    continue  # readers could not either
                self.store.apply([event], received_at=at, transport=Transport.REDIS)


def _encode_gap(gap: Gap) -> bytes:
    return encode_json(attrs.asdict(gap))


def _identity(alert: SystemAlert) -> Hashable:
    """What stands for the id that an alert has not."""
    return alert.timestamp, alert.message, alert.severity
