"""Which events are of interest: by severity, source, words and score."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from types import MappingProxyType

import attrs

from realtime_client import Event, LogEntry, NewAnomaly, SystemAlert
from realtime_client.cli.arguments import number, pattern
from realtime_client.cli.rendering import words_of

__all__ = ["LEVELS", "Selection", "add_selection_arguments", "rank", "selection_of"]

LEVELS = ("debug", "info", "notice", "warning", "error", "critical")
"""The levels that can be asked for, in their order."""
RANKS: Mapping[str, int] = MappingProxyType(
    {
        **{name: rank for rank, name in enumerate(LEVELS)},
        **{"trace": 0, "warn": 3, "err": 4, "severe": 4, "fatal": 5, "crit": 5, "alert": 5, "panic": 5, "emerg": 5},
        "emergency": 5,
    }
)


def rank(level: str) -> int:
    """Where a level stands among `LEVELS`, whatever its spelling; -1 where nobody knows."""
    return RANKS.get(level.lower(), -1)


@attrs.frozen(kw_only=True)
class Selection:
    """What is selected; every condition must hold. What has no level, source or score meets no condition on it.

    Attributes:
        level: The least level, one of `LEVELS`; ``None`` for any.
        sources: Names of sources, with ``*`` and ``?``, of which one must fit; empty for any.
        words: What must be found in the text; ``None`` for anything.
        typed: What the words were made of, where that was a plain text; ``None`` where they are a pattern.
        min_score: The least score; ``None`` for any.
        since: The earliest time; ``None`` for any. An event that tells no time was received just now.
    """

    level: str | None = None
    sources: tuple[str, ...] = ()
    words: re.Pattern[str] | None = None
    typed: str | None = None
    min_score: float | None = None
    since: datetime | None = None

    def takes(self, event: Event) -> bool:
        """Whether an event is selected."""
        if isinstance(event, NewAnomaly):
            return self.takes_log(event.log)
        if self.sources or self.min_score is not None:
            return False
        if self.level is not None and not (
            isinstance(event, SystemAlert) and rank(event.severity) >= RANKS[self.level]
        ):
            return False
        if self.words is not None and not self.words.search(words_of(event)):
            return False
        return self.since is None or event.timestamp is None or event.timestamp >= self.since

    def takes_log(self, log: LogEntry) -> bool:
        """Whether a log is selected."""
        return (
            (self.level is None or rank(log.level) >= RANKS[self.level])
            and (not self.sources or any(_fits(log.source, source) for source in self.sources))
            and (self.min_score is None or log.anomaly_score >= self.min_score)
            and (self.since is None or log.timestamp is None or log.timestamp >= self.since)
            and (self.words is None or self.words.search(log.message) is not None)
        )

    def __str__(self) -> str:
        """The conditions in a few words; empty where there are none."""
        parts = []
        if self.level is not None:
            parts.append(f"level {self.level} and above")
        if self.sources:
            parts.append(f"source {' or '.join(self.sources)}")
        if self.words is not None:
            parts.append(f"text {self.typed or self.words.pattern}")
        if self.min_score is not None:
            parts.append(f"score {self.min_score:g} and above")
        return ", ".join(parts)


def _fits(source: str, wanted: str) -> bool:
    return fnmatchcase(source, wanted.replace("[", "[[]"))  # a bracket is meant as it stands


def add_selection_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that select by what an event says."""
    group = parser.add_argument_group(
        "selecting", "Every condition must hold. What has no level, source or score meets no condition on it."
    )
    group.add_argument(
        "--level", choices=LEVELS, type=str.lower, help="anomalies and alerts of this level and above only"
    )
    group.add_argument(
        "--source",
        action="append",
        dest="sources",
        default=[],
        metavar="NAME",
        help="anomalies of this source only, * and ? stand for anything; repeatable",
    )
    group.add_argument(
        "--grep",
        type=pattern,
        metavar="RE",
        help="only what this regular expression is found in; without capitals it finds capitals too",
    )
    group.add_argument("--min-score", type=number, metavar="X", help="anomalies with this score and above only")


def selection_of(args: argparse.Namespace, *, since: datetime | None = None) -> Selection:
    """What the options of `add_selection_arguments` select."""
    return Selection(
        level=args.level, sources=tuple(args.sources), words=args.grep, min_score=args.min_score, since=since
    )
