"""Follow a feed and write its events as lines, until one of the ends that the options name."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from functools import partial

from realtime_client import (
    ClientConfig,
    ConnectionState,
    Event,
    MalformedMessage,
    Notification,
    RealtimeClient,
    RealtimeError,
    StatusChange,
)
from realtime_client.cli.arguments import count, seconds
from realtime_client.cli.exits import Exit, Failure, failure_of
from realtime_client.cli.rendering import json_line, pretty_line, wants_colour
from realtime_client.cli.streams import abandon_output, output, reader_has_left, say, write_line
from realtime_client.redaction import show_url

__all__ = ["add_output_arguments", "follow"]

LOOK_AROUND = 0.25
"""Seconds without an event after which the loop looks at what no event tells: the connection, and the pipe's reader."""
GOODBYE = 1.0
"""Seconds that closing the connection may take."""
MALFORMED_SPACING = 1.0
"""Seconds between two lines about messages that could not be understood."""


def add_output_arguments(parser: argparse.ArgumentParser, *, hidden: str) -> None:
    """Add the options that say what is shown, how, and for how long.

    Args:
        parser: Where to.
        hidden: The types that are not shown without ``--type`` or ``--all``, in words.
    """
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--type", action="append", dest="types", metavar="T", help="show this type only; repeatable")
    which.add_argument("--all", action="store_true", help=f"show every type, {hidden} too")
    parser.add_argument("--count", type=count, metavar="N", help="end after N events shown")
    parser.add_argument("--timeout", type=seconds, metavar="S", help="end after S seconds without an event shown")
    parser.add_argument(
        "--output",
        choices=("auto", "json", "pretty"),
        default="auto",
        help="json: one object a line; pretty: one readable line; auto: pretty on a terminal, else json",
    )
    parser.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="auto: on a terminal, as FORCE_COLOR, NO_COLOR and TERM=dumb say",
    )
    parser.add_argument("--quiet", action="store_true", help="say nothing about the connection, only errors")


def follow(config: ClientConfig, args: argparse.Namespace, *, hidden: frozenset[str]) -> int:
    """Follow a feed on the calling thread, and write each event that is wanted to standard output.

    Args:
        config: Where to, and how. With ``overflow="block"`` a slow reader of the output loses nothing.
        args: What `add_output_arguments` added.
        hidden: The types that are left out unless ``--type`` or ``--all`` is given.

    Returns:
        The exit code 0: the count is reached, or the reader of the output has left.

    Raises:
        Failure: Every other end.
        OSError: The output cannot be written.
    """
    stream = output()
    shows = _selection(args, hidden)
    render = _renderer(args)
    left = math.inf if args.count is None else args.count
    client = RealtimeClient(config=config)
    course = _Course(client, talks=not args.quiet)
    # Subscribed before connecting, so that nothing of what the server sends first is missed.
    events = client.events()
    course.begin()
    try:
        client.connect(wait=False)
        deadline = _deadline(args.timeout)
        while left:
            event = events.next_within(max(0.0, min(LOOK_AROUND, deadline - time.monotonic())))
            if event is None:
                if events.ended or course.failure:
                    raise course.failure or failure_of(events.failure, was_connected=course.was_connected)
                if time.monotonic() >= deadline:
                    raise Failure(Exit.TIMEOUT, f"no event within {args.timeout:g} s ({_state(client)})")
                if reader_has_left(stream):
                    raise BrokenPipeError
            elif shows(event):
                write_line(render(event), stream)
                left -= 1
                deadline = _deadline(args.timeout)
    except BrokenPipeError:
        abandon_output()
    finally:
        client.close(timeout=GOODBYE)
    return Exit.DONE


class _Course:
    """Watches the course of the connection: tells people, and knows when there is no hope.

    Its methods but ``begin`` are callbacks, all on the client's dispatcher thread; the attributes are written there and
    read by the following thread, each a single reference.

    Attributes:
        was_connected: Whether there ever was a connection.
        failure: Why following should end, or ``None``.
    """

    def __init__(self, client: RealtimeClient, *, talks: bool) -> None:
        self.was_connected = False
        self.failure: Failure | None = None
        self._client = client
        self._talks = talks
        self._told: RealtimeError | None = None
        self._next_malformed_at = -math.inf

    def begin(self) -> None:
        """Subscribe, and say where it goes."""
        self._client.on_status(self._step)
        self._client.on_error(self._error)
        if self._talks:
            self._client.on_notification(self._notify)
            say(f"connecting to {show_url(self._client.config.url)}")

    def _step(self, change: StatusChange) -> None:
        current = change.current
        if current.state is ConnectionState.CONNECTED:
            self.was_connected = True
        elif current.state is ConnectionState.UNAVAILABLE:
            # An outage of a feed that was there before may pass, and polling may stand in. A peer that breaks the
            # protocol again and again does not mend itself.
            failure = failure_of(current.last_error, was_connected=self.was_connected)
            hopeful = self.was_connected or self._client.config.polling_url is not None
            if failure.code is Exit.DATA or not hopeful:
                self.failure = failure
        elif current.state is ConnectionState.FAILED:
            self.failure = failure_of(current.last_error, was_connected=self.was_connected)

    def _notify(self, notification: Notification) -> None:
        match notification.kind:
            case "connected" | "lost":
                say(notification.message[:1].lower() + notification.message[1:])
            case "retry":
                say(f"retry {notification.message.removeprefix('Attempt ')}{self._news()}")
            case "unavailable" if self.failure is None:
                say(f"unavailable: {notification.message}")
        self._told = self._client.status.last_error

    def _news(self) -> str:
        """Why there is another attempt, unless that was just said."""
        error = self._client.status.last_error
        return "" if error is None or error is self._told else f" ({error})"

    def _error(self, error: RealtimeError) -> None:
        now = time.monotonic()
        if self._talks and isinstance(error, MalformedMessage) and now >= self._next_malformed_at:
            self._next_malformed_at = now + MALFORMED_SPACING
            number = self._client.metrics().malformed
            messages = "1 message" if number == 1 else f"{number} messages so far"
            say(f"{messages} could not be understood: {error.reason}")


def _selection(args: argparse.Namespace, hidden: frozenset[str]) -> Callable[[Event], bool]:
    if args.types:
        wanted = frozenset(args.types)
        return lambda event: event.type in wanted
    return lambda event: args.all or event.type not in hidden


def _renderer(args: argparse.Namespace) -> Callable[[Event], str]:
    stream = output()
    if args.output == "pretty" or (args.output == "auto" and stream.isatty()):
        return partial(pretty_line, colour=wants_colour(args.color, stream))
    return partial(json_line, encoding=stream.encoding or "ascii")


def _deadline(timeout: float | None) -> float:
    return math.inf if timeout is None else time.monotonic() + timeout


def _state(client: RealtimeClient) -> str:
    error = client.status.last_error
    return client.status.state.value + ("" if error is None or client.is_connected else f": {error}")
