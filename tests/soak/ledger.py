"""The account of one client: every numbered event once, in order, and each that is missing within a gap's times."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

from realtime_client import ConnectionState, Gap, Origin

MOST_VIOLATIONS = 20


class Ledger:
    """Is told what the callbacks of a client are told, and in the same order.

    Events are numbered from 0. In memory it keeps only the numbers past the first that is missing.

    Args:
        produced_at: When a number was produced, where that is still known.
        sent_by: The earliest moment at which what the client heard at some moment may have been sent. A gap begins when
            something was heard last, and what is lost was sent behind that.

    Attributes:
        complete_to: Every number up to here was delivered, or is lost and a gap said so.
        delivered: Events delivered.
        polled: Those of them that came from polls.
        lost: Events that never came and that a gap covers.
        gaps: Gaps told.
        incomplete: Those of them that said so.
        violations: What must not be, in words; the first few.
    """

    def __init__(
        self, produced_at: Callable[[int], datetime | None], sent_by: Callable[[datetime], datetime] = lambda at: at
    ) -> None:
        self._produced_at = produced_at
        self._sent_by = sent_by
        self._changed = threading.Condition()  # guards everything
        self._beyond: set[int] = set()
        self._newest = {Origin.STREAM: -1, Origin.POLL: -1}
        self._awaits_gap = False
        self._covering: list[Gap] = []  # the incomplete gaps since the last stream event
        self._overtook = False  # stream events came before the gap of their connection was told
        self._ever_connected = False
        self.complete_to = -1
        self.delivered = self.polled = self.lost = self.gaps = self.incomplete = 0
        self.violations: list[str] = []

    def changed(self, state: ConnectionState) -> None:
        """The state of the connection."""
        with self._changed:
            if state is ConnectionState.CONNECTED:
                if self._awaits_gap:
                    self._complain("a second connection before the gap before it was told")
                self._awaits_gap = self._ever_connected
                self._ever_connected = True
                self._overtook = False
            else:
                self._awaits_gap = False  # cut again before it was filled: it stays open
            self._changed.notify_all()

    def gap(self, gap: Gap) -> None:
        """A gap was told."""
        with self._changed:
            self.gaps += 1
            self._awaits_gap = False
            if gap.since > gap.until:
                self._complain(f"a gap that ends before it begins: {gap}")
            if gap.complete and self._overtook:
                self._complain(f"stream events came before a complete gap: {gap}")
            if not gap.complete:
                self.incomplete += 1
                self._covering.append(gap)
                if self._newest[Origin.STREAM] in self._beyond:  # the stream went first
                    self._give_up(self._newest[Origin.STREAM])
            self._changed.notify_all()

    def event(self, number: int, origin: Origin) -> None:
        """An event was delivered."""
        with self._changed:
            self.delivered += 1
            self.polled += origin is Origin.POLL
            if number <= self.complete_to or number in self._beyond:
                self._complain(f"{number} was delivered twice, or after it was given up ({origin.value})")
                return
            if number < self._newest[origin]:
                self._complain(f"{number} came after {self._newest[origin]} ({origin.value})")
            self._newest[origin] = max(number, self._newest[origin])
            self._beyond.add(number)
            self._advance()
            if origin is Origin.STREAM:
                self._judge(number)
            self._changed.notify_all()

    def wait_for(self, number: int, timeout: float) -> bool:
        """Block until everything up to a number was delivered or covered."""
        with self._changed:
            return self._changed.wait_for(lambda: self.complete_to >= number, timeout)

    def _judge(self, number: int) -> None:
        """A stream event: whatever is missing before it is missing for good, unless a gap is just being filled."""
        if self._awaits_gap:
            self._overtook = True
            return
        if self.complete_to < number:
            if not self._covering:
                first = self.complete_to + 1
                self._complain(f"{first} is missing before {number}, and no incomplete gap was told")
            self._give_up(number)
        self._covering = []

    def _give_up(self, before: int) -> None:
        missing = [number for number in range(self.complete_to + 1, before) if number not in self._beyond]
        times = [(self._sent_by(gap.since), gap.until) for gap in self._covering]
        for number in missing if times else ():
            at = self._produced_at(number)
            if at is not None and not any(since <= at <= until for since, until in times):
                told = ", ".join(f"{gap.since} to {gap.until}" for gap in self._covering)
                self._complain(f"{number} is lost, but was produced at {at}, outside of {told}")
        self.lost += len(missing)
        self._beyond |= set(missing)
        self._advance()

    def _advance(self) -> None:
        while self.complete_to + 1 in self._beyond:
            self.complete_to += 1
            self._beyond.discard(self.complete_to)

    def _complain(self, words: str) -> None:
        if len(self.violations) < MOST_VIOLATIONS:
            self.violations.append(words)
