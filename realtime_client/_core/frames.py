"""RFC 6455 frames, from bytes to messages and back, without I/O.

:class:`FrameReader` is fed what a socket gave and returns what these bytes complete. It reads strictly: the
first byte that breaks the protocol ends it with a :class:`Violation`, which carries the close code that the
peer is owed. Sizes are judged when a frame's header is read, before any memory is taken for its payload.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Final, NoReturn, TypeAlias

import attrs

from realtime_client._core.deflate import BrokenDeflateError, Inflate

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "Close",
    "FrameReader",
    "Item",
    "Ping",
    "Pong",
    "Violation",
    "close_payload",
    "encode_frame",
]

# Opcodes, RFC 6455 section 11.8.
CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

_OPCODES: Final = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})
_FIN: Final = 0x80
_RESERVED: Final = 0x70
_RSV1: Final = 0x40
_MASKED: Final = 0x80
_FINAL_TEXT: Final = _FIN | TEXT
_LENGTH_16: Final = 126
_LENGTH_64: Final = 127
_MAX_CONTROL_BYTES: Final = 125
_MAX_REASON_BYTES: Final = _MAX_CONTROL_BYTES - 2
_NO_CODE: Final = 1005
_EXCERPT_BYTES: Final = 1024


@attrs.frozen
class Ping:
    """The peer's ping (RFC 6455 section 5.5.2); it is owed a pong with the same payload.

    Attributes:
        payload: At most 125 bytes.
    """

    payload: bytes


@attrs.frozen
class Pong:
    """The peer's pong (RFC 6455 section 5.5.3), asked for or not.

    Attributes:
        payload: At most 125 bytes; that of the ping it answers.
    """

    payload: bytes


@attrs.frozen
class Close:
    """The peer's close frame (RFC 6455 section 5.5.1).

    Attributes:
        code: The peer's code, one that is valid on the wire; 1005 when the frame had none.
        reason: The peer's words, hostile text like any other.
    """

    code: int
    reason: str


@attrs.frozen
class Violation:
    """What fails the connection (RFC 6455 section 7.1.7).

    Attributes:
        code: The close code for the peer: 1002 for a broken protocol, 1007 for text that is not UTF-8, 1009
            for a message that is too large.
        reason: What was wrong, fit to be sent as the close frame's reason.
        payload: For 1007 the beginning of the text, for diagnosis: up to the first byte of the broken
            character, at most 1024 bytes.
        size: For 1009 the message's size in bytes, as far as its headers have told.
    """

    code: int
    reason: str
    payload: bytes = b""
    size: int = 0


Item: TypeAlias = str | bytes | Ping | Pong | Close | Violation
"""What a reader returns: ``str`` is a text message, ``bytes`` a binary one."""


class FrameReader:
    """Reads the frames of one connection, in one direction.

    Not thread-safe: one thread owns a reader. It never blocks. Beside the message in progress (at most
    ``max_message_bytes``) it holds one incomplete header or control frame.

    Args:
        max_message_bytes: The largest message, in bytes of payload over all its fragments; exactly this is
            allowed.
        expect_masked: ``False`` reads what a server sends (unmasked), ``True`` what a client sends (masked);
            the opposite is refused either way (RFC 6455 section 5.1).
        inflate: For compressed messages (RFC 7692), where that was agreed; without it they are refused.
    """

    def __init__(self, *, max_message_bytes: int, expect_masked: bool = False, inflate: Inflate | None = None) -> None:
        self._max_message_bytes = max_message_bytes
        self._expect_masked = expect_masked
        self._inflate = inflate
        self._ended = False
        self._tail = b""  # an incomplete header or control frame, so never more than 139 bytes
        # The message in progress: its opcode, or CONTINUATION (which cannot begin one) when there is none.
        self._opcode = CONTINUATION
        self._message = bytearray()
        self._compressed = False
        self._announced = 0  # payload bytes of its frames so far, as their headers tell
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        # The data frame in progress: what is still to come of its payload.
        self._left = 0
        self._final = False
        self._mask = b""

    def feed(self, data: bytes) -> list[Item]:
        """Take what the peer sent next.

        Args:
            data: Any number of bytes, cut anywhere.

        Returns:
            Everything that these bytes completed, in order. A :class:`Close` or a :class:`Violation` is the
            last item; whatever is fed after it is ignored and returns an empty list.
        """
        items: list[Item] = []
        if self._ended:
            return items
        if self._tail:
            data = self._tail + data
        position = 0
        try:
            while not self._ended:
                if self._opcode == CONTINUATION and not self._expect_masked:
                    position = self._read_texts(data, position, items)
                reached = self._advance(data, position, items)
                if reached == position:
                    break
                position = reached
        except _RefusedError as refused:
            self._ended = True
            items.append(refused.violation)
        if self._ended:
            self._tail = b""
            self._message = bytearray()
        else:
            self._tail = data[position:]
        return items

    def _read_texts(self, data: bytes, position: int, items: list[Item]) -> int:
        """Read whole, unfragmented, unmasked text messages: the feed's every message, hence the hot path.

        It stops, without a verdict, before the first frame that is anything else: ``_advance`` judges it.
        """
        end = len(data)
        limit = self._max_message_bytes
        append = items.append
        compressed = _FINAL_TEXT if self._inflate is None else _FINAL_TEXT | _RSV1
        try:
            while end - position >= 4 and ((first := data[position]) == _FINAL_TEXT or first == compressed):
                length = data[position + 1]
                start = position + 2
                if length >= _LENGTH_16:
                    if length != _LENGTH_16:
                        break
                    length = data[start] << 8 | data[start + 1]
                    if length < _LENGTH_16:
                        break
                    start += 2
                stop = start + length
                if stop > end or length > limit:
                    break
                if first == _FINAL_TEXT:
                    append(data[start:stop].decode())
                else:
                    self._inflate_text(data[start:stop], items)
                position = stop
        except UnicodeDecodeError:
            pass  # the frame is read again by _advance, which says what is wrong with it
        return position

    def _inflate_text(self, payload: bytes, items: list[Item]) -> None:
        """Read a whole compressed text. What inflates to one piece, as nearly all do, is decoded at once."""
        pieces = self._inflated(payload, complete=True)
        inflated = [*islice(pieces, 2)]
        if len(inflated) == 1:
            try:
                items.append(inflated[0].decode())
                return
            except UnicodeDecodeError:
                pass  # it is looked at again, more closely
        self._opcode = TEXT
        self._add(chain(inflated, pieces), items, complete=True)

    def _advance(self, data: bytes, position: int, items: list[Item]) -> int:
        """Read one frame, or as much of a data frame as there is.

        Returns:
            The new position; the same one when more bytes are needed.
        """
        if self._left:
            return self._take(data, position, items)
        end = len(data)
        if end - position < 2:
            return position
        first, second = data[position], data[position + 1]
        opcode = first & 0x0F
        length = second & 0x7F
        self._judge_frame(first, second)
        start = position + 2
        if length >= _LENGTH_16:
            extended = start
            start += 2 if length == _LENGTH_16 else 8
            if start > end:
                return position
            length = _judge_length(length, int.from_bytes(data[extended:start]))
        if opcode < CLOSE:
            self._judge_size(first, opcode, length)
        mask = b""
        if self._expect_masked:
            start += 4
            if start > end:
                return position
            mask = data[start - 4 : start]
        if opcode >= CLOSE:
            stop = start + length
            if stop > end:
                return position
            items.append(self._read_control(opcode, _unmask(data[start:stop], mask)))
            return stop
        if opcode != CONTINUATION:
            self._opcode = opcode
            self._compressed = bool(first & _RSV1)
        self._announced += length
        self._left = length
        self._final = first >= _FIN
        self._mask = mask
        return self._take(data, start, items)

    def _judge_frame(self, first: int, second: int) -> None:
        """Refuse what the two first bytes of a frame forbid (RFC 6455 section 5.2)."""
        opcode = first & 0x0F
        # The first bit marks a compressed message, on its first frame (RFC 7692 section 6).
        meaningful = _RSV1 if self._inflate is not None and opcode in (TEXT, BINARY) else 0
        if first & _RESERVED & ~meaningful:
            _refuse(1002, "reserved bit set")
        if opcode not in _OPCODES:
            _refuse(1002, f"reserved opcode {opcode}")
        if bool(second & _MASKED) != self._expect_masked:
            _refuse(1002, "unmasked frame from a client" if self._expect_masked else "masked frame from a server")
        if opcode >= CLOSE:
            if not first & _FIN:
                _refuse(1002, "fragmented control frame")
            if second & 0x7F > _MAX_CONTROL_BYTES:
                _refuse(1002, "control frame of more than 125 bytes")
        elif opcode == CONTINUATION:
            if self._opcode == CONTINUATION:
                _refuse(1002, "continuation without a message to continue")
        elif self._opcode != CONTINUATION:
            _refuse(1002, "new message before the last fragment of the one before")

    def _judge_size(self, first: int, opcode: int, length: int) -> None:
        """Refuse a data frame that makes its message too large, at its header."""
        limit = self._max_message_bytes
        size = self._announced + length
        compressed = self._compressed if opcode == CONTINUATION else bool(first & _RSV1)
        # What cannot be compressed grows by a little.
        if size > (limit + limit // 256 + 64 if compressed else limit):
            _refuse(1009, f"message of {size} bytes, allowed are {limit}", size=size)

    def _take(self, data: bytes, position: int, items: list[Item]) -> int:
        """Add what there is of a data frame's payload to the message, which it may complete."""
        chunk = data[position : position + self._left]
        taken = len(chunk)
        self._left -= taken
        if self._mask:
            chunk = _unmask(chunk, self._mask)
            self._mask = self._mask[taken % 4 :] + self._mask[: taken % 4]
        complete = self._final and not self._left
        self._add(self._inflated(chunk, complete=complete) if self._compressed else (chunk,), items, complete=complete)
        return position + taken

    def _add(self, pieces: Iterable[bytes], items: list[Item], *, complete: bool) -> None:
        """Add to the message in progress, which that may complete."""
        for piece in pieces:
            self._message += piece
            if self._opcode == TEXT:
                self._check_text(piece)
        if complete:
            if self._opcode == TEXT:
                self._check_text(b"", final=True)
            items.append(str(self._message, "utf-8") if self._opcode == TEXT else bytes(self._message))
            self._opcode = CONTINUATION
            self._message = bytearray()
            self._announced = 0

    def _inflated(self, chunk: bytes, *, complete: bool) -> Iterator[bytes]:
        """Inflate part of a message, to no more than it may hold."""
        assert self._inflate is not None  # or its first bit had been refused
        room = self._max_message_bytes - len(self._message)
        try:
            for piece in self._inflate.inflate(chunk, room, last=complete):
                room -= len(piece)
                if room < 0:
                    limit = self._max_message_bytes
                    _refuse(1009, f"message inflates to more than {limit} bytes", size=limit + 1)
                yield piece
        except BrokenDeflateError as error:
            _refuse(1002, f"broken compression: {error}")

    def _check_text(self, piece: bytes, *, final: bool = False) -> None:
        """Refuse text at its first wrong byte, be the rest still to come (RFC 6455 section 8.1)."""
        try:
            self._decoder.decode(piece, final)
        except UnicodeDecodeError as error:
            # The decoder's object begins with the bytes that it had kept of an unfinished character.
            self._refuse_text(len(self._message) - len(error.object) + error.start)
        unfinished = self._decoder.getstate()[0]
        # CPython keeps the first two bytes of a surrogate for a third one, though no character begins with them.
        if len(unfinished) == 2 and b"\xed\xa0" <= unfinished <= b"\xed\xbf":
            self._refuse_text(len(self._message) - 2)

    def _refuse_text(self, start: int) -> NoReturn:
        """Refuse text whose broken character starts at this offset."""
        _refuse(1007, "text is not UTF-8", payload=bytes(self._message[: min(start + 1, _EXCERPT_BYTES)]))

    def _read_control(self, opcode: int, payload: bytes) -> Ping | Pong | Close:
        if opcode == PING:
            return Ping(payload)
        if opcode == PONG:
            return Pong(payload)
        close = _read_close(payload)
        self._ended = True
        return close


