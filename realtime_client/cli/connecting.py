"""Where a command connects to and how, as arguments and as the client's configuration."""

from __future__ import annotations

import argparse
import warnings
from typing import Any

from realtime_client import ClientConfig
from realtime_client.cli.arguments import readable_file, token_file
from realtime_client.cli.streams import say

__all__ = ["add_connection_arguments", "config_of"]


def add_connection_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say where to connect to, and how."""
    parser.add_argument(
        "url",
        nargs="?",
        metavar="URL",
        help="ws:// or wss://, a relay's redis:// or rediss://, or a recording's replay:FILE; by default REALTIME_URL,"
        f" or {ClientConfig().url}",
    )
    parser.add_argument(
        "--token-file", type=token_file, metavar="F", help="file with the bearer token, re-read as needed"
    )
    parser.add_argument("--ca-file", type=readable_file, metavar="F", help="PEM file of the authorities to trust")
    parser.add_argument("--proxy", metavar="URL", help="proxy, or 'direct' for none")
    # Under another program's roof the options that are not given come from that program's settings.
    parser.set_defaults(make_config=ClientConfig.from_env)


def config_of(args: argparse.Namespace, **options: Any) -> ClientConfig:
    """The configuration: what was given, else what the environment says (or another program), else the defaults.

    Args:
        args: What `add_connection_arguments` added.
        options: Options that the command itself sets; they win.

    Raises:
        ConfigError: It is wrong.
    """
    given = {"url": args.url, "token": args.token_file, "ca_file": args.ca_file, "proxy": args.proxy}
    given = {name: value for name, value in given.items() if value is not None}
    with warnings.catch_warnings(record=True) as doubts:
        warnings.simplefilter("always")
        config: ClientConfig = args.make_config(**{**given, **options})
    for doubt in doubts:
        say(f"warning: {doubt.message}")
    return config
