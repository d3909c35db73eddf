"""The page and its files: complete, with nothing inline and nothing from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from realtime_client.web import FILES, page, static_file

URLS = {name: f"/feed/files/{name}" for name in FILES}


class Reader(HTMLParser):
    """Collects elements with their attributes, and the text inside of scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.code = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] in ("script", "style"):
            self.code += data.strip()


def read(**options: str) -> Reader:
    reader = Reader()
    reader.feed(page(title=options.get("title", "Feed"), stream_url="/feed/stream", file_urls=URLS).decode())
    return reader


def test_the_page_has_no_inline_code_and_no_foreign_address() -> None:
    reader = read()
    assert reader.code == ""
    for tag, attributes in reader.elements:
        assert "style" not in attributes, tag
        assert not [name for name in attributes if name.startswith("on")], tag
    addresses = {a[key] for _, a in reader.elements for key in ("src", "href") if key in a}
    assert addresses == {"#anomalies", *URLS.values()}


def test_what_is_put_into_the_page_is_text() -> None:
    text = page(title='<script>"&', stream_url="/x?a=1&b=2", file_urls=URLS).decode()
    assert "<title>&lt;script&gt;&quot;&amp;</title>" in text
    assert 'data-stream="/x?a=1&amp;b=2"' in text
    assert "{{" not in text


@pytest.mark.parametrize("name", FILES)
def test_files_come_with_type_and_tag(name: str) -> None:
    found = static_file(name)
    assert found.body
    assert found.media_type == FILES[name]
    assert re.fullmatch(r'"[0-9a-f]{24}"', found.etag)


def test_there_are_no_other_files() -> None:
    for name in ("dashboard.html", "../page.py", ""):
        with pytest.raises(KeyError):
            static_file(name)


def test_the_script_makes_no_code_and_no_markup_of_texts() -> None:
    script = static_file("dashboard.js").body.decode()
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", ".style"):
        assert word not in script
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", script + static_file("dashboard.css").body.decode())


def test_every_control_has_a_name() -> None:
    reader = read()
    labelled = {a.get("for") for tag, a in reader.elements if tag == "label"}
    for tag, attributes in reader.elements:
        if tag in ("input", "select"):
            assert attributes["id"] in labelled
    ids = [a["id"] for _, a in reader.elements if "id" in a]
    assert len(ids) == len(set(ids))
    references = {a[key] for _, a in reader.elements for key in ("for", "aria-labelledby") if key in a}
    assert references <= set(ids)
