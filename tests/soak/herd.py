"""Many clients that lose their server in the same moment, and how they come back to it."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any
from unittest import mock

import attrs

from realtime_client import RealtimeClient, StatusChange
from realtime_client.testing import FakeServer
from tests.faults.proxy import FaultProxy

WINDOW = 0.1
PATIENCE = 60.0


@attrs.frozen
class Herd:
    """What a server saw that went away for a time.

    Attributes:
        clients: How many there were.
        back: How many of them were back in the end.
        attempts: Connections that they tried since it went away.
        peak: The most of them in any tenth of a second.
        peak_back: The same, since the server was back.
        seconds: From the loss to the last one's return.
    """

    clients: int
    back: int
    attempts: int
    peak: int
    peak_back: int
    seconds: float


class _Count:
    """How many clients are connected."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._connected = 0

    def changed(self, change: StatusChange) -> None:
        """A client's step."""
        with self._changed:
            self._connected += change.current.connected - change.previous.connected
            self._changed.notify_all()

    def wait_for(self, wanted: int) -> int:
        """Block until so many are connected, at most `PATIENCE`; returns how many are."""
        with self._changed:
            self._changed.wait_for(lambda: self._connected == wanted, PATIENCE)
            return self._connected


def scatter(*, clients: int, away: float, seed: int, **options: Any) -> Herd:
    """Let a server go away, for so many seconds, under real clients; blocks.

    Args:
        clients: How many.
        away: Seconds.
        seed: Of the delays: the first client has this one, the next the one after it ...
        options: Of the clients, where they are not to be the default ones.
    """
    count = _Count()
    made: list[RealtimeClient] = []
    with FakeServer() as server, FaultProxy(server.port) as proxy:
        try:
            for number in range(clients):
                client = _seeded(seed + number, lambda: RealtimeClient(proxy.url(), **options))
                client.on_status(count.changed)
                made.append(client)
                client.connect(wait=False)
            if count.wait_for(clients) != clients:
                raise RuntimeError("not all clients could connect in the first place")
            gone = time.monotonic()
            server.stop()
            count.wait_for(0)
            threading.Event().wait(max(0.0, gone + away - time.monotonic()))
            returned = time.monotonic()
            server.restart()
            back = count.wait_for(clients)
            seconds = time.monotonic() - gone
            attempts = [at for at in proxy.accepted_at if at > gone]
        finally:
            for client in made:
                client.close()
    return Herd(
        clients=clients,
        back=back,
        attempts=len(attempts),
        peak=peak(attempts),
        peak_back=peak([at for at in attempts if at > returned]),
        seconds=round(seconds, 1),
    )


def peak(moments: list[float]) -> int:
    """The most of these moments that lie within any `WINDOW`."""
    most, window = 0, deque[float]()
    for moment in sorted(moments):
        window.append(moment)
        while window[0] <= moment - WINDOW:
            window.popleft()
        most = max(most, len(window))
    return most


def _seeded(seed: int, make: Callable[[], RealtimeClient]) -> RealtimeClient:
    """A client whose delays are drawn from a generator of its own; it takes ``random.uniform`` when it is made."""
    with mock.patch.object(random, "uniform", random.Random(seed).uniform):
        return make()
