"""The same fixtures as for the client's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from realtime_client.testing import FakeServer
from tests.client.conftest import make, no_proxy_of_the_machine, nothing_is_left, server

__all__ = ["make", "no_proxy_of_the_machine", "nothing_is_left", "other_server", "server"]


@pytest.fixture
def other_server(nothing_is_left: None) -> Iterator[FakeServer]:
    with FakeServer() as fake:
        yield fake
