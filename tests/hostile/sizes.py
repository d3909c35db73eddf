"""Messages that are too large, or that are made to look or to become so."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from realtime_client._core.frames import BINARY, CLOSE, CONTINUATION, PING, TEXT, close_payload, encode_frame
from tests.hostile.case import (
    DEFAULT_LIMIT,
    MIB,
    Asked,
    Case,
    Expected,
    Step,
    deflating,
    event,
    lives,
    lost,
    too_large,
    upgrade,
)
from tests.hostile.frames import compressed

HUGE = 300 * MIB
PART = b"x" * (256 * 1024)


def case(
    name: str,
    group: str,
    steps: Callable[[], Iterable[Step]],
    expected: Expected,
    *,
    deflates: bool = False,
    **fields: Any,
) -> Case:
    """A case in which the server sends these between two good messages, and is not impressed by a close frame."""

    def speech(asked: Asked) -> Iterator[Step]:
        yield (deflating(asked) if deflates else upgrade(asked)) + event("before")
        yield from steps()
        yield event("after")

    fields = {"polite": not expected.refused, **fields}
    return Case(name=f"sizes: {name}", group=group, speech=speech, expected=expected, deflates=deflates, **fields)


def announced(first: int, length: int) -> bytes:
    """The header of a frame, its length in 64 bits."""
    return bytes([first, 127]) + struct.pack("!Q", length)


def payload(size: int) -> Iterator[bytes]:
    """So many bytes, in parts."""
    for _ in range(size // len(PART)):
        yield PART
    yield PART[: size % len(PART)]


def in_one_frame(size: int, first: int = 0x81) -> Iterator[bytes]:
    yield announced(first, size)
    yield from payload(size)


def in_fragments(size: int, part: int) -> Iterator[bytes]:
    yield encode_frame(TEXT, PART[:part], fin=False)
    for _ in range(size // part - 2):
        yield encode_frame(CONTINUATION, PART[:part], fin=False)
    yield encode_frame(CONTINUATION, PART[:part])


def alert(size: int) -> bytes:
    """A good message of so many bytes."""
    empty = len(json.dumps({"type": "system_alert", "data": {"message": ""}}))
    return json.dumps({"type": "system_alert", "data": {"message": "x" * (size - empty)}}).encode()


def one_byte_fragments(message: bytes) -> Iterator[bytes]:
    """A message in fragments of one byte, sent many at a time."""
    yield encode_frame(TEXT, message[:1], fin=False)
    for start in range(1, len(message) - 1, 10_000):
        part = message[start : min(start + 10_000, len(message) - 1)]
        yield b"".join(b"\x00\x01%c" % byte for byte in part)
    yield encode_frame(CONTINUATION, message[-1:])


def bomb(size: int) -> bytes:
    """Zeros, deflated: a thousandth of their size."""
    context = zlib.compressobj(9, zlib.DEFLATED, -15)
    part = context.compress(bytes(MIB)) + context.flush(zlib.Z_FULL_FLUSH)  # which refers to nothing before it
    return (part * (size // MIB))[:-4]


def headers() -> Iterator[Case]:
    for name, first in {"text": 0x81, "binary": 0x82, "a first fragment": 0x01}.items():
        yield case(
            f"the header of {name} of 2^40 bytes",
            "2^40 header",
            lambda first=first: [announced(first, 2**40)],  # type: ignore[misc]
            too_large(str(2**40)),
        )
    yield case("the header of text of 2^63 - 1 bytes", "2^40 header", lambda: [announced(0x81, 2**63 - 1)], too_large())
    yield case(
        "a header of 2^63 - 1 bytes behind a fragment",
        "2^40 header",
        lambda: [encode_frame(TEXT, b"x", fin=False), announced(0x80, 2**63 - 1)],
        too_large(str(2**63)),
    )
    yield case(
        "the header of compressed text of 2^40 bytes",
        "2^40 header",
        lambda: [announced(0xC1, 2**40)],
        too_large(str(2**40)),
        deflates=True,
    )


def huge() -> Iterator[Case]:
    yield case("300 MB of text", "300 MB text", lambda: in_one_frame(HUGE), too_large(str(HUGE)))
    yield case("300 MB of bytes", "300 MB text", lambda: in_one_frame(HUGE, 0x82), too_large(str(HUGE)))
    yield case(
        "300 MB of text, the server leaves when asked",
        "300 MB text",
        lambda: in_one_frame(HUGE),
        too_large(),
        polite=True,
    )
    yield case(
        "300 MB of text in fragments of 64 KiB",
        "300 MB text in fragments",
        lambda: in_fragments(HUGE, 64 * 1024),
        too_large(),
    )
    yield case(
        "300 MB of text in fragments of 64 KiB, with a ping behind each",
        "300 MB text in fragments",
        lambda: (part + encode_frame(PING, b"p") for part in in_fragments(HUGE, 64 * 1024)),
        too_large(),
    )
    yield case(
        "300 MB of text, 32 MiB allowed",
        "300 MB text in fragments",
        lambda: in_fragments(HUGE, 64 * 1024),
        too_large(within=3),
        options={"max_message_bytes": 32 * MIB},
    )
    yield case(
        "300 MB behind a close",
        "300 MB text",
        lambda: [encode_frame(CLOSE, close_payload(1000)), *in_one_frame(HUGE)],
        lost("closed the connection with 1000", code=1000),
    )


def small() -> Iterator[Case]:
    group = "a million one-byte fragments"
    yield case(
        "a good message in a million fragments of one byte",
        group,
        lambda: one_byte_fragments(alert(1_000_000)),
        lives(within=10),
        own=True,
    )
    yield case(
        "a million fragments of one byte, 20,000 allowed",
        group,
        lambda: one_byte_fragments(alert(1_000_000)),
        too_large("20001"),
        options={"max_message_bytes": 20_000},
    )
    yield case(
        "a hundred thousand empty fragments",
        group,
        lambda: [
            encode_frame(TEXT, b'{"type":"x"', fin=False),
            b"\x00\x00" * 100_000,
            encode_frame(CONTINUATION, b"}"),
        ],
        lives(within=3),
        own=True,
    )


def exact() -> Iterator[Case]:
    group = "the limit"
    limit = 2_000
    options = {"max_message_bytes": limit}
    yield case("as much as is allowed", group, lambda: [encode_frame(TEXT, alert(limit))], lives(), options=options)
    yield case(
        "one byte too much",
        group,
        lambda: [encode_frame(TEXT, alert(limit + 1))],
        too_large(str(limit + 1)),
        options=options,
    )
    yield case(
        "one byte too much in binary",
        group,
        lambda: [encode_frame(BINARY, alert(limit + 1))],
        too_large(str(limit + 1)),
        options=options,
    )
    yield case(
        "one byte too much in the last fragment",
        group,
        lambda: [encode_frame(TEXT, b"x" * limit, fin=False), encode_frame(CONTINUATION, b"x")],
        too_large(str(limit + 1)),
        options=options,
    )
    yield case(
        "as much as the default allows",
        group,
        lambda: [encode_frame(TEXT, alert(DEFAULT_LIMIT))],
        lives(),
    )


def bombs() -> Iterator[Case]:
    group = "deflate bombs"

    def deflated(name: str, steps: Callable[[], Iterable[Step]], expected: Expected, **fields: Any) -> Case:
        return case(name, group, steps, expected, deflates=True, **fields)

    yield deflated(
        "300 MB in one frame", lambda: [encode_frame(TEXT, bomb(HUGE), rsv=4)], too_large(str(DEFAULT_LIMIT + 1))
    )
    yield deflated(
        "300 MB deflated to a binary frame",
        lambda: [encode_frame(BINARY, bomb(HUGE), rsv=4)],
        too_large("over max_message_bytes"),
    )

    def in_pieces() -> Iterator[Step]:
        data = bomb(HUGE)
        yield encode_frame(TEXT, b"", fin=False, rsv=4)
        for start in range(0, len(data), 100):
            yield encode_frame(CONTINUATION, data[start : start + 100], fin=False)

    yield deflated("300 MB deflated to fragments of 100 bytes", in_pieces, too_large())
    yield deflated(
        "300 MB deflated to one frame, 32 MiB allowed",
        lambda: [encode_frame(TEXT, bomb(HUGE), rsv=4)],
        too_large(within=3),
        options={"max_message_bytes": 32 * MIB},
    )
    for name, size, expected in [
        ("deflated text of as much as is allowed", DEFAULT_LIMIT, lives()),
        ("deflated text of one byte too much", DEFAULT_LIMIT + 1, too_large(str(DEFAULT_LIMIT + 1))),
    ]:
        yield deflated(
            name,
            lambda size=size: [encode_frame(TEXT, compressed(alert(size)), rsv=4)],  # type: ignore[misc]
            expected,
        )


def cases() -> Iterable[Case]:
    """The table's part."""
    return [*headers(), *huge(), *small(), *exact(), *bombs()]
