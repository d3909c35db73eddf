"""``realtime-client serve``: serve the feed of a log."""

from __future__ import annotations

import argparse
import os
import threading

from realtime_client.cli.arguments import port, token_file
from realtime_client.cli.exits import Exit, Failure, Terminated
from realtime_client.cli.sources import add_source_arguments, describe, serving
from realtime_client.cli.streams import output, say, write_line

__all__ = ["DESCRIPTION", "EPILOG", "add_arguments", "run"]

DESCRIPTION = """\
Serve the feed of log files, of standard input, or of a generated log. A modest analyser scores the lines; clients get
anomalies, figures and alerts over WebSocket, and over HTTP for polling. Standard output gets one line for scripts,
REALTIME_URL=ws://...; everything else is said on standard error. Runs until Ctrl-C or SIGTERM, also past the end of
standard input."""

EPILOG = """\
examples:
  realtime-client serve                                      a generated log, at ws://127.0.0.1:8080/ws
  realtime-client serve --tail /var/log/syslog /var/log/nginx/error.log --from end
  journalctl -f | realtime-client serve --tail -
  REALTIME_TOKEN_FILE=/run/secrets/feed realtime-client serve --host 0.0.0.0

Without a token whoever can connect can read the feed; by default that is this machine only.

exit codes:
  0 ended by SIGTERM    1 cannot read a file or listen    2 wrong usage or configuration    130 Ctrl-C"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_source_arguments(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=port, default=8080, help="port, 0 for any that is free (default: %(default)s)")
    parser.add_argument("--path", default="/ws", help="path of the WebSocket (default: %(default)s)")
    secret = parser.add_mutually_exclusive_group()
    secret.add_argument(
        "--token-file", type=token_file, metavar="F", help="file with the bearer token that clients need"
    )
    secret.add_argument("--token", help="the token itself; others can see it in the list of processes")


def run(args: argparse.Namespace) -> int:
    """Serve; blocks until SIGTERM.

    Returns:
        The exit code 0.

    Raises:
        ConfigError: Address, path or token are wrong.
        Failure: It cannot serve.
        KeyboardInterrupt: Ctrl-C.
    """
    from realtime_client.demo import FeedServer  # noqa: PLC0415 - not paid for by the other commands

    stream = output()
    if args.token is not None:
        say("warning: --token is visible to others in the list of processes; use --token-file or REALTIME_TOKEN")
    token = _token(args)
    server = FeedServer(args.host, args.port, args.path, token)
    try:
        with serving(server, args) as feed:
            for line in describe(args):
                say(line)
            say(f"WebSocket {server.url}, polling {server.poll_url}" + (", with a token" if token else ""))
            say("Ctrl-C ends")
            write_line(f"REALTIME_URL={server.url}", stream)
            feed.wait_ended()
            say("the input has ended; what it gave is still served")
            threading.Event().wait()
    except Terminated:
        pass
    return Exit.DONE


def _token(args: argparse.Namespace) -> str | None:
    if args.token is not None:
        return str(args.token)
    source = args.token_file
    if source is None and "REALTIME_TOKEN_FILE" in os.environ:
        if "REALTIME_TOKEN" in os.environ:
            raise Failure(Exit.USAGE, "REALTIME_TOKEN_FILE: cannot be given together with REALTIME_TOKEN")
        try:
            source = token_file(os.environ["REALTIME_TOKEN_FILE"])
        except argparse.ArgumentTypeError as error:
            raise Failure(Exit.USAGE, f"REALTIME_TOKEN_FILE: {error}") from None
    return os.environ.get("REALTIME_TOKEN") if source is None else source()
