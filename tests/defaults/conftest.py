"""The fixtures of the client's tests."""

from __future__ import annotations

import time

import pytest

from realtime_client.testing import FakeClock
from tests.client.conftest import listening, make, network, no_proxy_of_the_machine, nothing_is_left, server

__all__ = ["clock", "listening", "make", "network", "no_proxy_of_the_machine", "nothing_is_left", "server"]


@pytest.fixture
def clock() -> FakeClock:
    """A fake clock that real sockets bear: it is ahead of the real one, so that no dial's deadline is over already."""
    fake = FakeClock()
    fake.advance(time.monotonic())
    return fake
