"""A server that says nothing but the answers to pings; a process of its own.

usage: python -m benchmarks.quiet
prints: PORT=n, once it listens
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import resource
import struct

from benchmarks.firehose import frame

PONG_MESSAGE = frame(b'{"type": "pong"}')


class Connection(asyncio.Protocol):
    """One client; it sends small frames only, which are masked."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport
        self._data = b""
        self._open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        self._data += data
        if not self._open and b"\r\n\r\n" in self._data:
            request, _, self._data = self._data.partition(b"\r\n\r\n")
            self._transport.write(accepted(request))
            self._open = True
        while self._open and len(self._data) >= 6 and len(self._data) >= 6 + (size := self._data[1] & 127):
            first, mask, masked = self._data[0], self._data[2:6], self._data[6 : 6 + size]
            self._data = self._data[6 + size :]
            self._answer(first & 15, bytes(byte ^ mask[n % 4] for n, byte in enumerate(masked)))

    def _answer(self, opcode: int, payload: bytes) -> None:
        if opcode == 1:
            self._transport.write(PONG_MESSAGE)
        elif opcode == 9:
            self._transport.write(frame(payload, 0x8A))
        elif opcode == 8:
            self._transport.write(b"\x88\x02" + struct.pack("!H", 1000))
            self._transport.close()


def accepted(request: bytes) -> bytes:
    """The answer to an upgrade request."""
    key = next(line[18:].strip() for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


def raise_descriptor_limit() -> None:
    """Allow as many connections as the system lets us."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def main() -> None:
    """Listen on an ephemeral port of the loopback interface until killed."""
    raise_descriptor_limit()
    listener = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=4096)
    print(f"PORT={listener.sockets[0].getsockname()[1]}", flush=True)
    await listener.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
