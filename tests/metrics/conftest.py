"""Clients, and a client that knows its figures."""

from __future__ import annotations

from tests.client.conftest import make, no_proxy_of_the_machine, nothing_is_left, server
from tests.relay.conftest import redis_server, stream, url

__all__ = ["make", "no_proxy_of_the_machine", "nothing_is_left", "redis_server", "server", "stream", "url"]
