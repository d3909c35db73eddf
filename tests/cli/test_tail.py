"""``tail`` as a process, against a scripted server."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from realtime_client import LogEntry, NewAnomaly
from realtime_client.demo import FeedServer
from realtime_client.recording import Recorder
from realtime_client.testing import (
    FakeServer,
    accept,
    close,
    refuse,
    repeat,
    reset,
    send,
    send_raw,
    stall,
    wait,
)
from tests.cli.conftest import Call
from tests.cli.process import COMMAND, TIMEOUT, Start, environment

AT_ONCE = {
    "REALTIME_RECONNECT_DELAY": "0.01",
    "REALTIME_RECONNECT_DELAY_MAX": "0.01",
    "REALTIME_RECONNECT_JITTER": "0",
}
HOSTILE = "\x1b]0;pwned\x07\x1b[2J\x9b31m\r\nfake line\u202e"


def anomaly(number: int, message: str = "disk full") -> dict[str, Any]:
    return {"type": "new_anomaly", "data": {"log": {"id": str(number), "message": message, "level": "ERROR"}}}


def alert(message: str) -> dict[str, Any]:
    return {"type": "system_alert", "data": {"message": message, "severity": "info"}}


STATS = {"type": "stats_update", "data": {"stats": {"totalLogs": 5}}}
DEPLOY = {"type": "deploy", "data": [1, 2]}
GREETING = {"type": "connection_established", "data": {"server": "x"}}
PONG = {"type": "pong"}
EVERYTHING = [accept(greeting=GREETING), *map(send, (anomaly(1), PONG, STATS, alert("hot"), DEPLOY))]


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(then=EVERYTHING) as running:
        yield running


def types(lines: list[str]) -> list[str]:
    return [json.loads(line)["type"] for line in lines]


# What is shown


def test_a_pipe_gets_json_lines_of_all_but_greetings_and_pongs(server: FakeServer, start: Start) -> None:
    process = start("tail", server.url, "--count", "4")
    events = [json.loads(line) for line in process.out.all()]
    assert process.end() == 0
    assert [event["type"] for event in events] == ["new_anomaly", "stats_update", "system_alert", "deploy"]
    assert [event["origin"] for event in events] == ["stream"] * 4
    assert all(event["receivedAt"].endswith("Z") for event in events)
    assert events[0]["data"]["log"]["message"] == "disk full"
    assert events[3]["data"] == [1, 2]


def test_all_shows_the_first_message_too(server: FakeServer, call: Call) -> None:
    ended = call("tail", server.url, "--all", "--count", "6")
    assert types(ended.out)[:3] == ["connection_established", "new_anomaly", "pong"]
    assert ended.code == 0


def test_type_is_repeatable_and_only_what_is_shown_counts(server: FakeServer, call: Call) -> None:
    ended = call("tail", server.url, "--type", "pong", "--type", "deploy", "--count", "2")
    assert types(ended.out) == ["pong", "deploy"]
    assert ended.code == 0


def test_each_line_is_flushed(server: FakeServer, start: Start) -> None:
    process = start("tail", server.url, "--type", "system_alert")
    process.out.until("hot")
    server.send(alert("later"))
    process.out.until("later")
    assert process.interrupt(signal.SIGINT)[0] == 130


FLOOD = [repeat(5_000, lambda n: send(anomaly(n, "x" * 16_000))), wait("all sent")]
"""More than fits into the buffers on the way: Linux lets a socket's grow to 32 MiB."""


def wait_until_stuck(server: FakeServer) -> None:
    """Wait until the flood does not get on: the pipe and every buffer on the way to it is full."""
    server.wait_for_connection(timeout=TIMEOUT)
    with pytest.raises(TimeoutError):
        server.gate("all sent").wait_reached(timeout=0.5)


def test_a_slow_reader_loses_nothing(start: Start) -> None:
    with FakeServer(script=[FLOOD]) as server:
        process = start("tail", server.url, "--count", "5000")
        wait_until_stuck(server)
        ids = [json.loads(line)["data"]["log"]["id"] for line in process.out.all()]
        assert process.end() == 0
        assert ids == [str(n) for n in range(5000)]


