"""The relay's side of Redis: the scripts as calls, and the lease."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import msgspec

from realtime_client._core.relay_stream import NOWHERE, Entry, Place, Portion, read_entry
from realtime_client.config import ClientConfig
from realtime_client.errors import ConnectError, ConnectionLost
from realtime_client.relay import scripts
from realtime_client.relay.lease import Lease
from realtime_client.relay.ledger import Batch
from realtime_client.transports.callables import Callables
from realtime_client.transports.redis_wire import RedisWire, Script

__all__ = ["Held", "LeaseLost", "LeaseRefused", "StreamWriter", "Term"]


class LeaseLost(Exception):
    """The lease is over, or about to be, or another's: nothing may be written."""


class LeaseRefused(LeaseLost):
    """Redis refused to write."""


@attrs.frozen
class Held:
    """The lease is another relay's.

    Attributes:
        wait: Seconds until it ends, if that relay does not renew it.
    """

    wait: float


@attrs.frozen
class Term:
    """The lease is ours; what Redis has.

    Attributes:
        fence: Our fencing number.
        written: The fencing number of the last write, or 0.
        epoch: The history in Redis; empty where there is none.
        seq: The number of its last entry.
        id: The last entry's id.
    """

    fence: int
    written: int
    epoch: bytes
    seq: int
    id: bytes


