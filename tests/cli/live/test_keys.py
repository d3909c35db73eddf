"""Keys from bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_client.cli.live.keys import KeyDecoder

CASES = [
    (b"q", ["q"]),
    (b"/disk\r", ["/", "d", "i", "s", "k", "enter"]),
    (b"\n\x7f\x08\x15 ", ["enter", "backspace", "backspace", "clear", " "]),
    (b"\x1b[A\x1bOB\x1b[5~\x1b[6~", ["up", "down", "pageup", "pagedown"]),
    (b"\x1b[H\x1bOF\x1b[1~\x1b[4~\x1b[7~\x1b[8~", ["home", "end", "home", "end", "home", "end"]),
    ("ü日".encode(), ["ü", "日"]),
    (b"\x1b[C\x1b[3~\x1b[1;5A\x1b[200~a\x1b[201~\x1bOP", ["a"]),  # what has no name is left out as a whole
    (b"\x01\x02\t\xff", []),
    (b"\x1bq", ["escape", "q"]),
    (b"\x1b\x1b[A", ["escape", "up"]),
]


@pytest.mark.parametrize(("data", "keys"), CASES)
def test_keys(data: bytes, keys: list[str]) -> None:
    decoder = KeyDecoder()
    assert decoder.feed(data) + decoder.flush() == keys
    assert not decoder.waits


@pytest.mark.parametrize(("data", "keys"), CASES)
def test_keys_may_be_cut_anywhere(data: bytes, keys: list[str]) -> None:
    decoder = KeyDecoder()
    assert [key for byte in data for key in decoder.feed(bytes([byte]))] + decoder.flush() == keys


def test_a_lone_escape_is_a_key_once_nothing_follows() -> None:
    decoder = KeyDecoder()
    assert decoder.feed(b"\x1b") == []
    assert decoder.waits
    assert decoder.flush() == ["escape"]
    assert decoder.feed(b"\x1b[") == []
    assert decoder.flush() == []
    assert not decoder.waits


@given(st.binary())
def test_no_bytes_are_too_strange(data: bytes) -> None:
    decoder = KeyDecoder()
    assert all(key for key in decoder.feed(data) + decoder.flush())


def test_a_sequence_without_end_takes_no_memory() -> None:
    decoder = KeyDecoder()
    decoder.feed(b"\x1b[" + b"1" * 10_000)
    assert len(decoder._begun) < 100
