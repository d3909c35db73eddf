"""Follow a feed and write its events as lines, until one of the ends that the options name."""

from __future__ import annotations

import argparse
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import TextIO

from realtime_client import ClientConfig, Event, NewAnomaly, Origin, PollError, RealtimeClient, SystemAlert
from realtime_client.cli.arguments import amount, count, moment, seconds, template_text
from realtime_client.cli.course import Course
from realtime_client.cli.exits import Exit, Failure, failure_of
from realtime_client.cli.rendering import FIELDS, json_line, pretty_line, raw_text, template, wants_colour
from realtime_client.cli.selection import add_selection_arguments, selection_of
from realtime_client.cli.streams import abandon_output, output, reader_has_left, say, write_line

__all__ = ["FORMALITIES", "GOODBYE", "add_color_argument", "add_output_arguments", "follow"]

LOOK_AROUND = 0.25
"""Seconds without an event after which the loop looks at what no event tells: the connection, and the pipe's reader."""
GOODBYE = 1.0
"""Seconds that closing the connection may take."""
FORMALITIES: frozenset[str] = frozenset({"connection_established", "pong"})
"""Types of events that say nothing of the log, and are shown only if asked for."""
HISTORY_QUIET = 1.0
"""Seconds without an event, once connected, after which the history has been told."""
HISTORY_LONGEST = 10.0
"""Seconds after connecting that the telling of the history may take; what comes later is news."""


def add_output_arguments(parser: argparse.ArgumentParser, *, hidden: str) -> None:
    """Add the options that say what is shown, how, and for how long.

    Args:
        parser: Where to.
        hidden: The types that are not shown without ``--type`` or ``--all``, in words.
    """
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--type", action="append", dest="types", metavar="T", help="show this type only; repeatable")
    which.add_argument("--all", action="store_true", help=f"show every type, {hidden} too")
    parser.add_argument(
        "-n",
        "--lines",
        type=amount,
        metavar="N",
        help="of what was there before, show the newest N events only; without it, all that the feed tells",
    )
    parser.add_argument(
        "-f", "--follow", action="store_true", default=True, help="go on with what comes, as it does without this too"
    )
    parser.add_argument(
        "--no-follow",
        action="store_false",
        dest="follow",
        help="end once what was there before has been shown",
    )
    parser.add_argument(
        "--since",
        type=moment,
        metavar="WHEN",
        help="nothing older: a time (2026-01-31T08:30:00Z), or so long ago (90s, 10m, 2h, 3d)",
    )
    parser.add_argument("--count", type=count, metavar="N", help="end after N events shown")
    parser.add_argument("--duration", type=seconds, metavar="S", help="end after S seconds in all")
    parser.add_argument("--timeout", type=seconds, metavar="S", help="end after S seconds without an event shown")
    parser.add_argument(
        "--output",
        choices=("auto", "json", "pretty", "raw", "template"),
        default="auto",
        help="json: one object a line; pretty: one readable line; raw: the message alone; template: see --template;"
        " auto: pretty on a terminal, else json",
    )
    parser.add_argument(
        "--template",
        type=template_text,
        metavar="T",
        help="a line of your own, like '{time} {level:8} {score:.2f} {message}'; there are "
        + ", ".join(f"{{{name}}}" for name in FIELDS),
    )
    add_color_argument(parser)
    parser.add_argument("--quiet", action="store_true", help="say nothing about the connection, only errors")
    add_selection_arguments(parser)


