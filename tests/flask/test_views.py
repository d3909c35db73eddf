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
ADDRESSES = ("/realtime/", "/realtime/stream", "/realtime/health", "/realtime/files/dashboard.js")
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
def test_other_sites_are_refused(path: str, make: Make) -> None:
    visitor = make(REALTIME_DASHBOARD=True).test_client()
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        answer = visitor.get(path, headers=headers)
        assert answer.status_code == 403
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_nothing_can_be_changed_through_it(method: str, make: Make) -> None:
    visitor = make(REALTIME_DASHBOARD=True, REALTIME_HEALTH=True).test_client()
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
