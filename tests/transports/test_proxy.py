"""Through an HTTP proxy: which, when, with what credentials, and what its refusals mean."""

from __future__ import annotations

import socket

import pytest
import trustme

from realtime_client import ConnectError, ConnectionState, ConnectTimeout
from realtime_client.testing import FakeServer
from tests.client.conftest import Make
from tests.client.recording import FIRST_FAILURE, PATIENCE, QUICK, Record, Stopwatch, alert, own_threads
from tests.serving import serving
from tests.transports.proxying import ConnectProxy

NAMED = "ws://feed.invalid:8080/ws"
"""A name that only a proxy can reach."""


@pytest.fixture
def dead_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    assert isinstance(port, int)
    return port


def test_proxy_makes_a_tunnel_to_the_target(server: FakeServer, make: Make) -> None:
    with ConnectProxy(server.port) as proxy:
        client, events = make(NAMED, proxy=proxy.url()), Record()
        client.on("system_alert", events)
        client.connect(PATIENCE)
        server.send(alert("through the tunnel"))
        events.wait_for(1)
        client.close()
        (head,) = proxy.requests.items
    assert head.startswith("CONNECT feed.invalid:8080 HTTP/1.1\r\n")
    assert "Host: feed.invalid:8080\r\n" in head
    assert "Authorization" not in head
    assert server.attempts[0].request is not None
    assert server.attempts[0].request.headers["Host"] == "feed.invalid:8080"


def test_proxy_is_used_for_this_machine_too_when_it_is_configured(server: FakeServer, make: Make) -> None:
    with ConnectProxy(server.port) as proxy:
        client = make(server.url, proxy=proxy.url())
        client.connect(PATIENCE)
        client.close()
        assert len(proxy.requests.items) == 1


def test_proxy_carries_tls_to_the_target_itself(make: Make) -> None:
    authority = trustme.CA()
    with (
        authority.cert_pem.tempfile() as trust,
        FakeServer(ssl_context=serving(authority.issue_cert("feed.invalid"))) as server,
        ConnectProxy(server.port) as proxy,
    ):
        client = make("wss://feed.invalid/ws", proxy=proxy.url(), ca_file=trust, token="T0KEN")
        client.connect(PATIENCE)
        client.close()
        assert proxy.requests.items[0].startswith("CONNECT feed.invalid:443 ")
        assert "T0KEN" not in proxy.requests.items[0]


def test_proxy_credentials_are_sent_to_the_proxy_and_to_nobody_else(server: FakeServer, make: Make) -> None:
    with ConnectProxy(server.port, credentials="me:p@ss word") as proxy:
        client = make(NAMED, proxy=proxy.url("me:p%40ss%20word"), token="T0KEN")
        client.connect(PATIENCE)
        client.close()
        assert "T0KEN" not in proxy.requests.items[0]
    request = server.attempts[0].request
    assert request is not None
    assert request.headers.get("Proxy-Authorization") is None
    assert request.headers["Authorization"] == "Bearer T0KEN"


@pytest.mark.parametrize("given", ["", "me:wrong"])
def test_proxy_that_refuses_the_credentials_is_fatal(given: str, server: FakeServer, make: Make) -> None:
    with ConnectProxy(server.port, credentials="me:right") as proxy:
        client = make(NAMED, proxy=proxy.url(given), reconnect_delay=16)
        with Stopwatch() as took, pytest.raises(ConnectError, match="407") as caught:
            client.connect(PATIENCE)
        assert took.seconds < 3
        assert "wrong" not in str(caught.value)
        assert client.status.state is ConnectionState.FAILED
        client.close()
    assert server.attempts == ()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 502 Bad Gateway\r\n\r\n", id="502"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\nbytes of its own", id="bytes of its own"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n\r\n", id="no HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000, id="endless head"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_proxy_trouble_is_tried_again(answer: bytes, server: FakeServer, make: Make) -> None:
    with ConnectProxy(server.port, answer=answer) as proxy:
        client = make(NAMED, proxy=proxy.url(), **{**QUICK, **FIRST_FAILURE, "max_reconnect_attempts": 2})
        with pytest.raises(ConnectError) as caught:
            client.connect(PATIENCE)
        assert caught.value.retryable is True
        assert len(proxy.requests.items) == 3
        client.close()


