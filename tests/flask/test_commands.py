"""``flask realtime ...``, with the application's configuration."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest
from flask import Flask

from realtime_client.testing import FakeServer, accept, refuse, send
from tests.client.recording import anomaly
from tests.web.pages import PATIENCE

Make = Callable[..., Flask]
FIGURES = {"type": "stats_update", "data": {"stats": {"totalLogs": 12, "anomalyCount": 3}}}


def token_of(server: FakeServer) -> str | None:
    request = server.attempts[0].request
    return None if request is None else request.headers.get("authorization")


def test_tail_follows_the_applications_feed(make: Make, server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    app = make(REALTIME_TOKEN="abc")
    sender = threading.Thread(target=lambda: (server.wait_for_connection(1, timeout=PATIENCE), server.send(anomaly(1))))
    sender.start()
    result = app.test_cli_runner().invoke(args=["realtime", "tail", "--count", "1", "--timeout", "20"])
    sender.join(PATIENCE)
    assert result.exit_code == 0, result.output
    (line,) = [line for line in (result.stdout + capsys.readouterr().out).splitlines() if line.startswith("{")]
    assert json.loads(line)["data"]["log"]["id"] == "log-1"
    assert token_of(server) == "Bearer abc"


def test_status_looks_at_the_applications_feed(
    make: Make, server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.then = [accept(), send(FIGURES)]
    result = make(REALTIME_TOKEN="abc").test_cli_runner().invoke(args=["realtime", "status", "--json"])
    said = result.stdout + capsys.readouterr().out
    assert result.exit_code == 0, result.output
    told = json.loads(said)
    assert told["url"] == server.url
    assert told["health"]["state"] == "connected"
    assert told["snapshot"]["stats"]["totalLogs"] == 12
    assert token_of(server) == "Bearer abc"
    assert len(server.attempts) == 1  # the look's own, and none of the application's client


def test_status_of_a_feed_that_is_not_there(make: Make) -> None:
    app = make(REALTIME_URL="ws://127.0.0.1:1/ws")
    assert app.test_cli_runner().invoke(args=["realtime", "status", "--quiet"]).exit_code == 4


def test_doctor_examines_the_applications_feed(
    make: Make, server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    result = make(REALTIME_TOKEN="abc").test_cli_runner().invoke(args=["realtime", "doctor", "--json"])
    told = json.loads(result.stdout + capsys.readouterr().out)
    assert result.exit_code == 0, told
    assert told["url"] == server.url
    assert {check["name"]: check["verdict"] for check in told["checks"]}["upgrade"] == "ok"
    assert token_of(server) == "Bearer abc"


def test_doctor_says_that_the_applications_token_is_refused(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    with FakeServer(then=[refuse(401)]) as refusing:
        app = make(REALTIME_URL=refusing.url, REALTIME_TOKEN="geheim")
        result = app.test_cli_runner().invoke(args=["realtime", "doctor"])
    said = result.output + capsys.readouterr().out
    assert result.exit_code == 3
    assert "FAIL" in said
    assert "401" in said
    assert "geheim" not in said


def test_what_is_given_wins_over_the_configuration(make: Make, server: FakeServer) -> None:
    app = make(REALTIME_URL="ws://127.0.0.1:1/ws")
    result = app.test_cli_runner().invoke(args=["realtime", "status", server.url, "--quiet", "--wait", "0.1"])
    assert result.exit_code == 0
    assert len(server.attempts) == 1


def test_the_exit_code_is_the_commands(make: Make) -> None:
    app = make()
    result = app.test_cli_runner().invoke(args=["realtime", "tail", "ws://127.0.0.1:1/ws", "--timeout", "0.2"])
    assert result.exit_code == 5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tail", "--tokn=geheim"], "unknown option --tokn"),
        (["listen", "-tgeheim"], "unknown option -t"),
        (["listen", "wss://user:geheim@logs.example.com/ws"], "too many arguments"),
    ],
)
def test_an_unknown_argument_is_named_without_its_value(
    arguments: list[str], said: str, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    result = make().test_cli_runner().invoke(args=["realtime", *arguments])
    output = result.output + capsys.readouterr().err
    assert result.exit_code == 2
    assert said in output
    assert "geheim" not in output


def test_help_says_what_it_is(make: Make) -> None:
    runner = make().test_cli_runner()
    said = runner.invoke(args=["realtime", "--help"]).output
    for command in ("listen", "tail", "status", "doctor"):
        assert command in said
        assert runner.invoke(args=["realtime", command, "--help"]).exit_code == 0
