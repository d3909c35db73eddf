"""Reconnection for real: a server that is killed and started again, over and over, under load."""

from __future__ import annotations

import itertools

import psutil
import pytest

from realtime_client import ConnectionState, HeartbeatTimeout, RealtimeClient
from realtime_client.testing import Ending, FakeServer, accept, close, disconnect, garbage, refuse, repeat, reset, send
from realtime_client.testing.script import Step
from tests.client.conftest import Make
from tests.client.recording import PATIENCE, QUICK, Record, Task, alert, anomaly, numbers, own_threads, states

ROUNDS = 10
PER_ROUND = 400

ONE_OF_EACH = ["dispatcher", "heartbeat", "reader", "reconnect"]
"""The threads of a connected client; they all run once an event of the connection has come."""


def roles(client: RealtimeClient) -> list[str]:
    """What the client's threads do, in the order of the alphabet."""
    return [name.split("-")[2] for name in own_threads(client)]


def test_reconnect_ten_times_under_load_loses_and_repeats_nothing(server: FakeServer, make: Make) -> None:
    """Each round the server sends its events, says goodbye, is killed and started again; the client is slow."""

    def feed(first: int) -> Step:
        return repeat(PER_ROUND, lambda i: send(anomaly(first + i)))

    server.then = [refuse(503)]  # until the test lets the next round begin
    server.add_script(accept(), feed(0), close(1001, timeout=PATIENCE))
    client = make(server.url, overflow="block", max_pending_events=20, max_reconnect_attempts=None, **QUICK)
    told, connected, well = Record(), Record(), Record()
    client.on("new_anomaly", told)
    client.on_status(told)
    client.on_connection_change(connected)
    client.on("system_alert", well)
    client.connect(PATIENCE)
    for turn in range(1, ROUNDS + 1):
        assert server.wait_for_connection(turn, PATIENCE).wait_closed(PATIENCE) is Ending.CLOSED
        server.restart()
        if turn < ROUNDS:
            server.add_script(accept(), feed(turn * PER_ROUND), close(1001, timeout=PATIENCE))
    server.then = [accept()]
    told.wait_until(lambda items: len(numbers(items)) == ROUNDS * PER_ROUND)
    connected.wait_for(2 * ROUNDS + 1)
    assert numbers(told.items) == list(range(ROUNDS * PER_ROUND))
    assert client.is_connected
    assert client.status.state is ConnectionState.CONNECTED
    assert client.metrics().dropped == {}
    assert client.metrics().reconnects == ROUNDS
    assert client.metrics().queue_high_water <= 20
    assert server.max_open == 1
    server.send(alert("well again"))
    well.wait_for(1)
    assert roles(client) == ONE_OF_EACH
    assert connected.items == [True, *[False, True] * ROUNDS]
    changes = [item for item in told.items if hasattr(item, "previous")]
    assert changes[0].previous.state is ConnectionState.IDLE
    assert all(later.previous == earlier.current for earlier, later in itertools.pairwise(changes))
    assert states(changes) == ["connecting", "connected", *["reconnecting", "connected"] * ROUNDS]
    # Events and changes come in one order: the events of a connection between its beginning and its end.
    place, seen = 0, []
    for item in told.items:
        if hasattr(item, "previous"):
            place += item.current.connected and not item.previous.connected
        else:
            seen.append((place - 1) * PER_ROUND <= int(item.log.id.removeprefix("log-")) < place * PER_ROUND)
    assert all(seen)


def test_reconnect_after_cuts_in_the_middle_leaves_no_hole_in_what_was_read(server: FakeServer, make: Make) -> None:
    """Cut without warning, some events are lost on the way; those that arrive are a beginning, each once, in order."""
    server.then = [accept(), repeat(None, lambda i: send(anomaly(i)))]
    client = make(server.url, overflow="block", max_pending_events=50, max_reconnect_attempts=None, **QUICK)
    told, connected = Record(), Record()
    client.on("*", told)
    client.on_connection_change(told)
    client.on_connection_change(connected)
    client.connect(PATIENCE)
    for turn in range(1, 6):
        told.wait_for(turn * 300)
        server.drop(reset=turn % 2 == 0)
        connected.wait_for(1 + 2 * turn)
    client.close()
    runs: list[list[int]] = []
    for item in told.items:
        if item is True:
            runs.append([])
        elif item is not False:
            runs[-1] += numbers([item])
    assert len(runs) == 6
    for run in runs:
        assert run == list(range(len(run)))


