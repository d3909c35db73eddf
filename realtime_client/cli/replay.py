"""``realtime-client replay``: a recording to the terminal, or as a feed for other clients."""

from __future__ import annotations

import argparse
import threading
from functools import partial
from typing import TYPE_CHECKING

from realtime_client import ClientConfig, Event, RealtimeClient, RecordingError
from realtime_client.addresses import replay_url
from realtime_client.cli.arguments import port, speed
from realtime_client.cli.exits import EXIT_CODES, Exit, Failure, Terminated, failure_of
from realtime_client.cli.following import FORMALITIES, GOODBYE, add_output_arguments, follow
from realtime_client.cli.sources import listening
from realtime_client.cli.streams import output, say, write_line

if TYPE_CHECKING:
    from realtime_client.demo import FeedServer

__all__ = ["DESCRIPTION", "EPILOG", "add_arguments", "run"]

DESCRIPTION = """\
Replay a recording through the client, as `tail` shows a feed; or, with --port, serve it as a feed to other clients,
from the moment when the first of them connects. What came in bursts comes in bursts, unless --speed says otherwise."""

EPILOG = f"""\
examples:
  realtime-client replay feed.jsonl                            as it came
  realtime-client replay feed.jsonl.gz --speed max --type new_anomaly --min-score 0.9
  realtime-client replay feed.jsonl --port 8080 --loop         a feed at ws://127.0.0.1:8080/ws, without an end
  realtime-client watch replay:feed.jsonl                      in the live view

The environment's REALTIME_ variables are not asked.

{EXIT_CODES}"""

LOOK_AROUND = 0.25
"""Seconds after which the main thread looks whether somebody has connected, or the recording has ended."""
OF_SERVING = {"quiet", "color"}
"""The options about output that serving has a use for, or that do no harm."""
STATS_INTERVAL = 0.1
"""Seconds between figures that the served feed tells, at least."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", metavar="FILE", help="a recording, packed if its name ends in .gz")
    parser.add_argument(
        "--speed", type=speed, default=1.0, metavar="X", help="times as fast as it came, or max (default: 1)"
    )
    parser.add_argument("--loop", action="store_true", help="begin again at the end")
    parser.add_argument(
        "--port",
        type=port,
        metavar="P",
        help="serve the whole of it as a feed on this port of this machine, 0 for any that is free",
    )
    add_output_arguments(parser, hidden="greetings and pongs")


def run(args: argparse.Namespace) -> int:
    """Replay; blocks until the recording ends, and with ``--port`` until it is ended.

    Returns:
        The exit code 0.

    Raises:
        Failure: It is no recording, or a damaged one; or every other end of `tail`.
        KeyboardInterrupt: Ctrl-C.
    """
    try:
        config = ClientConfig(replay_url(args.file, speed=args.speed, loop=args.loop))
    except ValueError as error:  # also a ConfigError
        raise Failure(Exit.USAGE, str(error)) from None
    if args.port is None:
        return follow(config, args, hidden=FORMALITIES)
    _refuse_selecting(args)
    return _serve(config, args)


def _refuse_selecting(args: argparse.Namespace) -> None:
    """The whole recording is served: who asks for a part of it must not believe to have got it."""
    unasked = argparse.ArgumentParser(add_help=False)
    add_output_arguments(unasked, hidden="")
    for name, default in vars(unasked.parse_args([])).items():
        if name not in OF_SERVING and getattr(args, name) != default:
            option = {"types": "type", "sources": "source", "follow": "no-follow"}.get(name, name.replace("_", "-"))
            raise Failure(Exit.USAGE, f"--{option} is not allowed with --port, which serves the whole recording")


def _serve(config: ClientConfig, args: argparse.Namespace) -> int:
    """Serve the recording as a feed, from the first client on; after its end what it told is still there."""
    from realtime_client.demo import FeedServer  # noqa: PLC0415 - not paid for by the other commands

    stream = output()
    _look_at(config)
    server = FeedServer(port=args.port, stats_interval=STATS_INTERVAL)
    client = RealtimeClient(config=config)
    client.on("*", partial(_publish, server))
    pause = threading.Event()
    try:
        with listening(server):
            if not args.quiet:
                say(f"{args.file} is served at {server.url} as soon as somebody connects")
                say("Ctrl-C ends")
            write_line(f"REALTIME_URL={server.url}", stream)
            while not server.clients:
                pause.wait(LOOK_AROUND)
            client.connect(wait=False)
            while not client.join(timeout=LOOK_AROUND):
                pass
            if not args.quiet:
                say("the recording has ended; what it told is still served")
            pause.wait()
    except RecordingError as error:
        raise failure_of(error, was_connected=True) from None
    except Terminated:
        pass
    finally:
        client.close(timeout=GOODBYE)
    return Exit.DONE


def _look_at(config: ClientConfig) -> None:
    """See whether it is a recording, before anybody is offered it."""
    try:
        with RealtimeClient(config=config):
            pass
    except RecordingError as error:
        raise failure_of(error, was_connected=False) from None


def _publish(server: FeedServer, event: Event) -> None:
    if event.type not in FORMALITIES:  # the server greets, and answers pings, in its own name
        server.wait_for_room()  # a file has time
        envelope = event.to_dict()
        server.publish({key: envelope.get(key) for key in ("type", "data", "timestamp")})
