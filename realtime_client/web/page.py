"""The dashboard's page and its files, as they are in the package."""

from __future__ import annotations

import functools
import hashlib
import html
from pathlib import Path

import attrs

__all__ = ["FILES", "StaticFile", "page", "static_file"]

FILES = {
    "dashboard.js": "text/javascript; charset=utf-8",
    "dashboard.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""What the page needs, with its media types."""

STATIC = Path(__file__).parent / "static"


@attrs.frozen
class StaticFile:
    """One file of the page.

    Attributes:
        body: Its bytes.
        media_type: What they are.
        etag: Changes with them.
    """

    body: bytes
    media_type: str
    etag: str


@functools.cache
def static_file(name: str) -> StaticFile:
    """A file of the page, by its name.

    Raises:
        KeyError: There is no such file.
    """
    media_type = FILES[name]
    body = _read(name)
    return StaticFile(body, media_type, f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"')


def page(*, title: str, stream_url: str, file_urls: dict[str, str]) -> bytes:
    """The page.

    Args:
        title: What it is called.
        stream_url: Where the stream is.
        file_urls: Where each of ``FILES`` is.
    """
    text = _read("dashboard.html").decode()
    for name, value in {"title": title, "stream": stream_url, **file_urls}.items():
        text = text.replace("{{" + name + "}}", html.escape(value))
    return text.encode()


@functools.cache
def _read(name: str) -> bytes:
    return (STATIC / name).read_bytes()
