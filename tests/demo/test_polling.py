from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import urllib3

from realtime_client.demo import FeedServer
from realtime_client.demo.polling import is_known, since_of, takes_gzip

TOKEN = {"Authorization": "Bearer s3cret"}


@pytest.fixture
def http() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(retries=False, timeout=5.0) as pool:
        yield pool


@pytest.fixture
def server() -> Iterator[FeedServer]:
    with FeedServer(port=0) as server:
        server.publish(
            *(anomaly(second) for second in range(3)),
            {
                "type": "system_alert",
                "data": {"message": "look", "severity": "error"},
                "timestamp": "2026-01-01T00:00:01Z",
            },
            {"type": "stats_update", "data": {"stats": {"totalLogs": 7}}, "timestamp": "2026-01-01T00:00:02Z"},
        )
        yield server


def anomaly(second: int) -> dict[str, Any]:
    stamp = f"2026-01-01T00:00:{second:02}Z"
    log = {"id": f"log-{second}", "message": "m\u00e9", "timestamp": stamp, "isAnomaly": True}
    return {"type": "new_anomaly", "data": {"log": log}, "timestamp": stamp}


def test_the_object_form(server: FeedServer, http: urllib3.PoolManager) -> None:
    answer = http.request("GET", server.poll_url)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == {
        "stats": {"totalLogs": 7},
        "logs": [anomaly(second)["data"]["log"] for second in range(3)],
        "alerts": [{"message": "look", "severity": "error", "timestamp": "2026-01-01T00:00:01Z"}],
    }


def test_the_list_form(server: FeedServer, http: urllib3.PoolManager) -> None:
    messages = http.request("GET", server.messages_url).json()
    assert [message["type"] for message in messages] == [*["new_anomaly"] * 3, "system_alert", "stats_update"]
    assert messages[0] == anomaly(0)
    assert messages[-1] == {
        "type": "stats_update",
        "data": {"stats": {"totalLogs": 7}},
        "timestamp": "2026-01-01T00:00:02Z",
    }


def test_an_empty_feed_is_polled(http: urllib3.PoolManager) -> None:
    with FeedServer(port=0) as server:
        assert http.request("GET", server.poll_url).json() == {"stats": {}, "logs": [], "alerts": []}


@pytest.mark.parametrize(
    ("since", "logs", "alerts"),
    [
        ("2026-01-01T00:00:00Z", ["log-0", "log-1", "log-2"], 1),
        ("2026-01-01T00:00:01Z", ["log-1", "log-2"], 1),
        ("2026-01-01T00:00:01.000001Z", ["log-2"], 0),
        ("2026-01-01T01:00:02+01:00", ["log-2"], 0),
        ("2026-01-01T00:00:03", [], 0),
    ],
)
def test_since_is_inclusive(
    server: FeedServer, http: urllib3.PoolManager, since: str, logs: list[str], alerts: int
) -> None:
    answer = http.request("GET", server.poll_url, fields={"since": since}).json()
    assert [log["id"] for log in answer["logs"]] == logs
    assert len(answer["alerts"]) == alerts
    assert answer["stats"] == {"totalLogs": 7}
    listed = http.request("GET", server.messages_url, fields={"since": since}).json()
    assert len(listed) == len(logs) + alerts + 1


def test_what_tells_no_time_is_always_in_the_answer(http: urllib3.PoolManager) -> None:
    with FeedServer(port=0) as server:
        event = anomaly(1)
        event["data"]["log"]["timestamp"] = event["timestamp"] = "yesterday"
        server.publish(event)
        answer = http.request("GET", server.poll_url, fields={"since": "2027-01-01T00:00:00Z"}).json()
        assert [log["id"] for log in answer["logs"]] == ["log-1"]


def test_an_unescaped_plus_is_understood_and_nonsense_refused(server: FeedServer, http: urllib3.PoolManager) -> None:
    answer = http.request("GET", f"{server.poll_url}?since=2026-01-01T01:00:02+01:00")
    assert [log["id"] for log in answer.json()["logs"]] == ["log-2"]
    refused = http.request("GET", f"{server.poll_url}?since=yesterday")
    assert refused.status == 400
    assert b"RFC 3339" in refused.data
    assert since_of("2026-01-01 01:00:02.5 01:00") == since_of("2026-01-01T00:00:02.5Z")


def test_no_change_is_304(server: FeedServer, http: urllib3.PoolManager) -> None:
    etag = http.request("GET", server.poll_url).headers["ETag"]
    for compressed in ({}, {"Accept-Encoding": "gzip"}):
        unchanged = http.request("GET", server.poll_url, headers={"If-None-Match": f'"x", {etag}', **compressed})
        assert unchanged.status == 304
        assert unchanged.data == b""
        assert unchanged.headers["ETag"] == etag
    server.publish(anomaly(9))
    changed = http.request("GET", server.poll_url, headers={"If-None-Match": etag})
    assert changed.status == 200
    assert changed.headers["ETag"] != etag


def test_the_body_is_compressed_for_those_who_take_it(server: FeedServer, http: urllib3.PoolManager) -> None:
    plain = http.request("GET", server.poll_url)
    compressed = http.request("GET", server.poll_url, headers={"Accept-Encoding": "br, gzip"})
    assert "Content-Encoding" not in plain.headers
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert compressed.data == plain.data
    assert compressed.headers["Content-Length"] != plain.headers["Content-Length"]
    assert "Accept-Encoding" in compressed.headers["Vary"]


def test_the_token_is_asked_for(http: urllib3.PoolManager) -> None:
    with FeedServer(port=0, token="s3cret") as server:
        for url in (server.poll_url, server.messages_url):
            refused = http.request("GET", url)
            assert refused.status == 401
            assert refused.headers["WWW-Authenticate"].startswith("Bearer")
            assert http.request("GET", url, headers={"Authorization": "Bearer s3cre"}).status == 401
            assert http.request("GET", url, headers=TOKEN).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_only_get_is_served(server: FeedServer, http: urllib3.PoolManager, method: str) -> None:
    refused = http.request(method, server.poll_url, body=b"x" * 10_000)
    assert refused.status == 405
    assert refused.headers["Allow"] == "GET"


def test_other_paths_are_404(server: FeedServer, http: urllib3.PoolManager) -> None:
    assert http.request("GET", f"{server.poll_url}/x").status == 404


def test_etags_are_compared_weakly() -> None:
    assert is_known('W/"a"', '"a"')
    assert is_known('W/"a"', '"b" , W/"a"')
    assert is_known('W/"a"', "*")
    assert not is_known('W/"a"', '"b"')
    assert not is_known('W/"a"', "")


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("br", False),
        ("", False),
    ],
)
def test_gzip_is_negotiated(header: str, takes: bool) -> None:
    assert takes_gzip(header) is takes
