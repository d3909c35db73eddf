"""``flask realtime ...``: the commands of ``realtime-client`` with the application's configuration."""

from __future__ import annotations

import argparse
from typing import Any

import attrs
import click
from flask import current_app
from flask.cli import with_appcontext

from realtime_client import ClientConfig
from realtime_client.cli import doctor, status, tail
from realtime_client.cli.arguments import too_much
from realtime_client.cli.ending import run_to_end
from realtime_client.integrations.flask import listen
from realtime_client.integrations.flask.settings import Settings

__all__ = ["commands"]

COMMANDS = {
    "listen": (listen, "Follow the feed and call the callbacks, until Ctrl-C or SIGTERM."),
    "tail": (tail, "Follow the feed and print its events."),
    "status": (status, "One look at the feed."),
    "doctor": (doctor, "Look at each step of the connection, and say what is wrong."),
}


@click.group("realtime")
def commands() -> None:
    """The feed that the application's REALTIME_ configuration names."""


def _add(name: str, module: Any, summary: str) -> None:
    # click hands everything through, so that there is one description of each command's arguments.
    @commands.command(
        name,
        short_help=summary,
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    @click.pass_context
    @with_appcontext
    def command(context: click.Context, arguments: tuple[str, ...]) -> None:
        parser = argparse.ArgumentParser(
            prog=f"flask realtime {name}",
            description=module.DESCRIPTION,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,  # --token SECRET must not be read as --token-file
        )
        module.add_arguments(parser)
        parser.set_defaults(make_config=_app_config)
        args, strange = parser.parse_known_args(arguments)
        if strange:
            parser.error(too_much(strange))
        context.exit(run_to_end(lambda: int(module.run(args)), parser.prog))


def _app_config(**overrides: Any) -> ClientConfig:
    settings: Settings = current_app.extensions["realtime_client"].settings
    return attrs.evolve(settings.client, **overrides)


for _name, (_module, _summary) in COMMANDS.items():
    _add(_name, _module, _summary)
