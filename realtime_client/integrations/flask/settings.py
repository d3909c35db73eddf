"""The ``REALTIME_*`` keys of an application's configuration, read, and every fault in them named."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from realtime_client import ClientConfig, ConfigError
from realtime_client.config import TokenFile

__all__ = ["PREFIX", "Settings", "read_settings"]

PREFIX = "REALTIME_"
OPTIONS = frozenset(field.name for field in attrs.fields(ClientConfig))
AUTOSTART = ("first_request", "first_use", "off")


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
        health: Whether the state of the feed is served, as JSON and for Prometheus.
        max_streams: Pages that one process keeps up to date; a further one is told that the house is full.
        title: What the dashboard is called.
        url_prefix: Where all of these are.
    """

    client: ClientConfig
    autostart: str = "first_request"
    events: Mapping[str, type] = attrs.field(factory=dict)
    dashboard: bool = False
    health: bool = False
    max_streams: int = 50
    title: str = "Realtime feed"
    url_prefix: str = "/realtime"


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_events(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and isinstance(cls, type) and attrs.has(cls) for name, cls in value.items()
    )


OWN: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "autostart": (lambda value: value in AUTOSTART, "one of " + ", ".join(map(repr, AUTOSTART))),
    "events": (_is_events, "a dict of wire names to attrs classes"),
    "dashboard": (_is_flag, "True or False"),
    "health": (_is_flag, "True or False"),
    "max_streams": (
        lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 1,
        "a whole number of at least 1",
    ),
    "title": (lambda value: isinstance(value, str) and value != "", "a text that is not empty"),
    "url_prefix": (
        lambda value: isinstance(value, str) and value.startswith("/") and not value.endswith("/"),
        "a path that begins, and does not end, with '/'",
    ),
}
"""The options that are not the client's: what each allows, as a test and in words."""


def read_settings(config: Mapping[str, Any]) -> Settings:
    """Read an application's configuration.

    Args:
        config: ``app.config``; what does not begin with ``REALTIME_`` is not looked at.

    Raises:
        ConfigError: Names every wrong key, what was given (never a secret) and what is allowed.
    """
    problems: list[str] = []
    options: dict[str, Any] = {}
    own: dict[str, Any] = {}
    given = {key.removeprefix(PREFIX).lower(): value for key, value in config.items() if key.startswith(PREFIX)}
    for name, value in given.items():
        if name in OPTIONS:
            options[name] = value
        elif name in OWN:
            is_allowed, allowed = OWN[name]
            own[name] = value
            if not is_allowed(value):
                problems.append(f"{_key(name)}: {value!r:.120} is not allowed; allowed: {allowed}")
        elif name == "token_file":
            problems += _take_token_file(value, options, given)
        else:
            close = difflib.get_close_matches(name, [*OPTIONS, *OWN, "token_file"], n=1)
            problems.append(
                f"{_key(name)}: there is no such option" + (f"; did you mean {_key(close[0])}?" if close else "")
            )
    try:
        client = ClientConfig.from_mapping(options)
    except ConfigError as error:
        problems += [PREFIX + name.upper() + colon + words for name, colon, words in _parts(error)]
    if problems:
        raise ConfigError(*problems)
    return Settings(client=client, **own)


def _take_token_file(value: Any, options: dict[str, Any], given: Mapping[str, Any]) -> list[str]:
    if not isinstance(value, str) or not value:
        return [f"{_key('token_file')}: {value!r:.120} is not allowed; allowed: the path of a file"]
    if given.get("token") is not None:
        return [f"{_key('token_file')}: cannot be given together with {_key('token')}"]
    options["token"] = TokenFile(value)
    return []


def _parts(error: ConfigError) -> list[tuple[str, str, str]]:
    return [problem.partition(": ") for problem in error.problems]


def _key(name: str) -> str:
    return PREFIX + name.upper()
