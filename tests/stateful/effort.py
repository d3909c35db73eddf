"""How long the state machines are driven."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings

__all__ = ["LONG", "effort"]

LONG = "long"
"""The name of the profile for long runs."""


def effort(examples: int, steps: int) -> settings:
    """So many examples of at most so many steps; twenty times as many, and twice as long ones, in a long run.

    Only a long run looks for the shortest way to what it has found: that takes minutes.
    """
    phases = [Phase.explicit, Phase.reuse, Phase.generate]
    if settings.get_current_profile_name() == LONG:
        examples, steps, phases = 20 * examples, 2 * steps, list(Phase)
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        phases=phases,
        # Threads take turns, whatever else the machine does.
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
