"""A feed under load, and readers who check what comes by its numbers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from realtime_client import Event, Gap, NewAnomaly, RealtimeClient
from realtime_client.demo import FeedServer
from tests.client.recording import Record

HISTORY = 3000


def numbered(number: int) -> dict[str, Any]:
    """The numbered event, stamped now."""
    at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    log = {"id": f"log-{number}", "message": f"number {number}", "timestamp": at, "level": "ERROR", "source": "load"}
    return {"type": "new_anomaly", "data": {"log": log}, "timestamp": at}


class Load:
    """Publishes numbered events at a steady rate, from a thread of its own, until it is stopped."""

    def __init__(self, server: FeedServer, rate: float) -> None:
        self._server = server
        self._rate = rate
        self._stopped = threading.Event()
        self.count = 0
        self._thread = threading.Thread(target=self._run, name="test-load", daemon=True)

    def _run(self) -> None:
        while not self._stopped.wait(1 / self._rate):
            self._server.publish(numbered(self.count))
            self.count += 1

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> int:
        """Stop; how many there were."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join(10)
        return self.count


@contextmanager
def load(rate: float) -> Iterator[tuple[FeedServer, Load]]:
    """A feed server that remembers enough for every takeover, and its load."""
    with FeedServer(port=0, history=HISTORY, stats_interval=0.2) as server:
        running = Load(server, rate)
        try:
            yield server, running
        finally:
            running.stop()


class Reader:
    """A client, and what it was told.

    Attributes:
        client: The client.
        told: Events and gaps, in the order in which callbacks heard of them.
    """

    def __init__(self, url: str, **options: Any) -> None:
        quick = {"reconnect_delay": 0.05, "reconnect_delay_max": 0.2, "max_reconnect_attempts": None}
        self.client = RealtimeClient(url, **{**quick, "max_pending_events": 1_000_000, "name": "reader", **options})
        self.told = Record()
        self.client.on("*", self.told)
        self.client.on_gap(self.told)

    def __enter__(self) -> Reader:
        self.client.connect(20)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    @property
    def events(self) -> list[Event]:
        return [item for item in self.told.items if isinstance(item, Event)]

    @property
    def gaps(self) -> list[Gap]:
        return [item for item in self.told.items if isinstance(item, Gap)]

    @property
    def numbers(self) -> list[int]:
        """The numbers of the events, in the order in which they came."""
        return [int(event.log.id[4:]) for event in self.events if isinstance(event, NewAnomaly)]

    def wait_for_number(self, number: int, timeout: float = 30.0) -> None:
        wanted = f"log-{number}"
        self.told.wait_until(
            lambda items: any(isinstance(item, NewAnomaly) and item.log.id == wanted for item in items[-3000:]), timeout
        )
