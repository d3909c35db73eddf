"""What each fuzzer begins with: a corpus made from the vectors and by code, so that none need be kept."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime

from realtime_client._core.codec import Codec
from realtime_client._core.frames import encode_frame
from realtime_client._core.recording import write_line
from tests.fuzz.feed import AGREEMENTS, compressed, payloads, stream, upgrade
from tests.fuzz.targets import AGREED, LIMITS

__all__ = ["SEEDS"]

STREAMS = 40
LARGEST = LIMITS.index(max(LIMITS))


def _frames() -> Iterator[bytes]:
    dice = random.Random(1)
    for number in range(STREAMS):
        head, parts = stream(dice)
        agreement = next(
            (AGREEMENTS[name] for name in reversed(AGREEMENTS) if name and name.encode() + b"\r\n" in head), None
        )
        wire = b"".join(part for part in parts if len(part) < 5000)
        yield bytes([AGREED.index(agreement) << 1, LARGEST, number]) + wire
    for payload in payloads():
        if len(payload) < 5000:
            yield bytes([0, LARGEST, len(payload) % 256]) + encode_frame(1, payload) + encode_frame(9, payload[:125])
    for opcode in range(16):
        yield bytes([0, LARGEST, opcode]) + encode_frame(opcode, b"\x03\xe8 ok")
        yield bytes([1, LARGEST, opcode]) + bytes([0x80 | opcode, 0x84]) + b"mask\x6e\x8a\x1c\x04"


def _inflate() -> Iterator[bytes]:
    dice = random.Random(2)
    for takeover in (True, False):
        for final in (False, True):
            for limit in (0, 100, 0xFFFF):
                context = zlib.compressobj(wbits=-15)
                seed = bytes([7 if takeover else 0x87]) + limit.to_bytes(2)
                for payload in dice.sample(payloads(), 5):
                    if final or not takeover:
                        context = zlib.compressobj(wbits=-15)
                    whole = compressed(payload[:2000], context, final=final)
                    half = dice.randint(0, len(whole))
                    for part, last in ((whole[:half], 0), (whole[half:], 1)):
                        seed += (len(part) << 1 | last).to_bytes(2) + part
                yield seed
    # Several final blocks in one message, and what follows them (RFC 7692 section 7.2.1).
    two = compressed(b"one, ", zlib.compressobj(wbits=-15), final=True)[:-1]
    two += compressed(b"two", zlib.compressobj(wbits=-15), final=True)
    yield bytes([7]) + b"\xff\xff" + (len(two) << 1 | 1).to_bytes(2) + two
    parts = ((two, 0), (b"", 1), (compressed(b"three", zlib.compressobj(wbits=-15)), 1))
    yield bytes([7]) + b"\xff\xff" + b"".join((len(part) << 1 | last).to_bytes(2) + part for part, last in parts)


def _codec() -> Iterator[bytes]:
    for payload in payloads():
        if len(payload) < 5000:
            yield b"\x00" + payload
            yield b"\x01" + payload
            yield b"\x02" + payload
    for data in (
        '{"name":"a","replicas":2,"share":0.5,"done":true,"started":"2024-01-01T10:00:00Z"}',
        '{"name":"a","hosts":["h"],"pair":[1,"b"],"labels":{"k":1},"either":"x"}',
        '{"name":null}',
    ):
        yield b"\x00" + f'{{"type":"deploy","data":{data}}}'.encode()


def _handshake() -> Iterator[bytes]:
    dice = random.Random(3)
    refusals = (
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 120\r\nContent-Length: 2\r\n\r\nno",
        b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\n\r\n",
        b"HTTP/1.0 404\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: ws://elsewhere/\r\n\r\n",
        b"HTTP/1.1 101 \r\nUpgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n\r\n",
    )
    # The same as one field "Upgrade, keep-alive" (RFC 9110 section 5.3).
    twice = upgrade("", dice).replace(b"Connection: Upgrade", b"Connection: Upgrade\r\nConnection: keep-alive")
    for extension in AGREEMENTS:
        for answer in (upgrade(extension, dice), upgrade(extension, dice), twice, *refusals):
            for offered in (0, 1):
                yield bytes([offered, 0]) + answer
                yield bytes([offered, 1]) + answer + encode_frame(1, b"{}")
    yield bytes([0, 2]) + (
        b"GET /ws?token=a%20b HTTP/1.1\r\nHost: localhost:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\n\r\n"
    )
    for value in (b"120", b"Wed, 03 Jan 2024 00:00:00 GMT", b"Wednesday, 03-Jan-24 00:00:00 GMT", b"-1", b"1e3"):
        yield bytes([0, 3]) + value
    yield bytes([0, 3]) + b"Wed Jan  3 00:00:00 2024"


def _recordings() -> Iterator[bytes]:
    dice = random.Random(4)
    codec, at = Codec(), datetime(2024, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    events = codec.decode_batch([payload for payload in payloads() if len(payload) < 2000], received_at=at).events
    lines = [write_line(event) for event in events]
    raw = [payload.replace(b"\n", b" ") + b"\n" for payload in payloads() if len(payload) < 2000]
    for number in range(STREAMS):
        some = dice.choices(lines, k=dice.randint(0, 4)) + dice.choices(raw, k=number // 2 % 2)
        content = b"".join(dice.sample(some, len(some)))
        content = content[: len(content) - dice.randint(0, 40)] if number % 3 == 0 else content
        head = bytes([number % 2, dice.randint(0, 2), number])
        yield head + (gzip.compress(content, mtime=0) if number % 2 else content)
    yield b"\x00\x02\x00" + b'\n{"type":"x","receivedAt":"2024-01-02 03:04:05+01:00","origin":"poll"}\r\n{"type"'
    yield b"\x00\x02\x00" + b'{"type":"x","data":\n{"type":"y"}\n'
    yield b"\x01\x02\x01" + gzip.compress(lines[0], mtime=0) + gzip.compress(lines[1], mtime=0)[:-3]


SEEDS: Mapping[str, Callable[[], Iterator[bytes]]] = {
    "frames": _frames,
    "inflate": _inflate,
    "codec": _codec,
    "handshake": _handshake,
    "recordings": _recordings,
}
"""The seeds of every target."""
