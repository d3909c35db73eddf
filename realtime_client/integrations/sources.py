"""The clients and relays whose metrics are exported. They are held weakly: what nobody else holds may go."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs

from realtime_client import ConnectionState, RealtimeClient, StatusChange, Subscription
from realtime_client.measures import CLIENT, RELAY, Measure, Reading

__all__ = ["Source", "Sources"]


@attrs.define(eq=False)
class Source:
    """One client or relay.

    Attributes:
        kind: ``"client"`` or ``"relay"``.
        name: Its name.
        measures: What is measured of it.
        ref: The client or relay, as long as there is one.
        pid: The process in which it was added. A client that came through a fork lives in the child from its first use
            on, which shall not be ours: to read its counters would connect it. Whoever adds it again says that it does.
        subscription: To the changes of a client's status.
    """

    kind: str
    name: str
    measures: tuple[Measure, ...]
    ref: weakref.ref[Any]
    pid: int
    subscription: Subscription | None = None

    @property
    def is_in_use(self) -> bool:
        """Whether it does or did something in this process; asking it does not begin that."""
        source = self.ref()
        if source is None:
            return False
        return self.pid == os.getpid() if self.kind == "relay" else bool(source._is_in_use)

    def read(self) -> Reading | None:
        """What it says now; ``None`` if it is gone, or neither added nor used in this process."""
        source = self.ref()
        if source is None or not (self.pid == os.getpid() or self.is_in_use):
            return None
        if self.kind == "client":
            return Reading(source.metrics(), source.status, source.config.max_pending_events)
        return Reading(source.metrics(), source.state, source.max_pending_events)


class Sources:
    """Some clients and relays.

    Args:
        changed: Called with whether it is the last that one does, when something happens to it: when it is added, if
            it is in use, and when a client's status has changed (then on the client's dispatcher).
    """

    def __init__(self, changed: Callable[[bool], object] = lambda is_last: None) -> None:
        self._changed = changed
        self._lock = threading.Lock()  # guards the change of _sources; it is read without
        self._sources: tuple[Source, ...] = ()

    def add(self, source: Any) -> None:
        """Add a client or a relay. One that came through a fork is of this process from now on.

        Raises:
            ValueError: There is another one of that name.
        """
        is_client = isinstance(source, RealtimeClient)
        kind, name = ("client", source.config.name) if is_client else ("relay", source.name)
        entry = Source(kind, name, CLIENT if is_client else RELAY, weakref.ref(source), os.getpid())
        with self._lock:
            known = tuple(other for other in self._sources if other.ref() is not None)
            dead = tuple(other for other in self._sources if other not in known)
            again = next((other for other in known if other.ref() is source), None)
            if again is not None:
                again.pid = os.getpid()
            elif any((other.kind, other.name) == (kind, name) for other in known):
                raise ValueError(
                    f"name: there is a {kind} {name!r} already; allowed: a name of its own for each {kind}"
                )
            else:
                self._sources = (*known, entry)
        _cancel(dead)
        if is_client and again is None:
            entry.subscription = source._watch(self._tell)
        if entry.is_in_use:
            self._changed(False)

    def remove(self, source: Any) -> None:
        """Export it no longer; nothing if it was not."""
        with self._lock:
            gone = [entry for entry in self._sources if entry.ref() is source]
            self._sources = tuple(entry for entry in self._sources if entry not in gone)
        _cancel(gone)

    def clear(self) -> None:
        """Export nothing any longer."""
        with self._lock:
            gone, self._sources = self._sources, ()
        _cancel(gone)

    @property
    def are_in_use(self) -> bool:
        """Whether any of them does or did something in this process."""
        return any(entry.is_in_use for entry in self._sources)

    def readings(self) -> Iterator[tuple[Source, Reading]]:
        """What each of them says now. None goes while its reading is dealt with."""
        for entry in self._sources:
            held = entry.ref()
            reading = entry.read()
            if reading is not None:
                yield entry, reading
            del held

    def _tell(self, change: StatusChange) -> None:
        self._changed(change.current.state is ConnectionState.CLOSED)


def _cancel(gone: Iterable[Source]) -> None:
    for entry in gone:
        if entry.subscription is not None:
            entry.subscription.cancel()