@pytest.mark.parametrize(
    "ending",
    [
        pytest.param([accept(), reset()], id="reset"),
        pytest.param([accept(), disconnect()], id="end of stream"),
        pytest.param([accept(), close(1001)], id="going away"),
        pytest.param([accept(), close(1005)], id="close without a code"),
        pytest.param([accept(), close(4999, "for its own reasons")], id="private code"),
        pytest.param([accept(), garbage(500)], id="garbage"),
        pytest.param([reset()], id="reset before the handshake"),
        pytest.param([disconnect()], id="no answer"),
        pytest.param([garbage(500), disconnect()], id="garbage for an answer"),
        pytest.param([refuse(503)], id="503"),
        pytest.param([refuse(200)], id="200"),
        pytest.param([accept(wrong_key="AAAAAAAAAAAAAAAAAAAAAAAAAAA=")], id="wrong key"),
        pytest.param([accept(headers={"Sec-WebSocket-Extensions": "x-none"})], id="unasked extension"),
        pytest.param([accept(subprotocol="unasked")], id="unasked subprotocol"),
    ],
)
def test_the_client_comes_back_after(ending: list[Step], server: FakeServer, make: Make) -> None:
    server.add_script(*ending)
    client, events = make(server.url, **QUICK), Record()
    client.on("system_alert", events)
    server.add_script(accept(), send(alert("well again")))
    client.connect(wait=False)
    (event,) = events.wait_for(1)
    assert event.message == "well again"
    assert client.is_connected
    assert len(server.attempts) == 2


def test_a_server_that_is_not_there_yet_is_found_when_it_comes(make: Make) -> None:
    with FakeServer() as server:
        server.stop()
        client = make(server.url, max_reconnect_attempts=None, **QUICK)
        failing = Record()
        client.on_status(failing)
        waiting = Task(client.connect)
        failing.wait_until(lambda items: items and items[-1].current.reconnect_attempts >= 3)
        assert not waiting.done
        server.restart()
        waiting.result()
        assert client.is_connected
        client.close()


def test_no_thread_and_no_descriptor_is_left_over_many_reconnections(server: FakeServer, make: Make) -> None:
    client, alerts = make(server.url, max_reconnect_attempts=None, **QUICK), Record()
    client.on("system_alert", alerts)
    client.connect(PATIENCE)
    process = psutil.Process()
    descriptors = process.num_fds()
    for turn in range(1, 26):
        (connection,) = server.drop(reset=turn % 2 == 0)
        connection.wait_closed()
        server.wait_for_connection(turn + 1).send(alert(f"connection {turn + 1}"))
        alerts.wait_for(turn)
        assert roles(client) == ONE_OF_EACH
    assert process.num_fds() <= descriptors
    assert client.metrics().reconnects == 25


def test_an_error_of_its_own_making_does_not_end_the_client(
    server: FakeServer, make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is raised where nobody expects it: there is a next attempt."""
    client, connected = make(server.url, **QUICK), Record()
    client.on_connection_change(connected)
    client.connect(PATIENCE)
    monkeypatch.setattr(client.store, "apply", lambda *a, **k: (_ for _ in ()).throw(ZeroDivisionError("a mistake")))
    server.send(alert("trips"))
    connected.wait_until(lambda items: False in items)
    monkeypatch.undo()
    connected.wait_until(lambda items: items[-1])
    assert "ZeroDivisionError" in caplog.text
    assert not isinstance(client.status.last_error, HeartbeatTimeout)
