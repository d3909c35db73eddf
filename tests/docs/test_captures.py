"""The pictures of the live view show what the page says of them."""

from __future__ import annotations

import html
import re

import pytest
from terminal_captures import MOMENTS, SIZES, capture_name, svg_of

from tests.docs.examples import ROOT

IMAGES = ROOT / "docs" / "images"
WORDS = {
    "connected": ("CONNECTED · stream", "latency", "reconnects 0", "Anomalies · "),
    "outage": ("UNAVAILABLE · stale", "outage declared", "Connection refused", "the figures are of "),
    "after": ("CONNECTED · stream", "latency", "reconnects 1", "Anomalies · "),
}


def words_of(svg: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", svg)).replace("\xa0", " ")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_picture_shows_its_moment(size: tuple[int, int], moment: str) -> None:
    svg = (IMAGES / capture_name(size, moment)).read_text(encoding="utf-8")
    text = words_of(svg)
    for words in WORDS[moment]:
        assert words in text
    assert "quit" in text
    assert not re.search(r"(src|href)=|url\(\"?http|@import", svg)  # it loads nothing from elsewhere


def test_every_picture_is_on_the_page() -> None:
    page = (ROOT / "docs/live-view.md").read_text(encoding="utf-8")
    assert set(re.findall(r"images/(watch-\S+?\.svg)", page)) == {
        capture_name(size, moment) for size in SIZES for moment in MOMENTS
    }


def test_a_picture_keeps_text_and_colour() -> None:
    svg = svg_of("\x1b[31mred\x1b[0m & <plain>", 20)
    assert "red & <plain>" in words_of(svg)
    assert "font-face" not in svg
