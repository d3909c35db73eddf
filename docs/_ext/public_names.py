"""References to a class by the module that defines it lead to the name that users import it by."""

from __future__ import annotations

import importlib
from typing import Any

from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from realtime_client import RealtimeClient

__all__ = ["PUBLIC_MODULES", "public_path", "setup"]

PUBLIC_MODULES = (
    "realtime_client",
    "realtime_client.testing",
    "realtime_client.demo",
    "realtime_client.recording",
    "realtime_client.doctor",
    "realtime_client.relay",
    "realtime_client.web",
    "realtime_client.integrations.flask",
    "realtime_client.integrations.django",
    "realtime_client.integrations.prometheus",
    "realtime_client.integrations.opentelemetry",
    "realtime_client.integrations.gunicorn",
)


def public_path(target: str) -> str | None:
    """The name that users write, or ``None`` for what is not public.

    ``realtime_client.status.Gap`` and ``Gap`` alike are ``realtime_client.Gap``; a bare ``connect`` is the client's.
    """
    if hasattr(RealtimeClient, target):
        return f"realtime_client.RealtimeClient.{target}"
    parts = target.split(".")
    # A name may be in two modules: there goes first the one in which the reference itself is.
    inside = [module for module in reversed(PUBLIC_MODULES) if target.startswith(f"{module}.")]
    for module in dict.fromkeys([*inside, *PUBLIC_MODULES]):
        for name in importlib.import_module(module).__all__:
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
