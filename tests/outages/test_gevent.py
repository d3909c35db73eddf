"""A process that gevent has patched: everything is green, nothing blocks the hub."""

from __future__ import annotations

import pytest

from realtime_client.testing import Ending, FakeServer, accept, refuse, repeat, send, stall
from tests.client.recording import alert, anomaly
from tests.outages.processes import Script, run_script, see_at_once

BEGINNING = """
from gevent import monkey
monkey.patch_all()
import gevent, sys, threading, time
from realtime_client import ConnectTimeout, RealtimeClient

ticks = 0
def tick():
    global ticks
    while True:
        gevent.sleep(0.005)
        ticks += 1
gevent.spawn(tick)
"""


def test_connect_receive_send_reconnect_and_close(server: FakeServer) -> None:
    text = f"""
{BEGINNING}
client = RealtimeClient(sys.argv[1], reconnect_delay=0.01, reconnect_jitter=0)
own = []
client.on("system_alert", lambda event: own.append(event.message), own_thread=True)
client.connect(10)
alerts = client.events("system_alert", timeout=10)
client.send({{"type": "ready"}})
print(next(alerts).message, flush=True)
before = ticks
print(next(alerts).message, flush=True)          # on the second connection
print(ticks > before, flush=True)                # the hub ran while we waited
print(own, client.metrics().reconnects, flush=True)
client.close()
print(client.status.state.value, [t.name for t in threading.enumerate() if t.name.startswith("rtc-")], flush=True)
"""
    with Script(text, server.url) as script:
        server.wait_for_message({"type": "ready"}, 20)
        server.send(alert("first"))
        assert script.read_line() == "first"
        server.drop()
        second = server.wait_for_connection(2)
        second.send(alert("second"))
        finished = script.finish()
    assert finished.errors == ""
    assert finished.lines == ["second", "True", "['first', 'second'] 1", "closed []"]
    assert finished.code == 0
    assert second.wait_closed() is Ending.CLOSED


def test_many_greenlets_wait_for_one_connection(server: FakeServer) -> None:
    text = f"""
{BEGINNING}
client = RealtimeClient(sys.argv[1])
client.connect(10)
waiting = [gevent.spawn(client.wait_for, "new_anomaly", timeout=10) for _ in range(50)]
waiting += [gevent.spawn(client.store.wait_for, lambda seen: seen.recent_logs, 10) for _ in range(50)]
gevent.sleep(0)
client.send({{"type": "ready"}})
gevent.joinall(waiting, timeout=15, raise_error=True)
print(sum(greenlet.value is not None for greenlet in waiting))
client.close()
"""
    with Script(text, server.url) as script:
        server.wait_for_message({"type": "ready"}, 20)
        server.send(anomaly(1))
        finished = script.finish()
    assert finished.errors == ""
    assert finished.lines == ["100"]


def test_outages_polling_and_backfill() -> None:
    script = [[refuse(503)], [refuse(503)], [refuse(503)], [accept(), send(anomaly(2))]]
    logs = [{"id": "log-1", "message": "polled", "isAnomaly": True}]
    with FakeServer(script=script, then=[accept()], poll_answer={"logs": logs}) as server:
        text = f"""
{BEGINNING}
client = RealtimeClient(sys.argv[1], polling_url=sys.argv[2], max_reconnect_attempts=1, polling_interval=0.02,
                        reconnect_delay=0.02, reconnect_delay_max=0.05, reconnect_jitter=0)
order = []
done = threading.Event()
client.on("new_anomaly", lambda event: order.append((event.origin.value, event.log.id)))
client.on_gap(lambda gap: (order.append(gap.complete), done.set()))
client.connect(wait=False)
client.store.wait_for(lambda seen: len(seen.recent_logs) == 2, 15)
assert done.wait(15)
client.refresh(10)
client.close()
print(order)
"""
        finished = run_script(text, server.url, server.poll_url)
    assert finished.errors == ""
    assert finished.lines == ["[('poll', 'log-1'), True, ('stream', 'log-2')]"]


def test_deadlines_hold(server: FakeServer) -> None:
    with FakeServer(then=[stall()]) as stalling:
        text = f"""
{BEGINNING}
client = RealtimeClient(sys.argv[1], connect_timeout=0.3, give_up=True, max_reconnect_attempts=0)
began = time.monotonic()
try:
    client.connect(10)
except ConnectTimeout:
    print("timeout", 0.25 < time.monotonic() - began < 1.5, ticks > 10)
client.close()
client = RealtimeClient(sys.argv[2], close_timeout=0.3)
entered = threading.Event()
client.on("connection_established", lambda event: (entered.set(), time.sleep(60)))
client.connect(10)
assert entered.wait(10)
began = time.monotonic()
client.close()
print("close", time.monotonic() - began < 1.5)
"""
        finished = run_script(text, stalling.url, server.url)
    assert finished.lines == ["timeout True True", "close True"]
    assert finished.errors == ""


@pytest.mark.parametrize("ending", ["", "sys.exit(0)"])
def test_a_patched_process_that_forgets_to_close_ends(ending: str, server: FakeServer) -> None:
    text = f"{BEGINNING}\nclient = RealtimeClient(sys.argv[1])\nclient.connect(10)\n"
    text += f"print('end', time.monotonic())\n{ending}"

    def run() -> float:
        finished = run_script(text, server.url)
        assert finished.errors == ""
        assert finished.code == 0
        return finished.at - float(finished.lines[-1].split()[1])

    see_at_once(run, 1.0)
    assert server.connections[0].wait_closed() is Ending.CLOSED


def test_a_burst_starves_nobody() -> None:
    burst = repeat(100_000, lambda turn: send(anomaly(turn)))
    with FakeServer(then=[accept(), burst, send(alert("the end"))]) as server:
        text = f"""
{BEGINNING}
turns = 0
def watch():
    global turns
    while True:
        gevent.sleep(0.005)
        turns += 1
client = RealtimeClient(sys.argv[1])
client.on("new_anomaly", lambda event: None)
client.connect(wait=False)
gevent.spawn(watch)
client.wait_for("new_anomaly", timeout=25)
before = turns
client.wait_for("system_alert", timeout=25)
print(turns - before)
client.close()
"""
        finished = run_script(text, server.url)
    assert finished.errors == ""
    assert int(finished.lines[0]) >= 40  # others had their turns while the burst lasted
