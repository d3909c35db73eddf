"""The extension: when it connects, whose callbacks run where, and how it lives with several applications."""

from __future__ import annotations

import builtins
import gc
import os
import sys
import time
import weakref
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from flask import Flask, current_app

import realtime_client
from realtime_client import ClientConfig, ConfigError, ConnectionState, RealtimeClient, StatusChange
from realtime_client.integrations.flask import Realtime
from realtime_client.testing import FakeServer, refuse
from tests.client.recording import Record, anomaly
from tests.web.pages import PATIENCE, own_threads

Make = Callable[..., Flask]


def test_nothing_connects_before_the_first_request(make: Make, server: FakeServer) -> None:
    realtime = Realtime()
    realtime.on("new_anomaly")(print)
    app = make(realtime)
    app.add_url_rule("/", "index", lambda: "hello")
    with app.app_context():
        pass
    app.test_cli_runner().invoke(args=["routes"])
    assert own_threads() == []
    assert server.attempts == ()
    for _ in range(3):
        assert app.test_client().get("/").text == "hello"
    server.wait_for_connection(1, timeout=PATIENCE)
    assert len(server.attempts) == 1


def test_first_use_waits_for_somebody_who_asks(make: Make, server: FakeServer) -> None:
    realtime = Realtime()
    app = make(realtime, REALTIME_AUTOSTART="first_use")
    app.add_url_rule("/", "index", lambda: "hello")
    app.add_url_rule("/store", "store", lambda: str(realtime.store.stats.anomaly_count))
    app.test_client().get("/")
    assert own_threads() == []
    assert app.test_client().get("/store").text == "0"
    server.wait_for_connection(1, timeout=PATIENCE)


def test_off_waits_for_connect(make: Make, server: FakeServer) -> None:
    realtime = Realtime()
    app = make(realtime, REALTIME_AUTOSTART="off")
    with app.app_context():
        assert realtime.client.status.state is ConnectionState.IDLE
        realtime.client.connect(PATIENCE)
        assert realtime.client.is_connected


def test_callbacks_run_in_an_application_context_of_their_own(make: Make, server: FakeServer) -> None:
    realtime, names, told = Realtime(), Record(), Record()

    @realtime.on("new_anomaly")
    def note(event: Any) -> None:
        names((current_app.name, event.log.id))

    assert note.__name__ == "note"  # it stays the function that it was
    realtime.on_connection_change(told)
    for decorate in (realtime.on_status, realtime.on_notification, realtime.on_gap, realtime.on_error):
        decorate(lambda _: None)
    app = make(realtime)
    with app.app_context():
        realtime.client.connect(PATIENCE)
    server.send(anomaly(1))
    assert names.wait_for(1) == [("tests.flask", "log-1")]
    assert told.wait_for(1) == [True]


def test_a_callback_that_is_registered_late_is_called_once(make: Make, server: FakeServer) -> None:
    realtime, early, late = Realtime(), Record(), Record()
    realtime.on("new_anomaly")(early)
    app = make(realtime)
    with app.app_context():
        realtime.client.connect(PATIENCE)
        realtime.on("new_anomaly", own_thread=True)(late)
        _ = realtime.client, realtime.store
    for number in (1, 2):
        server.send(anomaly(number))
    assert len(early.wait_for(2)) == len(late.wait_for(2)) == 2


def test_an_error_names_the_users_callback(make: Make, server: FakeServer) -> None:
    realtime, errors = Realtime(), Record()

    @realtime.on("new_anomaly")
    def breaks(event: Any) -> None:
        raise ValueError("broken")

    realtime.on_error(errors)
    app = make(realtime)
    with app.app_context():
        realtime.client.connect(PATIENCE)
    server.send(anomaly(1))
    assert "breaks" in errors.wait_for(1)[0].callback


def test_several_applications_have_a_client_each(make: Make, server: FakeServer) -> None:
    realtime, heard = Realtime(), Record()
    realtime.on("new_anomaly")(lambda event: heard(current_app.config["NUMBER"]))
    apps = [make(realtime, NUMBER=number) for number in (1, 2)]
    clients = []
    for app in apps:
        with app.app_context():
            realtime.client.connect(PATIENCE)
            clients.append(realtime.client)
    assert clients[0] is not clients[1]
    server.wait_for_connection(2, timeout=PATIENCE)
    server.send(anomaly(1))
    assert sorted(heard.wait_for(1)) in ([1], [2], [1, 2])
    realtime.close(apps[0])
    assert not clients[0].is_connected
    assert clients[1].is_connected
    with apps[0].app_context():
        assert realtime.client is not clients[0]


def test_a_second_init_app_is_refused(make: Make) -> None:
    realtime = Realtime()
    app = make(realtime)
    with pytest.raises(RuntimeError, match="has a Realtime extension already"):
        realtime.init_app(app)


def test_an_application_that_does_not_know_it_is_named() -> None:
    with Flask("other").app_context(), pytest.raises(RuntimeError, match=r"init_app\(\) of this Realtime .* 'other'"):
        _ = Realtime().client
    with pytest.raises(RuntimeError, match="application context"):
        _ = Realtime().store


