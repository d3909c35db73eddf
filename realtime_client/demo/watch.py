"""What is unusual in the rhythm of a log: a burst, or a source that fell silent. Pure: times are arguments."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta

import attrs

__all__ = ["BurstWatch", "SilenceWatch"]


class BurstWatch:
    """Tells when far more happens within ten seconds than on average, at most once in five minutes.

    The average is a moving one over some twenty windows, empty ones included; before the sixth window nothing is
    called a burst, since nothing is known of the usual.

    Args:
        least: A count in one window that is never a burst, however quiet it was before.
    """

    WINDOW_SECONDS = 10
    FACTOR = 5.0
    WINDOWS_BEFORE = 6
    WEIGHT = 0.1
    QUIET_SECONDS = 300

    def __init__(self, least: int) -> None:
        self._least = least
        self._window = -1  # none yet; a window is a count of ten seconds since 1970
        self._windows_seen = 0
        self._count = 0
        self._average = 0.0
        self._told_at = float("-inf")

    @property
    def average(self) -> float:
        """The usual count in one window."""
        return self._average

    def add(self, at: datetime) -> bool:
        """Count one occurrence, unless it is of an earlier window; whether it makes a burst that is to be told."""
        self.advance(at)
        seconds = at.timestamp()
        if seconds // self.WINDOW_SECONDS < self._window:
            return False
        self._count += 1
        if self._windows_seen < self.WINDOWS_BEFORE or seconds - self._told_at < self.QUIET_SECONDS:
            return False
        if self._count <= max(self._least, self.FACTOR * self._average):
            return False
        self._told_at = seconds
        return True

    def advance(self, at: datetime) -> None:
        """Time has come this far, with or without an occurrence."""
        window = int(at.timestamp() // self.WINDOW_SECONDS)
        if self._window < 0:
            self._window = window
        if (passed := window - self._window) > 0:
            self._average += self.WEIGHT * (self._count - self._average)
            self._average *= (1 - self.WEIGHT) ** (passed - 1)
            self._windows_seen += passed
            self._window, self._count = window, 0


@attrs.define
class Rhythm:
    """How a source speaks: first and last line's time, lines so far, usual gap and its usual deviation in seconds."""

    first: datetime
    last: datetime
    lines: int = 1
    gap: float = 0.0
    deviation: float = 0.0
    told: bool = False


class SilenceWatch:
    """Tells when a source that spoke regularly has been silent for ten of its usual gaps, and half a minute.

    Regular is a source of at least twenty lines over at least a minute, whose gaps deviate from their average by less
    than the average. A silence is told once; the source is judged anew when it speaks again.

    Args:
        limit: Sources watched; the one that spoke least recently is forgotten first.
    """

    LINES = 20
    SPAN = timedelta(minutes=1)
    GAPS = 10
    LEAST_SECONDS = 30.0
    WEIGHT = 0.1

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._rhythms: OrderedDict[str, Rhythm] = OrderedDict()

    def add(self, source: str, at: datetime) -> None:
        """The source spoke."""
        rhythm = self._rhythms.get(source)
        if rhythm is None:
            self._rhythms[source] = Rhythm(at, at)
            if len(self._rhythms) > self._limit:
                self._rhythms.popitem(last=False)
            return
        gap = max(0.0, (at - rhythm.last).total_seconds())
        if rhythm.lines == 1:
            rhythm.gap = gap
        rhythm.deviation += self.WEIGHT * (abs(gap - rhythm.gap) - rhythm.deviation)
        rhythm.gap += self.WEIGHT * (gap - rhythm.gap)
        rhythm.lines += 1
        rhythm.last = max(rhythm.last, at)
        rhythm.told = False
        self._rhythms.move_to_end(source)

    def silent(self, now: datetime) -> list[tuple[str, timedelta]]:
        """The sources whose silence is to be told, each with its length."""
        found = []
        for source, rhythm in self._rhythms.items():
            silence = now - rhythm.last
            if (
                not rhythm.told
                and rhythm.lines >= self.LINES
                and rhythm.last - rhythm.first >= self.SPAN
                and rhythm.deviation < rhythm.gap
                and silence.total_seconds() > max(self.LEAST_SECONDS, self.GAPS * rhythm.gap)
            ):
                rhythm.told = True
                found.append((source, silence))
        return found
