"""The headers of what goes to browsers, and who may ask for it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol

__all__ = ["FILE_HEADERS", "PAGE_HEADERS", "STREAM_HEADERS", "Headers", "from_elsewhere"]

_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}

PAGE_HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Content-Type": "text/html; charset=utf-8",
        "Cache-Control": "no-store",
        "Content-Security-Policy": (
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
            "require-trusted-types-for 'script'; trusted-types 'none'"
        ),
        "Cross-Origin-Opener-Policy": "same-origin",
        "X-Frame-Options": "DENY",
        **_ALWAYS,
    }
)
"""Of the page: nothing but this origin's own files is loaded, and no text can become code."""

STREAM_HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Content-Type": "text/event-stream; charset=utf-8",
        "Cache-Control": "no-store",
        "X-Accel-Buffering": "no",  # nginx passes each event on as it comes
        "Content-Encoding": "identity",  # compressing middleware, which would buffer, leaves it alone
        **_ALWAYS,
    }
)
"""Of the stream of events."""

FILE_HEADERS: Final[Mapping[str, str]] = MappingProxyType({"Cache-Control": "no-cache", **_ALWAYS})
"""Of script and style sheet, which have an ``ETag``."""


class Headers(Protocol):
    """What every framework's headers can do."""

    def get(self, name: str, /) -> str | None:
        """A header's value, whatever the case of its name."""


def from_elsewhere(headers: Headers, host: str, *, page: bool) -> bool:
    """Whether a browser asks on behalf of another site, which is to be refused with 403.

    Args:
        headers: The request's, of which ``Sec-Fetch-*`` and ``Origin`` are asked for.
        host: The request's ``Host``.
        page: Whether the page is asked for, to which another site may well link.
    """
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        if page and headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document":
            return False
        return site not in ("same-origin", "none")
    origin = headers.get("Origin")  # browsers from before Sec-Fetch-Site, and what is no browser
    return origin is not None and origin.partition("://")[2] != host  # not taken apart: it may be anything
