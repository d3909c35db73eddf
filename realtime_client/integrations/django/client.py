"""`Realtime`: the one client of a process, as the project's settings describe it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from django.core.exceptions import ImproperlyConfigured

from realtime_client import DashboardStore, RealtimeClient
from realtime_client.integrations.django import signals
from realtime_client.integrations.django.conf import NAME, Settings, read_settings
from realtime_client.integrations.starting import is_due
from realtime_client.integrations.watching import make_collector
from realtime_client.web import Dashboard

if TYPE_CHECKING:
    from realtime_client.integrations.prometheus import RealtimeCollector

__all__ = ["Realtime", "realtime"]

T = TypeVar("T")


class Realtime:
    """The feed in a Django project: one client for a process, made when it is first asked for.

    Nothing happens at import, in ``ready()`` or in a management command that does not ask. Thread-safe. After a fork
    the child has a connection of its own from its first use on.
    """

    def __init__(self) -> None:
        # The settings, the client and the dashboard, each made by whoever asks first. No lock, which a fork might leave
        # taken: setdefault() lets one of two win, and the other's client, which was not started, is dropped.
        self._made: dict[str, Any] = {}

    @property
    def client(self) -> RealtimeClient:
        """The client; started, as ``AUTOSTART`` says, without waiting for the connection.

        Raises:
            ImproperlyConfigured: ``REALTIME_CLIENT`` is wrong.
        """
        client: RealtimeClient | None = self._made.get("client")
        if client is None:
            client = self._once("client", self._make_client)
            if self.settings.metrics:
                self.collector.add(client)
        if self.settings.autostart != "off" and is_due(client.status, client.config):
            client.connect(wait=False)
        return client

    @property
    def store(self) -> DashboardStore:
        """The client's store; reading it never waits for the network."""
        return self.client.store

    @property
    def settings(self) -> Settings:
        """What ``REALTIME_CLIENT`` says.

        Raises:
            ImproperlyConfigured: It is wrong.
        """
        return self._once("settings", read_settings)

    @property
    def dashboard(self) -> Dashboard:
        """What the views serve: the streams of this process."""
        return self._once("dashboard", self._make_dashboard)

    @property
    def collector(self) -> RealtimeCollector:
        """What the metrics of this process's client are collected by, where ``METRICS`` is on; connects nothing."""
        return self._once("collector", make_collector)

    def on_request(self, **named: Any) -> None:
        """Start with the first request, where ``AUTOSTART`` says so; a receiver of ``request_started``."""
        # Wrong settings are told by the checks, and by whatever uses the feed; not by every page of the site.
        with contextlib.suppress(ImproperlyConfigured):
            if self.settings.autostart == "first_request":
                _ = self.client

    def on_setting(self, *, setting: str, **_: Any) -> None:
        """Begin anew when ``REALTIME_CLIENT`` is overridden or put back; a receiver of ``setting_changed``."""
        if setting != NAME:
            return
        made, self._made = self._made, {}
        if "dashboard" in made:
            made["dashboard"].end_streams()
        if "client" in made:
            made["client"].close()
            if "collector" in made:
                made["collector"].remove(made["client"])

    def _once(self, name: str, make: Callable[[], T]) -> T:
        found: T | None = self._made.get(name)
        return self._made.setdefault(name, make()) if found is None else found

    def _make_client(self) -> RealtimeClient:
        client = RealtimeClient(config=self.settings.client)
        for wire_type, cls in self.settings.events.items():
            client.register_event(wire_type, cls)
        signals.relay(client)
        return client

    def _make_dashboard(self) -> Dashboard:
        return Dashboard(lambda: self.client, max_streams=self.settings.max_streams)


realtime: Realtime = Realtime()
