"""TLS: verified by default, and two directions at once."""

from __future__ import annotations

import datetime
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator

import psutil
import pytest
import trustme

from realtime_client import ConnectError, ConnectionState, ConnectTimeout, PollError
from realtime_client.testing import Ending, FakeServer, accept, go_silent, repeat, send, stall
from realtime_client.transports.dialing import Dial
from tests.client.conftest import Make
from tests.client.recording import (
    FIRST_FAILURE,
    PATIENCE,
    QUICK,
    Record,
    Stopwatch,
    Task,
    alert,
    anomaly,
    numbers,
    own_threads,
)
from tests.outages.waiting import wait_until_ended
from tests.serving import serving


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trust(authority: trustme.CA) -> Iterator[str]:
    with authority.cert_pem.tempfile() as path:
        yield path


@pytest.fixture
def tls_server(nothing_is_left: None, authority: trustme.CA) -> Iterator[FakeServer]:
    with FakeServer(ssl_context=serving(authority.issue_cert("127.0.0.1", "localhost"))) as fake:
        yield fake


def test_ca_file_names_the_authorities_to_trust(tls_server: FakeServer, make: Make, trust: str) -> None:
    client, events = make(tls_server.url, ca_file=trust), Record()
    client.on("system_alert", events)
    client.connect(PATIENCE)
    tls_server.send(alert("over TLS"))
    assert events.wait_for(1)[0].message == "over TLS"
    client.send({"type": "command"})
    tls_server.wait_for_message({"type": "command"})
    client.close()
    assert tls_server.connections[0].wait_closed() is Ending.CLOSED


def test_ssl_context_is_used_as_it_is(tls_server: FakeServer, make: Make, authority: trustme.CA) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    client = make(tls_server.url, ssl_context=context)
    client.connect(PATIENCE)
    assert client.is_connected


def test_a_certificate_is_verified_by_default_and_its_refusal_is_fatal(tls_server: FakeServer, make: Make) -> None:
    client = make(tls_server.url, reconnect_delay=16)
    with Stopwatch() as took, pytest.raises(ConnectError, match="certificate") as caught:
        client.connect(PATIENCE)
    assert took.seconds < 3
    assert caught.value.retryable is False
    assert client.status.state is ConnectionState.FAILED
    (attempt,) = tls_server.wait_for_attempts(1)
    assert attempt.wait_closed() is Ending.TLS_FAILED
    assert attempt.request is None


@pytest.mark.parametrize("name", ["example.org", "127.0.0.2"])
def test_a_certificate_for_another_host_is_refused(name: str, authority: trustme.CA, make: Make, trust: str) -> None:
    with FakeServer(ssl_context=serving(authority.issue_cert(name))) as fake:
        client = make(fake.url, ca_file=trust)
        with pytest.raises(ConnectError, match="certificate"):
            client.connect(PATIENCE)
        assert client.status.state is ConnectionState.FAILED
        client.close()


def test_a_certificate_that_has_expired_is_refused(authority: trustme.CA, make: Make, trust: str) -> None:
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    with FakeServer(ssl_context=serving(authority.issue_cert("127.0.0.1", not_after=past))) as fake:
        client = make(fake.url, ca_file=trust)
        with pytest.raises(ConnectError, match="certificate"):
            client.connect(PATIENCE)
        client.close()


def test_a_certificate_is_checked_against_the_name_in_the_url(tls_server: FakeServer, make: Make, trust: str) -> None:
    client = make(tls_server.url.replace("127.0.0.1", "localhost"), ca_file=trust)
    client.connect(PATIENCE)
    assert client.is_connected


def test_ca_file_that_does_not_exist_is_named(tls_server: FakeServer, make: Make) -> None:
    client = make(tls_server.url, ca_file="/no/such/authorities.pem")
    with pytest.raises(ConnectError, match=r"ca_file.*authorities\.pem"):
        client.connect(PATIENCE)
    assert client.status.state is ConnectionState.FAILED


def test_tls_to_a_server_that_speaks_none_is_tried_again(server: FakeServer, make: Make) -> None:
    client = make(server.url.replace("ws://", "wss://"), connect_timeout=0.3, **FIRST_FAILURE)
    with Stopwatch() as took, pytest.raises(ConnectError) as caught:
        client.connect(PATIENCE)
    assert took.seconds < 3
    assert caught.value.retryable is True


def test_no_tls_to_a_server_that_wants_it_is_tried_again(tls_server: FakeServer, make: Make) -> None:
    client = make(tls_server.url.replace("wss://", "ws://"), **FIRST_FAILURE)
    with pytest.raises(ConnectError) as caught:
        client.connect(PATIENCE)
    assert caught.value.retryable is True


