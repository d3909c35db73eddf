"""The live page of the demo: whole, on this machine only, and gone when it is closed."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from realtime_client import RealtimeClient
from realtime_client.demo.page import PageServer
from realtime_client.testing import MemoryTransport
from realtime_client.web import FILES, PAGE_HEADERS, STREAM_HEADERS
from tests.client.recording import anomaly
from tests.outages.waiting import wait_until_ended
from tests.web.pages import Page, own_threads

PATIENCE = 20.0


@pytest.fixture
def network() -> MemoryTransport:
    return MemoryTransport()


@pytest.fixture
def server(network: MemoryTransport) -> Iterator[PageServer]:
    client = RealtimeClient(link_factory=network, name="page", heartbeat="none")
    with PageServer(client, title="<Demo>") as running:
        yield running
    client.close()
    wait_until_ended("process_request_thread")  # a visit may only now come to ask the client, which begins a thread
    wait_until_ended("rtc-")
    assert own_threads() == []


def ask(server: PageServer, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=PATIENCE)
    connection.request(method, path, headers=headers)
    return connection.getresponse()


def chunks(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    while line := answer.readline():
        yield line


def test_the_page_and_its_files(server: PageServer) -> None:
    answer = ask(server, "/")
    assert {name: answer.headers[name] for name in PAGE_HEADERS} == PAGE_HEADERS
    assert b"<title>&lt;Demo&gt;</title>" in answer.read()
    for name, media_type in FILES.items():
        file = ask(server, f"/files/{name}")
        assert (file.status, file.headers["Content-Type"]) == (200, media_type)


def test_the_stream(server: PageServer, network: MemoryTransport) -> None:
    answer = ask(server, "/stream")
    assert {name: answer.headers[name] for name in STREAM_HEADERS} == STREAM_HEADERS
    page = Page(chunks(answer)).wait_for_state("connected")
    network.current.put(anomaly(1))
    page.wait_for_log("log-1")
    for again in (
        ask(server, "/stream", **{"Last-Event-ID": page.reader.last_id}),
        ask(server, f"/stream?last_event_id={page.reader.last_id}"),
    ):
        assert [event.name for event in page.reader.__class__().feed(again.read1())] == ["heartbeat"]
    server.close()
    page.wait_for_end()


@pytest.mark.parametrize("path", ["/", "/stream", "/files/dashboard.js"])
def test_only_this_machine_is_served(path: str, server: PageServer) -> None:
    """Whatever name another site lets lead to this machine, or whoever's page asks."""
    port = urlsplit(server.url).port
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", "", f"127.0.0.1:{port}0"):
        assert ask(server, path, Host=host).status == 403
    assert ask(server, path, **{"Sec-Fetch-Site": "cross-site"}).status == 403
    assert ask(server, path, Host=f"localhost:{port}", **{"Sec-Fetch-Site": "same-origin"}).status == 200
    assert server.url.startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    "path", ["/files/../page.py", "/files/", "/files/dashboard.html", "/favicon.ico", "/dashboard.js"]
)
def test_there_is_nothing_else(path: str, server: PageServer) -> None:
    assert ask(server, path).status == 404


def test_nothing_can_be_changed_through_it(server: PageServer) -> None:
    assert ask(server, "/", method="POST").status == 501


def test_a_port_that_is_taken_is_an_error(server: PageServer) -> None:
    other = PageServer(RealtimeClient(link_factory=MemoryTransport()), urlsplit(server.url).port or 0)
    with pytest.raises(OSError, match="in use"):
        other.start()
    other.close()
