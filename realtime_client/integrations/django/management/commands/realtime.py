"""``manage.py realtime listen|tail|status|doctor``: the feed of the project's settings, from the command line."""

from __future__ import annotations

import argparse
import contextlib
from typing import Any

import attrs
from django.core.management.base import BaseCommand, CommandParser

from realtime_client import ClientConfig
from realtime_client.cli import doctor, status, tail
from realtime_client.cli.ending import run_to_end
from realtime_client.integrations.django import realtime
from realtime_client.integrations.django.management import listen

__all__ = ["Command"]

COMMANDS = {
    "listen": (listen, "follow the feed and send the signals, until Ctrl-C or SIGTERM"),
    "tail": (tail, "follow the feed and print its events"),
    "status": (status, "one look at the feed"),
    "doctor": (doctor, "look at each step of the connection, and say what is wrong"),
}
SETTINGS = "What is not given here is taken from REALTIME_CLIENT in the settings, not from the environment."
HELP = "follow the feed that REALTIME_CLIENT names; each command has its own --help"


class Command(BaseCommand):
    """Offers the commands of ``realtime-client`` with the project's settings, and ``listen``."""

    help = HELP

    def add_arguments(self, parser: CommandParser) -> None:
        """Add one parser for each command."""
        commands = parser.add_subparsers(metavar="COMMAND", dest="realtime_command", required=True)
        for name, (module, summary) in COMMANDS.items():
            command = commands.add_parser(
                name,
                help=summary,
                description=f"{module.DESCRIPTION}\n\n{SETTINGS}",
                formatter_class=argparse.RawDescriptionHelpFormatter,
                allow_abbrev=False,  # --token SECRET must not be read as --token-file
            )
            module.add_arguments(command)
            command.set_defaults(make_config=_project_config)

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the command; blocks until it ends.

        Raises:
            SystemExit: With the exit code of the command, where that is not 0.
        """
        module, _ = COMMANDS[options["realtime_command"]]
        with contextlib.ExitStack() as stack:
            if (stdout := options.get("stdout")) is not None:  # as call_command() is given one
                stack.enter_context(contextlib.redirect_stdout(stdout))
            code = run_to_end(lambda: module.run(argparse.Namespace(**options)), "manage.py realtime")
        if code:
            raise SystemExit(code)


def _project_config(**overrides: Any) -> ClientConfig:
    return attrs.evolve(realtime.settings.client, **overrides)
