"""What a relay was asked to do, checked as a whole: every wrong argument is named at once."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import attrs

from realtime_client import options
from realtime_client.config import ClientConfig
from realtime_client.errors import ConfigError
from realtime_client.redaction import show_url
from realtime_client.redis_url import SCHEMES as REDIS

__all__ = ["Settings"]

WEBSOCKET = ("ws", "wss")
LINGER_SHARE = 1 / 10
"""The most of the lease for which events may gather: far from the time when it must be renewed."""
ROUNDING = 1 + 1e-9
"""0.07 is a tenth of 0.7, but not of the binary fraction that is next to it."""


def _where(schemes: tuple[str, ...]) -> Any:
    return attrs.field(metadata={"schemes": schemes})


def _ruled(rule: options.Rule) -> Any:
    return attrs.field(metadata={"rule": rule})


@attrs.frozen(kw_only=True)
class Settings:
    """The arguments of `Relay`, which describes them; what was a URL is a `ClientConfig` afterwards.

    Raises:
        ConfigError: Names every wrong one.
    """

    upstream: Any = _where(WEBSOCKET)
    redis: Any = _where(REDIS)
    name: str = _ruled(options.Text())
    lease: float = _ruled(options.Number(low=0.1, high=3600))
    linger: float = _ruled(options.Number())
    maxlen: int = _ruled(options.Whole(low=1000))
    snapshot_every: int = _ruled(options.Whole())
    beat_interval: float = _ruled(options.Number(above=True, high=3600))
    max_pending_events: int = _ruled(options.Whole())
    recent_logs_limit: int = _ruled(options.Whole())
    alerts_limit: int = _ruled(options.Whole())
    dedup_window: int = _ruled(options.Whole())

    def __attrs_post_init__(self) -> None:
        """Check every argument, and make a `ClientConfig` of what is a URL."""
        problems: dict[str, list[str]] = {}
        for field in attrs.fields(Settings):
            value = getattr(self, field.name)
            if "rule" in field.metadata:
                found = _complaints(field.metadata["rule"], value)
            else:
                value, found = self._config(value, field.metadata["schemes"])
                object.__setattr__(self, field.name, value)
            if found:
                problems[field.name] = found
        if not problems.keys() & {"linger", "lease"} and self.linger > self.lease * LINGER_SHARE * ROUNDING:
            most = f"at most {self.lease * LINGER_SHARE:g}, a tenth of the lease"
            problems["linger"] = [f"{self.linger!r} is not allowed; allowed: {most}"]
        if not problems.keys() & {"snapshot_every", "maxlen"} and self.snapshot_every > self.maxlen // 2:
            most = f"at most {self.maxlen // 2}, half of maxlen"
            problems["snapshot_every"] = [f"{self.snapshot_every!r} is not allowed; allowed: {most}"]
        if problems:
            raise ConfigError(*(f"{name}: {problem}" for name, found in problems.items() for problem in found))

    def _config(self, given: Any, schemes: tuple[str, ...]) -> tuple[Any, list[str]]:
        """The configuration, and what is wrong with it."""
        if isinstance(given, ClientConfig):
            config = given
        else:
            name = self.name if isinstance(self.name, str) and self.name.isprintable() and self.name else "relay"
            try:
                config = ClientConfig.from_mapping({"url": given, "name": name})
            except ConfigError as error:
                return given, list(error.problems)
        if urlsplit(config.url).scheme.lower() in schemes:
            return config, []
        allowed = " or ".join(f"{scheme}://" for scheme in schemes)
        return config, [f"{show_url(config.url)} is not allowed; allowed: {allowed}"]


def _complaints(rule: options.Rule, value: Any) -> list[str]:
    try:
        rule.accept(value)
    except ValueError:
        return [f"{rule.show(value)} is not allowed; allowed: {rule.allowed}"]
    return []
