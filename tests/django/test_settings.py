"""``REALTIME_CLIENT``: what it may hold, and what is said of everything else."""

from __future__ import annotations

import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from django.core.checks import CheckMessage, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from realtime_client.config import TokenFile
from realtime_client.integrations.django import Realtime, realtime
from realtime_client.integrations.django.conf import Kind, Settings, read

URL = "ws://127.0.0.1:9/ws"

Configure = Callable[[Any], None]


@attrs.frozen
class DeployFinished:
    service: str


def answer(*_: object) -> dict[str, Any]:
    return {}


def may_see(request: object) -> bool:
    return False


async def finds_out(request: object) -> bool:
    return False


class FindsOut:
    async def __call__(self, request: object) -> bool:
        return False


CONTEXT = ssl.create_default_context()


def settings_of(**given: Any) -> Settings:
    settings, faults = read({"URL": URL, **given})
    assert faults == []
    assert settings is not None
    return settings


def only_fault(given: object) -> tuple[Kind, str]:
    settings, faults = read(given)
    assert settings is None
    (fault,) = faults
    return fault.kind, fault.message


def test_the_address_is_enough() -> None:
    settings = settings_of()
    assert settings.client.url == URL
    assert settings.autostart == "first_use"
    assert settings.dashboard is False
    assert settings.dashboard_test == "staff"


def test_every_option_of_the_client_has_a_key_in_any_case() -> None:
    client = settings_of(RECONNECT_DELAY=0.5, max_reconnect_attempts=None, Name="ops").client
    assert (client.reconnect_delay, client.max_reconnect_attempts, client.name) == (0.5, None, "ops")


def test_objects_may_be_named_by_their_dotted_paths() -> None:
    here = "tests.django.test_settings"
    settings = settings_of(
        POLLER=f"{here}.answer",
        SSL_CONTEXT=f"{here}.CONTEXT",
        EVENTS={"deploy_finished": f"{here}.DeployFinished"},
        DASHBOARD=True,
        DASHBOARD_TEST=f"{here}.may_see",
    )
    assert settings.client.poller is answer
    assert settings.client.ssl_context is CONTEXT
    assert settings.events == {"deploy_finished": DeployFinished}
    assert settings.dashboard_test is may_see


def test_objects_may_be_given_themselves() -> None:
    settings = settings_of(POLLER=answer, EVENTS={"deploy_finished": DeployFinished}, DASHBOARD_TEST=may_see)
    assert settings.client.poller is answer
    assert settings.events == {"deploy_finished": DeployFinished}
    assert settings.dashboard_test is may_see