def test_an_application_is_not_kept_alive(server: FakeServer) -> None:
    realtime = Realtime()
    realtime.on("new_anomaly")(lambda event: None)
    app: Flask | None = Flask("tests.flask")
    assert app is not None
    app.config["REALTIME_URL"] = server.url
    realtime.init_app(app)
    with app.app_context():
        client = realtime.client
        client.connect(PATIENCE)
    client.close()
    del client
    gone = weakref.ref(app)
    app = None
    gc.collect()
    assert gone() is None


def test_a_client_factory_may_share(make: Make, server: FakeServer) -> None:
    def shared(config: ClientConfig) -> RealtimeClient:
        return realtime_client.shared(config.url)

    realtime = Realtime(client_factory=shared)
    apps = [make(realtime), make(realtime)]
    for app in apps:
        with app.app_context():
            realtime.client.connect(PATIENCE)
    assert len(server.attempts) == 1


@attrs.frozen
class DeployFinished:
    service: str


def test_own_events_are_known(make: Make, server: FakeServer) -> None:
    realtime, heard = Realtime(), Record()
    realtime.on("deploy_finished")(heard)
    app = make(realtime, REALTIME_EVENTS={"deploy_finished": DeployFinished})
    with app.app_context():
        realtime.client.connect(PATIENCE)
    server.send({"type": "deploy_finished", "data": {"service": "shop"}})
    assert heard.wait_for(1)[0].service == "shop"


def test_a_callback_for_a_class_that_nobody_made_known_is_told_to_each_who_asks(make: Make) -> None:
    realtime = Realtime()
    realtime.on(DeployFinished)(print)
    app = make(realtime)
    with app.app_context():
        for _ in range(2):
            with pytest.raises(TypeError, match=r"event: .*DeployFinished.* register_event\(\) makes a class known"):
                _ = realtime.client


def test_who_gave_up_at_first_is_tried_again_by_a_later_request(make: Make) -> None:
    with FakeServer(script=[[refuse(404)]]) as server:  # and then it is mended
        realtime = Realtime()
        app = make(realtime, REALTIME_URL=server.url, REALTIME_FATAL_RETRY_DELAY=0.05)
        app.add_url_rule("/", "index", lambda: "hello")
        with app.app_context():
            client = realtime.client
        with pytest.raises(ConnectionError):
            client.join(PATIENCE)  # not connect(): behind the refusal that would be another attempt, which succeeds
        deadline = time.monotonic() + PATIENCE
        while not client.is_connected and time.monotonic() < deadline:
            app.test_client().get("/")
        assert client.is_connected
        assert len(server.attempts) == 2


def test_who_was_closed_is_left_alone(make: Make, server: FakeServer) -> None:
    realtime = Realtime()
    app = make(realtime)
    with app.app_context():
        realtime.client.connect(PATIENCE)
        realtime.client.close()
        assert realtime.client.status.state is ConnectionState.CLOSED


def test_who_uses_the_feed_while_it_is_closed_gets_another_client(make: Make, server: FakeServer) -> None:
    realtime = Realtime()
    app = make(realtime, REALTIME_METRICS=True, REALTIME_AUTOSTART="off")
    found: list[RealtimeClient | ValueError] = []

    @realtime.on_status
    def ask_again(change: StatusChange) -> None:
        if change.current.state is ConnectionState.CLOSED and not found:
            try:
                found.append(realtime.client)
            except ValueError as error:
                found.append(error)

    with app.app_context():
        first = realtime.client
        first.connect(PATIENCE)
        realtime.close()
        assert first.join(PATIENCE)
        assert found == [realtime.client]
        assert realtime.client is not first
        realtime.client.connect(PATIENCE)
        assert 'state="connected"} 1.0' in app.test_client().get("/realtime/metrics").text


def test_a_guard_is_a_function() -> None:
    with pytest.raises(ConfigError, match="guard: True is not allowed; allowed: a function without arguments"):
        Realtime(guard=True)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_worker_connects_for_itself(make: Make, server: FakeServer) -> None:
    realtime = Realtime()
    app = make(realtime)
    app.add_url_rule("/", "index", lambda: realtime.client.status.state.value)
    app.test_client().get("/")
    server.wait_for_connection(1, timeout=PATIENCE)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            app.test_client().get("/")
            with app.app_context():
                realtime.client.connect(PATIENCE)
                code = 0 if realtime.client.is_connected else 1
                realtime.client.close()
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert len(server.attempts) == 2


def test_a_missing_flask_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_flask(name: str, *rest: Any, **more: Any) -> Any:
        if name == "flask":
            raise ModuleNotFoundError("No module named 'flask'")
        return real(name, *rest, **more)

    for name in [name for name in sys.modules if name.startswith("realtime_client.integrations.flask")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without_flask)
    with pytest.raises(ImportError, match=r"needs Flask: pip install 'realtime-client\[flask\]'"):
        import realtime_client.integrations.flask  # noqa: F401
