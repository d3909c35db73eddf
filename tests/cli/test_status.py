"""``status`` as it is called: one look, for people and programs, and the exit codes."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from realtime_client.demo import FeedServer
from realtime_client.testing import FakeServer, accept, refuse, send, stall
from tests.cli.conftest import Call
from tests.cli.process import Start
from tests.client.recording import Stopwatch
from tests.relay.servers import RedisServer
from tests.relay.test_reading import publish
from tests.relay.test_same_store import Writing

STATS = {"type": "stats_update", "data": {"stats": {"totalLogs": 50, "anomalyCount": 2, "queue": 7}}}
LOG = {"id": "1", "message": "disk \x1b[2Jfull", "level": "ERROR", "timestamp": "2026-01-02T03:04:05Z"}
ALERT = {"type": "system_alert", "data": {"message": "hot", "severity": "warning"}}
EVERYTHING = [accept(), *map(send, ({"type": "new_anomaly", "data": {"log": LOG}}, ALERT, STATS))]


def said(lines: list[str]) -> dict[str, str]:
    return {line[:9].strip(): line[11:] for line in lines}


def test_for_people(call: Call) -> None:
    with FakeServer(then=EVERYTHING) as server:
        ended = call("status", server.url)
    assert (ended.code, ended.err) == (0, [])
    lines = said(ended.out)
    assert list(lines) == ["feed", "state", "as of", "figures", "logs", "alerts"]
    assert lines["feed"] == server.url
    assert lines["state"].startswith("connected by websocket, latency ")
    assert lines["figures"] == "log lines 50, anomalies 2, rate 0, active services 0, queue 7"
    assert lines["logs"].startswith("1, the newest: ")
    assert lines["logs"].endswith(r"disk \x1b[2Jfull")
    assert lines["alerts"].endswith("alert: hot")


def test_for_programs(call: Call) -> None:
    with FakeServer(then=EVERYTHING) as server:
        ended = call("status", server.url, "--json")
    (line,) = ended.out
    answer = json.loads(line)
    assert set(answer) == {"url", "health", "snapshot"}
    assert answer["health"]["state"] == "connected"
    assert answer["health"]["latency"] > 0
    assert answer["snapshot"]["stats"] == {
        "totalLogs": 50,
        "anomalyCount": 2,
        "anomalyRate": 0.0,
        "activeServices": 0,
        "queue": 7,
    }
    assert [log["id"] for log in answer["snapshot"]["recentLogs"]] == ["1"]


def test_a_real_feed(call: Call) -> None:
    with FeedServer(port=0) as server:
        server.publish({"type": "new_anomaly", "data": {"log": LOG}})
        ended = call("status", server.url, env={"REALTIME_POLLING_URL": server.poll_url})
    assert ended.code == 0
    assert said(ended.out)["logs"].startswith("1, the newest: ")


def test_a_feed_without_figures_is_waited_for_no_longer_than_asked(call: Call) -> None:
    with FakeServer() as server:
        ended = call("status", server.url, "--wait", "0.3")
    assert ended.code == 0
    assert said(ended.out)["state"].startswith("connected by websocket")


def test_a_stream_in_redis_is_known_at_once(call: Call) -> None:
    with RedisServer() as server:
        url = server.url("s")
        relay = Writing(url)
        publish(relay, 0, 3)
        relay.snapshot()
        with Stopwatch() as took:
            ended = call("status", url, "--wait", "20")
        relay.end()
    assert (ended.code, ended.err) == (0, [])
    assert took.seconds < 10
    lines = said(ended.out)
    assert lines["state"] == "connected by redis"
    assert lines["figures"].startswith("log lines 0, anomalies 3, ")


def test_quiet(call: Call) -> None:
    with FakeServer(then=EVERYTHING) as server:
        ended = call("status", server.url, "--quiet")
    assert (ended.code, ended.out, ended.err) == (0, [], [])


def test_malformed_messages_are_told(call: Call) -> None:
    with FakeServer(then=[accept(), send("{}"), send(STATS)]) as server:
        assert said(call("status", server.url).out)["malformed"] == "1, the last: type missing"


@pytest.mark.parametrize(("step", "code"), [(refuse(401), 3), (refuse(404), 4), (refuse(503), 4), (stall(), 4)])
def test_a_feed_that_cannot_be_had_is_one_line(call: Call, step: Any, code: int) -> None:
    with FakeServer(then=[step]) as server:
        ended = call("status", server.url, env={"REALTIME_CONNECT_TIMEOUT": "0.5"})
    assert (ended.code, ended.out) == (code, [])
    (line,) = ended.err
    assert line.startswith("realtime-client: error: ")


def test_what_a_poll_tells_is_shown_though_the_stream_cannot_be_had(call: Call) -> None:
    with FakeServer(poll_answer={"logs": [LOG], "stats": {"totalLogs": 9}}) as server:
        ended = call("status", "ws://127.0.0.1:1/ws", env={"REALTIME_POLLING_URL": server.poll_url})
    assert ended.code == 4
    lines = said(ended.out)
    assert lines["state"].startswith("unavailable")
    assert lines["error"].endswith("Connection refused")
    assert lines["figures"].startswith("log lines 9, ")
    assert ended.err[-1].endswith("Connection refused")


def test_a_poll_that_fails_is_a_warning(call: Call) -> None:
    with FakeServer(then=EVERYTHING) as server:
        ended = call("status", server.url, env={"REALTIME_POLLING_URL": server.poll_url})
    assert ended.code == 0
    assert ended.err[0].startswith("warning: polling ")
    assert "404" in ended.err[0]


def test_a_recording(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "feed.jsonl"
    path.write_text(json.dumps({**STATS, "receivedAt": "2026-01-02T03:04:05Z"}) + "\n")
    ended = call("status", f"replay:{path}")
    assert ended.code == 0
    assert said(ended.out)["figures"].startswith("log lines 50")
    assert call("status", f"replay:{path}.none").code == 1


def test_ctrl_c(start: Start) -> None:
    with FakeServer(then=[stall()]) as server:
        process = start("status", server.url)
        server.wait_for_attempts(1)
        assert process.interrupt(signal.SIGINT)[0] == 130
    assert (process.out.all(), process.said()) == ([], "")
