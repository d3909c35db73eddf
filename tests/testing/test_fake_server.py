"""The fake server against an independent client (websockets) and against raw sockets."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket
import ssl
import struct
import threading
import time
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.error import HTTPError
from urllib.request import urlopen

import psutil
import pytest
import trustme
import websocket
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, NegotiationError
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from realtime_client._core.frames import CLOSE, TEXT, FrameReader, Item, close_payload, encode_frame
from realtime_client._core.handshake import Request, accept_key
from realtime_client.errors import ProtocolError
from realtime_client.events import SystemAlert
from realtime_client.testing import server
from realtime_client.testing.connection import FakeConnection
from realtime_client.testing.conversation import Conversation
from realtime_client.testing.script import (
    Step,
    accept,
    close,
    disconnect,
    drip,
    garbage,
    go_silent,
    redirect,
    refuse,
    repeat,
    reset,
    send,
    send_raw,
    stall,
    wait,
    wait_for_message,
)
from realtime_client.testing.server import Ending, FakeServer
from tests.serving import serving

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = (
    "GET /ws?since=1 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nAuthorization: Bearer secret\r\n\r\n"
).encode()
GREETING = '{"type":"connection_established"}'


@contextlib.contextmanager
def raw(fake: FakeServer, request: bytes = HANDSHAKE) -> Iterator[socket.socket]:
    """A TCP connection on which the request was sent."""
    with socket.create_connection(("127.0.0.1", fake.port), timeout=5) as sock:
        sock.sendall(request)
        yield sock


def read_head(sock: socket.socket) -> bytes:
    """The answer's head, and not a byte more."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        assert byte, f"the answer ended after {head!r}"
        head += byte
    return head


def read_all(sock: socket.socket) -> bytes:
    """Everything up to the FIN."""
    parts = []
    while part := sock.recv(65536):
        parts.append(part)
    return b"".join(parts)


def masked(opcode: int, payload: bytes) -> bytes:
    """A frame as a client sends it."""
    frame = websocket.ABNF.create_frame(payload, opcode).format()
    assert isinstance(frame, bytes)
    return frame


def dial(fake: FakeServer, *, subprotocols: list[Subprotocol] | None = None) -> ClientConnection:
    """The independent client, without extensions of its own."""
    return connect(fake.url, compression=None, proxy=None, subprotocols=subprotocols, legacy=True)


def says_nothing(sock: socket.socket, seconds: float = 0.2) -> bool:
    """Whether nothing comes for a time."""
    sock.settimeout(seconds)
    try:
        return sock.recv(1) == b"never"
    except TimeoutError:
        return True
    finally:
        sock.settimeout(5)


# Without a script.


def test_without_a_script_it_is_a_server_that_works() -> None:
    with FakeServer() as fake, dial(fake) as client:
        assert client.recv(timeout=5) == GREETING
        client.send('{"type": "ping", "data": 1}')
        assert client.recv(timeout=5) == '{"type":"pong"}'
        assert client.ping(b"payload").wait(5)
        client.close(1001, "bye")
        connection = fake.wait_for_connection()
        assert fake.wait_for_closed(connection) is Ending.CLOSED
        assert (connection.close_code, connection.close_reason) == (1001, "bye")
        assert client.close_code == 1001
        assert not connection.is_open


def test_send_reaches_every_open_connection() -> None:
    alert = SystemAlert("full", "warning", timestamp=datetime(2024, 1, 2, tzinfo=UTC))
    with FakeServer() as fake:
        assert fake.send("to nobody") == 0
        with dial(fake) as one, dial(fake) as two:
            for client in (one, two):
                assert client.recv(timeout=5) == GREETING
            for message in ({"type": "é", "at": datetime(2024, 1, 1, tzinfo=UTC)}, "text", b"\x00binary", alert):
                assert fake.send(message) == 2
            for client in (one, two):
                assert client.recv(timeout=5) == '{"type":"é","at":"2024-01-01T00:00:00Z"}'
                assert client.recv(timeout=5) == "text"
                assert client.recv(timeout=5) == b"\x00binary"
                assert json.loads(client.recv(timeout=5)) == {
                    "type": "system_alert",
                    "data": {"message": "full", "severity": "warning"},
                    "timestamp": "2024-01-02T00:00:00Z",
                }
            second = fake.wait_for_connection(2)
            assert second.send("only to the second")
            assert two.recv(timeout=5) == "only to the second"


def test_what_cannot_be_sent_is_refused_at_once() -> None:
    with FakeServer() as fake:
        with pytest.raises(TypeError, match="message must be an event, a mapping, str or bytes, not int"):
            fake.send(5)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="not JSON serializable"):
            send({"type": object()})


def test_greeting_comes_before_what_is_sent_at_once() -> None:
    # As soon as the client has the 101 the test may send; the greeting must not come second.
    with FakeServer() as fake:
        for number in range(1, 21):
            with raw(fake) as sock:
                fake.wait_for_connection(number).send("after")
                head = read_head(sock)
                assert b"101 Switching Protocols" in head
                expected = encode_frame(TEXT, GREETING.encode()) + encode_frame(TEXT, b"after")
                got = b""
                while len(got) < len(expected):
                    got += sock.recv(100)
                assert got == expected


