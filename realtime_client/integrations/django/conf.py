"""``REALTIME_CLIENT``: the one dict in a project's settings, read, and every fault in it named."""

from __future__ import annotations

import difflib
import enum
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from realtime_client import ClientConfig, ConfigError, options
from realtime_client.integrations.rules import COMMON, Events, refusal

__all__ = ["NAME", "Fault", "Kind", "Settings", "read", "read_settings"]

NAME = "REALTIME_CLIENT"

OBJECTS = frozenset({"headers", "poller", "retry_policy", "ssl_context"})
"""Options of the client for which text can only be the dotted path of what is meant."""
TESTS = ("staff", "authenticated", "anyone")


@attrs.frozen(eq=False, repr=False)
class DashboardTest(options.Choice):
    """Who may see the dashboard."""

    words: tuple[str, ...] = TESTS

    @property
    def allowed(self) -> str:
        """What it must be, in words."""
        return f"{', '.join(map(repr, self.words))}, or a function of the request, or its dotted path"

    def accept(self, value: Any) -> Any:
        """One of the words, or the function."""
        if isinstance(value, str):
            return super().accept(value)
        if not callable(value) or isinstance(value, type):
            raise options.Refused
        if inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(type(value).__call__):
            raise options.Refused("it is asynchronous, and would be true whatever it finds")
        return value


OWN: Mapping[str, options.Rule] = {
    "autostart": options.Choice(("first_use", "first_request", "off")),
    **COMMON,
    "events": Events(allowed="a dict of wire names to attrs classes, or to their dotted paths"),
    "dashboard_test": DashboardTest(),
}
"""The options that are not the client's, and what each allows."""
OPTIONS = frozenset(field.name for field in attrs.fields(ClientConfig))


class Kind(enum.Enum):
    """What is wrong with a key."""

    MISSING = "E001"
    URL = "E002"
    UNKNOWN = "E003"
    IMPORT = "E004"
    VALUE = "E005"


@attrs.frozen
class Fault:
    """One thing that is wrong.

    Attributes:
        kind: What.
        message: A sentence that names the key, what was given (never a secret) and what is allowed.
    """

    kind: Kind
    message: str


@attrs.frozen(kw_only=True)
class Settings:
    """What ``REALTIME_CLIENT`` says.

    Attributes:
        client: The options of the client.
        autostart: When a process connects: ``"first_use"``, when `Realtime.client` or `Realtime.store` is asked for, by
            a view or by the dashboard; ``"first_request"``, besides that with its first request, so that receivers of
            the signals hear in every worker; or ``"off"``, when ``realtime.client.connect()`` is called.
        events: Classes of the server's own message types, by their names on the wire.
        dashboard: Whether the dashboard and its stream are served.
        dashboard_test: Who may see them: ``"staff"``, ``"authenticated"``, ``"anyone"``, or a function of the request.
        health: Whether the state of the feed is served, as JSON.
        metrics: Whether the client's metrics are served, for Prometheus.
        title: What the page is called.
        max_streams: Pages that one process keeps up to date; a further one is told that the house is full.
    """

    client: ClientConfig
    autostart: str = "first_use"
    events: Mapping[str, type] = attrs.field(factory=dict)
    dashboard: bool = False
    dashboard_test: str | Callable[[Any], Any] = "staff"
    health: bool = False
    metrics: bool = False
    title: str = "Realtime feed"
    max_streams: int = 50


def read_settings() -> Settings:
    """Read the project's settings.

    Raises:
        ImproperlyConfigured: Names every fault at once.
    """
    found, faults = read(getattr(settings, NAME, None))
    if found is None:
        raise ImproperlyConfigured("; ".join(fault.message for fault in faults))
    return found


