"""The client against servers of other people's making, plain and over TLS."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator

import pytest
import trustme
from aiohttp import WSMsgType, web
from websockets.asyncio.server import ServerConnection

from realtime_client.testing import FakeServer
from tests.client.conftest import Make
from tests.client.independent import aiohttp_server, websockets_server
from tests.client.recording import PATIENCE, QUICK, Record, alert, anomaly, numbers

COUNT = 500


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(params=["plain", "tls"])
def tls(request: pytest.FixtureRequest, authority: trustme.CA) -> ssl.SSLContext | None:
    if request.param == "plain":
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def trust(authority: trustme.CA) -> Iterator[str]:
    with authority.cert_pem.tempfile() as path:
        yield path


def converse(make: Make, port: int, tls: ssl.SSLContext | None, trust: str) -> None:
    """Receive numbered events, be answered, lose the connection and come back, and say goodbye."""
    scheme, options = ("ws", {}) if tls is None else ("wss", {"ca_file": trust})
    client = make(
        f"{scheme}://127.0.0.1:{port}/ws", heartbeat_interval=0.1, heartbeat_timeout=PATIENCE, **QUICK, **options
    )
    events, echoes, connected = Record(), Record(), Record()
    client.on("new_anomaly", events)
    client.on("echo", echoes)
    client.on_connection_change(connected)
    client.connect(PATIENCE)
    assert numbers(events.wait_for(COUNT)) == list(range(COUNT))
    client.send({"type": "echo", "data": {"text": "ü" * 100_000}})
    assert echoes.wait_for(1)[0].data == {"text": "ü" * 100_000}
    client.send({"type": "drop me"})
    connected.wait_for(3)
    assert numbers(events.wait_for(2 * COUNT)) == [*range(COUNT), *range(COUNT)]
    client.close()
    assert connected.items == [True, False, True, False]
    assert client.rejected == ()


def test_with_the_server_of_websockets(make: Make, tls: ssl.SSLContext | None, trust: str) -> None:
    goodbyes = Record()

    async def serve_one(connection: ServerConnection) -> None:
        assert [extension.name for extension in connection.protocol.extensions] == ["permessage-deflate"]
        for i in range(COUNT):
            await connection.send(json.dumps(anomaly(i)))
        async for message in connection:
            said = json.loads(message)
            if said["type"] == "echo":
                await connection.send(message)
            elif said["type"] == "drop me":
                await connection.close(1001)
        goodbyes(connection.protocol.close_rcvd.code if connection.protocol.close_rcvd else None)

    with websockets_server(serve_one, tls=tls) as port:
        converse(make, port, tls, trust)
        assert goodbyes.wait_for(2)[-1] == 1000


def test_with_the_server_of_aiohttp(make: Make, tls: ssl.SSLContext | None, trust: str) -> None:
    goodbyes = Record()

    async def serve_one(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        assert socket.compress  # the window's bits; 0 is none
        for i in range(COUNT):
            await socket.send_json(anomaly(i))
        async for message in socket:
            assert message.type is WSMsgType.TEXT
            said = message.json()
            if said["type"] == "echo":
                await socket.send_str(message.data)
            elif said["type"] == "drop me":
                await socket.close(code=1001)
        goodbyes(socket.close_code)
        return socket

    with aiohttp_server(serve_one, tls=tls) as port:
        converse(make, port, tls, trust)
        assert goodbyes.wait_for(2)[-1] == 1000


def test_one_process_with_several_clients_of_one_server(server: FakeServer, make: Make) -> None:
    clients = [make(server.url) for _ in range(5)]
    records = [Record() for _ in clients]
    for client, record in zip(clients, records, strict=True):
        client.on("system_alert", record)
        client.connect(PATIENCE)
    assert server.send(alert("to all")) == 5
    for record in records:
        record.wait_for(1)
