"""A modest log analyser: how unusual is this line? Counting and a table of known troubles, not an AI.

It exists to give the feed something honest to say. Its judgement of a line is a score from 0 to 1 of two parts: how
severe the line is, by its level and by whether a known trouble is recognised in it; and how rare its kind has been so
far among the lines of its source. A line that scores :data:`THRESHOLD` or more is an anomaly. So an error is one
unless errors of its kind are every day's business, and an ordinary line is one only if its kind is new, or nearly,
in a log that has been read for some time.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Any

from realtime_client.demo.advice import rules_for
from realtime_client.demo.log_formats import ParsedLine
from realtime_client.demo.templates import TemplateCounts, template_of
from realtime_client.demo.watch import BurstWatch, SilenceWatch
from realtime_client.events import LogEntry, NewAnomaly, SystemAlert

__all__ = ["THRESHOLD", "Analyser"]

THRESHOLD = 0.6
SEVERITY = {"DEBUG": 0.05, "INFO": 0.1, "WARNING": 0.3, "ERROR": 0.55, "CRITICAL": 0.75}
KNOWN_TROUBLE = 0.15
"""What a recognised trouble adds to the severity of a line that its writer did not call an error."""
RARITY_WEIGHT = 0.7
ORDINARY_LINES_ASSUMED = 50
"""Added to the lines seen, so that the first lines of a log are neither all rare nor all common."""
FAMILIAR_AFTER = 40
"""An ordinary kind of line seen this often counts half as rare as its share says."""

ACTIVE_FOR = timedelta(minutes=5)
SOURCES_REMEMBERED = 1000


class Analyser:
    """Lines in, events out. Pure and deterministic: times are arguments. Not for several threads at once.

    All its times are those of the log: a history that is read in a second is judged as it was written. A line
    without a time, or with one in the future, counts as written when it arrived.

    Args:
        threshold: The least score of an anomaly, between 0 and 1.
        templates: Kinds of lines remembered; the least recently seen is forgotten first.
    """

    def __init__(self, *, threshold: float = THRESHOLD, templates: int = 10_000) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold is {threshold!r}, allowed is 0 to 1")
        self._threshold = threshold
        self._counts = TemplateCounts(templates)
        self._total = 0
        self._anomalies = 0
        self._latest: datetime | None = None
        self._active: OrderedDict[str, datetime] = OrderedDict()
        self._line_burst = BurstWatch(least=200)
        self._anomaly_burst = BurstWatch(least=10)
        self._silence = SilenceWatch(SOURCES_REMEMBERED)

    def analyse(self, line: ParsedLine, *, log_id: str, arrived: datetime) -> list[NewAnomaly | SystemAlert]:
        """Judge one line, in the order of the log.

        Args:
            line: What the line says.
            log_id: The line's identity, the ``id`` of its log entry.
            arrived: When it was read, timezone-aware.

        Returns:
            The events that it gives rise to; for most lines none.
        """
        at = arrived if line.timestamp is None else min(line.timestamp, arrived)
        self._count(line.source, at, arrived)
        self._anomaly_burst.advance(at)
        events: list[NewAnomaly | SystemAlert] = []
        if self._line_burst.add(at):
            events.append(burst("lines", self._line_burst.average, "warning", at))
        if (log := self._judge(line, log_id, at)) is not None:
            self._anomalies += 1
            events.append(NewAnomaly(log, timestamp=at))
            if self._anomaly_burst.add(at):
                events.append(burst("anomalies", self._anomaly_burst.average, "error", at))
        return events

    def watch(self, now: datetime) -> list[SystemAlert]:
        """The sources that spoke regularly, while they were followed live, and are silent now."""
        return [
            SystemAlert(
                f"{source} spoke regularly and has been silent for {silence.total_seconds():.0f} s",
                "warning",
                timestamp=now,
            )
            for source, silence in self._silence.silent(now)
        ]

    def figures(self) -> dict[str, Any]:
        """The figures in the wire's naming: ``totalLogs``, ``anomalyCount``, ``anomalyRate``, ``activeServices``.

        The rate is the anomalies' share of all lines, 0 to 1. Active is a source with a line in the last five
        minutes of the log.
        """
        active = 0
        if self._latest is not None:
            since = self._latest - ACTIVE_FOR
            active = sum(last >= since for last in self._active.values())
        return {
            "totalLogs": self._total,
            "anomalyCount": self._anomalies,
            "anomalyRate": round(self._anomalies / self._total, 6) if self._total else 0.0,
            "activeServices": active,
        }

    def _count(self, source: str, at: datetime, arrived: datetime) -> None:
        self._total += 1
        self._latest = at if self._latest is None else max(self._latest, at)
        before = self._active.pop(source, at)
        self._active[source] = max(before, at)
        if len(self._active) > SOURCES_REMEMBERED:
            self._active.popitem(last=False)
        if arrived - at <= ACTIVE_FOR:  # else it is history, whose silence is no news
            self._silence.add(source, at)

    def _judge(self, line: ParsedLine, log_id: str, at: datetime) -> LogEntry | None:
        of_kind, of_source = self._counts.add(line.source, line.level, template_of(line.message))
        severity = SEVERITY[line.level]
        rare = rarity(of_kind, of_source, ordinary=severity < SEVERITY["WARNING"])
        if score_of(severity + KNOWN_TROUBLE, rare) < self._threshold:
            return None  # whatever the rules might say; they are the costly part
        rules = rules_for(line.message)
        if rules and severity < SEVERITY["ERROR"]:
            severity += KNOWN_TROUBLE
        score = score_of(severity, rare)
        if score < self._threshold:
            return None
        causes = [known.cause for known in rules]
        if of_kind == 0:
            causes.append(
                f"First time this kind of line was seen, after {of_source} lines of {line.source or 'its source'}"
            )
        else:
            causes.append(f"{line.level} of a kind seen in {of_kind + 1} of {of_source + 1} lines")
        return LogEntry(
            id=log_id,
            message=line.message,
            timestamp=at,
            level=line.level,
            source=line.source,
            is_anomaly=True,
            anomaly_score=round(score, 3),
            root_causes=tuple(causes),
            recommendations=tuple(known.recommendation for known in rules)
            or ("Read the lines of the same source around this one",),
        )


def rarity(of_kind: int, of_source: int, *, ordinary: bool) -> float:
    """How rare a kind of line has been: 0 for a common one, 1 for one in a thousand lines or fewer."""
    share = (of_kind + 1) / (of_source + ORDINARY_LINES_ASSUMED)
    rare = min(1.0, max(0.0, -math.log10(share) / 3))
    return rare * FAMILIAR_AFTER / (FAMILIAR_AFTER + of_kind) if ordinary else rare


def score_of(severity: float, rare: float) -> float:
    """Severity and rarity, both 0 to 1, as one score from 0 to 1: each lifts what the other leaves."""
    return 1 - (1 - severity) * (1 - RARITY_WEIGHT * rare)


def burst(what: str, average: float, severity: str, at: datetime) -> SystemAlert:
    """The alert about a burst."""
    window = BurstWatch.WINDOW_SECONDS
    text = f"A burst of {what}: far more within {window} s than the usual {average:.1f}"
    return SystemAlert(text, severity, timestamp=at)