class StreamWriter:
    """Everything that one relay asks of Redis, over one connection at a time. Used by the relay's thread alone.

    Args:
        config: Where Redis is.
        lease: Seconds.
        maxlen: About how many entries the stream keeps.

    Attributes:
        lease: The lease.
        highest_fence: The highest fencing number ever seen.
        on_the_way: Batches that were sent and not answered.
    """

    def __init__(self, config: ClientConfig, *, lease: float, maxlen: int) -> None:
        self._config = config
        self._maxlen = maxlen
        self._token = secrets.token_hex(16)
        self._callables = Callables(config.name)
        self._timeout = lease / 2
        self._fence = 0
        self._wire: RedisWire | None = None
        self._known = False
        self.lease: Lease = Lease(lease)
        self.highest_fence: int = 0
        self.on_the_way: int = 0

    @property
    def fence(self) -> int:
        """Our fencing number, of the present or the last term."""
        return self._fence

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._wire is not None

    def connect(self, stopping: Callable[[], bool]) -> None:
        """Connect; blocks. ``ConnectError`` if that fails or the relay is stopping."""
        self._wire = RedisWire(self._config, self._callables)
        if stopping():  # `abort` may have come when there was no connection to end yet
            raise ConnectError("the relay was stopped")
        self._wire.open(time.monotonic() + self._config.connect_timeout)

    def abort(self) -> None:
        """End the connection at once, from any thread."""
        wire = self._wire
        if wire is not None:
            wire.abort(ConnectionLost("the relay was stopped"))

    def disown(self) -> None:
        """In a forked child: give the descriptor back without a byte on the parent's connection."""
        if self._wire is not None:
            self._wire.disown()

    def disconnect(self) -> None:
        """Drop the connection, if any."""
        wire, self._wire = self._wire, None
        self._known, self.on_the_way = False, 0
        if wire is not None:
            wire.release()

    def acquire(self) -> Term | Held:
        """Ask for the lease."""
        asked_at = time.monotonic()
        keys = self._keys
        answer = self._run(
            scripts.ACQUIRE, [keys.lease, keys.state], [self._token, self._milliseconds, self.highest_fence]
        )
        if answer[0] == 0:
            self.highest_fence = max(self.highest_fence, int(answer[2] or 0))
            return Held(int(answer[1]) / 1000)
        _, fence, written, epoch, seq, last = answer
        self._fence = self.highest_fence = int(fence)
        self.lease.granted(asked_at)
        return Term(self._fence, int(written or 0), epoch or b"", int(seq or 0), last or NOWHERE)

    def renew(self) -> None:
        """Prolong the lease. `LeaseLost` if it is not ours any more."""
        asked_at = time.monotonic()
        if not self._run(scripts.RENEW, [self._keys.lease], [self._token, self._milliseconds]):
            self.lease.given_up()
            raise LeaseLost("the lease has run out")
        self.lease.granted(asked_at)

    def append(self, batch: Batch) -> bytes:
        """Append; returns the id of the last entry. `LeaseLost` if that may not be."""
        self._check_time()
        answer = self._run(scripts.APPEND, *self._appending(batch))
        self._check_answer(answer)
        self._known = True
        return bytes(answer[1])

    def send(self, batch: Batch) -> None:
        """Send a batch whose answer `confirm` will give, so that Redis works while the next one is made."""
        self._check_time()
        assert self._wire is not None
        self._wire.post(scripts.APPEND, *self._appending(batch), timeout=self._timeout)
        self.on_the_way += 1

    def confirm(self) -> bytes:
        """Wait for the answer to the oldest `send`; as `append`."""
        assert self._wire is not None
        answers = [self._wire.answer(timeout=self._timeout)]
        self.on_the_way -= 1
        if answers[0][0] != b"ok":
            # So are those that follow: their numbers do not fit.
            while self.on_the_way:
                self._wire.answer(timeout=self._timeout)
                self.on_the_way -= 1
        self._check_answer(answers[0])
        return bytes(answers[0][1])

    @property
    def can_send(self) -> bool:
        """Whether Redis knows the script, so that `send` may be used."""
        return self._known

    def _appending(self, batch: Batch) -> tuple[list[str], list[Any]]:
        keys = self._keys
        # As text, which JSON is: Redis's MessagePack is older than the format's bytes.
        entries = msgspec.msgpack.encode([part.decode() for entry in batch.entries for part in entry])
        return [keys.lease, keys.state, keys.events], [self._token, self._fence, batch.after, self._maxlen, entries]

    def write_snapshot(self, seq: int, epoch: bytes, store: bytes, *, begins: bool) -> None:
        """Replace the snapshot. `LeaseLost` if that may not be."""
        self._check_time()
        keys = self._keys
        answer = self._run(
            scripts.SNAPSHOT,
            [keys.lease, keys.state, keys.events, keys.snapshot],
            [self._token, self._fence, seq, epoch, store, int(begins)],
        )
        self._check_answer(answer)

    def release(self) -> None:
        """Give the lease back."""
        self.lease.given_up()
        self._run(scripts.RELEASE, [self._keys.lease], [self._token])

    def read_snapshot(self) -> tuple[Place, bytes] | None:
        """The snapshot, and its place in the stream."""
        answer = self._ask("HMGET", self._keys.snapshot, "epoch", "seq", "fence", "id", "store")
        if None in answer:
            return None
        epoch, seq, fence, entry_id, store = answer
        return Place(epoch, int(seq), int(fence), entry_id, entry_id), store

    def read_entries(self, after: bytes) -> Iterator[list[Entry]]:
        """What the stream has behind an entry, in parts."""
        portion = Portion()
        while answer := self._ask("XREAD", "COUNT", portion.count, "STREAMS", self._keys.events, after):
            raw = answer[0][1]
            portion.learn(raw)
            yield [entry for item in raw if (entry := read_entry(item)) is not None]
            after = raw[-1][0]

    @property
    def _keys(self) -> Any:
        assert self._wire is not None
        return self._wire.keys

    @property
    def _milliseconds(self) -> int:
        return max(1, int(self.lease.duration * 1000))

    def _ask(self, *command: Any) -> Any:
        assert self._wire is not None
        return self._wire.ask(*command, timeout=self._timeout)

    def _run(self, script: Script, keys: list[str], arguments: list[Any]) -> Any:
        assert self._wire is not None
        return self._wire.run(script, keys, arguments, timeout=self._timeout)

    def _check_time(self) -> None:
        # The clock alone would not be safe (this process may be stopped behind this line): the script looks as well.
        if not self.lease.left(time.monotonic()):
            raise LeaseLost("the lease is nearly over")

    def _check_answer(self, answer: list[bytes]) -> None:
        if answer[0] != b"ok":
            self.lease.given_up()
            raise LeaseRefused(f"refused by Redis: the {answer[0].decode()} is not ours")
