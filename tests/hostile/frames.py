"""Hostile frames on an open connection (RFC 6455 section 5)."""

from __future__ import annotations

import itertools
import json
import random
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from realtime_client._core.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    close_payload,
    encode_frame,
)
from tests.hostile.case import (
    Act,
    Case,
    Expected,
    Speech,
    Step,
    Then,
    broken,
    deflating,
    event,
    lives,
    lost,
    not_utf8,
    upgrade,
)

INVALID_CLOSE_CODES = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
CLOSE_CODES = (1000, 1001, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999)
RESERVED_OPCODES = (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)


def case(name: str, group: str, *steps: Step, expected: Expected, **fields: Any) -> Case:
    """A case in which the server sends these between two good messages."""
    return Case(name=f"frames: {name}", group=group, speech=around(*steps), expected=expected, **fields)


def around(*steps: Step) -> Speech:
    return lambda asked: [upgrade(asked) + event("before"), *steps, event("after")]


def deflated(name: str, group: str, *steps: Step, expected: Expected, parameters: str = "") -> Case:
    """The same with compression agreed."""
    return Case(
        name=f"frames: {name}",
        group=group,
        speech=lambda asked: [deflating(asked, parameters) + event("before"), *steps, event("after")],
        expected=expected,
        deflates=True,
    )


def raw_frame(first: int, length: int, payload: bytes, *, size: int) -> bytes:
    """A frame whose length is written in 16 or 64 bits, as ``size`` says, whatever would be right."""
    extended = b"\x7e" + struct.pack("!H", length) if size == 16 else b"\x7f" + struct.pack("!Q", length)
    return bytes([first]) + extended + payload


def compressed(data: bytes, *, level: int = 9, context: Any = None) -> bytes:
    """A message's payload as RFC 7692 section 7.2.1 has it."""
    context = context or zlib.compressobj(level, zlib.DEFLATED, -15)
    return bytes((context.compress(data) + context.flush(zlib.Z_SYNC_FLUSH))[:-4])


def masking() -> Iterator[Case]:
    expected = broken("masked frame from a server")
    for name, first in {"text": 0x81, "an empty ping": 0x89, "a close": 0x88, "binary": 0x82}.items():
        yield case(f"{name}, masked", "masked", bytes([first, 0x80]) + bytes(4), expected=expected)
    yield case("text, masked and scrambled", "masked", b"\x81\x85\x01\x02\x03\x04hello", expected=expected)


def reserved() -> Iterator[Case]:
    expected = broken("reserved bit set")
    for rsv, name in {4: "RSV1", 2: "RSV2", 1: "RSV3", 7: "RSV1 to RSV3"}.items():
        yield case(f"{name} on text", "reserved bits", encode_frame(TEXT, b"x", rsv=rsv), expected=expected)
        yield case(f"{name} on a ping", "reserved bits", encode_frame(PING, b"", rsv=rsv), expected=expected)
    yield case("RSV1 on a close", "reserved bits", encode_frame(CLOSE, b"", rsv=4), expected=expected)
    yield deflated(
        "RSV1 on a ping, compression agreed", "reserved bits", encode_frame(PING, b"", rsv=4), expected=expected
    )
    yield deflated(
        "RSV1 on a continuation, compression agreed",
        "reserved bits",
        encode_frame(TEXT, b"", fin=False),
        encode_frame(CONTINUATION, b"", rsv=4),
        expected=expected,
    )
    yield deflated(
        "RSV2 on text, compression agreed", "reserved bits", encode_frame(TEXT, b"", rsv=2), expected=expected
    )
    for opcode in RESERVED_OPCODES:
        yield case(
            f"opcode {opcode}",
            "reserved opcodes",
            encode_frame(opcode, b""),
            expected=broken(f"reserved opcode {opcode}"),
        )


def control_frames() -> Iterator[Case]:
    for name, opcode in {"ping": PING, "pong": PONG, "close": CLOSE}.items():
        yield case(
            f"a fragmented {name}",
            "fragmented control frames",
            encode_frame(opcode, b"", fin=False),
            encode_frame(CONTINUATION, b""),
            expected=broken("fragmented control frame"),
        )
        yield case(
            f"a {name} of 126 bytes",
            "long control frames",
            encode_frame(opcode, b"\x03\xe8" + b"x" * 124),
            expected=broken("more than 125 bytes"),
        )
    yield case(
        "a ping of 70,000 bytes",
        "long control frames",
        encode_frame(PING, b"x" * 70_000),
        expected=broken("more than 125 bytes"),
    )
    yield case(
        "the header of a ping of 2^63 - 1 bytes",
        "long control frames",
        raw_frame(0x89, 2**63 - 1, b"", size=64),
        expected=broken("more than 125 bytes"),
        own=True,
    )


