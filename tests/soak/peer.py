"""A client in a process of its own: prints each event's number, and whatever it is told of trouble.

usage: python -m tests.soak.peer WHICH URL

Each is used as its documentation has it for a feed that must go on: with its own way to reconnect where it has one,
and with its keep-alive at half a second. Lines: ``E 17`` for an event, ``W words`` for a word on the connection,
``G since until`` for a report of missed events.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

KEEP_ALIVE = 0.5
DELAY = 0.05


def tell(kind: str, words: object) -> None:
    """One line, at once."""
    sys.stdout.write(f"{kind} {words}\n".replace("\r", " "))
    sys.stdout.flush()


def event(text: str | bytes) -> None:
    """A message of the feed."""
    tell("E", int(json.loads(text)["data"]["log"]["id"].removeprefix("log-")))


def word(*words: object) -> None:
    """The library says something of the connection."""
    tell("W", " ".join(type(one).__name__ for one in words))


def ours(url: str) -> None:
    """This project's client."""
    from realtime_client import RealtimeClient

    client = RealtimeClient(
        url,
        reconnect_delay=DELAY,
        reconnect_delay_max=DELAY,
        heartbeat_interval=KEEP_ALIVE,
        heartbeat_timeout=KEEP_ALIVE,
    )
    client.on("new_anomaly", lambda event: tell("E", int(event.log.id.removeprefix("log-"))))
    client.on_connection_change(word)
    client.on_gap(lambda gap: tell("G", f"{gap.since.isoformat()} {gap.until.isoformat()}"))
    client.connect(wait=False)
    client.join()


def wsapp(url: str) -> None:
    """websocket-client's app, which reconnects by itself."""
    import websocket

    app = websocket.WebSocketApp(
        url,
        on_message=lambda app, message: event(message),
        on_reconnect=lambda app: word("reconnected"),
        on_error=lambda app, error: word(error),
        on_close=lambda app, code, reason: word("closed"),
    )
    app.run_forever(reconnect=DELAY, ping_interval=KEEP_ALIVE + 0.1, ping_timeout=KEEP_ALIVE)  # type: ignore[arg-type]


def websockets_sync(url: str) -> None:
    """websockets' threaded client in the loop that everybody writes around it."""
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    while True:
        try:
            with connect(url, ping_interval=KEEP_ALIVE, ping_timeout=KEEP_ALIVE) as connection:
                for message in connection:
                    event(message)
            word("ended")
        except (OSError, WebSocketException) as error:
            word(error)
        time.sleep(DELAY)


def websockets_async(url: str) -> None:
    """websockets' own loop, ``async for connection in connect(...)``."""
    from websockets.asyncio import client as module
    from websockets.exceptions import ConnectionClosed

    async def follow() -> None:
        async for connection in module.connect(url, ping_interval=KEEP_ALIVE, ping_timeout=KEEP_ALIVE):
            try:
                async for message in connection:
                    event(message)
                word("ended")
            except ConnectionClosed as error:
                word(error)

    asyncio.run(follow())


def socketio(url: str) -> None:
    """python-socketio's threaded client, which speaks Engine.IO and reconnects by itself."""
    client = importlib.import_module("socketio").Client(  # an optional package
        reconnection_delay=DELAY, reconnection_delay_max=DELAY, randomization_factor=0, request_timeout=2
    )
    client.on("new_anomaly", lambda data: tell("E", int(data["log"]["id"].removeprefix("log-"))))
    client.on("disconnect", lambda reason: word("disconnect"))
    client.on("connect_error", lambda data: word("connect_error"))
    client.connect(url.replace("ws://", "http://").removesuffix("/ws"), transports=["websocket"])
    client.wait()


PEERS: dict[str, Callable[[str], Any]] = {
    "realtime_client": ours,
    "WebSocketApp": wsapp,
    "websockets.sync": websockets_sync,
    "websockets.asyncio": websockets_async,
    "python-socketio": socketio,
}

if __name__ == "__main__":
    PEERS[sys.argv[1]](sys.argv[2])
