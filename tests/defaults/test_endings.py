"""With default settings: how long closing and the process's end take, and who says goodbye."""

from __future__ import annotations

import signal
from typing import Any

import attrs
import pytest

from realtime_client.testing import Ending, FakeServer, accept, go_silent, stall
from tests.client.conftest import Make
from tests.client.recording import PATIENCE, Stopwatch, own_threads
from tests.outages.processes import Script, see_at_once


@pytest.mark.parametrize("mute", [go_silent(), go_silent(read=False), stall()], ids=["reads", "reads not", "stalls"])
def test_close_takes_no_longer_than_2_seconds_against_a_mute_server(mute: Any, server: FakeServer, make: Make) -> None:
    server.add_script(accept(), mute)
    client = make(server.url)
    client.connect(PATIENCE)
    with Stopwatch() as took:
        client.close()
    assert took.seconds < 2.0 + 0.2  # what is more is the machine's
    assert own_threads() == []


@attrs.frozen
class Way:
    """A way to end.

    Attributes:
        program: What the program does last; ``end()`` notes the time.
        code: The process's exit code.
        errors: The end of what it writes to stderr.
        goodbye: Whether a close frame is sent, which needs Python to run.
    """

    program: str
    code: int = 0
    errors: str = ""
    goodbye: bool = True


KILL = "import os, signal; end(); os.kill(os.getpid(), signal.{}); time.sleep(30)"

WAYS = {
    "the last line": Way("end()"),
    "sys.exit with a code": Way("end(); sys.exit(3)", code=3),
    "sys.exit with a text": Way("end(); sys.exit('out of paper')", code=1, errors="out of paper\n"),
    "an exception": Way("end(); raise ValueError('broken')", code=1, errors="ValueError: broken\n"),
    "the end of a with block": Way("with client: pass\nend()"),
    "an exception in a with block": Way("with client:\n    end(); raise LookupError('x')", 1, "LookupError: x\n"),
    "sys.exit in a with block": Way("with client:\n    end(); sys.exit(5)", code=5),
    "close and the last line": Way("client.close(); end()"),
    "ctrl-c": Way(KILL.format("SIGINT"), code=-signal.SIGINT, errors="KeyboardInterrupt\n"),
    "ctrl-c that is caught": Way(f"try:\n    {KILL.format('SIGINT')}\nexcept KeyboardInterrupt: pass"),
    "sigterm that is handled": Way("signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); " + KILL.format("SIGTERM")),
    "another thread is the last": Way(
        "first = threading.current_thread()\n"
        "def last():\n    first.join()\n    end()\n"
        "threading.Thread(target=last).start()"
    ),
    "an exception in another thread": Way(
        "def fails(): raise OSError('gone')\n"
        "other = threading.Thread(target=fails); other.start(); other.join(); end()",
        errors="OSError: gone\n",
    ),
    "while a callback blocks": Way(
        "inside = threading.Event()\n"
        "client.on('pong', lambda _: (inside.set(), time.sleep(30)))\n"
        "client.send({'type': 'wake'})\nassert inside.wait(5); end()"
    ),
    "sys.exit in a callback, then the last line": Way(
        "inside = threading.Event()\n"
        "import logging; logging.disable()\n"
        "client.on('pong', lambda _: (inside.set(), sys.exit(9)))\n"
        "client.send({'type': 'wake'})\nassert inside.wait(5); end()"
    ),
    "a program in its place": Way("import os; end(); os.execv('/bin/true', ['true'])", goodbye=False),
    "os._exit": Way("import os; end(); os._exit(4)", code=4, goodbye=False),
    "sigterm": Way(KILL.format("SIGTERM"), code=-signal.SIGTERM, goodbye=False),
    "sigkill": Way(KILL.format("SIGKILL"), code=-signal.SIGKILL, goodbye=False),
    "abort": Way("import os; end(); os.abort()", code=-signal.SIGABRT, goodbye=False),
}

BEGINNING = """
import resource, signal, sys, threading, time
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
from realtime_client import RealtimeClient
client = RealtimeClient(sys.argv[1])
client.connect()
def end(): print(time.monotonic(), flush=True)
"""


@pytest.mark.parametrize("way", WAYS)
def test_the_process_ends_within_half_a_second_and_says_goodbye_where_python_still_runs(
    way: str, server: FakeServer
) -> None:
    expected = WAYS[way]

    def end() -> float:
        before = len(server.connections)
        with Script(BEGINNING + expected.program, server.url) as script:
            connection = server.wait_for_connection(before + 1, PATIENCE)
            if "wake" in expected.program:
                connection.wait_for_message({"type": "wake"})
                connection.send({"type": "pong"})
            finished = script.finish()
        assert finished.code == expected.code
        assert finished.errors.endswith(expected.errors)
        assert bool(finished.errors) is bool(expected.errors)
        assert (connection.wait_closed() is Ending.CLOSED) is expected.goodbye
        assert connection.close_code == (1000 if expected.goodbye else None)
        return finished.at - float(finished.lines[-1])

    see_at_once(end)
