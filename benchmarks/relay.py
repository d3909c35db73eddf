"""Events a second through Redis: our relay and a client of ours, against redis-py alone, which only adds and reads.

redis-py writes ready-made messages, pipelined, and reads them back in large reads; nothing is decoded. Ours take them
from a WebSocket, validate, look for repetitions, append under the lease, read, validate, keep the store and call back.
A Redis server and the processes of one contender run at a time; every round runs both.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.processes import read_line, redis_program, result, server, start
from benchmarks.suite import Effort, Run, Verdict, at_least, median, ratio, select, table, times

COUNT = 60_000
SHARE = 0.5
"""Of what redis-py alone does."""
WHO = {"relay": "relay and client", "redis-py": "redis-py, XADD and XREAD"}


def measure(effort: Effort) -> list[Run]:
    """Both, in turn."""
    count = effort.count(COUNT, least=1000)
    runs = []
    for number in range(effort.rounds):
        with redis_server() as port:
            runs.append({"who": "redis-py", "round": number, **plain(port, count)})
        with redis_server() as port:
            runs.append({"who": "relay", "round": number, **relayed(port, count)})
    return runs


def plain(port: int, count: int) -> dict[str, float]:
    """redis-py writes and reads."""
    with start("redis_peers", "read", port, "s", count) as reader, start("redis_peers", "write", port, "s", count) as w:
        try:
            read_line(reader)
            read_line(w)
            assert w.stdin is not None
            w.stdin.write("\n")
            w.stdin.flush()
            return result(reader)
        finally:
            w.kill()


def relayed(port: int, count: int) -> dict[str, float]:
    """A server, our relay and our client."""
    with (
        server("firehose", "anomalies", count, "--distinct") as feed,
        start("redis_peers", "follow", port, "s", count) as reader,
    ):
        read_line(reader)
        with start("redis_peers", "relay", port, "s", feed) as relay:
            try:
                return result(reader)
            finally:
                relay.kill()


@contextmanager
def redis_server() -> Iterator[int]:
    """A Redis server of its own, without persistence; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    folder = tempfile.mkdtemp(prefix="redis-")
    command = [redis_program(), "--port", str(port), "--save", "", "--dir", folder]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            for _ in range(500):
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.02)
            yield port
        finally:
            process.kill()
            shutil.rmtree(folder, ignore_errors=True)


def rate(run: Run) -> float:
    """Events a second."""
    return float(run["events"] / run["seconds"])


def cost(run: Run) -> float:
    """CPU microseconds of the reader for an event."""
    return float(run["cpu"] / run["events"] * 1e6)


def tables(runs: Sequence[Run]) -> str:
    """One row for each."""
    ours = select(runs, who="relay")
    rows = []
    for who, name in WHO.items():
        theirs = select(runs, who=who)
        figures = f"{median(theirs, rate):,.0f}", f"{median(theirs, cost):.2f}"
        rows.append((name, *figures, times(ratio(ours, theirs, rate))))
    return table(("who", "events/s", "CPU µs/event of the reader", "relay is"), rows)


def verdicts(runs: Sequence[Run]) -> list[Verdict]:
    """A share of what redis-py alone does."""
    share = ratio(select(runs, who="relay"), select(runs, who="redis-py"), rate)
    return [at_least("a relay and a client, against pipelined XADD and XREAD of redis-py", share, SHARE, " x")]
