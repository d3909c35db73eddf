"""`Realtime`: the Flask extension."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
from flask import Flask, current_app
from flask.typing import ResponseReturnValue

from realtime_client import ClientConfig, ConfigError, DashboardStore, RealtimeClient
from realtime_client.integrations.flask.commands import commands
from realtime_client.integrations.flask.settings import Settings, read_settings
from realtime_client.integrations.flask.views import make_blueprint
from realtime_client.integrations.starting import is_due
from realtime_client.integrations.watching import make_collector
from realtime_client.web import Dashboard

if TYPE_CHECKING:
    from realtime_client.integrations.prometheus import RealtimeCollector

__all__ = ["NAME", "Realtime"]

NAME = "realtime_client"
"""The key in ``app.extensions``."""

C = TypeVar("C", bound=Callable[..., object])
T = TypeVar("T")
Guard = Callable[[], "ResponseReturnValue | bool | None"]


@attrs.frozen(eq=False)
class Registration:
    """A callback that each application's client is to call.

    Attributes:
        method: The client's method that subscribes it.
        arguments: What comes before the callback.
        options: What comes by name.
        callback: The function.
    """

    method: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    callback: Callable[..., object]


class Realtime:
    """The feed in Flask applications; one object may serve several, each with a client of its own.

    Neither making one nor `init_app` connects or starts a thread; so a reloader's parent, ``flask --help`` and other
    commands never connect. A process connects at its first request, or when the client or the store is first asked for
    (``REALTIME_AUTOSTART`` says which), and without waiting: an outage of the feed holds up no request. After a fork
    each worker has a connection of its own.

    Callbacks are registered with decorators, usually where the extension is made. They run on the client's dispatcher
    thread, in an application context, and in no request.

    Args:
        app: The application, if there is one by now.
        guard: Who may see the dashboard: a function without arguments, called in the request of the page and of its
            stream. It returns ``True``; or ``False`` or ``None`` (403); or a response, such as a redirection to the
            login; and it may abort. Anything else is an error, and lets nobody in.
        client_factory: Makes an application's client from its `ClientConfig`.

    Raises:
        ConfigError: The guard is no function; or as `init_app`.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        guard: Guard | None = None,
        client_factory: Callable[[ClientConfig], RealtimeClient] | None = None,
    ) -> None:
        if guard is not None and not callable(guard):
            raise ConfigError(f"guard: {guard!r:.120} is not allowed; allowed: a function without arguments, or None")
        self.guard = guard
        self._make_client = client_factory or _make_client
        self._registrations: list[Registration] = []
        self._states: weakref.WeakSet[_State] = weakref.WeakSet()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Make the feed known to an application: its client, its addresses, its commands.

        Raises:
            ConfigError: Names every ``REALTIME_*`` key that is wrong.
            RuntimeError: The application has this extension already.
        """
        if NAME in app.extensions:
            raise RuntimeError(f"init_app: the application {app.name!r} has a Realtime extension already")
        settings = read_settings(app.config)
        if settings.dashboard and self.guard is None:
            raise ConfigError(
                "REALTIME_DASHBOARD: needs a guard, Realtime(guard=...), a function that says whether whoever asks may"
                " see the feed; 'guard=lambda: True' shows it to everybody"
            )
        state = app.extensions[NAME] = _State(self, app, settings)
        self._states.add(state)
        app.cli.add_command(commands)
        if settings.dashboard or settings.health or settings.metrics:
            app.register_blueprint(make_blueprint(settings, self.guard), url_prefix=settings.url_prefix)
        if settings.autostart == "first_request":
            app.before_request(state.start)

    # What the current application has

    @property
    def client(self) -> RealtimeClient:
        """The current application's client, started without waiting unless ``REALTIME_AUTOSTART`` is ``"off"``."""
        return self._state().client

    @property
    def store(self) -> DashboardStore:
        """Its store; reading it never waits for the network."""
        return self.client.store

    @property
    def dashboard(self) -> Dashboard:
        """What the views serve: the streams of this process."""
        return self._state().dashboard

    @property
    def collector(self) -> RealtimeCollector:
        """What the current application's metrics are collected by; connects nothing.

        Raises:
            RuntimeError: ``REALTIME_METRICS`` is off.
        """
        collector = self._state().collector
        if collector is None:
            raise RuntimeError("collector: REALTIME_METRICS is off")
        return collector

    def close(self, app: Flask | None = None) -> None:
        """End an application's streams and close its client, as a test does; the next use begins anew.

        Args:
            app: The application; ``None`` for the current one.
        """
        self._state(app).close()

    # Callbacks

    def on(self, event: str | type, *, own_thread: bool = False) -> Callable[[C], C]:
        """Decorate a callback for events; see `RealtimeClient.on`."""
        return self._registering("on", event, own_thread=own_thread)

    def on_status(self, callback: C) -> C:
        """Decorate a callback for every step of the connection; see `RealtimeClient.on_status`."""
        return self._registering("on_status")(callback)

    def on_connection_change(self, callback: C) -> C:
        """Decorate a callback that is told ``connected``; see `RealtimeClient.on_connection_change`."""
        return self._registering("on_connection_change")(callback)

    def on_notification(self, callback: C) -> C:
        """Decorate a callback for what people may want to be told; see `RealtimeClient.on_notification`."""
        return self._registering("on_notification")(callback)

    def on_gap(self, callback: C) -> C:
        """Decorate a callback for times in which events may have been missed; see `RealtimeClient.on_gap`."""
        return self._registering("on_gap")(callback)

    def on_error(self, callback: C) -> C:
        """Decorate a callback for errors of callbacks and messages; see `RealtimeClient.on_error`."""
        return self._registering("on_error")(callback)

    def _registering(self, method: str, *arguments: Any, **options: Any) -> Callable[[C], C]:
        def register(callback: C) -> C:
            self._registrations.append(Registration(method, arguments, options, callback))
            for state in list(self._states):
                state.attach()
            return callback

        return register

    def _state(self, app: Flask | None = None) -> _State:
        app = app or current_app._get_current_object()  # type: ignore[attr-defined]
        state: _State | None = app.extensions.get(NAME)
        if state is None or state.extension is not self:
            raise RuntimeError(f"init_app() of this Realtime was not called with the application {app.name!r}")
        return state

    def make_client(self, state: _State) -> RealtimeClient:
        """Make an application's client."""
        client = self._make_client(state.settings.client)
        for wire_type, cls in state.settings.events.items():
            client.register_event(wire_type, cls)
        return client

    @property
    def registrations(self) -> tuple[Registration, ...]:
        """The callbacks, in the order in which they were registered."""
        return tuple(self._registrations)


