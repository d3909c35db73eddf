"""``realtime-client doctor``: each step of a connection by itself, and what to do about what is wrong."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

from realtime_client import ClientConfig, ConfigError
from realtime_client.cli.cells import visible
from realtime_client.cli.connecting import add_connection_arguments, config_of
from realtime_client.cli.exits import Exit, failure_of
from realtime_client.cli.following import add_color_argument
from realtime_client.cli.rendering import wants_colour
from realtime_client.cli.streams import output, write_line
from realtime_client.redaction import show_url

if TYPE_CHECKING:  # half of what the command takes to start would be the doctor's
    from realtime_client.doctor import Check

__all__ = ["DESCRIPTION", "EPILOG", "add_arguments", "examine", "run"]

DESCRIPTION = """\
Look at each step of a connection by itself: configuration, name look-up, proxy, TCP, TLS and its certificate, upgrade,
greeting, heartbeat, the polling address, and the clocks; for a feed through Redis login, stream, snapshot and whether a
relay is active; for a recording all of the file. What is wrong comes with its likely cause and what to do."""

EPILOG = """\
examples:
  realtime-client doctor                                   the feed at REALTIME_URL, or ws://localhost:8080/ws
  realtime-client doctor wss://logs.example.com/ws --token-file /run/secrets/feed
  realtime-client doctor --json | jq '.checks[] | select(.verdict != "ok")'
  realtime-client doctor 'redis://localhost/0?stream=logs'  is it relayed?
  realtime-client doctor replay:feed.jsonl                 is this a recording?

Every option of the client can come from the environment, as for the client itself; what is given here wins.

exit codes:
  0 nothing failed (there may be warnings); else that of the first step that failed:
  1 the polling address, what a relay should have left, or a recording that cannot be read
  2 the configuration                                      3 the server refused the credentials
  4 it cannot be reached, or falls silent
  6 what it sends breaks the protocol, or is no recording  130 Ctrl-C, 143 SIGTERM"""

COLOURS = {"ok": "\x1b[32m", "warn": "\x1b[33m", "fail": "\x1b[1;31m", "skip": "\x1b[2m"}
PLAIN = "\x1b[0m"
LABELS = {"ok": "OK", "warn": "WARN", "fail": "FAIL", "skip": "-"}
INDENT = " " * 27


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_connection_arguments(parser)
    parser.add_argument("--json", action="store_true", help="one object of JSON, when all is done")
    add_color_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Examine what the arguments and the environment say; see `examine`."""
    try:
        config = config_of(args)
    except ConfigError as error:
        return _tell(None, iter([_of_config(error)]), args)
    return examine(config, args)


def examine(config: ClientConfig, args: argparse.Namespace) -> int:
    """Examine a connection, and tell; blocks until all is done.

    Args:
        config: Where to, and how.
        args: What `add_arguments` added; those about the connection are not asked.

    Returns:
        The exit code: that of the first step that failed, or 0.
    """
    from realtime_client.doctor import diagnose  # noqa: PLC0415 - as above

    return _tell(show_url(config.url), diagnose(config), args)


def _tell(url: str | None, examination: Iterator[Check], args: argparse.Namespace) -> int:
    stream = output()
    checks: list[Check] = []
    colour = wants_colour(args.color, stream)
    for check in examination:
        checks.append(check)
        if not args.json:
            _show(check, stream, colour=colour)
    failed = [check for check in checks if check.verdict.value == "fail"]
    worst = next((word for word in ("fail", "warn") if any(c.verdict.value == word for c in checks)), "ok")
    if args.json:
        answer = {"url": url, "verdict": worst, "checks": [check.to_dict() for check in checks]}
        write_line(json.dumps(answer), stream)
    return _exit_code(failed[0]) if failed else Exit.DONE


def _of_config(error: ConfigError) -> Check:
    from realtime_client.doctor import Check, Verdict  # noqa: PLC0415 - as above

    remedy = "mend it; what is not given here comes from the environment, or from a framework's settings"
    return Check("config", Verdict.FAIL, 0.0, str(error), "an option is wrong", remedy, error)


def _show(check: Check, stream: TextIO, *, colour: bool) -> None:
    verdict = check.verdict.value
    before, after = (COLOURS[verdict], PLAIN) if colour else ("", "")
    took = "" if verdict == "skip" else f"{check.seconds * 1000:.0f} ms"
    label = f"{before}{LABELS[verdict]:4}{after}"
    write_line(f"{check.name:9}  {label}  {took:>8}  {visible(check.found)}", stream)
    for title, text in (("cause", check.cause), ("to do", check.remedy)):
        if text:
            write_line(f"{INDENT}{title}: {visible(text)}", stream)


def _exit_code(check: Check) -> Exit:
    if check.name == "config":  # also a callable of the user's that fails, or does not return
        return Exit.USAGE
    if check.name == "polling":
        return Exit.FAILURE
    return failure_of(check.error, was_connected=False).code