def test_records_tell_what_the_client_asked_and_sent() -> None:
    before = time.monotonic()
    with FakeServer() as fake, raw(fake) as sock:
        read_head(sock)
        for opcode, payload in ((0x1, b'{"a": 1}'), (0x1, b"no json"), (0x2, b"\xff"), (0x9, b"hi"), (0xA, b"ho")):
            sock.sendall(masked(opcode, payload))
        sock.sendall(masked(CLOSE, close_payload(4001, "enough")))
        read_all(sock)
        sock.close()
        connection = fake.wait_for_connection()
        assert connection.wait_closed() is Ending.CLOSED
        request = connection.request
        assert request is not None
        assert (request.method, request.target, request.path) == ("GET", "/ws?since=1", "/ws")
        assert request.headers.get("authorization") == "Bearer secret"
        assert connection.messages == fake.messages == ({"a": 1}, "no json", b"\xff")
        kinds = [(frame.kind, frame.payload, frame.code) for frame in connection.frames]
        assert kinds == [
            ("text", '{"a": 1}', None),
            ("text", "no json", None),
            ("binary", b"\xff", None),
            ("ping", b"hi", None),
            ("pong", b"ho", None),
            ("close", "enough", 4001),
        ]
        times = [frame.at for frame in connection.frames]
        assert before <= times[0]
        assert times == sorted(times)
        assert connection.number == 1
        assert "closed" in repr(connection)


def test_a_fragmented_message_is_one_record() -> None:
    with FakeServer() as fake, dial(fake) as client:
        client.send(["one ", "two"])
        assert fake.wait_for_message("one two") == "one two"


# Waiting.


def test_wait_for_message_by_mapping_value_and_callable() -> None:
    with FakeServer() as fake, dial(fake) as client:
        client.send('{"type": "subscribe", "data": {"topic": "a", "since": null}}')
        client.send('{"type": "subscribe", "data": {"topic": "b"}}')
        client.send("null")
        client.send("plain")
        assert fake.wait_for_message({"type": "subscribe"}, n=2)["data"] == {"topic": "b"}
        assert fake.wait_for_message({"data": {"since": None}})["data"]["topic"] == "a"
        assert fake.wait_for_message("plain") == "plain"
        assert fake.wait_for_message(lambda message: message is None) is None
        connection = fake.wait_for_connection()
        assert connection.wait_for_message({"data": {"topic": "b"}})["type"] == "subscribe"
        with pytest.raises(TimeoutError):
            connection.wait_for_message({"data": {"topic": "c"}}, timeout=0.01)


def test_a_wait_ends_when_the_message_comes() -> None:
    with FakeServer() as fake, dial(fake) as client:
        fake.wait_for_connection()
        client_thread = threading.Timer(0.1, client.send, ["late"])
        client_thread.start()
        assert fake.wait_for_message("late", timeout=10) == "late"
        client_thread.join(5)


def test_a_timeout_tells_what_was_seen() -> None:
    with FakeServer() as fake, dial(fake) as client:
        client.send("hello")
        fake.wait_for_message("hello")
        with pytest.raises(TimeoutError, match=r"connection 2: not within 0.01 s; seen: 1 attempts, 1 connections"):
            fake.wait_for_connection(2, timeout=0.01)
        with pytest.raises(TimeoutError, match="the last: 'hello'"):
            fake.wait_for_message({"type": "ping"}, timeout=0.01)
        with pytest.raises(TimeoutError, match="attempt 2"):
            fake.wait_for_attempts(2, timeout=0.01)
        with pytest.raises(TimeoutError, match="poll 1"):
            fake.wait_for_polls(1, timeout=0.01)
        with pytest.raises(TimeoutError, match="pong frame 1"):
            fake.wait_for_frame("pong", timeout=0.01)
        with pytest.raises(TimeoutError, match="end of connection 1"):
            fake.wait_for_closed(fake.connections[0], timeout=0.01)
        with pytest.raises(TimeoutError, match="gate 'g'"):
            fake.gate("g").wait_reached(timeout=0.01)
        with pytest.raises(TimeoutError, match="gate 'g'"):
            fake.gate("g").wait(timeout=0.01)


def test_wait_for_frame() -> None:
    with FakeServer() as fake, dial(fake) as client:
        client.ping(b"1")
        client.ping(b"2")
        assert fake.wait_for_frame("ping", n=2).payload == b"2"
        assert fake.connections[0].wait_for_frame("ping").payload == b"1"


# Steps before the WebSocket is open.


def test_refuse_answers_with_a_status() -> None:
    steps = [refuse(503, headers={"Retry-After": "7"}, body="busy")]
    with FakeServer(script=[steps]) as fake:
        with pytest.raises(InvalidStatus) as caught:
            dial(fake)
        response = caught.value.response
        assert (response.status_code, response.headers["Retry-After"], response.body) == (503, "7", b"busy")
        (attempt,) = fake.wait_for_attempts(1)
        assert attempt.wait_closed() is Ending.REFUSED
        assert fake.connections == ()
        with dial(fake) as client:
            assert client.recv(timeout=5) == GREETING
        assert len(fake.attempts) == 2


def test_redirect() -> None:
    with FakeServer(script=[[redirect("ws://other.example/", 307)]]) as fake, raw(fake) as sock:
        answer = read_all(sock)
        assert answer.startswith(b"HTTP/1.1 307 Temporary Redirect\r\n")
        assert b"Location: ws://other.example/\r\n" in answer


