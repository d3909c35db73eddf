"""``doctor`` as it is called: what people and programs are told, and the exit codes."""

from __future__ import annotations

import argparse
import json
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from realtime_client import ClientConfig
from realtime_client.cli.doctor import examine
from realtime_client.doctor import redis_stream
from realtime_client.testing import FakeServer, accept, refuse, stall
from tests.cli.conftest import Call
from tests.cli.process import Start
from tests.relay.servers import RedisServer
from tests.relay.test_same_store import Writing


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_stream, "TAKEOVER", 0.0)


def test_each_step_is_a_line(call: Call) -> None:
    with FakeServer() as server:
        ended = call("doctor", server.url)
    assert (ended.code, ended.err) == (0, [])
    assert [line.split()[0] for line in ended.out] == [
        "config",
        "dns",
        "proxy",
        "tcp",
        "tls",
        "upgrade",
        "greeting",
        "heartbeat",
        "polling",
        "clock",
    ]
    assert ended.out[5].split()[1] == "OK"
    assert ended.out[4].split()[1] == "-"


def test_what_is_wrong_comes_with_cause_and_remedy(call: Call) -> None:
    with FakeServer(then=[refuse(404)]) as server:
        ended = call("doctor", server.url)
    assert ended.code == 4
    at = next(n for n, line in enumerate(ended.out) if line.startswith("upgrade"))
    assert ended.out[at].split()[1] == "FAIL"
    assert ended.out[at + 1].strip() == "cause: there is nothing at this path"
    assert ended.out[at + 2].strip() == "to do: check the path of the URL"


def test_json_is_one_object(call: Call) -> None:
    with FakeServer() as server:
        ended = call("doctor", server.url, "--json", env={"REALTIME_POLLING_URL": server.poll_url})
    assert ended.code == 1
    (line,) = ended.out
    answer = json.loads(line)
    assert (answer["url"], answer["verdict"]) == (server.url, "fail")
    assert [check["name"] for check in answer["checks"] if check["verdict"] == "fail"] == ["polling"]


@pytest.mark.parametrize(
    ("step", "code"),
    [(refuse(401), 3), (refuse(503), 4), (accept(greeting="no feed"), 6), (stall(), 4)],
)
def test_the_exit_code_is_that_of_the_first_failure(call: Call, step: Any, code: int) -> None:
    with FakeServer(then=[step]) as server:
        assert call("doctor", server.url, env={"REALTIME_CONNECT_TIMEOUT": "0.5"}).code == code


def test_a_wrong_configuration_is_a_check(call: Call) -> None:
    ended = call("doctor", "ftp://h", "--json", env={"REALTIME_RECONNECT_DELAY": "soon"})
    assert ended.code == 2
    (check,) = json.loads(ended.out[0])["checks"]
    assert (check["name"], check["verdict"]) == ("config", "fail")
    assert "url: ftp://h is not allowed" in check["found"]
    assert "REALTIME_RECONNECT_DELAY: 'soon' is not allowed" in check["found"]


@pytest.mark.parametrize("token", [lambda: 1 / 0, lambda: threading.Event().wait(0.5)], ids=["fails", "hangs"])
def test_a_callable_that_gives_nothing_is_the_configuration_too(token: Any, capsys: pytest.CaptureFixture[str]) -> None:
    config = ClientConfig("ws://localhost:1/ws", token=token, connect_timeout=0.1)
    assert examine(config, argparse.Namespace(json=True, color="never")) == 2
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert (checks[0]["name"], checks[0]["verdict"]) == ("config", "fail")


def test_a_recording(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "feed.jsonl"
    path.write_text("")
    ended = call("doctor", f"replay:{path}")
    assert (ended.code, ended.out[1].split()[1]) == (0, "WARN")
    path.write_text("hello\n")
    assert call("doctor", f"replay:{path}").code == 6
    assert call("doctor", f"replay:{path}.none").code == 1


def test_a_stream_in_redis(call: Call, no_patience: None) -> None:
    with RedisServer() as server:
        url = server.url("s")
        ended = call("doctor", url)
        assert ended.code == 1
        assert next(line for line in ended.out if "FAIL" in line).split()[0] == "stream"
        relay = Writing(url)
        ended = call("doctor", url)
        assert (ended.code, ended.err) == (0, [])
        assert [line.split()[:2] for line in ended.out if line.startswith("relay")] == [["relay", "OK"]]
        relay.end()
    assert call("doctor", url).code == 4


def test_refused_by_redis(call: Call) -> None:
    with RedisServer("--requirepass", "s3cret") as server:
        ended = call("doctor", server.url("s"))
    assert ended.code == 3
    assert "s3cret" not in "".join(ended.out)


def test_hostile_words_of_a_server_are_written_out(call: Call) -> None:
    with FakeServer(then=[accept(greeting={"type": "\x1b]0;pwned\x07\x1b[2J\u202e"})]) as server:
        ended = call("doctor", server.url)
    assert ended.code == 0
    assert all(line.isprintable() for line in ended.out)
    assert any(r"\x1b]0;pwned\x07\x1b[2J\u202e" in line for line in ended.out)


def test_colour(call: Call) -> None:
    with FakeServer() as server:
        assert "\x1b[32mOK" in call("doctor", server.url, "--color", "always").out[0]
        assert "\x1b" not in "".join(call("doctor", server.url).out)


def test_a_dead_host_as_a_process(start: Start) -> None:
    process = start("doctor", "ws://127.0.0.1:1/ws")
    assert process.end() == 4
    assert process.said() == ""
    assert any("nothing listens there" in line for line in process.out.all())


def test_ctrl_c(start: Start) -> None:
    with FakeServer(then=[stall()]) as server:
        process = start("doctor", server.url)
        process.out.until("^tls")
        code, _ = process.interrupt(signal.SIGINT)
    assert (code, process.said()) == (130, "")
