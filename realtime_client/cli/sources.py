"""The embedded feed: the logs that it follows, as arguments and as sources, and its listening."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from realtime_client.cli.exits import Exit, Failure

if TYPE_CHECKING:
    from realtime_client.demo import FeedServer, LineSource, LogFeed

__all__ = ["add_source_arguments", "describe", "listening", "serving"]


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name the logs."""
    parser.add_argument(
        "--tail",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="log files to follow, '-' for standard input; without it a generated log",
    )
    parser.add_argument(
        "--from",
        dest="from_",
        choices=("start", "end"),
        default="start",
        help="read what is in the files already, or only what is written from now on",
    )


def describe(args: argparse.Namespace) -> list[str]:
    """What is followed, one line for people each."""
    if not args.tail:
        return ["no --tail given: the log is generated, every line of it is invented"]
    return [
        "following standard input" if path == "-" else f"following {path} from its {args.from_}" for path in args.tail
    ]


@contextmanager
def listening(server: FeedServer) -> Iterator[None]:
    """Start a feed server, and close it at the end.

    Args:
        server: Not yet started.

    Raises:
        Failure: The address cannot be listened on.
    """
    try:
        server.start()
    except OSError as error:
        where = server.url.partition("://")[2].partition("/")[0]
        why = str(error.strerror or error).partition(" (while attempting")[0]  # the address is said already
        raise Failure(Exit.FAILURE, f"cannot listen on {where}: {why}") from None
    try:
        yield
    finally:
        server.close()


@contextmanager
def serving(server: FeedServer, args: argparse.Namespace) -> Iterator[LogFeed]:
    """Start a feed server, let it be fed with the logs, and close everything at the end.

    Args:
        server: Not yet started.
        args: What `add_source_arguments` added.

    Raises:
        Failure: A file cannot be read, or the address cannot be listened on.
    """
    from realtime_client.demo import GeneratedLog, LogFeed  # noqa: PLC0415 - not paid for by the other commands

    with ExitStack() as stack:
        sources: list[LineSource] = []
        for path in args.tail:
            sources.append(_open(path, from_start=args.from_ == "start"))
            stack.callback(sources[-1].close)
        stack.enter_context(listening(server))
        yield stack.enter_context(LogFeed(server, sources or [GeneratedLog()]))


def _open(path: str, *, from_start: bool) -> LineSource:
    from realtime_client.demo import follow  # noqa: PLC0415 - see above

    try:
        if path != "-":
            os.stat(path)  # A file to come would be waited for, but on a command line a missing one is a mistake.
        return follow(path, from_start=from_start)
    except OSError as error:
        raise Failure(Exit.FAILURE, f"cannot follow {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise Failure(Exit.FAILURE, f"cannot follow {path}: {error}") from None
