"""The table of options, made from the fields of `ClientConfig`."""

from __future__ import annotations

from typing import Any

import attrs

from realtime_client import ClientConfig, options

__all__ = ["option_table"]

PREFIX = "REALTIME_"
MIB = 1024 * 1024


def option_table() -> str:
    """Markdown: every option with its environment variable, its default, what it means and what it allows."""
    lines = ["| option, variable | default | meaning |", "|---|---|---|"]
    for field in attrs.fields(ClientConfig):
        rule: options.Rule = field.metadata["rule"]
        variable = "" if isinstance(rule, options.Object) else f"<br>`{PREFIX}{field.name.upper()}`"
        cells = (
            f"`{field.name}`{variable}",
            f"`{shown_default(field)}`",
            f"{plain(field.metadata['doc'])}<br>*Allowed: {plain(rule.allowed)}.*",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def shown_default(field: attrs.Attribute[Any]) -> str:
    """A default as a person would write it."""
    value = field.default
    if isinstance(value, int) and not isinstance(value, bool) and value >= MIB and value % MIB == 0:
        return f"{value // MIB} * 1024 * 1024"
    if isinstance(value, float):
        return f"{value:g}"
    return repr(value)


def plain(text: str) -> str:
    """A text in which nothing is markup."""
    return "".join("\\" + character if character in r"\`*_{}[]<>|#" else character for character in text)
