"""A Django project in this process, and a feed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import django
import pytest
from django.test import override_settings

from realtime_client.testing import FakeServer

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
