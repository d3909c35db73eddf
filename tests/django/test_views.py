"""The dashboard's views: who may see them, and what they give, by request class."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connection, transaction
from django.http import HttpRequest
from django.shortcuts import redirect
from django.test import AsyncClient, Client, override_settings

from realtime_client.integrations.django import realtime
from realtime_client.testing import FakeServer
from tests.client.recording import anomaly

Configure = Callable[[Any], None]
PATIENCE = 20.0
PAGE, STREAM = "/ops/realtime/", "/ops/realtime/stream"


@pytest.fixture(scope="module", autouse=True)
def tables() -> None:
    call_command("migrate", verbosity=0)


@pytest.fixture
def enabled(server: FakeServer, configure: Configure) -> FakeServer:
    configure({"URL": server.url, "DASHBOARD": True})
    return server


def user(**fields: Any) -> User:
    found, _ = User.objects.update_or_create(username="-".join(fields) or "plain", defaults=fields)
    return found


def logged_in(**fields: Any) -> Client:
    client = Client()
    client.force_login(user(**fields))
    return client


def open_stream(client: Client) -> Any:
    """As on a server with threads; without them a stream is brief."""
    environ: dict[str, Any] = {"wsgi.multithread": True}
    return client.get(STREAM, **environ)


def may_see(request: HttpRequest) -> bool:
    return request.headers.get("X-Team") == "ops"


def events_of(response: Any) -> Iterator[str]:
    """The names of the events as they come; the stream stays open."""
    for chunk in response.streaming_content:
        yield from re.findall(r"^event: (\w+)$", chunk.decode(), re.MULTILINE)


def test_all_is_off_unless_enabled(server: FakeServer, configure: Configure) -> None:
    configure({"URL": server.url})
    staff = logged_in(is_staff=True)
    for path in (PAGE, STREAM, PAGE + "files/dashboard.js", PAGE + "health", PAGE + "metrics"):
        assert staff.get(path).status_code == 404
        assert staff.get(path, headers={"If-None-Match": "*"}).status_code == 404  # by who was here before
    assert server.attempts == ()


@pytest.mark.parametrize(
    ("test", "fields", "allowed"),
    [
        ("staff", {"is_staff": True}, True),
        ("staff", {}, False),
        ("authenticated", {}, True),
        ("anyone", {}, True),
        (may_see, {"is_staff": True}, False),
    ],
)
def test_who_may_see_it(
    test: object, fields: dict[str, Any], allowed: bool, server: FakeServer, configure: Configure
) -> None:
    configure({"URL": server.url, "DASHBOARD": True, "DASHBOARD_TEST": test})
    client = logged_in(**fields)
    assert client.get(PAGE).status_code == (200 if allowed else 403)
    response = client.get(STREAM)
    assert response.status_code == (200 if allowed else 403)
    response.close()


def test_a_test_of_ones_own_gets_the_request(server: FakeServer, configure: Configure) -> None:
    configure({"URL": server.url, "DASHBOARD": True, "DASHBOARD_TEST": may_see})
    assert Client(headers={"X-Team": "ops"}).get(PAGE).status_code == 200


def test_a_test_of_ones_own_may_answer_itself(server: FakeServer, configure: Configure) -> None:
    configure({"URL": server.url, "DASHBOARD": True, "DASHBOARD_TEST": lambda _: redirect("/sign-in")})
    response = Client().get(PAGE)
    assert (response.status_code, response["Location"]) == (302, "/sign-in")


@pytest.mark.parametrize("verdict", [None, "ada", 1, login_required])
def test_what_is_merely_true_lets_nobody_in(verdict: object, server: FakeServer, configure: Configure) -> None:
    configure({"URL": server.url, "DASHBOARD": True, "DASHBOARD_TEST": lambda _: verdict})
    client = logged_in(is_staff=True)
    for path in (PAGE, STREAM):
        if verdict is None:
            assert client.get(path).status_code == 403
        else:
            with pytest.raises(ImproperlyConfigured, match=r"DASHBOARD_TEST: it returned a \w+; allowed: True, False"):
                client.get(path)
    assert server.attempts == ()


def test_whoever_is_not_logged_in_is_sent_to_the_login(enabled: FakeServer) -> None:
    response = Client().get(PAGE)
    assert response.status_code == 302
    assert response["Location"] == "/accounts/login/?next=/ops/realtime/"
    assert Client().get(STREAM).status_code == 403  # a page cannot follow its stream to a form
    assert enabled.attempts == ()


@pytest.mark.parametrize("backend", ["ModelBackend", "AllowAllUsersModelBackend"])
def test_an_inactive_user_sees_nothing(backend: str, enabled: FakeServer) -> None:
    with override_settings(AUTHENTICATION_BACKENDS=[f"django.contrib.auth.backends.{backend}"]):
        client = logged_in(is_staff=True)
        User.objects.filter(is_staff=True).update(is_active=False)
        assert client.get(STREAM).status_code == 403
        User.objects.update(is_active=True)
        assert client.get(PAGE).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
    ],
)
def test_other_sites_get_no_stream(headers: dict[str, str], enabled: FakeServer) -> None:
    assert logged_in(is_staff=True).get(STREAM, headers=headers).status_code == 403


def test_another_site_may_link_to_the_page_but_not_frame_it(enabled: FakeServer) -> None:
    client = logged_in(is_staff=True)
    site = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get(PAGE, headers={**site, "Sec-Fetch-Dest": "document"}).status_code == 200
    assert client.get(PAGE, headers={**site, "Sec-Fetch-Dest": "iframe"}).status_code == 403


def test_only_reading(enabled: FakeServer) -> None:
    client = logged_in(is_staff=True)
    assert client.post(PAGE).status_code == 405
    assert client.head(PAGE).status_code == 200
    assert client.head(STREAM).status_code == 405


def test_the_page_names_its_files_and_its_stream(enabled: FakeServer) -> None:
    client = logged_in(is_staff=True)
    response = client.get(PAGE)
    text = response.content.decode()
    assert STREAM in text
    assert "default-src 'none'" in response["Content-Security-Policy"]
    assert "unsafe" not in response["Content-Security-Policy"]
    assert "{{" not in text
    files = re.findall(r"/ops/realtime/files/[\w.]+", text)
    assert len(files) == 3
    for path in files:
        found = client.get(path)
        assert found.status_code == 200
        again = client.get(path, headers={"If-None-Match": found["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert client.get(PAGE + "files/other.js").status_code == 404


def test_a_stream_begins_with_the_picture_and_goes_on(enabled: FakeServer) -> None:
    realtime.client.connect(timeout=PATIENCE)
    response = open_stream(logged_in(is_staff=True))
    assert response["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response["Content-Encoding"] == "identity"
    events = events_of(response)
    assert next(name for name in events if name != "heartbeat") == "snapshot"
    enabled.send(anomaly(1))
    assert next(name for name in events if name != "heartbeat") == "change"
    response.close()
    assert realtime.dashboard.open_streams == 0


def test_a_server_without_threads_is_not_blocked(enabled: FakeServer) -> None:
    names = list(events_of(logged_in(is_staff=True).get(STREAM)))
    assert "snapshot" in names
    assert realtime.dashboard.open_streams == 0


def test_the_house_may_be_full(server: FakeServer, configure: Configure) -> None:
    configure({"URL": server.url, "DASHBOARD": True, "MAX_STREAMS": 1})
    client = logged_in(is_staff=True)
    first = open_stream(client)
    assert next(events_of(first))
    assert list(events_of(client.get(STREAM))) == ["busy"]
    first.close()
    again = open_stream(client)
    assert next(events_of(again)) != "busy"
    again.close()


def test_a_stream_holds_no_database_connection(enabled: FakeServer) -> None:
    client = logged_in(is_staff=True)
    response = open_stream(client)
    assert connection.connection is not None  # the session and the user were read with it
    next(response.streaming_content)
    assert connection.connection is None
    response.close()


def test_a_stream_leaves_a_tests_transaction_alone(enabled: FakeServer) -> None:
    client = logged_in(is_staff=True)
    with transaction.atomic():
        response = open_stream(client)
        next(response.streaming_content)
        assert User.objects.exists()
        response.close()


def test_a_stream_is_in_no_transaction(enabled: FakeServer) -> None:
    client = logged_in(is_staff=True)
    connection.settings_dict["ATOMIC_REQUESTS"] = True
    try:
        response = open_stream(client)
        next(response.streaming_content)
        assert connection.connection is None
        response.close()
    finally:
        connection.settings_dict["ATOMIC_REQUESTS"] = False


def test_overridden_settings_end_the_streams(enabled: FakeServer) -> None:
    response = open_stream(logged_in(is_staff=True))
    next(response.streaming_content)
    with override_settings(REALTIME_CLIENT={"URL": enabled.url}):
        list(response.streaming_content)
    response.close()


def test_wrong_settings_are_told_by_the_views(configure: Configure) -> None:
    configure({"URL": "nonsense", "DASHBOARD": True})
    with pytest.raises(ImproperlyConfigured, match="URL"):
        Client().get(STREAM)


def test_under_asgi_a_stream_is_asynchronous(enabled: FakeServer) -> None:
    plain = user(is_staff=True)

    async def visit() -> None:
        client = AsyncClient()
        await client.aforce_login(plain)
        response: Any = await client.get(STREAM)
        assert response.status_code == 200
        names: list[str] = []
        async with asyncio.timeout(PATIENCE):
            async for chunk in response:
                names += re.findall(r"^event: (\w+)$", chunk.decode(), re.MULTILINE)
                if "snapshot" in names and "change" not in names:
                    realtime.client.reconnect(wait=False)
                if "change" in names:
                    break
        assert realtime.dashboard.open_streams == 1
        response.close()
        assert realtime.dashboard.open_streams == 0

    asyncio.run(visit())


def test_health_follows_the_feed_and_asks_nobody_who_they_are(server: FakeServer, configure: Configure) -> None:
    configure({"URL": server.url, "HEALTH": True})
    realtime.client.connect(timeout=PATIENCE)
    response = Client().get(PAGE + "health")
    assert (response.status_code, response.json()["state"]) == (200, "connected")
    assert response["Cache-Control"] == "no-store"
    client = realtime.client
    server.close()
    client.store.wait_for(lambda _: client.status.last_error is not None, PATIENCE)
    response = Client().get(PAGE + "health")
    assert response.status_code == 503
    assert response.json()["last_error"] in ("ConnectionLost", "ConnectError")  # its kind: the words may name hosts
    assert Client().post(PAGE + "health").status_code == 405


def test_metrics_are_those_of_the_client(server: FakeServer, configure: Configure) -> None:
    configure({"URL": server.url, "METRICS": True, "NAME": "site"})
    assert Client().get(PAGE + "metrics").content == b""  # a scrape connects nobody
    assert server.attempts == ()
    realtime.client.connect(timeout=PATIENCE)
    response = Client().get(PAGE + "metrics")
    assert response["Content-Type"].startswith("text/plain; version=0.0.4")
    assert b'realtime_client_connection_status{client="site",state="connected"} 1.0' in response.content
    modern = Client(headers={"Accept": "application/openmetrics-text;version=1.0.0"}).get(PAGE + "metrics")
    assert modern["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert Client().post(PAGE + "metrics").status_code == 405
