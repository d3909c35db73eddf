"""The environment variables, as the help tells them: made from the options of the client."""

from __future__ import annotations

import textwrap

from realtime_client.config import PREFIX, DescribedOption, described_options

__all__ = ["environment_help"]

NAMES = 36
"""Columns for the names."""


def environment_help(width: int = 100) -> str:
    """What the environment can say, with its precedence: a line or two for each variable, in so many columns."""
    rows = [(option.variable, _meaning(option)) for option in described_options() if option.variable]
    at = [variable for variable, _ in rows].index(f"{PREFIX}TOKEN") + 1
    rows.insert(at, (f"{PREFIX}TOKEN_FILE", "File with the token, read anew for every attempt."))
    rows.append(("HTTPS_PROXY, HTTP_PROXY, ALL_PROXY", "Proxies, where none is given."))
    rows.append(("NO_PROXY", "Hosts that are reached without a proxy; this machine itself always is."))
    rows.append(("NO_COLOR, FORCE_COLOR, TERM", "Colours, where --color does not say."))
    lines = ["environment variables (options given here win over them, and they over the defaults, in parentheses):"]
    for name, text in rows:
        first, *more = textwrap.wrap(text, max(30, width - NAMES - 2)) or [""]
        lines.append(f"  {name:{NAMES}}{first}".rstrip())
        lines += [" " * (NAMES + 2) + line for line in more]
    return "\n".join(lines)


def _meaning(option: DescribedOption) -> str:
    return option.doc if option.default in ("None", "()") else f"{option.doc} ({option.default})"
