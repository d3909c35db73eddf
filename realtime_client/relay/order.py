"""What is appended next: while the past is asked for, the present waits. No I/O; time is an argument."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime

from realtime_client.events import Event, StatsUpdate
from realtime_client.status import Gap

__all__ = ["Order"]


class Order:
    """Puts what comes from one connection upstream in the order in which readers shall have it.

    The gap before that connection is told before anything of the present. A relay that dies in between has then
    appended nothing that would hide it from the next one.

    Args:
        limit: How many items of the present may wait for the past.
        count_new: How many of some events no reader has yet.
        max_bytes: How many bytes of the present may wait for the past.
        size_of: About how many bytes an item takes.

    Attributes:
        ready: What is appended next, oldest first.
        since: When the gap before this connection began, until it is told; ``None`` without one.
        held_until: When the present stops waiting (monotonic); infinite while it does not wait.
    """

    def __init__(
        self,
        limit: int,
        count_new: Callable[[Iterable[Event]], int],
        *,
        max_bytes: float = math.inf,
        size_of: Callable[[Event | Gap], int] = lambda item: 0,
    ) -> None:
        self._limit = limit
        self._count_new = count_new
        self._max_bytes = max_bytes
        self._size_of = size_of
        self.begin(since=None)

    def begin(self, *, since: datetime | None) -> None:
        """Begin with another connection; what was not appended is dropped."""
        self.ready: deque[Event | Gap] = deque()
        self._held: list[Event | Gap] = []
        self._held_bytes = 0
        self.since = since
        self.held_until: float = math.inf

    @property
    def holds(self) -> bool:
        """Whether the present waits for the past."""
        return self.held_until < math.inf

    @property
    def waiting(self) -> int:
        """How many items are not taken yet, held or ready; for any thread."""
        return len(self._held) + len(self.ready)

    def hold(self, until: float) -> None:
        """The past is being asked for: what is added waits for it, until then at most."""
        self.held_until = until

    def add(self, item: Event | Gap, *, now: datetime) -> None:
        """Something of the present; what comes before the past could be asked for (from polls) tells the gap."""
        if self.holds:
            self._held.append(item)
            self._held_bytes += self._size_of(item)
        else:
            if self.since is not None:
                self.release(now=now)
            self.ready.append(item)

    def fill(self, past: Iterable[Event], *, complete: bool, now: datetime) -> None:
        """The past is here. If it comes too late it follows the present, and the gap was told as not complete."""
        # Figures are left to the stream where it may have told some: either may be the older ones.
        told = not self.holds or any(isinstance(item, StatsUpdate) for item in self._held)
        events = [event for event in past if not (told and isinstance(event, StatsUpdate))]
        recovered = self._count_new(events)
        self.ready += events
        self.release(recovered=recovered, complete=complete, now=now)

    def release(self, *, recovered: int = 0, complete: bool = False, now: datetime) -> None:
        """Tell the gap, if there is one to tell; the present waits no longer."""
        since, self.since = self.since, None
        if since is not None:
            self.ready.append(Gap(since=min(since, now), until=now, recovered=recovered, complete=complete))
        held, self._held = self._held, []  # first: whoever asks how many wait counts none of them twice
        self.ready += held
        self._held_bytes = 0
        self.held_until = math.inf

    def release_if_due(self, at: float, *, now: datetime) -> None:
        """Release if the present has waited long enough, or no more of it may wait."""
        full = len(self._held) >= self._limit or self._held_bytes >= self._max_bytes
        if self.holds and (at >= self.held_until or full):
            self.release(now=now)
