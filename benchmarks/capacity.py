"""One relay and many readers: what an event costs Redis, the relay and the readers, and what a large site would need.

Every reader is a process of its own with one client. At each number of readers there are two runs: events at an even
pace, for the latency, and then as many as can be had at once, for the rate and the cost. With --linger there is an even
pace for each time that the relay is to let events gather. Afterwards the figures are carried on, by arithmetic alone,
to sites that cannot be measured here.

usage: python -m benchmarks.capacity [--levels 1,4,16,64] [--linger 0,0.01] [--rounds 1] [--quick] [--json F] [--docs]
                                     [--from F]
       python -m benchmarks.capacity read PORT STREAM=COUNT ...   one reader
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from subprocess import Popen
from typing import Any

import attrs
import psutil
import redis

from benchmarks.processes import ROOT, read_line, server, start
from benchmarks.relay import redis_server
from benchmarks.report import fill, machine
from benchmarks.suite import Run, median, select, table, values
from realtime_client import Event, RealtimeClient, StatsUpdate

PAGE = ROOT / "docs" / "capacity.md"
DATA = ROOT / "docs" / "capacity.json"
LEVELS = (1, 4, 16, 64)
LINGERS = (0.0,)
"""Seconds that the relay lets paced events gather."""
RATE = 100
"""Paced events a second. Each is a batch of its own there, which is the dearest way for all."""
PACED = 600
DELIVERIES, EVENTS = 400_000, 40_000
"""The most deliveries, and the most events, of an unpaced run."""
PATIENCE = 150.0


# One reader


def read(port: int, streams: Sequence[str]) -> None:
    """Follow the streams, one after the other; a line of JSON for each."""
    for stream, _, count in (text.partition("=") for text in streams):
        print(json.dumps(follow(f"redis://127.0.0.1:{port}/0?stream={stream}", int(count))), flush=True)
        sys.stdin.readline()  # so that nobody starts the next while others are still counting


def follow(url: str, count: int) -> dict[str, float]:
    """Say READY, take so many events, and tell how it went."""
    late: list[float] = []
    seen, first, cpu = 0, 0.0, 0.0
    done = threading.Event()

    def called(event: Event) -> None:
        nonlocal seen, first, cpu
        now = time.monotonic_ns()
        if not seen:
            first, cpu = now / 1e9, time.process_time()
        seen += 1
        if isinstance(event, StatsUpdate) and "sent" in event.stats:
            late.append((now - event.stats["sent"]) / 1e6)
        if seen == count:
            done.set()

    client = RealtimeClient(url, overflow="block")
    gaps: list[object] = []
    client.on("new_anomaly", called)
    client.on("stats_update", called)
    client.on_gap(gaps.append)
    with client:
        print("READY", flush=True)
        if not done.wait(PATIENCE):
            raise RuntimeError(f"{seen} of {count} events: {client.metrics()}")
        last, spent = time.monotonic(), time.process_time() - cpu
    late.sort()
    return {
        "first": first,
        "last": last,
        "cpu": spent,
        "gaps": len(gaps),
        "p50": percentile(late, 0.5),
        "p99": percentile(late, 0.99),
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def percentile(ordered: Sequence[float], share: float) -> float:
    """A value of a sorted list; 0 of an empty one."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


# One level