def encode_frame(opcode: int, payload: bytes, *, fin: bool = True, rsv: int = 0) -> bytes:
    """One unmasked frame, as a server sends it (RFC 6455 section 5.2).

    It may be one that the protocol forbids, such as a ping of 300 bytes: a test server has to send those too.

    Args:
        opcode: 0 to 15.
        payload: The payload; its length takes the shortest encoding.
        fin: Whether it is the last frame of its message.
        rsv: The three reserved bits as a number, 0 to 7; RSV1 is 4.

    Raises:
        ValueError: ``opcode`` or ``rsv`` is out of range.
    """
    if not 0 <= opcode <= 15:
        raise ValueError(f"opcode must be from 0 to 15, not {opcode}")
    if not 0 <= rsv <= 7:
        raise ValueError(f"rsv must be from 0 to 7, not {rsv}")
    first = (_FIN if fin else 0) | rsv << 4 | opcode
    length = len(payload)
    if length < _LENGTH_16:
        return struct.pack("!BB", first, length) + payload
    if length < 1 << 16:
        return struct.pack("!BBH", first, _LENGTH_16, length) + payload
    return struct.pack("!BBQ", first, _LENGTH_64, length) + payload


def close_payload(code: int, reason: str = "") -> bytes:
    """The payload of a close frame (RFC 6455 section 5.5.1).

    Args:
        code: 0 to 65535, sent as it is; 1005 means a frame without code and reason, hence no bytes at all.
        reason: Cut to 123 bytes of UTF-8, at a character boundary; a lone surrogate becomes a question mark.

    Raises:
        ValueError: ``code`` does not fit into two bytes.
    """
    if not 0 <= code <= 0xFFFF:
        raise ValueError(f"code must be from 0 to 65535, not {code}")
    if code == _NO_CODE:
        return b""
    words = reason.encode("utf-8", "replace")[:_MAX_REASON_BYTES]
    return struct.pack("!H", code) + words.decode("utf-8", "ignore").encode()


