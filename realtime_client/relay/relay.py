"""`Relay`: follows a feed and appends it to a Redis stream, if no other relay does.

One thread does all of it, one thing after the other: it is the only one that talks to Redis, knows the lease and has
the ledger. The upstream client's threads fill the backlog and nothing else. See docs/design/relay.md.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import threading
import time
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from realtime_client._core.backoff import delay_before
from realtime_client._core.relay_stream import BEAT, GAP, at_of
from realtime_client.config import ClientConfig
from realtime_client.errors import ConnectError, ConnectionLost, MalformedMessage, RealtimeError
from realtime_client.redaction import show_url
from realtime_client.relay.ledger import BATCH, Batch, Ledger
from realtime_client.relay.order import Order
from realtime_client.relay.settings import Settings
from realtime_client.relay.telemetry import RelayMetrics, RelayState
from realtime_client.relay.upstream import Backfill, Connected, Item, Upstream, size_of
from realtime_client.relay.writer import Held, LeaseLost, LeaseRefused, StreamWriter, Term
from realtime_client.status import ConnectionState

__all__ = ["Relay"]

logger: logging.Logger = logging.getLogger("realtime_client.relay")

TAKE = 4 * BATCH
"""Events that are appended without a look at anything else."""
QUICKLY = ClientConfig(reconnect_delay=0.1, reconnect_delay_max=2.0)
"""How connections to Redis are spaced: what comes from upstream waits meanwhile."""
COUNTERS = (
    "terms",
    "appended",
    "batches",
    "bytes",
    "beats",
    "gaps",
    "refused",
    "renewals",
    "snapshots",
    "redis_connects",
    "redis_errors",
)
AFTER_REFUSAL = 0.1
"""Seconds after which the lease is asked for again when Redis has refused to write: it may be granted at once."""
GOODBYE = 1 / 5
"""Part of the lease that the closing handshake upstream may take: a term may just have begun."""
LEAVING = 1.0
"""Seconds in which what was received is still appended, at the end."""
PATIENCE = 3 / 4
"""Part of the time for stopping that Redis has to answer."""


class Relay:
    """Follows a feed and appends it to a Redis stream, from which any number of clients read.

    Any number of relays may run for one stream: one has a lease and is active, the others stand by and take over
    within ``lease`` seconds of its end. Making a relay does no I/O and starts no thread. A relay that was started runs
    until it is stopped, whether or not anybody holds it. In a process that was forked it is one that was never started.

    Args:
        upstream: The feed, a ``ws://`` or ``wss://`` URL or a `ClientConfig`. With ``polling_url`` or ``poller`` it is
            asked for what was missed, also when another relay takes over.
        redis: The stream, ``redis://host:6379/0?stream=name`` or a `ClientConfig` with such a URL.
        name: Part of the threads' names and of log messages.
        lease: Seconds for which a relay is active without renewing, and so the longest that a takeover waits.
        linger: Seconds for which more may gather behind an event before they are appended at once, at most a tenth of
            ``lease``. Events come later by as much, and each append, which wakes every reader, has more of them.
        maxlen: About how many entries the stream keeps.
        snapshot_every: After how many entries the snapshot is written; at most half of ``maxlen``.
        beat_interval: Seconds without an event after which readers are told that the feed lives.
        max_pending_events: How many events may wait to be appended, and at most about ``max_pending_bytes`` of the
            upstream's configuration; then the feed is held back.
        recent_logs_limit, alerts_limit, dedup_window: As of a client; what a new reader gets of the past.

    Attributes:
        name: As given.
        max_pending_events: As given.

    Raises:
        ConfigError: Names every wrong argument at once.
    """

    def __init__(
        self,
        upstream: str | ClientConfig,
        redis: str | ClientConfig,
        *,
        name: str = "relay",
        lease: float = 5.0,
        linger: float = 0.0,
        maxlen: int = 100_000,
        snapshot_every: int = 5_000,
        beat_interval: float = 10.0,
        max_pending_events: int = 10_000,
        recent_logs_limit: int = 100,
        alerts_limit: int = 100,
        dedup_window: int = 10_000,
    ) -> None:
        self._settings = settings = Settings(
            upstream=upstream,
            redis=redis,
            name=name,
            lease=lease,
            linger=linger,
            maxlen=maxlen,
            snapshot_every=snapshot_every,
            beat_interval=beat_interval,
            max_pending_events=max_pending_events,
            recent_logs_limit=recent_logs_limit,
            alerts_limit=alerts_limit,
            dedup_window=dedup_window,
        )
        self.name: str = settings.name
        self.max_pending_events: int = settings.max_pending_events
        self._feed_url = show_url(settings.upstream.url)
        self._redis_url = show_url(settings.redis.url)
        self._set_up()
        _relays.add(self)

    def _set_up(self) -> None:
        """As one that was never started: with a token of its own for the lease, and nothing in memory."""
        settings = self._settings
        self._writer = StreamWriter(settings.redis, lease=settings.lease, maxlen=settings.maxlen)
        self._ledger = Ledger(
            recent_logs_limit=settings.recent_logs_limit,
            alerts_limit=settings.alerts_limit,
            dedup_window=settings.dedup_window,
        )
        # Of the relay's thread alone.
        self._upstream: Upstream | None = None
        self._order = Order(
            self.max_pending_events,
            self._ledger.count_new,
            max_bytes=settings.upstream.max_pending_bytes,
            size_of=size_of,
        )
        self._snapshot_at = 0
        self._beat_at = 0.0
        self._attempt = 0
        self._high_water = 0  # of the backlogs that are no more
        self._counts = dict.fromkeys(COUNTERS, 0)
        # Shared with whoever asks.
        self._changed = threading.Condition(threading.Lock())  # guards _state, _error and _stopping
        self._state = RelayState.STOPPED
        self._error: str | None = None
        self._stopping = False
        self._thread: threading.Thread | None = None

    def _after_fork(self) -> None:
        """In a child process: the parent's relay is not ours, nor its lease, nor a byte on its connections."""
        parents = self._writer
        self._set_up()  # first: whatever cannot be given back, the child has a token of its own
        parents.disown()

    # Life

    def start(self) -> None:
        """Start the relay's thread; returns at once. A relay that runs goes on; one that was stopped starts anew."""
        with self._changed:
            # The thread that has said that it ended may still be on its way out: that was the last thing it did.
            ended = self._state is RelayState.STOPPED
            if self._thread is not None and self._thread.is_alive() and not ended:
                return
            self._stopping = False
            self._state = RelayState.DISCONNECTED  # from here on, so that nobody takes it for one that has ended
            self._thread = threading.Thread(target=self._live, name=f"rtc-{self.name}-relay", daemon=True)
            self._thread.start()

    def stop(self, timeout: float | None = None) -> bool:
        """Append what waits, write the snapshot, give the lease back and disconnect; blocks, from any thread.

        Args:
            timeout: Seconds to wait for the end; ``None`` for 10. A Redis that does not answer gets most of them; then
                the connection is cut, and the lease runs out by itself.

        Returns:
            Whether it has ended in time.
        """
        limit = 10.0 if timeout is None else timeout
        deadline = time.monotonic() + limit
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            idle = self._state is not RelayState.ACTIVE
        if idle:  # nothing to append, whatever it waits for
            self._writer.abort()
        if (upstream := self._upstream) is not None:
            upstream.backlog.nudge()
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return True
        thread.join(limit * PATIENCE)
        if thread.is_alive():
            self._writer.abort()
            thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            self._log(logging.WARNING, "did not end in time", timeout=limit)
        return not thread.is_alive()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # The present, for any thread

    @property
    def state(self) -> RelayState:
        """Where it stands."""
        with self._changed:
            return self._state

    def wait_for(self, state: RelayState, timeout: float | None = None) -> bool:
        """Wait until the relay stands there; whether it does.

        Args:
            state: Where.
            timeout: Seconds; ``None`` for as long as it takes.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while self._state is not state:
                # In pieces, so that Ctrl-C is heard on the main thread.
                left = 0.5 if deadline is None else min(0.5, deadline - time.monotonic())
                if left <= 0:
                    return False
                self._changed.wait(left)
            return True

    def metrics(self) -> RelayMetrics:
        """Counters since the relay was made."""
        upstream = self._upstream
        return RelayMetrics(
            **self._counts,
            duplicates=self._ledger.duplicates,
            waiting=0 if upstream is None else len(upstream.backlog) + self._order.waiting,
            waiting_high_water=max(self._high_water, 0 if upstream is None else upstream.backlog.high_water),
            seq=self._ledger.seq,
            fence=self._ledger.fence,
            active=int(self.state is RelayState.ACTIVE),
            upstream_connected=int(upstream is not None and upstream.client.is_connected),
            lease_left=self._writer.lease.left(time.monotonic()),
        )

    def health(self) -> dict[str, Any]:
        """A small JSON-ready dict for health endpoints.

        Keys: ``healthy`` (standing by while another relay is active, or active while the feed is not declared to be
        out of reach), ``state``, ``fence``, ``seq``, ``waiting``, ``lease_left`` (seconds), ``last_error`` (text, or
        ``None`` once it is over), ``upstream`` (`RealtimeClient.health`, or ``None`` while not active).
        """
        metrics, upstream = self.metrics(), self._upstream
        with self._changed:
            state, error = self._state, self._error
        follows = upstream is not None and not upstream.hopeless
        return {
            "healthy": (state is RelayState.STANDBY and error is None) or (state is RelayState.ACTIVE and follows),
            "state": state.value,
            "fence": metrics.fence,
            "seq": metrics.seq,
            "waiting": metrics.waiting,
            "lease_left": round(metrics.lease_left, 3),
            "last_error": error,
            "upstream": None if upstream is None else upstream.client.health(),
        }

    def __repr__(self) -> str:
        return f"<Relay {self.name} {self._feed_url} -> {self._redis_url} {self.state.value}>"

    # The relay's thread

    def _live(self) -> None:
        """The thread's life."""
        try:
            while not self._stopping:
                self._try(self._serve)
            self._try(self._leave)
        finally:
            self._close_upstream()
            self._writer.disconnect()
            self._enter(RelayState.STOPPED)

    def _try(self, work: Callable[[], None]) -> None:
        """Work until something breaks; then wait, and the next attempt is made."""
        try:
            work()
        except (ConnectError, ConnectionLost) as error:
            if self._stopping and self._upstream is None:  # cut off by `stop`, with nothing to append
                self._writer.disconnect()
            else:
                self._trouble(error)
        except Exception as error:
            logger.exception("[%s] unexpected error on the relay's thread", self.name)
            self._trouble(error)

    def _trouble(self, error: Exception) -> None:
        self._writer.disconnect()
        self._counts["redis_errors"] += 1
        self._attempt += 1
        with self._changed:
            self._error = str(error) if isinstance(error, RealtimeError) else f"unexpected {type(error).__name__}"
        self._enter(RelayState.DISCONNECTED)
        level = logging.WARNING if self._attempt == 1 else logging.DEBUG
        delay = delay_before(self._attempt, QUICKLY)
        self._log(level, "trouble", error=self._error, retry_in=round(delay, 2))
        self._pause(delay)

    def _serve(self) -> None:
        self._writer.connect(lambda: self._stopping)
        self._counts["redis_connects"] += 1
        self._log(logging.INFO, "connected to redis", redis=self._redis_url)
        while not self._stopping:
            asked = self._writer.acquire()
            self._attempt = 0
            if isinstance(asked, Held):
                self._stand_by(asked)
                continue
            try:
                self._lead(asked)
            except LeaseLost as lost:
                self._counts["refused"] += isinstance(lost, LeaseRefused)
                self._log(logging.WARNING, "lease lost", reason=str(lost), fence=asked.fence)
                if self._writer.on_the_way:  # on this connection the next answer would be an old one
                    raise ConnectionLost("the lease was over while answers were outstanding") from lost
                if isinstance(lost, LeaseRefused):
                    self._pause(AFTER_REFUSAL)

    def _stand_by(self, held: Held) -> None:
        if self._upstream is not None:
            # Another relay has gone on without us and follows the feed: what we hold it has, or says to be missing.
            self._log(logging.WARNING, "another relay has taken over", discarded=self._unwritten(self._upstream))
            self._ledger.drop()
            self._close_upstream()
        if self.state is not RelayState.STANDBY:
            self._log(logging.INFO, "standing by")
        self._enter(RelayState.STANDBY, well=True)
        # At the very moment at which the lease would end, and not much later than it may be given back.
        self._pause(min(held.wait + 0.005, self._settings.lease / 3))

    def _lead(self, term: Term) -> None:
        self._begin(term)
        self._counts["terms"] += 1
        kept = self._upstream is not None
        self._log(logging.INFO, "active", fence=term.fence, seq=self._ledger.seq, upstream_kept=kept)
        if not kept:
            self._follow(since=self._last_written(term))
        self._enter(RelayState.ACTIVE, well=True)
        for batch in tuple(self._ledger.unconfirmed):
            self._append(batch)
        self._publish()  # what a break has left in order: nothing more may come that would lead to it
        self._beat_at = time.monotonic() + self._settings.beat_interval
        upstream = self._upstream
        assert upstream is not None
        while not self._stopping:
            now = time.monotonic()
            if now >= self._writer.lease.renew_at:
                self._renew()
            if upstream.hopeless:
                self._step_down()
                return
            due = min(self._writer.lease.renew_at, self._beat_at, self._order.held_until)
            self._put_in_order(upstream, upstream.backlog.take(TAKE, due - now))
            self._publish()
            if time.monotonic() >= self._beat_at:
                self._beat(upstream)

    def _begin(self, term: Term) -> None:
        """Make the ledger and Redis agree; what upstream has given goes, unless it follows what Redis has."""
        ledger = self._ledger
        ours = bool(ledger.epoch) and term.epoch in (ledger.epoch, b"")
        if ours and ledger.unconfirmed and term.written == ledger.fence and term.seq > ledger.seq:
            self._find_written()
        # Nobody has written since; where Redis has less than we remember, it has lost it.
        kept = ours and term.written <= ledger.fence and term.seq <= ledger.seq
        if not kept:
            # First: an attempt that breaks off behind it leaves a ledger that agrees, and the next one could not tell.
            self._close_upstream()
            self._read(term)
        # Before it is written, since the answer may be lost: what we find next time is then not taken for another's.
        ledger.fence = term.fence
        self._write_snapshot(begins=True)

    def _find_written(self) -> None:
        """Of what is unconfirmed some was written, and only the answers were lost: see how much."""
        ledger = self._ledger
        for entries in self._writer.read_entries(ledger.last_id):
            ledger.replay(entries)
            for batch in ledger.confirm_replayed():  # at once: the connection may break before the next part
                self._count(batch)

    def _read(self, term: Term) -> None:
        """Take over what Redis has, as a reader does."""
        ledger = self._ledger
        ledger.forget()
        found = self._writer.read_snapshot()
        after = b"0-0"
        if found is not None:
            place, store = found
            try:
                ledger.restore(place, store)
                after = place.id
            except MalformedMessage as error:
                self._log(logging.ERROR, "the snapshot cannot be understood", reason=error.reason)
        for entries in self._writer.read_entries(after):
            ledger.replay(entries)
            if time.monotonic() >= self._writer.lease.renew_at:
                self._renew()
        ledger.seq = max(ledger.seq, term.seq)
        ledger.epoch = ledger.epoch or term.epoch or secrets.token_hex(8).encode()

    def _last_written(self, term: Term) -> datetime | None:
        """When the last entry was written; ``None`` where there never was one."""
        if not self._ledger.seq:
            return None
        milliseconds = term.id.partition(b"-")[0]
        # The number without an entry: Redis has lost it. The newest log is the next best, or this moment.
        return at_of(milliseconds) if int(milliseconds) else self._ledger.store.newest_timestamp() or datetime.now(UTC)

    def _follow(self, since: datetime | None) -> None:
        """Connect upstream; what was missed since is asked for when the connection stands."""
        self._order.begin(since=since)
        self._upstream = Upstream(self._settings.upstream, self.max_pending_events, self._settings.linger)
        self._upstream.connect()

    def _put_in_order(self, upstream: Upstream, items: list[Item]) -> None:
        order, now = self._order, datetime.now(UTC)
        for item in items:
            if isinstance(item, Connected):
                self._log(logging.INFO, "following", feed=self._feed_url)
                timeout = self._settings.upstream.backfill_timeout
                if upstream.can_poll:
                    order.hold(until=time.monotonic() + timeout)
                    upstream.backfill(self._ledger.store.newest_timestamp(), timeout)
                else:
                    order.release(now=now)
            elif isinstance(item, Backfill):
                order.fill(item.events, complete=item.complete, now=now)
            else:
                order.add(item, now=now)
        order.release_if_due(time.monotonic(), now=now)

    def _publish(self) -> None:
        ready, writer = self._order.ready, self._writer
        while ready:
            batch = self._ledger.admit(ready)
            if batch is None:
                continue
            if not writer.can_send:
                self._append(batch)
            else:
                writer.send(batch)
                if writer.on_the_way > 1:  # one stays with Redis while the next is made
                    self._committed(writer.confirm())
            if batch.last - self._snapshot_at >= self._settings.snapshot_every:
                self._confirm_all()
                self._write_snapshot()
        self._confirm_all()

    def _confirm_all(self) -> None:
        while self._writer.on_the_way:
            self._committed(self._writer.confirm())

    def _append(self, batch: Batch) -> None:
        self._committed(self._writer.append(batch))

    def _committed(self, last_id: bytes) -> None:
        self._count(self._ledger.commit(self._writer.fence, last_id))
        self._beat_at = time.monotonic() + self._settings.beat_interval

    def _count(self, batch: Batch) -> None:
        counts = self._counts
        counts["batches"] += 1
        counts["appended"] += len(batch.events)
        counts["bytes"] += sum(len(body) for _, body in batch.entries)
        if len(batch.events) < len(batch.entries):
            counts["gaps"] += sum(kind == GAP for kind, _ in batch.entries)
            counts["beats"] += sum(kind == BEAT for kind, _ in batch.entries)

    def _beat(self, upstream: Upstream) -> None:
        # Not before a gap is told: for a relay that takes over, it begins with the last entry.
        if upstream.client.is_connected and self._order.since is None:
            self._append(self._ledger.beat())
        self._beat_at = time.monotonic() + self._settings.beat_interval

    def _renew(self) -> None:
        self._writer.renew()
        self._counts["renewals"] += 1

    def _write_snapshot(self, *, begins: bool = False) -> None:
        ledger = self._ledger
        self._writer.write_snapshot(ledger.seq, ledger.epoch, ledger.snapshot(), begins=begins)
        self._snapshot_at = ledger.seq
        self._counts["snapshots"] += 1

    def _step_down(self) -> None:
        """The feed is out of reach from here: let others try for a while."""
        upstream = self._upstream
        assert upstream is not None
        status = upstream.client.status
        pause = 2 * self._settings.lease
        if status.state is ConnectionState.FAILED:  # it refuses us: no relay may ask more often than a client would
            pause = max(pause, self._settings.upstream.fatal_retry_delay)
        with self._changed:
            self._error = str(status.last_error)
        self._log(logging.WARNING, "the feed is out of reach; giving the lease back", error=self._error, retry_in=pause)
        self._publish()
        self._write_snapshot()
        self._writer.release()
        self._close_upstream()
        self._enter(RelayState.STANDBY)
        self._pause(pause)

    def _leave(self) -> None:
        """A graceful end: what was received is appended, the lease given back."""
        upstream = self._upstream
        if upstream is None:
            return
        if not self._writer.connected or not self._writer.lease.left(time.monotonic()):
            if discarded := self._unwritten(upstream):
                self._log(logging.WARNING, "not appended at the end", discarded=discarded)
            return
        try:
            deadline = time.monotonic() + LEAVING
            while (upstream.waiting or self._order.holds) and time.monotonic() < deadline:
                if time.monotonic() >= self._writer.lease.renew_at:
                    self._renew()
                self._put_in_order(upstream, upstream.backlog.take(BATCH, 0.02))
                self._publish()
            # What still waits for the past is left to the next relay, which asks for it together with the past.
            self._publish()
            self._write_snapshot()
            self._writer.release()  # before the goodbye upstream, which may take longer than the lease
            self._log(logging.INFO, "lease given back", seq=self._ledger.seq)
        except LeaseLost as lost:
            self._log(logging.WARNING, "lease lost at the end", reason=str(lost))

    def _unwritten(self, upstream: Upstream) -> int:
        """How many events were received that Redis does not have, as far as we know."""
        sent = sum(len(batch.events) for batch in self._ledger.unconfirmed)
        return upstream.waiting + self._order.waiting + sent

    def _close_upstream(self) -> None:
        upstream = self._upstream
        self._order.begin(since=None)
        if upstream is not None:
            # Before it goes: whoever asks meanwhile shall see no less.
            self._high_water = max(self._high_water, upstream.backlog.high_water)
            self._upstream = None
            upstream.close(self._settings.lease * GOODBYE)

    def _pause(self, seconds: float) -> None:
        """Wait, unless there is something to stop for."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, seconds)

    def _enter(self, state: RelayState, *, well: bool = False) -> None:
        """Stand there from now on; ``well`` if what went wrong before is over."""
        with self._changed:
            self._state = state
            if well:
                self._error = None
            self._changed.notify_all()

    def _log(self, level: int, what: str, **facts: object) -> None:
        """One line for people, with the same as data for whoever collects logs: ``record.relay``."""
        words = " ".join(f"{name}={value}" for name, value in facts.items())
        logger.log(
            level,
            "[%s] %s%s",
            self.name,
            what,
            f" ({words})" if words else "",
            extra={"relay": {"name": self.name, "what": what, **facts}},
        )


_relays: weakref.WeakSet[Relay] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for relay in list(_relays):
        with contextlib.suppress(Exception):  # of what cannot be given back here nothing is used any more
            relay._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