def measure(
    levels: Sequence[int], rounds: int, *, lingers: Sequence[float] = LINGERS, paced: int = PACED, events: int = EVENTS
) -> list[Run]:
    """Every number of readers in turn."""
    runs = []
    for number in range(rounds):
        for readers in levels:
            begin = time.monotonic()
            flood = max(1000, min(events, DELIVERIES // readers))
            feeds = [Feed("paced", paced, ("stats", paced, "--pace", RATE), linger) for linger in lingers]
            feeds.append(Feed("flood", flood, ("anomalies", flood, "--distinct")))
            runs += [{"round": number, **run} for run in level(readers, feeds)]
            sys.stderr.write(f"{readers} readers: {time.monotonic() - begin:.0f} s\n")
    return runs


@attrs.frozen
class Feed:
    """What one run relays.

    Attributes:
        name: ``"paced"`` or ``"flood"``.
        events: How many.
        arguments: Of the server.
        linger: Of the relay.
    """

    name: str
    events: int
    arguments: tuple[object, ...]
    linger: float = 0.0


def level(readers: int, feeds: Sequence[Feed]) -> list[Run]:
    """So many readers, and one feed after the other."""
    streams = [f"{feed.name}-{number}" for number, feed in enumerate(feeds)]
    with ExitStack() as stack:
        port = stack.enter_context(redis_server())
        counts = [f"{stream}={feed.events}" for stream, feed in zip(streams, feeds, strict=True)]
        group = [stack.enter_context(start("capacity", "read", port, *counts)) for _ in range(readers)]
        for process in group:
            stack.callback(process.kill)
        return [
            {"feed": feed.name, "linger": feed.linger, "readers": readers, **one(port, stream, feed, group)}
            for stream, feed in zip(streams, feeds, strict=True)
        ]


def one(port: int, stream: str, feed: Feed, group: list[Popen[str]]) -> Run:
    """One feed, from the start of the relay to the last reader's last event."""
    for process in group:
        read_line(process)  # READY
    with ExitStack() as stack:
        client = stack.enter_context(redis.Redis(port=port))
        store = psutil.Process(client.info("server")["process_id"])
        before, redis_cpu = client.info(), cpu_of(store)
        url = stack.enter_context(server("firehose", *feed.arguments))
        relay = stack.enter_context(start("redis_peers", "relay", port, stream, url, feed.linger))
        stack.callback(relay.kill)
        read_line(relay)  # READY
        relay_cpu = cpu_of(psutil.Process(relay.pid))
        told = [json.loads(read_line(process)) for process in group]
        relay_cpu = cpu_of(psutil.Process(relay.pid)) - relay_cpu
        redis_cpu, after = cpu_of(store) - redis_cpu, client.info()
        entries = client.xlen(f"realtime:{{{stream}}}:events")
    for process in group:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    return {
        "events": feed.events,
        "seconds": max(one["last"] for one in told) - min(one["first"] for one in told),
        "gaps": sum(one["gaps"] for one in told),
        "p50": statistics.median(one["p50"] for one in told),
        "p99": max(one["p99"] for one in told),
        "redis cpu": redis_cpu,
        "relay cpu": relay_cpu,
        "reader cpu": statistics.mean(one["cpu"] for one in told),
        "reader memory": statistics.median(one["memory"] for one in told),
        "sent": after["total_net_output_bytes"] - before["total_net_output_bytes"],
        "entry memory": (after["used_memory_dataset"] - before["used_memory_dataset"]) / entries,
        "client memory": after["mem_clients_normal"] / len(group),
    }


def cpu_of(process: psutil.Process) -> float:
    """Seconds of CPU."""
    spent = process.cpu_times()
    return float(spent.user + spent.system)


# What is shown


def figures(runs: Sequence[Run]) -> str:
    """The unpaced runs: a row for each number of readers."""
    rows = []
    for readers in values(runs, "readers"):
        here = select(runs, feed="flood", readers=readers)
        rate = median(here, lambda run: run["events"] / run["seconds"])
        rows.append(
            (
                readers,
                f"{rate:,.0f}",
                f"{rate * readers:,.0f}",
                f"{median(here, per_event('redis cpu')):.1f}",
                f"{median(here, per_event('redis cpu')) / readers:.2f}",
                f"{median(here, per_event('relay cpu')):.1f}",
                f"{median(here, per_event('reader cpu')):.1f}",
                f"{median(here, per_event('sent')) / readers / 1e6:,.0f}",
            )
        )
    head = (
        "readers",
        "events/s",
        "deliveries/s",
        "Redis: µs/event",
        "Redis: µs/delivery",
        "relay: µs/event",
        "each reader: µs/event",
        "bytes/delivery",
    )
    return table(head, rows, words=0)


def latencies(runs: Sequence[Run]) -> str:
    """The paced runs: a row for each number of readers, and for each of several times that events gathered."""
    paced = select(runs, feed="paced")
    lingers = sorted({linger(run) for run in paced})
    rows = []
    for readers in values(paced, "readers"):
        for seconds in lingers:
            here = [run for run in select(paced, readers=readers) if linger(run) == seconds]
            rows.append(
                (
                    readers,
                    *([f"{seconds * 1000:g}"] if len(lingers) > 1 else []),
                    f"{median(here, 'p50'):.1f}",
                    f"{median(here, 'p99'):.1f}",
                    *(f"{100 * median(here, share(who)):.1f} %" for who in ("redis cpu", "relay cpu", "reader cpu")),
                )
            )
    gathered = ["gathered for, ms"] if len(lingers) > 1 else []
    return table(("readers", *gathered, "p50 ms", "p99 ms", "Redis, of a core", "relay", "each reader"), rows, words=0)


def linger(run: Run) -> float:
    """How long the relay let events gather."""
    return float(run.get("linger", 0.0))


def memory(runs: Sequence[Run]) -> str:
    """What takes memory."""
    here = select(runs, feed="flood")
    rows = [
        ("Redis, for each entry of the stream", f"{median(here, 'entry memory'):,.0f} bytes"),
        ("Redis, for each connected reader", f"{median(here, 'client memory') / 1024:,.0f} KiB"),
        ("a reader's process, at its most", f"{median(here, 'reader memory') / 2**20:,.0f} MiB"),
    ]
    return table(("what", "memory"), rows)


def per_event(key: str) -> Any:
    """Microseconds, or millionths, for each event."""
    return lambda run: run[key] / run["events"] * 1e6


def share(key: str) -> Any:
    """Share of a core over the run."""
    return lambda run: run[key] / run["seconds"]


# On paper


@attrs.frozen(kw_only=True)
class Costs:
    """What one thing costs, as measured; seconds of CPU.

    Attributes:
        append: Redis, for each event, whoever reads.
        delivery: Redis, for each event and reader.
        relay: The relay, for each event.
        reader: Each reader, for each event.
        append_batch, delivery_batch, relay_batch, reader_batch: The same for each batch, besides.
        size: Bytes of each delivery on the network.
    """

    append: float
    delivery: float
    relay: float
    reader: float
    append_batch: float
    delivery_batch: float
    relay_batch: float
    reader_batch: float
    size: float

    def redis(self, rate: float, batches: float, readers: float) -> float:
        """How busy a Redis with so many readers is, in cores."""
        each = rate * self.append + batches * self.append_batch
        return each + readers * (rate * self.delivery + batches * self.delivery_batch)


def costs(runs: Sequence[Run]) -> Costs:
    """Lines through the measured points: what Redis spends grows with the readers.

    The unpaced runs give the cost of an event, since there a batch has hundreds. Of the paced runs those give the cost
    of a batch in which every event came alone: where it was there before the next one was sent.
    """
    flood = select(runs, feed="flood")
    alone = [run for run in select(runs, feed="paced") if run["p50"] < 1000 / RATE and not linger(run)]
    append, delivery = line(flood)
    append_alone, delivery_alone = line(alone)
    relay, reader = (median(flood, per_event(who)) / 1e6 for who in ("relay cpu", "reader cpu"))
    relay_alone, reader_alone = (median(alone, per_event(who)) / 1e6 for who in ("relay cpu", "reader cpu"))
    most = max(values(flood, "readers"))
    return Costs(
        append=append,
        delivery=delivery,
        relay=relay,
        reader=reader,
        append_batch=max(0.0, append_alone - append),
        delivery_batch=max(0.0, delivery_alone - delivery),
        relay_batch=max(0.0, relay_alone - relay),
        reader_batch=max(0.0, reader_alone - reader),
        size=median(select(flood, readers=most), per_event("sent")) / 1e6 / most,
    )


def line(runs: Sequence[Run]) -> tuple[float, float]:
    """Redis's seconds for an event without readers, and for each reader."""
    levels = values(runs, "readers")
    spent = [median(select(runs, readers=readers), per_event("redis cpu")) / 1e6 for readers in levels]
    if len(levels) < 2:
        return (spent[0], 0.0) if spent else (0.0, 0.0)
    slope, begin = statistics.linear_regression(levels, spent)
    return max(begin, 0.0), max(slope, 0.0)


BUSY = 0.6
"""How busy a core or a network card may be on average."""
CARD = 25e9 / 8 * BUSY
"""Bytes a second of a network card of 25 Gbit/s."""
PER_MACHINE = 40
"""Workers on a machine."""
BATCHES = RATE
"""Batches a second in which the events of a stream come."""


def plan(cost: Costs, workers: int, events: float, budget: float) -> list[tuple[str, str, str]]:
    """What a site needs: rows of what, how much, and why.

    Args:
        cost: As measured.
        workers: How many processes follow the feed, each of them one stream.
        events: Events a second of the whole feed.
        budget: The share of a core that a worker may spend on it.
    """
    follows = max(1.0, (budget - BATCHES * cost.reader_batch) / cost.reader)
    writes = max(1.0, (BUSY - BATCHES * cost.relay_batch) / cost.relay)
    shards = math.ceil(events / min(follows, writes))
    rate, readers = events / shards, workers / shards
    copies, of_each = 1, math.ceil(readers)
    while cost.redis(rate, BATCHES, of_each) > BUSY or rate * of_each * cost.size > CARD:
        copies += 1
        of_each = math.ceil(readers / copies)
    machines = math.ceil(workers / PER_MACHINE)
    here = min(workers, PER_MACHINE)
    on_each, local = 1, here
    while cost.redis(rate, BATCHES, local) > BUSY:
        on_each += 1
        local = math.ceil(here / on_each)
    relay = rate * cost.relay + BATCHES * cost.relay_batch
    alone = cost.redis(rate, rate, of_each)
    return [
        (
            "a worker can follow",
            f"{follows:,.0f} events/s",
            f"{budget:.0%} of a core; {BATCHES * cost.reader_batch:.1%} for {BATCHES} batches, "
            f"and {cost.reader * 1e6:.1f} µs/event",
        ),
        ("streams", f"{shards:,}", f"{rate:,.0f} events/s each, so that a worker can follow one, and a relay write it"),
        ("relays", f"{2 * shards:,}", f"one active ({relay:.0%} of a core) and one standing by for each"),
        ("deliveries", f"{rate * workers:,.0f} /s", f"{readers:,.0f} workers read each stream"),
        ("their traffic", f"{rate * workers * cost.size / 1e9:,.2f} GB/s", f"{cost.size:,.0f} bytes each"),
        (
            "Redis processes, read over the network",
            f"{shards * copies:,}",
            f"for each stream a primary and {copies - 1:,} replicas, each "
            f"{cost.redis(rate, BATCHES, of_each):.0%} busy",
        ),
        (
            "Redis processes, with replicas on the workers' machines",
            f"{shards:,} + {machines * on_each:,}",
            f"{on_each:,} for the {here} workers of a machine, {cost.redis(rate, BATCHES, local):.0%} busy; "
            f"{machines * on_each * rate * cost.size / 1e9:,.2f} GB/s of replication cross the network",
        ),
        (
            "should every event come alone",
            f"{alone:.1f} cores",
            "for each Redis over the network, "
            + ("which has one: events gather while it is busy, and come later" if alone > 1 else "which can do that"),
        ),
    ]


SITES = (
    ("40 workers, 1,000 events/s", 40, 1_000, 0.1),
    ("1,000 workers, 10,000 events/s", 1_000, 10_000, 0.25),
    ("10,000 workers, 1,000,000 events/s", 10_000, 1_000_000, 0.25),
)


def paper(runs: Sequence[Run]) -> str:
    """The plans of three sites."""
    cost = costs(runs)
    parts = [
        f"From the runs, in µs of CPU; a delivery has {cost.size:,.0f} bytes.",
        table(
            ("what", "each event", "each batch besides"),
            [
                ("Redis", f"{cost.append * 1e6:.1f}", f"{cost.append_batch * 1e6:.0f}"),
                ("Redis, for each reader", f"{cost.delivery * 1e6:.2f}", f"{cost.delivery_batch * 1e6:.0f}"),
                ("the relay", f"{cost.relay * 1e6:.1f}", f"{cost.relay_batch * 1e6:.0f}"),
                ("a reader", f"{cost.reader * 1e6:.1f}", f"{cost.reader_batch * 1e6:.0f}"),
            ],
        ),
    ]
    for name, workers, events, budget in SITES:
        parts += [f"### {name}", table(("what", "how much", "why"), plan(cost, workers, events, budget), words=3)]
    return "\n\n".join(parts)


def sections(result: dict[str, Any]) -> dict[str, str]:
    """Everything that is shown, in Markdown."""
    where, runs = result["machine"], result["runs"]
    rounds = len(values(runs, "round"))
    return {
        "conditions": f"Measured on {where['processor']}, {where['cores']} cores, {where['system']}, "
        f"{where['python']}, "
        f"Redis {result['redis']}, redis-py {redis.__version__}; load before {where['load before']}; {rounds} "
        f"round{'s' if rounds > 1 else ''}. Redis, relay, feed and all readers share these cores.",
        "figures": figures(runs),
        "latencies": latencies(runs),
        "memory": memory(runs),
        "paper": paper(runs),
    }


def main() -> None:
    """Measure, show, keep."""
    if sys.argv[1:2] == ["read"]:
        read(int(sys.argv[2]), sys.argv[3:])
        return
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.capacity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--levels", default=",".join(map(str, LEVELS)), help="numbers of readers (%(default)s)")
    parser.add_argument(
        "--linger",
        default=",".join(f"{seconds:g}" for seconds in LINGERS),
        help="seconds that the relay lets paced events gather (%(default)s)",
    )
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="few events: a look")
    parser.add_argument("--json", type=Path, metavar="F", help="write all runs")
    parser.add_argument(
        "--from", type=Path, metavar="F", action="append", dest="sources", help="show these files' runs"
    )
    parser.add_argument("--docs", action="store_true", help="write the runs and the page of the documentation")
    arguments = parser.parse_args()
    if arguments.sources:
        parts = [json.loads(path.read_text()) for path in arguments.sources]
        result: dict[str, Any] = {**parts[0], "runs": [run for part in parts for run in part["runs"]]}
    else:
        amounts = {"paced": 50, "events": 2000} if arguments.quick else {}
        levels = [int(level) for level in arguments.levels.split(",")]
        with redis_server() as port, redis.Redis(port=port) as client:
            version = client.info("server")["redis_version"]
        result = {"machine": machine(), "redis": version}
        lingers = [float(seconds) for seconds in arguments.linger.split(",")]
        result["runs"] = measure(levels, arguments.rounds, lingers=lingers, **amounts)
    lines = ",\n".join(f"  {json.dumps(run)}" for run in result["runs"])
    head = ",\n".join(f" {json.dumps(key)}: {json.dumps(result[key])}" for key in ("machine", "redis"))
    text = "{\n" + head + ',\n "runs": [\n' + lines + "\n ]\n}\n"
    for path in [arguments.json] * bool(arguments.json) + [DATA] * arguments.docs:
        path.write_text(text)
    shown = sections(result)
    if arguments.docs:
        PAGE.write_text(fill(PAGE.read_text(), shown))
    sys.stdout.write("\n\n".join(f"## {name}\n\n{part}" for name, part in shown.items()) + "\n")


if __name__ == "__main__":
    main()
