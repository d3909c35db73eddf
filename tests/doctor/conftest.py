"""The doctor asks nobody on the way but those whom a test names."""

from __future__ import annotations

from tests.client.conftest import no_proxy_of_the_machine, nothing_is_left
from tests.relay.conftest import redis_server, stream, url

__all__ = ["no_proxy_of_the_machine", "nothing_is_left", "redis_server", "stream", "url"]
