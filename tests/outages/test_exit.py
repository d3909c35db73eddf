"""The end of the interpreter, and Ctrl-C: real processes, with their exit codes and what they say at the end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from realtime_client import ConnectionState, RealtimeClient
from realtime_client.testing import (
    Ending,
    FakeServer,
    MemoryTransport,
    accept,
    drip,
    go_silent,
    refuse,
    repeat,
    send,
    stall,
)
from tests.client.conftest import Make
from tests.client.recording import PATIENCE, alert, anomaly
from tests.outages.processes import AT_ONCE, Script, run_script, see_at_once

BEGINNING = """
import sys, threading, time, warnings
from realtime_client import RealtimeClient, RealtimeError
client = RealtimeClient(sys.argv[1])
"""
END = """
print("end", time.monotonic(), flush=True)
"""


def run_to_end(server: FakeServer, text: str, *, flags: tuple[str, ...] = ()) -> None:
    """Run a program that forgets to close, and see that it ends as if there were no client."""

    def run() -> float:
        finished = run_script(BEGINNING + text + END, server.url, flags=flags)
        assert finished.errors == ""
        assert finished.code == 0
        word, at = finished.lines[-1].split()
        assert word == "end"
        return finished.at - float(at)

    see_at_once(run)


def see_goodbyes(server: FakeServer) -> None:
    """See that whoever was connected has said goodbye."""
    assert server.connections
    for connection in server.connections:
        assert connection.wait_closed() is Ending.CLOSED
        assert connection.close_code == 1000


def test_a_script_that_forgets_to_close_says_goodbye(server: FakeServer) -> None:
    run_to_end(server, "client.connect()")
    see_goodbyes(server)


@pytest.mark.parametrize("flags", [("-X", "dev"), ("-W", "error"), ("-X", "dev", "-W", "error", "-E")])
def test_it_does_so_in_the_strictest_modes_of_the_interpreter(flags: tuple[str, ...], server: FakeServer) -> None:
    run_to_end(server, "client.connect()", flags=flags)
    see_goodbyes(server)


def test_a_script_that_never_connects(server: FakeServer) -> None:
    run_to_end(server, "")
    assert server.attempts == ()


def test_many_clients_share_the_time(server: FakeServer) -> None:
    run_to_end(
        server, "clients = [RealtimeClient(sys.argv[1], name=f'c{n}') for n in range(8)]\nfor c in clients: c.connect()"
    )
    see_goodbyes(server)


@pytest.mark.parametrize(
    "hangs",
    [
        "client.on('connection_established', lambda _: (entered.set(), time.sleep(60)))",
        "client.on('connection_established', lambda _: (entered.set(), threading.Event().wait()))",
        "client.on('connection_established', lambda _: (entered.set(), time.sleep(60)), own_thread=True)",
        "client.on_status(lambda change: change.current.connected and (entered.set(), time.sleep(60)))",
    ],
)
def test_a_callback_that_hangs(hangs: str, server: FakeServer) -> None:
    run_to_end(server, f"entered = threading.Event()\n{hangs}\nclient.connect()\nassert entered.wait(5)")
    see_goodbyes(server)  # they do not go through callbacks


def test_lanes_of_their_own() -> None:
    flood = repeat(None, lambda turn: send(anomaly(turn)), interval=0.0005)
    with FakeServer(then=[accept(), flood]) as server:
        text = "seen = threading.Event()\n"
        text += "for _ in range(5): client.on('new_anomaly', lambda event: seen.set(), own_thread=True)\n"
        text += "client.connect()\nassert seen.wait(5)\niterator = client.events()"
        run_to_end(server, text)
        see_goodbyes(server)


def test_a_callback_that_logs_and_prints_to_the_last() -> None:
    flood = repeat(None, lambda turn: send(anomaly(turn)), interval=0.0005)
    with FakeServer(then=[accept(), flood]) as server:
        text = "import logging; logging.basicConfig(stream=sys.stdout, level=logging.DEBUG)\n"
        text += "seen = threading.Event()\n"
        text += "def talk(event): logging.info('got %s', event.log.id); print('x', end='', flush=True); seen.set()\n"
        text += "client.on('new_anomaly', talk)\nclient.connect()\nassert seen.wait(5)"
        finished = run_script(BEGINNING + text, server.url)
        assert finished.errors == ""
        assert finished.code == 0


@pytest.mark.parametrize("steps", [[stall()], [drip(accept(), 1, 0.2)], [refuse(503)]], ids=["stall", "drip", "retry"])
def test_while_it_is_connecting_or_retrying(steps: list[Any]) -> None:
    with FakeServer(then=steps) as server:
        text = "tried = threading.Event()\nclient.on_status(lambda change: tried.set())\n"
        text += "client.connect(wait=False)\nassert tried.wait(5)"
        run_to_end(server, text)


def test_while_it_waits_for_a_name(server: FakeServer) -> None:
    text = "import socket\nentered = threading.Event()\n"
    text += "def slow(*a, **k): entered.set(); time.sleep(60)\nsocket.getaddrinfo = slow\n"
    text += "other = RealtimeClient('ws://feed.example/ws', proxy='direct')\n"
    text += "other.connect(wait=False)\nassert entered.wait(5)"
    run_to_end(server, text)


def test_while_it_polls() -> None:
    with FakeServer(then=[refuse(503)]) as server:
        text = "asked = threading.Event()\n"
        text += "client = RealtimeClient(sys.argv[1], poller=lambda: (asked.set(), time.sleep(60)), poll_after=0)\n"
        text += "client.connect(wait=False)\nassert asked.wait(5)"
        run_to_end(server, text)


def test_a_peer_that_answers_no_close_is_not_waited_for() -> None:
    with FakeServer(then=[accept(), go_silent()]) as server:
        run_to_end(server, "client.connect()")
        for connection in server.connections:
            connection.wait_for_frame("close")


@pytest.mark.parametrize(
    ("ending", "code", "errors"),
    [
        ("sys.exit(3)", 3, ""),
        ("sys.exit('out of paper')", 1, "out of paper\n"),
        ("raise ValueError('broken')", 1, "ValueError: broken\n"),
        ("import os; os._exit(4)", 4, ""),
        ("threading.Thread(target=lambda: None).start()", 0, ""),
    ],
)
def test_other_ways_to_end(ending: str, code: int, errors: str, server: FakeServer) -> None:
    finished = run_script(BEGINNING + f"client.connect()\nprint('ready')\n{ending}", server.url)
    assert finished.code == code
    assert finished.errors.endswith(errors)
    assert finished.errors.count("Traceback") == (1 if "raise" in ending else 0)
    ended = server.connections[0].wait_closed()
    assert ended is Ending.CLOSED or "_exit" in ending


def test_a_client_used_in_an_exit_hook(server: FakeServer) -> None:
    # Registered later than the client's own hook, so it runs earlier: the client is still what it was.
    text = "import atexit\nclient.connect()\n"
    text += "atexit.register(lambda: (client.send({'type': 'last words'}), client.close()))"
    run_to_end(server, text)
    see_goodbyes(server)
    for connection in server.connections:
        assert connection.messages == ({"type": "last words"},)


def test_a_client_used_after_the_exit_hook(server: FakeServer) -> None:
    text = "import atexit, sys, time\ndef late():\n    print(client.status.state.value)\n    client.close()\n"
    text += "    try: client.send({'type': 'x'})\n    except RealtimeError as error: print(type(error).__name__)\n"
    text = text + "atexit.register(late)\n" + BEGINNING + "client.connect()\n"
    finished = run_script(text, server.url)
    assert (finished.code, finished.errors) == (0, "")
    assert finished.lines == ["closed", "ClientClosed"]


def test_connecting_in_a_late_exit_hook_prints_no_traceback(server: FakeServer) -> None:
    text = "import atexit\ndef late():\n    client.connect(2, wait=False)\natexit.register(late)\n" + BEGINNING
    finished = run_script(text + "client.connect()\n", server.url)
    assert (finished.code, finished.errors) == (0, "")


# Ctrl-C

WAITS = {
    "join": "client.connect(); ready(); client.join()",
    "join with a timeout": "client.connect(); ready(); client.join(30)",
    "events": "client.connect(); ready()\n    for event in client.events('new_anomaly'): pass",
    "wait_for": "client.connect(); ready(); client.wait_for('new_anomaly')",
    "wait_for with a timeout": "client.connect(); ready(); client.wait_for('new_anomaly', timeout=30)",
    "store.wait_for": "client.connect(); ready(); client.store.wait_for(lambda seen: False)",
    "connect to nobody": "ready(); stranger.connect()",
    "connect with a timeout": "ready(); stranger.connect(30)",
    "with": "ready()\n    with stranger: pass",
    "refresh": "ready(); poller.refresh(30)",
}


@pytest.mark.parametrize("way", WAITS)
def test_ctrl_c_ends_every_wait_at_once(way: str, server: FakeServer) -> None:
    with FakeServer(then=[stall()]) as stalling:
        text = f"""
{BEGINNING}
stranger = RealtimeClient(sys.argv[2])
poller = RealtimeClient(sys.argv[2], poller=lambda: time.sleep(60))
def ready(): print("ready", flush=True)
try:
    {WAITS[way]}
