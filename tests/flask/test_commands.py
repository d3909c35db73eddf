"""``flask realtime ...``, with the application's configuration."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest
from flask import Flask

from realtime_client.testing import FakeServer
from tests.client.recording import anomaly
from tests.web.pages import PATIENCE

Make = Callable[..., Flask]


def test_tail_follows_the_applications_feed(make: Make, server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    app = make(REALTIME_TOKEN="abc")
    sender = threading.Thread(target=lambda: (server.wait_for_connection(1, timeout=PATIENCE), server.send(anomaly(1))))
    sender.start()
    result = app.test_cli_runner().invoke(args=["realtime", "tail", "--count", "1", "--timeout", "20"])
    sender.join(PATIENCE)
    assert result.exit_code == 0, result.output
    (line,) = [line for line in (result.stdout + capsys.readouterr().out).splitlines() if line.startswith("{")]
    assert json.loads(line)["data"]["log"]["id"] == "log-1"
    request = server.attempts[0].request
    assert request is not None
    assert request.headers["authorization"] == "Bearer abc"


def test_the_exit_code_is_the_commands(make: Make) -> None:
    app = make()
    result = app.test_cli_runner().invoke(args=["realtime", "tail", "ws://127.0.0.1:1/ws", "--timeout", "0.2"])
    assert result.exit_code == 5


def test_an_unknown_argument_is_named_without_its_value(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    result = make().test_cli_runner().invoke(args=["realtime", "tail", "--tokn=geheim"])
    said = result.output + capsys.readouterr().err
    assert result.exit_code == 2
    assert "unknown argument --tokn" in said
    assert "geheim" not in said


def test_help_says_what_it_is(make: Make) -> None:
    runner = make().test_cli_runner()
    assert "tail" in runner.invoke(args=["realtime", "--help"]).output
    assert runner.invoke(args=["realtime", "tail", "--help"]).exit_code == 0
