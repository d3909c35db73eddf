"""The entry point: reads the arguments and runs the command."""

from __future__ import annotations

import argparse
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NoReturn

from realtime_client import __version__
from realtime_client.cli import completion, demo, doctor, record, relay, replay, serve, status, tail, watch
from realtime_client.cli.arguments import too_much
from realtime_client.cli.ending import run_to_end
from realtime_client.cli.environment import environment_help
from realtime_client.cli.exits import Exit
from realtime_client.cli.streams import say

__all__ = ["main"]

PROGRAM = "realtime-client"

EPILOG = """\
try it:
  realtime-client demo                        see it work, without a server
  realtime-client serve --tail app.log        serve the feed of a log
  realtime-client watch                       see it live
  realtime-client tail | jq .                 follow it
  realtime-client doctor                      when it does not work

'realtime-client COMMAND --help' has examples, exit codes and environment variables."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: The arguments without the program's name; ``None`` takes those of the process.

    Returns:
        The exit code; see `Exit`.
    """
    return run_to_end(lambda: _run(argv), PROGRAM)


def _run(argv: Sequence[str] | None) -> int:
    try:
        args = _arguments(argv)
    except SystemExit as end:  # argparse has said already what is wrong, or shown the help
        return end.code if isinstance(end.code, int) else Exit.DONE
    with _logging_to_stderr(args):
        return int(args.run(args))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(
        prog=PROGRAM, description="A real-time feed of log anomalies, from the command line.", epilog=EPILOG
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, module, summary in (
        ("watch", watch, "a live view of a feed"),
        ("tail", tail, "follow a feed"),
        ("status", status, "one look at a feed"),
        ("doctor", doctor, "look at each step of a connection, and say what is wrong"),
        ("record", record, "record a feed in a file"),
        ("replay", replay, "replay a recording, or serve it as a feed"),
        ("serve", serve, "serve the feed of a log"),
        ("demo", demo, "serve and follow, in one process"),
        ("relay", relay, "follow a feed once for many processes, through Redis"),
        ("completion", completion, "completion for bash, zsh or fish"),
    ):
        command = commands.add_parser(name, help=summary, description=module.DESCRIPTION, epilog=module.EPILOG)
        module.add_arguments(command)
        command.add_argument(
            "-v", "--verbose", action="count", default=0, help="log to standard error; twice for everything"
        )
        command.set_defaults(run=module.run, parser=parser)
    args, strange = parser.parse_known_args(argv)
    if strange:
        parser.error(too_much(strange))
    return args


class _Parser(argparse.ArgumentParser):
    """Keeps the help's layout, and takes no abbreviations: ``--token SECRET`` must not be read as ``--token-file``."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)

    def format_help(self) -> str:
        """The help; that of a command which connects has the environment variables too."""
        text = super().format_help()
        if not any(action.dest == "url" for action in self._actions):
            return text
        return f"{text}\n{environment_help(min(120, shutil.get_terminal_size().columns))}\n"

    def error(self, message: str) -> NoReturn:
        """End with one line of what is wrong, and one of where to read on."""
        say(f"{self.prog}: error: {message}")
        say(f"'{self.prog} --help' says more")
        self.exit(Exit.USAGE)


class _SaidAloud(logging.Handler):
    """Says what is logged; a traceback keeps its lines."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say a record."""
        for line in self.format(record).split("\n"):
            say(line)


class _JsonLine(logging.Formatter):
    """One JSON object a line; what a record says as data stands beside its words."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"time": at, "level": record.levelname, "logger": record.name, "message": record.getMessage()}
        line.update(getattr(record, "relay", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


@contextmanager
def _logging_to_stderr(args: argparse.Namespace) -> Iterator[None]:
    """What the command says by itself; the whole package's log with ``-v`` and, in detail, with ``-vv``."""
    name, level = getattr(args, "logs", ("realtime_client.demo", logging.WARNING))
    if args.verbose:
        name, level = "realtime_client", (logging.INFO, logging.DEBUG)[min(args.verbose, 2) - 1]
    logger = logging.getLogger(name)
    handler = _SaidAloud()
    as_json = getattr(args, "log_format", "text") == "json"
    handler.setFormatter(
        _JsonLine() if as_json else logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    previous = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(previous)
