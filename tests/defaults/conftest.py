"""The fixtures of the client's tests."""

from __future__ import annotations

from tests.client.conftest import clock, listening, make, network, no_proxy_of_the_machine, nothing_is_left, server

__all__ = ["clock", "listening", "make", "network", "no_proxy_of_the_machine", "nothing_is_left", "server"]
