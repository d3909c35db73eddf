"""The clients and relays whose metrics are exported. They are held weakly: what nobody else holds may go."""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from realtime_client import ConnectionState, RealtimeClient, Subscription
from realtime_client.measures import CLIENT, RELAY, Measure, Reading

__all__ = ["Source", "Sources"]


@attrs.define(eq=False)
class Source:
    """One client or relay.

    Attributes:
        kind: ``"client"`` or ``"relay"``.
        name: Its name.
        number: Of this one alone, also among those of the same name.
        measures: What is measured of it.
        ref: The client or relay, as long as there is one.
        pid: The process in which it lives. A client that came through a fork lives in the child from its first use on,
            which shall not be ours: to read its counters would connect it. Whoever adds it again says that it does.
        subscription: To the changes of a client's status.
    """

    kind: str
    name: str
    number: int
    measures: tuple[Measure, ...]
    ref: weakref.ref[Any]
    pid: int
    subscription: Subscription | None = None

    def read(self) -> Reading | None:
        """What it says now; ``None`` if it is gone, or not in use in this process."""
        source = self.ref()
        if source is None or self.pid != os.getpid():
            return None
        if self.kind == "client":
            return Reading(source.metrics(), source.status, source.config.max_pending_events)
        return Reading(source.metrics(), source.state, source.max_pending_events)


class Sources:
    """Some clients and relays.

    Args:
        changed: Called when something happens to one: when it is added, if it is in use, and when a client's status has
            changed (then on the client's dispatcher).
    """

    def __init__(self, changed: Callable[[], object] = lambda: None) -> None:
        self._changed = changed
        self._numbers = itertools.count()
        self._lock = threading.Lock()  # guards the change of _sources; it is read without
        self._sources: tuple[Source, ...] = ()

    def add(self, source: Any) -> None:
        """Add a client or a relay. One that came through a fork is of this process from now on.

        Raises:
            ValueError: There is another one of that name.
        """
        is_client = isinstance(source, RealtimeClient)
        kind, name = ("client", source.config.name) if is_client else ("relay", source.name)
        entry = Source(
            kind, name, next(self._numbers), CLIENT if is_client else RELAY, weakref.ref(source), os.getpid()
        )
        with self._lock:
            known = tuple(other for other in self._sources if other.ref() is not None)
            again = next((other for other in known if other.ref() is source), None)
            if again is not None:
                again.pid = os.getpid()
            elif any((other.kind, other.name) == (kind, name) for other in known):
                raise ValueError(
                    f"name: there is a {kind} {name!r} already; allowed: a name of its own for each {kind}"
                )
            else:
                self._sources = (*known, entry)
        if is_client and again is None:
            entry.subscription = source.on_status(self._notice(entry))
        if not is_client or source.status.state is not ConnectionState.IDLE:
            self._changed()

    def remove(self, source: Any) -> list[tuple[Source, Reading]]:
        """Export it no longer; nothing if it was not.

        Returns:
            What it said last.
        """
        with self._lock:
            gone = [entry for entry in self._sources if entry.ref() is source]
            self._sources = tuple(entry for entry in self._sources if entry not in gone)
        for entry in gone:
            if entry.subscription is not None:
                entry.subscription.cancel()
        return [(entry, reading) for entry in gone if (reading := entry.read()) is not None]

    def readings(self) -> Iterator[tuple[Source, Reading]]:
        """What each of them says now."""
        for entry in self._sources:
            reading = entry.read()
            if reading is not None:
                yield entry, reading

    def _notice(self, entry: Source) -> Callable[[object], None]:
        def changed(change: object) -> None:
            entry.pid = os.getpid()  # whoever has a status that changes is in use here
            self._changed()

        return changed
