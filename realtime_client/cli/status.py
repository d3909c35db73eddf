"""``realtime-client status``: one snapshot of a feed."""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Iterator
from typing import TextIO

import attrs

from realtime_client import (
    ClientConfig,
    DashboardSnapshot,
    NewAnomaly,
    PollError,
    RealtimeClient,
    RealtimeError,
    Transport,
)
from realtime_client.cli.arguments import seconds
from realtime_client.cli.cells import visible
from realtime_client.cli.connecting import add_connection_arguments, config_of
from realtime_client.cli.exits import EXIT_CODES, Exit, failure_of
from realtime_client.cli.following import GOODBYE, add_color_argument
from realtime_client.cli.rendering import local_time, pretty_line, wants_colour
from realtime_client.cli.streams import output, say, write_line
from realtime_client.redaction import show_url

__all__ = ["DESCRIPTION", "EPILOG", "add_arguments", "look", "run"]

DESCRIPTION = """\
One look at a feed: whether it can be had, how it stands, its figures, and the newest of what happened. With a polling
address (REALTIME_POLLING_URL) that is asked too, which tells more of what was before."""

EPILOG = f"""\
examples:
  realtime-client status                                       the feed at REALTIME_URL, or ws://localhost:8080/ws
  realtime-client status --json | jq .snapshot.stats.anomalyCount
  realtime-client status --quiet && echo "it is there"

Every option of the client can come from the environment, as for the client itself; what is given here wins.

{EXIT_CODES}"""

PATIENCE = 3.0
"""Seconds that the feed has by default to tell its figures."""
HEARTBEAT = 0.2
"""Seconds until the first heartbeat, which shows the latency."""
PAUSE = 0.05
"""Seconds between two looks at whether all is there."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_connection_arguments(parser)
    parser.add_argument(
        "--wait",
        type=seconds,
        default=PATIENCE,
        metavar="S",
        help="wait for the feed's figures, S seconds at most (default: %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="one object of JSON: url, health, snapshot")
    parser.add_argument("--quiet", action="store_true", help="say nothing: the exit code tells")
    add_color_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Look once, where the arguments and the environment say; see `look`."""
    return look(config_of(args), args)


def look(config: ClientConfig, args: argparse.Namespace) -> int:
    """Look at a feed once; blocks until there are figures, or the time is up.

    Args:
        config: Where to, and how.
        args: What `add_arguments` added; those about the connection are not asked.

    Returns:
        The exit code 0: the feed is there.

    Raises:
        Failure: It cannot be had; what a poll told is written all the same.
    """
    stream = output()
    client = RealtimeClient(config=attrs.evolve(config, max_reconnect_attempts=0, heartbeat_interval=HEARTBEAT))
    told = threading.Event()
    client.on("stats_update", lambda _: told.set())
    trouble: RealtimeError | None = None
    try:
        try:
            client.connect()
        except RealtimeError as error:
            trouble = error
        polled = _poll(client)
        if trouble is None:
            _wait(client, told, args.wait, enough=polled)
        if not args.quiet and (trouble is None or polled):
            _write(client, args, stream)
    finally:
        client.close(timeout=GOODBYE)
    if trouble is not None:
        raise failure_of(trouble, was_connected=False)
    return Exit.DONE


def _poll(client: RealtimeClient) -> bool:
    """Ask the polling address, if there is one; whether it told anything."""
    if client.config.polling_url is None:
        return False
    try:
        client.refresh()
    except PollError as error:
        say(f"warning: {error}")
        return False
    return True


def _wait(client: RealtimeClient, told: threading.Event, patience: float, *, enough: bool) -> None:
    """Wait for figures, and for the answer to a heartbeat."""
    pause = threading.Event()  # never set: nothing wakes this before its time, and it is short
    until = time.monotonic() + patience
    while time.monotonic() < until and client.is_connected:
        transport = client.status.transport
        # Through Redis the figures come with the relay's snapshot, and there are no heartbeats.
        known = enough or told.is_set() or (transport is Transport.REDIS and client.store.snapshot().as_of is not None)
        measures = transport is Transport.WEBSOCKET and client.config.heartbeat != "none"
        if known and (not measures or client.status.latency is not None):
            return
        pause.wait(PAUSE)


def _write(client: RealtimeClient, args: argparse.Namespace, stream: TextIO) -> None:
    snapshot = client.store.snapshot()
    if args.json:
        answer = {"url": show_url(client.config.url), "health": client.health(), "snapshot": snapshot.to_dict()}
        write_line(json.dumps(answer), stream)
        return
    for name, text in _lines(client, snapshot, colour=wants_colour(args.color, stream)):
        write_line(f"{name:9}  {text}", stream)


def _lines(client: RealtimeClient, snapshot: DashboardSnapshot, *, colour: bool) -> Iterator[tuple[str, str]]:
    """What there is to say to people, each line with its title."""
    status, metrics = client.status, client.metrics()
    ways = {Transport.NONE: "", Transport.POLLING: ", polled instead"}
    how = ways.get(status.transport, f" by {status.transport.value}")
    latency = "" if status.latency is None else f", latency {status.latency * 1000:.1f} ms"
    yield "feed", show_url(client.config.url)
    yield "state", f"{status.state.value}{how}{latency}"
    if status.last_error is not None:
        yield "error", visible(str(status.last_error))
    if snapshot.as_of is not None:
        yield "as of", f"{local_time(snapshot.as_of):%Y-%m-%d %H:%M:%S}"
    stats = snapshot.stats
    figures = {
        "log lines": stats.total_logs,
        "anomalies": stats.anomaly_count,
        "rate": f"{stats.anomaly_rate:.4g}",
        "active services": stats.active_services,
        **stats.extra,
    }
    yield "figures", visible(", ".join(f"{name} {value}" for name, value in figures.items()))
    for log in snapshot.recent_logs[:1]:
        line = pretty_line(NewAnomaly(log, timestamp=log.timestamp), colour=colour).strip()
        yield "logs", f"{len(snapshot.recent_logs)}, the newest: {line}"
    for alert in snapshot.alerts[:1]:
        yield "alerts", f"{len(snapshot.alerts)}, the newest: {pretty_line(alert, colour=colour).strip()}"
    if metrics.malformed:
        yield "malformed", f"{metrics.malformed}, the last: {visible(client.rejected[-1].reason)}"
