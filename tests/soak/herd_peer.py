"""Many clients of one kind in a process of their own, each as its documentation has it for a feed that must go on.

usage: python -m tests.soak.herd_peer WHICH URL COUNT

Each says by a line that it is connected, every time. What arrives is of no interest; the server counts who connects.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from websockets.exceptions import ConnectionClosed, WebSocketException

PAUSE = 1.0
"""Seconds in the loop that everybody writes around websockets' threaded client."""


def ready(*_: object) -> None:
    """A client is connected."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def wsapp(url: str) -> None:
    """websocket-client's app, with the delay of its documentation."""
    import websocket

    websocket.WebSocketApp(url, on_open=ready).run_forever(reconnect=5)


def websockets_sync(url: str) -> None:
    """websockets' threaded client."""
    from websockets.sync.client import connect

    while True:
        with contextlib.suppress(OSError, WebSocketException), connect(url) as connection:
            ready()
            for _ in connection:
                pass
        time.sleep(PAUSE)


def socketio(url: str) -> None:
    """python-socketio's threaded client, with its own delays."""
    module = importlib.import_module("socketio")
    client = module.Client()
    client.on("connect", ready)
    address = url.replace("ws://", "http://").removesuffix("/ws")
    while not client.connected:  # all begin at once, and not all have their first connection within its time-outs
        with contextlib.suppress(module.exceptions.ConnectionError):
            client.connect(address, transports=["websocket"])
    client.wait()


async def websockets_asyncio(url: str) -> None:
    """websockets' own loop, with its own delays."""
    from websockets.asyncio.client import connect

    async for connection in connect(url):
        ready()
        with contextlib.suppress(ConnectionClosed):
            async for _ in connection:
                pass


async def _together(url: str, count: int) -> None:
    await asyncio.gather(*(websockets_asyncio(url) for _ in range(count)))


WAYS: dict[str, str] = {
    "WebSocketApp": "`run_forever(reconnect=5)`: after 5 s, always",
    "websockets.sync": f"a loop around `connect()` with a pause of {PAUSE:g} s",
    "websockets.asyncio": (
        "`async for`: at once, then after up to 5 s by chance, 3.1 s, and 1.6 times as long each, up to 90 s"
    ),
    "python-socketio": "its own: 1, 2, 4, 5, 5 s ..., times 0.5 to 1.5",
}
"""How each of them comes back, in words."""

THREADED: dict[str, Callable[[str], Any]] = {
    "WebSocketApp": wsapp,
    "websockets.sync": websockets_sync,
    "python-socketio": socketio,
}


def main(which: str, url: str, count: int) -> None:
    """Run them until the process is ended."""
    if which in THREADED:
        threads = [threading.Thread(target=THREADED[which], args=(url,)) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    else:
        asyncio.run(_together(url, count))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
