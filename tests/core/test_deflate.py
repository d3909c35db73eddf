"""permessage-deflate: the agreement, and inflating what an independent implementation has compressed."""

from __future__ import annotations

import itertools
import random
import tracemalloc
import zlib
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from realtime_client._core.deflate import (
    MAX_FINAL_BLOCKS,
    PIECE,
    Agreement,
    BrokenDeflateError,
    Inflate,
    read_agreement,
)
from realtime_client._core.frames import FrameReader, Violation, encode_frame
from realtime_client.errors import ConnectError

LIMIT = 1 << 16


def reader(*, window_bits: int = 15, takeover: bool = True, limit: int = LIMIT) -> FrameReader:
    return FrameReader(max_message_bytes=limit, inflate=Inflate(Agreement(window_bits, takeover)))


def compressed(texts: Sequence[str], *, window_bits: int = 15, takeover: bool = True) -> list[bytes]:
    """What the websockets library sends for these texts."""
    extension = PerMessageDeflate(False, not takeover, 15, window_bits)
    frames = [extension.encode(Frame(Opcode.TEXT, text.encode())) for text in texts]
    return [encode_frame(1, bytes(frame.data), rsv=4 if frame.rsv1 else 0) for frame in frames]


@pytest.mark.parametrize(
    ("values", "agreed"),
    [
        ([], None),
        ([""], None),
        (["permessage-deflate"], Agreement()),
        (["permessage-deflate; server_no_context_takeover"], Agreement(takeover=False)),
        (["permessage-deflate;server_max_window_bits=9 ; client_max_window_bits=15"], Agreement(window_bits=9)),
        (['permessage-deflate; server_max_window_bits="8"; client_no_context_takeover'], Agreement(window_bits=8)),
    ],
)
def test_read_agreement(values: list[str], agreed: Agreement | None) -> None:
    assert read_agreement(values) == agreed


@pytest.mark.parametrize(
    "values",
    [
        ["permessage-bzip2"],
        ["permessage-deflate, permessage-deflate"],
        ["permessage-deflate", "permessage-deflate"],
        ["permessage-deflate; server_max_window_bits"],
        ["permessage-deflate; server_max_window_bits=7"],
        ["permessage-deflate; server_max_window_bits=16"],
        ["permessage-deflate; server_max_window_bits=010"],
        ["permessage-deflate; server_no_context_takeover=1"],
        ["permessage-deflate; server_no_context_takeover; server_no_context_takeover"],
        ["permessage-deflate; speed=9"],
    ],
)
def test_read_agreement_refuses(values: list[str]) -> None:
    with pytest.raises(ConnectError):
        read_agreement(values)


@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("window_bits", [9, 10, 15])
def test_inflates_what_websockets_compressed(takeover: bool, window_bits: int) -> None:
    texts = [f"message {n} " * n for n in range(40)] + ["", "\U0001f600" * 500]
    stream = b"".join(compressed(texts, window_bits=window_bits, takeover=takeover))
    assert reader(window_bits=window_bits, takeover=takeover).feed(stream) == texts


@given(st.lists(st.text(max_size=300), max_size=6), st.integers(1, 40), st.booleans())
def test_any_cut_gives_the_same(texts: list[str], step: int, takeover: bool) -> None:
    stream = b"".join(compressed(texts, takeover=takeover))
    read = reader(takeover=takeover)
    assert [item for at in range(0, len(stream), step) for item in read.feed(stream[at : at + step])] == texts


def by_zlib(payloads: Sequence[bytes], *, takeover: bool) -> bytes:
    """Frames of text messages, be they UTF-8 or not."""
    frames, context = [], None
    for payload in payloads:
        if context is None or not takeover:
            context = zlib.compressobj(wbits=-15)
        data = context.compress(payload) + context.flush(zlib.Z_SYNC_FLUSH)
        frames.append(encode_frame(1, data.removesuffix(b"\x00\x00\xff\xff"), rsv=4))
    return b"".join(frames)


