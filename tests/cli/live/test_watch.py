"""``watch`` as a process on a real terminal, from a shell with job control."""

from __future__ import annotations

import array
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from realtime_client.demo import FeedServer
from realtime_client.testing import FakeServer, accept, refuse, repeat, reset, send
from tests.cli.conftest import Call
from tests.cli.live.screen import CTRL_C, CTRL_Z, DOWN, END, ESCAPE, PROMPT, Screen
from tests.cli.process import COMMAND, Start, environment

AT_ONCE = {
    "REALTIME_RECONNECT_DELAY": "0.01",
    "REALTIME_RECONNECT_DELAY_MAX": "0.01",
    "REALTIME_RECONNECT_JITTER": "0",
}
HOSTILE = "\x1b]0;pwned\x07\x1b[2J\x1b[31m\x9b5C\r\n\x00\u202e日本語🔥" + "x" * 5_000
ON_AND_OFF = (b"\x1b[?1049h", b"\x1b[?1049l"), (b"\x1b[?25l", b"\x1b[?25h"), (b"\x1b[?7l", b"\x1b[?7h")


def anomaly(number: int, message: str = "disk full", **fields: Any) -> dict[str, Any]:
    log = {"id": str(number), "message": message, "level": "ERROR", "source": "db", "anomalyScore": 0.9, **fields}
    return {"type": "new_anomaly", "data": {"log": log}}


STATS = {"type": "stats_update", "data": {"stats": {"totalLogs": 1234, "activeServices": 7}}}


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(then=[send(STATS), *(send(anomaly(n, f"message {n}")) for n in range(3))]) as running:
        yield running


@pytest.fixture
def screen() -> Iterator[Screen]:
    terminal = Screen()
    yield terminal
    terminal.close()


def watching(screen: Screen, url: str, *args: str) -> int:
    """Start it and wait until it shows the feed; its process."""
    screen.run("watch", url, *args)
    screen.wait_for("CONNECTED · stream", "message 2")
    return screen.job


SETTINGS = "stty -a"


def assert_given_back(screen: Screen, before: str) -> None:
    """The terminal is as it was: its settings, and all that was switched on has been switched off."""
    for on, off in ON_AND_OFF:
        assert screen.written.rfind(off) > screen.written.rfind(on) > 0
    assert screen.ask(SETTINGS) == before
    assert " icanon " in before
    assert " echo " in before


# What is seen


def test_it_shows_the_feed(screen: Screen, server: FakeServer) -> None:
    watching(screen, server.url)
    screen.wait_for("1,234", server.url, "message 0", "message 1", "ERROR     0.90 db")
    screen.wait_for("Anomalies · 3", "Alerts · none yet", "q quit")
    server.send({"type": "system_alert", "data": {"message": "the disk is hot", "severity": "critical"}})
    screen.wait_for("CRITICAL the disk is hot")


def test_colours_are_used_unless_they_are_not_wanted(screen: Screen, server: FakeServer) -> None:
    watching(screen, server.url)
    assert "red" in screen.colours(screen.row_of("message 2"))
    screen.type("q")
    screen.wait_for(PROMPT)
    screen.type("export NO_COLOR=1\n")
    watching(screen, server.url)
    assert screen.colours(screen.row_of("message 2")) == {"default"}


def test_keys_move_open_select_and_end(screen: Screen, server: FakeServer) -> None:
    watching(screen, server.url)
    screen.type(DOWN)
    screen.wait_for("2 of 3", "PAUSED")
    server.send(anomaly(9, "another", rootCauses=["The peer is down"]))
    screen.wait_for("PAUSED, 1 new")
    screen.type("p")
    screen.wait_until(lambda text: "another" in text and "PAUSED" not in text)
    screen.type("/another\r")
    screen.wait_until(lambda text: "text another · 1" in text and "message 2" not in text)
    screen.type("\r")
    screen.wait_for("Likely causes", "- The peer is down")
    screen.type(ESCAPE)
    screen.wait_until(lambda text: "Likely causes" not in text)
    screen.type(ESCAPE)
    screen.wait_for("message 2")
    screen.type("?")
    screen.wait_for("any key goes back")
    screen.type("xq")
    screen.wait_for(PROMPT)
    assert screen.ask("echo rc=$ended") == "rc=0"


