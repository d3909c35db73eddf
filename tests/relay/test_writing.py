"""What Redis itself refuses: the scripts, against a real server."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Callable, Iterator

import pytest

from realtime_client import ClientConfig
from realtime_client.relay.ledger import Batch
from realtime_client.relay.writer import Held, LeaseLost, LeaseRefused, StreamWriter, Term
from realtime_client.transports.callables import Callables
from realtime_client.transports.dialing import Dial
from realtime_client.transports.redis_wire import RedisWire
from tests.relay.servers import PATIENCE, RedisServer

Make = Callable[..., StreamWriter]


@pytest.fixture
def make_writer(url: str, nothing_is_left: None) -> Iterator[Make]:
    made: list[StreamWriter] = []

    def build(lease: float = 30.0, maxlen: int = 1000) -> StreamWriter:
        writer = StreamWriter(ClientConfig(url), lease=lease, maxlen=maxlen)
        writer.connect(lambda: False)
        made.append(writer)
        return writer

    yield build
    for writer in made:
        writer.disconnect()


def batch(after: int, *bodies: bytes) -> Batch:
    return Batch(after, tuple((b"event", body) for body in bodies), ())


def begin(writer: StreamWriter, seq: int = 0) -> Term:
    term = writer.acquire()
    assert isinstance(term, Term)
    writer.write_snapshot(seq, b"epoch", b"{}", begins=True)
    return term


def seqs(server: RedisServer, stream: str) -> list[int]:
    with server.client() as client:
        return [int(i.partition(b"-")[2]) for i, _ in client.xrange(f"realtime:{{{stream}}}:events")]


def test_entries_are_numbered_without_a_hole(make_writer: Make, redis_server: RedisServer, stream: str) -> None:
    writer = make_writer()
    assert begin(writer) == Term(fence=1, written=0, epoch=b"", seq=0, id=b"0-0")
    writer.append(batch(0, b"a", b"b"))
    last = writer.append(batch(2, b"c"))
    assert last.endswith(b"-3")
    assert seqs(redis_server, stream) == [1, 2, 3]
    with redis_server.client() as client:
        entries = client.xrange(f"realtime:{{{stream}}}:events")
    assert [fields for _, fields in entries][-1] == {b"event:1": b"c"}


def test_only_one_has_the_lease(make_writer: Make) -> None:
    one, two = make_writer(lease=20.0), make_writer()
    begin(one)
    held = two.acquire()
    assert isinstance(held, Held)
    assert 15 < held.wait <= 20
    with pytest.raises(LeaseLost):
        two.renew()
    one.release()
    assert isinstance(two.acquire(), Term)


def test_a_lease_without_an_end_gets_one(make_writer: Make, redis_server: RedisServer, stream: str) -> None:
    """Somebody has taken its end away by hand: nobody would ever take over from a relay that is killed."""
    one, two = make_writer(), make_writer(lease=20.0)
    begin(one)
    with redis_server.client() as client:
        client.persist(f"realtime:{{{stream}}}:lease")
        assert two.acquire() == Held(20.0)
        assert 0 < client.pttl(f"realtime:{{{stream}}}:lease") <= 20_000


def test_a_lease_that_was_granted_without_an_answer_is_granted_again(make_writer: Make) -> None:
    writer = make_writer()
    first, second = begin(writer), writer.acquire()
    assert isinstance(second, Term)
    assert (second.fence, second.written) == (first.fence + 1, first.fence)


def test_a_relay_whose_lease_is_over_is_refused(make_writer: Make, redis_server: RedisServer, stream: str) -> None:
    """It believes in its lease, as one that was stopped between the look at the clock and the write."""
    one, two = make_writer(lease=0.2), make_writer()
    begin(one)
    one.append(batch(0, b"a"))
    with redis_server.client() as client:
        client.delete(f"realtime:{{{stream}}}:lease")
    one.lease.granted(float("inf"))
    for refused in (
        lambda: one.append(batch(1, b"x")),
        lambda: one.write_snapshot(1, b"epoch", b"{}", begins=False),
    ):
        one.lease.granted(float("inf"))
        with pytest.raises(LeaseRefused, match="lease"):
            refused()
    begin(two, seq=1)
    two.append(batch(1, b"b"))
    one.lease.granted(float("inf"))
    with pytest.raises(LeaseRefused, match="lease"):
        one.append(batch(1, b"x"))
    with pytest.raises(LeaseLost):
        one.renew()
    assert seqs(redis_server, stream) == [1, 2]


def test_a_fencing_number_that_is_outgrown_is_refused(
    make_writer: Make, redis_server: RedisServer, stream: str
) -> None:
    """The lease alone is not enough: it might be ours again under a later number."""
    writer = make_writer()
    begin(writer)
    with redis_server.client() as client:
        client.hset(f"realtime:{{{stream}}}:state", "fence", 2)
    with pytest.raises(LeaseRefused, match="fence"):
        writer.append(batch(0, b"x"))
    assert seqs(redis_server, stream) == []


def test_batches_on_the_way_are_answered_in_their_order(
    make_writer: Make, redis_server: RedisServer, stream: str
) -> None:
    writer = make_writer()
    begin(writer)
    before = writer.can_send
    writer.append(batch(0, b"a"))
    assert (before, writer.can_send) == (False, True)
    writer.send(batch(1, b"b"))
    writer.send(batch(2, b"c", b"d"))
    assert writer.on_the_way == 2
    assert [writer.confirm().rpartition(b"-")[2] for _ in range(2)] == [b"2", b"4"]
    writer.send(batch(9, b"x"))
    writer.send(batch(10, b"x"))
    with pytest.raises(LeaseRefused, match="seq"):
        writer.confirm()
    assert writer.on_the_way == 0
    assert seqs(redis_server, stream) == [1, 2, 3, 4]


def test_a_batch_is_not_written_twice(make_writer: Make, redis_server: RedisServer, stream: str) -> None:
    writer = make_writer()
    begin(writer)
    writer.append(batch(0, b"a", b"b"))
    with pytest.raises(LeaseRefused, match="seq"):
        writer.append(batch(0, b"a", b"b"))
    writer.lease.granted(float("inf"))
    with pytest.raises(LeaseRefused, match="seq"):
        writer.write_snapshot(1, b"epoch", b"{}", begins=False)
    assert seqs(redis_server, stream) == [1, 2]


def test_nothing_is_written_near_the_end_of_the_lease(make_writer: Make) -> None:
    writer = make_writer()
    begin(writer)
    writer.lease.granted(writer.lease.since - 0.81 * 30)
    with pytest.raises(LeaseLost, match="nearly over"):
        writer.append(batch(0, b"x"))


def test_numbers_go_on_where_redis_has_less_than_the_relay(
    make_writer: Make, redis_server: RedisServer, stream: str
) -> None:
    writer = make_writer()
    begin(writer, seq=41)
    writer.append(batch(41, b"a"))
    assert seqs(redis_server, stream) == [42]


def test_ids_go_on_behind_what_others_have_added(make_writer: Make, redis_server: RedisServer, stream: str) -> None:
    with redis_server.client() as client:
        client.xadd(f"realtime:{{{stream}}}:events", {"a": "b"}, id="99999999999999-7")
    writer = make_writer()
    begin(writer)
    assert writer.append(batch(0, b"a")) == b"100000000000000-1"


def test_the_stream_is_capped(make_writer: Make, redis_server: RedisServer, stream: str) -> None:
    writer = make_writer(maxlen=1000)
    begin(writer)
    for after in range(0, 5000, 500):
        writer.append(batch(after, *[b"x"] * 500))
    kept = seqs(redis_server, stream)
    assert 1000 <= len(kept) < 1300
    assert kept[-1] == 5000


def test_a_script_that_redis_has_forgotten_is_given_again(make_writer: Make, redis_server: RedisServer) -> None:
    writer = make_writer()
    begin(writer)
    with redis_server.client() as client:
        client.script_flush()
    writer.append(batch(0, b"a"))
    writer.renew()


def test_the_finaliser_of_a_connection_takes_no_lock(
    url: str, nothing_is_left: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Garbage is collected anywhere, also under the store's lock; and a dial's close takes its own."""
    wire = RedisWire(ClientConfig(url), Callables("test"))
    wire.open(time.monotonic() + PATIENCE)
    wire.release()
    collected = weakref.ref(wire._connection)
    closed: list[Dial] = []

    def close(dial: Dial) -> None:
        closed.append(dial)

    monkeypatch.setattr(Dial, "close", close)
    del wire
    gc.collect()
    assert (collected(), closed) == (None, [])
