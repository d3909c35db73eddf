"""What all measurements share: how much to do, the records of runs, medians and ratios, targets, tables.

A *run* is a plain dictionary, what one contender did once: ``who``, ``round`` and its figures. All that is shown is
made from the list of runs, so that whoever has the list can make it again.
"""

from __future__ import annotations

import importlib.metadata
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import attrs

Run = dict[str, Any]

LIBRARIES = {
    "wsapp": "websocket-client",
    "websockets": "websockets",
    "aiohttp": "aiohttp",
    "picows": "picows",
    "socketio": "python-socketio",
}
"""The distribution that each peer needs."""
NAMES = {
    "ours": "realtime_client",
    "ours-defaults": "realtime_client, defaults",
    "ours-silent": "realtime_client, no heartbeat",
    "wsapp": "WebSocketApp",
    "websockets": "websockets.sync",
    "aiohttp": "aiohttp",
    "picows": "picows",
    "limit": "the limit",
}
"""Contenders, as tables and plots call them."""


@attrs.frozen
class Effort:
    """How much to measure.

    Attributes:
        rounds: How often everybody has a turn.
        scale: Which share of the full counts and times.
    """

    rounds: int = 5
    scale: float = 1.0

    def count(self, full: int, *, least: int) -> int:
        """A number of events, in thousands where there are thousands: the firehose sends blocks of a thousand."""
        count = max(least, int(full * self.scale))
        return count // 1000 * 1000 or count

    def seconds(self, full: float, *, least: float) -> float:
        """A time."""
        return max(least, full * self.scale)


@attrs.frozen
class Verdict:
    """A target, and what became of it.

    Attributes:
        what: What it is about.
        goal: What must be reached.
        measured: What was measured.
        met: Whether that is enough; ``None`` where nothing was measured.
    """

    what: str
    goal: str
    measured: str
    met: bool | None


class Benchmark(Protocol):
    """What a module of this package has, to be one of the measurements."""

    def measure(self, effort: Effort) -> list[Run]:
        """Let everybody do the work, in turn."""

    def tables(self, runs: Sequence[Run]) -> str:
        """Markdown."""

    def verdicts(self, runs: Sequence[Run]) -> list[Verdict]:
        """The targets."""


def versions() -> dict[str, str | None]:
    """The peers' distributions with their versions; ``None`` for what is not installed."""
    found: dict[str, str | None] = {}
    for distribution in LIBRARIES.values():
        try:
            found[distribution] = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            found[distribution] = None
    return found


def present(contenders: Iterable[str]) -> list[str]:
    """Those that can be measured here: ours, and the peers whose library is installed."""
    installed = versions()
    return [who for who in contenders if who not in LIBRARIES or installed[LIBRARIES[who]]]


def select(runs: Iterable[Run], **wanted: Any) -> list[Run]:
    """The runs with these values."""
    return [run for run in runs if all(run[key] == value for key, value in wanted.items())]


def values(runs: Iterable[Run], key: str) -> list[Any]:
    """The different values of a key, in order of appearance."""
    return list(dict.fromkeys(run[key] for run in runs))


def median(runs: Sequence[Run], figure: Callable[[Run], float] | str) -> float:
    """The median over the rounds; NaN of no runs."""
    found = [run[figure] if isinstance(figure, str) else figure(run) for run in runs]
    return statistics.median(found) if found else float("nan")


def ratio(mine: Sequence[Run], theirs: Sequence[Run], figure: Callable[[Run], float] | str) -> float:
    """The median of the ratios of each round, as a machine's speed drifts from round to round; NaN of no runs."""

    def of(run: Run) -> float:
        return float(run[figure] if isinstance(figure, str) else figure(run))

    other = {run["round"]: of(run) for run in theirs}
    found = [of(run) / other[run["round"]] for run in mine if other.get(run["round"])]
    return statistics.median(found) if found else float("nan")


def at_least(what: str, measured: float, goal: float, unit: str) -> Verdict:
    """A target from below."""
    missing = math.isnan(measured)
    shown = "not measured" if missing else f"{measured:.2f}{unit}"
    return Verdict(what, f"≥ {goal:g}{unit}", shown, None if missing else measured >= goal)


def at_most(what: str, measured: float, goal: float, unit: str, digits: int = 2) -> Verdict:
    """A target from above."""
    missing = math.isnan(measured)
    shown = "not measured" if missing else f"{measured:.{digits}f}{unit}"
    return Verdict(what, f"≤ {goal:g}{unit}", shown, None if missing else measured <= goal)


def table(head: Sequence[str], rows: Iterable[Sequence[object]], words: int = 1) -> str:
    """A Markdown table whose first columns are words and whose others are figures."""
    lines = ["| " + " | ".join(head) + " |"]
    lines.append("|" + "|".join("---" if number < words else "---:" for number in range(len(head))) + "|")
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def times(value: float) -> str:
    """A ratio, as tables show it."""
    return "" if math.isnan(value) else f"{value:.2f} x"
