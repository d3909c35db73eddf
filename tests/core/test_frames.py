"""Each rule of RFC 6455 as a case, and every way to cut a stream."""

from __future__ import annotations

import struct
import tracemalloc

import pytest
from websocket import ABNF

from realtime_client._core.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Close,
    FrameReader,
    Item,
    Ping,
    Pong,
    Violation,
    close_payload,
    encode_frame,
)

LIMIT = 1 << 20


def read(*pieces: bytes, limit: int = LIMIT, expect_masked: bool = False) -> list[Item]:
    reader = FrameReader(max_message_bytes=limit, expect_masked=expect_masked)
    return [item for piece in pieces for item in reader.feed(piece)]


def in_bytes(stream: bytes) -> list[bytes]:
    return [stream[i : i + 1] for i in range(len(stream))]


def masked(opcode: int, payload: bytes, *, fin: int = 1) -> bytes:
    frame = ABNF(fin, 0, 0, 0, opcode, 1, payload)
    formatted: bytes = frame.format()
    return formatted


def violation(*pieces: bytes, limit: int = LIMIT, expect_masked: bool = False) -> Violation:
    items = read(*pieces, limit=limit, expect_masked=expect_masked)
    assert len(items) == 1, items
    assert isinstance(items[0], Violation)
    return items[0]


# Messages


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 300, 65535, 65536, 70000])
def test_a_message_of_each_length_encoding(size: int) -> None:
    text = "x" * size
    assert read(encode_frame(TEXT, text.encode())) == [text]
    assert read(encode_frame(BINARY, text.encode())) == [text.encode()]


@pytest.mark.parametrize("size", [0, 1, 2, 124, 125, 126, 127, 255, 256, 257, 350, 65534, 65535, 65536])
def test_messages_of_each_length_encoding_follow_each_other_in_one_read(size: int) -> None:
    texts = [letter * size for letter in "abc"] + ["end"]
    assert read(b"".join(encode_frame(TEXT, text.encode()) for text in texts)) == texts


def test_messages_keep_their_order_and_kind() -> None:
    stream = (
        encode_frame(TEXT, b"one")
        + encode_frame(BINARY, b"two")
        + encode_frame(PING, b"three")
        + encode_frame(TEXT, "vier €".encode())
        + encode_frame(PONG, b"")
        + encode_frame(TEXT, b"")
    )
    assert read(stream) == ["one", b"two", Ping(b"three"), "vier €", Pong(b""), ""]


def test_binary_messages_are_bytes_and_text_is_str() -> None:
    text, binary = read(encode_frame(TEXT, b"a") + encode_frame(BINARY, b"a"))
    assert type(text) is str
    assert type(binary) is bytes


def test_fragments_make_one_message_with_control_frames_in_between() -> None:
    stream = (
        encode_frame(TEXT, b"a", fin=False)
        + encode_frame(PING, b"p")
        + encode_frame(CONTINUATION, b"", fin=False)
        + encode_frame(PONG, b"q")
        + encode_frame(CONTINUATION, b"b")
        + encode_frame(BINARY, b"", fin=False)
        + encode_frame(CONTINUATION, b"")
    )
    assert read(stream) == [Ping(b"p"), Pong(b"q"), "ab", b""]


def test_a_character_may_be_cut_by_fragments() -> None:
    euro = "€".encode()
    stream = (
        encode_frame(TEXT, euro[:1], fin=False)
        + encode_frame(PING, b"")
        + encode_frame(CONTINUATION, euro[1:2], fin=False)
        + encode_frame(CONTINUATION, euro[2:])
    )
    assert read(stream) == [Ping(b""), "€"]


def test_a_message_is_returned_with_the_byte_that_completes_it() -> None:
    reader = FrameReader(max_message_bytes=LIMIT)
    frame = encode_frame(TEXT, b"x" * 300)
    assert reader.feed(frame[:-1]) == []
    assert reader.feed(frame[-1:]) == ["x" * 300]
    assert reader.feed(frame) == ["x" * 300]


def test_nothing_fed_is_nothing_read() -> None:
    reader = FrameReader(max_message_bytes=LIMIT)
    assert reader.feed(b"") == []
    assert reader.feed(b"\x81") == []
    assert reader.feed(b"") == []
    assert reader.feed(b"\x00") == [""]


