"""The Redis transport: what a relay has written, read with the same client, from the snapshot or from where we were."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import attrs

from realtime_client._core.relay_stream import (
    EVENT,
    GAP,
    NOWHERE,
    Entry,
    Place,
    Portion,
    Verdict,
    at_of,
    judge,
    read_entry,
)
from realtime_client.config import ClientConfig
from realtime_client.errors import ConnectionLost, NotConnected
from realtime_client.status import Gap, Transport
from realtime_client.transports.base import Received
from realtime_client.transports.callables import Callables
from realtime_client.transports.dialing import left
from realtime_client.transports.redis_wire import RedisWire

__all__ = ["RedisDialer", "RedisLink"]

LONGEST_BLOCK = 5.0
"""Seconds after which Redis answers that there is nothing, which is how a reader knows that Redis is there."""


@attrs.define(eq=False, repr=False)
class _Memory:
    """What the links of one client hand on to each other; only the reader thread of the present one touches it.

    Attributes:
        place: How far what was read has been taken over.
        heard_at: When the feed was last heard, or ``None``.
    """

    place: Place = Place()
    began: bool = False
    heard_at: datetime | None = None


@attrs.frozen
class _Snapshot:
    """What the snapshot's key holds.

    Attributes:
        place: Behind which entry it stands.
        store: The picture, as JSON.
    """

    place: Place
    store: bytes


class RedisDialer:
    """Makes the links of one client, which go on where the one before has ended.

    Args:
        config: Where to and how.
    """

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self._memory = _Memory()
        self._callables = Callables(config.name)

    def __call__(self) -> RedisLink:
        """A link for the next attempt; no I/O."""
        return RedisLink(self._config, self._memory, self._callables)


class RedisLink:
    """One attempt and one connection; see `realtime_client.transports.base.Link` for who may call what."""

    transport = Transport.REDIS
    sends = False
    tells_gaps = True
    sent_bytes = 0

    def __init__(self, config: ClientConfig, memory: _Memory, callables: Callables) -> None:
        self._config = config
        self._memory = memory
        self._wire = RedisWire(config, callables)
        self._place = memory.place
        self._ready: deque[tuple[Received, Place]] = deque()
        self._handed_out: Place | None = None
        self._since: datetime | None = None  # when the feed was last heard, while a gap has to be told
        self._target = 0  # the number with which we have caught up
        self._caught = 0  # events until then
        self._restored: Place | None = None
        self._portion = Portion()
        self._block = min(LONGEST_BLOCK, config.heartbeat_interval / 2)
        self._silence = None if config.heartbeat == "none" else self._block + config.heartbeat_timeout
        self._patience = self._silence  # how long an answer may take

    # The attempt, on the reader thread

    def open(self, timeout: float) -> None:
        """See `Link.open`."""
        deadline = time.monotonic() + timeout
        self._wire.open(deadline)
        self._patience = left(deadline)
        try:
            self._begin()
        except ConnectionLost as lost:
            raise self._wire.could_not_begin(lost) from lost
        self._patience = self._silence

    def _begin(self) -> None:
        """Find out from where to read on."""
        memory = self._memory
        if not memory.began:
            snapshot = self._read_snapshot()
            if snapshot is not None:
                self._restore(snapshot, gap=None)
            else:
                self._hand_out(Received([], 0, b""))
            return
        self._since = memory.heard_at or datetime.now(UTC)
        if self._place.id == NOWHERE or self._holds(self._place.id):
            self._target = _whole(self._ask("HGET", self._wire.keys.state, "seq") or b"0", "state of the stream")
            caught_up = self._place.seq >= self._target
            self._hand_out(Received([], 0, b"", gap=self._gap(complete=True) if caught_up else None))
            return
        self._start_again()

    def _start_again(self) -> None:
        """The entry that we read last is gone: trimmed, or lost by Redis."""
        place, snapshot = self._place, self._read_snapshot()
        if snapshot is not None:
            here = snapshot.place
            # A later relay that stands before us does not know the end of what we have, and writes other entries there.
            forked = here.fence > place.fence and here.seq < place.seq
            if here.epoch != place.epoch or here.seq > place.seq or forked:
                self._restore(snapshot, gap=self._gap(complete=False))
                return
        # Redis has lost the end of what we have, or all. What we have stays. What is written from now on has a later
        # id: the first such entry shows whether a relay that remembers goes on behind what we have.
        self._target = place.seq + 1
        self._hand_out(Received([], 0, b""))

    # The connection

    def receive(self) -> Received:
        """See `Link.receive`."""
        memory = self._memory
        if self._handed_out is not None:
            # Only now has it been taken over: a process that forked, or a connection that ended, between the two
            # reads it again and loses nothing.
            memory.place, memory.began, self._handed_out = self._handed_out, True, None
        if not self._ready:
            self._read()
        received, place = self._ready.popleft()
        self._handed_out = place
        if received.size:
            memory.heard_at = datetime.now(UTC)
        return received

    def _read(self) -> None:
        answer = self._ask(
            "XREAD",
            "COUNT",
            self._portion.count,
            "BLOCK",
            max(1, int(self._block * 1000)),
            "STREAMS",
            self._wire.keys.events,
            self._place.read_to,
        )
        if answer:
            entries = answer[0][1]
            self._portion.learn(entries)
            self._take(entries)
        if not self._ready:
            self._hand_out(Received([], 0))

    def _take(self, raw_entries: Sequence[Any]) -> None:
        """Hand out what follows, in groups of what was appended together."""
        messages: list[str | bytes] = []
        at = b""
        size = 0
        place = self._place
        last: Entry | None = None  # taken behind it

        def here() -> Place:
            return place if last is None else Place(place.epoch, last.seq, last.fence, last.id, last.id)

        def flush(gap: Gap | None = None) -> None:
            nonlocal messages, size
            if messages or size or gap is not None:
                self._place = here()
                self._hand_out(Received(messages, size, at=at_of(at) if at else None, gap=gap))
                messages, size = [], 0

        for raw in raw_entries:
            entry = read_entry(raw)
            if entry is None:
                place, last = here()._replace(read_to=raw[0]), None
                continue
            verdict = judge(last or place, entry)
            if verdict is not Verdict.NEXT:
                flush()
                self._place = here()
                if not self._mend(entry, verdict):
                    return  # what follows is read from the snapshot on
                place, last = self._place, None
                if verdict is Verdict.STALE:
                    continue
            if entry.at != at:
                flush()
                at = entry.at
            last = entry
            size += len(entry.body)
            if entry.kind == EVENT:
                messages.append(entry.body)
            elif entry.kind == GAP:
                flush(_read_gap(entry.body))
            if self._since is not None:
                self._caught += entry.kind == EVENT
                if entry.seq >= self._target:
                    flush(self._gap(complete=True, recovered=self._caught))
        flush()
        self._place = here()

    def _mend(self, entry: Entry, verdict: Verdict) -> bool:
        """See what to do about an entry that does not follow; whether to go on with the present answer."""
        place = self._place
        if verdict is Verdict.STALE and place.id != NOWHERE and self._holds(place.id):
            self._place = place._replace(read_to=entry.id)
            return True
        snapshot = self._read_snapshot()
        # Older than what we have it helps only where a new history, or a new numbering, has begun.
        helps = snapshot is not None and (
            snapshot.place.seq > place.seq
            or snapshot.place.epoch != place.epoch
            or verdict is Verdict.STALE
            or entry.seq <= place.seq
        )
        if snapshot is not None and helps and snapshot.place != self._restored:
            self._since = self._since or self._memory.heard_at or datetime.now(UTC)
            self._restore(snapshot, gap=self._gap(complete=False))
            return False
        if verdict is Verdict.STALE:
            self._place = place._replace(read_to=entry.id)
            return True
        if snapshot is None and entry.seq <= place.seq and not self._holds(entry.id):
            # A new history, whose relay wrote a snapshot first: Redis has lost them both since we read. To take the
            # rest would be to tell again what we had; what has come instead is read next.
            return False
        self._since = self._since or self._memory.heard_at or datetime.now(UTC)
        self._place = place._replace(seq=entry.seq - 1, fence=entry.fence)
        self._hand_out(Received([], 0, gap=self._gap(complete=False)))
        return True

    def _restore(self, snapshot: _Snapshot, *, gap: Gap | None) -> None:
        self._place = self._restored = snapshot.place
        # Of when the last entry was written, and not of now: the store shall not look younger than it is.
        at = None if snapshot.place.id == NOWHERE else _at(snapshot.place.id)
        self._hand_out(Received([], len(snapshot.store), b"", gap=gap, snapshot=snapshot.store, at=at))

    def _gap(self, *, complete: bool, recovered: int = 0) -> Gap:
        until = datetime.now(UTC)
        since, self._since = min(self._since or until, until), None
        return Gap(since=since, until=until, recovered=recovered, complete=complete)

    def _hand_out(self, received: Received) -> None:
        self._ready.append((received, self._place))

    def _holds(self, entry_id: bytes) -> bool:
        return bool(self._ask("XRANGE", self._wire.keys.events, entry_id, entry_id))

    def _read_snapshot(self) -> _Snapshot | None:
        answer = self._ask("HMGET", self._wire.keys.snapshot, "epoch", "seq", "fence", "id", "store")
        epoch, seq, fence, entry_id, store = answer
        if None in answer:
            return None
        number, term = _whole(seq, "snapshot"), _whole(fence, "snapshot")
        return _Snapshot(Place(epoch, number, term, entry_id, entry_id), store)

    def _ask(self, *command: Any) -> Any:
        return self._wire.ask(*command, timeout=self._patience)

    def send(self, text: str, timeout: float) -> None:
        """See `Link.send`: a stream in Redis takes no messages."""
        raise NotConnected("nothing can be sent to a feed that comes through Redis")

    def ping(self, payload: bytes, timeout: float, message: str | None = None) -> None:
        """See `Link.ping`: that Redis answers each read, be it that there is nothing, is the sign of life."""

    def close(self, timeout: float) -> None:
        """See `Link.close`: Redis needs no goodbye."""
        self.fail(ConnectionLost("the client was closed", code=1000))

    def fail(self, error: ConnectionLost) -> None:
        """See `Link.fail`."""
        self._wire.abort(error)

    def release(self) -> None:
        """See `Link.release`."""
        self._wire.release()

    def disown(self) -> None:
        """See `Link.disown`."""
        self._wire.disown()

    @property
    def lingering(self) -> str | None:
        """See `Link.lingering`."""
        return self._wire.lingering


def _at(entry_id: bytes) -> datetime:
    """When an entry was written."""
    try:
        return at_of(entry_id.partition(b"-")[0])
    except (ValueError, OverflowError):
        raise ConnectionLost("the snapshot could not be understood: the id in it is none") from None


def _whole(number: bytes, of: str) -> int:
    """A number that a relay has written.

    Raises:
        ConnectionLost: Somebody else has written something else there.
    """
    try:
        return int(number)
    except ValueError:
        raise ConnectionLost(f"the {of} could not be understood: a number in it is none") from None


def _read_gap(body: bytes) -> Gap | None:
    """A gap that a relay tells, or ``None`` where it cannot be understood."""
    try:
        told = json.loads(body)
        return Gap(
            since=datetime.fromisoformat(told["since"]),
            until=datetime.fromisoformat(told["until"]),
            recovered=int(told["recovered"]),
            complete=told["complete"] is True,
        )
    except (ValueError, TypeError, KeyError):
        return None
