"""``realtime-client record``: a feed into a file."""

from __future__ import annotations

import argparse
import math
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from realtime_client import ConnectionState, Event, RealtimeClient, StatusChange
from realtime_client.cli.arguments import count, seconds, size
from realtime_client.cli.connecting import add_connection_arguments, config_of
from realtime_client.cli.course import Course
from realtime_client.cli.exits import EXIT_CODES, Exit, Failure
from realtime_client.cli.following import GOODBYE
from realtime_client.cli.streams import say
from realtime_client.recording import Recorder

__all__ = ["DESCRIPTION", "EPILOG", "add_arguments", "run"]

DESCRIPTION = """\
Record a feed: every event with the time of its receipt, one JSON object a line, packed if the file's name ends in .gz.
The file is a whole recording at every moment. Ctrl-C ends; so does each of the bounds."""

EPILOG = f"""\
examples:
  realtime-client record feed.jsonl.gz                              until Ctrl-C
  realtime-client record feed.jsonl wss://logs.example.com/ws --duration 60
  realtime-client record feed.jsonl --count 1000 --max-size 10M
  realtime-client replay feed.jsonl                                 look at it again

A recording holds what the log says, so it is as confidential as the log. It holds no token.

{EXIT_CODES}"""

LOOK_AROUND = 0.25
"""Seconds after which the main thread looks at what no event tells."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", metavar="FILE", help="where to; a file that is there is left alone without --force")
    add_connection_arguments(parser)
    parser.add_argument("--count", type=count, metavar="N", help="end after N events")
    parser.add_argument("--duration", type=seconds, metavar="S", help="end after S seconds in all")
    parser.add_argument(
        "--max-size", type=size, metavar="SIZE", help="end before the lines take more, packed or not: 10M, 2G, or bytes"
    )
    parser.add_argument("--type", action="append", dest="types", metavar="T", help="this type only; repeatable")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    parser.add_argument("--quiet", action="store_true", help="say nothing but errors")


def run(args: argparse.Namespace) -> int:
    """Record; blocks until a bound is reached or the feed is over.

    Returns:
        The exit code 0.

    Raises:
        Failure: It cannot be recorded, or not any more.
        KeyboardInterrupt: Ctrl-C; what was written until then is in the file. What was received and still waited for
            the disk is not: `RealtimeClient.close` discards it.
    """
    if os.path.lexists(args.file) and not args.force:
        raise Failure(Exit.USAGE, f"{args.file} is there already; --force replaces it")
    # A slow disk makes the feed wait instead of losing events.
    client = RealtimeClient(config=config_of(args, overflow="block"))
    tape = _Tape(args)
    course = Course(client, talks=not args.quiet)
    client.on_status(tape.begin)
    for wanted in args.types or ("*",):
        client.on(wanted, tape.take)
    course.begin()
    end_at = math.inf if args.duration is None else time.monotonic() + args.duration
    try:
        client.connect(wait=False)
        while not tape.ended.wait(max(0.0, min(LOOK_AROUND, end_at - time.monotonic()))):
            if course.failure:
                raise course.failure
            if client.status.state is ConnectionState.CLOSED:  # a replay has ended
                while not client.join(timeout=LOOK_AROUND):
                    pass
                break
            if time.monotonic() >= end_at:
                if not course.was_connected:
                    error = client.status.last_error
                    why = f" ({error})" if error else ""
                    raise Failure(Exit.UNREACHABLE, f"not connected within {args.duration:g} s{why}")
                break
            tape.flush()
    finally:
        client.close(timeout=GOODBYE)
        tape.end()
        if not args.quiet and tape.account:
            say(tape.account)
    return Exit.DONE


class _Tape:
    """The recording, written by the client's dispatcher thread, so that no Ctrl-C comes in the middle of a line.

    Attributes:
        ended: Set when nothing more will be written.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._recorder: Recorder | None = None
        self._trouble: OSError | None = None
        self.ended = threading.Event()

    def begin(self, change: StatusChange) -> None:
        """Make the file, as soon as there is something to record from."""
        if change.current.connected and self._recorder is None:
            args = self._args
            with self._noting_trouble():
                self._recorder = Recorder(
                    args.file, max_events=args.count, max_bytes=args.max_size, overwrite=args.force
                )

    def take(self, event: Event) -> None:
        """Write an event."""
        if self._recorder is not None:
            with self._noting_trouble():
                self._recorder.write(event)
                if self._recorder.full:
                    self.ended.set()

    def flush(self) -> None:
        """Keep what a crash would lose to a second."""
        if self._recorder is not None:
            with self._noting_trouble():
                self._recorder.flush()

    def end(self) -> None:
        """Finish the file.

        Raises:
            Failure: Something could not be written.
        """
        if self._recorder is not None:
            with self._noting_trouble():
                self._recorder.close()
        if self._trouble is not None:
            kept = f"; it holds {self._contents}" if self._recorder is not None else ""
            raise Failure(
                Exit.FAILURE, f"cannot write {self._args.file}: {self._trouble.strerror or self._trouble}{kept}"
            )

    @property
    def account(self) -> str:
        """What there is of it, for people; empty where nothing was begun."""
        return "" if self._recorder is None else f"{self._args.file} holds {self._contents}"

    @property
    def _contents(self) -> str:
        assert self._recorder is not None
        events = "1 event" if self._recorder.events == 1 else f"{self._recorder.events} events"
        return f"{events} ({self._recorder.size} bytes{' before packing' if self._args.file.endswith('.gz') else ''})"

    @contextmanager
    def _noting_trouble(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._trouble = self._trouble or error
            self.ended.set()
