"""From a name to a handshake under one deadline, whatever the other side does."""

from __future__ import annotations

import socket
import threading
from typing import Any

import psutil
import pytest
from websockets.asyncio.server import ServerConnection

from realtime_client import ConnectError, ConnectionState, ConnectTimeout
from realtime_client.testing import FakeServer, accept, drip, repeat, send_raw, stall
from tests.client.conftest import Make
from tests.client.independent import websockets_server
from tests.client.recording import FIRST_FAILURE, PATIENCE, QUICK, Record, Stopwatch, own_threads

AT_ONCE = {**QUICK, **FIRST_FAILURE}
LOOK_UP = socket.getaddrinfo


def address(port: int, host: str = "127.0.0.1") -> Any:
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))


@pytest.fixture
def dead_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    assert isinstance(port, int)
    return port


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(stall(), id="stall"),
        pytest.param(drip(accept(), size=1, interval=0.05), id="drip"),
        pytest.param(repeat(None, send_raw(b"HTTP/1.1 101 Switching"), interval=0.1), id="a head without an end"),
    ],
)
def test_connect_timeout_is_one_deadline_over_the_handshake(step: Any, server: FakeServer, make: Make) -> None:
    server.then = [step]
    client = make(server.url, connect_timeout=0.4, **AT_ONCE)
    with Stopwatch() as took, pytest.raises(ConnectTimeout) as caught:
        client.connect(PATIENCE)
    assert 0.4 <= took.seconds < 2
    assert caught.value.timeout == 0.4
    assert caught.value.url == server.url


def test_connect_timeout_leads_to_the_next_attempt(server: FakeServer, make: Make) -> None:
    server.add_script(stall())
    client = make(server.url, connect_timeout=0.2, **QUICK)
    client.connect(PATIENCE)
    assert len(server.attempts) == 2


def test_a_drip_that_is_fast_enough_connects(server: FakeServer, make: Make) -> None:
    server.then = [drip(accept(), size=8, interval=0.005)]
    client = make(server.url)
    client.connect(PATIENCE)
    assert client.is_connected


def test_endless_headers_are_refused_before_they_fill_the_memory(server: FakeServer, make: Make) -> None:
    server.then = [
        send_raw(b"HTTP/1.1 101 Switching Protocols\r\n"),
        repeat(None, send_raw(b"X-More: " + b"y" * 1_000 + b"\r\n")),
    ]
    before = psutil.Process().memory_info().rss
    client = make(server.url, **AT_ONCE)
    with Stopwatch() as took, pytest.raises(ConnectError) as caught:
        client.connect(PATIENCE)
    assert took.seconds < 5
    assert not isinstance(caught.value, ConnectTimeout)
    assert psutil.Process().memory_info().rss - before < 50 * 1024 * 1024


def test_a_refused_connection_is_a_connect_error(make: Make, dead_port: int) -> None:
    client = make(f"ws://127.0.0.1:{dead_port}/ws", **AT_ONCE)
    with pytest.raises(ConnectError, match=f"127.0.0.1:{dead_port}") as caught:
        client.connect(PATIENCE)
    assert isinstance(caught.value, ConnectionError)
    assert caught.value.retryable is True


def test_a_name_that_does_not_exist_is_a_connect_error_and_tried_again(
    make: Make, monkeypatch: pytest.MonkeyPatch, server: FakeServer
) -> None:
    asked = Record()

    def look_up(host: str, *arguments: Any, **options: Any) -> Any:
        asked(host)
        if len(asked.items) < 3:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [address(server.port)]

    monkeypatch.setattr("socket.getaddrinfo", look_up)
    client, changes = make("ws://feed.invalid/ws", **QUICK), Record()
    client.on_status(changes)
    client.connect(PATIENCE)
    assert asked.items == ["feed.invalid"] * 3
    error = changes.items[1].current.last_error
    assert isinstance(error, ConnectError)
    assert "feed.invalid" in str(error)


