"""What is logged at which level, and that no secret is shown anywhere."""

from __future__ import annotations

import logging

import pytest

from realtime_client import AuthenticationError, Notification, RealtimeClient, RealtimeError
from realtime_client.testing import FakeServer, MemoryTransport, accept, close, refuse
from tests.client.conftest import Make
from tests.client.recording import PATIENCE, QUICK, Record, alert, anomaly, connect_and_settle


def levels(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.levelname for r in caplog.records if r.name.startswith("realtime_client")]


def recovered(notifications: list[Notification]) -> bool:
    """Whether a client has come back: what is notified has been logged."""
    return [n.kind for n in notifications].count("connected") == 2


def test_logging_is_a_warning_at_the_first_failure_and_info_at_recovery(
    make: Make, network: MemoryTransport, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "realtime_client")
    client, told = make(link_factory=network, max_reconnect_attempts=None, **QUICK), Record()
    client.on_notification(told)
    client.connect(PATIENCE)
    assert "WARNING" not in levels(caplog)
    assert levels(caplog).count("INFO") == 1
    caplog.clear()
    network.refuse(times=4)
    network.current.lose()
    told.wait_until(recovered)
    seen = [level for level in levels(caplog) if level != "DEBUG"]
    assert seen == ["WARNING", "INFO"]
    said = [r.getMessage() for r in caplog.records if r.levelno >= logging.INFO]
    assert "lost" in said[0]
    assert "after" in said[1]
    assert " s" in said[1]
    assert levels(caplog).index("WARNING") == 0


def test_logging_of_an_outage_is_a_warning_at_its_declaration(
    make: Make, network: MemoryTransport, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "realtime_client")
    client, told = make(link_factory=network, max_reconnect_attempts=2, **QUICK), Record()
    client.on_notification(told)
    client.connect(PATIENCE)
    caplog.clear()
    network.refuse(times=8)
    network.current.lose()
    told.wait_until(recovered)
    assert [level for level in levels(caplog) if level != "DEBUG"] == ["WARNING", "WARNING", "INFO"]


def test_logging_of_giving_up_is_a_warning(server: FakeServer, make: Make, caplog: pytest.LogCaptureFixture) -> None:
    server.then = [refuse(404)]
    client = make(server.url)
    with pytest.raises(RealtimeError):
        client.connect(PATIENCE)
    client.close()
    assert caplog.records
    assert {r.levelname for r in caplog.records} == {"WARNING"}
    assert len(caplog.records) <= 2
    assert "404" in caplog.text


def test_logging_is_silent_by_default_while_all_is_well(
    server: FakeServer, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    client, events = make(server.url), Record()
    client.on("*", events)
    client.connect(PATIENCE)
    server.send(anomaly(1))
    server.send(alert("x", "critical"))
    events.wait_for(3)
    client.close()
    assert caplog.records == []


def test_logging_never_carries_the_payload_of_events(
    server: FakeServer, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client, told = make(server.url), Record()
    connect_and_settle(client)
    client.on_notification(told)
    server.send(anomaly(1, message="CUSTOMER-DATA"))
    server.send(alert("CUSTOMER-DATA"))
    told.wait_for(2)
    client.send({"type": "x", "data": "CUSTOMER-DATA"})
    client.close()
    assert "CUSTOMER-DATA" not in caplog.text


def test_logging_of_the_servers_own_words_is_one_printable_line(
    server: FakeServer, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    hostile = "bye\x1b[2J\r\n2024 ERROR forged\u2028\u202e"
    server.add_script(accept(), close(1001, hostile))
    server.add_script(refuse(503, body=hostile, headers={"X-Reason": "odd"}))
    client, changes = make(server.url, **QUICK), Record()
    client.on_connection_change(changes)
    client.connect(wait=False)
    changes.wait_for(3)
    client.close()
    for line in caplog.messages:
        assert line.isprintable(), line


SECRETS = (
    "T0KEN-SECRET",
    "PASSW0RD-SECRET",
    "QUERY-SECRET",
    "HEADER-SECRET",
    "PR0XY-SECRET",
    "Authorization",
    "Bearer ",
)


def shown(client: RealtimeClient) -> str:
    """Everything that a user may see of a client, as text."""
    status = client.status
    return "\n".join(
        map(
            str,
            [
                repr(client),
                repr(client.config),
                status,
                status.to_dict(),
                repr(status.last_error),
                vars(status.last_error) if status.last_error else "",
                client.health(),
                client.metrics(),
                client.rejected,
                client.store.snapshot(),
            ],
        )
    )


@pytest.mark.parametrize("kind", ["fixed", "callable"])
def test_no_secret_is_shown_anywhere(
    kind: str, server: FakeServer, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told, seen = Record(), Record()
    url = server.url.replace("127.0.0.1", "user:PASSW0RD-SECRET@127.0.0.1") + "?key=QUERY-SECRET"
    options = {"token": "T0KEN-SECRET", "headers": {"X-Api-Key": "HEADER-SECRET"}}
    if kind == "callable":
        options = {"token": lambda: "T0KEN-SECRET", "headers": lambda: {"X-Api-Key": "HEADER-SECRET"}}  # type: ignore[dict-item]
    client = make(url, **QUICK, **options)
    client.on_notification(told)
    client.on_status(told)
    client.on_error(told)
    client.on_connection_change(seen)
    client.connect(PATIENCE)
    output = [shown(client)]
    assert server.attempts[0].request is not None
    assert server.attempts[0].request.headers["Authorization"] == "Bearer T0KEN-SECRET"
    server.send("not JSON")
    server.add_script(refuse(503))
    server.add_script(accept(), close(1011, "went wrong"))
    server.drop()
    seen.wait_for(5)
    output.append(shown(client))
    server.then = [refuse(401, headers={"WWW-Authenticate": "Bearer"}, body="who are you?")]
    with pytest.raises(AuthenticationError) as caught:
        client.reconnect(PATIENCE)
    output += [shown(client), str(caught.value), repr(caught.value), repr(vars(caught.value))]
    client.close()
    output += [repr(item) for item in told.items]
    output += [str(item) for item in told.items if isinstance(item, Exception)]
    output.append(caplog.text)
    for secret in SECRETS:
        assert secret not in "\n".join(output)


def test_no_secret_of_the_proxy_is_shown(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    import socket

    caplog.set_level(logging.DEBUG)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    client = make(
        "ws://127.0.0.1:9/ws", proxy=f"http://me:PR0XY-SECRET@127.0.0.1:{port}", max_reconnect_attempts=0, give_up=True
    )
    with pytest.raises(RealtimeError) as caught:
        client.connect(PATIENCE)
    for text in (shown(client), str(caught.value), repr(caught.value), caplog.text):
        assert "PR0XY-SECRET" not in text


def test_no_secret_is_shown_when_a_token_callable_raises(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    def broken() -> str:
        raise LookupError("vault said T0KEN-SECRET")

    client = make("ws://127.0.0.1:9/ws", token=broken, max_reconnect_attempts=0, give_up=True)
    with pytest.raises(RealtimeError) as caught:
        client.connect(PATIENCE)
    for text in (shown(client), str(caught.value), repr(caught.value), caplog.text):
        assert "T0KEN-SECRET" not in text
