"""How long the import takes, and how long it is from the constructor to the first event's callback.

usage: python -m benchmarks.startup WHICH URL [--times 20]    one process, once; all: python -m benchmarks startup
WHICH: ours, wsapp, websockets, aiohttp, picows
prints: one JSON object: milliseconds, the first time in the process and the median of the other times
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.peers import RUN, ObviousWork, make_client
from benchmarks.processes import ROOT, environment, run_client, server
from benchmarks.suite import NAMES, Effort, Run, Verdict, at_most, median, present, ratio, select, table, times, values

IMPORTS = {
    "ours": "import realtime_client",
    "ours-made": "from realtime_client import RealtimeClient; RealtimeClient('ws://127.0.0.1:1/ws')",
    "wsapp": "import websocket, attrs, cattrs",
    "socketio": "import socketio",
}
LEAST_ROUNDS = 11
"""Imports vary more than anything else here."""
CONTENDERS = ("ours", "wsapp", "websockets", "aiohttp", "picows")
TIMES = 20


class FirstEvent(ObviousWork):
    """The same work as everybody's, with a callback that takes the time."""

    at = 0.0

    def _callback(self, event: Any) -> None:
        self.at = self.at or time.perf_counter()


def connect_ours() -> Any:
    """What makes a client and gives the moment of the first callback; what is imported and made before is not timed."""
    from benchmarks.following import ONE_CONNECTION, follow  # noqa: PLC0415 - the peers' processes do without it
    from realtime_client import RealtimeClient  # noqa: PLC0415

    make_client("ws://127.0.0.1:1/ws")

    def connect(url: str) -> tuple[float, float]:
        seen: list[float] = []
        begin = time.perf_counter()
        client = RealtimeClient(url, **ONE_CONNECTION)
        client.on("*", lambda event: seen.append(time.perf_counter()))
        follow(client)
        client.close()
        return begin, seen[0]

    return connect


def connect_peer(which: str) -> Any:
    """The same for a peer; its converter and its thread are made before."""
    __import__({"wsapp": "websocket", "websockets": "websockets.sync.client"}.get(which, which))

    def connect(url: str) -> tuple[float, float]:
        work = FirstEvent()
        begin = time.perf_counter()
        RUN[which](url, work, deflate=False)
        work.finish()
        return begin, work.at

    return connect


def import_time(statement: str) -> float:
    """Milliseconds in a fresh process, the start of the interpreter left out."""
    program = f"import time; begin = time.perf_counter(); {statement}; print(time.perf_counter() - begin)"
    command = [sys.executable, "-c", program]
    told = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True)
    return float(told.stdout) * 1000


def measure(effort: Effort) -> list[Run]:
    """Imports, then connections, each interleaved."""
    runs: list[Run] = []
    statements = {who: IMPORTS[who] for who in present(IMPORTS)}
    for statement in statements.values():
        import_time(statement)  # writes what is compiled
    for number in range(max(effort.rounds, LEAST_ROUNDS if effort.scale == 1 else 1)):
        for who, statement in statements.items():
            runs.append({"what": "import", "who": who, "round": number, "first": import_time(statement)})
    count = max(1, int(TIMES * effort.scale))
    with server("firehose", "anomalies", 1) as url:
        for number in range(effort.rounds):
            for who in present(CONTENDERS):
                figures = run_client("startup", who, url, "--times", count)
                runs.append({"what": "connect", "who": who, "round": number, **figures})
    return runs


def tables(runs: Sequence[Run]) -> str:
    """Imports and connections."""
    imports, connections = select(runs, what="import"), select(runs, what="connect")
    rows = []
    for who in values(imports, "who"):
        here = select(imports, who=who)
        shown = times(ratio(select(imports, who="ours"), here, "first"))
        rows.append((f"`{IMPORTS[who]}`", f"{median(here, 'first'):.1f}", shown))
    connect_rows = []
    for who in values(connections, "who"):
        here = select(connections, who=who)
        shown = times(ratio(select(connections, who="ours"), here, "later"))
        connect_rows.append((NAMES[who], f"{median(here, 'first'):.2f}", f"{median(here, 'later'):.2f}", shown))
    head = ("connect, to the first event's callback", "ms, the first time", "ms, later", "ours is, later")
    return table(("import", "ms", "ours is"), rows) + "\n\n" + table(head, connect_rows)


def verdicts(runs: Sequence[Run]) -> list[Verdict]:
    """The import."""
    imports = select(runs, what="import")
    theirs = ratio(select(imports, who="ours"), select(imports, who="wsapp"), "first")
    return [at_most(f"`{IMPORTS['ours']}` against `{IMPORTS['wsapp']}`", theirs, 1.5, " x")]


def main() -> None:
    """Connect a few times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=CONTENDERS)
    parser.add_argument("url")
    parser.add_argument("--times", type=int, default=TIMES)
    arguments = parser.parse_args()
    connect = connect_ours() if arguments.which == "ours" else connect_peer(arguments.which)
    took = [(seen - begin) * 1000 for begin, seen in (connect(arguments.url) for _ in range(arguments.times + 1))]
    print(json.dumps({"first": took[0], "later": statistics.median(took[1:])}))


if __name__ == "__main__":
    main()
