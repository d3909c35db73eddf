"""The rights that docs/relay.md names: with them, and no others, a relay and its readers do all that they do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from realtime_client.relay import Relay, RelayState, scripts
from realtime_client.testing import FakeServer
from tests.client.recording import anomaly, numbers
from tests.relay.load import Reader
from tests.relay.servers import PATIENCE, RedisServer

MakeRelay = Callable[..., Relay]
PAGE = Path(__file__).parents[2].joinpath("docs/relay.md").read_text(encoding="utf-8")
READER, BESIDES = (span.split() for span in re.findall("`([^`]+)`", PAGE.partition("- **Rights**:")[2]))


@pytest.fixture
def admin(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """Two users, and at the end Redis is asked what it refused them."""
    with redis_server.client(decode_responses=True) as client:
        client.acl_log_reset()
        yield client
        client.execute_command("ACL", "DELUSER", "reader", "relay")
        assert [(entry["username"], entry["object"]) for entry in client.acl_log()] == []


def url_for(user: str, rights: list[str], admin: Any, server: RedisServer, stream: str) -> str:
    given = [right.replace("NAME", stream) for right in rights]
    admin.execute_command("ACL", "SETUSER", user, "reset", "on", ">sesame", *given)
    return server.url(stream).replace("//", f"//{user}:sesame@")


def test_a_relay_and_its_readers_need_no_others(
    server: FakeServer, redis_server: RedisServer, admin: Any, stream: str, make_relay: MakeRelay
) -> None:
    reading = url_for("reader", READER, admin, redis_server, stream)
    writing = url_for("relay", READER + BESIDES, admin, redis_server, stream)
    one, two = (make_relay(server.url, writing, beat_interval=0.1, snapshot_every=2) for _ in range(2))
    one.start()
    assert one.wait_for(RelayState.ACTIVE, PATIENCE)
    server.wait_for_connection()
    admin.persist(f"realtime:{{{stream}}}:lease")  # which whoever stands by mends
    two.start()
    assert two.wait_for(RelayState.STANDBY, PATIENCE)
    with Reader(reading) as reader:
        for number in range(5):
            server.send(anomaly(number))
            reader.wait_for_number(number)
        one.stop()
        assert two.wait_for(RelayState.ACTIVE, PATIENCE)
        server.wait_for_connection(2)
        server.send(anomaly(5))
        reader.wait_for_number(5)
        admin.client_kill_filter(_type="normal", skipme=True)
        server.send(anomaly(6))
        reader.wait_for_number(6)
        assert numbers(reader.events) == list(range(7))
    two.stop()


def test_every_command_of_the_scripts_is_among_them() -> None:
    texts = [getattr(scripts, name).text for name in scripts.__all__]
    called = {command.lower() for text in texts for command in re.findall(r"redis\.p?call\('(\w+)'", text)}
    assert {f"+{command}" for command in called} <= {*READER, *BESIDES}


def test_a_right_that_is_missing_does_not_double_what_is_appended(
    server: FakeServer, redis_server: RedisServer, admin: Any, stream: str, make_relay: MakeRelay
) -> None:
    """Without the right to trim: the last thing done to a batch is refused, and the relay looks what became of it."""
    rights = [right for right in READER + BESIDES if right != "+xtrim"]
    relay = make_relay(server.url, url_for("relay", rights, admin, redis_server, stream))
    relay.start()
    assert relay.wait_for(RelayState.ACTIVE, PATIENCE)
    server.wait_for_connection()
    with Reader(redis_server.url(stream)) as reader:
        for number in range(3):
            server.send(anomaly(number))
            reader.wait_for_number(number)
        assert numbers(reader.events) == [0, 1, 2]
        assert reader.gaps == []
    relay.stop()
    assert {entry["object"] for entry in admin.acl_log()} == {"xtrim"}
    admin.acl_log_reset()
