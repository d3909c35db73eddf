"""Recordings line by line: what is written is read, however it is cut, and what is none is refused by its line."""

from __future__ import annotations

import gzip
import itertools
import json
import random
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_client._core.codec import Codec
from realtime_client._core.recording import (
    CHUNK,
    Cut,
    MalformedLine,
    RecordedMessage,
    packed,
    read_messages,
    write_line,
)
from realtime_client.events import Event, Origin

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
CODEC = Codec()
MESSAGES: list[dict[str, Any]] = [
    {"type": "connection_established", "data": {"server": "x"}, "timestamp": "2026-01-02T03:04:05Z"},
    {"type": "new_anomaly", "data": {"log": {"id": "1", "message": 'a "quoted", é line\u2028\u202e', "mine": [1]}}},
    {"type": "new_anomaly", "data": {"log": {"id": "2", "message": ',"receivedAt":"x","origin":"y"}'}}},
    {"type": "stats_update", "data": {"stats": {"totalLogs": 5, "anomalyRate": 0.25, "queue": {"depth": 3}}}},
    {"type": "system_alert", "data": {"message": "hot", "severity": "odd"}, "timestamp": "2026-01-02T03:04:05.5+01:00"},
    {"type": "pong"},
    {"type": "deploy", "data": {"receivedAt": "2020-01-01T00:00:00", "origin": "stream"}},
]


def decoded(text: str, at: datetime | None = NOW) -> Event:
    return CODEC.decode(text, received_at=at or NOW)


EVENTS = [decoded(json.dumps(message)) for message in MESSAGES]
RECORDING = b"".join(map(write_line, EVENTS))


def read(data: bytes, *, cuts: int = CHUNK, unpack: bool = False, **limits: int) -> list[RecordedMessage | Cut]:
    chunks = (data[start : start + cuts] for start in range(0, len(data), cuts))
    return list(read_messages(chunks, unpack=unpack, **limits))


def test_what_is_written_is_read() -> None:
    messages = read(RECORDING)
    assert all(isinstance(message, RecordedMessage) and message.at == NOW for message in messages)
    assert [decoded(message.text) for message in messages if isinstance(message, RecordedMessage)] == EVENTS


def test_a_line_is_what_tail_prints() -> None:
    assert json.loads(write_line(EVENTS[1])) == EVENTS[1].to_dict()
    assert write_line(EVENTS[1]).count(b"\n") == 1


def test_the_stamp_is_taken_off_so_that_the_codec_has_its_plain_case() -> None:
    for message in read(RECORDING):
        assert isinstance(message, RecordedMessage)
        assert set(json.loads(message.text)) <= {"type", "data", "timestamp"}


def test_a_message_as_on_the_wire_has_no_time() -> None:
    assert read(b'{"type":"pong"}\n') == [RecordedMessage('{"type":"pong"}', None)]


def test_stamps_in_another_order_are_read_and_left() -> None:
    line = b'{"receivedAt": "2026-01-02T03:04:05.678901Z", "type": "pong"}\r\n'
    assert read(line) == [RecordedMessage(line.decode().strip(), NOW)]


def test_each_message_has_its_own_time() -> None:
    stamped = [b'{"type":"pong","receivedAt":"2026-01-02T03:04:0%dZ","origin":"poll"}\n' % n for n in (1, 1, 2)]
    lines = [*stamped, b'{"type":"pong"}\n', stamped[0]]
    seconds = [m.at and m.at.second for m in read(b"".join(lines)) if isinstance(m, RecordedMessage)]
    assert seconds == [1, 1, 2, None, 1]


def test_empty_lines_are_passed_over() -> None:
    assert [type(message) for message in read(b"\n \r\n" + RECORDING + b"\n\n")] == [RecordedMessage] * len(EVENTS)
    assert read(b"") == []


@pytest.mark.parametrize("cuts", [1, 2, 7, 100, CHUNK])
@pytest.mark.parametrize("unpack", [False, True])
def test_how_it_is_read_makes_no_difference(cuts: int, unpack: bool) -> None:
    data = gzip.compress(RECORDING) if unpack else RECORDING
    assert read(data, cuts=cuts, unpack=unpack) == read(RECORDING)


def test_a_recording_cut_anywhere_gives_its_whole_lines() -> None:
    """After every byte: each whole line, and a note about the rest unless that is whole but for its end."""
    whole = read(RECORDING)
    for length in range(len(RECORDING)):
        part = RECORDING[:length]
        lines, rest = part.count(b"\n"), part.rpartition(b"\n")[2]
        found = read(part)
        assert found[:lines] == whole[:lines]
        is_cut = bool(rest) and not rest.endswith(b'Z","origin":"stream"}')
        assert found[lines:] == ([Cut(lines + 1)] if is_cut else whole[lines : lines + bool(rest)])


def test_a_packed_recording_cut_anywhere_gives_a_beginning() -> None:
    data = gzip.compress(RECORDING)
    whole = read(RECORDING)
    counts = []
    for length in range(len(data)):
        found = read(data[:length], unpack=True)
        kept = [message for message in found if isinstance(message, RecordedMessage)]
        assert kept == whole[: len(kept)]
        assert [type(message) for message in found[len(kept) :]] in ([], [Cut])
        counts.append(len(kept))
    assert counts == sorted(counts)


