"""``realtime-client demo``: a feed server and a client that follows it, in one process."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from realtime_client import ClientConfig, RealtimeClient
from realtime_client.cli.arguments import port
from realtime_client.cli.exits import EXIT_CODES, Exit, Failure
from realtime_client.cli.following import FORMALITIES, add_output_arguments, follow
from realtime_client.cli.progress import wait_for_history
from realtime_client.cli.sources import add_source_arguments, describe, serving
from realtime_client.cli.streams import say
from realtime_client.cli.watch import NEEDS_RICH, WATCHING, can_show, has_rich, show_live

__all__ = ["DESCRIPTION", "EPILOG", "add_arguments", "run"]

DESCRIPTION = """\
See it work, without a server: the feed of log files, or of a generated log, is served on this machine and followed.
Other clients can connect to the address that is printed. On a terminal it opens the live view of 'watch', if rich is
installed; with --web or any option that says which lines to write, how many or how, and where there is no terminal, it
writes lines as 'tail' does: anomalies, alerts and events of unknown types; figures, greetings and pongs only with
--type or --all. The environment's REALTIME_ variables are not asked."""

EPILOG = f"""\
examples:
  realtime-client demo                                       a generated log; the first incident takes some seconds
  realtime-client demo --tail /var/log/dpkg.log              the live view of a real log
  realtime-client demo --tail /var/log/dpkg.log --count 5    five anomalies of a real log
  realtime-client demo --web                                 a live page for the browser as well
  realtime-client demo --all --output json | jq .

{EXIT_CODES}"""

HIDDEN = FORMALITIES | {"stats_update"}

LINES = ("types", "all", "lines", "since", "count", "duration", "timeout", "template", "quiet", "web")
"""Options of which each asks for lines."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_source_arguments(parser)
    parser.add_argument("--port", type=port, default=0, help="port, 0 for any that is free (default: %(default)s)")
    parser.add_argument("--web", action="store_true", help="serve a live page for a browser on this machine as well")
    parser.add_argument("--web-port", type=port, default=8000, help="the page's port (default: %(default)s)")
    add_output_arguments(parser, hidden="figures, greetings and pongs")


def run(args: argparse.Namespace) -> int:
    """Serve and follow; blocks until it ends as `watch` or `tail` does.

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
        live = can_show() and not _asks_for_lines(args)
        if live and not has_rich():
            live = False
            if not args.quiet:
                say(f"lines instead of the live view, which needs {NEEDS_RICH}")
        wait_for_history(feed, quiet=args.quiet)
        if live:
            return show_live(ClientConfig(server.url, **WATCHING), args)
        config = ClientConfig(server.url, overflow="block")
        with _page(config, args) if args.web else nullcontext():
            return follow(config, args, hidden=HIDDEN)


def _asks_for_lines(args: argparse.Namespace) -> bool:
    asked = (getattr(args, name) for name in LINES)
    return args.output != "auto" or not args.follow or any(value is not None and value is not False for value in asked)


@contextmanager
def _page(config: ClientConfig, args: argparse.Namespace) -> Iterator[None]:
    """Serve the live page, from a client of its own, so that a slow reader of the output does not hold it back."""
    from realtime_client.demo.page import PageServer  # noqa: PLC0415 - as above

    client = RealtimeClient(config.url, name="page")
    server = PageServer(client, args.web_port)
    try:
        server.start()
    except OSError as error:
        raise Failure(Exit.FAILURE, f"cannot serve {server.url}: {error.strerror or error}") from None
    try:
        say(f"the live page is at {server.url}")
        yield
    finally:
        server.close()
        client.close()
