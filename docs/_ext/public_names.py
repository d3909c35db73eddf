"""References to a class by the module that defines it lead to the name that users import it by."""

from __future__ import annotations

import importlib
from typing import Any

from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from realtime_client import RealtimeClient

__all__ = ["public_path", "setup"]

PUBLIC_MODULES = (
    "realtime_client",
    "realtime_client.testing",
    "realtime_client.demo",
    "realtime_client.recording",
    "realtime_client.doctor",
)


def public_path(target: str) -> str | None:
    """The name that users write, or ``None`` for what is not public.

    ``realtime_client.status.Gap`` and ``Gap`` alike are ``realtime_client.Gap``; a bare ``connect`` is the client's.
    """
    if hasattr(RealtimeClient, target):
        return f"realtime_client.RealtimeClient.{target}"
    for module in PUBLIC_MODULES:
        for name in importlib.import_module(module).__all__:
            parts = target.split(".")
            if name in parts:
                return ".".join([module, *parts[parts.index(name) :]])
    return None


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: Any) -> Any:
    """Try a reference that was not found once more, by its public name."""
    path = public_path(node.get("reftarget", ""))
    if node.get("refdomain") != "py" or path is None or path == node["reftarget"]:
        return None
    return env.domains["py"].resolve_xref(env, node["refdoc"], app.builder, "obj", path, node, content)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
