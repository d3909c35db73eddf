"""The doctor and a feed through Redis: a real server, and what a relay leaves there."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme

from realtime_client import AuthenticationError, ConfigError, ConnectTimeout, MalformedMessage
from realtime_client._core.relay_stream import Keys
from realtime_client.doctor import redis_stream
from realtime_client.testing import FakeServer, stall
from tests.doctor.examining import FAIL, OK, SKIP, WARN, BriefServer, Checks, examined, verdicts
from tests.doctor.examining import failed as the_failed
from tests.relay.servers import PATIENCE, RedisServer, Sentinel, free_port
from tests.relay.test_reading import publish
from tests.relay.test_same_store import Writing
from tests.relay.tls_front import TlsFront

STEPS = ["config", "dns", "proxy", "tcp", "tls", "login", "ping", "stream", "snapshot", "relay", "clock"]
READER = ("+xread", "+xrange", "+hmget", "+hget", "+client", "+select", "+ping")


def failed(checks: Checks) -> Any:
    return the_failed(checks)


@pytest.fixture
def keys(stream: str) -> Keys:
    return Keys(stream)


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis_server.client() as connected:
        connected.ping()
        yield connected


@pytest.fixture
def relay(url: str) -> Iterator[Writing]:
    writing = Writing(url)
    yield writing
    writing.end()


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_stream, "TAKEOVER", 0.0)


def test_every_step_of_a_stream_that_is_well(relay: Writing, url: str, stream: str, redis_server: RedisServer) -> None:
    publish(relay, 0, 30)
    relay.snapshot()
    publish(relay, 30, 42)
    checks = examined(url)
    assert list(checks) == STEPS
    assert verdicts(checks) == {OK: [name for name in STEPS if name != "tls"], WARN: [], FAIL: [], SKIP: ["tls"]}
    assert checks["config"].found == (
        f"redis://127.0.0.1:{redis_server.port}/0?…, without credentials; stream {stream}"
    )
    assert checks["proxy"].found == "none"
    assert checks["tcp"].found == f"connected to 127.0.0.1, port {redis_server.port}"
    assert checks["login"].found == "as the default user, database 0"
    assert checks["ping"].found.startswith("an answer after ")
    assert checks["stream"].found.startswith("42 entries up to number 42, the newest 0.")
    assert " kB, of number 30, 12 entries before the newest; 4 logs, 0 alerts" in checks["snapshot"].found
    assert checks["relay"].found.startswith("one is active, its lease ends in ")
    assert checks["clock"].found.startswith("the clock of Redis is 0.0 s ")


def test_the_environments_proxies_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:1")
    assert failed(examined("redis://redis.invalid/0?stream=s")).name == "dns"
    with_proxy = examined("redis://redis.invalid/0?stream=s", proxy="http://127.0.0.1:1")
    assert with_proxy["proxy"].found == "http proxy 127.0.0.1:1, as configured"
    assert failed(with_proxy).name == "tcp"


# The way in


def test_nobody_listens() -> None:
    check = failed(examined(f"redis://127.0.0.1:{free_port()}/0?stream=s"))
    assert (check.name, check.found, check.cause) == ("tcp", "Connection refused", "nothing listens there")


def test_what_answers_is_no_redis() -> None:
    with BriefServer(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        check = failed(examined(f"redis://127.0.0.1:{port}/0?stream=s"))
    assert check.name == "login"
    assert "no Redis" in check.cause


def test_what_does_not_answer() -> None:
    with FakeServer(then=[stall()]) as server:
        check = failed(examined(f"redis://127.0.0.1:{server.port}/0?stream=s", connect_timeout=0.3))
    assert (check.name, check.found) == ("login", "no answer in time")
    assert isinstance(check.error, ConnectTimeout)


def test_without_redis_py(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.delitem(sys.modules, "realtime_client.transports.redis_wire", raising=False)
    checks = examined("redis://localhost/0?stream=s")
    check = checks["config"]
    assert (check.verdict, check.remedy) == (FAIL, "pip install 'realtime-client[redis]'")
    assert isinstance(check.error, ConfigError)
    assert {c.verdict for name, c in checks.items() if name != "config"} == {SKIP}


@pytest.fixture(scope="module")
def guarded() -> Iterator[RedisServer]:
    """A server with a password, and users who may do different things."""
    with RedisServer("--requirepass", "s3cret") as server, server.client(password="s3cret") as client:
        for name, *rights in (
            ("blind", "+ping", "+client", "+select"),
            ("mute", "+ping"),
            ("reader", "~realtime:*", *READER),
            ("overseer", "~realtime:*", *READER, "+pttl", "+time"),
        ):
            client.execute_command("ACL", "SETUSER", name, "on", ">s3cret", "resetkeys", *rights)
        yield server


@pytest.mark.parametrize(
    ("who", "step", "status"),
    [
        ("", "login", 401),
        (":wrong@", "login", 401),
        ("reader:wrong@", "login", 401),
        ("mute:s3cret@", "login", 403),
        ("blind:s3cret@", "stream", 403),
    ],
)
@pytest.mark.usefixtures("no_patience")
def test_credentials_that_do_not_do(who: str, step: str, status: int, guarded: RedisServer) -> None:
    checks = examined(f"redis://{who}127.0.0.1:{guarded.port}/0?stream=s")
    check = next(check for check in checks.values() if check.verdict is FAIL)
    remedy = "check both in the URL, and the token" if status == 401 else f"give it these rights: {redis_stream.RIGHTS}"
    assert (check.name, check.remedy) == (step, remedy)
    assert isinstance(check.error, AuthenticationError)
    assert check.error.status == status
    assert "s3cret" not in repr(checks)
    assert "wrong@" not in repr(checks)


def test_a_database_that_there_is_not(redis_server: RedisServer) -> None:
    check = failed(examined(f"redis://127.0.0.1:{redis_server.port}/9999?stream=s"))
    assert (check.name, check.remedy) == ("login", "check the number of the database in the URL")
    assert "out of range" in check.found


@pytest.mark.parametrize("token", ["s3cret", lambda: "s3cret"], ids=["text", "callable"])
def test_a_reader_sees_what_a_reader_may(token: Any, guarded: RedisServer) -> None:
    writing = Writing(f"redis://:s3cret@127.0.0.1:{guarded.port}/0?stream=mine")
    publish(writing, 0, 3)
    url = f"redis://reader@127.0.0.1:{guarded.port}/0?stream=mine"
    checks = examined(url, token=token)
    assert not verdicts(checks)[FAIL]
    assert checks["login"].found == "as reader, database 0"
    assert checks["relay"].verdict is OK
    assert checks["relay"].found.startswith("this user may not look at the lease (+pttl); the newest entry is 0.")
    assert (checks["clock"].verdict, checks["clock"].found) == (SKIP, "this user may not ask for the time (+time)")
    assert verdicts(examined(url.replace("reader@", "overseer@"), token=token))[SKIP] == ["tls"]
    with guarded.client(password="s3cret") as client:
        client.hset(Keys("mine").state, "ms", int(time.time() * 1000) - 60_000)
    old = examined(url, token=token)["relay"]
    assert (old.verdict, old.cause) == (FAIL, "no relay is active, or it does not reach the feed")
    writing.end()
    assert "s3cret" not in repr(checks)


def test_a_token_callable_is_asked_once(relay: Writing, url: str) -> None:
    asked = []

    def token() -> str:
        asked.append(1)
        raise ValueError("vault")

    check = failed(examined(url, token=token))
    assert (check.name, check.found) == ("config", "the token callable raised ValueError")
    assert asked == [1]


def test_credentials_in_the_clear_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    config = examined("redis://:t@redis.invalid/0?stream=s")["config"]
    assert config.verdict is WARN
    assert (config.remedy, "redis:// in the clear" in config.found) == ("use rediss://", True)
    assert examined("rediss://:t@redis.invalid/0?stream=s")["config"].verdict is OK


def test_over_tls(relay: Writing, redis_server: RedisServer, stream: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with TlsFront(redis_server.port, authority) as front:
        url = f"rediss://localhost:{front.port}/0?stream={stream}"
        trusting = examined(url, ca_file=str(tmp_path / "ca.pem"))
        check = failed(examined(url))
    assert not verdicts(trusting)[FAIL]
    assert trusting["tls"].found.startswith("TLSv1.3, ")
    assert check.name == "tls"
    assert "an authority that this machine does not know" in check.cause


def test_through_sentinels_of_which_one_is_dead() -> None:
    with RedisServer() as master, Sentinel(master) as sentinel:
        nodes = f"127.0.0.1:{free_port()}/0?stream=s&also=127.0.0.1:{sentinel.port}"
        writing = Writing(f"redis://{nodes}&sentinel=mymaster")
        checks = examined(f"redis://{nodes}&sentinel=mymaster")
        unknown = failed(examined(f"redis://{nodes}&sentinel=other"))
        writing.end()
    assert not verdicts(checks)[FAIL]
    assert checks["config"].found.endswith("stream s, by the Sentinels' mymaster")
    assert checks["tcp"].verdict is WARN
    assert checks["tcp"].found.startswith(f"connected to 127.0.0.1, port {sentinel.port}; not to 127.0.0.1: ")
    assert checks["relay"].verdict is OK
    assert unknown.name == "login"
    assert "other" in unknown.found


# What is there


def test_a_relay_to_which_nothing_has_come_yet(relay: Writing, url: str) -> None:
    checks = examined(url)
    assert verdicts(checks)[SKIP] == ["tls"]
    assert not verdicts(checks)[WARN] + verdicts(checks)[FAIL]
    assert checks["stream"].found == "there are no entries yet"
    assert checks["relay"].found.endswith("; nothing has come yet")


def test_a_stream_that_nobody_writes(url: str, stream: str, no_patience: None) -> None:
    checks = examined(url)
    assert verdicts(checks)[FAIL] == ["stream", "relay"]
    assert checks["stream"].found == f"there is no stream {stream}"
    assert "realtime-client relay FEED" in checks["stream"].remedy
    assert checks["snapshot"].found == "not tried, since stream failed"
    assert checks["relay"].found == "none is active: nothing new will come"
    assert checks["clock"].verdict is OK


def test_a_relay_that_has_just_left_and_one_that_is_long_gone(
    relay: Writing, url: str, client: redis.Redis, keys: Keys, no_patience: None
) -> None:
    publish(relay, 0, 3)
    relay.writer.release()
    just = examined(url)["relay"]
    assert just.verdict is WARN
    assert just.found.startswith("none is active just now; the last one wrote 0.")
    client.hset(keys.state, "ms", int(time.time() * 1000) - 3_600_000)
    gone = examined(url)
    assert (gone["relay"].verdict, gone["relay"].error) == (FAIL, None)
    assert gone["stream"].found.endswith("the newest 1:00:00 old")


def test_a_takeover_is_waited_for(relay: Writing, url: str, client: redis.Redis, keys: Keys) -> None:
    publish(relay, 0, 1)
    relay.writer.release()
    answers: list[int] = []
    ask = redis_stream.RedisStream._ask

    def take_over_soon(self: Any, *command: Any) -> Any:
        answer = ask(self, *command)
        if command[0] == "PTTL":
            answers.append(answer)
            if len(answers) == 2:
                client.set(keys.lease, "another", px=5_000)
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis_stream.RedisStream, "_ask", take_over_soon)
        check = examined(url)["relay"]
    assert (check.verdict, len(answers)) == (OK, 3)


def test_a_relay_whose_feed_is_silent(relay: Writing, url: str, client: redis.Redis, keys: Keys) -> None:
    publish(relay, 0, 1)
    client.hset(keys.state, "ms", int(time.time() * 1000) - 45_000)
    check = examined(url)["relay"]
    assert check.verdict is WARN
    assert "one is active" in check.found
    assert "the feed was last heard 45." in check.found


def without_snapshot(client: redis.Redis, keys: Keys) -> None:
    client.delete(keys.snapshot)


def of_another_history(client: redis.Redis, keys: Keys) -> None:
    client.hset(keys.snapshot, "epoch", "other")


def trimmed(client: redis.Redis, keys: Keys) -> None:
    client.xtrim(keys.events, maxlen=2, approximate=False)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (without_snapshot, "there is none: a new client reads the whole stream"),
        (of_another_history, "; of another history"),
        (trimmed, "; numbers 1 to 8 are gone, and a new client tells a gap"),
    ],
)
def test_snapshots_that_do_not_help(
    damage: Callable[[redis.Redis, Keys], None],
    words: str,
    relay: Writing,
    url: str,
    client: redis.Redis,
) -> None:
    keys = relay.writer._keys
    publish(relay, 0, 10)
    damage(client, keys)
    check = examined(url)["snapshot"]
    assert check.verdict is WARN
    assert check.found.endswith(words)
    assert check.cause
    assert check.remedy


def test_a_snapshot_that_is_none(relay: Writing, url: str, client: redis.Redis, keys: Keys) -> None:
    client.hset(keys.snapshot, "store", "{")
    assert examined(url)["snapshot"].verdict is FAIL


@pytest.mark.parametrize("key", ["events", "state", "snapshot"])
@pytest.mark.usefixtures("no_patience")
def test_something_else_under_one_of_the_names(
    key: str, relay: Writing, url: str, client: redis.Redis, keys: Keys
) -> None:
    client.set(getattr(keys, key), "mine")
    checks = examined(url)
    check = checks["snapshot" if key == "snapshot" else "stream"]
    assert (check.verdict, check.cause) == (FAIL, "something else than a relay has written under this name")
    client.delete(keys.events, keys.state, keys.snapshot)


def test_entries_that_are_gone_or_somebody_elses(relay: Writing, url: str, client: redis.Redis, keys: Keys) -> None:
    publish(relay, 0, 3)
    client.delete(keys.events)
    gone = examined(url)["stream"]
    assert (gone.verdict, gone.found) == (WARN, "its entries are not as a relay leaves it")
    client.xadd(keys.events, {"hello": "world"}, id="1-1")
    stray = examined(url)["stream"]
    assert (stray.verdict, stray.found) == (WARN, "its oldest entry is not as a relay leaves it")


@pytest.mark.parametrize(
    ("field", "foreign"),
    [("seq", "many"), ("ms", "yesterday"), ("ms", "9" * 30), ("seq", "9" * 5000), ("fence", b"\xff")],
)
def test_a_state_that_is_somebody_elses(
    field: str, foreign: str | bytes, relay: Writing, url: str, client: redis.Redis
) -> None:
    publish(relay, 0, 3)
    client.hset(relay.writer._keys.state, field, foreign)
    checks = examined(url)
    assert not verdicts(checks)[FAIL]
    assert (checks["stream"].verdict, checks["stream"].found) == (WARN, "its state is not as a relay leaves it")
    assert checks["stream"].remedy == "let nobody else use these keys; maxmemory-policy noeviction"


@pytest.mark.parametrize("field", ["seq", "fence"])
def test_a_snapshot_that_is_somebody_elses(
    field: str, relay: Writing, url: str, client: redis.Redis, keys: Keys
) -> None:
    publish(relay, 0, 3)
    relay.snapshot()
    client.hset(keys.snapshot, field, "many")
    check = examined(url)["snapshot"]  # without which no new client connects
    assert (check.verdict, check.found) == (FAIL, "it is none: a number in it is none")
    assert isinstance(check.error, MalformedMessage)


def test_in_a_cluster() -> None:
    with RedisServer("--cluster-enabled", "yes") as server, server.client() as client:
        client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
        deadline = time.monotonic() + PATIENCE
        while "cluster_state:ok" not in str(client.execute_command("CLUSTER", "INFO")):
            assert time.monotonic() < deadline
        url = server.url("s", more="&cluster=yes")
        writing = Writing(url)
        publish(writing, 0, 2)
        checks = examined(url)
        writing.end()
    assert not verdicts(checks)[FAIL]
    assert checks["config"].found.endswith("stream s, in a Cluster")


@pytest.mark.usefixtures("no_patience")
def test_a_node_that_does_not_have_the_stream() -> None:
    with RedisServer("--cluster-enabled", "yes") as server:
        checks = examined(server.url("s"))
    check = checks["stream"]
    assert (check.verdict, check.remedy) == (FAIL, "add &cluster=yes to the URL; see CLUSTER INFO")
    assert checks["relay"].verdict is FAIL
