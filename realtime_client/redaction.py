"""What may be shown: URLs without the places where secrets live, and errors whatever they are."""

from __future__ import annotations

from urllib.parse import urlsplit

from realtime_client.addresses import SCHEME

__all__ = ["describe", "show_url"]


def show_url(url: str) -> str:
    """Show a URL without user name, password, query and fragment; of a recording's the path, whatever is in it.

    Args:
        url: Any text; what is no URL comes back as ``"(unreadable URL)"``, since it may be a secret in the wrong place.
            So does a URL with an ``@`` past its host: that is most likely a password with a bare ``/``, ``?`` or ``#``.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "(unreadable URL)"
    past_host = parts.path + parts.query + parts.fragment
    if parts.scheme.lower() == SCHEME and parts.path and not parts.netloc and url.isprintable():
        return f"{SCHEME}:{parts.path}" + ("?…" if parts.query else "")
    if not parts.scheme or not host or "@" in past_host or not url.isprintable():
        return "(unreadable URL)"
    netloc = f"[{host}]" if ":" in host else host
    if port is not None:
        netloc += f":{port}"
    query = "?…" if parts.query else ""
    return f"{parts.scheme}://{netloc}{parts.path}{query}"


def describe(error: BaseException) -> str:
    """An error's type and words, also where its own ``__str__`` fails."""
    try:
        words = str(error)
    except Exception:  # noqa: BLE001 - somebody else's code
        words = "(its text cannot be had)"
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
