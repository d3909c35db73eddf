"""``realtime-client tail``: follow a feed."""

from __future__ import annotations

import argparse
import warnings
from typing import Any

from realtime_client import ClientConfig, ConfigError
from realtime_client.cli.arguments import readable_file, token_file
from realtime_client.cli.exits import EXIT_CODES, Exit, Failure
from realtime_client.cli.following import add_output_arguments, follow
from realtime_client.cli.streams import say

__all__ = ["DESCRIPTION", "EPILOG", "add_arguments", "run"]

DESCRIPTION = """\
Follow a feed. On a terminal each event is one readable line; into a pipe or file it is one JSON object a line (the
wire's envelope with receivedAt and origin). What happens to the connection is said on standard error. Shown are
anomalies, figures, alerts and events of unknown types; greetings and pongs only with --type or --all."""

EPILOG = f"""\
examples:
  realtime-client tail                                       the feed at REALTIME_URL, or ws://localhost:8080/ws
  realtime-client tail wss://logs.example.com/ws --token-file /run/secrets/feed
  realtime-client tail --type new_anomaly | jq .data.log.message
  realtime-client tail --type system_alert --count 1 --timeout 60    wait for the next alert, a minute at most

Every option of the client can come from the environment, REALTIME_URL, REALTIME_TOKEN, REALTIME_TOKEN_FILE,
REALTIME_PROXY and so on; what is given here wins.

{EXIT_CODES}"""

HIDDEN = frozenset({"connection_established", "pong"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("url", nargs="?", metavar="URL", help="ws://, wss:// or redis://; by default REALTIME_URL")
    add_output_arguments(parser, hidden="greetings and pongs")
    parser.add_argument(
        "--token-file", type=token_file, metavar="F", help="file with the bearer token, re-read as needed"
    )
    parser.add_argument("--ca-file", type=readable_file, metavar="F", help="PEM file of the authorities to trust")
    parser.add_argument("--proxy", metavar="URL", help="proxy, or 'direct' for none")


def run(args: argparse.Namespace) -> int:
    """Follow the feed; blocks until it ends.

    Returns:
        The exit code 0.

    Raises:
        Failure: Every other end.
    """
    return follow(_config(args), args, hidden=HIDDEN)


def _config(args: argparse.Namespace) -> ClientConfig:
    given = {"url": args.url, "token": args.token_file, "ca_file": args.ca_file, "proxy": args.proxy}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    with warnings.catch_warnings(record=True) as doubts:
        warnings.simplefilter("always")
        try:
            # A slow reader of the output makes the feed wait instead of losing events.
            config = ClientConfig.from_env(**options, overflow="block")
        except ConfigError as error:
            raise Failure(Exit.USAGE, str(error)) from None
    for doubt in doubts:
        say(f"warning: {doubt.message}")
    return config
