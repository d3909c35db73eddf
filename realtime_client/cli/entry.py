"""The entry point: reads the arguments, runs the command, and turns every end into an exit code."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NoReturn

from realtime_client import __version__
from realtime_client.cli import demo, relay, serve, tail
from realtime_client.cli.exits import Exit, Failure, Terminated
from realtime_client.cli.rendering import visible
from realtime_client.cli.streams import abandon_output, say

__all__ = ["main"]

PROGRAM = "realtime-client"

EPILOG = """\
try it:
  realtime-client demo                        see it work, without a server
  realtime-client serve --tail app.log        serve the feed of a log
  realtime-client tail                        follow it"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: The arguments without the program's name; ``None`` takes those of the process.

    Returns:
        The exit code; see `Exit`.
    """
    with _sigterm_raises():
        try:
            code = _run(argv)
            _flush()
        except Failure as failure:
            say(f"{PROGRAM}: error: {failure}")
            code = failure.code
        except BrokenPipeError:
            abandon_output()
            code = Exit.DONE
        except OSError as error:
            say(f"{PROGRAM}: error: {error.strerror or error}")
            abandon_output()
            code = Exit.FAILURE
        except KeyboardInterrupt:
            abandon_output()
            code = Exit.INTERRUPTED
        except Terminated:
            abandon_output()
            code = Exit.TERMINATED
    return int(code)


def _run(argv: Sequence[str] | None) -> int:
    try:
        args = _arguments(argv)
    except SystemExit as end:  # argparse has said already what is wrong, or shown the help
        return end.code if isinstance(end.code, int) else Exit.DONE
    with _logging_to_stderr(args):
        return int(args.run(args))


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(
        prog=PROGRAM, description="A real-time feed of log anomalies, from the command line.", epilog=EPILOG
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, module, summary in (
        ("tail", tail, "follow a feed"),
        ("serve", serve, "serve the feed of a log"),
        ("demo", demo, "serve and follow, in one process"),
        ("relay", relay, "follow a feed once for many processes, through Redis"),
    ):
        command = commands.add_parser(name, help=summary, description=module.DESCRIPTION, epilog=module.EPILOG)
        module.add_arguments(command)
        command.add_argument(
            "-v", "--verbose", action="count", default=0, help="log to standard error; twice for everything"
        )
        command.set_defaults(run=module.run)
    args, strange = parser.parse_known_args(argv)
    if strange:
        # Named only by the part that is no value, which might be a secret.
        options = [t.partition("=")[0] if t.startswith("--") else t[:2] for t in strange if t.startswith("-")]
        parser.error(f"unknown option {', '.join(options)}" if options else "too many arguments")
    return args


class _Parser(argparse.ArgumentParser):
    """Keeps the help's layout, and takes no abbreviations: ``--token SECRET`` must not be read as ``--token-file``."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """End with one line of what is wrong, and one of where to read on."""
        say(f"{self.prog}: error: {message}")
        say(f"'{self.prog} --help' says more")
        self.exit(Exit.USAGE)


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    def terminate(*_: object) -> NoReturn:
        raise Terminated

    previous = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


class _OneSafeLine(logging.Formatter):
    """Escapes what could command a terminal; a traceback keeps its lines."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        return "\n".join(map(visible, super().format(record).split("\n")))


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
    handler = logging.StreamHandler()
    as_json = getattr(args, "log_format", "text") == "json"
    line = _JsonLine() if as_json else _OneSafeLine("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(line)
    previous = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(previous)