def add_color_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--color``."""
    parser.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="auto: on a terminal, as FORCE_COLOR, NO_COLOR and TERM=dumb say",
    )


def follow(config: ClientConfig, args: argparse.Namespace, *, hidden: frozenset[str]) -> int:
    """Follow a feed on the calling thread, and write each event that is wanted to standard output.

    Args:
        config: Where to, and how. With ``overflow="block"`` a slow reader of the output loses nothing.
        args: What `add_output_arguments` added.
        hidden: The types that are left out unless ``--type`` or ``--all`` is given.

    Returns:
        The exit code 0: the count is reached, the time is over, the history is told, or the reader of the output has
        left.

    Raises:
        Failure: Every other end.
    """
    stream = output()
    render = _renderer(args)
    shows = _shows(args, hidden)
    client = RealtimeClient(config=config)
    course = Course(client, talks=not args.quiet)
    # Subscribed before connecting, so that nothing of what the server sends first is missed.
    events = client.events()
    course.begin()
    left = math.inf if args.count is None else args.count
    try:
        client.connect(wait=False)
        for event in _wanted(
            client, course, events.next_within, lambda: events.ended, args=args, shows=shows, stream=stream
        ):
            if event is not None:
                write_line(render(event), stream)
                left -= 1
                if not left:
                    break
            elif events.ended and not events.failure and not course.failure:  # closed, and not by us
                if not args.quiet:
                    say("the recording has ended")
                break
            elif events.ended or course.failure:
                raise course.failure or failure_of(events.failure, was_connected=course.was_connected)
            elif reader_has_left(stream):
                raise BrokenPipeError
    except BrokenPipeError:
        abandon_output()
    finally:
        client.close(timeout=GOODBYE)
    return Exit.DONE


def _wanted(
    client: RealtimeClient,
    course: Course,
    next_within: Callable[[float], Event | None],
    ended: Callable[[], bool],
    *,
    args: argparse.Namespace,
    shows: Callable[[Event], bool],
    stream: TextIO,
) -> Iterator[Event | None]:
    """The events to show; ``None`` now and then where none came, for a look around. Ends when the options say so.

    Raises:
        Failure: ``--timeout`` has passed, or ``--duration`` without any connection.
        BrokenPipeError: The reader has left a busy feed of which nothing is shown.
    """
    began = look_at = time.monotonic()
    end_at = _deadline(began, args.duration)
    silent_at = _deadline(began, args.timeout)
    history = _History(args.lines) if args.lines is not None or not args.follow else None
    while True:
        now = time.monotonic()
        if history is not None:
            if course.connected_at is not None:
                history.may_begin(course.connected_at, client)
            if history.is_over(now):
                yield from history.kept
                if not args.follow:
                    return
                history, silent_at = None, _deadline(now, args.timeout)
        if now >= end_at:
            yield from () if history is None else history.kept
            if not course.was_connected:
                raise Failure(Exit.UNREACHABLE, f"not connected within {args.duration:g} s ({_state(client)})")
            return
        if now >= silent_at:
            if history is not None:
                yield from history.kept
                if history.kept and not args.follow:
                    return
            raise Failure(Exit.TIMEOUT, f"no event within {args.timeout:g} s ({_state(client)})")
        event = next_within(max(0.0, min(LOOK_AROUND, end_at - now, silent_at - now)))
        if event is None:
            if history is not None and ended():  # there will be no news
                yield from history.kept
                history.kept.clear()
            yield None
        elif history is not None and history.takes(event, time.monotonic()):
            if shows(event):
                history.kept.append(event)
                silent_at = _deadline(time.monotonic(), args.timeout)
        elif shows(event):
            if history is not None:
                yield from history.kept
                if not args.follow:
                    return
                history = None
            yield event
            silent_at = _deadline(time.monotonic(), args.timeout)
        elif now >= look_at:  # such a feed leaves no pause to look around in
            look_at = now + LOOK_AROUND
            if reader_has_left(stream):
                raise BrokenPipeError


class _History:
    """What was there before: what the feed tells of itself at first, and what a poll adds where one is configured.

    It is over with the first anomaly or alert that is younger than the command, or when nothing more comes.

    Args:
        limit: How many of the newest events are kept; ``None`` for all.
    """

    def __init__(self, limit: int | None) -> None:
        self.kept: deque[Event] = deque(maxlen=limit)
        self._began = datetime.now(UTC)
        self._latest = self._quiet_at = math.inf
        self._begun = False

    def may_begin(self, connected_at: float, client: RealtimeClient) -> None:
        """There is a connection, since this monotonic time; asks the polling address, if there is one, and blocks."""
        if self._begun:
            return
        self._begun = True
        if client.config.polling_url is not None:
            try:
                client.refresh()
            except PollError as error:
                say(f"warning: {error}")
        self._latest = max(connected_at, time.monotonic()) + HISTORY_LONGEST
        self._quiet_at = time.monotonic() + HISTORY_QUIET

    def takes(self, event: Event, now: float) -> bool:
        """Whether an event belongs to the history; if so, more of it may come."""
        if isinstance(event, NewAnomaly | SystemAlert) and event.origin is not Origin.POLL:
            at = (event.log.timestamp if isinstance(event, NewAnomaly) else None) or event.timestamp
            if at is not None and at > self._began:
                return False
        self._latest = min(self._latest, now + HISTORY_LONGEST)  # a poll may answer where there is no connection
        self._quiet_at = min(self._latest, now + HISTORY_QUIET)
        return True

    def is_over(self, now: float) -> bool:
        """Whether nothing more of it will come."""
        return now >= min(self._quiet_at, self._latest)


def _shows(args: argparse.Namespace, hidden: frozenset[str]) -> Callable[[Event], bool]:
    selection = selection_of(args, since=args.since)
    types = frozenset(args.types or ())

    def shows(event: Event) -> bool:
        wanted = event.type in types if types else args.all or event.type not in hidden
        return wanted and selection.takes(event)

    return shows


def _renderer(args: argparse.Namespace) -> Callable[[Event], str]:
    stream = output()
    kind = args.output
    if args.template is not None:
        if kind not in ("auto", "template"):
            raise Failure(Exit.USAGE, f"--template cannot be given together with --output {kind}")
        return template(args.template)
    if kind == "template":
        raise Failure(Exit.USAGE, "--output template needs --template")
    if kind == "raw":
        return partial(raw_text, on_terminal=stream.isatty())
    if kind == "pretty" or (kind == "auto" and stream.isatty()):
        return partial(pretty_line, colour=wants_colour(args.color, stream))
    return partial(json_line, encoding=stream.encoding or "ascii")


def _deadline(now: float, timeout: float | None) -> float:
    return math.inf if timeout is None else now + timeout


def _state(client: RealtimeClient) -> str:
    error = client.status.last_error
    return client.status.state.value + ("" if error is None or client.is_connected else f": {error}")
