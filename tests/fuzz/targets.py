"""What is fuzzed: functions that take any bytes, use one part of the package with them and judge what it did.

An oracle that disagrees raises `AssertionError`; an exception that the part does not document comes out as it is. They
know nothing of who made up the bytes: the coverage-guided fuzzer and the tests drive the same functions.

A further target is a function here or in a module of its own, with a line in `TARGETS` and seeds in
`tests.fuzz.seeds.SEEDS`: the command, the tests and the page on reliability go by those two tables.
"""

from __future__ import annotations

import gzip
import json
import math
import random
import re
import socket
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import urlsplit

import attrs
import h11

from realtime_client._core.codec import Codec
from realtime_client._core.deflate import MAX_FINAL_BLOCKS, Agreement, BrokenDeflateError, Inflate
from realtime_client._core.fast_path import REFUSED, fast_decoders
from realtime_client._core.frames import Close, FrameReader, Item, Ping, Pong, Violation
from realtime_client._core.handshake import (
    MAX_HEAD_BYTES,
    AnswerHead,
    accept_key,
    check_upgrade,
    parse_answer,
    parse_request,
    retry_after,
    upgrade_answer,
)
from realtime_client._core.recording import Cut, MalformedLine, RecordedMessage, read_messages, write_line
from realtime_client._core.timestamps import parse_timestamp
from realtime_client.errors import ConnectError, HandshakeRejected, MalformedMessage
from realtime_client.events import Event, Origin
from realtime_client.transports.opening import open_websocket
from tests.core.test_codec_differential import shape
from tests.core.test_frames_differential import read_with_wsproto
from tests.fuzz.feed import ACCEPT, AGREEMENTS, KEY, SUBPROTOCOL
from tests.fuzz.mutation import sliced

__all__ = [
    "TARGETS",
    "codec",
    "frames",
    "handshake",
    "inflate",
    "judge_event",
    "judge_items",
    "read_alike",
    "recordings",
]

NOW = datetime(2024, 1, 2, tzinfo=UTC)


# The frame reader

LIMITS = (1, 125, 126, 1000, 65_536, 1 << 20)
AGREED = (None, *(agreement for agreement in AGREEMENTS.values() if agreement is not None))


class UnhurriedReader(FrameReader):
    """The frame reader without its fast path."""

    def _read_texts(self, data: bytes, position: int, items: list[Item]) -> int:
        del data, items
        return position


def frames(data: bytes) -> None:
    """The frame reader: the same however the bytes are cut, and what another implementation reads."""
    if len(data) < 3:
        return
    masked, agreement, limit = bool(data[0] & 1), AGREED[(data[0] >> 1) % len(AGREED)], LIMITS[data[1] % len(LIMITS)]
    dice, wire = random.Random(data[2]), data[3:]

    def read(pieces: Sequence[bytes], kind: type[FrameReader] = FrameReader) -> list[Item]:
        inflate = None if agreement is None else Inflate(agreement)
        reader = kind(max_message_bytes=limit, expect_masked=masked, inflate=inflate)
        items = [item for piece in pieces for item in reader.feed(piece)]
        if items and isinstance(items[-1], (Close, Violation)):
            assert reader.feed(wire) == []
        return items

    whole = read([wire])
    judge_items(whole, limit)
    assert read_alike(whole, read(sliced(wire, dice)), compressed=agreement is not None)
    assert read([wire], UnhurriedReader) == whole
    if not masked and agreement is None:
        _judge_by_wsproto(wire)


def judge_items(items: Sequence[Item], limit: int) -> None:
    """What any list of items must be."""
    assert not any(isinstance(item, (Close, Violation)) for item in items[:-1])
    for item in items:
        match item:
            case str():
                assert len(item.encode()) <= limit
            case bytes():
                assert len(item) <= limit
            case Ping(payload) | Pong(payload):
                assert len(payload) <= 125
            case Close(code, reason):
                assert 1000 <= code < 5000
                assert len(reason.encode()) <= 123
            case Violation(code, reason, payload, size):
                assert code in (1002, 1007, 1009)
                assert len(reason.encode()) <= 123
                assert len(payload) <= 1024
                assert (size > limit) is (code == 1009)


