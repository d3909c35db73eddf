"""Seeded damage: the same dice do the same harm."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

__all__ = ["KINDS", "mutated", "sliced"]

# Bytes that mean something where they are read: frame headers, lengths, deflate's tail, HTTP, JSON, UTF-8.
TELLING = (
    *(bytes([first]) for first in (0x00, 0x01, 0x02, 0x08, 0x7F, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A, 0xC1, 0xC2, 0xFF)),
    *(b"\x7e\x00\x7d", b"\x7e\xff\xff", b"\x7f" + bytes(7) + b"\x01", b"\x7f\x80" + bytes(7), b"\x7f" + b"\xff" * 8),
    *(b"\x00\x00\xff\xff", b"\x88\x02\x03\xe8", b"\x88\x00", b"\x88\x01\x03", b"\x89\x00", b"\x01\x00", b"\x80\x00"),
    *(b"\r\n", b"\r\n\r\n", b": ", b"\x00", b"HTTP/1.1 101 \r\n", b"Connection: close\r\n"),
    *(b'"', b"{", b"}", b"[", b"null", b"1e999", b"NaN", b"\\ud800", b"\xed\xa0\x80", b"\xc3", b"\xf4\x90\x80\x80"),
)

Mutation = Callable[[bytearray, random.Random], None]


def _somewhere(data: bytearray, dice: random.Random) -> tuple[int, int]:
    """A range of a few bytes, now and then of many."""
    start = dice.randrange(len(data))
    return start, min(len(data), start + dice.choice((1, 1, 2, 4, 8, 40, 400)))


def _flip_bit(data: bytearray, dice: random.Random) -> None:
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def _set_byte(data: bytearray, dice: random.Random) -> None:
    data[dice.randrange(len(data))] = dice.randrange(256)


def _cut(data: bytearray, dice: random.Random) -> None:
    del data[dice.randrange(len(data)) :]


def _remove(data: bytearray, dice: random.Random) -> None:
    start, stop = _somewhere(data, dice)
    del data[start:stop]


def _duplicate(data: bytearray, dice: random.Random) -> None:
    start, stop = _somewhere(data, dice)
    data[stop:stop] = data[start:stop] * dice.choice((1, 1, 3))


def _insert(data: bytearray, dice: random.Random) -> None:
    at = dice.randrange(len(data) + 1)
    data[at:at] = dice.choice(TELLING) if dice.random() < 0.7 else dice.randbytes(dice.randint(1, 12))


def _length(data: bytearray, dice: random.Random) -> None:
    """Change what may be a length: the second byte of a frame's header, where one seems to begin."""
    begins = [at for at in range(len(data) - 1) if data[at] in (0x81, 0x82, 0x88, 0x89, 0x01, 0x00, 0x80, 0xC1)]
    at = dice.choice(begins) + 1 if begins else dice.randrange(len(data))
    data[at] = dice.choice((0, 1, data[at] ^ 1, 0x7D, 0x7E, 0x7F, 0x80 | data[at], dice.randrange(256)))


KINDS: dict[str, Mutation] = {
    "bit flip": _flip_bit,
    "byte": _set_byte,
    "cut": _cut,
    "removal": _remove,
    "duplication": _duplicate,
    "insertion": _insert,
    "length": _length,
}


def mutated(data: bytes, dice: random.Random, *, times: int) -> tuple[bytes, list[str]]:
    """Data that so many mutations were done to, and the names of those."""
    result = bytearray(data)
    done = []
    for _ in range(times):
        if not result:
            break
        name = dice.choice(tuple(KINDS))
        KINDS[name](result, dice)
        done.append(name)
    return bytes(result), done


def sliced(data: bytes, dice: random.Random) -> Sequence[bytes]:
    """Data cut into pieces at random, one in four times into single bytes."""
    if dice.random() < 0.25:
        return [data[at : at + 1] for at in range(len(data))]
    cuts = sorted(dice.randint(0, len(data)) for _ in range(dice.randint(0, 8)))
    return [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True)]
