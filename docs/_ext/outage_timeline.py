"""An outage with the default options, drawn to scale: made from the account of attempts that the client itself uses."""

from __future__ import annotations

from realtime_client import ClientConfig, RetryDecision
from realtime_client._core.backoff import Attempts

__all__ = ["BACK_AT", "attempts_until", "outage_timeline"]

WIDTH, HEIGHT = 720, 190
ROWS = {"state": 40, "source": 84, "attempts": 128, "seconds": 172}
"""What is drawn, and how far down."""
LEFT, RIGHT = 84, 716
UNTIL = 78.0
"""Seconds that are drawn."""
BACK_AT = 55.0
"""When the server is back, in this story."""


def attempts_until(seconds: float, config: ClientConfig) -> list[tuple[float, bool]]:
    """When attempts are made, counted from the loss, and whether the outage was declared by then."""
    account = Attempts(config, lambda low, high: (low + high) / 2)
    found: list[tuple[float, bool]] = []
    now, declared = 0.0, False
    while now < seconds:
        now += account.next_delay(RetryDecision(), declared=declared)
        found.append((now, declared))
        account.count_failure()
        declared = account.exhausted
    return found


def outage_timeline() -> str:
    """One HTML figure with an SVG in it, without an empty line, in the colours of the page."""
    config = ClientConfig()
    attempts = attempts_until(BACK_AT, config)
    declared_at = max(at for at, declared in attempts if not declared)
    back = attempts[-1][0]
    bars = (
        ("state", 0.0, declared_at, "RECONNECTING"),
        ("state", declared_at, back, "UNAVAILABLE"),
        ("state", back, UNTIL, "CONNECTED"),
        ("source", config.poll_after, back, "POLLING, if configured"),
    )
    before = [0.0, *(at for at, _ in attempts)]
    parts = [
        f'<figure class="machine"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" xmlns="http://www.w3.org/2000/svg">',
        f"<title>An outage of {BACK_AT:g} seconds with the default options</title>",
        *(f'<text class="state" x="4" y="{y}">{word}</text>' for word, y in ROWS.items()),
        *(_bar(row, start, end, words) for row, start, end, words in bars),
        *(
            _attempt(at, spread=config.reconnect_jitter * (at - previous))
            for previous, (at, _) in zip(before, attempts, strict=False)
        ),
        "</svg></figure>",
    ]
    return "\n".join(parts)


def _x(seconds: float) -> float:
    return LEFT + (RIGHT - LEFT) * seconds / UNTIL


def _bar(row: str, start: float, end: float, words: str) -> str:
    top = ROWS[row] - 20
    width = _x(end) - _x(start)
    return (
        f'<rect class="phase" x="{_x(start):.1f}" y="{top}" width="{width:.1f}" height="30" rx="4"/>'
        f'<text class="phase" x="{_x(start) + width / 2:.1f}" y="{top + 20}">{words}</text>'
    )


def _attempt(at: float, *, spread: float) -> str:
    """A stroke for the attempt, on a band as wide as its delay may vary."""
    low, high, top = _x(at - spread), _x(min(at + spread, UNTIL)), ROWS["attempts"] - 18
    return (
        f'<rect class="band" x="{low:.1f}" y="{top}" width="{high - low:.1f}" height="26" rx="4"/>'
        f'<path class="way" d="M{_x(at):.1f} {top - 4} V{top + 30}"/>'
        f'<text class="fact middle" x="{_x(at):.1f}" y="{ROWS["seconds"]}">{at:g}</text>'
    )
