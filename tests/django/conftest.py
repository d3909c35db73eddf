"""A Django project in this process, and a feed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import django
import pytest
from django.test import override_settings

from realtime_client.testing import FakeServer
from tests.django.site import Database

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.django.settings")
django.setup()


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A feed that accepts everybody and says nothing by itself."""
    with FakeServer() as server:
        yield server


@pytest.fixture
def configure() -> Iterator[Callable[..., None]]:
    """Set ``REALTIME_CLIENT`` for the rest of the test."""
    overridden: list[override_settings] = []

    def set_to(value: Any) -> None:
        override = override_settings(REALTIME_CLIENT=value)
        override.enable()
        overridden.append(override)

    yield set_to
    for override in reversed(overridden):
        override.disable()


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Database:
    return Database(tmp_path_factory.mktemp("database"))


@pytest.fixture
def env(server: FakeServer, database: Database, tmp_path: Path) -> dict[str, str]:
    """The site's environment: a feed, and a database of its own."""
    return {
        "REALTIME_URL": server.url,
        "DJANGO_DATABASE": str(database.copy(tmp_path)),
        "DJANGO_STATIC_ROOT": str(tmp_path / "static"),
    }
