"""Text in cells."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcwidth import wcswidth

from realtime_client.cli.cells import cells, cut, fit, visible, wrap

texts = st.text(st.characters(exclude_categories=["Cs"]))
printable = texts.filter(str.isprintable)


@pytest.mark.parametrize(
    ("text", "width"), [("", 0), ("abc", 3), ("日本語", 6), ("🔥", 2), ("e\u0301", 1), ("\uff46", 2), ("\uff8a", 1)]
)
def test_cells(text: str, width: int) -> None:
    assert cells(text) == width == wcswidth(text)


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("disk full", 9, "disk full"),
        ("disk full", 8, "disk fu…"),
        ("日本語", 6, "日本語"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日…"),
        ("日本語", 1, "…"),
        ("abc", 0, ""),
        ("a\x1b[2Jb\u202e", 99, "a\\x1b[2Jb\\u202e"),
        ("❤\ufe0f!", 9, "❤!"),
        ("\ud800", 9, "\\ud800"),
        ("", 3, ""),
    ],
)
def test_cut(text: str, width: int, shown: str) -> None:
    assert cut(text, width) == shown


def test_fit_fills_up_on_either_side() -> None:
    assert fit("日本", 6) == "日本  "
    assert fit("0.5", 5, right=True) == "  0.5"


@given(texts, st.integers(0, 40))
def test_fit_takes_exactly_its_cells_and_commands_nothing(text: str, width: int) -> None:
    shown = fit(text, width)
    assert cells(shown) == width
    assert shown.isprintable()


@given(texts, st.integers(2, 40))
def test_wrap_loses_nothing_but_blanks(text: str, width: int) -> None:
    lines = list(wrap(text, width))
    assert all(cells(line) <= width and line.isprintable() for line in lines)
    kept = "".join(c for c in visible(text) if not 0xFE00 <= ord(c) < 0xFE10 and not 0xE0100 <= ord(c) < 0xE01F0)
    assert "".join(lines).replace(" ", "") == "".join(kept.split())


def test_wrap_breaks_at_blanks() -> None:
    assert list(wrap("the disk of the host is full", 12)) == ["the disk of", "the host is", "full"]
    assert list(wrap("abcdefgh ij", 3)) == ["abc", "def", "gh", "ij"]
    assert list(wrap("日本語", 1)) == ["日", "本", "語"]
    assert list(wrap("", 5)) == [""]


def test_a_huge_text_is_cut_without_being_read() -> None:
    assert cut("\x00" * 100_000_000, 5) == "\\x00…"