def test_accept_with_a_subprotocol_and_headers() -> None:
    steps = [accept(subprotocol="v2", headers={"X-Server": "fake"})]
    with FakeServer(script=[steps]) as fake, dial(fake, subprotocols=[Subprotocol("v2")]) as client:
        assert client.subprotocol == "v2"
        assert client.response is not None
        assert client.response.headers["X-Server"] == "fake"


def test_accept_with_what_was_not_asked_for() -> None:
    with FakeServer(script=[[accept(subprotocol="v2")], [accept(wrong_key="wrong")]]) as fake:
        with pytest.raises(NegotiationError):
            dial(fake)
        with pytest.raises(InvalidHandshake, match="Sec-WebSocket-Accept"):
            dial(fake)
        with raw(fake) as sock:
            assert f"Sec-WebSocket-Accept: {accept_key(KEY)}\r\n".encode() in read_head(sock)


def test_accept_with_a_greeting_in_the_same_write() -> None:
    with FakeServer(script=[[accept(greeting={"type": "hello"})]]) as fake, dial(fake) as client:
        assert client.recv(timeout=5) == '{"type":"hello"}'


def test_drip_of_the_handshake() -> None:
    with FakeServer(script=[[drip(accept(), 8, 0.005), send("now")]]) as fake, raw(fake) as sock:
        pieces = [sock.recv(65536)]
        while b"now" not in b"".join(pieces):
            pieces.append(sock.recv(65536))
        assert len(pieces) > 5
        assert b"".join(pieces).startswith(b"HTTP/1.1 101 ")
        assert fake.wait_for_connection().is_open


def test_a_dripped_handshake_is_no_connection_before_its_end() -> None:
    with FakeServer(script=[[drip(accept(), 1, 60)]]) as fake, raw(fake) as sock:
        assert sock.recv(10) == b"H"
        assert len(fake.wait_for_attempts(1)) == 1
        assert fake.connections == ()
        begun = time.monotonic()
        fake.close()  # within the minute
        assert time.monotonic() - begun < 3


def test_stall_before_the_handshake() -> None:
    with FakeServer(script=[[stall("later")]]) as fake, raw(fake) as sock:
        fake.gate("later").wait_reached()
        assert says_nothing(sock)
        fake.gate("later").release()
        assert b" 101 " in read_head(sock)


def test_a_client_that_leaves_a_stalled_handshake_is_seen() -> None:
    with FakeServer(script=[[stall()]]) as fake:
        with raw(fake):
            (attempt,) = fake.wait_for_attempts(1)
        assert attempt.wait_closed() is Ending.CLIENT_FIN
        assert fake.errors == ()


def test_garbage_for_an_answer() -> None:
    with FakeServer(script=[[garbage(50, seed=3), disconnect()], [garbage(50, seed=3), disconnect()]]) as fake:
        with raw(fake) as sock:
            first = read_all(sock)
        with raw(fake) as sock:
            assert read_all(sock) == first
        assert len(first) == 50
        assert garbage(50, seed=4).data != first


def test_another_path_is_not_found_and_takes_no_script() -> None:
    with FakeServer(path="/feed", script=[[accept(greeting="scripted")]]) as fake:
        with raw(fake) as sock:  # asks for /ws
            assert b" 404 " in read_all(sock)
        with dial(fake) as client:
            assert client.recv(timeout=5) == "scripted"
        assert fake.url.endswith("/feed")


# Steps on an open WebSocket.


def test_send_opens_the_websocket_where_the_script_has_not() -> None:
    with FakeServer(script=[[send("one"), send(b"two")]]) as fake, dial(fake) as client:
        assert [client.recv(timeout=5), client.recv(timeout=5)] == ["one", b"two"]
        client.send('{"type": "ping"}')  # and then it goes on as it does without a script
        assert client.recv(timeout=5) == '{"type":"pong"}'


def test_send_raw() -> None:
    halves = encode_frame(TEXT, b"whole")
    steps = [accept(), send_raw(halves[:3]), wait("rest"), send_raw(halves[3:])]
    with FakeServer(script=[steps]) as fake, dial(fake) as client:
        fake.gate("rest").wait_reached()
        with pytest.raises(TimeoutError):
            client.recv(timeout=0.05)
        fake.gate("rest").release()
        assert client.recv(timeout=5) == "whole"


def test_drip_keeps_other_messages_out_of_a_frame() -> None:
    frame = encode_frame(TEXT, b"a" * 50)
    with FakeServer(script=[[accept(), drip(frame, 10, 0.02)]]) as fake, dial(fake) as client:
        fake.wait_for_connection()
        assert fake.send("b") == 1
        client.send('{"type": "ping"}')
        assert sorted([client.recv(timeout=5) for _ in range(3)]) == sorted(["a" * 50, "b", '{"type":"pong"}'])


def test_stall_reads_nothing() -> None:
    with FakeServer(script=[[accept(), stall("go")]]) as fake, dial(fake) as client:
        fake.gate("go").wait_reached()
        client.send('{"type": "ping"}')
        with pytest.raises(TimeoutError):
            client.recv(timeout=0.1)
        connection = fake.wait_for_connection()
        assert connection.messages == ()
        assert fake.send("still sent") == 1
        assert client.recv(timeout=5) == "still sent"
        fake.gate("go").release()
        assert client.recv(timeout=5) == '{"type":"pong"}'