# Cuts

STREAM = (
    encode_frame(TEXT, "grün".encode())
    + encode_frame(BINARY, b"\x00\xff" * 70)
    + encode_frame(TEXT, "€".encode()[:2], fin=False)
    + encode_frame(PING, b"ping")
    + encode_frame(CONTINUATION, "€𝄞".encode()[2:5], fin=False)
    + encode_frame(CONTINUATION, "𝄞".encode()[2:])
    + encode_frame(PONG, b"")
    + encode_frame(TEXT, b"")
    + encode_frame(TEXT, b"x" * 130)
    + encode_frame(CLOSE, close_payload(1001, "going, à bientôt"))
)
STREAM_ITEMS: list[Item] = [
    "grün",
    b"\x00\xff" * 70,
    Ping(b"ping"),
    "€𝄞",
    Pong(b""),
    "",
    "x" * 130,
    Close(1001, "going, à bientôt"),
]
MASKED_STREAM = (
    masked(TEXT, "grün".encode())
    + masked(BINARY, bytes(range(150)))
    + masked(TEXT, "€".encode()[:2], fin=0)
    + masked(PING, b"ping")
    + masked(CONTINUATION, "€".encode()[2:])
    + masked(TEXT, b"")
    + masked(CLOSE, close_payload(1000, "done"))
)
MASKED_ITEMS: list[Item] = ["grün", bytes(range(150)), Ping(b"ping"), "€", "", Close(1000, "done")]
BAD_TEXT = encode_frame(TEXT, b"ok") + encode_frame(TEXT, b"a\xe2", fin=False) + encode_frame(CONTINUATION, b"\x28bcd")
BAD_TEXT_ITEMS: list[Item] = ["ok", Violation(1007, "text is not UTF-8", b"a\xe2")]

streams = pytest.mark.parametrize(
    ("stream", "expect_masked", "items"),
    [
        pytest.param(STREAM, False, STREAM_ITEMS, id="server"),
        pytest.param(MASKED_STREAM, True, MASKED_ITEMS, id="client"),
        pytest.param(BAD_TEXT, False, BAD_TEXT_ITEMS, id="violation"),
    ],
)


@streams
def test_every_two_cuts_read_the_same(stream: bytes, expect_masked: bool, items: list[Item]) -> None:
    for first in range(len(stream) + 1):
        for second in range(first, len(stream) + 1):
            pieces = (stream[:first], stream[first:second], stream[second:])
            assert read(*pieces, expect_masked=expect_masked) == items, (first, second)


@streams
def test_byte_by_byte_reads_the_same(stream: bytes, expect_masked: bool, items: list[Item]) -> None:
    assert read(*in_bytes(stream), expect_masked=expect_masked) == items


# Close


@pytest.mark.parametrize("code", [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999])
def test_valid_close_codes(code: int) -> None:
    assert read(encode_frame(CLOSE, close_payload(code, "bye €"))) == [Close(code, "bye €")]