def read_alike(one: Sequence[Item], other: Sequence[Item], *, compressed: bool) -> bool:
    """Whether two readings of the same bytes, cut differently, came to the same.

    Inflated all at once, a message may be too large, or broken further on, before its wrong UTF-8 is looked at: then
    the readings may differ in the reason for which they refuse the same message.
    """
    if compressed and one and other and isinstance(one[-1], Violation) and isinstance(other[-1], Violation):
        return one[:-1] == other[:-1]
    return one == other


SURROGATE = 0xED
PADDING = bytes(32)


def _judge_by_wsproto(wire: bytes) -> None:
    """Compare with wsproto, which knows no limit, as far as the two can agree.

    It does not know close code 1014, notices a surrogate later than at its second byte, and judges a header only when
    all of it is there: the padding lets it finish, and is a violation itself.
    """
    if b"\x03\xf6" in wire or SURROGATE in wire:
        return
    items = FrameReader(max_message_bytes=1 << 63).feed(wire + PADDING)
    ours = [Violation(item.code, "") if isinstance(item, Violation) else item for item in items]
    assert ours == read_with_wsproto([wire + PADDING])


# Inflating

DEFLATE_TAIL = b"\x00\x00\xff\xff"


def inflate(data: bytes) -> None:
    """Inflating: what zlib gives for the whole message, never more than asked for, however the payload is cut.

    The bytes are parts of messages: two bytes of length, whose lowest bit ends the message, before each part.
    """
    if len(data) < 4:
        return
    agreement = Agreement(window_bits=8 + data[0] % 8, takeover=not data[0] & 0x80)
    limit = int.from_bytes(data[1:3])
    ours, theirs = Inflate(agreement), _Zlib(agreement)
    payload, inflated = b"", b""
    at = 3
    while at + 2 <= len(data):
        header = int.from_bytes(data[at : at + 2])
        part, last = data[at + 2 : at + 2 + (header >> 1)], bool(header & 1)
        at += 2 + (header >> 1)
        payload += part
        room = limit - len(inflated)
        try:
            inflated += b"".join(ours.inflate(part, room, last=last))
        except BrokenDeflateError:
            assert theirs.message(payload, limit) is None
            return
        if len(inflated) > limit:
            assert len(inflated) == limit + 1
            expected = theirs.message(payload, limit)
            assert expected is None or expected[: limit + 1] == inflated
            return
        if last:
            assert theirs.message(payload, limit) == inflated
            payload, inflated = b"", b""


class _Zlib:
    """The plain way: whole messages into zlib, one stream after the other (RFC 7692 sections 7.2.1 and 7.2.2).

    Where the sender has forgotten the empty block that is due after a final one, there is nothing to append to.
    """

    def __init__(self, agreement: Agreement) -> None:
        self._agreement = agreement
        self._stream: zlib._Decompress | None = None

    def message(self, payload: bytes, limit: int) -> bytes | None:
        """The message, as far as it may be long, or ``None`` where it is broken."""
        result, finals = b"", 0
        rest = payload + DEFLATE_TAIL
        try:
            while (self._stream or len(rest) > len(DEFLATE_TAIL)) and len(result) <= limit:
                stream = self._stream = self._stream or zlib.decompressobj(-self._agreement.window_bits)
                result += stream.decompress(rest, limit + 1 - len(result))
                if not stream.eof:
                    break
                self._stream, rest = None, stream.unused_data
                finals += 1
                if finals > MAX_FINAL_BLOCKS:
                    return None
        except zlib.error:
            return None
        if not self._agreement.takeover:
            self._stream = None
        return result


