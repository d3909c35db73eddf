"""Hostile and broken messages: counted, kept, said once, and the client lives."""

from __future__ import annotations

import json
import logging
import struct
from pathlib import Path
from typing import Any

import pytest

from realtime_client import MalformedMessage, MessageTooLarge, ProtocolError
from realtime_client._core.frames import BINARY, PING, TEXT, encode_frame
from realtime_client.testing import FakeServer, MemoryTransport, accept, send_raw
from tests.client.conftest import Make
from tests.client.recording import PATIENCE, QUICK, Record, alert, anomaly, numbers

VECTORS = [
    json.loads(line)
    for line in (Path(__file__).parent.parent / "vectors" / "messages.jsonl").read_text(encoding="utf-8").splitlines()
]
MALFORMED = [vector for vector in VECTORS if vector["outcome"] == "malformed"]
GOOD = [vector for vector in VECTORS if vector["outcome"] == "event"]


def on_the_wire(payload: str) -> str | bytes:
    """A vector's message: text, or bytes for a binary one."""
    if payload.startswith("hex:"):
        return bytes.fromhex(payload[4:])
    if payload.startswith("deep:"):
        depth = int(payload[5:])
        return '{"type":"x","data":' + "[" * depth + "]" * depth + "}"
    return payload


def test_malformed_messages_amid_good_ones_harm_nobody(
    server: FakeServer, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    client, good, errors = make(server.url), Record(), Record()
    client.on("new_anomaly", good)
    client.on_error(errors)
    client.connect(PATIENCE)
    server.send(anomaly(0))
    for number, vector in enumerate(MALFORMED, 1):
        server.send(on_the_wire(vector["payload"]))
        server.send(anomaly(number))
    assert numbers(good.wait_for(len(MALFORMED) + 1)) == list(range(len(MALFORMED) + 1))
    seen = errors.wait_for(len(MALFORMED))
    assert all(type(error) is MalformedMessage and error.reason for error in seen)
    assert client.metrics().malformed == len(MALFORMED)
    assert client.is_connected
    assert len(server.connections) == 1
    assert client.rejected == tuple(seen[-len(client.rejected) :])
    assert 3 <= len(client.rejected) < len(MALFORMED)
    warnings = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(warnings) == 1


def test_every_good_vector_arrives(server: FakeServer, make: Make) -> None:
    client, events = make(server.url), Record()
    client.on("*", events)
    client.connect(PATIENCE)
    events.wait_for(1)
    for vector in GOOD:
        server.send(on_the_wire(vector["payload"]))
    assert [e.type for e in events.wait_for(len(GOOD) + 1)[1:]] == [vector["type"] for vector in GOOD]
    assert client.rejected == ()


def test_rejected_keeps_the_last_few_truncated_with_their_reasons(make: Make, network: MemoryTransport) -> None:
    client, errors = make(link_factory=network), Record()
    client.on_error(errors)
    client.connect(PATIENCE)
    before = client.rejected
    for batch in range(10):
        network.current.put(*[f"broken {batch * 10 + i} " + "x" * 100_000 for i in range(10)])
    errors.wait_for(100)
    rejected = client.rejected
    assert before == ()
    assert [r.payload[:9] for r in rejected] == [f"broken {n}" for n in range(100 - len(rejected), 100)]
    assert all(len(r.payload) <= 1_000 and r.reason for r in rejected)
    assert client.metrics().malformed == 100


def test_rejected_reasons_name_the_field(make: Make, network: MemoryTransport) -> None:
    client, errors = make(link_factory=network), Record()
    client.on_error(errors)
    client.connect(PATIENCE)
    network.current.put(
        {"type": "new_anomaly", "data": {"log": {"id": "1", "message": "m", "anomalyScore": "high"}}},
        {"type": "system_alert", "data": {"severity": "error"}},
        {"type": 5},
    )
    reasons = [error.reason for error in errors.wait_for(3)]
    assert "anomalyScore" in reasons[0]
    assert "message" in reasons[1]
    assert "type" in reasons[2]


def test_malformed_messages_are_logged_without_their_payload(
    make: Make, network: MemoryTransport, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    hostile = "SECRET-PAYLOAD \x1b[2J\n2024 ERROR root: forged line \u2028"
    client, errors = make(link_factory=network), Record()
    client.on_error(errors)
    client.connect(PATIENCE)
    payloads: list[Any] = [
        hostile,
        {"type": "new_anomaly", "data": {"log": {"id": "1", "message": 5, "SECRET-PAYLOAD\x1b\n": hostile}}},
        {"type": "new_anomaly", "data": {"log": {"id": "1", "message": "m", "timestamp": hostile}}},
        {"type": "new_anomaly", "data": {"log": {"id": "1", "message": "m", "rootCauses": {hostile: hostile}}}},
        {"type": "stats_update", "data": {"stats": {"anomalyCount": hostile}}},
        {"type": hostile, "data": float("nan")},
    ]
    for turn, payload in enumerate(payloads, 1):
        network.current.put(payload)
        errors.wait_for(turn)
    client.close()
    for line in caplog.messages:
        assert "SECRET-PAYLOAD" not in line
        assert line.isprintable()


def test_a_burst_of_malformed_messages_is_one_warning(
    make: Make, network: MemoryTransport, caplog: pytest.LogCaptureFixture
) -> None:
    client, errors = make(link_factory=network), Record()
    client.on_error(errors)
    client.connect(PATIENCE)
    for _ in range(20):
        network.current.put(*["not JSON"] * 10)
    errors.wait_for(200)
    assert [r.levelname for r in caplog.records if r.levelno >= logging.WARNING] == ["WARNING"]


def test_a_flood_of_malformed_messages_does_not_fill_the_memory_while_callbacks_are_slow(
    make: Make, network: MemoryTransport
) -> None:
    import threading

    client, entered, release, errors = make(link_factory=network), threading.Event(), threading.Event(), Record()

    def slow(error: object) -> None:
        errors(error)
        entered.set()
        assert release.wait(PATIENCE)

    client.on_error(slow)
    client.connect(PATIENCE)
    network.current.put("not JSON")
    assert entered.wait(PATIENCE)
    for _ in range(50):
        network.current.put(*["not JSON"] * 100)
    network.current.put(anomaly(1))
    client.store.wait_for(lambda s: s.stats.anomaly_count == 1, timeout=PATIENCE)
    done = Record()
    client.on("done", done)
    release.set()
    network.current.put({"type": "done"})
    done.wait_for(1)
    assert client.metrics().malformed == 5_001
    assert len(errors.items) < 5_001


def test_invalid_utf8_in_a_text_message_fails_the_connection_with_1007(server: FakeServer, make: Make) -> None:
    server.add_script(accept(), send_raw(encode_frame(TEXT, b'{"type":"\xff\xfe"}')))
    client, errors, events = make(server.url, **QUICK), Record(), Record()
    client.on_error(errors)
    client.on("system_alert", events)
    client.connect(wait=False)
    server.wait_for_connection(2)
    assert server.connections[0].close_code == 1007
    assert isinstance(errors.wait_for(1)[0], MalformedMessage)
    assert client.metrics().malformed == 1
    assert len(client.rejected) == 1
    assert "UTF-8" in client.rejected[0].reason
    server.send(alert("well again"))
    events.wait_for(1)


def test_invalid_utf8_in_a_binary_message_is_malformed_and_the_connection_lives(server: FakeServer, make: Make) -> None:
    client, events = make(server.url), Record()
    client.on("system_alert", events)
    client.connect(PATIENCE)
    server.send(b'{"type":"\xff\xfe"}')
    server.send(json.dumps(alert("binary")).encode())
    assert events.wait_for(1)[0].message == "binary"
    assert len(client.rejected) == 1
    assert len(server.connections) == 1


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(encode_frame(TEXT, b"x" * 2_001), id="one frame"),
        pytest.param(b"\x81\x7f" + struct.pack("!Q", 2**40), id="an announced terabyte"),
        pytest.param(
            b"\x01\x7e"
            + struct.pack("!H", 1_500)
            + b"x" * 1_500
            + b"\x80\x7e"
            + struct.pack("!H", 1_500)
            + b"x" * 1_500,
            id="fragments",
        ),
        pytest.param(encode_frame(BINARY, b"x" * 5_000), id="binary"),
    ],
)
def test_message_too_large_ends_the_connection_with_1009(frames: bytes, server: FakeServer, make: Make) -> None:
    server.add_script(accept(), send_raw(encode_frame(TEXT, json.dumps(anomaly(1)).encode()) + frames))
    client, changes, events = make(server.url, max_message_bytes=2_000, **QUICK), Record(), Record()
    client.on_status(changes)
    client.on("new_anomaly", events)
    client.connect(wait=False)
    seen = changes.wait_until(lambda items: any(c.previous.connected for c in items))
    error = next(c.current.last_error for c in seen if c.previous.connected)
    assert isinstance(error, MessageTooLarge)
    assert error.limit == 2_000
    assert error.size > 2_000
    assert error.code == 1009
    server.wait_for_connection(2)
    assert server.connections[0].close_code == 1009
    assert numbers(events.wait_for(1)) == [1]  # what came before it was delivered


