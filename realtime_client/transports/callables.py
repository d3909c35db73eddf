"""Options that may be callables of the user's (a token, headers), asked anew for every attempt."""

from __future__ import annotations

import contextlib
from typing import Any

from realtime_client.errors import ConnectError
from realtime_client.options import Rule
from realtime_client.transports.errands import Errands, Raised

__all__ = ["Callables", "accepted"]


class Callables:
    """Asks one client's callables, each on a thread where it can be abandoned; shared by all attempts of that client.

    Args:
        client: The client's name, for the threads' names.
    """

    def __init__(self, client: str) -> None:
        self._client = client
        self._asked: dict[str, Errands] = {}  # who asked last, and may still wait

    def ask(self, name: str, value: Any, rule: Rule, errands: Errands, deadline: float) -> Any:
        """What an option is for this attempt; blocks while a callable runs, on the reader thread.

        Args:
            name: The option.
            value: As configured.
            rule: What a callable must return.
            errands: Of this attempt, so that whoever ends it ends the wait.
            deadline: Monotonic time until which to wait.

        Raises:
            ConnectError: The callable raised, returned what is not allowed, or has not returned since it was asked for
                an earlier attempt: one that hangs must not collect threads.
            Abandoned: It has not returned in time.
        """
        if not callable(value):
            return value
        thread_name = f"rtc-{self._client}-{name}"
        if name in self._asked and self._asked[name].lingering == thread_name:
            raise ConnectError(f"the {name} callable has not returned since an earlier attempt")
        self._asked[name] = errands
        try:
            answer = errands.call(thread_name, value, deadline)
        except Raised as raised:
            raise ConnectError(f"the {name} callable raised {raised}") from raised.error
        return accepted(name, answer, rule)


def accepted(name: str, answer: Any, rule: Rule) -> Any:
    """What a callable of the user's has returned for an option, as the option's rule has it.

    Raises:
        ConnectError: The rule refuses it; not retryable.
    """
    with contextlib.suppress(ValueError):
        value = rule.accept(answer)
        if not callable(value):
            return value
    raise ConnectError(f"the {name} callable did not return {rule.allowed}", retryable=False)