def test_a_real_name_that_does_not_exist(make: Make) -> None:
    client = make("ws://host.invalid/ws", **AT_ONCE)
    with pytest.raises(ConnectError, match=r"host\.invalid"):
        client.connect(PATIENCE)


def test_a_host_name_that_is_none_is_fatal_or_tried_again_but_never_hangs(make: Make) -> None:
    client = make(f"ws://{'x' * 300}.invalid/ws", **AT_ONCE)
    with pytest.raises(ConnectError):
        client.connect(PATIENCE)


def test_a_name_look_up_that_hangs_is_bounded_by_connect_timeout(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    release, threads = threading.Event(), Record()

    def hangs(*arguments: Any, **options: Any) -> Any:
        threads(threading.current_thread())
        assert release.wait(PATIENCE)
        return []

    monkeypatch.setattr("socket.getaddrinfo", hangs)
    client = make("ws://slow.invalid/ws", connect_timeout=0.2, **AT_ONCE)
    with Stopwatch() as took, pytest.raises(ConnectTimeout):
        client.connect(PATIENCE)
    assert 0.2 <= took.seconds < 2
    client.close()
    release.set()
    for thread in threads.items:
        assert thread.name == "rtc-resolve-slow.invalid"
        thread.join(PATIENCE)


def test_every_address_of_a_name_is_tried(
    make: Make, monkeypatch: pytest.MonkeyPatch, server: FakeServer, dead_port: int
) -> None:
    monkeypatch.setattr(
        "socket.getaddrinfo", lambda *a, **k: [address(dead_port), address(dead_port), address(server.port)]
    )
    client = make("ws://feed.invalid/ws", **AT_ONCE)
    client.connect(PATIENCE)
    assert client.is_connected


def test_an_ipv6_address_in_the_url(make: Make) -> None:
    hosts = Record()

    async def serve_one(connection: ServerConnection) -> None:
        assert connection.request is not None
        hosts(connection.request.headers["Host"])
        async for _ in connection:
            pass

    with websockets_server(serve_one, host="::1") as port:
        client = make(f"ws://[::1]:{port}/ws")
        client.connect(PATIENCE)
        assert hosts.wait_for(1) == [f"[::1]:{port}"]
        client.close()
    assert client.status.state is ConnectionState.CLOSED


def test_descriptors_of_failed_attempts_are_given_back(make: Make, dead_port: int, server: FakeServer) -> None:
    from realtime_client.testing import refuse

    server.then = [refuse(503)]
    process = psutil.Process()
    for url in (f"ws://127.0.0.1:{dead_port}/ws", server.url):
        client, changes = (
            make(url, max_reconnect_attempts=None, reconnect_delay=0.001, reconnect_delay_max=0.001),
            Record(),
        )
        client.on_status(changes)
        client.connect(wait=False)
        changes.wait_until(lambda items: items and items[-1].current.reconnect_attempts >= 3)
        before = process.num_fds()
        changes.wait_until(lambda items: items[-1].current.reconnect_attempts >= 60)
        client.close()
        assert process.num_fds() <= before + 3  # an attempt under way on both sides


def test_a_token_callable_that_hangs_does_not_pile_threads_up(server: FakeServer, make: Make) -> None:
    leave, asked, changes = threading.Event(), Record(), Record()

    def token() -> str:
        asked(1)
        assert leave.wait(30)
        return "secret"

    client = make(server.url, token=token, max_reconnect_attempts=None, **{**QUICK, "connect_timeout": 0.1})
    client.on_status(changes)
    client.connect(wait=False)
    changes.wait_until(lambda items: items and items[-1].current.reconnect_attempts >= 5)
    assert len(asked.items) == 1
    assert len([name for name in own_threads(client) if name.endswith("-token")]) == 1
    leave.set()
    changes.wait_until(lambda items: items[-1].current.connected)
    assert server.attempts[0].request is not None
