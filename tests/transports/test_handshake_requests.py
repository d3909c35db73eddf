"""What the client asks for in its handshake, and which answers it takes."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

import realtime_client
from realtime_client import ConnectError, ConnectionState, HandshakeRejected
from realtime_client._core.frames import TEXT, close_payload, encode_frame
from realtime_client.testing import FakeServer, accept, redirect, refuse, send_raw
from tests.client.conftest import Make
from tests.client.recording import FIRST_FAILURE, PATIENCE, QUICK, Record, alert

AT_ONCE = {**QUICK, **FIRST_FAILURE}


def asked(server: FakeServer, attempt: int = 0) -> Any:
    """The headers of an attempt's request."""
    request = server.wait_for_attempts(attempt + 1)[attempt].request
    assert request is not None
    return request.headers


def test_headers_may_be_a_mapping(server: FakeServer, make: Make) -> None:
    client = make(server.url, headers={"X-Api-Key": "abc", "Origin": "https://dash.example", "User-Agent": "mine/1"})
    client.connect(PATIENCE)
    headers = asked(server)
    assert (headers["X-Api-Key"], headers["Origin"], headers["User-Agent"]) == ("abc", "https://dash.example", "mine/1")


def test_headers_may_be_a_callable_that_is_asked_for_every_attempt(server: FakeServer, make: Make) -> None:
    server.add_script(refuse(503))
    turns = iter(range(1, 10))
    client = make(server.url, headers=lambda: {"X-Turn": str(next(turns))}, **QUICK)
    client.connect(PATIENCE)
    assert [asked(server, n)["X-Turn"] for n in (0, 1)] == ["1", "2"]


def test_the_request_is_as_the_protocol_wants_it(server: FakeServer, make: Make) -> None:
    client = make(server.url + "?since=5&x=%20y")
    client.connect(PATIENCE)
    request = server.attempts[0].request
    assert request is not None
    headers = request.headers
    assert request.method == "GET"
    assert request.target == "/ws?since=5&x=%20y"
    assert headers["Host"] == f"127.0.0.1:{server.port}"
    assert headers["Upgrade"].lower() == "websocket"
    assert headers["Connection"].lower() == "upgrade"
    assert headers["Sec-WebSocket-Version"] == "13"
    assert len(base64.b64decode(headers["Sec-WebSocket-Key"])) == 16
    assert headers["User-Agent"] == f"realtime-client/{realtime_client.__version__}"
    assert headers.get("Origin") is None
    assert headers.get("Authorization") is None
    assert headers.get("Cookie") is None


def test_a_url_without_a_path_asks_for_the_root(make: Make) -> None:
    with FakeServer(path="/") as server:
        client = make(f"ws://127.0.0.1:{server.port}")
        client.connect(PATIENCE)
        client.close()


def test_token_becomes_a_bearer_header(server: FakeServer, make: Make) -> None:
    client = make(server.url, token="abc.def", headers={"authorization": "Basic old"})
    client.connect(PATIENCE)
    assert asked(server)["Authorization"] == "Bearer abc.def"


def test_user_and_password_of_the_url_become_a_basic_header(server: FakeServer, make: Make) -> None:
    client = make(server.url.replace("127.0.0.1", "me:p%40ss%3Aword@127.0.0.1"))
    client.connect(PATIENCE)
    scheme, _, pair = asked(server)["Authorization"].partition(" ")
    assert (scheme, base64.b64decode(pair)) == ("Basic", b"me:p@ss:word")
    assert "@" not in asked(server)["Host"]


def test_token_goes_before_the_user_of_the_url(server: FakeServer, make: Make) -> None:
    client = make(server.url.replace("127.0.0.1", "me:word@127.0.0.1"), token="abc")
    client.connect(PATIENCE)
    assert asked(server)["Authorization"] == "Bearer abc"


def test_token_callable_that_raises_is_tried_again(server: FakeServer, make: Make) -> None:
    turns = iter(range(2))

    def token() -> str:
        if next(turns) == 0:
            raise LookupError("the vault is sealed")
        return "fresh"

    client, changes = make(server.url, token=token, **QUICK), Record()
    client.on_status(changes)
    client.connect(PATIENCE)
    assert asked(server)["Authorization"] == "Bearer fresh"
    error = changes.items[1].current.last_error
    assert isinstance(error, ConnectError)
    assert "token" in str(error)
    assert "LookupError" in str(error)
    assert isinstance(error.__cause__, LookupError)


@pytest.mark.parametrize("junk", [None, 5, b"bytes", "", "two\r\nlines", "unicodé", ["x"]])
def test_token_callable_that_returns_junk_is_a_clear_fatal_error(junk: Any, server: FakeServer, make: Make) -> None:
    client = make(server.url, token=lambda: junk)
    if junk is None:  # no token today
        client.connect(PATIENCE)
        assert asked(server).get("Authorization") is None
        return
    with pytest.raises(ConnectError, match="token") as caught:
        client.connect(PATIENCE)
    assert "ASCII" in str(caught.value)
    assert client.status.state is ConnectionState.FAILED
    assert server.attempts == ()