@pytest.mark.parametrize("code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
def test_invalid_close_codes(code: int) -> None:
    found = violation(encode_frame(CLOSE, struct.pack("!H", code) + b"bye"))
    assert found == Violation(1002, f"invalid close code {code}")


def test_a_close_without_a_code_is_1005() -> None:
    assert read(encode_frame(CLOSE, b"")) == [Close(1005, "")]


def test_a_close_of_one_byte_is_refused() -> None:
    assert violation(encode_frame(CLOSE, b"\x03")) == Violation(1002, "close frame of one byte")


def test_a_close_reason_that_is_not_utf8_is_refused() -> None:
    found = violation(encode_frame(CLOSE, struct.pack("!H", 1000) + b"\xff"))
    assert (found.code, found.payload) == (1007, b"\xff")


@pytest.mark.parametrize("end", [encode_frame(CLOSE, close_payload(1000)), encode_frame(CLOSE, b"\x03")])
def test_nothing_is_read_after_the_end(end: bytes) -> None:
    after = encode_frame(TEXT, b"late")
    reader = FrameReader(max_message_bytes=LIMIT)
    assert len(reader.feed(encode_frame(TEXT, b"in time") + end + after)) == 2
    assert reader.feed(after) == []
    assert reader.feed(b"\xff") == []


# What the protocol forbids


@pytest.mark.parametrize("rsv", range(1, 8))
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
def test_reserved_bits_are_refused(opcode: int, rsv: int) -> None:
    assert violation(encode_frame(opcode, b"", rsv=rsv)) == Violation(1002, "reserved bit set")


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_reserved_opcodes_are_refused(opcode: int) -> None:
    assert violation(encode_frame(opcode, b"")) == Violation(1002, f"reserved opcode {opcode}")


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_fragmented_control_frames_are_refused(opcode: int) -> None:
    assert violation(encode_frame(opcode, b"", fin=False)).code == 1002


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
@pytest.mark.parametrize("size", [126, 65536])
def test_long_control_frames_are_refused_at_the_header(opcode: int, size: int) -> None:
    assert violation(encode_frame(opcode, bytes(size))[:2]).code == 1002


def test_control_frames_of_125_bytes_are_read() -> None:
    assert read(encode_frame(PING, bytes(125))) == [Ping(bytes(125))]


@pytest.mark.parametrize("fin", [True, False])
def test_a_continuation_of_nothing_is_refused(fin: bool) -> None:
    assert violation(encode_frame(CONTINUATION, b"a", fin=fin)).code == 1002


def test_a_continuation_of_a_complete_message_is_refused() -> None:
    *items, last = read(encode_frame(TEXT, b"a") + encode_frame(CONTINUATION, b"b"))
    assert items == ["a"]
    assert isinstance(last, Violation)
    assert last.code == 1002


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_within_a_message_is_refused(opcode: int) -> None:
    stream = encode_frame(TEXT, b"a", fin=False) + encode_frame(opcode, b"another message")
    assert violation(stream).code == 1002


def test_a_payload_that_looks_like_a_frame_is_not_read_as_one() -> None:
    payload = encode_frame(TEXT, b"within") * 3
    frame = encode_frame(BINARY, payload)
    assert read(frame[:2], frame[2:]) == [payload]


@pytest.mark.parametrize(
    "header",
    [
        struct.pack("!BBH", 0x81, 126, 125),
        struct.pack("!BBH", 0x82, 126, 0),
        struct.pack("!BBQ", 0x81, 127, 65535),
        struct.pack("!BBQ", 0x82, 127, 5),
    ],
)
def test_a_length_that_is_not_the_shortest_is_refused(header: bytes) -> None:
    assert violation(header + bytes(200)) == Violation(1002, "length not in its shortest encoding")


def test_a_length_with_the_top_bit_set_is_refused() -> None:
    header = struct.pack("!BBQ", 0x82, 127, 1 << 63)
    assert violation(header) == Violation(1002, "length with the top bit set")


def test_masked_frames_from_a_server_are_refused() -> None:
    assert violation(masked(TEXT, b"a")) == Violation(1002, "masked frame from a server")


def test_unmasked_frames_from_a_client_are_refused() -> None:
    found = violation(encode_frame(TEXT, b"a"), expect_masked=True)
    assert found == Violation(1002, "unmasked frame from a client")


# Masks


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 125, 126, 65536])
def test_masked_messages_of_each_size(size: int) -> None:
    payload = bytes(i % 251 for i in range(size))
    assert read(masked(BINARY, payload), expect_masked=True) == [payload]


# Text


BAD_UTF8 = [
    pytest.param(b"ok\xff", b"", id="no character begins so"),
    pytest.param(b"\x80", b"", id="continuation byte alone"),
    pytest.param(b"\xc0", b"\xaf", id="overlong of two"),
    pytest.param(b"\xe0\x80", b"\xaf", id="overlong of three"),
    pytest.param(b"\xf0\x80", b"\x80\xaf", id="overlong of four"),
    pytest.param(b"\xed\xa0", b"\x80", id="surrogate"),
    pytest.param(b"\xf4\x90", b"\x80\x80", id="past U+10FFFF"),
    pytest.param(b"\xf5", b"\x80\x80\x80", id="past U+10FFFF by far"),
    pytest.param(b"\xe2\x28", b"", id="character broken off"),
]


