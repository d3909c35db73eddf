"""``realtime-client watch``: a live view of a feed, to be left open."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from realtime_client import ClientConfig, RealtimeClient
from realtime_client.cli.connecting import add_connection_arguments, config_of
from realtime_client.cli.course import Course
from realtime_client.cli.exits import EXIT_CODES, Exit, Failure
from realtime_client.cli.following import FORMALITIES, GOODBYE, add_color_argument, add_output_arguments, follow
from realtime_client.cli.rendering import wants_colour
from realtime_client.cli.selection import add_selection_arguments, selection_of

__all__ = [
    "DESCRIPTION",
    "EPILOG",
    "NEEDS_RICH",
    "WATCHING",
    "add_arguments",
    "can_show",
    "has_rich",
    "run",
    "show_live",
]

DESCRIPTION = """\
A live view of a feed on the whole terminal, made to be left open: the connection and where the figures come from, the
figures and their course, recent anomalies and alerts, and what was dropped or malformed. '?' shows the keys. It needs
the extra 'cli' (rich). Where standard output is no terminal, or a dumb one, it writes plain lines as tail does."""

EPILOG = f"""\
examples:
  realtime-client watch                                      the feed at REALTIME_URL, or ws://localhost:8080/ws
  realtime-client watch wss://logs.example.com/ws --token-file /run/secrets/feed
  realtime-client watch --level error --source 'web*'

{EXIT_CODES}"""

NEEDS_RICH = "rich: pip install 'realtime-client[cli]'"
WATCHING: Mapping[str, Any] = MappingProxyType({"read_interval": 0.1, "recent_logs_limit": 1_000})
"""Options of a client that is looked at twice a second: it reads in larger pieces, and keeps what passed meanwhile."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_connection_arguments(parser)
    add_color_argument(parser)
    add_selection_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Show the view; blocks until it ends.

    Returns:
        The exit code 0.

    Raises:
        Failure: Every other end.
    """
    if not can_show():
        lines = argparse.ArgumentParser(add_help=False)
        add_output_arguments(lines, hidden="")
        defaults = lines.parse_args(["--output", "pretty"])
        return follow(
            config_of(args, overflow="block"),
            argparse.Namespace(**{**vars(defaults), **vars(args)}),
            hidden=FORMALITIES,
        )
    return show_live(config_of(args, **WATCHING), args)


def can_show() -> bool:
    """Whether standard output is a terminal on which the view can be drawn."""
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    return os.name == "posix" and is_terminal and os.environ.get("TERM", "dumb") != "dumb"


def has_rich() -> bool:
    """Whether the library that draws the view is installed."""
    try:
        import rich.console  # noqa: F401, PLC0415 - not in the bare install
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "rich":
            raise
        return False
    return True


def show_live(config: ClientConfig, args: argparse.Namespace) -> int:
    """Show the live view of a feed; blocks until it ends.

    Args:
        config: Where to, and how; see `WATCHING`.
        args: What `add_color_argument` and `add_selection_arguments` added.

    Returns:
        The exit code 0.

    Raises:
        Failure: rich is missing, or there is no hope for the connection.
    """
    if not has_rich():
        raise Failure(Exit.USAGE, f"watch needs {NEEDS_RICH}")
    from realtime_client.cli.live.session import show  # noqa: PLC0415 - as above

    client = RealtimeClient(config=config)
    course = Course(client, talks=False)
    course.begin()
    try:
        client.connect(wait=False)
        show(client, course, selection_of(args), colour=wants_colour(args.color, sys.stdout))
    finally:
        client.close(timeout=GOODBYE)
    return Exit.DONE
