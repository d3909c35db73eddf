"""What users of other real-time clients complain of, one compact test for each complaint: it must not happen here."""

from __future__ import annotations

import os
import random
import signal
import socket
import threading
import time
import tracemalloc
from typing import Any

import attrs
import pytest

from realtime_client import (
    ClientClosed,
    ClientConfig,
    ConnectError,
    ConnectionState,
    ConnectTimeout,
    HandshakeRejected,
    HeartbeatTimeout,
    MessageTooLarge,
    RealtimeClient,
    RealtimeError,
)
from realtime_client._core.backoff import Attempts
from realtime_client.status import RetryDecision
from realtime_client.testing import (
    FakeClock,
    FakeServer,
    MemoryTransport,
    accept,
    close,
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
)
from realtime_client.transports import opening, websocket
from tests.client.conftest import Make
from tests.client.recording import (
    PATIENCE,
    QUICK,
    Record,
    Stopwatch,
    Task,
    alert,
    anomaly,
    numbers,
    own_threads,
    states,
)
from tests.outages.processes import in_child, run_script, see_at_once
from tests.outages.waiting import in_turn, wait_until_ended

# Close hangs, or does nothing.


@pytest.mark.parametrize("peer", [[accept(), stall()], [accept(), go_silent()], [stall()], [drip(accept(), 1, 0.05)]])
def test_close_from_another_thread_ends_whatever_the_client_is_blocked_in(peer: list[Any], make: Make) -> None:
    with FakeServer(then=peer) as server:
        client = make(server.url, close_timeout=0.5)
        waiting = Task(lambda: client.wait_for("new_anomaly", timeout=PATIENCE))
        client.connect(wait=False)
        server.wait_for_attempts(1)
        with Stopwatch() as took:
            client.close()
        assert took.seconds < 1
        wait_until_ended("rtc-")  # a tenth of a second is kept for that, which a busy machine may exceed
        assert own_threads(client) == []
        with pytest.raises(ClientClosed):
            waiting.result(1)


def test_close_then_the_obvious_join_does_not_deadlock(server: FakeServer, make: Make) -> None:
    client = make(server.url)
    client.connect(PATIENCE)
    client.close()
    assert client.join(PATIENCE) is True
    assert client.join() is True


def test_close_says_which_thread_did_not_end(server: FakeServer, make: Make, caplog: pytest.LogCaptureFixture) -> None:
    client, leave, entered = make(server.url, close_timeout=0.1, name="stuck"), threading.Event(), threading.Event()
    client.on("connection_established", in_turn(entered.set, lambda: leave.wait(30)))
    client.connect(PATIENCE)
    assert entered.wait(PATIENCE)
    client.close()
    leave.set()
    assert "rtc-stuck-dispatcher" in caplog.text
    wait_until_ended("rtc-stuck")


# It reconnects after it was stopped, or never again.


@pytest.mark.parametrize("when", ["in the delay", "in the dial"])
def test_closed_means_closed(when: str, network: MemoryTransport, make: Make) -> None:
    client, changes = make(link_factory=network, reconnect_delay=0.05, reconnect_jitter=0), Record()
    client.on_status(changes)
    client.connect(PATIENCE)
    if when == "in the dial":
        network.hang()
    network.current.lose()
    changes.wait_until(lambda items: "reconnecting" in states(items))
    if when == "in the dial":
        network.wait_for_links(2)
    client.close()
    links = len(network.links)
    assert threading.Event().wait(0.15) is False  # thrice the delay
    assert len(network.links) == links
    assert client.status.state is ConnectionState.CLOSED


