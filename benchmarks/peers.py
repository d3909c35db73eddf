"""The same work for everybody: bytes, validated typed event, store, one callback on another thread.

usage: python -m benchmarks.peers WHICH WORK URL [--deflate]
WHICH: ours, ours-defaults, wsapp, websockets, aiohttp, picows, limit
WORK:  full (the work above, by the obvious code), bare (json.loads only; what ours does is always full)
prints: one JSON object: events, seconds, cpu
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import importlib
import json
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
import msgspec
from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, override

WHICH = ("ours", "ours-defaults", "wsapp", "websockets", "aiohttp", "picows", "limit")


@attrs.frozen
class Log:
    """A log, as a careful user would write it."""

    id: str
    timestamp: dt.datetime
    level: str
    message: str
    source: str
    is_anomaly: bool = False
    anomaly_score: float = 0.0
    root_causes: tuple[str, ...] = ()
    recommendations: tuple[str, ...] = ()


@attrs.frozen
class Anomaly:
    """An anomaly."""

    log: Log
    timestamp: dt.datetime


@attrs.frozen
class Stats:
    """Figures."""

    stats: dict[str, Any]
    timestamp: dt.datetime


def camel(name: str) -> str:
    """The wire's spelling."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def strict_converter() -> Converter:
    """Cattrs without coercion."""

    def strict(kind: type) -> Callable[[Any, Any], Any]:
        def hook(value: Any, _: Any) -> Any:
            if type(value) is not kind:
                raise TypeError(value)
            return value

        return hook

    converter = Converter(detailed_validation=False)
    for kind in (str, bool):
        converter.register_structure_hook(kind, strict(kind))
    converter.register_structure_hook(dt.datetime, lambda value, _: dt.datetime.fromisoformat(value))
    renames: dict[str, Any] = {field.name: override(rename=camel(field.name)) for field in attrs.fields(Log)}
    converter.register_structure_hook(
        Log, make_dict_structure_fn(Log, converter, _cattrs_detailed_validation=False, **renames)
    )
    return converter


class ObviousWork:
    """What a user of a plain WebSocket library writes to get what ours gives."""

    def __init__(self) -> None:
        self._hook = strict_converter().get_structure_hook(Log)
        self._lock = threading.Lock()
        self._logs: deque[Log] = deque(maxlen=100)
        self._figures: dict[str, Any] = {}
        self._count = 0
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.seen = 0
        self._thread = threading.Thread(target=self._dispatch)
        self._thread.start()

    def __call__(self, text: str | bytes) -> None:
        """One message."""
        content = json.loads(text)
        timestamp = dt.datetime.fromisoformat(content["timestamp"])
        event: Anomaly | Stats
        if content["type"] == "new_anomaly":
            event = Anomaly(self._hook(content["data"]["log"], Log), timestamp)
            with self._lock:
                self._logs.append(event.log)
                self._count += 1
        else:
            event = Stats(content["data"]["stats"], timestamp)
            with self._lock:
                self._figures.update(event.stats)
        self._queue.put(event)

    def finish(self) -> int:
        """Wait for the callbacks; the number of events."""
        self._queue.put(None)
        self._thread.join(60)
        return self.seen

    def _callback(self, event: Any) -> None:
        self.seen += 1

    def _dispatch(self) -> None:
        while (event := self._queue.get()) is not None:
            self._callback(event)


class BareWork:
    """``json.loads`` and nothing else."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, text: str | bytes) -> None:
        """One message."""
        json.loads(text)
        self.seen += 1

    def finish(self) -> int:
        """The number of messages."""
        return self.seen


def run_wsapp(url: str, work: Any, *, deflate: bool) -> None:
    """websocket-client's app; it knows no compression."""
    import websocket  # noqa: PLC0415

    websocket.WebSocketApp(url, on_message=lambda app, message: work(message)).run_forever()


def run_websockets(url: str, work: Any, *, deflate: bool) -> None:
    """websockets.sync."""
    from websockets.sync.client import connect  # noqa: PLC0415

    for message in connect(url, compression="deflate" if deflate else None):
        work(message)


def run_aiohttp(url: str, work: Any, *, deflate: bool) -> None:
    """Aiohttp."""
    import aiohttp  # noqa: PLC0415

    async def main() -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(url, compress=15 if deflate else 0) as ws:
            async for message in ws:
                work(message.data)

    asyncio.run(main())


def run_picows(url: str, work: Any, *, deflate: bool) -> None:
    """picows; it knows no compression."""
    import picows  # noqa: PLC0415

    class Listener(picows.WSListener):
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if frame.msg_type == picows.WSMsgType.CLOSE:
                transport.disconnect()
            else:
                work(frame.get_payload_as_bytes())

    async def main() -> None:
        transport, _ = await picows.ws_connect(Listener, url)
        await transport.wait_disconnected()

    asyncio.run(main())


