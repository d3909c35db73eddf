"""With default settings: handshakes that lead nowhere are given up, and those that are reset are survived."""

from __future__ import annotations

from typing import Any

import pytest

from realtime_client import ConnectError, ConnectionState, ConnectTimeout
from realtime_client.testing import FakeClock, FakeServer, accept, drip, repeat, reset, send_raw, stall
from tests.client.conftest import Make
from tests.client.recording import PATIENCE, Record, anomaly, numbers
from tests.outages.processes import Script
from tests.outages.waiting import wait_for_plan

MIB = 1024 * 1024

GIVING_UP = """
import resource, sys, threading, time
from realtime_client import RealtimeClient

def peak():
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # What getrusage tells on Linux begins with the size of the process that started this one.
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(lines["VmHWM"].split()[0]) * 1024

def follow(name, url):
    client, told, began = RealtimeClient(url), threading.Event(), time.monotonic()

    def tell(change):
        error = change.current.last_error
        if error is not None and not told.is_set():
            seconds = round(time.monotonic() - began, 3)
            # One write: four threads may come at once.
            sys.stdout.write(f"{name} {type(error).__name__} {seconds} {change.current.state.value}\\n")
            sys.stdout.flush()
            told.set()

    client.on_status(tell)
    client.connect(wait=False)
    return client, told

with RealtimeClient(sys.argv[1]) as client:  # what a client costs at all
    pass
before = peak()
names = ["silent", "dripping", "endless", "endless-head"]
followed = [follow(name, url) for name, url in zip(names, sys.argv[2:], strict=True)]
for client, told in followed:
    assert told.wait(20)
print("grown", peak() - before)
for client, told in followed:
    client.close()
"""


def test_silent_dripping_and_endless_handshakes_are_given_up_within_connect_timeout_and_16_mb() -> None:
    """All at the same time, in a process of their own, whose memory is theirs alone."""
    more = send_raw(b"X-More: " + b"y" * 8_000 + b"\r\n")
    head = send_raw(b"HTTP/1.1 101 Switching Protocols\r\n")
    with (
        FakeServer() as lively,
        FakeServer(then=[stall()]) as silent,
        FakeServer(then=[drip(accept(), size=1, interval=0.2)]) as dripping,
        FakeServer(then=[repeat(None, send_raw(b"HTTP/1.1 101 Switching "), interval=0.05)]) as endless,
        FakeServer(then=[head, repeat(None, more)]) as endless_head,
    ):
        urls = [server.url for server in (lively, silent, dripping, endless, endless_head)]
        with Script(GIVING_UP, *urls) as script:
            finished = script.finish()
        assert (finished.code, finished.errors) == (0, "")
    *told, grown = [line.split() for line in finished.lines]
    outcomes = {name: (error, float(seconds), state) for name, error, seconds, state in told}
    assert set(outcomes) == {"silent", "dripping", "endless", "endless-head"}
    for name, (error, seconds, state) in outcomes.items():
        assert seconds <= 10 + 1, name  # connect_timeout, and a second in which it is told on a busy machine
        assert state == "reconnecting", name
        assert error == (ConnectError if name == "endless-head" else ConnectTimeout).__name__, name
    assert int(grown[1]) <= 16 * MIB


ANSWER = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
RESETS = 500


@pytest.mark.timeout(120)
def test_500_of_500_resets_in_the_handshake_are_survived(server: FakeServer, clock: FakeClock, make: Make) -> None:
    """One client, reset before the answer or within it, over and over. The delays are the default ones."""
    client, changes, events = make(server.url, clock=clock), Record(), Record()
    client.on_status(changes)
    client.on("new_anomaly", events)
    client.connect(PATIENCE)
    for number in range(RESETS):
        part = ANSWER[: number % len(ANSWER)]
        server.add_script(*([send_raw(part), reset()] if part else [reset()]))
    server.drop()
    for failed in range(RESETS + 1):
        change = wait_for_plan(changes, failed)
        assert change.current.state in (ConnectionState.RECONNECTING, ConnectionState.UNAVAILABLE)
        planned: Any = change.current.next_retry_at
        clock.wait_for_waiters(1)
        clock.advance((planned - clock.now()).total_seconds() + 0.001)  # what is planned is told in microseconds
    changes.wait_until(lambda items: items[-1].current.connected)
    assert len(server.attempts) == 1 + RESETS + 1
    assert client.metrics().failed_attempts == RESETS
    assert client.metrics().reconnects == 1
    server.send(anomaly(1))
    assert numbers(events.wait_for(1)) == [1]