def test_tls_both_directions_at_full_speed(tls_server: FakeServer, make: Make, trust: str) -> None:
    """One OpenSSL object, a reader and several writers: nothing is lost, garbled or stuck."""
    incoming, outgoing, writers = 20_000, 400, 3
    tls_server.add_script(accept(), repeat(incoming, lambda i: send(anomaly(i, message="m" * (i % 300)))))
    client = make(tls_server.url, ca_file=trust, overflow="block", heartbeat_interval=0.02, heartbeat_timeout=PATIENCE)
    count, last = 0, threading.Event()
    in_order = True

    def check(event: object) -> None:
        nonlocal count, in_order
        in_order = in_order and numbers([event]) == [count]
        count += 1
        if count == incoming:
            last.set()

    client.on("new_anomaly", check)
    client.connect(PATIENCE)

    def write(me: int) -> None:
        for n in range(outgoing):
            client.send({"type": "m", "by": me, "n": n, "text": "x" * (n * 20)}, timeout=20)

    for task in [Task(lambda me=me: write(me)) for me in range(writers)]:  # type: ignore[misc]
        task.result(30)
    assert last.wait(30)
    for me in range(writers):
        tls_server.wait_for_message({"by": me, "n": outgoing - 1}, timeout=20)
        own = [m for m in tls_server.messages if m.get("by") == me]
        assert [m["n"] for m in own] == list(range(outgoing))
        assert all(len(m["text"]) == m["n"] * 20 for m in own)
    assert in_order
    assert count == incoming
    assert len(tls_server.connections) == 1
    assert client.rejected == ()


def test_tls_close_is_quick_and_clean_on_a_silent_peer(tls_server: FakeServer, make: Make, trust: str) -> None:
    tls_server.add_script(accept(), go_silent(read=False))
    client = make(tls_server.url, ca_file=trust)
    client.connect(PATIENCE)
    with Stopwatch() as took:
        client.close(timeout=0.4)
    assert took.seconds < 1.4
    wait_until_ended("rtc-")  # a tenth of a second is kept for that, which a busy machine may exceed
    assert own_threads() == []


def test_tls_handshake_that_stalls_is_bounded_by_connect_timeout(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:  # accepts in the kernel and says nothing
        client = make(f"wss://127.0.0.1:{mute.getsockname()[1]}/ws", connect_timeout=0.3, **{**QUICK, **FIRST_FAILURE})
        with Stopwatch() as took, pytest.raises(ConnectTimeout):
            client.connect(PATIENCE)
        assert 0.3 <= took.seconds < 2


def test_tls_close_during_the_tls_handshake(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        client = make(f"wss://127.0.0.1:{mute.getsockname()[1]}/ws", connect_timeout=60)
        client.connect(wait=False)
        peer, _ = mute.accept()
        with peer:
            peer.recv(1)
            with Stopwatch() as took:
                client.close()
            assert took.seconds < 1
        assert own_threads() == []


def test_tls_heartbeat_notices_a_peer_that_stalls(tls_server: FakeServer, make: Make, trust: str) -> None:
    tls_server.add_script(accept(), stall())
    client = make(tls_server.url, ca_file=trust, heartbeat_interval=0.1, heartbeat_timeout=0.2, **QUICK)
    client.connect(PATIENCE)
    tls_server.wait_for_connection(2, PATIENCE)


def test_tls_on_a_connection_that_was_reset_already_leaves_no_descriptor() -> None:
    process = psutil.Process()
    with socket.create_server(("127.0.0.1", 0)) as server:
        deadline = time.monotonic() + PATIENCE
        dial = Dial()
        before = process.num_fds()
        dial.connect("127.0.0.1", server.getsockname()[1], deadline)
        peer, _ = server.accept()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        gone = select.poll()
        assert dial.sock is not None
        gone.register(dial.sock, 0)  # which tells of a hang-up alone
        assert gone.poll(PATIENCE * 1000)
        with pytest.raises(ConnectionResetError):
            dial.secure(ssl.create_default_context(), "127.0.0.1", deadline)
        dial.close()
        assert dial.is_closed
        assert process.num_fds() == before


def test_the_stream_and_all_polls_share_one_context(
    tls_server: FakeServer, make: Make, trust: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, make_context = Record(), ssl.create_default_context

    def make_and_tell(*, cafile: str | None = None) -> ssl.SSLContext:
        made(cafile)
        return make_context(cafile=cafile)

    monkeypatch.setattr(ssl, "create_default_context", make_and_tell)
    tls_server.poll_answer = {"stats": {"totalLogs": 4}}
    client = make(tls_server.url, polling_url=tls_server.poll_url, ca_file=trust)
    assert client.refresh(PATIENCE).stats.total_logs == 4
    client.connect(PATIENCE)
    client.refresh(PATIENCE)
    assert made.items == [trust]


def test_ca_file_that_does_not_exist_is_named_by_a_poll_too(tls_server: FakeServer, make: Make) -> None:
    client = make(tls_server.url, polling_url=tls_server.poll_url, ca_file="/no/such/authorities.pem")
    with pytest.raises(PollError, match=r"ca_file.*authorities\.pem"):
        client.refresh(PATIENCE)


def test_a_poll_that_is_given_up_ends_its_tls_handshake(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        client = make(f"ws://{address}/ws", polling_url=f"https://{address}/poll")
        poll = Task(lambda: client.refresh(600))
        peer, _ = mute.accept()
        with peer:
            assert peer.recv(1)  # of a hello that is never answered
            client.close()
            with pytest.raises(PollError):
                poll.result(PATIENCE)
            wait_until_ended("rtc-")
            assert own_threads() == []