def read(given: object) -> tuple[Settings | None, list[Fault]]:
    """Read what ``REALTIME_CLIENT`` is set to.

    Args:
        given: A mapping of option names in capitals; the case does not matter. ``None`` where it is not set.

    Returns:
        The settings, or ``None`` and everything that is wrong with them.
    """
    if given is None:
        return None, [_missing(f"{NAME} is not set; allowed: a dict, with at least a URL")]
    if not isinstance(given, Mapping):
        return None, [Fault(Kind.VALUE, f"{NAME}: a {type(given).__name__} is not allowed; allowed: a dict of options")]
    reading = _Reading()
    for key, value in given.items():
        reading.take(str(key), value)
    return reading.finish(), reading.faults


def _missing(message: str) -> Fault:
    return Fault(Kind.MISSING, message)


class _Reading:
    """One reading of the dict; collects what is found and what is wrong."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._options: dict[str, Any] = {}
        self._own: dict[str, Any] = {}
        self._seen: set[str] = set()

    def take(self, key: str, value: Any) -> None:
        """Take one key."""
        name = key.lower()
        if name in self._seen:
            self._fault(Kind.VALUE, name, "is given twice")
            return
        self._seen.add(name)
        try:
            if name in OPTIONS:
                self._options[name] = self._imported(name, value) if name in OBJECTS else value
            elif (rule := OWN.get(name)) is not None:
                self._take_own(name, rule, value)
            else:
                close = difflib.get_close_matches(name, [*OPTIONS, *OWN], n=1)
                hint = f"; did you mean {close[0].upper()}?" if close else ""
                self.faults.append(Fault(Kind.UNKNOWN, f"{NAME}: {key}: there is no such option{hint}"))
        except _Astray as error:
            self._fault(Kind.IMPORT, name, str(error))

    def finish(self) -> Settings | None:
        """The settings, unless something is wrong."""
        if "url" not in self._seen:
            self.faults.insert(0, _missing(f"{NAME}: URL is missing; allowed: where the feed is, ws:// or wss://"))
        if (token_file := self._own.pop("token_file", None)) is not None:
            if self._options.get("token") is not None:
                self._fault(Kind.VALUE, "token_file", "cannot be given together with TOKEN")
            self._options["token"] = token_file
        try:
            client = ClientConfig.from_mapping(self._options)
        except ConfigError as error:
            for problem in error.problems:
                name, _, words = problem.partition(": ")
                self._fault(Kind.URL if name == "url" else Kind.VALUE, name, words)
            return None
        return None if self.faults else Settings(client=client, **self._own)

    def _fault(self, kind: Kind, name: str, words: str) -> None:
        self.faults.append(Fault(kind, f"{NAME}: {name.upper()}: {words}"))

    def _take_own(self, name: str, rule: options.Rule, value: Any) -> None:
        meant = value
        if name == "events" and isinstance(value, Mapping):
            meant = {wire_type: self._imported(name, cls) for wire_type, cls in value.items()}
        elif name == "dashboard_test" and isinstance(value, str) and "." in value:  # others are meant as words
            meant = self._imported(name, value)
        try:
            self._own[name] = rule.accept(meant)
        except options.Refused as error:
            self._fault(Kind.VALUE, name, refusal(rule, value, error))

    def _imported(self, name: str, value: Any) -> Any:
        """What a dotted path leads to; anything else as it is."""
        if not isinstance(value, str):
            return value
        # Text that is no path may be a secret in the wrong place. What is given as headers is never shown: a JWT has
        # dots, and between them often nothing but what an identifier may have.
        is_path = name != "headers" and all(part.isidentifier() for part in value.split("."))
        try:
            return import_string(value)
        except ImportError as error:
            shown, reason = (repr(value), f" ({error})") if is_path else ("this text", "")
        except (TypeError, ValueError):  # what importlib makes of a dot at the beginning
            shown, reason = "this text", ""
        raise _Astray(f"{shown} cannot be imported{reason}; allowed: a dotted path or the object")


class _Astray(Exception):
    """A dotted path leads nowhere."""
