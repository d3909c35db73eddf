"""The frame reader against an independent implementation, wsproto."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto import events as theirs
from wsproto.connection import Connection, ConnectionType

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

# wsproto judges a header only when all of it, and a fragment's opcode only when a byte of its payload has come;
# these zeros let it finish. They break the protocol themselves (a continuation), for both alike.
PADDING = bytes(32)
# Exception 1: wsproto does not know close code 1014, which IANA has registered; streams get the one before.
BAD_GATEWAY = struct.pack("!H", 1014)
TRY_AGAIN_LATER = struct.pack("!H", 1013)
# Exception 2: wsproto notices a surrogate (which begins with this byte in UTF-8) one byte later, and may read
# something else before that byte comes.
SURROGATE = 0xED


def read_with_wsproto(pieces: list[bytes]) -> list[Item]:
    """What wsproto reads up to the first close or violation; a violation has its code only."""
    connection = Connection(ConnectionType.CLIENT)
    items: list[Item] = []
    for item in _items_of(connection, pieces):
        items.append(item)
        if isinstance(item, (Close, Violation)):
            break
    return items


def _items_of(connection: Connection, pieces: list[bytes]) -> Iterator[Item]:
    text: list[str] = []
    binary: list[bytes] = []
    for piece in pieces:
        connection.receive_data(piece)
        for event in connection.events():
            match event:
                case theirs.Ping(payload=payload):
                    yield Ping(bytes(payload))
                case theirs.Pong(payload=payload):
                    yield Pong(bytes(payload))
                case theirs.CloseConnection(code=code, reason=reason):
                    if connection.state.name == "REMOTE_CLOSING":
                        yield Close(int(code), reason or "")
                    else:
                        yield Violation(int(code), "")
                case theirs.TextMessage(data=data):
                    text.append(data)
                    if event.message_finished:
                        yield "".join(text)
                        text.clear()
                case theirs.BytesMessage(data=data):
                    binary.append(bytes(data))
                    if event.message_finished:
                        yield b"".join(binary)
                        binary.clear()


def read(pieces: list[bytes]) -> list[Item]:
    """What our reader reads; a violation is reduced to its code."""
    reader = FrameReader(max_message_bytes=1 << 62)
    items = [item for piece in pieces for item in reader.feed(piece)]
    return [Violation(item.code, "") if isinstance(item, Violation) else item for item in items]


sizes = st.sampled_from([0, 1, 2, 5, 124, 125, 126, 127, 300, 65535, 65536])
control_payloads = st.binary(max_size=20) | st.just(bytes(125))
texts = st.text(max_size=40) | sizes.map(lambda size: "é" * (size // 2))
binaries = st.binary(max_size=40) | sizes.map(bytes)
close_codes = st.sampled_from([1000, 1001, 1003, 1007, 1011, 1013, 3000, 4999])


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """The frames of one message: any fragments, control frames in between."""
    if draw(st.booleans()):
        opcode, payload = TEXT, draw(texts).encode()
    else:
        opcode, payload = BINARY, draw(binaries)
    cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=4)))
    frames = []
    for start, stop in zip([0, *cuts], [*cuts, len(payload)], strict=True):
        frames.append(encode_frame(opcode, payload[start:stop], fin=False))
        frames += [encode_frame(kind, body) for kind, body in draw(controls)]
        opcode = CONTINUATION
    # The last data frame is the one that ends the message.
    last = max(i for i, frame in enumerate(frames) if frame[0] & 0x0F < CLOSE)
    frames[last] = bytes([frames[last][0] | 0x80]) + frames[last][1:]
    return b"".join(frames)


controls = st.lists(st.tuples(st.sampled_from([PING, PONG]), control_payloads), max_size=2)
closes = st.builds(close_payload, close_codes, st.text(max_size=20)) | st.just(b"")
streams = st.builds(
    lambda parts, close: b"".join(parts) + close,
    st.lists(messages(), max_size=5),
    st.just(b"") | closes.map(lambda payload: encode_frame(CLOSE, payload)),
)


@st.composite
def cut(draw: st.DrawFn, stream: bytes) -> list[bytes]:
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    return [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_valid_streams_read_alike(data: st.DataObject) -> None:
    stream = data.draw(streams)
    expected = read_with_wsproto([stream])
    assert not any(isinstance(item, Violation) for item in expected)
    assert read(data.draw(cut(stream))) == expected


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """A stream with some bytes changed, put in or taken out, preferably near its frames' headers."""
    stream = bytearray(draw(streams.filter(bool)))
    for _ in range(draw(st.integers(1, 3))):
        position = draw(st.integers(0, min(len(stream) - 1, 200)) | st.integers(0, len(stream) - 1))
        match draw(st.sampled_from(["flip", "set", "insert", "delete"])):
            case "flip":
                stream[position] ^= 1 << draw(st.integers(0, 7))
            case "set":
                stream[position] = draw(st.integers(0, 255))
            case "insert":
                stream[position:position] = draw(st.binary(min_size=1, max_size=4))
            case _ if len(stream) > 1:
                del stream[position]
            case _:
                pass
    return bytes(stream)


raw_frames = st.builds(
    lambda opcode, payload, fin, rsv: encode_frame(opcode, payload, fin=fin, rsv=rsv),
    st.sampled_from([CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG]) | st.integers(0, 15),
    st.binary(max_size=10) | st.text(max_size=5).map(str.encode) | st.just(bytes(126)),
    st.integers(0, 9).map(bool),
    st.integers(0, 9).map(lambda n: max(0, n - 8)),
)
odd_closes = st.builds(
    lambda code, reason: encode_frame(CLOSE, struct.pack("!H", code) + reason),
    st.sampled_from([0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 3000, 4999, 5000]) | st.integers(0, 65535),
    st.binary(max_size=3),
)
odd_lengths = st.builds(
    lambda opcode, length: struct.pack("!BBH", 0x80 | opcode, 126, length) + bytes(200),
    st.sampled_from([TEXT, BINARY]),
    st.integers(120, 130),
) | st.builds(
    lambda opcode, length: struct.pack("!BBQ", 0x80 | opcode, 127, length) + bytes(200),
    st.sampled_from([TEXT, BINARY]),
    st.sampled_from([0, 125, 65535, 65536, 1 << 61, 1 << 63]),
)
odd_frames = raw_frames | odd_closes | odd_lengths | st.just(encode_frame(CLOSE, b"\x03"))
any_streams = broken() | st.lists(odd_frames, max_size=8).map(b"".join) | st.binary(max_size=40)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_broken_streams_fail_alike(data: st.DataObject) -> None:
    stream = data.draw(any_streams).replace(BAD_GATEWAY, TRY_AGAIN_LATER) + PADDING
    ours = read(data.draw(cut(stream)))
    expected = read_with_wsproto([stream])
    if SURROGATE in stream and ours[-1:] == [Violation(1007, "")]:
        ours.pop()
        expected = expected[: len(ours)]
    assert ours == expected