def test_a_dial_that_finishes_after_close_is_discarded(make: Make) -> None:
    with FakeServer(then=[drip(accept(), 4, 0.005)]) as server:
        client, changes = make(server.url), Record()
        client.on_connection_change(changes)
        for _ in range(10):
            client.connect(wait=False)
            server.wait_for_attempts(len(server.attempts) + 1)
            client.close()
        for attempt in server.attempts:
            attempt.wait_closed()
        assert server.open_connections == ()
        assert changes.items == [True, False] * (len(changes.items) // 2)


def test_a_name_that_cannot_be_looked_up_for_a_while_is_no_end(
    server: FakeServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, original = ["no", "no", "hangs", "odd", "no"], socket.getaddrinfo
    leave = threading.Event()

    def look_up(host: Any, *rest: Any, **more: Any) -> Any:
        if host != "feed.example":
            return original(host, *rest, **more)
        match answers.pop(0) if answers else "yes":
            case "no":
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
            case "hangs":
                leave.wait(30)
            case "odd":
                raise UnicodeError("odd, but so it comes")
        return original("127.0.0.1", *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    url = server.url.replace("127.0.0.1", "feed.example")
    client = make(url, proxy="direct", connect_timeout=0.2, retry_policy=lambda *_: RetryDecision(), **QUICK)
    client.connect(PATIENCE)
    assert client.metrics().failed_attempts == 5
    leave.set()


def test_one_odd_exception_does_not_end_the_thread_that_reconnects(
    server: FakeServer, make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    original, troubles = opening.open_websocket, iter([ZeroDivisionError("x"), MemoryError(), RecursionError("y")])

    def odd(*arguments: Any, **options: Any) -> Any:
        trouble = next(troubles, None)
        if trouble is not None:
            raise trouble
        return original(*arguments, **options)

    monkeypatch.setattr(websocket, "open_websocket", odd)
    client = make(server.url, **QUICK)
    client.connect(PATIENCE)
    assert caplog.text.count("unexpected error") == 3


# Retry storms, and retries of the wrong things.


def test_retries_take_no_thread_each(server: FakeServer, make: Make) -> None:
    server.then = [refuse(503)]
    client = make(server.url, max_reconnect_attempts=None, reconnect_delay=0.001, reconnect_delay_max=0.001)
    client.connect(wait=False)
    server.wait_for_attempts(50)
    assert len(own_threads(client)) <= 3


def test_handshakes_that_succeed_and_die_at_once_are_not_retried_without_delay(
    network: MemoryTransport, clock: FakeClock, make: Make
) -> None:
    client, changes = make(link_factory=network, clock=clock, heartbeat="none", reconnect_jitter=0), Record()
    client.on_status(changes)
    client.connect(PATIENCE)
    for number, due in enumerate([1, 2, 4, 8, 16, 16], start=1):
        network.wait_for_open(number).lose()
        last = changes.wait_until(lambda items: items and items[-1].current.next_retry_at is not None)[-1].current
        assert (last.next_retry_at - clock.now()).total_seconds() == due
        clock.wait_for_waiters(1)
        clock.advance(due)
        changes.wait_until(lambda items: items[-1].current.connected)


def test_jitter_comes_after_the_cap_so_that_clients_do_not_fall_into_step() -> None:
    delays = set()
    for seed in range(100):
        attempts = Attempts(ClientConfig(), random.Random(seed).uniform)
        delays.add([attempts.next_delay(RetryDecision(), declared=False) for _ in range(20)][-1])
    assert len(delays) == 100
    assert min(delays) < 10
    assert max(delays) > 20


@pytest.mark.parametrize(("steps", "least"), [([accept(), close(1012)], 5), ([accept(), close(1013)], 15.5),
                                              ([refuse(503, headers={"Retry-After": "77"})], 76)])  # fmt: skip
def test_the_servers_word_is_obeyed(steps: list[Any], least: float, server: FakeServer, make: Make) -> None:
    server.then = steps
    client, changes = make(server.url, reconnect_delay=0.1, reconnect_delay_max=16), Record()
    client.on_status(changes)
    client.connect(wait=False)
    last = changes.wait_until(lambda items: items and items[-1].current.next_retry_at is not None)[-1].current
    assert (last.next_retry_at - last.since).total_seconds() >= least - 0.1


# Dead, but "connected".


def test_a_peer_that_falls_silent_is_noticed(make: Make) -> None:
    with FakeServer(script=[[accept(), go_silent()]]) as server:
        client, lost = make(server.url, heartbeat_interval=0.05, heartbeat_timeout=0.1, **QUICK), Record()
        client.on_status(lambda change: lost(change.current.last_error) if change.current.last_error else None)
        client.connect(PATIENCE)
        assert isinstance(lost.wait_for(1)[0], HeartbeatTimeout)
        server.wait_for_connection(2)


def test_a_connection_on_which_data_flows_is_not_killed_for_want_of_a_pong(make: Make) -> None:
    # It answers no ping, but sends a byte of one long message now and then: any byte is life.
    head = b"\x81\x7e\x10\x00"
    with FakeServer(then=[accept(), go_silent(gate="never")]) as server:
        client, changes = make(server.url, heartbeat_interval=0.05, heartbeat_timeout=0.15, **QUICK), Record()
        client.on_connection_change(changes)
        client.connect(PATIENCE)
        connection = server.connections[0]
        connection.send_frame(head, 1)
        for number in range(40):
            connection.post(b"x")
            connection.wait_for_frame("ping", n=1 + number // 4)
            assert threading.Event().wait(0.02) is False
        assert changes.items == [True]
        assert client.status.last_message_at is not None
        server.gate("never").release()


def test_the_status_says_when_the_feed_was_heard(server: FakeServer, make: Make) -> None:
    client = make(server.url)
    client.connect(PATIENCE)
    server.send(anomaly(1))
    client.store.wait_for(lambda seen: seen.recent_logs, PATIENCE)
    first = client.status.last_message_at
    server.send(anomaly(2))
    client.store.wait_for(lambda seen: len(seen.recent_logs) == 2, PATIENCE)
    second = client.status.last_message_at
    assert first is not None
    assert second is not None
    assert first < second


# Callbacks.


def test_an_exception_in_a_callback_is_neither_hidden_nor_fatal(
    server: FakeServer, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    client, errors = make(server.url), Record()

    def has_a_name(_event: Any) -> None:
        raise ZeroDivisionError("in the callback")

    client.on("new_anomaly", has_a_name)
    client.on_error(errors)
    client.connect(PATIENCE)
    server.send(anomaly(1))
    errors.wait_for(1)
    server.send(anomaly(2))
    errors.wait_for(2)
    assert "has_a_name" in caplog.text
    assert "in the callback" in caplog.text


def test_no_lock_is_held_while_a_callback_runs(server: FakeServer, make: Make) -> None:
    client, inside, leave = make(server.url), threading.Event(), threading.Event()
    client.on("connection_established", in_turn(inside.set, lambda: leave.wait(30)))
    client.connect(PATIENCE)
    assert inside.wait(PATIENCE)
    calls = [
        lambda: client.send({"type": "x"}),
        client.metrics,
        client.health,
        lambda: client.on("*", print).cancel(),
        client.store.snapshot,
        lambda: client.reconnect(PATIENCE),
        lambda: repr(client),
    ]
    for call in calls:
        Task(call).result(3)
    leave.set()


def test_the_order_of_events_is_kept(make: Make) -> None:
    with FakeServer(then=[accept(), repeat(2000, lambda turn: send(anomaly(turn)))]) as server:
        client, one, own = make(server.url), Record(), Record()
        client.on("new_anomaly", one)
        client.on("new_anomaly", own, own_thread=True)
        client.connect(PATIENCE)
        assert numbers(one.wait_for(2000)) == numbers(own.wait_for(2000)) == list(range(2000))


def test_a_slow_callback_is_no_reason_for_a_ping_timeout(make: Make) -> None:
    with FakeServer() as server:
        options = {"heartbeat_interval": 0.03, "heartbeat_timeout": 0.2}
        client, changes, leave = make(server.url, **options), Record(), threading.Event()
        client.on("connection_established", lambda _: leave.wait(30))
        client.on_connection_change(changes)
        client.connect(PATIENCE)
        server.connections[0].wait_for_message({"type": "ping"}, n=15)  # 0.45 s: the callback still runs
        assert client.is_connected
        assert client.metrics().reconnects == 0
        leave.set()


# Fork, WSGI, gevent.


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_worker_is_neither_frozen_nor_hanging(server: FakeServer, make: Make) -> None:
    client = make(server.url)
    client.connect(PATIENCE)

    def child() -> bool:
        client.connect(PATIENCE)
        alive = client.is_connected
        client.close()
        return alive

    assert in_child(child)
    assert server.connections[0].is_open
    assert server.connections[0].frames == ()


def test_importing_and_constructing_starts_nothing() -> None:
    text = """
    import threading, socket
    socket.socket.connect = None
    import realtime_client
    clients = [realtime_client.RealtimeClient(), realtime_client.shared()]
    print(threading.active_count())
    """
    finished = run_script(text)
    assert (finished.lines, finished.errors, finished.code) == (["1"], "", 0)


# Exit and Ctrl-C.


def test_exit_prints_nothing_and_takes_no_time(server: FakeServer) -> None:
    text = """
    import logging, os, sys, time
    logging.basicConfig(level=logging.DEBUG, stream=open(os.devnull, "w"))
    from realtime_client import RealtimeClient
    client = RealtimeClient(sys.argv[1])
    client.on("*", lambda event: logging.info("an event"))
    client.connect()
    print(time.monotonic())
    """

    def run() -> float:
        finished = run_script(text, server.url)
        assert (finished.errors, finished.code) == ("", 0)
        return finished.at - float(finished.lines[-1])

    see_at_once(run)


def test_sigint_is_the_applications(server: FakeServer, make: Make) -> None:
    before = signal.getsignal(signal.SIGINT)
    client = make(server.url)
    client.connect(PATIENCE)
    assert signal.getsignal(signal.SIGINT) is before
    caught = []
    previous = signal.signal(signal.SIGUSR1, lambda *_: caught.append(1))
    try:
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
        timer.start()
        assert client.join(0.2) is False
        timer.join()
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert caught == [1]


# Size, security, secrets.


FLOOD = 5000
HEAD = b"HTTP/1.1 101 Switching Protocols\r\n"
FRAGMENT = b"\x7e\xff\xff" + b"x" * 65535


@pytest.mark.parametrize(
    ("attack", "error"),
    [
        ([accept(), send_raw(b"\x81\x7f\0\0\0\x7f\xff\xff\xff\xff"), garbage(1 << 20)], MessageTooLarge),
        ([accept(), send_raw(b"\x01" + FRAGMENT), repeat(None, send_raw(b"\0" + FRAGMENT))], MessageTooLarge),
        ([send_raw(HEAD), repeat(None, send_raw(b"X-More: " + b"y" * 900 + b"\r\n"))], ConnectError),
        ([accept(), repeat(FLOOD, send_raw(b"\x89\x7d" + b"p" * 125))], None),
    ],
    ids=["huge frame", "endless fragments", "endless head", "ping flood"],
)
def test_memory_does_not_grow_with_what_a_server_sends(
    attack: list[Any], error: type[RealtimeError] | None, make: Make
) -> None:
    with FakeServer(then=attack) as server:
        client, errors = make(server.url, max_message_bytes=1 << 16, connect_timeout=2, **QUICK), Record()
        client.on_status(lambda change: errors(type(change.current.last_error)))
        tracemalloc.start()
        try:
            client.connect(wait=False)
            if error is None:
                server.wait_for_frame("pong", PATIENCE, FLOOD)  # it answers them all
            else:
                errors.wait_until(lambda items: error in items)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 2 << 20  # of which 1.3 MiB are the server's record of the pongs that it got


def test_a_message_over_the_limit_is_refused_at_its_header(make: Make) -> None:
    with FakeServer(script=[[accept(), send_raw(b"\x81\x7f\x00\x00\x00\x00\x7f\xff\xff\xff")]]) as server:
        client, changes = make(server.url, **QUICK), Record()
        client.on_status(changes)
        client.connect(wait=False)
        server.wait_for_connection(2)
        errors = [change.current.last_error for change in changes.items if change.current.last_error]
        assert isinstance(errors[0], MessageTooLarge)
        assert server.connections[0].close_code == 1009


def test_a_token_never_reaches_the_log(server: FakeServer, make: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    client = make(server.url + "?token=in-the-query", token="in-the-header")
    client.connect(PATIENCE)
    client.close()
    assert caplog.text
    assert "in-the" not in caplog.text + repr(client) + repr(client.config)


def test_the_token_is_asked_anew_for_each_attempt(server: FakeServer, make: Make) -> None:
    fresh = iter(range(100))
    client = make(server.url, token=lambda: f"t{next(fresh)}", **QUICK)
    server.add_script(refuse(503))
    client.connect(PATIENCE)
    server.drop()
    server.wait_for_connection(2)
    sent = [attempt.request.headers["Authorization"] for attempt in server.attempts if attempt.request]
    assert sent == ["Bearer t0", "Bearer t1", "Bearer t2"]


def test_credentials_do_not_follow_a_redirect(make: Make) -> None:
    with FakeServer() as other, FakeServer(then=[redirect(other.url)]) as server:
        with pytest.raises(HandshakeRejected):
            make(server.url, token="secret").connect(PATIENCE)
        assert other.attempts == ()


def test_log_lines_cannot_be_forged_by_the_server(
    server: FakeServer, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    forged = "bye\r\n2024-01-01 CRITICAL all is lost\x1b[2J"
    server.add_script(accept(), close(4000, forged))
    client = make(server.url, **QUICK)
    client.connect(wait=False)
    server.wait_for_connection(2)
    server.send({"type": "new_anomaly", "data": {"log": {"id": forged, "message": 7}}})
    server.send(alert(forged))
    client.store.wait_for(lambda seen: seen.alerts, PATIENCE)
    client.close()
    for record in caplog.records:
        assert record.getMessage().isprintable(), record.getMessage()


# How does one test a client?


def test_a_client_is_tested_without_a_network_and_without_waiting(network: MemoryTransport, clock: FakeClock) -> None:
    client = RealtimeClient(link_factory=network, clock=clock)
    with Stopwatch() as took, client:
        network.refuse(times=3)
        network.current.lose()
        for _ in range(4):
            clock.skip_delay(client)
        link = network.wait_for_open(2)
        alerts = client.events("system_alert", timeout=PATIENCE)
        link.put(alert("hello"))
        event: Any = next(alerts)
        assert event.message == "hello"
        client.send({"type": "hello"})
        assert '{"type":"hello"}' in network.wait_for_sent(1)
    assert took.seconds < PATIENCE


def test_every_fault_can_be_scripted(make: Make) -> None:
    script = [[refuse(502)], [reset()], [stall()], [accept(), garbage(100)], [accept(), close(1001)]]
    with FakeServer(script=script) as server:
        client = make(server.url, connect_timeout=0.2, **QUICK)
        began = time.monotonic()
        with pytest.raises(ConnectTimeout):
            client.connect(0.001)
        server.wait_for_connection(3)
        assert time.monotonic() - began < PATIENCE
        assert attrs.asdict(client.metrics())["connects"] >= 2
