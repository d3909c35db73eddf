"""What a fake server has seen, and the means to wait for more."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from realtime_client._core.handshake import Request

__all__ = ["Gate", "Journal", "Poll"]

if TYPE_CHECKING:
    from realtime_client.testing.connection import FakeConnection

T = TypeVar("T")


@attrs.frozen
class Poll:
    """One plain HTTP request.

    Attributes:
        request: Its head: ``method``, ``target``, ``path``, ``query`` and ``headers``.
        at: When it was read, ``time.monotonic()`` seconds.
    """

    request: Request
    at: float


class Journal:
    """The records of one server and all its connections, under one lock."""

    def __init__(self) -> None:
        # Guards every attribute here, and those of the connections and gates that say so.
        self._changed = threading.Condition()
        self._version = 0
        self.live: list[FakeConnection] = []
        self.attempts: list[FakeConnection] = []
        self.connections: list[FakeConnection] = []
        self.polls: list[Poll] = []
        self.messages: list[Any] = []
        self.errors: list[Exception] = []
        self.gates: dict[str, Gate] = {}
        self.max_open: int = 0

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Hold the lock to read."""
        with self._changed:
            yield

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the lock to change something, and tell those who wait."""
        with self._changed:
            yield
            self._version += 1
            self._changed.notify_all()

    def wait(self, look: Callable[[], T | None], timeout: float, wanted: str) -> T:
        """Block until ``look`` finds something.

        Args:
            look: Called without the lock, whenever something has changed; ``None`` means not yet.
            timeout: Seconds.
            wanted: What is waited for, in words.

        Raises:
            TimeoutError: It was not found in time; the message tells what had been seen.
        """
        deadline = time.monotonic() + timeout
        while True:
            with self._changed:
                version = self._version
            found = look()
            if found is not None:
                return found
            with self._changed:
                while (remaining := deadline - time.monotonic()) > 0 and self._version == version:
                    self._changed.wait(remaining)
                if remaining <= 0:
                    raise TimeoutError(f"{wanted}: not within {timeout:g} s; {self._seen()}")

    def attempted(self, connection: FakeConnection) -> None:
        """Record that a TCP connection is no poll; once for each."""
        with self.changing():
            if connection not in self.attempts:
                self.attempts.append(connection)

    def opened(self, connection: FakeConnection) -> None:
        """Record a WebSocket that opens; with the lock held."""
        self.connections.append(connection)
        self.max_open = max(self.max_open, sum(other.holds_a_place() for other in self.connections))

    def failed(self, error: Exception) -> None:
        """Record an error for the test."""
        with self.changing():
            self.errors.append(error)

    def gate(self, name: str) -> Gate:
        """The gate of that name, made at first use."""
        with self._changed:
            return self.gates.setdefault(name, Gate(name, self))

    def release_gates(self) -> None:
        """Release every gate."""
        with self._changed:
            gates = tuple(self.gates.values())
        for gate in gates:
            gate.release()

    def _seen(self) -> str:
        recent = [repr(message)[:120] for message in self.messages[-5:]]
        last = f", the last: {', '.join(recent)}" if recent else ""
        errors = f"; errors: {self.errors!r}" if self.errors else ""
        return (
            f"seen: {len(self.attempts)} attempts, {len(self.connections)} connections, {len(self.polls)} polls, "
            f"{len(self.messages)} messages{last}{errors}"
        )


class Gate:
    """Where scripted connections wait until the test lets them go on.

    Once released it stays so.
    """

    def __init__(self, name: str, journal: Journal) -> None:
        self._name = name
        self._journal = journal
        # Both guarded by the journal's lock.
        self._released = False
        self._reached = 0

    def __repr__(self) -> str:
        return f"<Gate {self._name!r} {'released' if self._released else 'shut'}>"

    @property
    def is_released(self) -> bool:
        """Whether ``release()`` was called."""
        with self._journal.reading():
            return self._released

    def release(self) -> None:
        """Let every connection pass, now and later. Any thread; does not block."""
        with self._journal.changing():
            self._released = True
            waiting = tuple(self._journal.live)
        for connection in waiting:
            connection.wake()

    def wait(self, timeout: float = 5.0) -> None:
        """Block until the gate is released: for a ``poll_answer`` that is to answer late.

        Args:
            timeout: Seconds.

        Raises:
            TimeoutError: It was not.
        """
        self._journal.wait(lambda: self.is_released or None, timeout, f"release of the gate {self._name!r}")

    def wait_reached(self, n: int = 1, timeout: float = 5.0) -> None:
        """Block until connections have come to this gate ``n`` times.

        Args:
            n: How many times, from the beginning.
            timeout: Seconds.

        Raises:
            TimeoutError: They have not.
        """

        def reached() -> bool | None:
            with self._journal.reading():
                return self._reached >= n or None

        self._journal.wait(reached, timeout, f"gate {self._name!r} to be reached {n} times")

    def reach(self) -> None:
        """Record that a connection has come here."""
        with self._journal.changing():
            self._reached += 1
