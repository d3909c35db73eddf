"""What may be shown of a URL: everything but the places where secrets live."""

from __future__ import annotations

from urllib.parse import urlsplit

__all__ = ["show_url"]


def show_url(url: str) -> str:
    """Show a URL without user name, password, query values and fragment.

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
    if not parts.scheme or not host or "@" in past_host or not url.isprintable():
        return "(unreadable URL)"
    netloc = f"[{host}]" if ":" in host else host
    if port is not None:
        netloc += f":{port}"
    query = "?…" if parts.query else ""
    return f"{parts.scheme}://{netloc}{parts.path}{query}"
