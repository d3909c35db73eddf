"""``realtime-client tail``: follow a feed."""

from __future__ import annotations

import argparse

from realtime_client.cli.connecting import add_connection_arguments, config_of
from realtime_client.cli.exits import EXIT_CODES
from realtime_client.cli.following import FORMALITIES, add_output_arguments, follow

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
  realtime-client tail -n 20 --no-follow --level error               the last errors
  realtime-client tail --template '{{time}} {{score:.2f}} {{source}}: {{message}}'

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_connection_arguments(parser)
    add_output_arguments(parser, hidden="greetings and pongs")


def run(args: argparse.Namespace) -> int:
    """Follow the feed; blocks until it ends.

    Returns:
        The exit code 0.

    Raises:
        Failure: Every other end.
    """
    # A slow reader of the output makes the feed wait instead of losing events.
    return follow(config_of(args, overflow="block"), args, hidden=FORMALITIES)