def test_a_token_file_is_read_for_each_attempt(tmp_path: Path) -> None:
    path = tmp_path / "token"
    assert settings_of(TOKEN_FILE=str(path)).client.token == TokenFile(str(path))
    assert settings_of(TOKEN_FILE=str(path), TOKEN=None).client.token == TokenFile(str(path))


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        (None, Kind.MISSING, ["REALTIME_CLIENT is not set"]),
        ({}, Kind.MISSING, ["URL is missing"]),
        (URL, Kind.VALUE, ["a str is not allowed", "a dict"]),
        ({"URL": "http://x/ws"}, Kind.URL, ["URL: http://x/ws", "ws/wss"]),
        ({"URL": URL, "RECONECT_DELAY": 1}, Kind.UNKNOWN, ["RECONECT_DELAY", "did you mean RECONNECT_DELAY?"]),
        ({"URL": URL, "DASHBORD": True}, Kind.UNKNOWN, ["DASHBORD", "did you mean DASHBOARD?"]),
        ({"URL": URL, "POLLER": "ops.polling.ask"}, Kind.IMPORT, ["POLLER", "'ops.polling.ask'", "No module"]),
        ({"URL": URL, "EVENTS": {"x": "no.such"}}, Kind.IMPORT, ["EVENTS", "'no.such'"]),
        ({"URL": URL, "EVENTS": {"x": int}}, Kind.VALUE, ["EVENTS", "attrs classes"]),
        ({"URL": URL, "EVENTS": ["x"]}, Kind.VALUE, ["EVENTS", "a dict of wire names"]),
        ({"URL": URL, "RECONNECT_DELAY": "1"}, Kind.VALUE, ["RECONNECT_DELAY: '1'", "a finite number"]),
        ({"URL": URL, "AUTOSTART": "eager"}, Kind.VALUE, ["AUTOSTART: 'eager'", "'first_use', 'first_request', 'off'"]),
        ({"URL": URL, "DASHBOARD": "yes"}, Kind.VALUE, ["DASHBOARD: 'yes'", "True or False"]),
        ({"URL": URL, "DASHBOARD_TEST": 7}, Kind.VALUE, ["DASHBOARD_TEST: 7", "'staff', 'authenticated', 'anyone'"]),
        ({"URL": URL, "DASHBOARD_TEST": None}, Kind.VALUE, ["DASHBOARD_TEST: None", "a function of the request"]),
        ({"URL": URL, "DASHBOARD_TEST": Settings}, Kind.VALUE, ["DASHBOARD_TEST", "a function of the request"]),
        ({"URL": URL, "DASHBOARD_TEST": finds_out}, Kind.VALUE, ["DASHBOARD_TEST", "asynchronous"]),
        ({"URL": URL, "EVENTS": {"pong": DeployFinished}}, Kind.VALUE, ["EVENTS", "'pong' is built in"]),
        ({"URL": URL, "HEALTH": "yes"}, Kind.VALUE, ["HEALTH: 'yes'", "True or False"]),
        ({"URL": URL, "METRICS": 1}, Kind.VALUE, ["METRICS: 1", "True or False"]),
        ({"URL": URL, "DASHBOARD_TEST": FindsOut()}, Kind.VALUE, ["DASHBOARD_TEST", "asynchronous"]),
        ({"URL": URL, "DASHBOARD_TEST": "staf"}, Kind.VALUE, ["DASHBOARD_TEST: 'staf'", "'staff', 'authenticated'"]),
        ({"URL": URL, "DASHBOARD_TEST": ""}, Kind.VALUE, ["DASHBOARD_TEST: ''", "'staff', 'authenticated'"]),
        ({"URL": URL, "DASHBOARD_TEST": "no.such"}, Kind.IMPORT, ["DASHBOARD_TEST: 'no.such'", "No module"]),
        ({"URL": URL, "TITLE": ""}, Kind.VALUE, ["TITLE: ''", "text that is not empty"]),
        ({"URL": URL, "MAX_STREAMS": 0}, Kind.VALUE, ["MAX_STREAMS: 0", "a whole number of at least 1"]),
        ({"URL": URL, "url": URL}, Kind.VALUE, ["URL: is given twice"]),
        ({"URL": URL, "TOKEN": "t", "TOKEN_FILE": "/t"}, Kind.VALUE, ["TOKEN_FILE: cannot be given together"]),
        ({"URL": URL, "TOKEN_FILE": 5}, Kind.VALUE, ["TOKEN_FILE: 5", "the path of a file"]),
    ],
)
def test_what_is_wrong_is_named(given: object, kind: Kind, words: list[str]) -> None:
    found, message = only_fault(given)
    assert found is kind
    for word in words:
        assert word in message


def test_metrics_without_the_library_are_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "realtime_client.integrations.prometheus", raising=False)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    kind, message = only_fault({"URL": URL, "METRICS": True})
    assert kind is Kind.VALUE
    assert "REALTIME_CLIENT: METRICS: " in message
    assert "pip install 'realtime-client[prometheus]'" in message


def test_all_faults_are_told_at_once() -> None:
    settings, faults = read({"URL": "x", "RECONNECT_DELAY": -1, "CA_FIEL": "x", "DASHBOARD": 1})
    assert settings is None
    assert sorted(fault.kind.name for fault in faults) == ["UNKNOWN", "URL", "VALUE", "VALUE"]