def test_a_message_of_exactly_max_message_bytes_is_fine(server: FakeServer, make: Make) -> None:
    text = json.dumps(alert("x" * 100))
    client, events = make(server.url, max_message_bytes=len(text)), Record()
    client.on("system_alert", events)
    client.connect(PATIENCE)
    server.send(text)
    events.wait_for(1)
    assert len(server.connections) == 1


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(b"\x81\x85\x00\x00\x00\x00hello", id="masked"),
        pytest.param(b"\xc1\x00", id="reserved bit"),
        pytest.param(b"\x83\x00", id="unknown opcode"),
        pytest.param(b"\x80\x00", id="continuation of nothing"),
        pytest.param(b"\x01\x00\x81\x00", id="new message inside a message"),
        pytest.param(b"\x09\x00", id="fragmented ping"),
        pytest.param(b"\x89\x7e\x00\x7e" + b"x" * 126, id="long ping"),
        pytest.param(b"\x88\x01\x03", id="close with half a code"),
        pytest.param(b"\x88\x02\x03\xec", id="close code 1004"),
    ],
)
def test_protocol_error_ends_the_connection_with_1002_and_the_client_comes_back(
    frames: bytes, server: FakeServer, make: Make
) -> None:
    server.add_script(accept(), send_raw(frames))
    client, changes = make(server.url, **QUICK), Record()
    client.on_status(changes)
    client.connect(wait=False)
    seen = changes.wait_until(lambda items: any(c.previous.connected for c in items))
    error = next(c.current.last_error for c in seen if c.previous.connected)
    assert isinstance(error, ProtocolError)
    assert error.code == 1002
    server.wait_for_connection(2)
    assert server.connections[0].close_code == 1002


def test_pings_of_the_server_are_answered(server: FakeServer, make: Make) -> None:
    server.add_script(accept(), send_raw(encode_frame(PING, b"payload") + encode_frame(PING, b"")))
    client = make(server.url)
    client.connect(PATIENCE)
    assert server.wait_for_frame("pong").payload == b"payload"
    assert server.wait_for_frame("pong", n=2).payload == b""


def test_messages_in_pieces_of_any_size_arrive(server: FakeServer, make: Make) -> None:
    """Fragmented, with a ping in between, cut at every byte by the network."""
    from realtime_client.testing import drip

    text = json.dumps(alert("ü€"), ensure_ascii=False).encode()
    frames = b"\x01\x05" + text[:5] + encode_frame(PING, b"p") + b"\x80" + bytes([len(text) - 5]) + text[5:]
    server.add_script(accept(), drip(send_raw(frames), size=1, interval=0.001))
    client, events = make(server.url), Record()
    client.on("system_alert", events)
    client.connect(PATIENCE)
    assert events.wait_for(1)[0].message == "ü€"
    server.wait_for_frame("pong")