@pytest.mark.parametrize(("begin", "rest"), BAD_UTF8)
def test_bad_text_is_refused_at_its_first_wrong_byte(begin: bytes, rest: bytes) -> None:
    """Neither the frame nor the message is complete when the wrong byte comes."""
    frame = encode_frame(TEXT, b"good " + begin + rest + b" more", fin=False)
    header = len(frame) - len(b"good " + begin + rest + b" more")
    before, wrong = header + 5 + len(begin) - 1, header + 5 + len(begin)
    reader = FrameReader(max_message_bytes=LIMIT)
    assert reader.feed(frame[:before]) == []
    (found,) = reader.feed(frame[before:wrong])
    assert isinstance(found, Violation)
    assert found.code == 1007


@pytest.mark.parametrize(("begin", "rest"), BAD_UTF8)
def test_bad_text_is_refused_in_a_whole_frame(begin: bytes, rest: bytes) -> None:
    *items, last = read(encode_frame(TEXT, b"before") + encode_frame(TEXT, begin + rest))
    assert items == ["before"]
    assert isinstance(last, Violation)
    assert last.code == 1007


@pytest.mark.parametrize(("begin", "rest"), BAD_UTF8)
@pytest.mark.parametrize("fin", [True, False])
def test_bad_text_reads_the_same_however_it_is_cut(begin: bytes, rest: bytes, fin: bool) -> None:
    for payload in (b"good " + begin, b"good " + begin + rest, "€".encode() + begin + rest + b" more"):
        stream = encode_frame(TEXT, payload, fin=fin)
        whole = violation(stream)
        assert whole.code == 1007
        assert payload.startswith(whole.payload)
        for at in range(len(stream)):
            assert violation(stream[:at], stream[at:]) == whole
        assert violation(*in_bytes(stream)) == whole


@pytest.mark.parametrize("text", ["\ud7ff", "\ue000", "\uffff", "\U0010ffff", "\x00", "\x7f", "\x80", "\u07ff"])
def test_characters_beside_the_forbidden_ones_are_read_however_they_are_cut(text: str) -> None:
    assert read(*in_bytes(encode_frame(TEXT, text.encode()))) == [text]


def test_text_that_ends_inside_a_character_is_refused() -> None:
    half = "€".encode()[:2]
    assert violation(encode_frame(TEXT, half)) == Violation(1007, "text is not UTF-8", half[:1])
    fragments = encode_frame(TEXT, half, fin=False) + encode_frame(CONTINUATION, b"")
    assert violation(fragments) == Violation(1007, "text is not UTF-8", half[:1])


def test_bad_text_shows_its_beginning_for_diagnosis() -> None:
    assert violation(encode_frame(TEXT, b"abc\xffdef")).payload == b"abc\xff"
    assert violation(encode_frame(TEXT, b"x" * 5000 + b"\xff")).payload == b"x" * 1024


def test_binary_messages_may_hold_any_bytes() -> None:
    assert read(encode_frame(BINARY, b"\xff\xfe")) == [b"\xff\xfe"]


# Sizes


def test_a_message_of_exactly_the_limit_is_read() -> None:
    assert read(encode_frame(TEXT, b"x" * 200), limit=200) == ["x" * 200]
    fragments = encode_frame(TEXT, b"x" * 150, fin=False) + encode_frame(CONTINUATION, b"x" * 50)
    assert read(fragments, limit=200) == ["x" * 200]


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_over_the_limit_is_refused(opcode: int) -> None:
    found = violation(encode_frame(opcode, b"x" * 201), limit=200)
    assert found == Violation(1009, "message of 201 bytes, allowed are 200", size=201)


def test_fragments_over_the_limit_together_are_refused_at_the_header() -> None:
    fragments = encode_frame(BINARY, b"x" * 150, fin=False) + encode_frame(CONTINUATION, b"x" * 51)[:2]
    assert violation(fragments, limit=200).size == 201


