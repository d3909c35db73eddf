"""What a connected, silent client costs: CPU and wake-ups a minute, threads, and memory for each further client.

usage: python -m benchmarks.idle WHICH CLIENTS URL [--seconds 60]    one process, once; all: python -m benchmarks idle
WHICH: ours, ours-silent (without a heartbeat), wsapp, websockets; each with a ping every 30 s, as is our default
prints: READY once all are connected; then waits for a line; then one JSON object
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from benchmarks.processes import read_line, result, server, start
from benchmarks.quiet import raise_descriptor_limit
from benchmarks.suite import NAMES, Effort, Run, Verdict, at_most, median, present, select, table, values

CONTENDERS = ("ours", "ours-silent", "wsapp", "websockets")
SIZES = (1, 100, 500)
"""Clients in a process."""
SECONDS = 60.0
KEEP_ALIVE = 30.0
SETTLE = 0.5
"""Seconds after the last connection in which nothing is counted yet."""


def connect_ours(url: str) -> object:
    """This project's client, with its defaults."""
    from realtime_client import RealtimeClient  # noqa: PLC0415 - the peers' processes do without it

    client = RealtimeClient(url)
    client.connect()
    return client


def connect_ours_silent(url: str) -> object:
    """The same, without a heartbeat: whatever wakes it now is waste."""
    from realtime_client import RealtimeClient  # noqa: PLC0415 - the peers' processes do without it

    client = RealtimeClient(url, heartbeat="none")
    client.connect()
    return client


def connect_wsapp(url: str) -> object:
    """websocket-client's app on a thread."""
    import websocket  # noqa: PLC0415

    opened = threading.Event()
    app = websocket.WebSocketApp(url, on_open=lambda app: opened.set(), on_message=lambda app, message: None)
    options = {"ping_interval": KEEP_ALIVE, "ping_timeout": 10}
    threading.Thread(target=app.run_forever, kwargs=options, daemon=True).start()
    opened.wait()
    return app


def connect_websockets(url: str) -> object:
    """websockets.sync with a loop on a thread."""
    from websockets.sync.client import connect  # noqa: PLC0415

    connection = connect(url, ping_interval=KEEP_ALIVE)

    def read() -> None:
        for _ in connection:
            pass

    threading.Thread(target=read, daemon=True).start()
    return connection


CONNECT: dict[str, Callable[[str], object]] = {
    "ours": connect_ours,
    "ours-silent": connect_ours_silent,
    "wsapp": connect_wsapp,
    "websockets": connect_websockets,
}


def memory() -> dict[str, int]:
    """The process's memory, in bytes."""
    gc.collect()
    info = psutil.Process().memory_full_info()
    return {"rss": info.rss, "pss": info.pss, "uss": info.uss}


def switches() -> dict[str, tuple[str, int, int]]:
    """Voluntary and involuntary context switches until now of each thread but the main one, with its name."""
    names = {str(thread.native_id): re.sub(r"\d+", "N", thread.name) for thread in threading.enumerate()}
    found = {}
    for task in Path("/proc/self/task").iterdir():
        if task.name != str(os.getpid()):
            status = (task / "status").read_text()
            voluntary, involuntary = map(int, re.findall(r"voluntary_ctxt_switches:\s+(\d+)", status))
            found[task.name] = names.get(task.name, "other"), voluntary, involuntary
    return found


def observe(seconds: float) -> dict[str, Any]:
    """Do nothing, and see what was done all the same; each figure for the whole process and the whole time."""
    before, cpu = switches(), time.process_time()
    time.sleep(seconds)
    cpu = time.process_time() - cpu
    voluntary: Counter[str] = Counter()
    involuntary = 0
    for task, (name, wakes, forced) in switches().items():
        _, wakes_before, forced_before = before.get(task, (name, 0, 0))
        voluntary[name] += wakes - wakes_before
        involuntary += forced - forced_before
    return {
        "seconds": seconds,
        "cpu": cpu,
        "voluntary": voluntary.total(),
        "involuntary": involuntary,
        "voluntary_by_thread": dict(voluntary),
    }


