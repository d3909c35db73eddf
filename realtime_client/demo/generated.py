"""A generated log: the chatter of a small shop, with an incident now and then. Every line of it is invented."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from realtime_client.demo.follow import Line, line_of

__all__ = ["GeneratedLog"]

MAX_LINES_AT_ONCE = 1000

CHATTER: tuple[tuple[str, str, str], ...] = (
    ("INFO", "demo-web", "GET /products/{number} answered 200 in {fast} ms"),
    ("INFO", "demo-web", "GET /cart answered 200 in {fast} ms"),
    ("INFO", "demo-web", "POST /orders answered 201 in {slow} ms"),
    ("INFO", "demo-orders", "order {number} placed by customer {number}"),
    ("INFO", "demo-orders", "order {number} shipped"),
    ("DEBUG", "demo-database", "query took {fast} ms, {few} rows"),
    ("INFO", "demo-payments", "payment {number} accepted in {slow} ms"),
    ("INFO", "demo-mail", "message {number} sent"),
)

INCIDENTS: tuple[tuple[tuple[str, str, str], ...], ...] = (
    (
        ("WARNING", "demo-payments", "the bank answers slowly: {slow} ms"),
        ("ERROR", "demo-payments", "payment {number} failed: the bank timed out after 5000 ms"),
        ("ERROR", "demo-web", "POST /orders answered 504 in 5{slow} ms"),
    ),
    (
        ("WARNING", "demo-database", "disk is almost full: {few} MB left"),
        ("ERROR", "demo-database", "could not write to log file: No space left on device"),
        ("CRITICAL", "demo-orders", "order {number} lost: the database is read-only"),
    ),
    (
        ("ERROR", "demo-mail", "smtp: Connection refused by 10.0.{few}.{few}:25"),
        ("WARNING", "demo-mail", "{number} messages are waiting"),
    ),
    (
        ("WARNING", "demo-web", "login failed for user admin from 203.0.113.{few}"),
        ("WARNING", "demo-web", "login failed for user root from 203.0.113.{few}"),
        ("ERROR", "demo-web", "203.0.113.{few} is blocked: too many requests"),
    ),
    (
        ("ERROR", "demo-orders", "worker {few} was ended by the oom-killer: out of memory"),
        ("INFO", "demo-orders", "worker {few} started"),
    ),
)


def utc_now() -> datetime:
    """The present."""
    return datetime.now(UTC)


class GeneratedLog:
    """A source of invented lines for a demonstration, in the rhythm of a real log.

    It does not pass for real: its services are called ``demo-...``, its first line says that it is generated, and
    so does its notice. The same seed gives the same lines at the same distances.

    Args:
        seed: For the random numbers.
        lines_per_second: On average, above 0; incidents come on top, the first after about ten seconds.
        now: The clock, timezone-aware.
    """

    name = "demo"

    def __init__(self, *, seed: int = 1, lines_per_second: float = 5.0, now: Callable[[], datetime] = utc_now) -> None:
        if not lines_per_second > 0:
            raise ValueError(f"lines_per_second is {lines_per_second!r}, must be above 0")
        self.notice: str = f"This is a generated log (seed {seed}): every line of it is invented"
        self._random = random.Random(seed)
        self._rate = lines_per_second
        self._now = now
        self._started = self._next_at = now()
        self._next_incident = self._started + timedelta(seconds=self._random.uniform(5, 15))
        self._due: list[tuple[str, str, str]] = [("INFO", "demo", self.notice)]
        self._count = 0
        self._closed = False

    @property
    def ended(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def read(self) -> list[Line]:
        """The lines that are due by now, at most 1,000; after a pause of the process the rest is left out."""
        now = self._now()
        lines: list[Line] = []
        while not self._closed and self._next_at <= now:
            lines.append(self._line(self._next_at))
            if len(lines) == MAX_LINES_AT_ONCE:
                self._next_at = now
            self._next_at += timedelta(seconds=self._random.expovariate(self._rate))
        return lines

    def close(self) -> None:
        """Generate no more. Idempotent."""
        self._closed = True

    def _line(self, at: datetime) -> Line:
        if at >= self._next_incident:
            self._due += self._random.choice(INCIDENTS)
            self._next_incident = at + timedelta(seconds=self._random.uniform(20, 60))
        level, service, text = self._due.pop(0) if self._due else self._random.choice(CHATTER)
        message = text.format(
            number=self._random.randint(10_000, 99_999),
            few=self._random.randint(2, 99),
            fast=self._random.randint(1, 60),
            slow=self._random.randint(100, 900),
        )
        self._count += 1
        stamp = at.isoformat(sep=" ", timespec="milliseconds")
        return line_of(f"{self.name} {self._started}", self._count, f"{stamp} {level} {service}: {message}".encode())