MANY = "".join(chr(33 + n * n % 900) for n in range(3 * PIECE // 4))
"""More than one piece, the end of the first within a character."""
payloads = st.one_of(
    st.text(max_size=300).map(str.encode),
    st.builds(
        lambda start, bad: start.encode() + bad, st.text(max_size=300), st.sampled_from([b"\xff", b"\xc3", b"\xed\xa0"])
    ),
    st.sampled_from([MANY.encode(), MANY.encode() + b"\xff", MANY[::2].encode() * 3]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(payloads, max_size=5), st.lists(st.integers(1, 2000), min_size=1, max_size=5), st.booleans())
def test_whole_frames_read_as_their_pieces_do(messages: list[bytes], steps: list[int], takeover: bool) -> None:
    stream = by_zlib(messages, takeover=takeover)
    whole, cut = reader(takeover=takeover, limit=4 * PIECE), reader(takeover=takeover, limit=4 * PIECE)
    items, at = [], 0
    for step in itertools.cycle(steps):
        items += cut.feed(stream[at : at + step])
        at += step
        if at >= len(stream):
            break
    assert whole.feed(stream) == items
    valid = list(itertools.takewhile(is_utf_8, messages))
    assert items[: len(valid)] == [message.decode() for message in valid]
    assert [item.code for item in items[len(valid) :] if isinstance(item, Violation)] == [1007] * (valid != messages)


def is_utf_8(data: bytes) -> bool:
    try:
        return data.decode() is not None
    except UnicodeDecodeError:
        return False


@pytest.mark.parametrize("size", [PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 1])
@pytest.mark.parametrize("room", [0, 1, PIECE])
def test_messages_of_about_a_piece_are_whole(size: int, room: int) -> None:
    text = MANY.encode()[: size - 1].decode(errors="ignore")
    text += "." * (size - len(text.encode()))
    read = reader(limit=size + room)
    assert read.feed(by_zlib([text.encode()] * 2, takeover=True)) == [text] * 2
    (violation,) = reader(limit=size - 1).feed(by_zlib([text.encode()], takeover=True))
    assert isinstance(violation, Violation)
    assert (violation.code, violation.size) == (1009, size)


def test_a_window_of_eight_bits_takes_what_zlib_makes_for_it() -> None:
    """zlib has no raw deflate of eight bits; servers that agree to eight use nine, of which it looks back 250 bytes."""
    text = "".join(map(chr, random.Random(1).choices(range(33, 127), k=120)))
    context = zlib.compressobj(wbits=-9)
    frames = [context.compress(text.encode()) + context.flush(zlib.Z_SYNC_FLUSH) for _ in range(3)]
    assert len(frames[1]) < 20  # it refers to the message before
    assert reader(window_bits=8).feed(b"".join(encode_frame(1, frame[:-4], rsv=4) for frame in frames)) == [text] * 3


@pytest.mark.parametrize("room", [0, 1, 100, LIMIT - 1, LIMIT, 3 * LIMIT])
def test_no_more_than_one_byte_beyond_the_room_comes_out_whoever_asks(room: int) -> None:
    """One, so that the caller sees that it is too much; and no more, though he may go on asking."""
    context = zlib.compressobj(wbits=-15)
    bomb = context.compress(bytes(10 * LIMIT)) + context.flush(zlib.Z_SYNC_FLUSH)
    pieces = list(Inflate(Agreement()).inflate(bomb, room, last=False))
    assert sum(map(len, pieces)) == room + 1
    assert max(map(len, pieces)) <= LIMIT


def test_fragments_of_one_compressed_message() -> None:
    payload = compressed(["fragmented " * 50])[0][2:]
    frames = [encode_frame(1, payload[:5], fin=False, rsv=4), encode_frame(9, b"p"), encode_frame(0, payload[5:])]
    items = reader().feed(b"".join(frames))
    assert items[1:] == ["fragmented " * 50]


def test_compressed_and_plain_messages_mix() -> None:
    stream = compressed(["a" * 100])[0] + encode_frame(1, b"plain") + encode_frame(2, b"\x00bin")
    assert reader().feed(stream) == ["a" * 100, "plain", b"\x00bin"]


def test_a_final_deflate_block_begins_the_context_afresh() -> None:
    """RFC 7692 section 7.2.3.4."""

    def final(text: bytes) -> bytes:
        context = zlib.compressobj(wbits=-15)
        return encode_frame(1, context.compress(text) + context.flush() + b"\x00", rsv=4)

    assert reader().feed(final(b"Hello") + final(b"Hello again")) == ["Hello", "Hello again"]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (encode_frame(1, b"\xff\xff\xff", rsv=4), 1002),  # no deflate data
        (encode_frame(9, b"", rsv=4), 1002),  # a control frame is never compressed
        (encode_frame(1, b"a", fin=False) + encode_frame(0, b"b", rsv=4), 1002),  # only the first frame says so
        (encode_frame(1, b"", rsv=2), 1002),
    ],
)
def test_refuses(frame: bytes, code: int) -> None:
    (violation,) = reader().feed(frame)
    assert isinstance(violation, Violation)
    assert violation.code == code


def test_refuses_invalid_utf_8_inside_compressed_text() -> None:
    context = zlib.compressobj(wbits=-15)
    data = context.compress(b"ok \xff") + context.flush(zlib.Z_SYNC_FLUSH)
    (violation,) = reader().feed(encode_frame(1, data[:-4], rsv=4))
    assert isinstance(violation, Violation)
    assert violation.code == 1007


def test_without_an_agreement_a_compressed_frame_is_refused() -> None:
    (violation,) = FrameReader(max_message_bytes=LIMIT).feed(compressed(["text"])[0])
    assert isinstance(violation, Violation)
    assert violation.code == 1002


def test_a_bomb_is_refused_at_the_limit_and_not_after() -> None:
    context = zlib.compressobj(9, wbits=-15)
    bomb = context.compress(bytes(64 * 1024 * 1024)) + context.flush(zlib.Z_SYNC_FLUSH)
    frame = encode_frame(2, bomb[:-4], rsv=4)
    read = reader(limit=70_000)
    tracemalloc.start()
    try:
        (violation,) = read.feed(frame)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(violation, Violation)
    assert violation.code == 1009
    assert peak < 1_000_000


def test_a_bomb_takes_hardly_more_than_a_large_limit() -> None:
    context = zlib.compressobj(9, wbits=-15)
    bomb = context.compress(bytes(64 * 1024 * 1024)) + context.flush(zlib.Z_SYNC_FLUSH)
    limit = 32 * 1024 * 1024
    read = reader(limit=limit)
    tracemalloc.start()
    try:
        (violation,) = read.feed(encode_frame(2, bomb[:-4], rsv=4))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(violation, Violation)
    assert violation.code == 1009
    assert peak < limit + 16_000_000


def test_exactly_the_limit_is_allowed() -> None:
    text = "".join(chr(33 + n * n % 90) for n in range(5000))
    frame = compressed([text])[0]
    assert reader(limit=5000).feed(frame) == [text]
    (violation,) = reader(limit=4999).feed(frame)
    assert isinstance(violation, Violation)
    assert violation.code == 1009


def inflated(inflate: Inflate, data: bytes, room: int, *, last: bool) -> bytes:
    return b"".join(inflate.inflate(data, room, last=last))


def final_block(text: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(text) + compressor.flush()


@pytest.mark.parametrize("cut", range(30))
def test_a_message_of_several_final_blocks_is_whole_however_it_is_cut(cut: int) -> None:
    """RFC 7692 section 7.2.1: the next block follows, with padding between."""
    data = final_block(b"one, ") + final_block(b"two, ") + final_block(b"three") + b"\0"
    inflate = Inflate(Agreement())
    first = inflated(inflate, data[:cut], LIMIT, last=False)
    assert first + inflated(inflate, data[cut:], LIMIT, last=True) == b"one, two, three"
    assert inflated(inflate, final_block(b"next") + b"\0", LIMIT, last=True) == b"next"


def test_an_empty_last_fragment_after_a_final_block_spoils_no_later_message() -> None:
    inflate = Inflate(Agreement())
    assert inflated(inflate, final_block(b"x") + b"\0", LIMIT, last=False) == b"x"
    assert inflated(inflate, b"", LIMIT, last=True) == b""
    assert inflated(inflate, final_block(b"next") + b"\0", LIMIT, last=True) == b"next"


def test_a_message_of_nothing_but_final_blocks_is_refused_before_it_costs_seconds() -> None:
    inflate = Inflate(Agreement())
    for _ in range(3):  # counted for each message anew
        assert inflated(inflate, final_block(b"") * MAX_FINAL_BLOCKS, LIMIT, last=True) == b""
    assert inflated(inflate, final_block(b"") * MAX_FINAL_BLOCKS, LIMIT, last=False) == b""
    with pytest.raises(BrokenDeflateError, match="final blocks"):
        inflated(inflate, final_block(b"") * 1, LIMIT, last=False)