def on_a_terminal(
    *args: str, env: dict[str, str], cue: str = "", action: Callable[[], object] = int
) -> tuple[int, str]:
    """Run the command on a terminal: its exit code, and what reached the terminal. ``action`` is called at the cue."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, *args], stdin=subprocess.DEVNULL, stdout=slave, stderr=slave, env=environment(env)
    ) as popen:
        os.close(slave)
        shown = b""
        waiting = True
        while True:
            try:
                part = os.read(master, 65536)
            except OSError:  # Linux says so when the last writer has left
                part = b""
            if not part:
                break
            shown += part
            if waiting and cue.encode() in shown:
                waiting = False
                action()
        code = popen.wait(TIMEOUT)
    os.close(master)
    return code, shown.decode()


def test_hostile_text_does_not_command_the_terminal() -> None:
    log = {"id": HOSTILE, "message": HOSTILE, "level": HOSTILE, "source": HOSTILE}
    script = [
        [send(alert(HOSTILE)), send({"type": HOSTILE, "data": HOSTILE}), close(4000, HOSTILE[:20])],
        [send(json.dumps({"type": "new_anomaly", "data": {"log": {**log, "timestamp": HOSTILE}}}))],
    ]
    with FakeServer(script=script) as server:
        code, shown = on_a_terminal(
            "tail",
            server.url,
            *("--count", "3", "-vv"),
            env={**AT_ONCE, "NO_COLOR": "1"},
            cue="could not be understood: ",
            action=lambda: server.send({"type": "new_anomaly", "data": {"log": log}}),
        )
    assert code == 0
    assert "lost" in shown
    assert shown.count("\\x1b]0;pwned\\x07") >= 5
    assert [line for line in shown.split("\r\n") if not line.isprintable()] == []


def test_a_terminal_gets_coloured_readable_lines(server: FakeServer) -> None:
    code, shown = on_a_terminal("tail", server.url, "--count", "1", "--quiet", env={})
    assert code == 0
    assert shown.count("\n") == 1
    assert "\x1b[31mERROR   \x1b[0m   0.00  disk full\r\n" in shown


# What is selected

OLD = "2026-01-02T03:04:05Z"


def logged(number: int, timestamp: str = OLD, **fields: Any) -> dict[str, Any]:
    log = {"id": str(number), "message": f"message {number}", "level": "ERROR", "timestamp": timestamp, **fields}
    return {"type": "new_anomaly", "data": {"log": log}}


def ids(lines: list[str]) -> list[str]:
    return [json.loads(line)["data"]["log"]["id"] for line in lines]


def now() -> str:
    return (datetime.now(UTC) + timedelta(minutes=1)).isoformat()


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["--level", "warning"], ["1", "2"]),
        (["--source", "web*", "--source", "db"], ["1", "3"]),
        (["--grep", "message [12]"], ["1", "2"]),
        (["--min-score", "0.5"], ["2", "3"]),
        (["--min-score", "0.5", "--level", "warning"], ["2"]),
        (["--since", "2026-01-02T03:04:06Z"], ["3"]),
    ],
)
def test_only_what_is_selected_is_shown_and_counted(options: list[str], shown: list[str], call: Call) -> None:
    script = [
        send(logged(1, level="CRITICAL", source="web-1", anomalyScore=0.1)),
        send(STATS),
        send(logged(2, level="WARN", source="mail", anomalyScore=0.9)),
        send(logged(3, level="INFO", source="db", anomalyScore=0.5, timestamp="2026-01-02T03:04:06Z")),
        send(DEPLOY),
    ]
    with FakeServer(then=script) as server:
        ended = call("tail", server.url, "--type", "new_anomaly", "--count", str(len(shown)), *options)
    assert ids(ended.out) == shown
    assert ended.code == 0


def test_raw_is_the_message_alone(server: FakeServer, call: Call) -> None:
    ended = call("tail", server.url, "--output", "raw", "--count", "3")
    assert ended.out == ["disk full", '{"stats":{"totalLogs":5}}', "hot"]


def test_a_template_is_a_line_of_ones_own(server: FakeServer, call: Call) -> None:
    ended = call("tail", server.url, "--template", "{level:6}{score:.1f} {message}", "--count", "1")
    assert ended.out == ["ERROR 0.0 disk full"]


# History


def test_lines_shows_the_newest_of_what_was_there_and_follows(start: Start) -> None:
    script = [*(send(logged(n)) for n in range(50)), send(STATS), *(send(logged(n)) for n in range(50, 60))]
    with FakeServer(then=script) as server:
        process = start("tail", server.url, "-n", "3", "--type", "new_anomaly")
        assert ids([process.out.next() or "" for _ in range(3)]) == ["57", "58", "59"]
        server.send(logged(60, now()))
        assert ids([process.out.next() or ""]) == ["60"]
        assert process.interrupt(signal.SIGINT)[0] == 130
    assert len(process.out.all()) == 4


def test_news_ends_the_history_at_once(call: Call) -> None:
    with FakeServer(
        then=[*(send(logged(n)) for n in range(9)), send(logged(9, now())), send(logged(10, now()))]
    ) as server:
        ended = call("tail", server.url, "--lines", "1", "--count", "3")
    assert ids(ended.out) == ["8", "9", "10"]
    assert ended.code == 0


def test_no_lines_is_news_alone(call: Call) -> None:
    with FakeServer(then=[send(logged(1)), send(logged(2, now()))]) as server:
        ended = call("tail", server.url, "-n", "0", "--count", "1")
    assert ids(ended.out) == ["2"]


@pytest.mark.parametrize("options", [[], ["--no-follow"]])
def test_the_history_of_a_recording_is_its_end(options: list[str], tmp_path: Path, call: Call) -> None:
    path = tmp_path / "feed.jsonl"
    with Recorder(path) as recorder:
        for number in range(5):
            recorder.write(NewAnomaly(LogEntry(str(number), "disk full"), received_at=datetime(2026, 1, 2, tzinfo=UTC)))
    ended = call("tail", f"replay:{path}", "-n", "2", "--quiet", *options)
    assert ids(ended.out) == ["3", "4"]
    assert (ended.code, ended.err) == (0, [])


@pytest.mark.parametrize("options", [[], ["-n", "2"]])
def test_no_follow_ends_after_the_history(options: list[str], call: Call) -> None:
    with FakeServer(then=[send(logged(n)) for n in range(4)]) as server:
        ended = call("tail", server.url, "--no-follow", "--quiet", *options)
    assert ids(ended.out) == (["2", "3"] if options else ["0", "1", "2", "3"])
    assert (ended.code, ended.err) == (0, [])


def test_no_follow_asks_the_polling_address_too(call: Call) -> None:
    with FeedServer(port=0) as feed, FakeServer(then=[]) as server:
        feed.publish(logged(1), logged(2))
        ended = call("tail", server.url, "--no-follow", "--quiet", env={"REALTIME_POLLING_URL": feed.poll_url})
    assert [json.loads(line)["origin"] for line in ended.out if "new_anomaly" in line] == ["poll", "poll"]
    assert ended.code == 0


def test_a_polling_address_that_does_not_answer_is_said(call: Call) -> None:
    with FakeServer(then=[send(logged(1))]) as server:
        nowhere = f"http://127.0.0.1:{closed_port()}/"
        ended = call("tail", server.url, "--no-follow", "--quiet", env={"REALTIME_POLLING_URL": nowhere})
    assert ids(ended.out) == ["1"]
    (line,) = ended.err
    assert line.startswith("warning: ")
    assert ended.code == 0


def test_no_follow_without_a_server_is_exit_4(call: Call) -> None:
    url = f"ws://127.0.0.1:{closed_port()}/ws"
    ended = call("tail", url, "--no-follow", "--quiet", env={**AT_ONCE, "REALTIME_MAX_RECONNECT_ATTEMPTS": "1"})
    assert (ended.code, ended.out) == (4, [])


@pytest.mark.parametrize("duration", ["1", "1s", "0.01m"])
def test_the_duration_ends_it(duration: str, call: Call) -> None:
    with FakeServer(then=[repeat(None, send(alert("again")), interval=0.05)]) as server:
        ended = call("tail", server.url, "--quiet", "-f", "--duration", duration)
    assert ended.code == 0
    assert ended.out
    assert ended.err == []


def test_the_duration_without_a_connection_is_exit_4(call: Call) -> None:
    with FakeServer(then=[stall()]) as server:
        ended = call("tail", server.url, "--quiet", "--duration", "0.2")
    assert ended.code == 4
    assert ended.err == ["realtime-client: error: not connected within 0.2 s (connecting)"]


# What is said


def test_the_course_of_the_connection_is_said_on_standard_error(start: Start) -> None:
    with FakeServer(script=[[send(alert("one")), reset()], [refuse(503)]]) as server:
        process = start("tail", server.url, "--count", "2", env=AT_ONCE)
        process.err.until("again after")
        server.send(alert("two"))
        assert process.end() == 0
    said = process.err.seen
    assert said[0] == f"connecting to {server.url}"
    assert said[1] == f"connected to {server.url}"
    assert "lost" in said[2]
    assert said[3] == "retry 1 of 5 in 0.0 s"
    assert said[4].startswith("retry 2 of 5 in 0.0 s (")
    assert "503" in said[4]
    assert said[5].startswith(f"connected to {server.url} again after ")
    assert [json.loads(line)["data"]["message"] for line in process.out.all()] == ["one", "two"]


def test_quiet_says_nothing(server: FakeServer, call: Call) -> None:
    ended = call("tail", server.url, "--count", "1", "--quiet")
    assert ended.code == 0
    assert ended.err == []


def test_verbose_logs_to_standard_error(server: FakeServer, call: Call) -> None:
    ended = call("tail", server.url, "--count", "1", "--quiet", "-v")
    assert ended.code == 0
    assert "INFO realtime_client" in "\n".join(ended.err)


def test_what_cannot_be_understood_is_said_without_its_content(start: Start) -> None:
    with FakeServer(then=[send('{"type": "system_alert", "data": {"message": 4711}}')]) as server:
        process = start("tail", server.url, "--count", "1")
        process.err.until("^1 message could not be understood: .*message")
        server.send(DEPLOY)
        assert process.end() == 0
    assert "4711" not in process.said()


def test_a_misspelt_variable_is_said_in_one_line(server: FakeServer, call: Call) -> None:
    ended = call("tail", server.url, "--count", "1", "--quiet", env={"REALTIME_TOKE": "s3cret"})
    assert ended.code == 0
    assert ended.err == ["warning: REALTIME_TOKE is not an option; did you mean REALTIME_TOKEN?"]


def test_the_url_comes_from_the_environment(server: FakeServer, call: Call) -> None:
    ended = call("tail", "--count", "1", env={"REALTIME_URL": server.url})
    assert types(ended.out) == ["new_anomaly"]
    assert ended.code == 0


# Secrets


@pytest.mark.parametrize("way", ["environment", "file", "file in the environment"])
def test_the_token_is_sent_and_never_shown(way: str, server: FakeServer, call: Call, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("s3cret\n", encoding="ascii")
    args, env = {
        "environment": ((), {"REALTIME_TOKEN": "s3cret"}),
        "file": (("--token-file", str(path)), {"REALTIME_TOKEN": "another"}),
        "file in the environment": ((), {"REALTIME_TOKEN_FILE": str(path)}),
    }[way]
    ended = call("tail", server.url, "--count", "1", "-vv", *args, env=env)
    assert ended.code == 0
    request = server.connections[0].request
    assert request is not None
    assert request.headers["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in "".join(ended.err + ended.out)


def test_secrets_of_the_url_are_not_shown(server: FakeServer, call: Call) -> None:
    url = server.url.replace("ws://", "ws://user:s3cret@") + "?key=s3cret"
    ended = call("tail", url, "--count", "1", "-vv")
    assert ended.code == 0
    assert "connecting to ws://" in "\n".join(ended.err)
    assert "s3cret" not in "".join(ended.err + ended.out)


# How it ends


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def test_refused_credentials_are_exit_3(start: Start) -> None:
    with FakeServer(then=[refuse(401, body="\x1b[2Jno")]) as server:
        process = start("tail", server.url, "--quiet", env={"REALTIME_TOKEN": "s3cret"})
        assert process.end() == 3
    (line,) = process.err.seen
    assert line.startswith("realtime-client: error: ")
    assert "401" in line
    assert "check the token" in line
    assert "s3cret" not in line
    assert line.isprintable()


def test_no_server_is_exit_4_once_the_outage_is_declared(start: Start) -> None:
    url = f"ws://127.0.0.1:{closed_port()}/ws"
    process = start("tail", url, env={**AT_ONCE, "REALTIME_MAX_RECONNECT_ATTEMPTS": "1"})
    assert process.end() == 4
    connecting, retry, error = process.err.seen
    assert connecting == f"connecting to {url}"
    assert retry.startswith("retry 1 of 1 in 0.0 s (")
    assert error.startswith("realtime-client: error: ")


@pytest.fixture
def nobody_at_the_default_address() -> Iterator[None]:
    """The port is taken, and not listened on, so that who connects is refused."""
    with socket.socket() as sock:
        try:
            sock.bind(("127.0.0.1", 8080))
        except OSError:
            pytest.skip("another program has port 8080 of this machine")
        yield


@pytest.mark.usefixtures("nobody_at_the_default_address")
def test_a_missing_url_is_one_line(start: Start) -> None:
    process = start("tail", "--quiet", "--timeout", "60", env={**AT_ONCE, "REALTIME_MAX_RECONNECT_ATTEMPTS": "1"})
    code = process.end()
    (line,) = process.err.seen
    assert code == 4, line
    assert line.startswith("realtime-client: error: cannot connect to ws://localhost:8080/ws: ")
    assert line.endswith("that is the default address; another is given as URL or in REALTIME_URL")


@pytest.mark.parametrize("command", ["tail", "status", "doctor", "watch", "record"])
def test_without_redis_py_it_is_one_line(command: str, start: Start, tmp_path: Path) -> None:
    (tmp_path / "redis.py").write_text("raise ModuleNotFoundError(\"No module named 'redis'\", name='redis')")
    where = [str(tmp_path / "feed.jsonl")] if command == "record" else []
    process = start(command, *where, "redis://localhost/0?stream=s", env={"PYTHONPATH": str(tmp_path)})
    assert process.end() == 2
    said = process.err.seen if command != "doctor" else process.out.all()[:2]
    assert "pip install 'realtime-client[redis]'" in "".join(said)
    assert command == "doctor" or len(said) == 1


def test_a_wrong_path_is_exit_4_at_once(server: FakeServer, call: Call) -> None:
    ended = call("tail", server.url + "/nowhere", "--quiet")
    assert ended.code == 4
    (line,) = ended.err
    assert "404" in line


def test_an_outage_of_a_feed_that_was_there_is_waited_for(start: Start) -> None:
    with FakeServer(script=[[send(alert("one")), reset()]], then=[refuse(503)]) as server:
        process = start("tail", server.url, "--count", "2", env={**AT_ONCE, "REALTIME_MAX_RECONNECT_ATTEMPTS": "1"})
        process.err.until("^unavailable: ")
        server.then = [send(alert("two"))]
        assert process.end() == 0
    assert len(process.out.all()) == 2


def test_giving_up_after_a_connection_is_exit_1(call: Call) -> None:
    env = {**AT_ONCE, "REALTIME_MAX_RECONNECT_ATTEMPTS": "1", "REALTIME_GIVE_UP": "yes"}
    with FakeServer(script=[[send(alert("one")), reset()]], then=[refuse(503)]) as server:
        ended = call("tail", server.url, env=env)
        assert ended.code == 1
    assert "503" in ended.err[-1]
    assert len(ended.out) == 1


def test_no_event_is_exit_5(start: Start) -> None:
    with FakeServer() as server:
        process = start("tail", server.url, "--quiet", "--timeout", "0.2")
        assert process.end() == 5
    assert process.err.seen == ["realtime-client: error: no event within 0.2 s (connected)"]


def test_events_that_are_not_shown_do_not_put_the_timeout_off(start: Start) -> None:
    with FakeServer(then=[repeat(None, send(STATS), interval=0.02)]) as server:
        process = start("tail", server.url, "--quiet", "--timeout", "0.3", "--type", "new_anomaly")
        assert process.end() == 5


def test_the_timeout_tells_the_history_before_it_ends(call: Call) -> None:
    # Figures without a pause: the history goes on.
    with FakeServer(then=[send(logged(1)), repeat(None, send(STATS), interval=0.02)]) as server:
        ended = call("tail", server.url, "--quiet", "-n", "5", "--timeout", "0.5", "--type", "new_anomaly")
    assert (ids(ended.out), ended.code) == (["1"], 5)


def test_a_history_that_was_told_is_no_timeout(call: Call) -> None:
    with FakeServer(then=[send(logged(1))]) as server:
        ended = call("tail", server.url, "--quiet", "--no-follow", "--timeout", "0.5")
    assert (ids(ended.out), ended.code, ended.err) == (["1"], 0, [])


def test_the_timeout_runs_while_connecting(call: Call) -> None:
    with FakeServer(then=[stall()]) as server:
        ended = call("tail", server.url, "--quiet", "--timeout", "0.2")
        assert ended.code == 5
    assert ended.err == ["realtime-client: error: no event within 0.2 s (connecting)"]


def test_a_server_that_breaks_the_protocol_is_exit_6(start: Start) -> None:
    # A reserved opcode (RFC 6455 section 5.2), again and again.
    with FakeServer(then=[send(alert("before")), send_raw(b"\x83\x00")]) as server:
        process = start("tail", server.url, "--quiet", env=AT_ONCE)
        assert process.end() == 6
    assert types(process.out.all()) == ["system_alert"] * 3
    (line,) = process.err.seen
    assert line.startswith("realtime-client: error: ")


def test_output_that_cannot_be_written_is_exit_1(server: FakeServer, start: Start) -> None:
    with open(os.devnull, "rb") as unwritable:
        process = start("tail", server.url, "--quiet", stdout=unwritable)
        assert process.end() == 1
    assert process.err.seen == ["realtime-client: error: cannot write to standard output: Bad file descriptor"]


@pytest.mark.parametrize(("signal_number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_it_within_two_seconds(signal_number: int, code: int, server: FakeServer, start: Start) -> None:
    process = start("tail", server.url)
    process.out.until("hot")
    ended, taken = process.interrupt(signal_number)
    assert ended == code
    assert taken < 2.0
    assert server.connections[0].wait_closed()
    assert server.connections[0].close_code == 1000


def test_ctrl_c_ends_connecting_at_once(start: Start) -> None:
    with FakeServer(then=[stall()]) as server:
        process = start("tail", server.url)
        server.wait_for_attempts(1)
        ended, taken = process.interrupt(signal.SIGINT)
        assert ended == 130
        assert taken < 2.0


def test_ctrl_c_ends_the_pause_before_a_retry_at_once(start: Start) -> None:
    process = start("tail", f"ws://127.0.0.1:{closed_port()}/ws", env={"REALTIME_RECONNECT_DELAY": "16"})
    process.err.until("^retry 1 of 5")
    ended, taken = process.interrupt(signal.SIGINT)
    assert ended == 130
    assert taken < 2.0


def test_a_signal_ends_it_though_nobody_reads_the_pipe(start: Start) -> None:
    with FakeServer(script=[FLOOD]) as server:
        process = start("tail", server.url)
        wait_until_stuck(server)
        ended, taken = process.interrupt(signal.SIGTERM)
        assert ended == 143
        assert taken < 2.0


def test_a_reader_that_leaves_ends_it_quietly_though_no_further_event_comes(start: Start) -> None:
    with FakeServer(then=[send(alert("the only one"))]) as server:
        process = start("tail", server.url, "--quiet")
        assert process.popen.stdout is not None
        process.popen.stdout.readline()
        process.popen.stdout.close()
        assert process.end() == 0
    assert process.said() == ""


def test_a_reader_that_leaves_a_busy_feed_of_which_nothing_is_shown_ends_it(start: Start) -> None:
    script = [send(alert("the only one")), repeat(None, send(STATS), interval=0.02)]
    with FakeServer(then=script) as server:
        process = start("tail", server.url, "--quiet", "--type", "system_alert")
        assert process.popen.stdout is not None
        process.popen.stdout.readline()
        process.popen.stdout.close()
        assert process.end() == 0
    assert process.said() == ""


def test_head_ends_it_quietly(start: Start) -> None:
    with FakeServer(then=[repeat(None, send(alert("again")), interval=0.01)]) as server:
        command = f"{{ {shlex.join(COMMAND)} tail {server.url} --quiet; echo rc $? >&2; }} | head -n 3"
        done = subprocess.run(
            ["sh", "-c", command], env=environment(), capture_output=True, text=True, timeout=15, check=False
        )
    assert len(done.stdout.splitlines()) == 3
    assert done.stderr == "rc 0\n"
