"""``REALTIME_CLIENT``: the one dict in a project's settings, read, and every fault in it named."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from realtime_client import ClientConfig, ConfigError, options
from realtime_client.config import TokenFile

__all__ = ["NAME", "Fault", "Kind", "Settings", "read", "read_settings"]

NAME = "REALTIME_CLIENT"

OBJECTS = frozenset({"headers", "poller", "retry_policy", "ssl_context"})
"""Options of the client for which text can only be the dotted path of what is meant."""
OWN: Mapping[str, options.Rule] = {
    "autostart": options.Choice(("first_use", "first_request", "off")),
    "dashboard": options.Flag("True or False"),
    "title": options.Text(),
    "max_streams": options.Whole(),
}
"""The options that are not the client's, and what each allows."""
FURTHER = ("token_file", "events", "dashboard_test")
"""Those that one rule does not describe."""
TESTS = ("staff", "authenticated", "anyone")
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
        title: What the page is called.
        max_streams: Pages that one process keeps up to date; a further one is told that the house is full.
    """

    client: ClientConfig
    autostart: str = "first_use"
    events: Mapping[str, type] = attrs.field(factory=dict)
    dashboard: bool = False
    dashboard_test: str | Callable[[Any], bool] = "staff"
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
        self._token_file: TokenFile | None = None
        self._seen: set[str] = set()

    def take(self, key: str, value: Any) -> None:
        """Take one key."""
        name = key.lower()
        if name in self._seen:
            self._fault(Kind.VALUE, name, "is given twice")
            return
        self._seen.add(name)
        if name in OPTIONS:
            self._options[name] = self._imported(name, value) if name in OBJECTS else value
        elif name == "token_file":
            self._take_token_file(value)
        elif name == "events":
            self._take_events(value)
        elif name == "dashboard_test":
            self._take_dashboard_test(value)
        elif name in OWN:
            try:
                self._own[name] = OWN[name].accept(value)
            except options.Refused:
                self._refuse(name, value, OWN[name].allowed)
        else:
            close = difflib.get_close_matches(name, [*OPTIONS, *OWN, *FURTHER], n=1)
            hint = f"; did you mean {close[0].upper()}?" if close else ""
            self.faults.append(Fault(Kind.UNKNOWN, f"{NAME}: {key}: there is no such option{hint}"))

    def finish(self) -> Settings | None:
        """The settings, unless something is wrong."""
        if "url" not in self._seen:
            self.faults.insert(0, _missing(f"{NAME}: URL is missing; allowed: where the feed is, ws:// or wss://"))
        if self._token_file is not None:
            if self._options.get("token") is not None:
                self._fault(Kind.VALUE, "token_file", "cannot be given together with TOKEN")
            self._options["token"] = self._token_file
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

    def _refuse(self, name: str, value: Any, allowed: str) -> None:
        self._fault(Kind.VALUE, name, f"{value!r:.120} is not allowed; allowed: {allowed}")

    def _imported(self, name: str, value: Any) -> Any:
        """What a dotted path leads to; anything else as it is."""
        if not isinstance(value, str):
            return value
        try:
            return import_string(value)
        except ImportError as error:
            # The text may be a secret in the wrong place (headers); a dotted path is none.
            shown = repr(value) if all(part.isidentifier() for part in value.split(".")) else "this text"
            reason = f" ({error})" if shown != "this text" else ""
            self._fault(Kind.IMPORT, name, f"{shown} cannot be imported{reason}; allowed: a dotted path or the object")
            return None

    def _take_token_file(self, value: Any) -> None:
        if not isinstance(value, str) or not value:
            self._refuse("token_file", value, "the path of a file")
        else:
            self._token_file = TokenFile(value)

    def _take_events(self, value: Any) -> None:
        name = "events"
        if not isinstance(value, Mapping):
            self._refuse(name, value, "a dict of wire names to attrs classes, or to their dotted paths")
            return
        self._own[name] = classes = {}
        for wire_type, given in value.items():
            cls = self._imported(name, given)
            if cls is None:
                continue
            if isinstance(wire_type, str) and wire_type and isinstance(cls, type) and attrs.has(cls):
                classes[wire_type] = cls
            else:
                self._refuse(name, {wire_type: given}, "wire names with attrs classes, or with their dotted paths")

    def _take_dashboard_test(self, value: Any) -> None:
        name = "dashboard_test"
        if isinstance(value, str) and value in TESTS:
            self._own[name] = value
            return
        test = self._imported(name, value)
        if callable(test):
            self._own[name] = test
        elif test is not None or value is None:
            self._refuse(
                name, value, f"{', '.join(map(repr, TESTS))}, or a function of the request, or its dotted path"
            )