@pytest.mark.parametrize(
    ("key", "secret"),
    [
        ("TOKEN", "se\x00cret"),
        ("HEADERS", "Authorization: se-cret"),
        ("HEADERS", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJzZWNyZXQifQ.secret"),  # a JWT that looks like a dotted path
        ("HEADERS", "eyJsecret"),
        ("HEADERS", "..secret"),
        ("HEADERS", ".secret"),
        ("POLLER", "https://user:secret@logs.example/poll"),
    ],
)
def test_no_secret_is_shown(key: str, secret: str) -> None:
    _, faults = read({"URL": URL, key: secret})
    assert faults
    message = " ".join(fault.message for fault in faults)
    assert f"{key}: " in message
    assert "cret" not in message
    assert "eyJ" not in message


def test_wrong_settings_are_an_error_where_the_feed_is_used(configure: Configure) -> None:
    configure({"URL": "http://x", "DASHBORD": True})
    with pytest.raises(ImproperlyConfigured, match=r"URL: .*DASHBORD|DASHBORD.*URL: "):
        _ = Realtime().store


def found_by_checks(*, deploy: bool = False) -> list[CheckMessage]:
    return [m for m in run_checks(include_deployment_checks=deploy) if str(m.id).startswith("realtime_client.")]


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        ({"URL": URL}, []),
        (None, ["E001"]),
        ({"URL": "ftp://x"}, ["E002"]),
        ({"URL": URL, "TOKN": "x"}, ["E003"]),
        ({"URL": URL, "POLLER": "no.such"}, ["E004"]),
        ({"URL": URL, "PROXY": 5, "NAME": ""}, ["E005", "E005"]),
        ({"URL": URL, "DASHBOARD": True}, []),
    ],
)
def test_checks(given: object, ids: list[str], configure: Configure) -> None:
    configure(given)
    assert [message.id for message in found_by_checks()] == [f"realtime_client.{number}" for number in ids]


@pytest.mark.parametrize(("test", "ids"), [("staff", ["realtime_client.E006"]), (may_see, [])])
def test_a_dashboard_for_users_needs_users(test: object, ids: list[str], configure: Configure) -> None:
    configure({"URL": URL, "DASHBOARD": True, "DASHBOARD_TEST": test})
    with override_settings(MIDDLEWARE=[]):
        assert [message.id for message in found_by_checks()] == ids


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        ({}, []),
        ({"URL": "wss://logs.example/ws", "POLLING_URL": "https://logs.example/poll"}, []),
        ({"URL": "ws://logs.example/ws", "POLLING_URL": "http://logs.example/poll"}, ["W001", "W001"]),
        ({"URL": "ws://localhost/ws"}, []),
        ({"URL": "ws://[::1]/ws"}, []),
        ({"URL": "ws://10.0.0.1/ws"}, ["W001"]),
        ({"URL": "redis://reader:s3cret@redis.example/0?stream=s"}, ["W001"]),
        ({"URL": "redis://redis.example/0?stream=s", "TOKEN": "of-the-environment"}, ["W001"]),
        ({"URL": "redis://redis.example/0?stream=s"}, []),
        ({"URL": "redis://:s3cret@localhost/0?stream=s"}, []),
        ({"URL": "redis://:s3cret@localhost/0?stream=s&also=redis.example"}, ["W001"]),
        ({"URL": "rediss://reader:s3cret@redis.example/0?stream=s"}, []),
        ({"DASHBOARD": True, "DASHBOARD_TEST": "anyone"}, ["W002"]),
        ({"DASHBOARD": False, "DASHBOARD_TEST": "anyone"}, []),
        ({"TOKEN": "written-here"}, ["W003"]),
        ({"TOKEN": "of-the-environment"}, []),
        ({"TOKEN": lambda: "asked"}, []),
        ({"TOKEN_FILE": "/no/such/file"}, ["W004"]),
    ],
)
def test_checks_of_a_deployment(
    given: dict[str, Any], ids: list[str], configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEED_TOKEN", "of-the-environment")
    configure({"URL": URL, **given})
    messages = found_by_checks(deploy=True)
    assert [message.id for message in messages] == [f"realtime_client.{number}" for number in ids]
    assert "s3cret" not in str(messages)
    assert found_by_checks() == []


def test_the_settings_are_those_of_the_project() -> None:
    assert realtime.settings.client.url == URL


def test_a_missing_django_is_said_in_one_sentence() -> None:
    program = "import sys; sys.modules['django'] = None; import realtime_client.integrations.django"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    name, _, words = done.stderr.splitlines()[-1].partition(": ")
    assert name == "ImportError"
    assert words == "realtime_client.integrations.django needs Django: pip install 'realtime-client[django]'"


def test_importing_the_integration_configures_nothing() -> None:
    program = "import sys, realtime_client.integrations.django; print('django.contrib.auth.models' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=50, check=True
    )
    assert done.stdout == "False\n"
