"""``realtime-client demo``: a feed server and a client that follows it, in one process."""

from __future__ import annotations

import argparse

from realtime_client import ClientConfig
from realtime_client.cli.arguments import port
from realtime_client.cli.exits import EXIT_CODES
from realtime_client.cli.following import add_output_arguments, follow
from realtime_client.cli.sources import add_source_arguments, describe, serving
from realtime_client.cli.streams import say

__all__ = ["DESCRIPTION", "EPILOG", "add_arguments", "run"]

DESCRIPTION = """\
See it work, without a server: the feed of log files, or of a generated log, is served on this machine and followed.
Other clients can connect to the address that is printed. Shown are anomalies, alerts and events of unknown types;
figures, greetings and pongs only with --type or --all. The environment's REALTIME_ variables are not asked."""

EPILOG = f"""\
examples:
  realtime-client demo                                       a generated log; the first incident takes some seconds
  realtime-client demo --tail /var/log/dpkg.log --count 5    five anomalies of a real log
  realtime-client demo --all --output json | jq .

{EXIT_CODES}"""

HIDDEN = frozenset({"connection_established", "pong", "stats_update"})

CATCH_UP = 10.0
"""Seconds that reading what is in the files may take before the client connects all the same."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_source_arguments(parser)
    parser.add_argument("--port", type=port, default=0, help="port, 0 for any that is free (default: %(default)s)")
    add_output_arguments(parser, hidden="figures, greetings and pongs")


def run(args: argparse.Namespace) -> int:
    """Serve and follow; blocks until it ends as `tail` does.

    Returns:
        The exit code 0.

    Raises:
        Failure: Every other end.
    """
    from realtime_client.demo import FeedServer  # noqa: PLC0415 - not paid for by the other commands

    server = FeedServer(port=args.port)
    with serving(server, args) as feed:
        if not args.quiet:
            for line in describe(args):
                say(line)
            say(f"REALTIME_URL={server.url}")
        # A client that connects now gets the last anomalies of what was there; one that connects before would get
        # all of them at once, and might be too slow for that.
        feed.wait_caught_up(CATCH_UP)
        return follow(ClientConfig(server.url, overflow="block"), args, hidden=HIDDEN)
