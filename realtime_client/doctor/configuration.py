"""The first step of every connection: what the options come to."""

from __future__ import annotations

from typing import Any

import attrs

from realtime_client import options
from realtime_client.config import ClientConfig
from realtime_client.doctor.checks import Finding, Verdict
from realtime_client.errors import ConnectTimeout
from realtime_client.hosts import is_this_machine
from realtime_client.redaction import show_url
from realtime_client.transports.callables import Callables
from realtime_client.transports.errands import Abandoned, Errands

__all__ = ["ask_for", "judge_config"]


def ask_for(name: str, rule: options.Rule, config: ClientConfig, deadline: float) -> Any:
    """The value of an option that may be a callable of the user's, which is asked on a thread of its own.

    Raises:
        ConnectError: It gives nothing to go on with.
    """
    try:
        return Callables(config.name).ask(name, getattr(config, name), rule, Errands(), deadline)
    except Abandoned:
        raise ConnectTimeout(f"the {name} callable does not return") from None


def judge_config(config: ClientConfig, *, has_credentials: bool, host: str, scheme: str, secure: str) -> Finding:
    """What there is to say of the options: where to, with what, and whether credentials go there in the clear.

    Args:
        config: The options.
        has_credentials: Whether something secret is sent along.
        host: Where to.
        scheme: The URL's.
        secure: The scheme that keeps secrets.
    """
    default = ClientConfig()
    changed = [f.name for f in attrs.fields(ClientConfig) if getattr(config, f.name) != getattr(default, f.name)]
    others = [name for name in changed if name not in ("url", "token", "headers")]
    parts = [show_url(config.url), "with credentials" if has_credentials else "without credentials"]
    found = ", ".join([*parts, *([f"not by default: {', '.join(others)}"] if others else [])])
    if has_credentials and scheme != secure and not is_this_machine(host):
        cause = "whoever is on the way can read them"
        return Finding(f"{found}; they go over {scheme}:// in the clear", Verdict.WARN, cause, f"use {secure}://")
    return Finding(found)