# The codec


@attrs.frozen
class Deploy:
    """A message type of a server's own, with every kind of field that is read."""

    name: str
    replicas: int = 1
    share: float = 0.0
    done: bool | None = None
    started: datetime | None = None
    hosts: list[str] = attrs.Factory(list)
    pair: tuple[int, str] | None = None
    labels: dict[str, int] = attrs.Factory(dict)
    either: int | str | None = None


CODEC = Codec()
CODEC.register("deploy", Deploy)


def codec(data: bytes) -> None:
    """The codec: its fast path, its strict path and the standard library's JSON agree; and there and back again."""
    if not data:
        return
    try:
        text = data[1:].decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        text = None
    raw = data[1:] if data[0] & 1 or text is None else text
    decoded = CODEC.decode_batch([raw], received_at=NOW)
    assert len(decoded.events) + len(decoded.malformed) == 1
    for error in decoded.malformed:
        assert len(str(error).encode()) < 2000
        assert len(error.payload) <= 200
        error.payload.encode()
    event = decoded.events[0] if decoded.events else None
    assert shape(event) == shape(_strictly(raw))
    if text is not None:
        assert shape(event) == shape(_independently(text))
    if event is None:
        return
    assert decoded.sizes == [len(data) - 1]
    for decode in fast_decoders():
        try:
            fast = decode(raw).to_event(NOW, Origin.STREAM)
        except REFUSED:
            continue
        assert shape(fast) == shape(event)
    judge_event(event)


def _strictly(raw: str | bytes) -> Event | None:
    try:
        return CODEC.decode_object(CODEC.parse(raw), received_at=NOW, origin=Origin.STREAM)
    except MalformedMessage:
        return None


def _independently(text: str) -> Event | None:
    """The strict reading of what the standard library's parser gives; too deep for that is too deep for ours."""
    try:
        obj = json.loads(text, object_pairs_hook=_kept, parse_float=_finite)
        return CODEC.decode_object(obj, received_at=NOW, origin=Origin.STREAM)
    except (ValueError, RecursionError, MalformedMessage):
        return None


