"""Who writes to a Redis stream and who reads it: our relay and client, and redis-py alone.

usage: python -m benchmarks.redis_peers write PORT STREAM COUNT
       python -m benchmarks.redis_peers read PORT STREAM COUNT
       python -m benchmarks.redis_peers relay PORT STREAM FEED [LINGER]
       python -m benchmarks.redis_peers follow PORT STREAM COUNT
prints: READY, once it can begin; those who read then print one JSON object: events, seconds, cpu
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

import redis

from benchmarks.firehose import message
from realtime_client import RealtimeClient
from realtime_client.cli.relay import tuned
from realtime_client.relay import Relay, RelayState

PIPELINE = 200
READ = 500
MAXLEN = 100_000


def write(port: int, stream: str, count: int) -> None:
    """Pipelined XADD of messages that are made already."""
    client = redis.Redis(port=port)
    messages = [message("anomalies", number) for number in range(count)]
    print("READY", flush=True)
    sys.stdin.readline()
    for begin in range(0, count, PIPELINE):
        pipeline = client.pipeline(transaction=False)
        for text in messages[begin : begin + PIPELINE]:
            pipeline.xadd(stream, {"event": text}, maxlen=MAXLEN)
        pipeline.execute()


def read(port: int, stream: str, count: int) -> None:
    """XREAD, and nothing done with what it gives."""
    client = redis.Redis(port=port)
    last: Any = "0-0"
    seen, first, cpu = 0, 0.0, 0.0
    print("READY", flush=True)
    while seen < count:
        answer: Any = client.xread({stream: last}, count=READ, block=4000)
        if not first:
            first, cpu = time.monotonic(), time.process_time()
        if answer:
            entries = answer[0][1]
            seen += len(entries)
            last = entries[-1][0]
    tell(seen, first, cpu)


def relay(port: int, stream: str, feed: str, linger: float) -> None:
    """Our relay, as the command runs it; ends when its input does."""
    url = f"redis://127.0.0.1:{port}/0?stream={stream}"
    with tuned(), Relay(feed, url, maxlen=MAXLEN, lease=30.0, linger=linger) as running:
        running.wait_for(RelayState.ACTIVE, 30)
        print("READY", flush=True)
        sys.stdin.readline()


def follow(port: int, stream: str, count: int) -> None:
    """Our client: typed events, store, a callback."""
    first, cpu, seen = 0.0, 0.0, 0
    done = threading.Event()

    def called(_: object) -> None:
        nonlocal first, cpu, seen
        if not seen:
            first, cpu = time.monotonic(), time.process_time()
        seen += 1
        if seen == count:
            done.set()

    client = RealtimeClient(f"redis://127.0.0.1:{port}/0?stream={stream}", overflow="block")
    client.on("new_anomaly", called)
    with client:
        print("READY", flush=True)
        if not done.wait(150):
            raise RuntimeError(f"{seen} of {count} events: {client.metrics()}")
        tell(seen, first, cpu)


def tell(events: int, first: float, cpu: float) -> None:
    """The result."""
    figures = {"events": events, "seconds": time.monotonic() - first, "cpu": time.process_time() - cpu}
    print(json.dumps(figures), flush=True)


def main() -> None:
    """Do what the command line says."""
    what, port, stream, last, *more = sys.argv[1:]
    if what == "relay":
        relay(int(port), stream, last, float(more[0]) if more else 0.0)
    else:
        work: Any = {"write": write, "read": read, "follow": follow}[what]
        work(int(port), stream, int(last))


if __name__ == "__main__":
    main()
