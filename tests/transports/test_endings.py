"""What comes before the end of a connection is in the client's hands before the end is answered."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from types import SimpleNamespace
from unittest.mock import Mock, call

import pytest

from realtime_client import ClientConfig, ConnectionLost
from realtime_client._core.frames import CLOSE, TEXT, close_payload, encode_frame
from realtime_client.testing import FakeServer, accept, reset, send_raw, wait_for_message
from realtime_client.transports import streams
from realtime_client.transports.tls import TlsSettings
from realtime_client.transports.websocket import WebSocketDialer, WebSocketLink
from tests.client.recording import PATIENCE

MESSAGE = encode_frame(TEXT, b'"last words"')


@pytest.fixture
def link(server: FakeServer) -> Iterator[WebSocketLink]:
    config = ClientConfig(server.url, proxy=None)
    link = WebSocketDialer(config, TlsSettings(config))()
    yield link
    link.release()


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        pytest.param(encode_frame(CLOSE, close_payload(1001)), 1001, id="close"),
        pytest.param(encode_frame(TEXT, b"", rsv=2), 1002, id="reserved bit"),
        pytest.param(encode_frame(TEXT, b"\xff"), 1007, id="no UTF-8"),
        pytest.param(encode_frame(TEXT, bytes(1 << 21)), 1009, id="too large"),
    ],
)
def test_an_answer_to_a_message_goes_before_the_answer_to_the_end_that_came_with_it(
    ending: bytes, code: int, server: FakeServer, link: WebSocketLink
) -> None:
    server.add_script(accept(), wait_for_message("go"), send_raw(MESSAGE + ending))
    link.open(PATIENCE)
    link.send('"go"', PATIENCE)
    assert link.receive().messages == ['"last words"']
    link.send('"answer"', PATIENCE)
    with pytest.raises(ConnectionLost) as caught:
        link.receive()
    assert caught.value.code == code
    connection = server.wait_for_connection()
    connection.wait_closed(PATIENCE)
    assert [frame.kind for frame in connection.frames] == ["text", "text", "close"]
    assert connection.messages == ("go", "answer")
    assert connection.close_code == code


def test_a_ping_and_the_message_behind_it_are_one_write(server: FakeServer, link: WebSocketLink) -> None:
    server.add_script(accept(), wait_for_message("both"))
    link.open(PATIENCE)
    link._stream = stream = Mock(wraps=link._stream)
    link.ping(b"1", PATIENCE, "both")
    assert stream.send.call_count == 1
    connection = server.wait_for_connection()
    connection.wait_for_message("both", timeout=PATIENCE)
    assert [frame.kind for frame in connection.frames] == ["ping", "text"]


def test_a_link_that_has_failed_meanwhile_answers_no_end(server: FakeServer, link: WebSocketLink) -> None:
    server.add_script(accept(), send_raw(MESSAGE + encode_frame(CLOSE, close_payload(1001))))
    link.open(PATIENCE)
    assert link.receive().messages == ['"last words"']
    reason = ConnectionLost("enough")
    link.fail(reason)
    with pytest.raises(ConnectionLost) as caught:
        link.receive()
    assert caught.value is reason
    connection = server.wait_for_connection()
    connection.wait_closed(PATIENCE)
    assert connection.frames == ()


def test_a_write_that_fails_after_the_peers_close_does_not_hide_its_code(
    server: FakeServer, link: WebSocketLink
) -> None:
    """The code decides what is done next: 1013 asks for patience, a broken connection does not."""
    server.add_script(accept(), send_raw(MESSAGE + encode_frame(CLOSE, close_payload(1013, "later"))), reset())
    link.open(PATIENCE)
    assert link.receive().messages == ['"last words"']
    server.wait_for_connection().wait_closed(PATIENCE)

    def send_until_it_fails() -> None:  # the first ones may get into the kernel's buffer
        for _ in range(1_000):
            link.send('"too late"', PATIENCE)

    with pytest.raises(ConnectionLost) as caught:
        send_until_it_fails()
    assert (caught.value.code, caught.value.reason) == (1013, "later")
    with pytest.raises(ConnectionLost) as again:
        link.receive()
    assert again.value is caught.value


def test_after_our_own_close_frame_no_second_one_is_sent(
    server: FakeServer, link: WebSocketLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 6455 section 5.5.1: not even to a peer that has broken the protocol."""
    server.add_script(accept(), send_raw(MESSAGE + encode_frame(TEXT, b"", rsv=2)))
    link.open(PATIENCE)
    assert link.receive().messages == ['"last words"']  # and the end of it all, which is still to be answered
    assert link._stream is not None
    answers: list[bytes] = []
    monkeypatch.setattr(link._stream, "send_soon", lambda data, deadline: answers.append(data))
    link.close(PATIENCE)
    with pytest.raises(ConnectionLost) as caught:
        link.receive()
    assert caught.value.code == 1002
    assert answers == []


def test_an_answer_that_waits_has_time_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that took all of its time leaves a connection that is well, and a pong that may take its time too."""
    # The second time is that after the message was written.
    monkeypatch.setattr(streams, "time", SimpleNamespace(monotonic=Mock(side_effect=[0.0, 2.0])))
    one, other = socket.socketpair()
    with one, other:
        stream = streams.PlainStream(one)
        stream._soon.append(b"pong")
        write = Mock()
        monkeypatch.setattr(stream, "_write", write)
        stream.send(b"message", 2.0)
    assert write.call_args_list == [call(b"message", 2.0), call(b"pong", 4.0)]
