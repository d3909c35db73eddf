"""``realtime-client relay``: one connection to a feed for many processes, through a Redis stream."""

from __future__ import annotations

import argparse
import gc
import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from realtime_client import ClientConfig
from realtime_client.cli.arguments import count, delay, port, readable_file, seconds, token_file
from realtime_client.cli.exits import Exit, Failure, Terminated

__all__ = ["DESCRIPTION", "EPILOG", "add_arguments", "run", "tuned"]

DESCRIPTION = """\
Follow a feed and append it to a Redis stream, where any number of clients read it: RealtimeClient("redis://...").
Any number of relays may run for one stream, on as many machines: one is active, the others stand by and take over
within the lease. What happens is said on standard error. Runs until Ctrl-C or SIGTERM, and then appends what it has
received and gives its lease back."""

EPILOG = """\
examples:
  realtime-client relay ws://localhost:8080/ws 'redis://localhost:6379/0?stream=logs'
  realtime-client tail 'redis://localhost:6379/0?stream=logs'
  realtime-client relay wss://logs.example.com/ws 'rediss://relay@redis.example.com/0?stream=logs' \\
      --token-file /run/secrets/feed --redis-password-file /run/secrets/redis \\
      --polling-url https://logs.example.com/poll --log-format json

With Sentinel the host is one of the Sentinels, and with a Cluster one of its nodes; further ones are given with also=:
  redis://sentinel-1:26379/0?stream=logs&sentinel=mymaster&also=sentinel-2:26379
  redis://node-1:6379/0?stream=logs&cluster=yes&also=node-2:6379

exit codes:
  0 ended by SIGTERM    1 failed while running    2 wrong usage or configuration    130 Ctrl-C"""

GOODBYE = 10.0
"""Seconds that the end may take."""
TURN = 0.0005
"""Seconds of a thread's turn. Three threads hand on to each other here, and one of them waits for Redis again and
again: with the interpreter's own 5 ms it would often wait as long once more, for its turn."""
COLLECTIONS = (20_000, 20, 50)
"""How many objects more there must be before the interpreter looks for cycles. An event refers to nothing that refers
back, and lives for milliseconds: with the 700 of CPython 3.11 each is looked at twice before it goes, which is a
sixth of all the work."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("upstream", metavar="FEED", help="ws:// or wss://, the feed")
    parser.add_argument("redis", metavar="REDIS", help="redis:// or rediss:// with ?stream=NAME")
    parser.add_argument("--polling-url", metavar="URL", help="http:// or https://, asked for what was missed")
    parser.add_argument("--token-file", type=token_file, metavar="F", help="file with the feed's token")
    parser.add_argument("--redis-password-file", type=token_file, metavar="F", help="file with the password of Redis")
    parser.add_argument("--ca-file", type=readable_file, metavar="F", help="PEM file of the authorities to trust")
    parser.add_argument("--name", default="relay", help="in log messages (default: %(default)s)")
    parser.add_argument(
        "--lease", type=seconds, default=5.0, metavar="S", help="longest time without a relay (default: %(default)g)"
    )
    parser.add_argument(
        "--linger",
        type=delay,
        default=0.0,
        metavar="S",
        help="let events gather for so long and append them at once; saves work for Redis and readers "
        "(default: %(default)g, at most a tenth of the lease)",
    )
    parser.add_argument(
        "--maxlen",
        type=count,
        default=100_000,
        metavar="N",
        help="about how many entries the stream keeps (default: %(default)s)",
    )
    parser.add_argument(
        "--log-format", choices=("text", "json"), default="text", help="lines for people, or one JSON object a line"
    )
    parser.add_argument(
        "--status-port", type=port, metavar="N", help="answer GET /health and /metrics (for Prometheus) on this port"
    )
    parser.add_argument(
        "--status-host", default="127.0.0.1", metavar="H", help="at this address (default: %(default)s, this machine)"
    )
    parser.set_defaults(logs=("realtime_client.relay", logging.INFO))


def run(args: argparse.Namespace) -> int:
    """Relay; blocks until SIGTERM.

    Returns:
        The exit code 0.

    Raises:
        ConfigError: An address or a setting is wrong.
        Failure: It cannot begin, or did not end in time.
        KeyboardInterrupt: Ctrl-C.
    """
    try:
        from realtime_client.relay import Endpoint, Relay, RelayState  # noqa: PLC0415 - needs redis-py, which the other commands do not
    except ImportError as error:
        raise Failure(Exit.USAGE, str(error)) from None
    relay = Relay(
        _config(args.upstream, args, token=args.token_file, polling_url=args.polling_url),
        _config(args.redis, args, token=args.redis_password_file),
        name=args.name,
        lease=args.lease,
        linger=args.linger,
        maxlen=args.maxlen,
        snapshot_every=min(5_000, max(1, args.maxlen // 2)),
    )
    with ExitStack() as stack:
        stack.enter_context(tuned())
        if args.status_port is not None:
            stack.enter_context(_endpoint(Endpoint, relay, args))
        relay.start()
        try:
            relay.wait_for(RelayState.STOPPED)
        except Terminated:
            pass
        finally:
            ended = relay.stop(GOODBYE)
    if not ended:
        raise Failure(Exit.FAILURE, "the relay did not end in time")
    return Exit.DONE


@contextmanager
def tuned() -> Iterator[None]:
    """The interpreter as a relay wants it that has the process to itself."""
    turn, collections = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(TURN)
    gc.set_threshold(*COLLECTIONS)
    try:
        yield
    finally:
        sys.setswitchinterval(turn)
        gc.set_threshold(*collections)


def _endpoint(made: Any, relay: Any, args: argparse.Namespace) -> Any:
    try:
        return made(relay, args.status_host, args.status_port)
    except OSError as error:
        where = f"{args.status_host}:{args.status_port}"
        raise Failure(Exit.FAILURE, f"cannot listen on {where}: {error.strerror or error}") from None


def _config(url: str, args: argparse.Namespace, **options: Any) -> ClientConfig:
    given = {"url": url, "ca_file": args.ca_file, "name": args.name, **options}
    return ClientConfig(**{name: value for name, value in given.items() if value is not None})
