"""Damaged server streams, and what becomes of them without a socket: handshake, frames, codec."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import attrs

from realtime_client._core.codec import Codec
from realtime_client._core.deflate import Agreement, Inflate
from realtime_client._core.frames import Close, FrameReader, Item, Violation
from realtime_client._core.handshake import MAX_HEAD_BYTES, check_upgrade, parse_answer
from realtime_client.errors import ConnectError, MalformedMessage
from realtime_client.events import Event
from tests.core.test_codec_differential import shape
from tests.fuzz import feed
from tests.fuzz.mutation import mutated, sliced
from tests.fuzz.targets import judge_event, judge_items, read_alike

__all__ = ["LIMIT", "DamagedStream", "Reading", "Tally", "damaged_streams", "judge", "read_stream"]

LIMIT = 60_000
"""The largest message, in bytes: some of the streams hold a larger one."""
NOW = datetime(2024, 1, 2, tzinfo=UTC)
CODEC = Codec()


@attrs.frozen
class DamagedStream:
    """What a server sends, from the first byte of its answer to the end.

    Attributes:
        wire: The bytes.
        pieces: The same, as they arrive.
        mutations: What was done to them.
    """

    wire: bytes
    pieces: Sequence[bytes]
    mutations: Sequence[str]


def damaged_streams(count: int, seed: int) -> Iterator[DamagedStream]:
    """So many streams, each from dice of its own: stream ``n`` of a seed is the same whatever comes before it."""
    for number in range(count):
        dice = random.Random(f"{seed}/{number}")
        head, frames = feed.stream(dice)
        if dice.random() < 0.1:
            dice.shuffle(frames)
        # A damaged answer mostly ends the story, so that most damage is done behind it.
        if dice.random() < 0.15:
            head, done = mutated(head, dice, times=dice.randint(1, 2))
            body = b"".join(frames)
        else:
            body, done = mutated(b"".join(frames), dice, times=dice.choice((1, 1, 1, 2, 3, 5)))
        wire = head + body
        yield DamagedStream(wire, sliced(wire, dice), done)


@attrs.define
class Reading:
    """What a client reads in a stream.

    Attributes:
        refusal: Why the handshake was refused, or ``None``.
        agreement: What it agreed to on compression.
        items: What the frames came to.
        events: The events among that.
        malformed: The messages that were none.
    """

    refusal: ConnectError | None = None
    agreement: Agreement | None = None
    items: list[Item] = attrs.Factory(list)
    events: list[Event] = attrs.Factory(list)
    malformed: list[MalformedMessage] = attrs.Factory(list)

    @property
    def end(self) -> str:
        """How the connection ended, for the tally."""
        if self.refusal is not None:
            return "handshake refused"
        match self.items[-1:]:
            case [Violation(code)]:
                return f"refused with {code}"
            case [Close()]:
                return "closed"
        return "cut"


def read_stream(pieces: Sequence[bytes]) -> Reading:
    """Read a stream as the client does, piece by piece."""
    reading = Reading()
    head = bytearray()
    frames: FrameReader | None = None
    for piece in pieces:
        data = piece
        if frames is None:
            head += piece
            end = head.find(b"\r\n\r\n") + 4
            if end < 4 and len(head) <= MAX_HEAD_BYTES:
                continue
            try:
                if not 4 <= end <= MAX_HEAD_BYTES:
                    raise ConnectError("the head is too long")
                answer = parse_answer(bytes(head[:end]))
                agreement = check_upgrade(answer, key=feed.KEY, subprotocols=[feed.SUBPROTOCOL], compression=True)
            except ConnectError as error:
                reading.refusal = error
                return reading
            inflate = None if agreement is None else Inflate(agreement)
            frames = FrameReader(max_message_bytes=LIMIT, inflate=inflate)
            reading.agreement = agreement
            data = bytes(head[end:])
        items = frames.feed(data)
        reading.items += items
        messages = [item for item in items if isinstance(item, (str, bytes))]
        decoded = CODEC.decode_batch(messages, received_at=NOW)
        assert len(decoded.events) + len(decoded.malformed) == len(messages)
        reading.events += decoded.events
        reading.malformed += decoded.malformed
    if frames is None:
        reading.refusal = ConnectError("the server ended the connection during the handshake")
    return reading


def judge(stream: DamagedStream) -> Reading:
    """Read a stream in its pieces and judge what came of it; whole it must come to the same."""
    reading = read_stream(stream.pieces)
    judge_items(reading.items, LIMIT)
    for event in reading.events:
        judge_event(event)
    for error in reading.malformed:
        str(error).encode()
        error.payload.encode()
    whole = read_stream([stream.wire])
    assert (whole.refusal is None) is (reading.refusal is None)
    if reading.refusal is not None:
        assert not reading.items
        assert str(reading.refusal).encode()
        return reading
    assert whole.agreement == reading.agreement
    assert read_alike(whole.items, reading.items, compressed=reading.agreement is not None)
    assert [shape(event) for event in whole.events] == [shape(event) for event in reading.events]
    return reading


@attrs.define
class Tally:
    """How many streams were tried, and what became of them."""

    streams: int = 0
    bytes: int = 0
    mutations: Counter[str] = attrs.Factory(Counter)
    ends: Counter[str] = attrs.Factory(Counter)
    events: int = 0
    malformed: int = 0
    slowest_seconds: float = 0.0

    def add(self, stream: DamagedStream, reading: Reading, began: float) -> None:
        """Count a stream that was begun with at this time (monotonic)."""
        self.streams += 1
        self.bytes += len(stream.wire)
        self.mutations.update(stream.mutations)
        self.ends[reading.end] += 1
        self.events += len(reading.events)
        self.malformed += len(reading.malformed)
        self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began)
