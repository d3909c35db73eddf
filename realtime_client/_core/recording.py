"""Recordings: a message of the feed a line, as a JSON object with the time at which it was received.

A line is an event as ``Event.to_dict`` gives it: the wire's envelope with ``receivedAt`` and ``origin``. Without
``receivedAt`` it is a message as it was on the wire. Where the file's name ends in ``.gz`` all of it is packed by gzip.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from realtime_client._core.timestamps import parse_timestamp
from realtime_client.events import Event

__all__ = [
    "CHUNK",
    "GZIP",
    "MAX_LINE_BYTES",
    "Cut",
    "MalformedLine",
    "RecordedMessage",
    "packed",
    "read_messages",
    "write_line",
]

MAX_LINE_BYTES: Final = 16 * 1024 * 1024
CHUNK: Final = 64 * 1024
"""How many bytes are read, or unpacked, at once."""
GZIP: Final = 31
"""What zlib calls the gzip format with the largest window."""
_SHOWN: Final = 80
# What the writer appends to the envelope. It can only be the end of the outermost object: the brace closes that one.
_STAMP: Final = re.compile(r',"receivedAt":"[0-9T:.-]{19,30}Z","origin":"[a-z]+"\}$')


class MalformedLine(ValueError):
    """A line is no message of a recording.

    Attributes:
        number: Which one, from 1.
    """

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(reason)
        self.number = number


class RecordedMessage(NamedTuple):
    """One message of a recording.

    Attributes:
        text: The message, as the codec reads it.
        at: When it was received, timezone-aware UTC; ``None`` where the recording does not say.
    """

    text: str
    at: datetime | None


class Cut(NamedTuple):
    """The recording was cut off within its last line, which is left out.

    Attributes:
        number: The number of that line, from 1.
    """

    number: int


class _Envelope(msgspec.Struct):
    type: str
    receivedAt: str | None = None  # noqa: N815 - as it is on the wire


def packed(path: str) -> bool:
    """Whether a recording of this name is packed."""
    return path.endswith(".gz")


def write_line(event: Event) -> bytes:
    """The line for an event, its end included."""
    return json.dumps(event.to_dict(), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def read_messages(
    chunks: Iterable[bytes], *, unpack: bool = False, max_line_bytes: int = MAX_LINE_BYTES
) -> Iterator[RecordedMessage | Cut]:
    """Read the messages of a recording, one line in memory at a time.

    Empty lines are passed over. A last line without an end that is no whole message was cut off.

    Args:
        chunks: The file's content in pieces.
        unpack: Whether it is packed by gzip. A packed file that ends too early gives what is whole.
        max_line_bytes: The longest line.

    Yields:
        Each message, and as the very last a `Cut`, if it was.

    Raises:
        MalformedLine: A line is no message, or too long, or the packed data are broken there.
    """
    decode = msgspec.json.Decoder(_Envelope).decode
    number, stamp, at = 0, None, None
    lines = _lines(_unpacked(chunks) if unpack else chunks, max_line_bytes)
    while True:
        number += 1
        try:
            line = next(lines, None)
        except zlib.error as error:
            raise MalformedLine(number, "no gzip data" if number == 1 else f"broken gzip data: {error}") from None
        if line is None:
            return
        if len(line) > max_line_bytes:
            raise MalformedLine(number, f"longer than {max_line_bytes} bytes")
        if line.isspace():
            continue
        try:
            text = line.decode()
            envelope = decode(text)
            if envelope.receivedAt != stamp:  # those that came together are often many
                at = None if envelope.receivedAt is None else parse_timestamp(envelope.receivedAt)
                stamp = envelope.receivedAt
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            if line.startswith(b"{") and not line.endswith(b"\n"):
                yield Cut(number)
                return
            raise MalformedLine(number, _reason(error)) from None
        text = text.strip()
        end = _STAMP.search(text)  # without it the codec has its plain case
        yield RecordedMessage(text if end is None else f"{text[: end.start()]}}}", at)


def _lines(chunks: Iterable[bytes], longest: int) -> Iterator[bytes]:
    """The lines, each with its end if it has one; of one that is too long only the beginning."""
    begun: list[bytes] = []
    size = 0
    for chunk in chunks:
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            yield b"".join((*begun, piece, b"\n"))
            begun, size = [], 0
        begun.append(rest)
        size += len(rest)
        if size > longest:
            break
    if size:
        yield b"".join(begun)


def _unpacked(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """What gzip has packed, in pieces of a bounded size; several packed streams may follow each other."""
    inflate = zlib.decompressobj(GZIP)
    for chunk in chunks:
        pending = chunk
        while True:
            if inflate.eof:
                pending = inflate.unused_data or pending
                inflate = zlib.decompressobj(GZIP)
            data = inflate.decompress(pending, CHUNK)
            pending = inflate.unconsumed_tail
            if data:
                yield data
            if not pending and len(data) < CHUNK and not inflate.unused_data:
                break


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    if isinstance(error, RecursionError):
        return "nested too deep"
    words = str(error)[:_SHOWN]
    if isinstance(error, msgspec.ValidationError):
        return f"no message of a feed: {words}"
    if isinstance(error, msgspec.DecodeError):
        return f"not JSON: {words.removeprefix('JSON is malformed: ')}"
    return f"receivedAt: {words}"