def test_go_silent_reads_and_answers_nothing() -> None:
    with FakeServer(script=[[accept(), go_silent()]]) as fake, raw(fake) as sock:
        read_head(sock)
        sock.sendall(masked(0x9, b"hello?") + masked(TEXT, b'{"type": "ping"}') + masked(CLOSE, close_payload(1000)))
        connection = fake.wait_for_connection()
        assert connection.wait_for_frame("close").code == 1000
        assert says_nothing(sock)
        assert connection.is_open
        assert [frame.kind for frame in connection.frames] == ["ping", "text", "close"]
        sock.close()
        assert connection.wait_closed() is Ending.CLIENT_FIN
        assert connection.close_code == 1000


def test_go_silent_without_reading() -> None:
    with FakeServer(script=[[accept(), go_silent(read=False)]]) as fake, raw(fake) as sock:
        read_head(sock)
        sock.sendall(masked(0x9, b"hello?"))
        assert says_nothing(sock)
        assert fake.wait_for_connection().frames == ()


def test_go_silent_until_a_gate() -> None:
    with FakeServer(script=[[accept(), go_silent(gate="back")]]) as fake, dial(fake) as client:
        client.send('{"type": "ping"}')
        fake.wait_for_message({"type": "ping"})
        fake.gate("back").release()
        assert client.ping(b"again").wait(5)
        with pytest.raises(TimeoutError):
            client.recv(timeout=0.05)


def test_go_silent_does_not_answer_what_came_before_the_release(monkeypatch: pytest.MonkeyPatch) -> None:
    received = FakeConnection.received

    def receive_and_release(connection: FakeConnection, item: Item) -> None:
        received(connection, item)
        fake.gate("back").release()

    monkeypatch.setattr(FakeConnection, "received", receive_and_release)
    with FakeServer(script=[[accept(), go_silent(gate="back")]]) as fake, dial(fake) as client:
        client.send('{"type": "ping"}')
        assert client.ping(b"again").wait(5)
        with pytest.raises(TimeoutError):
            client.recv(timeout=0.05)


def test_close_is_a_closing_handshake() -> None:
    with FakeServer(script=[[send("last"), close(1012, "restart")]]) as fake, dial(fake) as client:
        assert client.recv(timeout=5) == "last"
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=5)
        assert (client.close_code, client.close_reason) == (1012, "restart")
        connection = fake.wait_for_connection()
        assert connection.wait_closed() is Ending.CLOSED
        assert connection.close_code == 1012


def test_close_without_a_code_or_an_answer() -> None:
    with FakeServer(script=[[close(1005, timeout=0.05)]]) as fake, raw(fake) as sock:
        read_head(sock)
        assert read_all(sock) == encode_frame(CLOSE, b"")
        connection = fake.wait_for_connection()
        assert connection.close_code is None
        sock.close()
        assert connection.wait_closed() is Ending.SERVER_FIN


def test_reset() -> None:
    with FakeServer(script=[[reset()], [accept(), send("x"), reset()]]) as fake:
        with raw(fake) as sock, pytest.raises(ConnectionResetError):
            sock.recv(1)
        with raw(fake) as sock:
            read_head(sock)
            with pytest.raises(ConnectionResetError):
                read_all(sock)
        assert [attempt.wait_closed() for attempt in fake.attempts] == [Ending.SERVER_RESET] * 2


def test_disconnect_is_a_fin_even_with_bytes_unread() -> None:
    with FakeServer(script=[[accept(), stall("now"), disconnect()]]) as fake, raw(fake) as sock:
        read_head(sock)
        fake.gate("now").wait_reached()
        sock.sendall(masked(TEXT, b"unread"))
        fake.gate("now").release()
        assert read_all(sock) == b""  # no close frame, and a FIN: a RST would raise
        with pytest.raises(TimeoutError):  # until the client has left too, lest what it sends be answered by a RST
            fake.connections[0].wait_closed(timeout=0.1)
        sock.sendall(masked(TEXT, b"unread"))
        assert read_all(sock) == b""
        sock.close()
        assert fake.connections[0].wait_closed() is Ending.SERVER_FIN


def test_wait_goes_on_with_the_connection() -> None:
    with FakeServer(script=[[accept(), wait("now"), send("released")]]) as fake, dial(fake) as client:
        assert client.ping(b"").wait(5)
        assert not fake.gate("now").is_released
        fake.gate("now").release()
        assert client.recv(timeout=5) == "released"
        assert "released" in repr(fake.gate("now"))


def test_wait_for_message_looks_behind_the_one_before() -> None:
    steps = [wait_for_message({"type": "ask"}), send("first"), wait_for_message({"type": "ask"}), send("second")]
    with FakeServer(script=[steps]) as fake, dial(fake) as client:
        client.send('{"type": "other"}')
        client.send('{"type": "ask"}')
        assert client.recv(timeout=5) == "first"
        with pytest.raises(TimeoutError):
            client.recv(timeout=0.05)
        client.send('{"type": "ask"}')
        assert client.recv(timeout=5) == "second"


