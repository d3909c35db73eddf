"""``manage.py realtime listen``: a process whose work is to follow the feed and to call the receivers."""

from __future__ import annotations

import argparse

from realtime_client.cli.streams import say
from realtime_client.integrations.django import realtime, signals
from realtime_client.integrations.listening import listen

__all__ = ["DESCRIPTION", "add_arguments", "run"]

DESCRIPTION = """\
Follow the feed that REALTIME_CLIENT names and send the signals, until Ctrl-C or SIGTERM. One such process is the place
for receivers that shall hear each event once, however many workers serve the site. Says on standard error what happens
to the connection, and outlives outages."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--quiet", action="store_true", help="say nothing about the connection, only errors")


def run(args: argparse.Namespace) -> int:
    """Listen; blocks until Ctrl-C or SIGTERM, which are raised in the main thread.

    Returns:
        The exit code 0: somebody closed the client; 1 if it did not come to its end in ``close_timeout``.

    Raises:
        Failure: The feed is out of reach for good: refused credentials, a certificate, an address that is none.
    """
    if not args.quiet and not any(signal.has_listeners() for signal in signals.ALL):
        say("no receiver is connected to any of the signals: nothing will come of what is heard")
    return listen(realtime.client, quiet=args.quiet)