class _State:
    """What one application has. It and the client refer to the application weakly, so that it can be collected."""

    def __init__(self, extension: Realtime, app: Flask, settings: Settings) -> None:
        self.extension: Realtime = extension
        self.settings: Settings = settings
        self.dashboard: Dashboard = Dashboard(lambda: self.client, max_streams=settings.max_streams)
        self.collector: RealtimeCollector | None = make_collector() if settings.metrics else None
        self._app: weakref.ref[Flask] = weakref.ref(app)
        # The client, and which callbacks it has, each put there by whoever comes first. No lock, which a fork might
        # leave taken: setdefault() lets one of two win, and the other's client, which was not started, is dropped.
        self._made: dict[Any, Any] = {}

    @property
    def client(self) -> RealtimeClient:
        """The client, with its callbacks; started if that is due."""
        made = self._made
        client: RealtimeClient | None = made.get("client")
        if client is None:
            client = made.setdefault("client", self.extension.make_client(self))
            if self.collector is not None:
                self.collector.add(client)
        self.attach()
        if self.settings.autostart != "off" and is_due(client.status, client.config):
            client.connect(wait=False)
        return client

    def start(self) -> None:
        """Start the client if that is due; before each request."""
        _ = self.client

    def attach(self) -> None:
        """Let the client, if it is made, call what is registered; each callback once."""
        made = self._made
        client = made.get("client")
        if client is None:
            return
        for registration in self.extension.registrations:
            mine = object()
            if made.setdefault(registration, mine) is not mine:
                continue
            callback = _in_context(self._app, registration.callback)
            try:
                getattr(client, registration.method)(*registration.arguments, callback, **registration.options)
            except Exception:
                del made[registration]  # whoever asks next is told as well: a callback must not be missing in silence
                raise

    def close(self) -> None:
        """End the streams and close the client, if there is one."""
        made = self._made
        client = made.get("client")
        if client is not None and self.collector is not None:
            self.collector.remove(client)  # before anybody can make the next one, which has the same name
        if self._made is made:
            self._made = {}
        self.dashboard.end_streams()
        if client is not None:
            client.close()


def _make_client(config: ClientConfig) -> RealtimeClient:
    return RealtimeClient(config=config)


def _in_context(app: weakref.ref[Flask], callback: Callable[..., T]) -> Callable[..., T | None]:
    @functools.wraps(callback)
    def call(argument: Any) -> T | None:
        alive = app()
        if alive is None:
            return None
        with alive.app_context():
            return callback(argument)

    return call
