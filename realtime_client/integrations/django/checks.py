"""System checks: every fault of ``REALTIME_CLIENT`` by its key; with ``--deploy`` also what is unwise in public."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings as project
from django.core.checks import CheckMessage, Error, Warning, register

from realtime_client import ClientConfig
from realtime_client.config import TokenFile
from realtime_client.hosts import is_this_machine
from realtime_client.integrations.django.conf import NAME, Kind, Settings, read
from realtime_client.redis_url import read_redis_url

__all__ = ["check_deployment", "check_settings"]

LABEL = "realtime_client"
HINTS = {
    Kind.MISSING: f'For example: {NAME} = {{"URL": "wss://logs.example.com/ws"}}',
    Kind.UNKNOWN: "The page on Django lists the options.",
    Kind.IMPORT: "The module is imported when the settings are first used, so it may be one of the project's apps.",
}


@register("realtime")
def check_settings(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Errors ``E001`` to ``E006``. Connects nothing."""
    settings, faults = read(getattr(project, NAME, None))
    messages: list[CheckMessage] = [
        Error(fault.message, hint=HINTS.get(fault.kind), id=f"{LABEL}.{fault.kind.value}") for fault in faults
    ]
    if settings is not None and settings.dashboard and settings.dashboard_test in ("staff", "authenticated"):
        messages += _without_users(str(settings.dashboard_test))
    return messages


def _without_users(test: str) -> Iterator[CheckMessage]:
    wanted = "django.contrib.auth.middleware.AuthenticationMiddleware"
    # Projects subclass the middleware, or wrap it; only where nothing of that name is there, no user can be.
    if not any("Authentication" in path for path in project.MIDDLEWARE):
        yield Error(
            f'{NAME}: DASHBOARD_TEST: "{test}" asks for the user of the request, and no middleware sets one.',
            hint=f"Add {wanted} to MIDDLEWARE, or give DASHBOARD_TEST a function of the request.",
            id=f"{LABEL}.E006",
        )


@register("realtime", deploy=True)
def check_deployment(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Warnings ``W001`` to ``W004``, with ``check --deploy``."""
    settings, _faults = read(getattr(project, NAME, None))
    return [] if settings is None else list(_doubts(settings))


def _doubts(settings: Settings) -> Iterator[CheckMessage]:
    client = settings.client
    for key, url in (("URL", client.url), ("POLLING_URL", client.polling_url)):
        if (host := _heard_on_the_way_to(url, client)) is not None:
            yield Warning(
                f"{NAME}: {key}: what goes to {host} goes in the clear, a token included.",
                hint="Use wss:// for the stream, https:// for polls, and rediss:// for Redis.",
                id=f"{LABEL}.W001",
            )
    if settings.dashboard and settings.dashboard_test == "anyone":
        yield Warning(
            f'{NAME}: DASHBOARD_TEST: "anyone" shows the logs to whoever finds the address.',
            hint='Use "staff", "authenticated", or a function of the request.',
            id=f"{LABEL}.W002",
        )
    if isinstance(client.token, str) and client.token not in os.environ.values():
        yield Warning(
            f"{NAME}: TOKEN: the token itself seems to be written in the settings.",
            hint="Read it from the environment, or use TOKEN_FILE.",
            id=f"{LABEL}.W003",
        )
    if isinstance(client.token, TokenFile):
        try:
            client.token()
        except (OSError, UnicodeDecodeError) as error:
            yield Warning(
                f"{NAME}: TOKEN_FILE: the file cannot be read here ({type(error).__name__}).",
                hint="It is read for every attempt to connect, by the processes that serve.",
                id=f"{LABEL}.W004",
            )


def _heard_on_the_way_to(url: str | None, client: ClientConfig) -> str | None:
    """The other machine to which something goes that others should not hear; ``None`` if there is none."""
    parts = urlsplit(url or "")
    scheme = parts.scheme.lower()
    hosts = [parts.hostname or ""]
    if scheme == "redis":  # within a site often without TLS, and then without credentials
        redis = read_redis_url(client.url)
        hosts = [host for host, _ in redis.nodes] if redis.password or client.token else []
    elif scheme not in ("ws", "http"):
        return None
    return next((host for host in hosts if not is_this_machine(host)), None)
