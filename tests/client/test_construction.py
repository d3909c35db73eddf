"""The constructor: no I/O, no thread, no look at the environment, and every mistake named."""

from __future__ import annotations

import logging
import pickle
import socket
import ssl
import threading
from typing import Any

import attrs
import pytest

import realtime_client
from realtime_client import ClientConfig, ConfigError, ConnectionState, RealtimeClient, RealtimeError
from realtime_client.testing import MemoryTransport
from tests.client.conftest import Make
from tests.client.recording import PATIENCE, own_threads

DEFAULTS = {
    "url": "ws://localhost:8080/ws",
    "token": None,
    "headers": None,
    "subprotocols": (),
    "ssl_context": None,
    "ca_file": None,
    "proxy": None,
    "compression": True,
    "connect_timeout": 10,
    "close_timeout": 2,
    "max_reconnect_attempts": 5,
    "give_up": False,
    "reconnect_delay": 1,
    "reconnect_delay_max": 16,
    "reconnect_multiplier": 2,
    "reconnect_jitter": 0.5,
    "reconnect_reset_after": 10,
    "fatal_retry_delay": 60,
    "retry_policy": None,
    "heartbeat_interval": 30,
    "heartbeat_timeout": 10,
    "heartbeat": "message",
    "read_interval": 0,
    "max_message_bytes": 1024 * 1024,
    "max_pending_events": 10_000,
    "max_pending_bytes": 64 * 1024 * 1024,
    "overflow": "drop_oldest",
    "recent_logs_limit": 100,
    "alerts_limit": 100,
    "dedup_window": 10_000,
    "polling_url": None,
    "poller": None,
    "polling_interval": 5,
    "poll_after": 10,
    "backfill_timeout": 5,
}


def test_the_constructor_does_no_io_and_starts_no_thread_and_reads_no_environment(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def forbidden(*arguments: object, **options: object) -> None:
        raise AssertionError("the constructor did something")

    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("REALTIME_URL", "ws://from.the.environment/ws")
    monkeypatch.setenv("REALTIME_TOKEN", "from the environment")
    monkeypatch.setattr(socket, "socket", forbidden)
    monkeypatch.setattr(socket, "getaddrinfo", forbidden)
    monkeypatch.setattr(ssl, "create_default_context", forbidden)
    monkeypatch.setattr(threading.Thread, "start", forbidden)
    monkeypatch.setattr("builtins.open", forbidden)
    client = RealtimeClient("wss://user:secret@example.invalid/ws", ca_file="/no/such/file", token=forbidden)
    RealtimeClient()
    client.on("*", print)
    client.on("*", print, own_thread=True)
    client.on_status(print)
    assert RealtimeClient().config.url == "ws://localhost:8080/ws"
    assert RealtimeClient().config.token is None
    assert client.status.state is ConnectionState.IDLE
    assert (client.is_connected, client.rejected, client.store.recent_logs) == (False, (), ())
    assert client.metrics().received == 0
    assert client.health()["state"] == "idle"
    client.close()
    assert caplog.records == []
    assert own_threads() == []


def test_client_config_defaults_are_the_documented_ones() -> None:
    config = attrs.asdict(RealtimeClient().config, recurse=False)
    assert {key: config[key] for key in DEFAULTS} == DEFAULTS
    assert set(config) == {*DEFAULTS, "name"}


def test_options_are_fields_of_client_config() -> None:
    client = RealtimeClient("wss://example.invalid/feed", overflow="block", reconnect_delay=2)
    assert client.config == ClientConfig("wss://example.invalid/feed", overflow="block", reconnect_delay=2)
    assert RealtimeClient(config=client.config).config is client.config


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"url": "http://example.invalid/"}, ["url"]),
        ({"url": "example.invalid"}, ["url"]),
        ({"url": "ws://"}, ["url"]),
        ({"url": "redis://example.invalid/0"}, ["url"]),
        ({"url": "ws://example.invalid/#fragment"}, ["url"]),
        ({"url": 5}, ["url"]),
        ({"url": "ws://example.invalid:99999/"}, ["url"]),
        ({"overflow": "drop"}, ["overflow"]),
        ({"heartbeat": "always"}, ["heartbeat"]),
        ({"heartbeat_interval": 0}, ["heartbeat_interval"]),
        ({"heartbeat_timeout": "10"}, ["heartbeat_timeout"]),
        ({"connect_timeout": None}, ["connect_timeout"]),
        ({"close_timeout": float("inf")}, ["close_timeout"]),
        ({"reconnect_delay": -1}, ["reconnect_delay"]),
        ({"reconnect_jitter": 1.5}, ["reconnect_jitter"]),
        ({"reconnect_multiplier": 0.5}, ["reconnect_multiplier"]),
        ({"reconnect_delay": 20}, ["reconnect_delay"]),
        ({"max_reconnect_attempts": -1}, ["max_reconnect_attempts"]),
        ({"max_reconnect_attempts": True}, ["max_reconnect_attempts"]),
        ({"max_message_bytes": 0}, ["max_message_bytes"]),
        ({"max_pending_events": 1.5}, ["max_pending_events"]),
        ({"headers": {"Host": "x"}}, ["headers"]),
        ({"headers": {"X": "a\r\nb"}}, ["headers"]),
        ({"headers": [("X", "y")]}, ["headers"]),
        ({"subprotocols": "graphql"}, ["subprotocols"]),
        ({"subprotocols": ["a", "a"]}, ["subprotocols"]),
        ({"token": ""}, ["token"]),
        ({"token": "a\nb"}, ["token"]),
        ({"ssl_context": "yes"}, ["ssl_context"]),
        ({"proxy": "https://example.invalid"}, ["proxy"]),
        ({"give_up": "false"}, ["give_up"]),
        ({"retry_policy": 5}, ["retry_policy"]),
        ({"name": ""}, ["name"]),
        (
            {"overflow": "x", "heartbeat": "y", "url": "z", "no_such_option": 1},
            ["overflow", "heartbeat", "url", "no_such"],
        ),
    ],
)
def test_config_error_is_raised_by_the_constructor_and_names_every_wrong_field(
    options: dict[str, Any], names: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        RealtimeClient(**options)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, RealtimeError)
    assert len(caught.value.problems) == len(names)
    for name in names:
        (problem,) = [p for p in caught.value.problems if p.startswith(name)]
        assert problem in str(caught.value)


