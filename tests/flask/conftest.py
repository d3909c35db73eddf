"""Applications with a feed in this process, closed in any case."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from realtime_client.integrations.flask import Realtime
from realtime_client.testing import FakeServer
from tests.web.pages import PATIENCE, own_threads


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A feed that accepts everybody and says nothing by itself."""
    with FakeServer() as server:
        yield server


@pytest.fixture
def make(server: FakeServer) -> Iterator[Callable[..., Flask]]:
    """Make an application with the extension, which is closed in the end."""
    made: list[tuple[Realtime, Flask]] = []

    def make(realtime: Realtime | None = None, *, guard: Any = lambda: True, **keys: Any) -> Flask:
        app = Flask("tests.flask")
        app.config.update({"TESTING": True, "REALTIME_URL": server.url, "SECRET_KEY": "x", **keys})
        realtime = realtime or Realtime(guard=guard)
        realtime.init_app(app)
        made.append((realtime, app))
        return app

    yield make
    for realtime, app in made:
        realtime.close(app)
    deadline = time.monotonic() + PATIENCE
    while own_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert own_threads() == []