def test_proxy_that_stalls_is_bounded_by_connect_timeout(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        proxy = f"http://127.0.0.1:{mute.getsockname()[1]}"
        client = make(NAMED, proxy=proxy, connect_timeout=0.3, **{**QUICK, **FIRST_FAILURE})
        with Stopwatch() as took, pytest.raises(ConnectTimeout):
            client.connect(PATIENCE)
        assert 0.3 <= took.seconds < 2


def test_proxy_that_is_not_there_is_tried_again(make: Make, dead_port: int) -> None:
    client = make(NAMED, proxy=f"http://127.0.0.1:{dead_port}", **FIRST_FAILURE)
    with pytest.raises(ConnectError) as caught:
        client.connect(PATIENCE)
    assert caught.value.retryable is True


def test_close_while_the_proxy_stalls(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        client = make(NAMED, proxy=f"http://127.0.0.1:{mute.getsockname()[1]}", connect_timeout=60)
        client.connect(wait=False)
        peer, _ = mute.accept()
        with peer:
            peer.recv(1)
            with Stopwatch() as took:
                client.close()
            assert took.seconds < 1
        assert own_threads() == []


# The environment


@pytest.mark.parametrize(
    ("url", "variable"),
    [
        ("ws://feed.invalid/ws", "http_proxy"),
        ("wss://feed.invalid/ws", "https_proxy"),
        ("wss://feed.invalid/ws", "HTTPS_PROXY"),
        ("ws://feed.invalid/ws", "all_proxy"),
        ("wss://feed.invalid/ws", "ALL_PROXY"),
    ],
)
def test_proxy_of_the_environment(
    url: str, variable: str, server: FakeServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ConnectProxy(server.port, answer=b"HTTP/1.1 502 Seen\r\n\r\n") as proxy:
        monkeypatch.setenv(variable, proxy.url())
        client = make(url, **FIRST_FAILURE)
        with pytest.raises(ConnectError, match="502"):
            client.connect(PATIENCE)
        port = 443 if url.startswith("wss") else 80
        assert proxy.requests.items[0].startswith(f"CONNECT feed.invalid:{port} ")
        client.close()


def test_proxy_of_the_environment_for_the_other_scheme_is_not_used(
    server: FakeServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ConnectProxy(server.port) as right, ConnectProxy(server.port, answer=b"HTTP/1.1 502 Wrong\r\n\r\n") as wrong:
        monkeypatch.setenv("http_proxy", right.url())
        monkeypatch.setenv("https_proxy", wrong.url())
        client = make(NAMED)
        client.connect(PATIENCE)
        assert (len(right.requests.items), len(wrong.requests.items)) == (1, 0)
        client.close()


@pytest.mark.parametrize("no_proxy", ["feed.invalid", ".invalid", "*", "other.example, feed.invalid:8080"])
def test_no_proxy_of_the_environment_means_direct(
    no_proxy: str, server: FakeServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Record()

    def look_up(host: str, *arguments: object, **options: object) -> list[object]:
        asked(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]

    with ConnectProxy(server.port) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url())
        monkeypatch.setenv("no_proxy", no_proxy)
        monkeypatch.setattr("socket.getaddrinfo", look_up)
        client = make(NAMED)
        client.connect(PATIENCE)
        assert asked.items == ["feed.invalid"]
        assert proxy.requests.items == []
        client.close()
        monkeypatch.undo()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_proxy_of_the_environment_is_not_used_for_this_machine(
    host: str, server: FakeServer, make: Make, dead_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{dead_port}")
    monkeypatch.setenv("all_proxy", f"http://127.0.0.1:{dead_port}")
    client = make(server.url.replace("127.0.0.1", host))
    client.connect(PATIENCE)
    assert client.is_connected


def test_proxy_direct_ignores_the_environment(server: FakeServer, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    with ConnectProxy(server.port) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url())
        client = make(NAMED, proxy="direct", **FIRST_FAILURE)
        with pytest.raises(ConnectError):
            client.connect(PATIENCE)
        assert proxy.requests.items == []
        client.close()


def test_proxy_of_an_unknown_kind_in_the_environment_is_fatal_and_named(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "ftp://me:PR0XY-SECRET@proxy.invalid:21")
    client = make(NAMED)
    with pytest.raises(ConnectError, match="http_proxy") as caught:
        client.connect(PATIENCE)
    assert "PR0XY-SECRET" not in str(caught.value)
    assert client.status.state is ConnectionState.FAILED