def fragments() -> Iterator[Case]:
    group = "fragments out of order"
    nothing, inside = "continuation without a message", "new message before the last fragment"
    yield case("a continuation of nothing", group, encode_frame(CONTINUATION, b"x"), expected=broken(nothing))
    yield case(
        "a continuation of nothing that does not end",
        group,
        encode_frame(CONTINUATION, b"", fin=False),
        expected=broken(nothing),
    )
    for name, opcode in {"text": TEXT, "binary": BINARY}.items():
        yield case(
            f"{name} inside a message",
            group,
            encode_frame(TEXT, b"{", fin=False),
            encode_frame(opcode, b"}"),
            expected=broken(inside),
        )
    text = json.dumps({"type": "system_alert", "data": {"message": "in pieces"}}).encode()
    yield case(
        "fragments with pings in between",
        group,
        encode_frame(TEXT, text[:9], fin=False),
        encode_frame(PING, b"p"),
        encode_frame(CONTINUATION, b"", fin=False),
        encode_frame(PONG, b""),
        encode_frame(CONTINUATION, text[9:]),
        expected=lives(),
    )


def lengths() -> Iterator[Case]:
    shortest = broken("not in its shortest encoding")
    for length, size in ((0, 16), (1, 16), (125, 16), (0, 64), (125, 64), (126, 64), (65_535, 64)):
        yield case(
            f"a length of {length} in {size} bits",
            "non-minimal lengths",
            raw_frame(0x81, length, b"x" * length, size=size),
            expected=shortest,
        )
    for name, length in {"the top bit": 1 << 63, "every bit": (1 << 64) - 1}.items():
        yield case(
            f"a length with {name} set",
            "over-large lengths",
            raw_frame(0x82, length, b"", size=64),
            expected=broken("top bit set"),
            own=True,
        )


def closes() -> Iterator[Case]:
    for code in INVALID_CLOSE_CODES:
        yield case(
            f"close code {code}",
            "invalid close codes",
            encode_frame(CLOSE, struct.pack("!H", code)),
            expected=broken(f"invalid close code {code}"),
        )
    yield case("a close of one byte", "one-byte close body", encode_frame(CLOSE, b"\x03"), expected=broken("one byte"))
    for name, reason in {
        "that is not UTF-8": b"\xff\xfe",
        "that ends inside a character": "€".encode()[:2],
        "with a surrogate": b"\xed\xa0\x80",
        "with an overlong character": b"\xc0\x80",
    }.items():
        yield case(
            f"a close reason {name}",
            "non-UTF-8 close body",
            encode_frame(CLOSE, b"\x03\xe8" + reason),
            expected=not_utf8("close reason is not UTF-8"),
        )
    for code in CLOSE_CODES:
        yield case(
            f"a good close with {code}",
            "close codes",
            encode_frame(CLOSE, close_payload(code, "so long")),
            expected=lost(f"closed the connection with {code} 'so long'", code=code),
        )
    yield case(
        "a good close without a code",
        "close codes",
        encode_frame(CLOSE, b""),
        expected=lost("closed the connection with 1005", code=1005),
    )
    yield case(
        "a close with escape sequences for its reason",
        "close codes",
        encode_frame(CLOSE, close_payload(1000, "\x1b[2J\r\n\u2028" * 10)),
        expected=lost("'\\x1b[2J\\r\\n\\u2028", code=1000),
    )
    for code in (1002, 1003, 1007, 1008, 1010):
        yield case(
            f"a close with {code} three times in a row",
            "three strikes",
            encode_frame(CLOSE, close_payload(code)),
            expected=lost(f"closed the connection with {code}", code=code, then=Then.OUTAGE),
            turns=3,
        )
    yield case(
        "a broken protocol three times in a row",
        "three strikes",
        encode_frame(3, b""),
        expected=broken("reserved opcode 3", then=Then.OUTAGE),
        turns=3,
    )


def after_close() -> Iterator[Case]:
    goodbye = encode_frame(CLOSE, close_payload(1000))
    expected = lost("closed the connection with 1000", code=1000)
    for name, data in {
        "text": event("too late"),
        "a ping": encode_frame(PING, b""),
        "another close": encode_frame(CLOSE, close_payload(1008)),
        "a broken frame": encode_frame(3, b""),
        "a second upgrade": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "a megabyte of text": encode_frame(TEXT, b"x" * 1_000_000),
    }.items():
        yield case(f"{name} behind a close", "data after close", goodbye + data, expected=expected)
    yield case("silence behind a close", "data after close", goodbye, expected=expected, polite=False)
    yield case(
        "a close inside a message",
        "data after close",
        encode_frame(TEXT, b"{", fin=False) + goodbye,
        expected=expected,
        own=True,
    )


