"""The documentation as a reader has it: every link leads somewhere, nothing comes from elsewhere, the search finds."""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser.browsing import Browser
from tests.browser.chromium import PATIENCE, chromium
from tests.docs.examples import ROOT, pages
from tests.network import steady

pytestmark = pytest.mark.timeout(300)  # the first test builds the site

DOCUMENTS = [page.removeprefix("docs/").removesuffix(".md") for page in pages() if page.startswith("docs/")]
PHONE = 390
"""Pixels."""


class Page(HTMLParser):
    """What a page refers to, and what in it can be referred to.

    Attributes:
        names: The anchors.
        links: Where a reader may go.
        needs: What the browser loads by itself.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.links: list[str] = []
        self.needs: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attrs if value}
        self.names.update(values[name] for name in ("id", "name") if name in values)
        if "src" in values:
            self.needs.append(values["src"])
        if "href" in values:
            (self.links if tag == "a" or values.get("rel") in ("next", "prev") else self.needs).append(values["href"])


def read(site: Path) -> dict[str, Page]:
    """Every page of the site, by its path."""
    found = {path.relative_to(site).as_posix(): path for path in site.rglob("*.html")}
    return {name: Page(path.read_text(encoding="utf-8")) for name, path in found.items()}


def broken(site: Path) -> Iterator[str]:
    """What leads nowhere."""
    found = read(site)
    for name, page in found.items():
        for link in [*page.links, *page.needs]:
            parts = urlsplit(urljoin(name, link))
            if parts.scheme:
                continue
            target = unquote(parts.path)
            if not (site / target).is_file():
                yield f"{name}: {link}: there is no such file"
            elif parts.fragment and target in found and unquote(parts.fragment) not in found[target].names:
                yield f"{name}: {link}: there is no such place on that page"


def test_every_link_leads_somewhere(site: Path) -> None:
    assert {f"{document}.html" for document in DOCUMENTS} <= set(read(site))
    assert list(broken(site)) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "there.html").write_text('<h1 id="here">There</h1>')
    links = ("there.html", "there.html#here", "there.html#gone", "gone.html", "https://example.com/gone")
    (tmp_path / "index.html").write_text("".join(f'<a href="{link}">' for link in links) + '<img src="gone.png">')
    assert [found.split(": ")[1] for found in broken(tmp_path)] == ["there.html#gone", "gone.html", "gone.png"]


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    foreign = [need for page in read(site).values() for need in page.needs if urlsplit(need).scheme not in ("", "data")]
    assert foreign == []
    sheets = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert re.findall(r"(?:@import|url\()\s*['\"]?(?:https?:)?//[^)'\"]*", sheets) == []


def heading_anchors(text: str) -> set[str]:
    """The anchors of a Markdown page as repositories' web pages make them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*pages(), "CHANGELOG.md"])
def test_links_between_the_sources_lead_somewhere(page: str) -> None:
    """The pages are also read as they are, where the checkout is."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)):
        parts = urlsplit(link)
        if parts.scheme:
            continue
        target = (ROOT / page).parent / unquote(parts.path) if parts.path else ROOT / page
        assert target.is_file(), link
        if parts.fragment and target.suffix == ".md":
            source = target.read_text(encoding="utf-8")
            assert parts.fragment in heading_anchors(source), link


def test_the_first_page_says_for_whom_each_page_is() -> None:
    table = [line for line in (ROOT / "docs/index.md").read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    named = [link for line in table for link in re.findall(r"\]\(([\w/-]+)\.md\)", line)]
    assert sorted(named) == sorted(document for document in DOCUMENTS if document != "index")


def test_every_picture_is_looked_at() -> None:
    texts = "".join((ROOT / page).read_text(encoding="utf-8") for page in pages())
    pictures = [path.name for path in (ROOT / "docs/images").iterdir()]
    assert len(pictures) >= 10
    assert [name for name in pictures if name not in texts] == []


@pytest.fixture(scope="module")
def served(site: Path) -> Iterator[str]:
    """The site's address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="module")
def driver() -> Iterator[webdriver.Chrome]:
    with chromium() as driver:
        yield driver


@pytest.fixture
def steady_network() -> Iterator[None]:
    with steady():
        yield


@pytest.mark.usefixtures("steady_network")
@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("backfill_timeout", "configuration.html"),
        ("gunicorn preload", "deploying.html"),
        ("wait_for", "reference.html"),
        ("Retry-After", "reconnection.html"),
        ("systemd", "scripts.html"),
        ("fork", "processes.html"),
        ("WebSocketApp", "migrating.html"),
        ("exit code", "command-line.html"),
    ],
)
def test_the_search_finds(words: str, page: str, driver: webdriver.Chrome, served: str) -> None:
    driver.get(f"{served}/search.html?q={words.replace(' ', '+')}")
    found = "return [...document.querySelectorAll('#search-results li a')].map((a) => a.getAttribute('href'))"
    WebDriverWait(driver, PATIENCE).until(
        lambda _: any(urlsplit(link).path == page for link in driver.execute_script(found)), f"{page} is not found"
    )


@pytest.mark.usefixtures("steady_network")
def test_every_page_fits_on_a_phone(driver: webdriver.Chrome, served: str) -> None:
    Browser(driver).size(PHONE, 800, phone=True)
    wide = {}
    for document in DOCUMENTS:
        driver.get(f"{served}/{document}.html")
        width = driver.execute_script("return document.documentElement.scrollWidth")
        if width > PHONE:
            wide[document] = width
    complaints = [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]  # type: ignore[no-untyped-call]
    assert (wide, complaints) == ({}, [])