class _RefusedError(Exception):
    """Carries a violation from where it is found to ``feed``."""

    def __init__(self, violation: Violation) -> None:
        super().__init__(violation.reason)
        self.violation = violation


def _refuse(code: int, reason: str, *, payload: bytes = b"", size: int = 0) -> NoReturn:
    raise _RefusedError(Violation(code, reason, payload, size))


def _judge_length(announced: int, length: int) -> int:
    """An extended length, refused unless it is the shortest way to say it (RFC 6455 section 5.2)."""
    if announced == _LENGTH_64 and length >> 63:
        _refuse(1002, "length with the top bit set")
    if length < (_LENGTH_16 if announced == _LENGTH_16 else 1 << 16):
        _refuse(1002, "length not in its shortest encoding")
    return length


def _read_close(payload: bytes) -> Close:
    """A close frame's payload; codes by RFC 6455 section 7.4 and the IANA registry (1012 to 1014)."""
    if not payload:
        return Close(_NO_CODE, "")
    if len(payload) == 1:
        _refuse(1002, "close frame of one byte")
    code = int.from_bytes(payload[:2])
    if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        _refuse(1002, f"invalid close code {code}")
    try:
        return Close(code, str(payload[2:], "utf-8"))
    except UnicodeDecodeError:
        _refuse(1007, "close reason is not UTF-8", payload=payload[2:])


def _unmask(data: bytes, mask: bytes) -> bytes:
    """``data`` XOR ``mask`` repeated (RFC 6455 section 5.3); without a mask the data as they are."""
    if not mask:
        return data
    size = len(data)
    key = (mask * (size // 4 + 1))[:size]
    # One XOR of two long integers: a hundred times faster than one of each byte.
    return (int.from_bytes(data) ^ int.from_bytes(key)).to_bytes(size)
