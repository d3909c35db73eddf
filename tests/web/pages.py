"""A page without a browser: it reads a stream as the HTML standard says, and keeps its picture as the script does."""

from __future__ import annotations

import copy
import json
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import attrs

__all__ = ["PATIENCE", "Event", "EventReader", "Page", "PageModel", "own_threads"]

PATIENCE = 20.0


@attrs.frozen
class Event:
    """One server-sent event."""

    name: str
    data: Any
    last_id: str


class EventReader:
    """Takes bytes as they come, and gives the events that are complete."""

    def __init__(self) -> None:
        self.last_id = ""
        self.retry: int | None = None
        self._rest = b""
        self._name, self._id = "", ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[Event]:
        events = []
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for raw in lines:
            line = raw.decode()
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if line == "":
                self.last_id = self._id
                if self._data:
                    events.append(Event(self._name, json.loads("\n".join(self._data)), self.last_id))
                self._name, self._data = "", []
            elif field == "event":
                self._name = value
            elif field == "data":
                self._data.append(value)
            elif field == "id":
                self._id = value
            elif field == "retry":
                self.retry = int(value)
            else:
                raise AssertionError(f"not a line of an event: {line!r}")
        return events


class PageModel:
    """The picture, kept up to date by what the server says, as the script keeps it."""

    def __init__(self) -> None:
        self.status: dict[str, Any] = {}
        self.stats: dict[str, Any] = {}
        self.logs: list[dict[str, Any]] = []
        self.alerts: list[dict[str, Any]] = []

    def take(self, event: Event) -> None:
        data = event.data
        if event.name in ("snapshot", "reset"):
            self.status, self.stats, self.logs, self.alerts = (data[k] for k in ("status", "stats", "logs", "alerts"))
        elif event.name == "change":
            self.change(data)

    def change(self, data: dict[str, Any]) -> None:
        self.status = data.get("status", self.status)
        self.stats = data.get("stats", self.stats)
        gone = set(data.get("gone", []))
        self.logs = [log for log in self.logs if log["id"] not in gone]
        for placed in data.get("logs", []):
            self.logs = [log for log in self.logs if log["id"] != placed["log"]["id"]]
            ids = [log["id"] for log in self.logs]
            at = len(ids) if placed["above"] is None else ids.index(placed["above"])
            self.logs.insert(at, placed["log"])
        if "alerts" in data:
            self.alerts = [*data["alerts"], *self.alerts][: data["alertsKept"]]

    def copy(self) -> PageModel:
        return copy.deepcopy(self)

    def picture(self) -> dict[str, Any]:
        return {"status": self.status, "stats": self.stats, "logs": self.logs, "alerts": self.alerts}


class Page:
    """Reads a stream on a thread of its own.

    Args:
        chunks: The stream.
        model: What the page has already, if it has been there before.
    """

    def __init__(self, chunks: Iterable[bytes], model: PageModel | None = None) -> None:
        self.reader = EventReader()
        self.model = model or PageModel()
        self.chunks: list[bytes] = []
        self.events: list[Event] = []
        self.ended = False
        self._chunks = chunks
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="test-page", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for chunk in self._chunks:
                with self._changed:
                    self.chunks.append(chunk)
                    for event in self.reader.feed(chunk):
                        self.events.append(event)
                        self.model.take(event)
                    self._changed.notify_all()
        finally:
            with self._changed:
                self.ended = True
                self._changed.notify_all()

    def wait_until(self, reached: Callable[[Page], object], what: str = "the awaited state") -> Page:
        deadline = time.monotonic() + PATIENCE
        with self._changed:
            while not reached(self):
                left = deadline - time.monotonic()
                if left <= 0 or (self.ended and not reached(self)):
                    raise AssertionError(f"the page did not come to {what}: {self.events!r:.2000}")
                self._changed.wait(left)
        return self

    def wait_for_state(self, state: str) -> Page:
        return self.wait_until(lambda page: page.model.status.get("state") == state, state)

    def wait_for_log(self, log_id: str) -> Page:
        return self.wait_until(lambda page: any(log["id"] == log_id for log in page.model.logs), log_id)

    def wait_for_end(self) -> Page:
        self.wait_until(lambda page: page.ended, "its end")
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return self

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.events]


def own_threads() -> list[str]:
    """The names of the package's threads that are alive."""
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("rtc-"))