except KeyboardInterrupt:
    print("interrupted", time.monotonic(), flush=True)
print(stranger.status.state.value)
print("end", time.monotonic(), flush=True)
"""

        def interrupt() -> float:
            attempts = len(stalling.attempts)
            with Script(text, server.url, stalling.url) as script:
                assert script.read_line() == "ready"
                if "stranger" in WAITS[way]:
                    stalling.wait_for_attempts(attempts + 1)
                at = script.interrupt()
                word, heard = script.read_line().split()
                assert word == "interrupted"
                finished = script.finish()
            assert finished.errors == ""
            assert finished.code == 0
            assert finished.lines[0] == (
                "closed" if way == "with" else "connecting" if "stranger" in WAITS[way] else "idle"
            )
            return max(float(heard) - at, finished.at - float(finished.lines[-1].split()[1]))

        see_at_once(interrupt)


def test_ctrl_c_without_any_care_ends_the_process_as_usual(server: FakeServer) -> None:
    text = BEGINNING + "with client:\n    print('ready', flush=True)\n    client.join()"

    def interrupt() -> float:
        with Script(text, server.url) as script:
            assert script.read_line() == "ready"
            at = script.interrupt()
            finished = script.finish()
        assert finished.code == -signal.SIGINT
        assert finished.errors.rstrip().endswith("KeyboardInterrupt")
        assert finished.errors.count("Traceback") == 1
        return finished.at - at

    see_at_once(interrupt, within=2 * AT_ONCE)
    see_goodbyes(server)


def test_ctrl_c_twice_does_not_hang(server: FakeServer) -> None:
    with FakeServer(then=[accept(), stall()]) as deaf:
        text = BEGINNING + "with client:\n    print('ready', flush=True)\n    client.join()"

        def interrupt_twice() -> float:
            with Script(text, deaf.url) as script:
                assert script.read_line() == "ready"
                at = script.interrupt()
                script.interrupt()
                finished = script.finish()
            assert finished.code == -signal.SIGINT
            return finished.at - at

        see_at_once(interrupt_twice, within=3)


# In this process


def test_an_exception_in_the_with_body_closes_and_goes_on(server: FakeServer, make: Make) -> None:
    client = make(server.url)
    error = LookupError("mine")
    with pytest.raises(LookupError) as caught, client:
        raise error
    assert caught.value is error
    assert client.status.state is ConnectionState.CLOSED
    assert server.connections[0].wait_closed() is Ending.CLOSED


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_so_do_the_harder_ones(stop: type[BaseException], server: FakeServer, make: Make) -> None:
    client = make(server.url)
    with pytest.raises(stop), client:
        raise stop
    assert client.status.state is ConnectionState.CLOSED


def test_signal_handlers_are_left_alone(server: FakeServer, make: Make, network: MemoryTransport) -> None:
    def handlers() -> list[object]:
        return [signal.getsignal(number) for number in signal.valid_signals()]

    before = handlers()
    steps: list[Callable[[RealtimeClient], object]] = [
        lambda client: client.connect(PATIENCE),
        lambda client: client.reconnect(PATIENCE),
        lambda client: client.join(0.01),
        lambda client: client.close(),
    ]
    for client in (make(server.url), make(link_factory=network)):
        for step in steps:
            step(client)
            assert handlers() == before


def test_a_signal_that_is_handled_does_not_end_a_wait(server: FakeServer) -> None:
    text = f"""
{BEGINNING}
import os
signal.signal(signal.SIGUSR1, lambda *_: print("handled", flush=True))
client.connect()
with client.events("system_alert") as alerts:
    print(os.getpid(), flush=True)
    print(next(alerts).message)
"""
    with Script(text, server.url) as script:
        os.kill(int(script.read_line()), signal.SIGUSR1)
        assert script.read_line() == "handled"
        began = time.monotonic()
        server.send(alert("still waiting"))
        assert script.read_line() == "still waiting"
        assert time.monotonic() - began < PATIENCE
        assert script.finish().errors == ""
