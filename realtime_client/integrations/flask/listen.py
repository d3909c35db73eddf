"""``flask realtime listen``: a process whose work is to follow the feed and to call the callbacks."""

from __future__ import annotations

import argparse

from flask import current_app

from realtime_client.integrations.listening import listen

__all__ = ["DESCRIPTION", "add_arguments", "run"]

DESCRIPTION = """\
Follow the feed and call what is registered with the application's Realtime extension, until Ctrl-C or SIGTERM. One such
process is the place for callbacks that shall hear each event once, however many workers serve the application; let
those not call them, with REALTIME_AUTOSTART = "first_use". Says on standard error what happens to the connection, and
outlives outages."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--quiet", action="store_true", help="say nothing about the connection, only errors")


def run(args: argparse.Namespace) -> int:
    """Listen; see `listen`."""
    return listen(current_app.extensions["realtime_client"].client, quiet=args.quiet)
