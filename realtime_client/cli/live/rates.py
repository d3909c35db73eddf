"""Figures over time: a sample a second, and the little curves that are drawn of them. Pure."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

__all__ = ["Series", "spark"]

SAMPLE = 1.0
"""Seconds between two samples."""
KEPT = 240
"""Samples kept: more than any terminal is wide where they are drawn."""
SMOOTHED = 5
"""Samples that make the rate that is told."""
BARS = "▁▂▃▄▅▆▇█"


class Series:
    """One figure over time.

    Args:
        counts: Whether it is a counter, of which the growth per second is of interest, and not the value itself. What
            a counter grows from nothing is no growth: that is a server telling its count for the first time.
    """

    def __init__(self, *, counts: bool) -> None:
        self._counts = counts
        self._samples: deque[float] = deque(maxlen=KEPT)
        self._seen: tuple[float, float] | None = None

    def observe(self, now: float, value: float) -> None:
        """Take note of the present value; a sample is made of it if one is due.

        Args:
            now: Monotonic seconds.
            value: The figure; what is not finite counts as 0.
        """
        value = value if math.isfinite(value) else 0.0
        if self._seen is None:
            self._seen = now, value
            return
        before, last = self._seen
        elapsed = now - before
        if elapsed < SAMPLE:
            return
        self._seen = now, value
        grown = max(0.0, value - last) / elapsed if last else 0.0
        # A process that was stopped for a while has missed samples: the figure was what it is on the average.
        for _ in range(min(round(elapsed / SAMPLE), KEPT)):
            self._samples.append(grown if self._counts else value)

    @property
    def rate(self) -> float:
        """The mean of the last few samples."""
        recent = list(self._samples)[-SMOOTHED:]
        return sum(recent) / len(recent) if recent else 0.0

    def last(self, count: int) -> tuple[float, ...]:
        """The last samples, oldest first, at most so many."""
        return tuple(self._samples)[-count:] if count > 0 else ()


def spark(values: Sequence[float], width: int) -> str:
    """The values as a curve of little bars, right-aligned in so many cells."""
    highest = max(values, default=0.0)
    bars = [BARS[round(max(0.0, value) / highest * (len(BARS) - 1))] if highest > 0 else BARS[0] for value in values]
    return "".join(bars[-width:] if width > 0 else []).rjust(width)