def test_repeat_counts_batched_or_not() -> None:
    def numbered(turn: int) -> Step:
        return send(str(turn))

    steps = [repeat(20_000, send("x")), repeat(3, numbered), repeat(2, drip(send("slow"), 100, 0)), send("end")]
    with FakeServer(script=[steps]) as fake, raw(fake) as sock:
        read_head(sock)
        reader = FrameReader(max_message_bytes=100)
        items: list[object] = []
        while not items or items[-1] != "end":
            items += reader.feed(sock.recv(65536))
        assert items == ["x"] * 20_000 + ["0", "1", "2", "slow", "slow", "end"]


def test_repeat_joins_writes_around_other_steps() -> None:
    turns = [send("a"), send_raw(encode_frame(TEXT, b"b")), wait("open"), send("c")]
    with FakeServer(script=[[repeat(4, lambda turn: turns[turn])]]) as fake, dial(fake) as client:
        assert [client.recv(timeout=5) for _ in range(2)] == ["a", "b"]
        fake.gate("open").release()
        assert client.recv(timeout=5) == "c"


def test_repeat_with_an_interval_is_paced() -> None:
    begun = time.monotonic()
    with FakeServer(script=[[repeat(3, send("tick"), interval=0.05), send("end")]]) as fake, dial(fake) as client:
        assert [client.recv(timeout=5) for _ in range(4)] == ["tick", "tick", "tick", "end"]
        assert time.monotonic() - begun > 0.08


def test_a_flood_still_answers_pings_and_gives_way_to_the_test() -> None:
    with FakeServer(script=[[repeat(None, send("x" * 100))]]) as fake, raw(fake) as sock:
        read_head(sock)
        sock.sendall(masked(0x9, b"under load"))
        seen = b""
        while encode_frame(0xA, b"under load") not in seen:
            seen = seen[-100:] + sock.recv(65536)
        fake.close_connections(1013)
        sock.sendall(masked(CLOSE, close_payload(1013)))
        rest = b""
        while part := sock.recv(65536):
            rest = (rest + part)[-200:]
        assert rest.endswith(encode_frame(CLOSE, close_payload(1013)))


@pytest.mark.parametrize("forever", [repeat(None, wait("released")), repeat(None, send_raw(b""))])
def test_what_is_repeated_for_ever_ends_with_the_server(forever: Step) -> None:
    with FakeServer(script=[[accept(), forever]]) as fake, raw(fake) as sock:
        read_head(sock)
        fake.gate("released").release()
        fake.wait_for_connection()
    assert fake.errors == ()


# The script as a whole.


def test_then_is_for_all_beyond_the_script_and_add_script_extends_it() -> None:
    def status() -> int:
        with raw(fake) as sock:
            return int(read_head(sock).split()[1])

    with FakeServer(script=[[refuse(401)]], then=[refuse(503)]) as fake:
        assert [status(), status(), status()] == [401, 503, 503]
        fake.add_script(refuse(410))
        assert [status(), status()] == [410, 503]
        fake.then = ()
        assert status() == 101
        fake.then = [refuse(429)]
        assert (status(), len(fake.then)) == (429, 1)


def test_a_script_that_is_no_list_of_lists_is_refused() -> None:
    with pytest.raises(TypeError, match=r"script\[0\] must be a list of steps"):
        FakeServer(script=[accept(), reset()])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="then must be a list of steps"):
        FakeServer(then=[accept])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="status must be from 100 to 599, not 42"):
        refuse(42)
    with pytest.raises(ValueError, match="size must be at least 1 byte, not 0"):
        drip(b"x", 0)


def test_drop_resets_or_disconnects() -> None:
    with FakeServer() as fake:
        for number, (is_reset, ending) in enumerate(((True, Ending.SERVER_RESET), (False, Ending.SERVER_FIN)), 1):
            with raw(fake) as sock:
                connection = fake.wait_for_connection(number)
                assert fake.drop(reset=is_reset) == (connection,)
                assert fake.open_connections == ()
                assert fake.send("lost") == 0
                if is_reset:
                    with pytest.raises(ConnectionResetError):
                        read_all(sock)
                else:
                    assert CLOSE | 0x80 not in read_all(sock).partition(GREETING.encode())[2]
            assert connection.wait_closed() is ending


def test_close_connections_comes_after_what_was_sent() -> None:
    with FakeServer() as fake, dial(fake) as client:
        assert client.recv(timeout=5) == GREETING
        fake.send("before")
        (connection,) = fake.close_connections(4000, "over")
        assert client.recv(timeout=5) == "before"
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=5)
        assert client.close_code == 4000
        assert connection.wait_closed() is Ending.CLOSED


def test_a_client_that_resets_is_seen_so() -> None:
    with FakeServer() as fake:
        with raw(fake) as sock:
            read_head(sock)
            connection = fake.wait_for_connection()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        assert connection.wait_closed() is Ending.CLIENT_RESET


class Dawdling:
    """A predicate that keeps the connection's thread, which then cannot read."""

    def __init__(self) -> None:
        self.began, self.over = threading.Event(), threading.Event()

    def __call__(self, _message: str) -> bool:
        self.began.set()
        return self.over.wait(10)