def measure(effort: Effort, sizes: Sequence[int] = SIZES) -> list[Run]:
    """All contenders at the same time: a silent client leaves the machine to the others."""
    seconds = effort.seconds(SECONDS, least=0.3)
    cases = [(who, clients) for who in present(CONTENDERS) for clients in sizes]
    runs = []
    for number in range(effort.rounds):
        with ExitStack() as stack:
            url = stack.enter_context(server("quiet"))
            processes = []
            for who, clients in cases:  # one after the other connects, and all wait
                process = stack.enter_context(start("idle", who, clients, url, "--seconds", seconds))
                stack.callback(process.kill)
                read_line(process)
                processes.append(process)
            for process in processes:
                assert process.stdin is not None
                process.stdin.write("\n")
                process.stdin.flush()
            for (who, clients), process in zip(cases, processes, strict=True):
                runs.append({"who": who, "clients": clients, "round": number, **result(process)})
    return runs


def share_of_core(run: Run) -> float:
    """Per cent of a core, the whole process."""
    return float(100 * run["cpu"] / run["seconds"])


def cpu(run: Run) -> float:
    """CPU milliseconds a minute, one client."""
    return float(run["cpu"] / run["seconds"] * 60_000 / run["clients"])


def wakes(run: Run) -> float:
    """Voluntary switches a minute, one client."""
    return float(run["voluntary"] / run["seconds"] * 60 / run["clients"])


def forced(run: Run) -> float:
    """Involuntary switches a minute, one client."""
    return float(run["involuntary"] / run["seconds"] * 60 / run["clients"])


def dialling(run: Run) -> float:
    """Milliseconds to connect one client."""
    return float(run["connecting"] / run["clients"] * 1000)


def further(run: Run, kind: str = "rss") -> float:
    """KiB for each client after the first."""
    return float((run["memory_all"][kind] - run["memory_one"][kind]) / (run["clients"] - 1) / 1024)


def tables(runs: Sequence[Run]) -> str:
    """What it costs to be connected, and what a further client takes."""
    rows, memory_rows = [], []
    for clients in values(runs, "clients"):
        for who in values(runs, "who"):
            here = select(runs, who=who, clients=clients)
            switched = f"{median(here, wakes):.1f}", f"{median(here, forced):.2f}"
            rows.append(
                (NAMES[who], clients, f"{median(here, share_of_core):.4f}", f"{median(here, cpu):.2f}", *switched)
            )
            if clients > 1:
                taken = [f"{median(here, partial(further, kind=kind)):.0f}" for kind in ("rss", "pss", "uss")]
                rest = f"{median(here, 'threads_each'):.0f}", f"{median(here, dialling):.1f}"
                memory_rows.append((NAMES[who], clients, *taken, *rest))
    head = ("who", "clients", "% of a core, all", "CPU ms/min, each", "wake-ups/min, each", "involuntary/min, each")
    memory_head = ("who", "clients", "RSS KiB, each further", "PSS", "USS", "threads, each", "ms to connect, each")
    return table(head, rows) + "\n\n" + table(memory_head, memory_rows)


def verdicts(runs: Sequence[Run]) -> list[Verdict]:
    """Wake-ups, CPU, memory."""
    silent = select(runs, who="ours-silent", clients=1)
    hundred = median(select(runs, who="ours", clients=100), share_of_core)
    each = median(select(runs, who="ours", clients=500), further)
    return [
        at_most("idle client: wake-ups a minute besides the heartbeat", median(silent, wakes), 0, ""),
        at_most("100 idle clients, share of a core", hundred, 0.02, " %", digits=4),
        at_most("resident memory for each further client", each, 120, " KiB", digits=0),
    ]


def main() -> None:
    """Connect, wait for the others, observe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=CONTENDERS)
    parser.add_argument("clients", type=int)
    parser.add_argument("url")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    arguments = parser.parse_args()
    raise_descriptor_limit()
    connect = CONNECT[arguments.which]
    begin, threads = time.perf_counter(), threading.active_count()
    clients = [connect(arguments.url)]
    time.sleep(SETTLE)
    one = memory()
    clients += [connect(arguments.url) for _ in range(arguments.clients - 1)]
    connecting = time.perf_counter() - begin - SETTLE
    print("READY", flush=True)
    sys.stdin.readline()
    time.sleep(SETTLE)
    figures = {
        "connecting": connecting,
        "memory_one": one,
        "memory_all": memory(),
        "threads_each": (threading.active_count() - threads) / len(clients),
    }
    print(json.dumps({**figures, **observe(arguments.seconds)}), flush=True)
    os._exit(0)  # to take hundreds of connections down properly is no part of the measurement


if __name__ == "__main__":
    main()
