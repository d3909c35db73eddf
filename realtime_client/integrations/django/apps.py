"""The app, as ``INSTALLED_APPS`` names it."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.signals import request_started, setting_changed

__all__ = ["RealtimeConfig"]


class RealtimeConfig(AppConfig):
    """``"realtime_client.integrations.django"`` in ``INSTALLED_APPS``. Connects nothing; see `Realtime`."""

    name = "realtime_client.integrations.django"
    label = "realtime_client"
    verbose_name = "Realtime feed"

    def ready(self) -> None:
        """Register the checks and the receivers of Django's own signals. Runs in every management command."""
        from realtime_client.integrations.django import checks  # noqa: F401, PLC0415 - importing registers them
        from realtime_client.integrations.django.client import realtime  # noqa: PLC0415 - needs the settings

        request_started.connect(realtime.on_request, dispatch_uid="realtime_client")
        setting_changed.connect(realtime.on_setting, dispatch_uid="realtime_client")
