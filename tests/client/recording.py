"""What the tests of the client share: a callback that can be waited for, threads that report back, numbered events."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from realtime_client import NewAnomaly, RealtimeClient

PATIENCE = 30.0
"""Seconds that a test waits for what must come; never waited when all is well."""

QUICK: Mapping[str, Any] = {"reconnect_delay": 0.01, "reconnect_delay_max": 0.05, "reconnect_jitter": 0}
"""Options for a client that comes back without delay."""

FIRST_FAILURE: Mapping[str, Any] = {"max_reconnect_attempts": 0, "give_up": True}
"""Options for a client that gives up at the first failure, so that ``connect()`` raises it."""


class Record:
    """A callback that keeps what it is called with, and on which thread; a test waits for it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._items: list[Any] = []
        self._threads: list[str] = []

    def __call__(self, *arguments: Any) -> None:
        with self._changed:
            self._items.append(arguments[0] if len(arguments) == 1 else arguments)
            self._threads.append(threading.current_thread().name)
            self._changed.notify_all()

    @property
    def items(self) -> list[Any]:
        with self._changed:
            return list(self._items)

    @property
    def threads(self) -> list[str]:
        with self._changed:
            return list(self._threads)

    def wait_for(self, count: int, timeout: float = PATIENCE) -> list[Any]:
        """Block until there were so many calls; returns what they came with."""
        return self.wait_until(lambda items: len(items) >= count, timeout)

    def wait_until(self, enough: Callable[[list[Any]], object], timeout: float = PATIENCE) -> list[Any]:
        """Block until the calls so far are enough; returns what they came with."""
        with self._changed:
            if not self._changed.wait_for(lambda: enough(self._items), timeout):
                raise TimeoutError(f"not within {timeout:g} s; seen {len(self._items)}, the last: {self._items[-5:]}")
            return list(self._items)


class Task:
    """A call on a thread of its own, whose outcome is waited for."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._result: Any = None
        self._error: BaseException | None = None
        self.began = threading.Event()
        self._thread = threading.Thread(target=self._run, name="test-task", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self.began.set()
        try:
            self._result = self._call()
        except BaseException as error:  # noqa: BLE001 - raised again where the outcome is asked for
            self._error = error

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def result(self, timeout: float = PATIENCE) -> Any:
        """What the call returned; what it raised is raised here."""
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise AssertionError(f"the call did not return within {timeout:g} s")
        if self._error is not None:
            raise self._error
        return self._result


class Stopwatch:
    """Measures a block: ``with Stopwatch() as took: ...; took.seconds``."""

    seconds = 0.0

    def __enter__(self) -> Stopwatch:
        self._began = time.monotonic()
        return self

    def __exit__(self, *exception: object) -> None:
        self.seconds = time.monotonic() - self._began


def connect_and_settle(client: RealtimeClient) -> None:
    """Connect, and wait until all callbacks have heard of it, so that later ones hear only what comes later."""
    told = Record()
    with client.on_notification(told):
        client.connect(PATIENCE)
        told.wait_until(lambda items: any(n.kind == "connected" for n in items))


def anomaly(number: int, **fields: Any) -> dict[str, Any]:
    """The numbered event, as a message."""
    log = {"id": f"log-{number}", "message": f"number {number}", "extraNumber": number, **fields}
    return {"type": "new_anomaly", "data": {"log": log}}


def alert(text: str, severity: str = "warning") -> dict[str, Any]:
    return {"type": "system_alert", "data": {"message": text, "severity": severity}}


def stats(**figures: float) -> dict[str, Any]:
    return {"type": "stats_update", "data": {"stats": figures}}


def numbers(events: Sequence[Any]) -> list[int]:
    """The numbers of those of the events that are numbered."""
    return [int(event.log.id.removeprefix("log-")) for event in events if isinstance(event, NewAnomaly)]


def states(changes: Sequence[Any]) -> list[str]:
    """The states that the changes led to, those that stayed the same left out."""
    return [c.current.state.value for c in changes if c.previous.state is not c.current.state]


def consumers(client: RealtimeClient) -> int:
    """How many iterators, and callbacks with a thread of their own, get what comes now."""
    return sum(lane.active for lane in client._engine.hub._side)


def own_threads(client: RealtimeClient | None = None) -> list[str]:
    """The names of the clients' threads that are alive, or of one client's."""
    prefix = "rtc-" if client is None else f"rtc-{client.config.name}-"
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith(prefix))
