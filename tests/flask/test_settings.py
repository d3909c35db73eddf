"""Every wrong key is named at once, with what is allowed, and no secret is shown."""

from __future__ import annotations

import sys
from typing import Any

import attrs
import pytest
from flask import Flask

from realtime_client import ClientConfig, ConfigError
from realtime_client.config import TokenFile
from realtime_client.integrations.flask import Realtime
from realtime_client.integrations.flask.settings import read_settings


@attrs.frozen
class Deploy:
    service: str


def test_every_option_of_the_client_has_a_key() -> None:
    config = ClientConfig("ws://example.com/ws", polling_url="http://example.com/poll", name="site")
    keys = {f"REALTIME_{a.name.upper()}": getattr(config, a.name) for a in attrs.fields(ClientConfig)}
    assert read_settings({**keys, "SECRET_KEY": "x", "REAL": 1}).client == config


def test_without_keys_everything_is_as_usual() -> None:
    settings = read_settings({})
    assert settings.client == ClientConfig()
    assert settings.autostart == "first_request"
    assert (settings.dashboard, settings.health, settings.metrics) == (False, False, False)


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("REALTIME_URL", "http://x", "REALTIME_URL: http://x is not allowed"),
        ("REALTIME_RECONNECT_DELAY", "2", "REALTIME_RECONNECT_DELAY: '2' is not allowed"),
        ("REALTIME_RECONECT_DELAY", 2, "no such option; did you mean REALTIME_RECONNECT_DELAY?"),
        ("REALTIME_DASHBOARD", "yes", "REALTIME_DASHBOARD: 'yes' is not allowed; allowed: True or False"),
        ("REALTIME_HEALTH", 1, "REALTIME_HEALTH: 1 is not allowed; allowed: True or False"),
        ("REALTIME_METRICS", "on", "REALTIME_METRICS: 'on' is not allowed; allowed: True or False"),
        ("REALTIME_MAX_STREAMS", 0, "REALTIME_MAX_STREAMS: 0 is not allowed; allowed: a whole number of at least 1"),
        ("REALTIME_AUTOSTART", "eager", "REALTIME_AUTOSTART: 'eager' is not allowed; allowed: one of 'first_request'"),
        ("REALTIME_EVENTS", {"a": int}, "REALTIME_EVENTS: {'a': <class 'int'>} is not allowed (cls: <class 'int'> is"),
        ("REALTIME_EVENTS", {"pong": Deploy}, "'pong' is built in and cannot be registered); allowed: a dict of wire"),
        ("REALTIME_EVENTS", ["a"], "REALTIME_EVENTS: ['a'] is not allowed; allowed: a dict of wire names to attrs"),
        ("REALTIME_TITLE", "", "REALTIME_TITLE: '' is not allowed"),
        ("REALTIME_URL_PREFIX", "feed/", "REALTIME_URL_PREFIX: 'feed/' is not allowed; allowed: a path that begins"),
        ("REALTIME_TOKEN_FILE", 7, "REALTIME_TOKEN_FILE: 7 is not allowed; allowed: the path of a file"),
    ],
)
def test_a_wrong_key_is_named(key: str, value: Any, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_settings({key: value})
    assert complaint in str(caught.value)


def test_all_wrong_keys_are_named_at_once_and_secrets_are_not() -> None:
    with pytest.raises(ConfigError) as caught:
        read_settings({"REALTIME_TOKEN": ["geheim"], "REALTIME_NAME": 3, "REALTIME_FOO": 1, "REALTIME_DASHBOARD": 0})
    assert len(caught.value.problems) == 4
    assert "geheim" not in str(caught.value)


def test_metrics_without_the_library_are_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "realtime_client.integrations.prometheus", raising=False)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigError, match=r"REALTIME_METRICS: .*pip install 'realtime-client\[prometheus\]'"):
        read_settings({"REALTIME_METRICS": True})
    assert read_settings({"REALTIME_METRICS": False}).metrics is False


def test_a_token_file_is_read_for_every_attempt() -> None:
    assert read_settings({"REALTIME_TOKEN_FILE": "/run/token"}).client.token == TokenFile("/run/token")
    with pytest.raises(ConfigError, match="REALTIME_TOKEN_FILE: cannot be given together with REALTIME_TOKEN"):
        read_settings({"REALTIME_TOKEN_FILE": "/run/token", "REALTIME_TOKEN": "x"})


def test_the_environment_reaches_it_as_flask_does_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_REALTIME_URL", "ws://example.com/ws")
    monkeypatch.setenv("FLASK_REALTIME_RECONNECT_DELAY", "0.5")
    monkeypatch.setenv("FLASK_REALTIME_DASHBOARD", "true")
    app = Flask("tests.flask")
    app.config.from_prefixed_env()
    settings = read_settings(app.config)
    assert (settings.client.reconnect_delay, settings.dashboard) == (0.5, True)


def test_a_dashboard_needs_a_guard() -> None:
    app = Flask("tests.flask")
    app.config["REALTIME_DASHBOARD"] = True
    with pytest.raises(ConfigError, match=r"REALTIME_DASHBOARD: needs a guard, Realtime\(guard=\.\.\.\)"):
        Realtime(app)
    assert "realtime_client" not in app.extensions
