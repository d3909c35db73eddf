from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import CloseCode
from websockets.sync.client import ClientConnection, connect

from realtime_client.demo import FeedServer
from realtime_client.errors import ConfigError
from tests.demo.conftest import open_descriptors

TIMEOUT = 5.0


@pytest.fixture
def server() -> Iterator[FeedServer]:
    with FeedServer(port=0, stats_interval=0.05) as server:
        yield server


@contextmanager
def join(server: FeedServer, **options: Any) -> Iterator[ClientConnection]:
    with connect(server.url, open_timeout=TIMEOUT, close_timeout=TIMEOUT, **options) as client:
        yield client


def receive(client: ClientConnection, count: int) -> list[dict[str, Any]]:
    return [json.loads(client.recv(timeout=TIMEOUT)) for _ in range(count)]


def types(messages: list[dict[str, Any]]) -> list[str]:
    return [message["type"] for message in messages]


def anomaly(number: int, **fields: Any) -> dict[str, Any]:
    log = {"id": f"log-{number}", "message": f"line {number}", "isAnomaly": True, **fields}
    return {"type": "new_anomaly", "data": {"log": log}, "timestamp": f"2026-01-01T00:00:{number % 60:02}Z"}


def alert(text: str) -> dict[str, Any]:
    return {"type": "system_alert", "data": {"message": text, "severity": "info"}}


def stats(**figures: Any) -> dict[str, Any]:
    return {"type": "stats_update", "data": {"stats": figures}}


def close_of(client: ClientConnection) -> tuple[int, str]:
    """The close frame that the server sent; what comes before it is read and dropped."""
    with suppress(ConnectionClosed):
        while True:
            client.recv(timeout=TIMEOUT)
    assert client.protocol.close_rcvd is not None
    return client.protocol.close_rcvd.code, client.protocol.close_rcvd.reason


UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def raw(server: FeedServer, data: bytes, *, half_close: bool = False) -> bytes:
    """What the server answers to these bytes, until it closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT) as sock:
        sock.sendall(data)
        if half_close:
            sock.shutdown(socket.SHUT_WR)
        return read_all(sock)


def test_a_client_is_greeted_with_the_figures_and_the_last_anomalies(server: FeedServer) -> None:
    server.publish(*map(anomaly, range(3)), stats(totalLogs=9, anomalyCount=3))
    with join(server) as client:
        messages = receive(client, 6)
    assert types(messages) == [
        "connection_established",
        "stats_update",
        "new_anomaly",
        "new_anomaly",
        "new_anomaly",
        "stats_update",
    ]
    assert messages[1]["data"] == {"stats": {"totalLogs": 9, "anomalyCount": 3}}
    assert [message["data"]["log"]["id"] for message in messages[2:5]] == ["log-0", "log-1", "log-2"]
    assert messages[1] == messages[5]
    assert all(message["timestamp"].endswith("Z") for message in messages)


def test_the_history_is_bounded_and_an_anomaly_seen_again_is_kept_once() -> None:
    with FeedServer(port=0, history=2) as server:
        server.publish(*map(anomaly, (1, 2, 3, 2)))
        with join(server) as client:
            messages = receive(client, 5)
    assert [m["data"]["log"]["id"] for m in messages if m["type"] == "new_anomaly"] == ["log-3", "log-2"]


def test_messages_reach_every_client_in_order(server: FeedServer) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(join(server)) for _ in range(3)]
        for client in clients:
            receive(client, 2)
        assert server.clients == 3
        sent = [anomaly(1), alert("look"), {"type": "deploy_finished", "data": [1]}, anomaly(2)]
        for message in sent:
            server.publish(message)
        for client in clients:
            messages = receive(client, 4)
            assert types(messages) == ["new_anomaly", "system_alert", "deploy_finished", "new_anomaly"]
            assert messages[1]["data"] == {"message": "look", "severity": "info"}
            assert messages[0] == anomaly(1)


def test_figures_are_merged_and_told_when_they_have_changed(server: FeedServer) -> None:
    server.publish(stats(totalLogs=1, anomalyCount=0))
    with join(server) as client:
        receive(client, 2)
        server.publish(stats(totalLogs=2))
        server.publish(stats(totalLogs=3))
        while (message := receive(client, 1)[0])["data"]["stats"]["totalLogs"] != 3:
            assert message["type"] == "stats_update"
        assert message["data"]["stats"] == {"totalLogs": 3, "anomalyCount": 0}
        server.publish(stats(totalLogs=3))
        with pytest.raises(TimeoutError):
            client.recv(timeout=0.3)


def test_a_ping_message_is_answered_with_a_pong_message_and_other_messages_are_ignored(server: FeedServer) -> None:
    with join(server) as client:
        receive(client, 2)
        for text in ("no json", "[1]", '{"type": "subscribe"}', "[" * 5000, '{"type": ["ping"]}'):
            client.send(text)
        client.send(b'{"type": "ping"}')
        client.send('{"type": "ping"}')
        assert receive(client, 1) == [{"type": "pong"}]
        with pytest.raises(TimeoutError):
            client.recv(timeout=0.1)


def test_a_ping_frame_is_answered(server: FeedServer) -> None:
    with join(server) as client:
        assert client.ping("payload").wait(TIMEOUT)


def test_a_close_is_answered_with_its_code(server: FeedServer) -> None:
    with join(server) as client:
        client.close(code=CloseCode.GOING_AWAY, reason="done")
        assert client.protocol.close_rcvd is not None
        assert client.protocol.close_rcvd.code == 1001


def test_a_close_is_answered_also_if_nothing_follows_it(server: FeedServer) -> None:
    server.publish(*(anomaly(number, rootCauses=["x" * 100_000]) for number in range(100)))
    masked_close_1000 = b"\x88\x82\x00\x00\x00\x00\x03\xe8"
    assert raw(server, UPGRADE + masked_close_1000, half_close=True).endswith(b"\x88\x02\x03\xe8")


def test_a_message_that_is_too_large_is_refused(server: FeedServer) -> None:
    with join(server) as client:
        client.send("x" * 70_000)
        assert close_of(client)[0] == 1009


def test_text_that_is_not_utf8_is_refused(server: FeedServer) -> None:
    with join(server) as client:
        client.send(b"\xff", text=True)
        assert close_of(client)[0] == 1007


def test_an_unmasked_frame_is_refused_and_the_greeting_was_complete(server: FeedServer) -> None:
    received = raw(server, UPGRADE + b"\x81\x02hi")
    assert received.startswith(b"HTTP/1.1 101 ")
    assert b"connection_established" in received
    assert b"\x03\xeaunmasked frame" in received


@pytest.mark.parametrize(
    "authorization", [None, "Bearer wrong", "Basic s3cret", "Bearer", "Bearer s3cret2", "Bearer \xe9"]
)
def test_without_the_token_the_handshake_is_refused(authorization: str | None) -> None:
    with FeedServer(port=0, token="s3cret") as server:
        headers = {} if authorization is None else {"Authorization": authorization}
        with pytest.raises(InvalidStatus) as refused, join(server, additional_headers=headers):
            pass
        assert refused.value.response.status_code == 401
        assert refused.value.response.headers["WWW-Authenticate"] == 'Bearer realm="feed"'
        with join(server, additional_headers={"Authorization": "bearer s3cret"}) as client:
            assert types(receive(client, 1)) == ["connection_established"]


def test_the_token_is_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with FeedServer(port=0, token="s3cret") as server:
        with pytest.raises(InvalidStatus), join(server, additional_headers={"Authorization": "Bearer wrong"}):
            pass
        shown = [repr(server), server.url, server.poll_url, repr(server._terms)]
    assert "s3cret" not in "".join(shown)
    assert "s3cret" not in "".join(r.getMessage() for r in caplog.records if r.name.startswith("realtime_client"))


@pytest.mark.parametrize(
    ("origin", "served"),
    [
        ("http://127.0.0.1:3000", True),
        ("http://localhost", True),
        ("https://evil.example", False),
        ("http://127.0.0.1.evil.example", False),
        ("null", False),
        ("http://[", False),
    ],
)
def test_pages_of_other_sites_are_refused(server: FeedServer, origin: str, served: bool) -> None:
    if served:
        with join(server, origin=origin) as client:
            receive(client, 1)
        return
    with pytest.raises(InvalidStatus) as refused, join(server, origin=origin):
        pass
    assert refused.value.response.status_code == 403


def test_too_many_clients_are_told_to_come_later() -> None:
    with FeedServer(port=0, max_clients=1) as server, join(server) as client:
        receive(client, 1)
        with pytest.raises(InvalidStatus) as refused, join(server):
            pass
        assert refused.value.response.status_code == 503
        assert refused.value.response.headers["Retry-After"] == "5"


def test_connections_that_send_nothing_are_bounded_too() -> None:
    with FeedServer(port=0, max_clients=1) as server, ExitStack() as stack:
        address = ("127.0.0.1", server.port)
        for _ in range(2):
            stack.enter_context(socket.create_connection(address, timeout=TIMEOUT))
        third = stack.enter_context(socket.create_connection(address, timeout=TIMEOUT))
        assert third.recv(1) == b""


def test_a_slow_handshake_is_cut() -> None:
    with FeedServer(port=0, handshake_timeout=0.2) as server:
        assert raw(server, b"GET /ws HTTP/1.1\r\n") == b""


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n", b"426"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"404"),
        (b"POST /ws HTTP/1.1\r\nHost: x\r\n\r\n", b"405"),
        (b"GET /ws HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", b"431"),
        (b"x" * 20_000, b"431"),
    ],
)
def test_requests_that_are_not_served_are_answered_with_a_reason(
    server: FeedServer, request_head: bytes, status: bytes
) -> None:
    answer = raw(server, request_head)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert answer.partition(b"\r\n\r\n")[2].strip()


def test_an_answer_arrives_although_the_request_was_not_read_to_its_end(server: FeedServer) -> None:
    assert raw(server, b"POST /poll HTTP/1.1\r\nHost: x\r\n\r\n" + b"x" * 2_000_000).startswith(b"HTTP/1.1 405")


def unread(server: FeedServer) -> socket.socket:
    """A client that reads nothing after the first bytes of the answer."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(TIMEOUT)
    sock.connect(("127.0.0.1", server.port))
    sock.sendall(UPGRADE)
    assert sock.recv(12) == b"HTTP/1.1 101"
    return sock