def test_packed_recordings_may_follow_each_other() -> None:
    first, second = write_line(EVENTS[0]), b"".join(map(write_line, EVENTS[1:]))
    for cuts in (1, 5, CHUNK):
        assert read(gzip.compress(first) + gzip.compress(second), unpack=True, cuts=cuts) == read(RECORDING)


def test_what_was_packed_a_thousandfold_is_unpacked_piece_by_piece() -> None:
    bomb = gzip.compress(bytes(200 * 1024 * 1024), compresslevel=1)
    seen = 0

    def chunks() -> Iterator[bytes]:
        nonlocal seen
        for start in range(0, len(bomb), 100):
            seen = start
            yield bomb[start : start + 100]

    with pytest.raises(MalformedLine, match="longer than 1000 bytes"):
        list(read_messages(chunks(), unpack=True, max_line_bytes=1000))
    assert seen < 1000


def test_what_was_packed_a_thousandfold_takes_little_memory_in_one_piece() -> None:
    bomb = gzip.compress(bytes(100 * 1024 * 1024), compresslevel=9)
    tracemalloc.start()
    try:
        with pytest.raises(MalformedLine, match="longer than 1000 bytes"):
            list(read_messages([bomb], unpack=True, max_line_bytes=1000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * 1024 * 1024


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"hello\n", "not JSON: invalid character"),
        (b"hello", "not JSON: invalid character"),
        (b"\x1f\x8b\x08\x00\n", "not UTF-8"),
        (b'{"type":"x",}\n', "not JSON: "),
        (b'{"type":"x"\n', "not JSON: "),
        (b"[]\n", "no message of a feed: Expected `object`"),
        (b"{}\n", "no message of a feed: Object missing required field `type`"),
        (b'{"type":null}\n', "no message of a feed: Expected `str`"),
        (b'{"type":"x","receivedAt":5}\n', "no message of a feed: Expected `str"),
        (b'{"type":"x","receivedAt":"yesterday"}\n', "receivedAt: no RFC 3339"),
        (b'{"type":"x","data":"' + b"x" * 1000 + b'"}\n', "longer than 900 bytes"),
        (b'{"type":"x","data":' + b"[" * 800 + b"\n", "not JSON"),
    ],
)
def test_what_is_no_message_is_refused_by_its_line(line: bytes, reason: str) -> None:
    found: list[RecordedMessage | Cut] = []
    with pytest.raises(MalformedLine) as caught:
        found.extend(read_messages([RECORDING, b"\n", line], max_line_bytes=900))
    assert str(caught.value).startswith(reason)
    assert caught.value.number == len(EVENTS) + 2
    assert found == read(RECORDING)


def test_a_line_that_never_ends_is_not_read_on() -> None:
    endless = itertools.repeat(b"x" * 1000)
    with pytest.raises(MalformedLine, match="longer than 5000 bytes"):
        list(read_messages(endless, max_line_bytes=5000))


def test_broken_gzip_is_refused_behind_what_is_whole() -> None:
    noise = random.Random(1).randbytes(20_000).hex()
    lines = [write_line(decoded(json.dumps({"type": "x", "data": noise[n : n + 400]}))) for n in range(0, 30_000, 400)]
    data = bytearray(gzip.compress(b"".join(lines)))
    data[len(data) // 2] ^= 0xFF
    found: list[Any] = []
    with pytest.raises(MalformedLine) as caught:
        found.extend(
            read_messages([bytes(data[start : start + 100]) for start in range(0, len(data), 100)], unpack=True)
        )
    assert 1 < caught.value.number <= len(lines) + 1


def test_a_line_may_nest_as_deep_as_it_likes_and_is_refused() -> None:
    with pytest.raises(MalformedLine, match=r"^nested too deep$") as caught:
        read(RECORDING + b'{"type":"x","data":' + b"[" * 200_000 + b"]" * 200_000 + b"}\n")
    assert caught.value.number == len(EVENTS) + 1


@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_a_packed_recording_may_end_where_a_piece_ends(pieces: int) -> None:
    """What is unpacked at once is full then, as if there were more."""
    line = write_line(EVENTS[0])
    filled = line[:-1] + b" " * (pieces * CHUNK - 2 * len(line)) + b"\n" + line
    assert len(filled) == pieces * CHUNK
    for cuts in (CHUNK, 7):
        assert len(read(gzip.compress(filled) * 2, cuts=cuts, unpack=True)) == 4


def test_what_is_not_packed_is_refused_where_it_should_be() -> None:
    with pytest.raises(MalformedLine, match="no gzip data"):
        read(RECORDING, unpack=True)


def test_the_name_says_whether_it_is_packed() -> None:
    assert packed("feed.jsonl.gz")
    assert not packed("feed.jsonl")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["receivedAt", "origin", "a"]), inner),
    max_leaves=8,
)


@given(JSON, st.sampled_from(list(Origin)), st.integers(1, 50))
def test_any_event_comes_back(data: Any, origin: Origin, cuts: int) -> None:
    event = CODEC.decode_object({"type": "any", "data": data}, received_at=NOW, origin=origin)
    (message,) = read(write_line(event), cuts=cuts)
    assert isinstance(message, RecordedMessage)
    assert message.at == NOW
    again = CODEC.decode(message.text, received_at=NOW, origin=origin)
    assert again == event