def test_max_open_does_not_count_a_client_that_has_left() -> None:
    dawdling = Dawdling()
    with FakeServer(script=[[wait_for_message(dawdling)]]) as fake:
        with raw(fake) as sock:
            read_head(sock)
            sock.sendall(masked(TEXT, b"now the connection's thread is in the predicate, and cannot read of the end"))
            assert dawdling.began.wait(5)
        with raw(fake) as one:
            read_head(one)
            assert fake.max_open == 1
            assert len(fake.open_connections) == 2
            with raw(fake) as two:
                read_head(two)
                assert fake.max_open == 2
        dawdling.over.set()
        assert fake.connections[0].wait_closed() is Ending.CLIENT_FIN


def test_a_client_that_leaves_right_after_its_close_frame_has_closed() -> None:
    dawdling = Dawdling()
    with FakeServer(script=[[wait_for_message(dawdling), close(1000)]]) as fake:
        with raw(fake) as sock:
            read_head(sock)
            sock.sendall(masked(TEXT, b"go"))
            assert dawdling.began.wait(5)
            sock.sendall(masked(CLOSE, close_payload(1000)))
        dawdling.over.set()
        assert fake.connections[0].wait_closed() is Ending.CLOSED


# TLS.


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA) -> ssl.SSLContext:
    return serving(authority.issue_cert("127.0.0.1", "localhost"))


def client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def dial_tls(fake: FakeServer, context: ssl.SSLContext) -> connect_async:
    """The independent client on an event loop.

    Its threaded sister reads and writes a TLS connection on two threads at once, and crashes the interpreter for it.
    """
    return connect_async(fake.url, compression=None, proxy=None, ssl=context)


def test_tls(authority: trustme.CA) -> None:
    async def converse() -> None:
        async with dial_tls(fake, client_context(authority)) as client:
            assert await client.recv() == GREETING

    with FakeServer(ssl_context=server_context(authority), poll_answer={"logs": []}) as fake:
        assert fake.url.startswith("wss://")
        asyncio.run(converse())
        assert fake.wait_for_connection().wait_closed() is Ending.CLOSED
        with urlopen(fake.poll_url, context=client_context(authority), timeout=5) as answer:
            assert json.load(answer) == {"logs": []}


def test_tls_both_ways_at_once(authority: trustme.CA) -> None:
    async def converse() -> None:
        async with dial_tls(fake, client_context(authority)) as client:

            async def pour() -> None:
                for number in range(300):
                    await client.send(f"{number} " + "y" * 20_000)

            pouring = [asyncio.create_task(pour()), asyncio.create_task(asyncio.to_thread(post))]
            counts = {"x": 0, "f": 0}
            while counts != {"x": 300, "f": 300}:
                message = await client.recv()
                assert isinstance(message, str)
                counts[message[0]] += 1
            await asyncio.gather(*pouring)

    def post() -> None:
        for _ in range(300):
            fake.send("from the test")

    with FakeServer(ssl_context=server_context(authority), script=[[repeat(300, send("x" * 20_000))]]) as fake:
        asyncio.run(converse())
        last = fake.wait_for_message(lambda message: message.startswith("299 "))
        assert len(last) == 20_004
        assert len(fake.messages) == 300


@pytest.mark.parametrize("ending", [Ending.SERVER_RESET, Ending.SERVER_FIN])
def test_tls_cut(authority: trustme.CA, ending: Ending) -> None:
    async def converse() -> None:
        async with dial_tls(fake, client_context(authority)) as client:
            assert await client.recv() == "x"
            fake.gate("now").release()
            with pytest.raises(ConnectionClosed):
                await client.recv()

    step = reset() if ending is Ending.SERVER_RESET else disconnect()
    with FakeServer(ssl_context=server_context(authority), script=[[send("x"), wait("now"), step]]) as fake:
        asyncio.run(converse())
        assert fake.connections[0].wait_closed() is ending


def test_tls_that_the_client_does_not_trust_is_an_attempt(authority: trustme.CA) -> None:
    async def converse() -> None:
        with pytest.raises(ssl.SSLError):
            await dial_tls(fake, ssl.create_default_context())

    with FakeServer(ssl_context=server_context(authority)) as fake:
        asyncio.run(converse())
        (attempt,) = fake.wait_for_attempts(1)
        assert attempt.wait_closed() is Ending.TLS_FAILED
        assert attempt.request is None
        assert fake.errors == ()


