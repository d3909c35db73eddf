"""permessage-deflate, the receiving half of a client (RFC 7692): nothing is compressed on the way out."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from realtime_client.errors import ConnectError

__all__ = ["EXTENSION", "OFFER", "Agreement", "BrokenDeflateError", "Inflate", "read_agreement"]

EXTENSION: Final = "permessage-deflate"
OFFER: Final = "permessage-deflate; client_max_window_bits; client_no_context_takeover"
"""What is offered. The client's half is settled for the least, since the client never compresses."""

_TAIL: Final = b"\x00\x00\xff\xff"  # what the sender strips from each message (section 7.2.1)
PIECE: Final = 64 * 1024
MAX_FINAL_BLOCKS: Final = 100
"""How many final blocks a message may hold: each makes a new context, and a message of nothing else would cost seconds.
A sender has one at the end of a message, if any."""
_FLAGS: Final = ("server_no_context_takeover", "client_no_context_takeover")
_SIZES: Final = ("server_max_window_bits", "client_max_window_bits")


class Agreement(NamedTuple):
    """What the server agreed to (RFC 7692 section 7.1).

    Attributes:
        window_bits: The server's window, 8 to 15.
        takeover: Whether the server keeps its window from message to message.
    """

    window_bits: int = 15
    takeover: bool = True


def read_agreement(values: Sequence[str]) -> Agreement | None:
    """Read the ``Sec-WebSocket-Extensions`` of an answer to `OFFER`.

    Args:
        values: The header's values.

    Returns:
        What was agreed, or ``None`` where the server wants no compression.

    Raises:
        ConnectError: It agrees to something that was not offered, or not in the form of RFC 7692.
    """
    if not any(value.strip(" \t") for value in values):
        return None
    if len(values) > 1 or "," in values[0]:
        raise ConnectError("the server agreed to more than one extension")
    name, *parameters = (part.strip(" \t") for part in values[0].split(";"))
    if name != EXTENSION:
        raise ConnectError("the server agreed to an extension that was not offered")
    found: dict[str, str] = {}
    for parameter in parameters:
        key, sign, value = (part.strip(" \t") for part in parameter.partition("="))
        value = value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
        is_flag, is_size = key in _FLAGS and not sign, key in _SIZES and value in map(str, range(8, 16))
        if key in found or not (is_flag or is_size):
            raise ConnectError(f"the server's parameters for {EXTENSION} are not those of RFC 7692")
        found[key] = value
    return Agreement(
        window_bits=int(found.get("server_max_window_bits", "15")), takeover="server_no_context_takeover" not in found
    )


class BrokenDeflateError(Exception):
    """What came is no deflate data."""


class Inflate:
    """Inflates the messages of one connection; its context is made with the first of them.

    Args:
        agreement: What the server agreed to.
    """

    def __init__(self, agreement: Agreement) -> None:
        self._window_bits = agreement.window_bits
        self._takeover = agreement.takeover
        self._context: zlib._Decompress | None = None
        self._final_blocks = 0  # of the message in progress

    def inflate(self, data: bytes, room: int, *, last: bool) -> Iterator[bytes]:
        """Inflate the next part of a message, in small pieces, never to more than one byte past ``room``.

        Args:
            data: Compressed payload.
            room: Bytes that the message may still grow by; a longer result says that it is too large.
            last: Whether the message ends with this part.

        Yields:
            Up to 64 KiB each, so that hardly more memory is taken than the message has room for.

        Raises:
            BrokenDeflateError: It is no deflate data.
        """
        appended = len(_TAIL) if last else 0
        if last:
            data += _TAIL
        try:
            # A block may say that it is the final one (section 7.2.3.4); what follows begins afresh. But not what was
            # appended alone: it begins nothing, and would spoil the next message.
            while self._context is not None or len(data) > appended:
                context = self._context = self._context or zlib.decompressobj(-self._window_bits)
                size = min(PIECE, room + 1)
                piece = context.decompress(data, size)
                room -= len(piece)
                yield piece
                if context.eof:
                    self._begin_afresh()
                    data = context.unused_data
                elif len(piece) == size:  # there may be more of it
                    data = context.unconsumed_tail
                else:
                    break
                if room < 0:
                    break
        except zlib.error as error:
            raise BrokenDeflateError(str(error)) from None
        if last:
            self._final_blocks = 0
            if not self._takeover:
                self._context = None

    def _begin_afresh(self) -> None:
        self._context = None
        self._final_blocks += 1
        if self._final_blocks > MAX_FINAL_BLOCKS:
            raise BrokenDeflateError(f"more than {MAX_FINAL_BLOCKS} final blocks in a message")
