"""The addresses: off unless enabled, guarded, refused to other sites, and whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, redirect
from werkzeug.test import TestResponse

from realtime_client.integrations.flask import Realtime
from realtime_client.testing import FakeServer
from realtime_client.web import FILES, PAGE_HEADERS, STREAM_HEADERS
from tests.client.recording import anomaly
from tests.web.pages import PATIENCE, EventReader, Page

Make = Callable[..., Flask]
ADDRESSES = (
    *("/realtime/", "/realtime/stream", "/realtime/files/dashboard.js"),
    *("/realtime/health", "/realtime/metrics"),
)
THREADS = {"wsgi.multithread": True}


def body_of(answer: TestResponse) -> Iterator[bytes]:
    """The chunks as they come."""
    for chunk in answer.response:
        assert isinstance(chunk, bytes)
        yield chunk


def test_everything_is_off_unless_enabled(make: Make) -> None:
    app = make()
    for address in ADDRESSES:
        assert app.test_client().get(address).status_code == 404


def test_the_page_names_its_files_and_they_are_there(make: Make) -> None:
    visitor = make(REALTIME_DASHBOARD=True, REALTIME_TITLE="<Feed>", REALTIME_URL_PREFIX="/ops/feed").test_client()
    answer = visitor.get("/ops/feed/")
    assert answer.status_code == 200
    assert {name: answer.headers[name] for name in PAGE_HEADERS} == PAGE_HEADERS
    assert "<title>&lt;Feed&gt;</title>" in answer.text
    assert 'data-stream="/ops/feed/stream"' in answer.text
    for name, media_type in FILES.items():
        assert f"/ops/feed/files/{name}" in answer.text
        file = visitor.get(f"/ops/feed/files/{name}")
        assert (file.status_code, file.headers["Content-Type"]) == (200, media_type)
        again = visitor.get(f"/ops/feed/files/{name}", headers={"If-None-Match": file.headers["ETag"]})
        assert again.status_code == 304
    assert visitor.get("/ops/feed/files/dashboard.html").status_code == 404


def test_the_stream_streams(make: Make, server: FakeServer) -> None:
    realtime = Realtime(guard=lambda: True)
    app = make(realtime, REALTIME_DASHBOARD=True)
    answer = app.test_client().get("/realtime/stream", buffered=False, environ_overrides=THREADS)
    assert {name: answer.headers[name] for name in STREAM_HEADERS} == STREAM_HEADERS
    page = Page(body_of(answer))
    page.wait_for_state("connected")
    server.send(anomaly(1))
    page.wait_for_log("log-1")
    with app.app_context():
        assert realtime.dashboard.open_streams == 1
        realtime.dashboard.end_streams()
    page.wait_for_end()
    answer.close()


@pytest.mark.parametrize("how", ["header", "query"])
def test_a_stream_goes_on_where_it_was(how: str, make: Make, server: FakeServer) -> None:
    realtime = Realtime(guard=lambda: True)
    app = make(realtime, REALTIME_DASHBOARD=True)
    visitor = app.test_client()
    first = visitor.get("/realtime/stream", buffered=False, environ_overrides=THREADS)
    page = Page(body_of(first)).wait_for_state("connected")
    last = page.reader.last_id
    more: dict[str, Any] = {"headers": {"Last-Event-ID": last}} if how == "header" else {}
    query = {} if how == "header" else {"last_event_id": last}
    again = visitor.get("/realtime/stream", query_string=query, buffered=False, environ_overrides=THREADS, **more)
    assert [event.name for event in EventReader().feed(next(body_of(again)))] == ["heartbeat"]
    with app.app_context():
        realtime.dashboard.end_streams()
    page.wait_for_end()


def test_a_server_that_can_do_one_thing_at_a_time_gets_brief_streams(make: Make, server: FakeServer) -> None:
    realtime = Realtime(guard=lambda: True)
    app = make(realtime, REALTIME_DASHBOARD=True)
    answer = app.test_client().get("/realtime/stream", environ_overrides={"wsgi.multithread": False})
    assert "event: snapshot" in answer.text  # it has an end
    with app.app_context():
        assert realtime.dashboard.open_streams == 0


def test_a_head_request_takes_no_place(make: Make, server: FakeServer) -> None:
    realtime = Realtime(guard=lambda: True)
    app = make(realtime, REALTIME_DASHBOARD=True)
    assert app.test_client().head("/realtime/stream").status_code == 200
    with app.app_context():
        assert realtime.dashboard.open_streams == 0


@pytest.mark.parametrize("path", ["/realtime/", "/realtime/stream"])
@pytest.mark.parametrize("verdict", [False, None])
def test_the_guard_refuses(path: str, verdict: bool | None, make: Make) -> None:
    app = make(guard=lambda: verdict, REALTIME_DASHBOARD=True)
    assert app.test_client().get(path).status_code == 403


@pytest.mark.parametrize("path", ["/realtime/", "/realtime/stream"])
def test_the_guard_may_send_to_the_login(path: str, make: Make) -> None:
    answer = make(guard=lambda: redirect("/login"), REALTIME_DASHBOARD=True).test_client().get(path)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/login")


@pytest.mark.parametrize("path", ["/realtime/", "/realtime/stream"])
def test_what_a_guard_may_not_mean_is_an_error_and_lets_nobody_in(path: str, make: Make) -> None:
    visitor = make(guard=lambda: "ada", REALTIME_DASHBOARD=True).test_client()
    with pytest.raises(TypeError, match=r"guard: it returned a str; allowed: True, False or a response"):
        visitor.get(path)


@pytest.mark.parametrize("path", ["/realtime/", "/realtime/stream"])
def test_other_sites_are_refused(path: str, make: Make) -> None:
    visitor = make(REALTIME_DASHBOARD=True).test_client()
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}, {"Origin": "http://["}):
        answer = visitor.get(path, headers=headers)
        assert answer.status_code == 403
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_nothing_can_be_changed_through_it(method: str, make: Make) -> None:
    visitor = make(REALTIME_DASHBOARD=True, REALTIME_HEALTH=True, REALTIME_METRICS=True).test_client()
    for address in ADDRESSES:
        assert getattr(visitor, method)(address).status_code == 405


def test_health_follows_the_feed(make: Make, server: FakeServer) -> None:
    realtime = Realtime()
    app = make(realtime, REALTIME_HEALTH=True)
    with app.app_context():
        realtime.client.connect(PATIENCE)
        store, client = realtime.store, realtime.client
    answer = app.test_client().get("/realtime/health")
    assert (answer.status_code, answer.get_json()["state"]) == (200, "connected")
    assert answer.headers["Cache-Control"] == "no-store"
    server.close()
    store.wait_for(lambda _: client.status.last_error is not None, PATIENCE)
    answer = app.test_client().get("/realtime/health")
    assert answer.status_code == 503
    said = answer.get_json()
    assert said["state"] == "reconnecting"
    assert said["last_error"] in ("ConnectionLost", "ConnectError")  # its kind: the words may name hosts


OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


def test_metrics_are_those_of_the_applications_client(make: Make, server: FakeServer) -> None:
    realtime = Realtime()
    app = make(realtime, REALTIME_METRICS=True, REALTIME_NAME="shop")
    with app.app_context():
        realtime.client.connect(PATIENCE)
    answer = app.test_client().get("/realtime/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert answer.headers["Cache-Control"] == "no-store"
    assert 'realtime_client_connection_status{client="shop",state="connected"} 1.0' in answer.text
    assert "python_info" not in answer.text  # what else the process measures, is served elsewhere
    modern = app.test_client().get("/realtime/metrics", headers={"Accept": OPENMETRICS})
    assert modern.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert modern.text.endswith("# EOF\n")


def test_metrics_of_two_applications_are_apart(make: Make, server: FakeServer) -> None:
    realtime = Realtime()
    apps = [make(realtime, REALTIME_METRICS=True) for _ in range(2)]
    with apps[0].app_context():
        realtime.client.connect(PATIENCE)
    with apps[1].app_context():
        _ = realtime.collector
    connects = 'realtime_client_connections_total{client="client"} '
    assert connects + "1.0" in apps[0].test_client().get("/realtime/metrics").text


def test_a_scrape_connects_nobody(make: Make, server: FakeServer) -> None:
    realtime = Realtime()
    app = make(realtime, REALTIME_METRICS=True, REALTIME_AUTOSTART="first_use")
    assert app.test_client().get("/realtime/metrics").text == ""
    assert server.attempts == ()
    with app.app_context():
        realtime.client.connect(PATIENCE)
        realtime.close()  # what is gone is exported no longer, and the next one may have its name
        assert app.test_client().get("/realtime/metrics").text == ""
        realtime.client.connect(PATIENCE)
    assert 'state="connected"} 1.0' in app.test_client().get("/realtime/metrics").text
