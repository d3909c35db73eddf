"""The ``REALTIME_*`` keys of an application's configuration, read, and every fault in them named."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import attrs

from realtime_client import ClientConfig, ConfigError, options
from realtime_client.integrations.rules import COMMON, refusal

__all__ = ["PREFIX", "Settings", "read_settings"]

PREFIX = "REALTIME_"
OPTIONS = frozenset(field.name for field in attrs.fields(ClientConfig))


@attrs.frozen(kw_only=True)
class Settings:
    """What the application's configuration says.

    Attributes:
        client: The options of the client.
        autostart: When a process connects: ``"first_request"``, so that callbacks hear in every worker that serves
            anything; ``"first_use"``, when ``realtime.client`` or ``realtime.store`` is asked for, by a view or by the
            dashboard; or ``"off"``, when ``realtime.client.connect()`` is called.
        events: Classes of the server's own message types, by their names on the wire.
        dashboard: Whether the dashboard and its stream are served.
        health: Whether the state of the feed is served, as JSON.
        metrics: Whether the client's metrics are served, for Prometheus.
        max_streams: Pages that one process keeps up to date; a further one is told that the house is full.
        title: What the dashboard is called.
        url_prefix: Where all of these are.
    """

    client: ClientConfig
    autostart: str = "first_request"
    events: Mapping[str, type] = attrs.field(factory=dict)
    dashboard: bool = False
    health: bool = False
    metrics: bool = False
    max_streams: int = 50
    title: str = "Realtime feed"
    url_prefix: str = "/realtime"


@attrs.frozen(eq=False, repr=False)
class Prefix(options.Text):
    """Where a blueprint is."""

    @property
    def allowed(self) -> str:
        """What it must be, in words."""
        return "a path that begins, and does not end, with '/'"

    def accept(self, value: Any) -> Any:
        """The path as it came."""
        path: str = super().accept(value)
        if not path.startswith("/") or path.endswith("/"):
            raise options.Refused
        return path


OWN: Mapping[str, options.Rule] = {
    "autostart": options.Choice(("first_request", "first_use", "off")),
    **COMMON,
    "url_prefix": Prefix(),
}
"""The options that are not the client's, and what each allows."""


def read_settings(config: Mapping[str, Any]) -> Settings:
    """Read an application's configuration.

    Args:
        config: ``app.config``; what does not begin with ``REALTIME_`` is not looked at.

    Raises:
        ConfigError: Names every wrong key, what was given (never a secret) and what is allowed.
    """
    problems: list[str] = []
    client_options: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for key, value in config.items():
        name = key.removeprefix(PREFIX).lower()
        if not key.startswith(PREFIX):
            continue
        if name in OPTIONS:
            client_options[name] = value
        elif (rule := OWN.get(name)) is None:
            close = difflib.get_close_matches(name, [*OPTIONS, *OWN], n=1)
            problems.append(f"{key}: there is no such option" + (f"; did you mean {_key(close[0])}?" if close else ""))
        else:
            try:
                own[name] = rule.accept(value)
            except options.Refused as error:
                problems.append(f"{key}: {refusal(rule, value, error)}")
    if (token_file := own.pop("token_file", None)) is not None:
        if client_options.get("token") is not None:
            problems.append(f"{_key('token_file')}: cannot be given together with {_key('token')}")
        client_options["token"] = token_file
    try:
        client = ClientConfig.from_mapping(client_options)
    except ConfigError as error:
        problems += [PREFIX + name.upper() + colon + words for name, colon, words in map(_parts, error.problems)]
    if problems:
        raise ConfigError(*problems)
    return Settings(client=client, **own)


def _parts(problem: str) -> tuple[str, str, str]:
    return problem.partition(": ")


def _key(name: str) -> str:
    return PREFIX + name.upper()
