"""``manage.py realtime``: how its commands end, and that other code can call them."""

from __future__ import annotations

import io
import json
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from realtime_client.testing import FakeServer, accept, refuse, send
from tests.client.recording import anomaly
from tests.django.site import PATIENCE, serve

Configure = Callable[[Any], None]
LISTEN = (sys.executable, "manage.py", "realtime", "listen")


def test_code_can_call_tail_and_read_what_it_writes(configure: Configure) -> None:
    with FakeServer(then=[accept(), send(anomaly(1))]) as server:
        configure({"URL": server.url})
        written = io.StringIO()
        call_command("realtime", "tail", "--count", "1", "--type", "new_anomaly", stdout=written)
    assert json.loads(written.getvalue())["data"]["log"]["id"] == "log-1"
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("rtc-")]


FIGURES = {"type": "stats_update", "data": {"stats": {"totalLogs": 12, "anomalyCount": 3}}}


def test_status_looks_at_the_projects_feed(configure: Configure) -> None:
    with FakeServer(then=[accept(), send(FIGURES)]) as server:
        configure({"URL": server.url, "TOKEN": "abc"})
        written = io.StringIO()
        call_command("realtime", "status", "--json", stdout=written)
        told = json.loads(written.getvalue())
        assert told["url"] == server.url
        assert told["snapshot"]["stats"]["totalLogs"] == 12
        (attempt,) = server.attempts  # the look's own, and none of the project's client
        assert attempt.request is not None
        assert attempt.request.headers["authorization"] == "Bearer abc"


def test_status_of_a_feed_that_is_not_there(configure: Configure) -> None:
    configure({"URL": "ws://127.0.0.1:1/ws"})
    with pytest.raises(SystemExit) as ended:
        call_command("realtime", "status", "--quiet")
    assert ended.value.code == 4


def test_doctor_examines_the_projects_feed(server: FakeServer, configure: Configure) -> None:
    configure({"URL": server.url})
    written = io.StringIO()
    call_command("realtime", "doctor", "--json", stdout=written)
    told = json.loads(written.getvalue())
    assert told["url"] == server.url
    assert {check["name"]: check["verdict"] for check in told["checks"]}["upgrade"] == "ok"


def test_doctor_says_that_the_projects_token_is_refused(configure: Configure) -> None:
    written = io.StringIO()
    with FakeServer(then=[refuse(401)]) as refusing:
        configure({"URL": refusing.url, "TOKEN": "my-secret"})
        with pytest.raises(SystemExit) as ended:
            call_command("realtime", "doctor", stdout=written)
    assert ended.value.code == 3
    assert "FAIL" in written.getvalue()
    assert "my-secret" not in written.getvalue()


def test_what_is_given_wins_over_the_settings(configure: Configure) -> None:
    with FakeServer(then=[accept(), send(anomaly(1))]) as server:
        configure({"URL": "ws://127.0.0.1:9/ws"})
        call_command("realtime", "tail", server.url, "--count", "1", "--type", "new_anomaly", stdout=io.StringIO())
        assert len(server.connections) == 1


def test_the_environment_is_not_asked(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALTIME_URL", "ws://127.0.0.1:9/ws")
    with FakeServer(then=[accept(), send(anomaly(1))]) as server:
        configure({"URL": server.url})
        call_command("realtime", "tail", "--count", "1", "--type", "new_anomaly", stdout=io.StringIO())


def test_a_failure_is_an_exit_code(
    server: FakeServer, configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    configure({"URL": server.url})
    with pytest.raises(SystemExit) as ended:
        call_command("realtime", "tail", "--timeout", "0.1", "--quiet", "--type", "new_anomaly")
    assert ended.value.code == 5
    assert "manage.py realtime: error: no event within 0.1 s" in capsys.readouterr().err


@pytest.mark.parametrize("words", [(), ("dance",), ("tail", "--token", "secret"), ("listen", "--count", "1")])
def test_wrong_usage(words: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        call_command("realtime", *words)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_listening_ends_when_it_is_told_to(number: int, code: int, env: dict[str, str], server: FakeServer) -> None:
    with serve(*LISTEN, env=env, listening=r"Connected()") as listening:
        listening.process.send_signal(number)
        assert listening.process.wait(PATIENCE) == code
        said = "\n".join(listening.said.all())
    assert "connecting to ws://127.0.0.1" in said
    assert "Traceback" not in said


def test_listening_ends_where_there_is_no_hope(env: dict[str, str]) -> None:
    with FakeServer(then=[refuse(401)]) as refusing:
        wrong = {**env, "REALTIME_URL": refusing.url, "REALTIME_TOKEN": "my-secret"}
        with serve(*LISTEN, "--quiet", env=wrong, listening=r"error()") as listening:
            assert listening.process.wait(PATIENCE) == 3
            said = "\n".join(listening.said.all())
    assert said.startswith("manage.py realtime: error: ")
    assert "401" in said
    assert "my-secret" not in said


def test_listening_outlives_an_outage(env: dict[str, str], server: FakeServer) -> None:
    with serve(*LISTEN, env=env, listening=r"Connected()") as listening:
        server.drop()
        listening.said.until("Connected")
        assert len(server.connections) == 2
        listening.process.send_signal(signal.SIGTERM)
        assert listening.process.wait(PATIENCE) == 143