def test_config_error_suggests_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="reconnect_delay"):
        RealtimeClient(reconect_delay=5)


def test_config_error_says_what_is_allowed_and_never_shows_a_secret() -> None:
    with pytest.raises(ConfigError) as caught:
        RealtimeClient(
            "http://user:SECRET1@example.invalid/?key=SECRET2",
            token="SECRET3\n",
            headers={"X-Key": "SECRET4\n"},
            proxy="ftp://me:SECRET5@proxy.invalid",
            overflow="maybe",
        )
    assert "SECRET" not in str(caught.value)
    assert "'block'" in str(caught.value)
    assert "'maybe'" in str(caught.value)


def test_config_and_options_cannot_be_given_together() -> None:
    for arguments, options in (((), {"overflow": "block"}), (("ws://localhost/",), {})):
        given: dict[str, Any] = options
        with pytest.raises(ConfigError, match="config"):
            RealtimeClient(*arguments, config=ClientConfig(), **given)
    with pytest.raises(ConfigError, match="config"):
        RealtimeClient(config={"url": "ws://localhost/"})  # type: ignore[arg-type]


def test_two_clients_do_not_share_anything(make: Make) -> None:
    here, there = MemoryTransport(), MemoryTransport()
    one, other = make(link_factory=here, name="one"), make(link_factory=there, name="other")
    one.connect(PATIENCE)
    assert other.status.state is ConnectionState.IDLE
    assert own_threads(other) == []
    other.connect(PATIENCE)
    one.close()
    assert other.is_connected
    assert own_threads(one) == []


def test_threads_are_daemons_named_after_the_client(make: Make, network: MemoryTransport) -> None:
    client = make(link_factory=network, name="feed")
    client.on("*", print, own_thread=True)
    assert own_threads() == []
    client.connect(PATIENCE)
    assert own_threads(client) == [
        "rtc-feed-dispatcher",
        "rtc-feed-heartbeat-1",
        "rtc-feed-lane-1",
        "rtc-feed-reader-1",
        "rtc-feed-reconnect",
    ]
    assert all(t.daemon for t in threading.enumerate() if t.name.startswith("rtc-"))


def test_repr_shows_url_and_state(make: Make, network: MemoryTransport) -> None:
    client = make("ws://user:secret@example.invalid/ws?key=secret", link_factory=network)
    assert repr(client) == "<RealtimeClient ws://example.invalid/ws?… idle>"
    client.connect(PATIENCE)
    assert "connected" in repr(client)


def test_every_public_name_can_be_imported_and_is_documented() -> None:
    for name in realtime_client.__all__:
        thing = getattr(realtime_client, name)
        assert name == "__version__" or thing.__doc__, name


def test_real_time_errors_can_be_pickled() -> None:
    for error in (
        realtime_client.ConfigError("url: wrong"),
        realtime_client.HandshakeRejected("503", status=503, retry_after=2.0, body="b", url="ws://x"),
        realtime_client.AuthenticationError("401", status=401),
        realtime_client.ConnectTimeout("late", timeout=1.0, url="ws://x"),
        realtime_client.ConnectionLost("gone", code=1001, reason="r"),
        realtime_client.HeartbeatTimeout("silent", silence=40.0),
        realtime_client.ProtocolError("broken", code=1002),
        realtime_client.MessageTooLarge("big", size=3, limit=2),
        realtime_client.MalformedMessage("no JSON", payload="{"),
        realtime_client.NotConnected("idle"),
        realtime_client.ClientClosed("closed"),
        realtime_client.PollError("poll", status=500),
        realtime_client.CallbackError("callback", callback="f", argument=1),
    ):
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error)
        assert str(copy) == str(error)
        assert vars(copy) == vars(error)
        assert isinstance(copy, RealtimeError)


def test_a_contradiction_is_told_along_with_a_wrong_field() -> None:
    with pytest.raises(ConfigError) as caught:
        ClientConfig(reconnect_delay=20, heartbeat="x")
    assert "reconnect_delay_max" in str(caught.value)
    assert "heartbeat" in str(caught.value)
