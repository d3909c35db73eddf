"""The example site in processes of its own: commands that connect nothing, and servers that connect once."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest

from realtime_client.testing import FakeServer
from tests.client.recording import anomaly
from tests.django.site import PATIENCE, Served, Visitor, free_port, manage, serve, wait_until

GUNICORN = (sys.executable, "-m", "gunicorn", "project.wsgi", "--bind", "127.0.0.1:0")
UVICORN = (sys.executable, "-m", "uvicorn", "project.asgi:application", "--port", "0")


@pytest.mark.parametrize(
    "command",
    [
        ("help",),
        ("check",),
        ("check", "--deploy"),
        ("migrate",),
        ("makemigrations", "--check"),
        ("collectstatic", "--noinput"),
        ("shell", "--command", "import incidents.receivers, incidents.views"),
        ("realtime", "--help"),
        *(("realtime", command, "--help") for command in ("listen", "tail", "status", "doctor")),
    ],
    ids=" ".join,
)
def test_a_command_connects_nothing(command: tuple[str, ...], env: dict[str, str], server: FakeServer) -> None:
    manage(*command, env=env)
    assert server.attempts == ()


@pytest.fixture(params=["reloading", "--noreload"])
def runserver(request: pytest.FixtureRequest, env: dict[str, str]) -> Iterator[Served]:
    address = f"127.0.0.1:{free_port()}"
    how = [] if request.param == "reloading" else [request.param]
    with serve(sys.executable, "manage.py", "runserver", address, *how, env={**env, "DJANGO_DEBUG": "1"}) as served:
        yield served


def test_the_development_server_connects_once_when_the_feed_is_used(runserver: Served, server: FakeServer) -> None:
    visitor = Visitor(runserver.url)
    wait_until(lambda: _answers(visitor), "the development server answers")
    assert "None was kept" not in visitor.get("/admin/login/")
    assert server.attempts == ()
    visitor.get("/")
    server.wait_for_connection(1, timeout=PATIENCE)
    wait_until(lambda: '"state">connected' in visitor.get("/"), "connected")
    assert len(server.attempts) == 1


def _answers(visitor: Visitor) -> bool:
    try:
        return bool(visitor.get("/admin/login/"))
    except OSError:
        return False


@pytest.mark.parametrize("command", [GUNICORN, UVICORN], ids=["gunicorn", "uvicorn"])
def test_a_worker_connects_once_when_the_feed_is_used(
    command: tuple[str, ...], env: dict[str, str], server: FakeServer
) -> None:
    with serve(*command, env=env) as served:
        visitor = Visitor(served.url)
        visitor.get("/admin/login/")
        assert server.attempts == ()
        wait_until(lambda: '"state">connected' in visitor.get("/"), "connected")
        server.send({"type": "stats_update", "data": {"stats": {"totalLogs": 7, "anomalyCount": 3}}})
        wait_until(lambda: '"anomalies">3<' in visitor.get("/"), "the figures")
        assert len(server.attempts) == 1


def test_listening_keeps_the_anomalies_and_shows_them(env: dict[str, str], server: FakeServer) -> None:
    with serve(sys.executable, "manage.py", "realtime", "listen", env=env, listening=r"Connected()") as listening:
        server.send(anomaly(1))
        server.send(anomaly(1))
        server.send(anomaly(2))
        with serve(*GUNICORN, env=env) as served:
            visitor = Visitor(served.url)
            wait_until(lambda: visitor.get("/").count("<li>") == 2, "two incidents")
        listening.process.send_signal(signal.SIGTERM)
        assert listening.process.wait(PATIENCE) == 143
        assert "Traceback" not in "\n".join(listening.said.all())


def test_tail_follows_the_feed_of_the_settings(env: dict[str, str], server: FakeServer) -> None:
    command = [sys.executable, "manage.py", "realtime", "tail", "--type", "new_anomaly", "--count", "1"]
    with serve(*command, env=env, listening=r"connected()") as tail:
        server.wait_for_connection(1, timeout=PATIENCE)
        server.send(anomaly(5))
        tail.said.until('"log-5"')
        assert tail.process.wait(PATIENCE) == 0


def test_wrong_settings_end_a_command_with_the_key(env: dict[str, str]) -> None:
    wrong = {**env, "REALTIME_URL": "http://not-a-socket/"}
    with serve(sys.executable, "manage.py", "realtime", "tail", env=wrong, listening=r"System check()") as tail:
        assert tail.process.wait(PATIENCE) == 1
        said = "\n".join(tail.said.all())
    assert "realtime_client.E002" in said
    assert "REALTIME_CLIENT: URL: http://not-a-socket/" in said
    assert "Traceback" not in said
