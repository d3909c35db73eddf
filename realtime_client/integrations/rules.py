"""What the options allow that an application has besides the client's; see `realtime_client.options`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import attrs

from realtime_client import ConfigError, RealtimeClient, options
from realtime_client.config import TokenFile
from realtime_client.integrations.watching import make_collector

__all__ = ["COMMON", "Events", "Metrics", "TokenPath", "refusal"]


@attrs.frozen(eq=False, repr=False)
class TokenPath(options.Text):
    """The path of a file with the token."""

    @property
    def allowed(self) -> str:
        """What it must be, in words."""
        return "the path of a file"

    def accept(self, value: Any) -> Any:
        """What reads the file; whether it is there will be seen when somebody connects."""
        return TokenFile(os.fspath(super().accept(value)))


@attrs.frozen(eq=False, repr=False)
class Events(options.Text):
    """Classes of the server's own message types."""

    allowed: str = "a dict of wire names to attrs classes"

    def accept(self, value: Any) -> Any:
        """The classes, each tried on a client that never connects, so that faults are known before a request."""
        if not isinstance(value, Mapping):
            raise options.Refused
        trial = RealtimeClient()
        for wire_type, cls in value.items():
            try:
                trial.register_event(wire_type, cls)
            except (TypeError, ValueError) as error:
                raise options.Refused(str(error)) from None
        return dict(value)


@attrs.frozen(eq=False, repr=False)
class Metrics(options.Flag):
    """Whether the metrics are served, which needs a library."""

    allowed: str = "True or False"

    def accept(self, value: Any) -> Any:
        """The flag as it came."""
        if super().accept(value):
            try:
                make_collector()
            except ConfigError as error:
                raise options.Refused(str(error)) from None
        return value


COMMON: Mapping[str, options.Rule] = {
    "token_file": TokenPath(),
    "events": Events(),
    "dashboard": options.Flag("True or False"),
    "health": options.Flag("True or False"),
    "metrics": Metrics(),
    "max_streams": options.Whole(),
    "title": options.Text(),
}
"""Options that every framework's configuration has, by their names."""


def refusal(rule: options.Rule, value: Any, error: options.Refused) -> str:
    """What is to be said of a value that a rule has refused: what was given, why not, and what is allowed."""
    because = f" ({error})" if str(error) else ""
    return f"{rule.show(value)} is not allowed{because}; allowed: {rule.allowed}"