class LogStruct(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """A log, for msgspec."""

    id: str
    timestamp: dt.datetime
    level: str
    message: str
    source: str
    is_anomaly: bool = False
    anomaly_score: float = 0.0
    root_causes: tuple[str, ...] = ()
    recommendations: tuple[str, ...] = ()


class Data(msgspec.Struct, frozen=True, gc=False):
    """The part around it."""

    log: LogStruct


class AnomalyStruct(msgspec.Struct, frozen=True, tag_field="type", tag="new_anomaly", gc=False):
    """An anomaly, for msgspec."""

    data: Data
    timestamp: dt.datetime


class StatsStruct(msgspec.Struct, frozen=True, tag_field="type", tag="stats_update"):
    """Figures, for msgspec."""

    data: dict[str, Any]
    timestamp: dt.datetime


def run_limit(url: str) -> int:
    """One thread, a frame scan and a typed decode by msgspec: nothing in CPython can be faster with this work."""
    import websocket  # noqa: PLC0415

    decode = msgspec.json.Decoder(AnomalyStruct | StatsStruct).decode
    sock = websocket.create_connection(url).sock
    assert sock is not None
    seen, buffer, over = 0, b"", False
    while not over:
        data = sock.recv(131072)
        if not data:
            break
        buffer = buffer + data if buffer else data
        position, end = 0, len(buffer)
        while end - position >= 2:
            size = buffer[position + 1]
            if size < 126:
                head, length = 2, size
            elif size == 126:
                if end - position < 4:
                    break
                head, length = 4, (buffer[position + 2] << 8) | buffer[position + 3]
            else:
                if end - position < 10:
                    break
                head, length = 10, int.from_bytes(buffer[position + 2 : position + 10], "big")
            if end - position < head + length:
                break
            if buffer[position] == 0x88:
                over = True
                break
            decode(buffer[position + head : position + head + length])
            seen += 1
            position += head + length
        buffer = buffer[position:]
    return seen


def make_client(url: str) -> None:
    """Make a client of ours, and leave it at that: no thread, no connection."""
    from realtime_client import RealtimeClient  # noqa: PLC0415 - the peers' processes do without it

    RealtimeClient(url)


def be_busy() -> None:
    """Another thread of the application, which computes for a part of the time."""
    pause = threading.Event()
    while not pause.wait(PAUSE):
        end = time.perf_counter() + BUSY
        while time.perf_counter() < end:
            pass


def run_ours(url: str, *, deflate: bool, overflow: str) -> dict[str, int]:
    """This project's client; one callback on its dispatcher thread."""
    from realtime_client import RealtimeClient  # noqa: PLC0415

    seen = 0

    def callback(event: Any) -> None:
        nonlocal seen
        seen += 1

    done = threading.Event()
    client = RealtimeClient(
        url, overflow=overflow, compression=deflate, max_reconnect_attempts=0, give_up=True, heartbeat="none"
    )
    client.on("*", callback)
    client.on_connection_change(lambda connected: None if connected else done.set())
    client.connect(wait=False)
    done.wait()
    metrics = client.metrics()
    client.close()
    return {"events": metrics.received, "delivered": seen, "dropped": sum(metrics.dropped.values())}


BUSY, PAUSE = 0.001, 0.009
"""How long a busy thread computes and then waits, over and over, in seconds."""
MODULES = {
    "ours": "realtime_client",
    "ours-defaults": "realtime_client",
    "wsapp": "websocket",
    "websockets": "websockets.sync.client",
    "aiohttp": "aiohttp",
    "picows": "picows",
    "limit": "websocket",
}
"""What is imported before the time begins: the import has a measurement of its own."""
RUN = {"wsapp": run_wsapp, "websockets": run_websockets, "aiohttp": run_aiohttp, "picows": run_picows}


def prepare(which: str, work: str, url: str, *, deflate: bool) -> Callable[[], dict[str, float]]:
    """Import and make, ours and theirs alike, what is there before the time begins; gives what is timed."""
    importlib.import_module(MODULES[which])
    if which == "limit":
        return lambda: {"events": run_limit(url)}
    if which.startswith("ours"):
        make_client(url)  # which imports what it needs
        overflow = "block" if which == "ours" else "drop_oldest"
        return lambda: {**run_ours(url, deflate=deflate, overflow=overflow)}
    theirs = ObviousWork() if work == "full" else BareWork()

    def run() -> dict[str, float]:
        RUN[which](url, theirs, deflate=deflate)
        return {"events": theirs.finish()}

    return run


def main() -> None:
    """Do the work once and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=WHICH)
    parser.add_argument("work", choices=("full", "bare"))
    parser.add_argument("url")
    parser.add_argument("--deflate", action="store_true")
    parser.add_argument("--busy", action="store_true")
    arguments = parser.parse_args()
    run = prepare(arguments.which, arguments.work, arguments.url, deflate=arguments.deflate)
    if arguments.busy:
        threading.Thread(target=be_busy, daemon=True).start()
    begin, begin_cpu = time.perf_counter(), time.process_time()
    result = run()
    result["seconds"] = time.perf_counter() - begin
    result["cpu"] = time.process_time() - begin_cpu
    print(json.dumps(result))


if __name__ == "__main__":
    main()