def text() -> Iterator[Case]:
    group = "non-UTF-8 text"
    for name, data in {
        "no character": b"\xff",
        "a continuation byte": b"\x80",
        "an overlong NUL": b"\xc0\x80",
        "an overlong slash": b"\xe0\x80\xaf",
        "a surrogate": b"\xed\xa0\x80",
        "a character past the last": b"\xf4\x90\x80\x80",
        "half a character at its end": "€".encode()[:2],
    }.items():
        yield case(f"text with {name}", group, encode_frame(TEXT, b'{"type":"' + data), expected=not_utf8())
    yield case(
        "text that is wrong in its second fragment",
        group,
        encode_frame(TEXT, b'{"type":"', fin=False) + encode_frame(CONTINUATION, b"\xff"),
        expected=not_utf8(),
    )
    yield case(
        "a character that two fragments make wrong",
        group,
        encode_frame(TEXT, b"\xed", fin=False) + encode_frame(CONTINUATION, b"\xa0", fin=False),
        expected=not_utf8(),
        own=True,
    )
    yield Case(
        name="frames: wrong text whose rest never comes",
        group=group,
        speech=lambda asked: [upgrade(asked) + event("before") + b"\x81\x7e\xff\xff" + b'{"type":"\xff'],
        expected=not_utf8(),
        own=True,
    )
    yield deflated(
        "compressed text that is not UTF-8",
        group,
        encode_frame(TEXT, compressed(b'{"type":"\xff"}'), rsv=4),
        expected=not_utf8(),
    )


def deflate() -> Iterator[Case]:
    group = "broken compression"
    wrong = broken("broken compression")
    yield deflated("a block of no type", group, encode_frame(TEXT, b"\x06\xff\xff", rsv=4), expected=wrong)
    yield deflated(
        "a zlib header before the deflate data",
        group,
        encode_frame(TEXT, zlib.compress(b"{}" * 50), rsv=4),
        expected=wrong,
    )
    context = zlib.compressobj(9, zlib.DEFLATED, -15)
    message = json.dumps({"type": "system_alert", "data": {"message": "over and over " * 20}}).encode()
    first, second = (compressed(message, context=context) for _ in range(2))
    yield deflated(
        "a reference to a message before, context takeover ruled out",
        group,
        encode_frame(TEXT, first, rsv=4) + encode_frame(TEXT, second, rsv=4),
        expected=wrong,
        parameters="; server_no_context_takeover",
    )
    final = zlib.compressobj(9, zlib.DEFLATED, -15)
    ended = final.compress(message) + final.flush(zlib.Z_FINISH)
    yield deflated(
        "blocks that say that they are the last ones",
        group,
        *[encode_frame(TEXT, ended + b"\x00", rsv=4)] * 3,
        expected=lives(),
    )
    yield deflated(
        "compressed and plain messages in turn",
        group,
        encode_frame(TEXT, first, rsv=4) + encode_frame(TEXT, message) + encode_frame(TEXT, second, rsv=4),
        expected=lives(),
    )


def broken_off() -> Iterator[Case]:
    group = "broken off"
    ended = lost("ended the connection without a close frame")
    for name, data in {
        "behind a message": b"",
        "inside a frame's header": b"\x81\x7e\x01",
        "inside a frame's payload": b"\x81\x7e\x01\x00abc",
        "inside a close": b"\x88\x02\x03",
        "between fragments": encode_frame(TEXT, b"{", fin=False),
    }.items():
        yield case(f"the end of the stream {name}", group, data, Act.FIN, expected=ended)
    yield case(
        "a reset inside a frame's payload", group, b"\x81\x7e\x01\x00abc", 0.05, Act.RST, expected=lost("reset by peer")
    )


def garbage() -> Iterator[Case]:
    group = "garbage"
    yield case("a second upgrade", group, b"HTTP/1.1 101 Switching Protocols\r\n\r\n", expected=broken("reserved bit"))
    yield case("zeros", group, bytes(1_000), expected=broken("continuation without a message"))
    yield case("ones", group, b"\xff" * 1_000, expected=broken("reserved bit set"))
    yield case("a TLS record", group, bytes.fromhex("16030100050100000100"), expected=broken("reserved bit set"))
    noise = random.Random(1).randbytes(10_000)
    yield case("noise", group, b"\xf3" + noise, expected=broken("reserved bit set"))


def floods() -> Iterator[Case]:
    group = "control flood"
    yield case("5,000 pings", group, encode_frame(PING, b"p" * 125) * 5_000, expected=lives(within=3))
    yield Case(
        name="frames: pings without an end, from a server that reads no answer",
        group=group,
        speech=lambda asked: itertools.chain(
            [upgrade(asked) + event("before"), Act.DEAF], itertools.repeat(encode_frame(PING, b"p" * 125) * 500)
        ),
        expected=attrs.evolve(lost("the peer takes no data"), within=20),
        polite=False,
        own=True,
    )
    yield case("20,000 pongs that nobody asked for", group, encode_frame(PONG, b"p") * 20_000, expected=lives(within=3))


def cases() -> Iterable[Case]:
    """The table's part."""
    return [
        *masking(),
        *reserved(),
        *control_frames(),
        *fragments(),
        *lengths(),
        *closes(),
        *after_close(),
        *text(),
        *deflate(),
        *broken_off(),
        *garbage(),
        *floods(),
    ]