def test_tls_with_a_client_that_is_gone_before_it_begins(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No socket is left open, of which the interpreter would complain."""
    start_tls = Conversation.start_tls

    def start_late(talk: Conversation, context: ssl.SSLContext) -> None:
        assert gone.wait(5)
        start_tls(talk, context)

    monkeypatch.setattr(Conversation, "start_tls", start_late)
    gone = threading.Event()
    with (
        warnings.catch_warnings(record=True, action="always", category=ResourceWarning) as complaints,
        FakeServer(ssl_context=server_context(authority)) as fake,
    ):
        with socket.create_connection(("127.0.0.1", fake.port)) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone.set()
        assert fake.wait_for_attempts(1)[0].wait_closed() is Ending.TLS_FAILED
    gc.collect()
    assert [str(complaint.message) for complaint in complaints] == []


def test_tls_against_a_server_without_is_an_attempt_that_hangs() -> None:
    with FakeServer() as fake, raw(fake, b"\x16\x03\x01") as sock:
        (attempt,) = fake.wait_for_attempts(1)
        assert says_nothing(sock, 0.05)
        sock.close()
        assert attempt.wait_closed() is Ending.CLIENT_FIN


# Polls.


def test_polls_are_answered_and_recorded_apart() -> None:
    with FakeServer() as fake:
        with pytest.raises(HTTPError) as caught:
            urlopen(fake.poll_url, timeout=5)
        caught.value.close()
        assert caught.value.code == 404
        fake.poll_answer = {"stats": {"totalLogs": 3}}
        with urlopen(fake.poll_url + "?since=2024", timeout=5) as answer:
            assert json.load(answer) == {"stats": {"totalLogs": 3}}
            assert answer.headers["Content-Type"] == "application/json"
        fake.poll_answer = [{"type": "pong"}]
        with urlopen(fake.poll_url, timeout=5) as answer:
            assert json.load(answer) == [{"type": "pong"}]
        polls = fake.wait_for_polls(3)
        assert polls[1].request.query == {"since": "2024"}
        assert polls[0].at <= polls[1].at <= polls[2].at
        assert (fake.attempts, fake.connections) == ((), ())


def test_polls_answered_by_a_function() -> None:
    def answer(request: Request) -> tuple[int, dict[str, str], bytes]:
        if request.headers.get("If-None-Match") == '"1"':
            return 304, {}, b""
        return 200, {"ETag": '"1"'}, b"[]"

    with FakeServer(poll_answer=answer) as fake:
        with raw(fake, b"GET /any HTTP/1.1\r\nHost: x\r\n\r\n") as sock:
            got = read_all(sock)
        assert got.startswith(b"HTTP/1.1 200 OK\r\n")
        assert got.endswith(b"\r\n\r\n[]")
        with raw(fake, b'GET /any HTTP/1.1\r\nHost: x\r\nIf-None-Match: "1"\r\n\r\n') as sock:
            assert read_all(sock).startswith(b"HTTP/1.1 304 Not Modified\r\n")


def test_a_poll_that_is_answered_late() -> None:
    def answer(_: Request) -> tuple[int, dict[str, str], bytes]:
        fake.gate("poll").wait()
        return 200, {}, b"late"

    with FakeServer(poll_answer=answer) as fake, raw(fake, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") as sock:
        fake.wait_for_polls(1)
        assert says_nothing(sock, 0.05)
        fake.gate("poll").release()
        assert read_all(sock).endswith(b"late")


def test_close_releases_a_poll_that_waits() -> None:
    def answer(_: Request) -> tuple[int, dict[str, str], bytes]:
        fake.gate("never").wait(timeout=30)
        return 200, {}, b""

    with FakeServer(poll_answer=answer) as fake, raw(fake, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"):
        fake.wait_for_polls(1)
        begun = time.monotonic()
        fake.close()
        assert time.monotonic() - begun < 3


def test_a_thread_that_does_not_end_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_END_TIMEOUT", 0.05)
    release = threading.Event()

    def answer(_: Request) -> tuple[int, dict[str, str], bytes]:
        release.wait(10)
        return 200, {}, b""

    fake = FakeServer(poll_answer=answer).start()
    with raw(fake, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"):
        fake.wait_for_polls(1)
        fake.close()
    release.set()
    assert [str(error) for error in fake.errors] == ["fake-server-connection-1 did not end within 0.05 s"]
    for thread in threading.enumerate():
        if thread.name == "fake-server-connection-1":
            thread.join(5)


def test_a_poll_answer_that_raises_is_an_error() -> None:
    def answer(_: Request) -> tuple[int, dict[str, str], bytes]:
        raise LookupError("no answer")

    fake = FakeServer(poll_answer=answer).start()
    with raw(fake, b"GET /p HTTP/1.1\r\nHost: x\r\n\r\n") as sock:
        assert b" 500 " in read_all(sock)
    fake.close()
    (error,) = fake.errors
    assert isinstance(error, LookupError)
    assert error.__notes__ == ["in poll_answer for /p"]


# Stopping, starting, closing.


def test_stop_refuses_and_restart_serves_on_the_same_port() -> None:
    with FakeServer(script=[[send("one")], [send("two")]]) as fake:
        url = fake.url
        with dial(fake) as client:
            assert client.recv(timeout=5) == "one"
            fake.stop()
            with pytest.raises(ConnectionClosed):
                client.recv(timeout=5)
            assert fake.connections[0].ending is Ending.SERVER_FIN
        with pytest.raises(ConnectionRefusedError):
            dial(fake)
        assert "not listening" in repr(fake)
        fake.restart()
        fake.start()  # listens already
        assert fake.url == url
        with dial(fake) as client:
            assert client.recv(timeout=5) == "two"
            fake.restart()
            with pytest.raises(ConnectionClosed):
                client.recv(timeout=5)
        assert len(fake.connections) == 2
        with dial(fake) as client:
            assert client.recv(timeout=5) == GREETING


def test_a_port_of_ones_own_and_one_that_is_taken() -> None:
    with FakeServer() as fake, FakeServer(port=0) as other:
        assert fake.port != other.port
        with pytest.raises(OSError, match="in use"):
            FakeServer(port=fake.port).start()
    with FakeServer(port=fake.port) as again:
        assert again.port == fake.port
    with pytest.raises(RuntimeError, match="no port before start"):
        FakeServer().url  # noqa: B018


def test_close_is_idempotent_final_and_keeps_the_records() -> None:
    fake = FakeServer().start()
    with dial(fake) as client:
        client.send("kept")
        fake.wait_for_message("kept")
        threads = [threading.Thread(target=fake.close) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        fake.close()
    assert fake.messages == ("kept",)
    with pytest.raises(RuntimeError, match="was closed"):
        fake.start()
    FakeServer().close()  # never started


def test_close_leaves_no_thread_and_no_descriptor() -> None:
    def fake_threads() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("fake-server-")]

    flood = [repeat(None, send("x" * 10_000))]
    scripts = [[stall()], [accept(), go_silent()], flood, [drip(accept(), 1, 60)], [refuse(500)], [accept()]]
    before = psutil.Process().num_fds()
    with contextlib.ExitStack() as clients:
        fake = FakeServer(script=scripts).start()
        for number in range(1, len(scripts) + 1):
            clients.enter_context(raw(fake))  # reads nothing
            fake.wait_for_attempts(number)
        clients.enter_context(raw(fake, b"GET /unfinished"))
        fake.wait_for_connection(3)
        assert fake_threads()
        assert all(thread.daemon for thread in threading.enumerate() if thread.name in fake_threads())
        begun = time.monotonic()
        fake.close()
        assert time.monotonic() - begun < 3
        assert fake_threads() == []
        assert psutil.Process().num_fds() == before + len(scripts) + 1
    assert fake.errors == ()
    assert len(fake.attempts) == len(scripts) + 1


def test_a_client_that_does_not_read_holds_send_up_but_not_close() -> None:
    with FakeServer() as fake, raw(fake):
        fake.wait_for_connection()

        def pour() -> None:
            while True:
                fake.send(b"x" * 1024 * 1024, timeout=0.2)

        with pytest.raises(TimeoutError, match="connection 1, whose client does not read"):
            pour()
        begun = time.monotonic()
    assert time.monotonic() - begun < 3


def test_send_goes_on_when_the_client_reads_again() -> None:
    megabyte = b"x" * 1024 * 1024
    with FakeServer() as fake, raw(fake) as sock:
        connection = fake.wait_for_connection()
        pouring = threading.Thread(target=lambda: [connection.send(megabyte) for _ in range(20)])
        pouring.start()
        left = 20 * len(megabyte)
        while left > 0:
            left -= len(sock.recv(1 << 20))
        pouring.join(5)
        assert not pouring.is_alive()


# Errors.


def test_a_step_that_fails_is_raised_at_the_end() -> None:
    def use() -> None:
        with FakeServer(script=[[wait_for_message({"type": "never"}, timeout=0.05)]]) as fake, raw(fake) as sock:
            read_head(sock)
            sock.sendall(masked(TEXT, b'"something else"'))
            assert fake.wait_for_connection().wait_closed() is Ending.SERVER_RESET

    with pytest.raises(ExceptionGroup, match="the fake server's script or its client failed") as caught:
        use()
    (error,) = caught.value.exceptions
    assert isinstance(error, TimeoutError)
    assert "message like {'type': 'never'}: not within 0.05 s" in str(error)
    assert "'something else'" in str(error)
    assert error.__notes__ == ["in the step wait_for_message({'type': 'never'}) of connection 1"]


def test_the_tests_own_failure_goes_first() -> None:
    def fail() -> None:
        with FakeServer(script=[[accept(), accept()]]) as fake, raw(fake):
            fake.wait_for_attempts(1)[0].wait_closed()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()


def test_a_predicate_that_raises_is_an_error_of_the_step() -> None:
    fake = FakeServer(script=[[wait_for_message(lambda message: message["missing"])]]).start()
    with raw(fake) as sock:
        read_head(sock)
        sock.sendall(masked(TEXT, b"{}"))
        fake.wait_for_connection().wait_closed()
    fake.close()
    assert [type(error) for error in fake.errors] == [KeyError]


def test_a_client_that_breaks_the_protocol_is_told_and_an_error() -> None:
    fake = FakeServer(script=[[accept()]]).start()
    with raw(fake) as sock:
        read_head(sock)
        sock.sendall(encode_frame(TEXT, b"not masked"))
        answer = read_all(sock)
        assert answer[:4] == bytes([0x80 | CLOSE, len(answer) - 2]) + (1002).to_bytes(2)
    assert fake.connections[0].wait_closed() is Ending.SERVER_FIN
    fake.close()
    (error,) = fake.errors
    assert isinstance(error, ProtocolError)
    assert error.code == 1002
    assert "the client of connection 1 broke RFC 6455: unmasked frame" in str(error)


@pytest.mark.parametrize(
    "request_head",
    [
        b"NONSENSE\r\n\r\n",
        b"GET /ws HTTP/1.1\r\n" + b"X: " + b"y" * 20_000,
        HANDSHAKE.replace(b"13", b"8"),
    ],
)
def test_a_request_that_is_wrong_is_an_error(request_head: bytes) -> None:
    fake = FakeServer().start()
    with raw(fake, request_head) as sock, contextlib.suppress(ConnectionResetError):
        read_all(sock)
    (attempt,) = fake.wait_for_attempts(1)
    attempt.wait_closed()
    fake.close()
    assert [type(error) for error in fake.errors] == [ValueError]
