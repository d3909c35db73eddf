"""The table of options, made from the fields of `ClientConfig`."""

from __future__ import annotations

from realtime_client.config import described_options

__all__ = ["option_table"]


def option_table() -> str:
    """Markdown: every option with its environment variable, its default, what it means and what it allows."""
    lines = ["| option, variable | default | meaning |", "|---|---|---|"]
    for option in described_options():
        cells = (
            f"`{option.name}`" + ("" if option.variable is None else f"<br>`{option.variable}`"),
            f"`{option.default}`",
            f"{plain(option.doc)}<br>*Allowed: {plain(option.allowed)}.*",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plain(text: str) -> str:
    """A text in which nothing is markup."""
    return "".join("\\" + character if character in r"\`*_{}[]<>|#" else character for character in text)
