"""``rediss://``: the authority that is trusted, and the one that is not."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from realtime_client import ClientConfig, ConnectError
from realtime_client.transports.callables import Callables
from realtime_client.transports.redis_wire import RedisWire
from tests.client.conftest import Make
from tests.client.recording import FIRST_FAILURE, Stopwatch
from tests.relay.servers import PATIENCE, RedisServer, Sentinel
from tests.relay.test_reading import publish
from tests.relay.test_same_store import Writing
from tests.relay.tls_front import TlsFront

AUTHORITY = trustme.CA()


@pytest.fixture
def ca_file(tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def secure_url(redis_server: RedisServer, stream: str, nothing_is_left: None) -> Iterator[str]:
    with TlsFront(redis_server.port, AUTHORITY) as front:
        yield f"rediss://localhost:{front.port}/0?stream={stream}"


@pytest.mark.parametrize("how", ["ca_file", "ssl_context"])
def test_a_trusted_server(how: str, secure_url: str, url: str, ca_file: str, make: Make) -> None:
    relay = Writing(url)
    trust = {"ca_file": ca_file} if how == "ca_file" else {"ssl_context": ssl.create_default_context(cafile=ca_file)}
    client = make(secure_url, **trust)
    client.connect(PATIENCE)
    publish(relay, 0, 1000)
    client.store.wait_for(lambda now: now.stats.anomaly_count == 1000, PATIENCE)
    with Stopwatch() as took:
        client.close()
    assert took.seconds < 1.0
    relay.end()


def test_a_server_that_is_not_trusted(secure_url: str, make: Make) -> None:
    with pytest.raises(ConnectError, match="the certificate is not trusted") as caught:
        make(secure_url, **FIRST_FAILURE).connect(PATIENCE)
    assert not caught.value.retryable


def test_sentinels_are_asked_with_tls_too(ca_file: str) -> None:
    """Whoever says where the server is gets its password."""
    with RedisServer() as master, Sentinel(master) as sentinel, TlsFront(sentinel.port, AUTHORITY) as front:
        url = f"rediss://localhost:{front.port}/0?stream=s&sentinel=mymaster"
        wire = RedisWire(ClientConfig(url, ca_file=ca_file), Callables("test"))
        assert wire._find(None, time.monotonic() + PATIENCE) == ("127.0.0.1", master.port)
