"""What came of a client's meeting with a hostile server, as the client's side saw it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import attrs

__all__ = ["Client", "Log", "Meeting", "from_json", "to_json"]


@attrs.define(kw_only=True)
class Meeting:
    """What came of it.

    Attributes:
        then: The name of a `tests.hostile.case.Then`, ``"REFUSED"`` of a client that does not try again by itself,
            or ``"HUNG"``: no verdict in time.
        error: The class of the first error; empty where there was none.
        message: What it says.
        code: Its close code.
        status: Its HTTP status.
        pause: Seconds until the next attempt, as the client planned it after the first error.
        delivered: The good messages that arrived, in order.
        rejected: The reasons of the messages that counted as malformed.
        malformed: How many there were.
        seconds: From ``connect()`` to the verdict.
        peak: Bytes of memory taken at most above what the client took before.
        kept: Bytes of them that it still has.
        left: What the client left behind, in words.
    """

    then: str = "HUNG"
    error: str = ""
    message: str = ""
    code: int | None = None
    status: int | None = None
    pause: float | None = None
    delivered: list[str] = attrs.Factory(list)
    rejected: list[str] = attrs.Factory(list)
    malformed: int = 0
    seconds: float = 0.0
    peak: int = 0
    kept: int = 0
    left: list[str] = attrs.Factory(list)


Client: TypeAlias = Callable[[str, Mapping[str, Any], float], Meeting]
"""Meets the server of a URL, with options named as those of ``RealtimeClient``, for at most so many seconds."""


class Log:
    """What callbacks on any thread saw, for one thread that waits for a verdict."""

    def __init__(self, meeting: Meeting) -> None:
        self.meeting = meeting
        self._began = time.monotonic()
        self._changed = threading.Condition()

    def deliver(self, name: str) -> None:
        """A good message arrived."""
        with self._changed:
            self.meeting.delivered.append(name)
            if name == "after":
                self._decide("LIVES")
            elif name == "again":
                self._decide("RECOVERS")

    def fail(self, error: BaseException | str, **facts: Any) -> None:
        """An error was told; only the first counts, with what is known of it."""
        with self._changed:
            meeting = self.meeting
            if not meeting.error:
                meeting.seconds = time.monotonic() - self._began
                meeting.error = error if isinstance(error, str) else type(error).__name__
                meeting.message = str(error)
                for name, value in facts.items():
                    setattr(meeting, name, value)

    def decide(self, then: str) -> None:
        """That is what becomes of it; only the first verdict counts."""
        with self._changed:
            self._decide(then)

    def wait(self, patience: float) -> None:
        """Block until there is a verdict, or the patience is over."""
        with self._changed:
            self._changed.wait_for(lambda: self.meeting.then != "HUNG", patience)

    def _decide(self, then: str) -> None:
        if self.meeting.then == "HUNG":
            self.meeting.then = then
            if not self.meeting.error:
                self.meeting.seconds = time.monotonic() - self._began
            self._changed.notify_all()


def to_json(meeting: Meeting) -> str:
    return json.dumps(attrs.asdict(meeting))


def from_json(text: str) -> Meeting:
    return Meeting(**json.loads(text))
