"""Many clients that lose their server in the same moment, and how they come back to it."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any
from unittest import mock

import attrs

from realtime_client import RealtimeClient, StatusChange
from realtime_client.testing import FakeServer, accept, send
from tests import engine_io
from tests.faults.proxy import FaultProxy

ROOT = Path(__file__).parents[2]
WINDOW = 0.1
PATIENCE = 60.0
SESSION = [accept(), *map(send, engine_io.opening("sid", interval=300, timeout=300))]
"""What python-socketio's client needs in place of the feed."""


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
    return _seen(clients, back, attempts, returned, seconds)


def scatter_peers(which: str, clients: int, away: float) -> Herd:
    """The same with clients of another kind, in a process of their own, which decide by themselves when to try.

    Args:
        which: A name of `tests.soak.herd_peer.WAYS`.
        clients: How many.
        away: Seconds.
    """
    other = FakeServer(path="/socket.io/", then=SESSION) if which == "python-socketio" else FakeServer()
    with other as server, FaultProxy(server.port) as proxy, _peers(which, proxy.url(), clients) as said:
        for _ in range(clients):
            said.readline()
        proxy.wait_for_open(clients, PATIENCE)
        gone = time.monotonic()
        server.stop()
        proxy.wait_for_open(0, PATIENCE)
        threading.Event().wait(max(0.0, gone + away - time.monotonic()))
        returned = time.monotonic()
        server.restart()
        with contextlib.suppress(TimeoutError):  # those that are not back then count as gone
            proxy.wait_for_open(clients, PATIENCE)
        seconds, back = time.monotonic() - gone, proxy.open
        attempts = [at for at in proxy.accepted_at if at > gone]
    return _seen(clients, back, attempts, returned, seconds)


@contextlib.contextmanager
def _peers(which: str, url: str, clients: int) -> Iterator[IO[str]]:
    """A process with so many clients; gives what they say: a line for each connection."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.soak.herd_peer", which, url, str(clients)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _seen(clients: int, back: int, attempts: list[float], returned: float, seconds: float) -> Herd:
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