@pytest.mark.parametrize("junk", [5, "X: y", {"X": 5}, {"Host": "elsewhere"}, {"X": "a\r\nEvil: b"}, {"a b": "c"}])
def test_headers_callable_that_returns_junk_is_a_clear_fatal_error(junk: Any, server: FakeServer, make: Make) -> None:
    client = make(server.url, headers=lambda: junk)
    with pytest.raises(ConnectError, match="headers"):
        client.connect(PATIENCE)
    assert client.status.state is ConnectionState.FAILED


def test_token_callable_that_hangs_is_bounded_by_connect_timeout(server: FakeServer, make: Make) -> None:
    import threading

    release, threads = threading.Event(), Record()

    def hangs() -> str:
        threads(threading.current_thread())
        assert release.wait(PATIENCE)
        return "late"

    client = make(server.url, token=hangs, connect_timeout=0.2, **AT_ONCE)
    with pytest.raises(ConnectError):
        client.connect(PATIENCE)
    client.close()
    release.set()
    for thread in threads.items:
        thread.join(PATIENCE)
    assert server.attempts == ()


def test_subprotocols_are_offered_in_order_and_the_servers_choice_is_taken(server: FakeServer, make: Make) -> None:
    server.then = [accept(subprotocol="feed.v1")]
    client = make(server.url, subprotocols=["feed.v2", "feed.v1"])
    client.connect(PATIENCE)
    assert [p.strip() for p in asked(server)["Sec-WebSocket-Protocol"].split(",")] == ["feed.v2", "feed.v1"]


def test_subprotocols_of_which_the_server_takes_none(server: FakeServer, make: Make) -> None:
    client = make(server.url, subprotocols=["feed.v2"])
    client.connect(PATIENCE)
    assert client.is_connected


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(accept(subprotocol="other"), id="subprotocol"),
        pytest.param(accept(headers={"Sec-WebSocket-Extensions": "permessage-zip"}), id="extension"),
        pytest.param(accept(wrong_key="c29tZXRoaW5nIGVsc2UgZW50aXJlbHk="), id="key"),
    ],
)
def test_answers_that_nobody_asked_for_are_refused(step: Any, server: FakeServer, make: Make) -> None:
    server.then = [step]
    client = make(server.url, subprotocols=["feed.v1"], **AT_ONCE)
    with pytest.raises(ConnectError):
        client.connect(PATIENCE)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_never_followed(status: int, server: FakeServer, other_server: FakeServer, make: Make) -> None:
    server.then = [redirect(other_server.url, status)]
    client = make(server.url, token="T0KEN")
    with pytest.raises(HandshakeRejected) as caught:
        client.connect(PATIENCE)
    assert caught.value.status == status
    assert client.status.state is ConnectionState.FAILED
    assert other_server.attempts == ()
    assert len(server.attempts) == 1


def test_retry_after_of_a_refused_handshake_is_obeyed(server: FakeServer, make: Make) -> None:
    server.add_script(refuse(503, headers={"Retry-After": "7"}))
    client, changes = make(server.url, **QUICK), Record()
    client.on_status(changes)
    client.connect(wait=False)
    (_, waiting) = changes.wait_for(2)
    status = waiting.current
    assert isinstance(status.last_error, HandshakeRejected)
    assert status.last_error.retry_after == 7
    assert 6.5 < (status.next_retry_at - status.since).total_seconds() < 8


def test_no_cookie_of_one_handshake_is_sent_in_another(server: FakeServer, make: Make) -> None:
    server.add_script(accept(headers={"Set-Cookie": "session=abc; Path=/"}))
    first = make(server.url)
    first.connect(PATIENCE)
    first.reconnect(PATIENCE)
    second = make(server.url)
    second.connect(PATIENCE)
    assert [asked(server, n).get("Cookie") for n in range(3)] == [None] * 3


def test_early_frames_in_the_segment_of_the_answer_arrive(server: FakeServer, make: Make) -> None:
    server.then = [accept(greeting=alert("first"))]
    client, events = make(server.url), Record()
    client.on("system_alert", events)
    client.connect(PATIENCE)
    assert events.wait_for(1)[0].message == "first"


def test_early_half_frames_are_completed_by_what_follows(server: FakeServer, make: Make) -> None:
    frame = encode_frame(TEXT, json.dumps(alert("in halves")).encode())
    greeting = accept(greeting=alert("whole"))
    server.then = [greeting, send_raw(frame[:7]), send_raw(frame[7:])]
    client, events = make(server.url), Record()
    client.on("system_alert", events)
    client.connect(PATIENCE)
    assert [e.message for e in events.wait_for(2)] == ["whole", "in halves"]


def test_an_early_close_is_a_connection_that_ended(server: FakeServer, make: Make) -> None:
    goodbye = encode_frame(8, close_payload(1001))
    server.add_script(accept(greeting=alert("and away")), send_raw(goodbye))
    client, events, changes = make(server.url, **QUICK), Record(), Record()
    client.on("system_alert", events)
    client.on_connection_change(changes)
    client.connect(wait=False)
    assert changes.wait_for(3) == [True, False, True]
    assert [e.message for e in events.items] == ["and away"]
