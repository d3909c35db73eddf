"""What is seen, and what keys do to it. Pure: the client's word comes in as `Facts`, keys come in by name."""

from __future__ import annotations

import re
from collections import OrderedDict
from datetime import datetime

import attrs

from realtime_client import (
    ClientConfig,
    ConnectionState,
    ConnectionStatus,
    DashboardSnapshot,
    LogEntry,
    Metrics,
    Transport,
)
from realtime_client.cli.arguments import pattern
from realtime_client.cli.live.rates import Series
from realtime_client.cli.selection import LEVELS, Selection

__all__ = ["Facts", "Prompt", "View"]

KEPT = 1_000
"""Anomalies that fit the selection and are kept; the store forgets by its own rule, whatever is selected."""
FAR = 1_000_000
"""Lines; further than anything goes."""
LONGEST_PROMPT = 200
"""Characters that can be typed."""


@attrs.frozen(kw_only=True)
class Facts:
    """What the client says of itself at one moment.

    Attributes:
        at: The wall time.
        now: Monotonic seconds.
        config: The client's options.
        status: Its connection.
        metrics: Its counters.
        snapshot: Its store.
    """

    at: datetime
    now: float
    config: ClientConfig
    status: ConnectionStatus
    metrics: Metrics
    snapshot: DashboardSnapshot

    @property
    def age(self) -> float | None:
        """Seconds since the feed was last heard, or ``None`` where it never was."""
        # What a replay tells is as old as the recording; it is heard now.
        replayed_at = self.status.last_message_at if self.status.transport is Transport.REPLAY else None
        heard_at = replayed_at or self.snapshot.as_of
        return None if heard_at is None else max(0.0, (self.at - heard_at).total_seconds())

    @property
    def is_stale(self) -> bool:
        """Whether the figures are of the past: the feed is not heard, by stream or polls, as often as it should be."""
        if self.age is None:
            return False
        if self.status.transport is Transport.POLLING:
            return self.age > 2 * self.config.polling_interval + self.config.connect_timeout
        patience = 2 * self.config.heartbeat_interval + self.config.heartbeat_timeout
        return not self.status.connected or (self.config.heartbeat != "none" and self.age > patience)

    @property
    def source(self) -> str:
        """Where the figures come from, in a word."""
        if self.status.state is ConnectionState.CLOSED:  # a recording; whoever ends the view does not see it any more
            return "ended"
        if self.age is None:
            return "no data yet"
        if self.is_stale:
            return "stale"
        return {Transport.WEBSOCKET: "stream"}.get(self.status.transport, self.status.transport.value)


@attrs.frozen
class Prompt:
    """A text that is being typed.

    Attributes:
        about: ``"text"`` or ``"source"``.
        typed: The text so far.
    """

    about: str
    typed: str


