"""The clients under test: each connects and sends back what it receives, until the connection ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Final

import aiohttp
import websocket
import websockets
from websocket import ABNF
from websockets.sync.client import connect

from realtime_client.config import ClientConfig
from realtime_client.errors import ConnectionLost
from realtime_client.transports.tls import TlsSettings
from realtime_client.transports.websocket import WebSocketDialer, WebSocketLink

LARGEST: Final = 16 * 1024 * 1024
"""The suite's largest message, in bytes."""
PATIENCE = 60.0


class EchoLink(WebSocketLink):
    """Our link, which also sends binary: the product has no use for that, the suite has."""

    def send_back(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self.send(message, PATIENCE)
        else:
            self._write(ABNF.create_frame(message, ABNF.OPCODE_BINARY).format(), PATIENCE)


class EchoDialer(WebSocketDialer):
    """Makes links that can send back everything."""

    def __call__(self) -> EchoLink:
        return EchoLink(self._config, self._tls, self._callables)


def ours(url: str) -> None:
    """The link as the client has it, with the default settings, except for the size of messages."""
    config = ClientConfig(url, max_message_bytes=LARGEST, proxy=None)
    link = EchoDialer(config, TlsSettings(config))()
    try:
        link.open(PATIENCE)
        while True:
            for message in link.receive().messages:
                link.send_back(message)
    except ConnectionLost:
        pass  # every case ends so
    finally:
        link.release()


def websocket_client(url: str) -> None:
    """The WebSocket class, which WebSocketApp is built on."""
    connection = websocket.create_connection(url, timeout=PATIENCE)
    try:
        while True:
            opcode, data = connection.recv_data()
            if opcode not in (ABNF.OPCODE_TEXT, ABNF.OPCODE_BINARY):
                break
            connection.send(data, opcode)
    except (websocket.WebSocketException, OSError):
        pass
    finally:
        connection.close()


def websockets_sync(url: str) -> None:
    """The threaded client of websockets, without a limit to messages."""
    with connect(url, max_size=None, proxy=None) as connection:
        try:
            for message in connection:
                connection.send(message)
        except websockets.ConnectionClosed:
            pass


def aiohttp_client(url: str) -> None:
    """The client of aiohttp, told to offer compression, without a limit to messages."""

    async def echo() -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=0, compress=15) as ws:
            async for message in ws:
                if message.type is aiohttp.WSMsgType.TEXT:
                    await ws.send_str(message.data)
                elif message.type is aiohttp.WSMsgType.BINARY:
                    await ws.send_bytes(message.data)

    asyncio.run(echo())


OURS: Final = "realtime_client"
CLIENTS: Final[Mapping[str, Callable[[str], None]]] = {
    OURS: ours,
    "websocket-client": websocket_client,
    "websockets.sync": websockets_sync,
    "aiohttp": aiohttp_client,
}
VERSIONS: Final[Mapping[str, str]] = {
    client: version(client.removesuffix(".sync").replace("_", "-")) for client in CLIENTS
}
