"""``realtime-client relay``, as people run it."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

import pytest

from realtime_client.demo import FeedServer
from tests.relay.load import numbered
from tests.relay.servers import PATIENCE, RedisServer, RelayProcess


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_relays_until_it_is_asked_to_end(number: int, code: int, redis_server: RedisServer, stream: str) -> None:
    url = redis_server.url(stream)
    with FeedServer(port=0) as feed, RelayProcess(feed.url, url, name="r") as relay:
        relay.wait_for("following")
        feed.publish(numbered(0))
        tail = [sys.executable, "-m", "realtime_client", "tail", url, "--count", "1", "--quiet", "--timeout", "20"]
        with subprocess.Popen(tail, stdout=subprocess.PIPE, text=True) as following:
            for count in range(1, 1000):
                feed.publish(numbered(count))
                try:
                    following.wait(0.05)
                    break
                except subprocess.TimeoutExpired:
                    continue
            assert following.stdout is not None
            line = following.stdout.read()
        assert following.returncode == 0
        assert '"origin":"redis"' in line
        relay.signal(number)
        assert relay.wait() == code
        assert relay.said.items[-1]["what"] == "lease given back"
        with redis_server.client() as client:
            assert not client.exists(f"realtime:{{{stream}}}:lease")


def test_each_line_of_the_log_is_an_object(redis_server: RedisServer, stream: str) -> None:
    with FeedServer(port=0) as feed, RelayProcess(feed.url, redis_server.url(stream), name="r") as relay:
        active = relay.wait_for("active")
        assert active.keys() == {
            *("time", "level", "logger", "message", "name", "what", "fence", "seq", "upstream_kept"),
        }
        assert active["message"] == "[r] active (fence=1 seq=0 upstream_kept=False)"
        assert relay.terminate() == 0
        assert [item["what"] for item in relay.said.items if item["what"] == "raw"] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ws://h/", "redis://h/0"], "stream=NAME"),
        (["http://h/", "redis://h/0?stream=s"], "url: http://h/ is not allowed"),
        (["ws://h/", "ws://h/"], "redis: ws://h/ is not allowed; allowed: redis:// or rediss://"),
        (["ws://h/", "redis://h/0?stream=s", "--lease", "9999"], "lease: 9999.0 is not allowed"),
        (["ws://h/", "redis://h/0?stream=s", "--maxlen", "7"], "maxlen: 7 is not allowed"),
        (["ws://h/", "redis://h/0?stream=s", "--linger", "-1"], "argument --linger: '-1' is not allowed"),
        (["ws://h/", "redis://h/0?stream=s", "--linger", "0.6"], "linger: 0.6 is not allowed; allowed: at most 0.5,"),
        (["ws://h/"], "required: REDIS"),
    ],
)
def test_wrong_arguments_are_named(arguments: list[str], said: str) -> None:
    command: list[Any] = [sys.executable, "-m", "realtime_client", "relay", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