def test_it_follows_the_size_of_the_terminal(screen: Screen, server: FakeServer) -> None:
    watching(screen, server.url)
    assert "Anomaly" not in screen.text.replace("Anomalies", "")
    screen.resize(160, 30)
    screen.wait_until(lambda text: "│  Anomaly" in text and text.splitlines()[-1].startswith(" q quit"))
    assert "ERROR · score 0.90" in screen.text
    screen.resize(50, 8)
    screen.wait_for("60x10 shows more")
    screen.resize(80, 24)
    screen.wait_for("Anomalies · 3", "q quit")


def test_an_outage_is_seen_and_its_end(screen: Screen) -> None:
    with FakeServer(script=[[send(STATS), send(anomaly(1, "message 2")), reset()]], then=[refuse(503)]) as server:
        screen.type("export REALTIME_RECONNECT_DELAY=0.2 REALTIME_RECONNECT_DELAY_MAX=0.2\n")
        screen.type("export REALTIME_MAX_RECONNECT_ATTEMPTS=1\n")
        screen.run("watch", server.url)
        screen.wait_for("UNAVAILABLE · stale", "the figures are of", "503", "outage declared", "message 2", "1,234")
        server.then = [accept(), send(anomaly(2, "it is back"))]
        screen.wait_for("CONNECTED · stream", "it is back", "reconnects 1")
        screen.wait_until(lambda text: "the figures are of" not in text)


def test_polling_is_seen(screen: Screen) -> None:
    with FeedServer(port=0) as feed, FakeServer(script=[[send(STATS), reset()]], then=[refuse(503)]) as server:
        feed.publish(anomaly(7, "by polling"))
        screen.type(f"export REALTIME_POLLING_URL={feed.poll_url} REALTIME_POLL_AFTER=0\n")
        screen.run("watch", server.url)
        screen.wait_for(" · polling", "by polling")


def test_a_recording_that_is_over_says_so_and_stays(screen: Screen, tmp_path: Path) -> None:
    path = tmp_path / "feed.jsonl"
    path.write_text("".join(json.dumps(message) + "\n" for message in (STATS, anomaly(1))))
    screen.run("watch", f"replay:{path}")
    screen.wait_for("CLOSED · ended", "the recording ended ", "disk full", "1,234")
    screen.type("q")
    screen.wait_for(PROMPT)


def test_hostile_text_is_only_text(screen: Screen) -> None:
    log = anomaly(1, HOSTILE, level=HOSTILE, source=HOSTILE, rootCauses=[HOSTILE[:30]], recommendations=[HOSTILE])
    alert = {"type": "system_alert", "data": {"message": HOSTILE, "severity": HOSTILE}}
    with FakeServer(
        then=[send(anomaly(0, "message 2")), send(log), send(alert), send(anomaly(2, "straight"))]
    ) as server:
        watching(screen, server.url)
        screen.wait_for("straight", "\\x1b]0;pwned\\x07", "Alerts · 1")
        rows = [line for line in screen.display if "message 2" in line or "straight" in line]
        assert len({line.index("0.90") for line in rows}) == 1
        screen.wait_until(lambda text: text.splitlines()[-1].startswith(" q quit"))
        screen.type(DOWN + "\r" + END)
        screen.wait_for("Likely causes", "- \\x1b]0;pwned")
    assert screen.title == ""
    assert b"\x07" not in screen.written
    assert b"\x9b" not in screen.written.replace("日本語🔥…─│·".encode(), b"").replace(b"\xe2\x96", b"")


# How it ends


def by_keys(keys: str) -> Callable[[Screen, int], None]:
    return lambda screen, _: screen.type(keys)


