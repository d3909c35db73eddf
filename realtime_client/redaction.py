"""What may be shown of a URL: everything but the places where secrets live."""

from __future__ import annotations

from urllib.parse import urlsplit

__all__ = ["show_url"]


def show_url(url: str) -> str:
    """Show a URL without user name, password, query values and fragment.

    Args:
        url: Any text; what is no URL comes back as ``"(unreadable URL)"``, since it may be a secret in the wrong place.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "(unreadable URL)"
    if not parts.scheme or (not host and not parts.path):
        return "(unreadable URL)"
    netloc = f"[{host}]" if host and ":" in host else host or ""
    if port is not None:
        netloc += f":{port}"
    query = "?…" if parts.query else ""
    separator = "//" if parts.netloc else ""
    return f"{parts.scheme}:{separator}{netloc}{parts.path}{query}"
