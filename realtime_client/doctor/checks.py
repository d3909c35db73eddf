"""What the doctor says of one step."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, NamedTuple

import attrs

from realtime_client.errors import RealtimeError

__all__ = ["Check", "Finding", "Step", "Verdict"]


class Verdict(enum.Enum):
    """How a step went."""

    OK = "ok"
    WARN = "warn"
    """It works, and something about it will not, or not always."""
    FAIL = "fail"
    SKIP = "skip"
    """There was nothing to look at, or a step before it failed."""


@attrs.frozen
class Finding:
    """What a step has found.

    Attributes:
        found: The facts, in words.
        verdict: How it went.
        cause: What is the likely cause, where it is not well.
        remedy: What to do about it.
        error: What a client would raise, where it failed.
    """

    found: str
    verdict: Verdict = Verdict.OK
    cause: str = ""
    remedy: str = ""
    error: RealtimeError | None = None


class Step(NamedTuple):
    """A step.

    Attributes:
        name: Its name.
        take: What takes it; what that raises is what is wrong.
        needs: The step without which this one cannot be taken, or ``None``.
    """

    name: str
    take: Callable[[], Finding]
    needs: str | None = None


@attrs.frozen
class Check:
    """One step of a diagnosis. Its texts hold no secrets; some are the server's words, and may hold anything else.

    Attributes:
        name: ``config``, ``dns``, ``proxy``, ``tcp``, ``tls`` and ``clock``; for a WebSocket ``upgrade``, ``greeting``,
            ``heartbeat`` and ``polling``; for Redis ``login``, ``ping``, ``stream``, ``snapshot`` and ``relay``; for a
            recording ``recording``.
        verdict: How it went.
        seconds: How long it took.
        found: The facts, in words.
        cause: What is the likely cause, where it is not well; else empty.
        remedy: What to do about it; else empty.
        error: What a client would raise, where it failed; else ``None``.
    """

    name: str
    verdict: Verdict
    seconds: float
    found: str
    cause: str = ""
    remedy: str = ""
    error: RealtimeError | None = None

    def to_dict(self) -> dict[str, Any]:
        """The check as JSON-ready data, the error as its class's name."""
        return {
            "name": self.name,
            "verdict": self.verdict.value,
            "seconds": round(self.seconds, 6),
            "found": self.found,
            "cause": self.cause,
            "remedy": self.remedy,
            "error": None if self.error is None else type(self.error).__name__,
        }
