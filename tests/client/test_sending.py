"""send(): what arrives, and what is raised when it cannot."""

from __future__ import annotations

import math
import threading
from typing import Any

import pytest

from realtime_client import ClientClosed, ConnectionLost, NotConnected, RealtimeClient
from realtime_client._runtime.heartbeat import Heartbeat
from realtime_client.testing import FakeServer, MemoryTransport, accept, stall
from tests.client.conftest import Make
from tests.client.recording import PATIENCE, QUICK, Record, Stopwatch, Task, alert


def test_send_writes_one_json_text(server: FakeServer, make: Make) -> None:
    client = make(server.url)
    client.connect(PATIENCE)
    message = {"type": "command", "data": {"text": "grüße €\U0001f600", "n": [1, 2.5, None, True], "deep": {"a": {}}}}
    client.send(message)
    assert server.wait_for_message({"type": "command"}) == message
    assert [frame.kind for frame in server.connections[0].frames] == ["text"]
    assert client.metrics().messages_sent == 1
    assert client.metrics().bytes_sent > 0


def test_send_takes_any_mapping(make: Make, network: MemoryTransport) -> None:
    from types import MappingProxyType

    client = make(link_factory=network)
    client.connect(PATIENCE)
    client.send(MappingProxyType({"type": "x"}))
    assert network.wait_for_sent(1) == ['{"type":"x"}']


def test_not_connected_before_connect_and_while_reconnecting(make: Make, network: MemoryTransport) -> None:
    client = make(link_factory=network, reconnect_delay=60, reconnect_delay_max=60)
    with pytest.raises(NotConnected, match="idle"):
        client.send({"type": "x"})
    client.connect(PATIENCE)
    lost = Record()
    client.on_connection_change(lost)
    network.current.lose()
    lost.wait_until(lambda items: False in items)
    with pytest.raises(NotConnected, match="reconnecting"):
        client.send({"type": "x"})
    assert client.metrics().messages_sent == 0


def test_not_connected_means_never_queued(make: Make, network: MemoryTransport) -> None:
    client = make(link_factory=network, heartbeat="none")
    with pytest.raises(NotConnected):
        client.send({"type": "lost"})
    client.connect(PATIENCE)
    client.send({"type": "sent"})
    assert network.wait_for_sent(1) == ['{"type":"sent"}']


def test_client_closed_after_close(make: Make, network: MemoryTransport) -> None:
    client = make(link_factory=network)
    client.connect(PATIENCE)
    client.close()
    with pytest.raises(ClientClosed):
        client.send({"type": "x"})


@pytest.mark.parametrize("message", [None, "text", b"bytes", 5, [1], {"type": {1, 2}}, {"type": object()}, {5: "x"}])
def test_send_refuses_what_json_cannot_carry(message: Any, make: Make, network: MemoryTransport) -> None:
    client = make(link_factory=network, heartbeat="none")
    client.connect(PATIENCE)
    with pytest.raises(TypeError):
        client.send(message)
    assert network.current.sent == []


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_send_refuses_numbers_that_json_does_not_know(number: float, make: Make, network: MemoryTransport) -> None:
    client = make(link_factory=network, heartbeat="none")
    client.connect(PATIENCE)
    with pytest.raises((TypeError, ValueError)):
        client.send({"type": "x", "data": number})
    assert network.current.sent == []


def test_send_by_many_threads_does_not_interleave(server: FakeServer, make: Make) -> None:
    client = make(server.url, heartbeat_interval=0.02)
    client.connect(PATIENCE)
    threads, each = 8, 60
    together = threading.Barrier(threads)

    def flood(me: int) -> None:
        together.wait(PATIENCE)
        for n in range(each):
            client.send({"type": "m", "by": me, "n": n, "text": str(me) * (n * 200)})

    for task in [Task(lambda me=me: flood(me)) for me in range(threads)]:  # type: ignore[misc]
        task.result(20)
    for me in range(threads):
        server.wait_for_message({"by": me, "n": each - 1}, timeout=PATIENCE)
    sent = [m for m in server.messages if m["type"] == "m"]
    assert len(sent) == threads * each
    for me in range(threads):
        own = [m for m in sent if m["by"] == me]
        assert [m["n"] for m in own] == list(range(each))
        assert all(m["text"] == str(me) * (m["n"] * 200) for m in own)
    assert server.errors == ()
    assert client.metrics().messages_sent == threads * each