class View:
    """The state of the view.

    Attributes:
        facts: What the client said last.
        series: The figures over time, by name.
        selection: What is listed.
        paused: Whether the list stands still.
        news: How many anomalies have come to a list that stands still.
        cursor: The place of the marked anomaly in the list.
        opened: The anomaly that is shown whole, or ``None``.
        scroll: How many lines of it are above the screen.
        prompt: What is being typed, or ``None``.
        help: Whether the help is shown.
        page: How many anomalies are seen at once; whoever draws says so.
    """

    def __init__(self, facts: Facts, selection: Selection | None = None) -> None:
        self.facts: Facts = facts
        self.series: dict[str, Series] = {
            "logs": Series(counts=True),
            "anomalies": Series(counts=True),
            "rate": Series(counts=False),
            "services": Series(counts=False),
            "events": Series(counts=True),
        }
        self._initial = selection or Selection()
        self.selection: Selection = self._initial
        self.paused: bool = False
        self.news: int = 0
        self.cursor: int = 0
        self.opened: LogEntry | None = None
        self.scroll: int = 0
        self.prompt: Prompt | None = None
        self.help: bool = False
        self.page: int = 1
        self._known: dict[str, LogEntry] = {}  # what the store's list had last
        self._kept: OrderedDict[str, LogEntry] = OrderedDict()  # what is selected, oldest first
        self._listed: tuple[LogEntry, ...] = ()
        self.observe(facts)

    @property
    def listed(self) -> tuple[LogEntry, ...]:
        """The anomalies of the list, newest first."""
        return self._listed

    @property
    def marked(self) -> LogEntry | None:
        """The anomaly that the cursor is on."""
        return self._listed[self.cursor] if self._listed else None

    def observe(self, facts: Facts) -> None:
        """Take note of what the client says now."""
        self.facts = facts
        stats = facts.snapshot.stats
        values = (
            stats.total_logs,
            stats.anomaly_count,
            stats.anomaly_rate,
            stats.active_services,
            facts.metrics.received,
        )
        for series, value in zip(self.series.values(), values, strict=True):
            series.observe(facts.now, value)
        self._keep(facts.snapshot.recent_logs)

    def press(self, key: str) -> bool:
        """Do what a key is for; whether the view goes on."""
        if self.prompt is not None:
            self._type(self.prompt, key)
        elif self.help:
            self.help = False
        elif key in ("q", "Q"):
            return False
        elif key == "?":
            self.help = True
        elif self.opened is not None and key in ("escape", "enter", "backspace"):
            self.opened = None
        elif key in ("up", "k", "down", "j", "pageup", "pagedown", "home", "g", "end", "G"):
            self._move(key)
        elif key in ("p", " "):
            self._pause(not self.paused)
        elif key == "enter" and self.marked is not None:
            self._pause(True)
            self.opened, self.scroll = self.marked, 0
        elif key == "l":
            levels = (None, *LEVELS)
            self._select(
                attrs.evolve(self.selection, level=levels[(levels.index(self.selection.level) + 1) % len(levels)])
            )
        elif key in ("/", "s"):
            self.prompt = Prompt("text" if key == "/" else "source", "")
        elif key == "escape":
            if self.selection != self._initial:
                self._select(self._initial)
            else:
                self._pause(False)
        return True

    def _type(self, prompt: Prompt, key: str) -> None:
        match key:
            case "escape":
                self.prompt = None
            case "enter":
                self.prompt = None
                self._choose(prompt)
            case "backspace" | "clear":
                self.prompt = attrs.evolve(prompt, typed=prompt.typed[:-1] if key == "backspace" else "")
            case _ if len(key) == 1 and len(prompt.typed) < LONGEST_PROMPT:
                self.prompt = attrs.evolve(prompt, typed=prompt.typed + key)

    def _choose(self, prompt: Prompt) -> None:
        if prompt.about == "text":
            # What is typed here is meant as it stands: nobody wants to look up what a bracket does.
            typed = prompt.typed or None
            words = None if typed is None else pattern(re.escape(typed))
            self._select(attrs.evolve(self.selection, words=words, typed=typed))
        else:
            self._select(attrs.evolve(self.selection, sources=tuple(prompt.typed.split())))

    def _move(self, key: str) -> None:
        steps = {"up": -1, "k": -1, "down": 1, "j": 1, "pageup": -self.page, "pagedown": self.page}
        step = steps.get(key, -FAR if key in ("home", "g") else FAR)
        if self.opened is not None:
            self.scroll = max(0, self.scroll + step)
        elif self._listed:
            self._pause(True)  # or else what is looked at would run away
            self.cursor = min(max(0, self.cursor + step), len(self._listed) - 1)

    def fit(self, *, page: int, lines: int) -> None:
        """Take note of how much is seen.

        Args:
            page: Lines for the list, or for the opened anomaly.
            lines: Lines that the opened anomaly has.
        """
        self.page = max(1, page)
        self.scroll = min(self.scroll, max(0, lines - self.page))

    def _pause(self, paused: bool) -> None:
        self.paused = paused
        if not paused:
            self.cursor = 0
            self._list()

    def _select(self, selection: Selection) -> None:
        """Select anew, from what was selected before and from what the store has."""
        self.selection = selection
        everything = {**self._kept, **{log.id: log for log in reversed(self.facts.snapshot.recent_logs)}}
        self._kept = OrderedDict((name, log) for name, log in everything.items() if self._takes(log))
        self._forget()
        self.opened, self.cursor = None, 0
        self._list()

    def _takes(self, log: LogEntry) -> bool:
        return log.is_anomaly and self.selection.takes_log(log)

    def _keep(self, recent: tuple[LogEntry, ...]) -> None:
        known, self._known = self._known, {log.id: log for log in reversed(recent)}
        fresh = [log for name, log in self._known.items() if known.get(name) is not log and self._takes(log)]
        for log in fresh:
            self.news += log.id not in self._kept
            self._kept[log.id] = log
        self._forget()
        if fresh and not self.paused:
            self._list()

    def _forget(self) -> None:
        for _ in range(len(self._kept) - KEPT):
            self._kept.popitem(last=False)

    def _list(self) -> None:
        oldest_first = sorted(self._kept.values(), key=_moment)
        self._listed = tuple(oldest_first[::-1])  # of the same moment, the one that came last is first
        self.news = 0
        self.cursor = min(self.cursor, max(0, len(self._listed) - 1))


def _moment(log: LogEntry) -> float:
    """What orders logs; those that tell no time are as new as can be."""
    return float("inf") if log.timestamp is None else log.timestamp.timestamp()