def by_signal(number: int) -> Callable[[Screen, int], None]:
    return lambda _, job: os.kill(job, number)


@pytest.mark.parametrize(
    ("leave", "code"),
    [
        pytest.param(by_keys("q"), 0, id="q"),
        pytest.param(by_keys(CTRL_C), 130, id="Ctrl-C"),
        pytest.param(by_keys("\x1c"), 143, id="Ctrl-\\"),
        pytest.param(by_keys(CTRL_C + CTRL_C + CTRL_C), 130, id="Ctrl-C thrice"),
        pytest.param(by_signal(signal.SIGINT), 130, id="SIGINT"),
        pytest.param(by_signal(signal.SIGTERM), 143, id="SIGTERM"),
        pytest.param(by_signal(signal.SIGHUP), 143, id="SIGHUP"),
    ],
)
def test_every_way_out_gives_the_terminal_back(
    leave: Callable[[Screen, int], None], code: int, screen: Screen, server: FakeServer
) -> None:
    before = screen.ask(SETTINGS)
    job = watching(screen, server.url)
    leave(screen, job)
    screen.wait_for(PROMPT)
    assert screen.ask("echo rc=$ended").endswith(f"rc={code}")
    assert_given_back(screen, before)
    assert "Traceback" not in screen.written.decode()


BROKEN = """
import sys
from realtime_client.cli.live import session
from realtime_client.cli import main
frames = []
draw = session.draw
def broken(*arguments):
    frames.append(draw(*arguments))
    if len(frames) > 3:
        print("said meanwhile", file=sys.stderr)
        raise ArithmeticError("broken on purpose")
    return frames[-1]
session.draw = broken
sys.exit(main(["watch", sys.argv[1]]))
"""


def test_an_error_gives_the_terminal_back_before_it_is_told(screen: Screen, server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    before = screen.ask(SETTINGS)
    screen.type(f"{sys.executable} {tmp_path}/broken.py {server.url}\n")
    screen.wait_for("ArithmeticError: broken on purpose", PROMPT)
    assert (
        screen.written.index(b"\x1b[?1049l") < screen.written.index(b"said meanwhile") < screen.written.index(b"Trace")
    )
    assert_given_back(screen, before)


def test_ctrl_z_gives_the_terminal_back_until_it_goes_on(screen: Screen, server: FakeServer) -> None:
    before = screen.ask(SETTINGS)
    watching(screen, server.url)
    screen.type(CTRL_Z)
    screen.wait_for("Stopped", PROMPT)
    assert_given_back(screen, before)
    server.send(anomaly(5, "while it stood still"))
    screen.type("fg\n")
    screen.wait_for("CONNECTED · stream", "while it stood still")
    screen.type(CTRL_Z)
    screen.wait_for("Stopped", PROMPT)
    screen.type("kill %1; fg\n")
    screen.wait_until(
        lambda text: "Stopped" not in text.rpartition("kill %1")[2] and text.rstrip().endswith(PROMPT.strip())
    )
    assert_given_back(screen, before)
    assert screen.ask("jobs") == ""


def test_a_process_that_was_stopped_from_elsewhere_draws_anew(screen: Screen, server: FakeServer) -> None:
    job = watching(screen, server.url)
    os.killpg(job, signal.SIGSTOP)
    screen.wait_for("Stopped", PROMPT)
    screen.type("clear; fg\n")
    screen.wait_for("CONNECTED · stream", "message 2")
    screen.type("q")
    screen.wait_for(PROMPT)


def test_a_terminal_that_takes_nothing_does_not_hold_it(server: FakeServer) -> None:
    """Nobody reads the other side, and a frame of this size is more than all buffers on the way hold."""
    master, slave = os.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 1_000, 1_000, 0, 0))
    streams: dict[str, Any] = {"stdin": slave, "stdout": slave, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*COMMAND, "watch", server.url], env=environment(), **streams) as popen:
        waiting = array.array("i", [0])
        while waiting[0] < 4_000:
            fcntl.ioctl(master, termios.FIONREAD, waiting)
            assert popen.poll() is None
        popen.terminate()
        assert popen.wait(15) == 143
    os.close(slave)
    os.close(master)