def read_all(sock: socket.socket) -> bytes:
    received = bytearray()
    while more := sock.recv(1 << 20):
        received += more
    return bytes(received)


def test_who_publishes_too_fast_may_wait_for_slow_clients() -> None:
    with FeedServer(port=0, max_pending_messages=100) as server, join(server) as client:
        receive(client, 2)
        waited = threading.Event()

        def publish() -> None:
            for number in range(20_000):
                server.wait_for_room(TIMEOUT)
                server.publish(alert(f"{number} {'x' * 200}"))
            waited.set()

        publisher = threading.Thread(target=publish)
        publisher.start()
        assert not waited.wait(0.2)  # nobody reads yet
        assert [message["data"]["message"].split()[0] for message in receive(client, 20_000)] == [
            str(number) for number in range(20_000)
        ]
        publisher.join(TIMEOUT)
        assert waited.is_set()


def test_a_client_that_reads_nothing_is_not_waited_for() -> None:
    with FeedServer(port=0, max_pending_messages=100) as server, unread(server) as stuck, join(server) as reader:
        receive(reader, 2)
        big = "x" * 100_000
        for number in range(400):
            server.wait_for_room(0.05)
            server.publish(alert(f"{number} {big}"))
            assert receive(reader, 1)[0]["data"]["message"].startswith(f"{number} ")
        assert read_all(stuck).endswith(b"\x03\xf5the client reads too slowly")


def test_a_slow_client_is_closed_with_1013_and_delays_nobody() -> None:
    with FeedServer(port=0, max_pending_bytes=100_000) as server, unread(server) as slow, join(server) as fast:
        receive(fast, 2)
        big = "x" * 50_000
        for number in range(400):
            server.publish({"type": "big", "data": [number, big]})
            assert receive(fast, 1)[0]["data"][0] == number
        received = read_all(slow)
        assert received.endswith(b"\x03\xf5the client reads too slowly")
        slow.close()
        wait_until(lambda: server.clients == 1)