def test_each_message_has_the_whole_limit() -> None:
    assert read(encode_frame(TEXT, b"x" * 200) * 3, limit=200) == ["x" * 200] * 3
    fragmented = encode_frame(BINARY, b"x" * 150, fin=False) + encode_frame(CONTINUATION, b"x" * 50)
    assert read(fragmented * 3, limit=200) == [b"x" * 200] * 3


def test_control_frames_do_not_count_towards_the_limit() -> None:
    stream = encode_frame(TEXT, b"ab", fin=False) + encode_frame(PING, bytes(125)) + encode_frame(CONTINUATION, b"")
    assert read(stream, limit=2) == [Ping(bytes(125)), "ab"]


def test_the_limit_is_judged_at_the_header() -> None:
    header = struct.pack("!BBQ", 0x82, 127, 1 << 40)
    tracemalloc.start()
    try:
        found = violation(header)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (found.code, found.size) == (1009, 1 << 40)
    assert peak < 100_000


def test_an_announced_size_takes_no_memory() -> None:
    header = struct.pack("!BBQ", 0x82, 127, 1 << 40)
    tracemalloc.start()
    try:
        reader = FrameReader(max_message_bytes=1 << 41)
        assert reader.feed(header + b"x" * 1000) == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000


def test_many_tiny_fragments_take_little_memory() -> None:
    count = 50_000
    fragment = encode_frame(CONTINUATION, b"x", fin=False)
    tracemalloc.start()
    try:
        reader = FrameReader(max_message_bytes=LIMIT)
        assert reader.feed(encode_frame(TEXT, b"", fin=False)) == []
        for _ in range(count // 500):
            assert reader.feed(fragment * 500) == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reader.feed(encode_frame(CONTINUATION, b"")) == ["x" * count]
    assert peak < 4 * count


def test_a_large_message_in_small_reads_is_not_copied_over_and_over() -> None:
    """What waits beside the message stays a header or a control frame, however long the message."""
    reader = FrameReader(max_message_bytes=LIMIT)
    frame = encode_frame(TEXT, b"x" * 500_000)
    copied = 0
    for start in range(0, len(frame) - 1, 1000):
        assert reader.feed(frame[start : min(start + 1000, len(frame) - 1)]) == []
        copied += len(reader._tail)
    assert copied == 0
    assert reader.feed(frame[-1:]) == ["x" * 500_000]


# Writing


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
@pytest.mark.parametrize("fin", [True, False])
def test_encode_frame_writes_what_another_library_writes(size: int, fin: bool) -> None:
    frame = ABNF(int(fin), 1, 0, 1, BINARY, 0, bytes(size))
    assert encode_frame(BINARY, bytes(size), fin=fin, rsv=0b101) == frame.format()


@pytest.mark.parametrize("opcode", [-1, 16])
def test_encode_frame_refuses_an_opcode_out_of_range(opcode: int) -> None:
    with pytest.raises(ValueError, match=f"opcode must be from 0 to 15, not {opcode}"):
        encode_frame(opcode, b"")


@pytest.mark.parametrize("rsv", [-1, 8])
def test_encode_frame_refuses_reserved_bits_out_of_range(rsv: int) -> None:
    with pytest.raises(ValueError, match=f"rsv must be from 0 to 7, not {rsv}"):
        encode_frame(TEXT, b"", rsv=rsv)


def test_close_payload_cuts_the_reason_at_a_character() -> None:
    assert close_payload(1000, "x" * 123) == b"\x03\xe8" + b"x" * 123
    assert close_payload(1000, "x" * 124) == b"\x03\xe8" + b"x" * 123
    assert close_payload(1000, "x" * 122 + "é") == b"\x03\xe8" + b"x" * 122
    assert close_payload(1000, "x" * 121 + "é!") == b"\x03\xe8" + b"x" * 121 + "é".encode()


def test_close_payload_without_a_code_or_with_odd_text() -> None:
    assert close_payload(1005) == b""
    assert close_payload(1000, "\udc80") == b"\x03\xe8?"


@pytest.mark.parametrize("code", [-1, 65536])
def test_close_payload_refuses_a_code_out_of_range(code: int) -> None:
    with pytest.raises(ValueError, match=f"code must be from 0 to 65535, not {code}"):
        close_payload(code)