# What is said


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@pytest.mark.parametrize(
    ("answer", "code", "words"), [(refuse(401), 3, "check the token"), (refuse(404), 4, "404")], ids=["401", "404"]
)
def test_no_hope_is_one_line_and_its_exit_code(answer: Any, code: int, words: str, screen: Screen) -> None:
    with FakeServer(then=[answer]) as server:
        screen.run("watch", server.url)
        screen.wait_for("realtime-client: error: ", words)
    assert screen.ask("echo rc=$ended").endswith(f"rc={code}")


def test_a_dead_host_is_exit_4_once_the_outage_is_declared(screen: Screen) -> None:
    for name, value in {**AT_ONCE, "REALTIME_MAX_RECONNECT_ATTEMPTS": "1"}.items():
        screen.type(f"export {name}={value}\n")
    screen.run("watch", f"ws://127.0.0.1:{closed_port()}/ws")
    screen.wait_for("realtime-client: error: ")
    assert screen.ask("echo rc=$ended").endswith("rc=4")


def test_what_is_logged_meanwhile_is_said_afterwards(screen: Screen, server: FakeServer) -> None:
    watching(screen, server.url, "-v")
    assert "INFO" not in screen.text
    screen.type("q")
    screen.wait_for("INFO realtime_client")


def test_without_rich_it_says_what_to_install(screen: Screen, server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "rich.py").write_text("raise ModuleNotFoundError(\"No module named 'rich'\", name='rich')")
    screen.type(f"export PYTHONPATH={tmp_path}\n")
    screen.run("watch", server.url)
    screen.wait_for("realtime-client: error: watch needs rich: pip install 'realtime-client[cli]'")
    assert screen.ask("echo rc=$ended").endswith("rc=2")
    assert server.attempts == ()


def test_a_pipe_gets_plain_lines(server: FakeServer, start: Start) -> None:
    process = start("watch", server.url, "--level", "error")
    assert process.out.until("message 2").endswith("  ERROR      0.90  db: message 2")
    process.err.until("^connected to ")
    assert process.interrupt(signal.SIGTERM)[0] == 143
    assert all(line.isprintable() for line in process.out.all())


def test_a_dumb_terminal_gets_plain_lines(server: FakeServer) -> None:
    screen = Screen(env={"TERM": "dumb"})
    try:
        screen.run("watch", server.url)
        screen.wait_for("ERROR      0.90  db: message 2")
        screen.type(CTRL_C)
        screen.wait_until(lambda text: text.rstrip().endswith(PROMPT.strip()))
    finally:
        screen.close()
    for on, _ in ON_AND_OFF:
        assert on not in screen.written


def test_wrong_usage_is_exit_2(call: Call) -> None:
    assert call("watch", "http://localhost/").code == 2
    assert call("watch", "--grep", "(").code == 2


SECONDS = 4


def test_a_thousand_events_a_second_take_less_than_a_twentieth_of_a_core(screen: Screen) -> None:
    sent = threading.Semaphore(0)

    def next_event(number: int) -> Any:
        if number % 1_000 == 0:
            sent.release()
        return send(anomaly(number, f"message {number}"))

    with FakeServer(then=[repeat(None, next_event, interval=0.001)]) as server:
        screen.run("watch", server.url)
        screen.wait_for("CONNECTED · stream", "ERROR     0.90 db")
        process = psutil.Process(screen.job)
        assert sent.acquire(timeout=30)
        before, began = process.cpu_times(), time.monotonic()
        for _ in range(SECONDS):
            assert sent.acquire(timeout=30)
        after, elapsed = process.cpu_times(), time.monotonic() - began
    spent = after.user + after.system - before.user - before.system
    assert spent / (SECONDS * 1_000) < 0.05 / 1_000, f"{spent:.2f} s for {SECONDS},000 events in {elapsed:.1f} s"