def test_send_from_inside_a_callback(server: FakeServer, make: Make) -> None:
    client = make(server.url)
    client.on("system_alert", lambda event: client.send({"type": "ack", "of": event.message}))
    client.connect(PATIENCE)
    server.send(alert("one"))
    assert server.wait_for_message({"type": "ack"})["of"] == "one"


def test_send_to_a_peer_that_does_not_read_ends_with_connection_lost(server: FakeServer, make: Make) -> None:
    server.add_script(accept(), stall())
    client = make(server.url, **QUICK)
    client.connect(PATIENCE)
    big = {"type": "x", "data": "x" * 1_000_000}

    def flood() -> None:
        for _ in range(100):
            client.send(big, timeout=0.3)

    with Stopwatch() as took, pytest.raises(ConnectionLost):
        flood()
    assert took.seconds < 5
    server.wait_for_connection(2, PATIENCE)  # part of a frame is on the wire: nothing sensible could follow it


def test_send_that_waits_for_room_is_ended_by_close(server: FakeServer, make: Make) -> None:
    server.add_script(accept(), stall())
    client = make(server.url)
    client.connect(PATIENCE)
    progress = Record()

    def flood() -> None:
        while True:
            client.send({"type": "x", "data": "x" * 1_000_000}, timeout=60)
            progress(1)

    flooding = Task(flood)
    progress.wait_for(1)
    with Stopwatch() as took:
        client.close(timeout=0.5)
    assert took.seconds < 2
    with pytest.raises((ConnectionLost, ClientClosed)):
        flooding.result()


def test_send_does_not_wait_for_a_slow_callback(make: Make, network: MemoryTransport) -> None:
    client, entered, release = make(link_factory=network, heartbeat="none"), threading.Event(), threading.Event()

    def slow(event: object) -> None:
        entered.set()
        assert release.wait(PATIENCE)

    client.on("*", slow)
    client.connect(PATIENCE)
    network.current.put(alert("x"))
    assert entered.wait(PATIENCE)
    client.send({"type": "meanwhile"})
    assert network.current.sent == ['{"type":"meanwhile"}']
    release.set()


def test_reconnect_and_send_race_without_harm(server: FakeServer, make: Make) -> None:
    """Whatever moment a send falls into, it is written or it says why not."""
    client: RealtimeClient = make(server.url, **QUICK)
    client.connect(PATIENCE)
    over = threading.Event()

    def flood() -> int:
        sent = 0
        while not over.is_set():
            try:
                client.send({"type": "m"})
                sent += 1
            except (NotConnected, ConnectionLost):
                pass
        return sent

    flooding = Task(flood)
    for _ in range(10):
        client.reconnect(PATIENCE)
    over.set()
    assert flooding.result() > 0
    assert client.is_connected
    assert server.errors == ()


BIG = {"type": "big", "data": "x" * 24_000_000}
"""More than the buffers of a connection hold."""


def send_beside(client: RealtimeClient) -> TimeoutError:
    """Send until a message comes to lie beside a long one that is being written; what is raised then."""
    while True:
        try:
            client.send({"type": "small"}, timeout=0.1)
        except TimeoutError as error:
            return error


def test_send_that_only_waits_its_turn_raises_timeout_error_and_breaks_nothing(server: FakeServer, make: Make) -> None:
    server.add_script(accept(), stall("reads"))
    client = make(server.url, heartbeat="none")
    client.connect(PATIENCE)
    blocked = Task(lambda: client.send(BIG, timeout=60))

    assert type(send_beside(client)) is TimeoutError
    assert client.is_connected
    server.gate("reads").release()
    blocked.result()
    client.send({"type": "after"})
    server.wait_for_message({"type": "after"}, timeout=PATIENCE)
    assert len(server.attempts) == 1


def test_send_that_takes_long_does_not_let_the_heartbeat_raise_a_false_alarm(
    server: FakeServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way, beats, beat = threading.Event(), Record(), Heartbeat._beat

    def beat_and_tell(heartbeat: Heartbeat, now: float) -> None:
        assert under_way.wait(PATIENCE)
        beats(now)
        beat(heartbeat, now)

    monkeypatch.setattr(Heartbeat, "_beat", beat_and_tell)
    server.add_script(accept(), stall("reads"))
    client = make(server.url, heartbeat_interval=0.1, heartbeat_timeout=0.4)
    client.connect(PATIENCE)
    blocked = Task(lambda: client.send(BIG, timeout=60))
    send_beside(client)
    under_way.set()
    beats.wait_for(3)  # two have waited for their turn in vain
    assert client.is_connected
    server.gate("reads").release()
    blocked.result()
    assert client.status.last_error is None
    assert len(server.attempts) == 1