def _kept(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; of a key given twice the last counts, and what is wrong with the first is wrong all the same."""
    for key, value in pairs:
        waiting = [key, value]
        while waiting:
            one = waiting.pop()
            if isinstance(one, str):
                one.encode()
            elif isinstance(one, list):
                waiting += one
            elif isinstance(one, float) and not math.isfinite(one):
                raise ValueError("no finite number")
    return dict(pairs)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("no finite number")
    return number


def judge_event(event: Event) -> None:
    """What any event must be: made of valid text and finite numbers, and the same when it is sent on and read again."""
    sent = event.to_dict()
    json.dumps(sent, allow_nan=False, ensure_ascii=False).encode()
    del sent["receivedAt"], sent["origin"]
    again = CODEC.decode(CODEC.encode(sent), received_at=NOW)
    assert shape(again) == shape(attrs.evolve(event, received_at=NOW, origin=Origin.STREAM))


# The handshake


def handshake(data: bytes) -> None:
    """The handshake: refused as documented, or read as h11 reads it; the whole opening agrees with its parts."""
    if len(data) < 2:
        return
    extension_offered, kind, head = bool(data[0] & 1), data[1] % 4, data[2:]
    (_answer, _opening, _request, _retry_after)[kind](head, extension_offered)


def _answer(data: bytes, compression: bool) -> AnswerHead | None:
    try:
        head = parse_answer(data)
    except ConnectError as error:
        _judge_words(error)
        return None
    assert len(data) <= MAX_HEAD_BYTES
    theirs = _h11_answer(data)
    if theirs is not None:
        ours = [(name.lower().encode(), value.encode("latin-1")) for name, value in head.headers]
        assert (theirs.status_code, list(theirs.headers)) == (head.status, ours)
    try:
        check_upgrade(head, key=KEY, subprotocols=[SUBPROTOCOL], compression=compression)
    except ConnectError as error:
        _judge_words(error)
        return None
    assert head.status == 101
    fields = [field.lower() for field in data.split(b"\r\n")]
    accepts = [field for field in fields if field.startswith(b"sec-websocket-accept:")]
    assert len(accepts) == 1
    assert re.search(rb"(?m)^(?i:Sec-WebSocket-Accept):[ \t]*" + re.escape(ACCEPT) + rb"[ \t]*\r$", data)
    assert any(field.startswith(b"upgrade:") and b"websocket" in field for field in fields)
    return head


def _h11_answer(data: bytes) -> h11.Response | h11.InformationalResponse | None:
    """The head as h11 reads it; ``None`` where it refuses it for its body's framing, of which no upgrade has any."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    request = [("Host", "h"), ("Upgrade", "websocket"), ("Connection", "Upgrade")]
    connection.send(h11.Request(method="GET", target="/", headers=request))
    connection.receive_data(data)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError:
        if re.search(rb"(?im)^(content-length|transfer-encoding)[ \t]*:", data):
            return None
        raise
    assert isinstance(event, (h11.Response, h11.InformationalResponse))
    return event


class ScriptedSocket:
    """Answers a handshake with these bytes, in which it puts the accept key that is due."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def settimeout(self, timeout: float | None) -> None:
        assert timeout is None or timeout > 0

    def sendall(self, data: bytes) -> None:
        self._answer = with_accept(self._answer, data)

    def recv(self, size: int) -> bytes:
        due, self._answer = self._answer[:size], self._answer[size:]
        return due


def with_accept(answer: bytes, request: bytes) -> bytes:
    """A made-up answer whose head accepts the key that a request really has, if it accepts any."""
    head, blank, rest = answer.partition(b"\r\n\r\n")
    key = parse_request(request).headers["Sec-WebSocket-Key"]
    return head.replace(ACCEPT, accept_key(key).encode()) + blank + rest


TARGET = urlsplit("ws://localhost:8080/ws")


def _opening(data: bytes, compression: bool) -> None:
    """The opening as it is done, with the library that dials, over a socket that exists only here."""
    head, blank, rest = data.partition(b"\r\n\r\n")
    expected = _answer(head + blank, compression) if blank and len(head + blank) <= MAX_HEAD_BYTES else None
    opened = _opened(data, compression)
    assert (opened is None) is (expected is None)
    if opened is not None:
        assert opened == rest[: len(opened)]


def _opened(data: bytes, compression: bool) -> bytes | None:
    """The bytes of frames that came with the answer, or ``None`` where it was refused."""
    try:
        rest, _ = open_websocket(
            cast(socket.socket, ScriptedSocket(data)),
            TARGET,
            headers={},
            subprotocols=(SUBPROTOCOL,),
            compression=compression,
            deadline=time.monotonic() + 60,
        )
    except HandshakeRejected as error:
        _judge_words(error)
        _judge_rejection(error)
        return None
    except ConnectError as error:
        _judge_words(error)
        return None
    return rest


def _judge_words(error: ConnectError) -> None:
    assert 0 < len(str(error).encode()) < 20_000


def _judge_rejection(error: HandshakeRejected) -> None:
    assert error.status != 101
    assert error.retry_after is None or error.retry_after >= 0
    assert len(error.body.encode()) < 2000


def _request(data: bytes, _: bool) -> None:
    try:
        request = parse_request(data)
        assert request.path + repr(request) + str(request.query)
        answer = upgrade_answer(request)
    except ValueError:
        return
    assert parse_answer(answer).status == 101


def _retry_after(data: bytes, _: bool) -> None:
    seconds = retry_after(data.decode("latin-1"), now=NOW)
    assert seconds is None or 0 <= seconds < float("inf")


# Recordings

LINES = (60, 300, 100_000)
"""The longest lines, in bytes."""


def recordings(data: bytes) -> None:
    """Recordings: the same however they are cut or packed, what the standard library reads, and written again alike."""
    if len(data) < 3:
        return
    unpack, longest, dice, content = bool(data[0] & 1), LINES[data[1] % len(LINES)], random.Random(data[2]), data[3:]
    whole = _recorded([content], unpack=unpack, longest=longest)
    cut = _recorded(sliced(content, dice), unpack=unpack, longest=longest)
    if unpack and whole[1] is not None and "gzip" in whole[1][1]:
        # How much is unpacked before the damage depends on how much is looked at together.
        shorter, longer = sorted((whole[0], cut[0]), key=len)
        assert longer[: len(shorter)] == shorter
        assert cut[1] is not None
    else:
        assert cut == whole
    if unpack:
        plain = _unpacked(content)
        if plain is not None:
            assert _recorded([plain], unpack=False, longest=longest) == whole
    else:
        _judge_lines(content, longest, *whole)
    _judge_packing(content, longest)


def _recorded(
    pieces: Sequence[bytes], *, unpack: bool, longest: int
) -> tuple[list[RecordedMessage | Cut], tuple[int, str] | None]:
    """What is read, and the line and the words of what is refused."""
    found: list[RecordedMessage | Cut] = []
    try:
        for message in read_messages(pieces, unpack=unpack, max_line_bytes=longest):
            found.append(message)  # noqa: PERF402 - what came before an error counts
    except MalformedLine as error:
        return found, (error.number, str(error))
    return found, None


def _unpacked(content: bytes) -> bytes | None:
    """What the standard library unpacks; ``None`` where it refuses, or forgives the zeros of a tape's last block."""
    if content.endswith(b"\0"):
        return None
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return None


def _judge_packing(content: bytes, longest: int) -> None:
    packed = gzip.compress(content, mtime=0)
    assert _recorded([packed], unpack=True, longest=longest) == _recorded([content], unpack=False, longest=longest)


def _judge_lines(
    content: bytes, longest: int, found: list[RecordedMessage | Cut], refused: tuple[int, str] | None
) -> None:
    lines = [(number, line) for number, line in enumerate(content.split(b"\n"), start=1)]
    last = refused[0] if refused is not None else len(lines) + 1
    kept = [(number, line) for number, line in lines if number < last and line and not line.isspace()]
    cut = [message for message in found if isinstance(message, Cut)]
    if cut:
        assert found[-1] == cut[0] == Cut(len(lines))
        assert len(cut) == 1
        assert kept.pop() == (len(lines), lines[-1][1])
    assert refused is None or len(found) == len(kept)
    for (_, line), message in zip(kept, found[: len(found) - len(cut)], strict=True):
        assert isinstance(message, RecordedMessage)
        _judge_line(line, message, longest)


def _judge_line(line: bytes, message: RecordedMessage, longest: int) -> None:
    """The stamp that was taken off makes no difference to the event, and says when it was received."""
    assert len(line) < longest + 1
    decoded = [CODEC.decode_batch([text], received_at=NOW).events for text in (message.text, line.decode())]
    assert shape(decoded[0]) == shape(decoded[1])
    if not decoded[0]:
        return
    stamp = json.loads(line).get("receivedAt")
    assert message.at == (None if stamp is None else parse_timestamp(stamp))
    event = attrs.evolve(decoded[0][0], received_at=message.at)
    (again,), trouble = _recorded([write_line(event)], unpack=False, longest=1 << 24)
    assert trouble is None
    assert isinstance(again, RecordedMessage)
    assert again.at == message.at
    assert shape(CODEC.decode(again.text, received_at=NOW)) == shape(decoded[0][0])


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "frames": frames,
    "inflate": inflate,
    "codec": codec,
    "handshake": handshake,
    "recordings": recordings,
}
"""Every target by its name."""
