"""The feed in a Django project: settings, checks, signals, commands, and a live page for the browser.

::

    INSTALLED_APPS = [..., "realtime_client.integrations.django"]
    REALTIME_CLIENT = {"URL": "ws://localhost:8080/ws"}

``from realtime_client.integrations.django import realtime`` then gives ``realtime.store`` and ``realtime.client``: the
process's one client, which connects when it is first asked for. Importing this needs Django, and configures nothing.
"""

from __future__ import annotations

try:
    import django  # noqa: F401 - only to say what is missing
except ImportError as error:
    raise ImportError(
        "realtime_client.integrations.django needs Django: pip install 'realtime-client[django]'"
    ) from error

from realtime_client.integrations.django.client import Realtime, realtime

__all__ = ["Realtime", "realtime"]