def test_a_client_that_never_reads_again_is_cut_off() -> None:
    with FeedServer(port=0, max_pending_messages=10) as server, unread(server):
        big = "x" * 500_000
        for number in range(60):
            server.publish({"type": "big", "data": [number, big]})
        wait_until(lambda: server.clients == 0)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something that has no event of its own, in small steps."""
    pause = threading.Event()
    for _ in range(int(TIMEOUT / 0.02)):
        if condition():
            return
        pause.wait(0.02)
    pytest.fail("it did not happen in time")


def test_a_client_that_vanishes_is_forgotten(server: FeedServer) -> None:
    sock = unread(server)
    assert server.clients == 1
    sock.close()
    wait_until(lambda: server.clients == 0)


def test_closing_says_goodbye_with_1001_and_leaves_nothing() -> None:
    before = open_descriptors()
    server = FeedServer(port=0)
    server.start()
    with join(server) as client, socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT) as quiet:
        server.close()
        assert close_of(client) == (1001, "the server is closing")
        assert quiet.recv(1) == b""
    server.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT)
    assert open_descriptors() == before


def test_closing_is_bounded_by_a_client_that_does_not_read() -> None:
    server = FeedServer(port=0)
    server.start()
    with unread(server):
        server.publish({"type": "big", "data": "x" * 10_000_000})
        closing = threading.Thread(target=server.close)
        closing.start()
        closing.join(TIMEOUT)
        assert not closing.is_alive()


def test_a_server_is_started_once_and_closing_an_unstarted_one_does_nothing() -> None:
    server = FeedServer(port=0)
    server.close()
    with pytest.raises(RuntimeError):
        server.start()
    with FeedServer(port=0) as running, pytest.raises(RuntimeError):
        running.start()


def test_a_taken_port_is_an_error_and_leaves_nothing(server: FeedServer) -> None:
    before = open_descriptors()
    other = FeedServer(port=server.port)
    with pytest.raises(OSError, match="in use"):
        other.start()
    other.close()
    assert open_descriptors() == before


def test_addresses() -> None:
    assert FeedServer().url == "ws://127.0.0.1:8080/ws"
    assert FeedServer(path="/feed", port=1).poll_url == "http://127.0.0.1:1/poll"
    assert FeedServer("::1", 1).messages_url == "http://[::1]:1/messages"
    assert FeedServer("0.0.0.0", 1).url == "ws://127.0.0.1:1/ws"
    assert FeedServer("::", 1).url == "ws://[::1]:1/ws"


def test_every_wrong_argument_is_named() -> None:
    with pytest.raises(ConfigError) as wrong:
        FeedServer(port=70_000, path="ws", token="a b", max_clients=0, stats_interval=float("nan"))
    assert [problem.split()[0] for problem in wrong.value.problems] == [
        "port",
        "path",
        "token",
        "max_clients",
        "stats_interval",
    ]
    assert "a b" not in str(wrong.value)


def test_listening_to_everybody_without_a_token_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with FeedServer("0.0.0.0", 0):
        assert "without a token" in caplog.text
    caplog.clear()
    with FeedServer("localhost", 0):
        pass
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ({}, "type"),
        ({"type": 5}, "type"),
        ({"type": ""}, "type"),
        ({"type": "new_anomaly"}, "data.log.id"),
        ({"type": "new_anomaly", "data": {"log": {"id": "a", "message": 5}}}, "data.log.message"),
        ({"type": "stats_update", "data": {"stats": []}}, "data.stats"),
        ({"type": "stats_update", "data": None}, "data.stats"),
        ({"type": "system_alert", "data": {"severity": "info"}}, "data.message"),
        ({"type": "system_alert", "data": {"message": "x"}, "timestamp": 5}, "timestamp"),
        ({"type": "x", "data": float("nan")}, "JSON"),
        ({"type": "x", "data": "\ud800"}, "surrogates"),
    ],
)
def test_a_malformed_message_is_refused_and_none_of_its_batch_is_taken(message: dict[str, Any], named: str) -> None:
    server = FeedServer(port=0)
    with pytest.raises(ValueError, match=named):
        server.publish(alert("before"), message)
    assert server._hub.snapshot().alerts == ()


def test_what_json_cannot_carry_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="bytes"):
        FeedServer(port=0).publish({"type": "x", "data": b"x"})
