"""A server that blasts pre-encoded frames at whoever connects, then closes; a process of its own.

usage: python -m benchmarks.firehose KIND COUNT [--deflate | --takeover] [--distinct] [--pace EVENTS_PER_SECOND]
                                     [--burst N]
prints: PORT=n, once it listens

A block of a thousand messages is sent again and again, unless they are to be distinct.

Paced, it sends figures instead, each with its sending time (``time.monotonic_ns()``, a clock that the processes of a
machine share); with bursts, N events of the kind at once go before every hundredth of them.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import socket
import struct
import threading
import time
import zlib

KINDS = ("anomalies", "own-times", "stats", "mix", "small", "large")
TIME = "2024-01-01T10:00:00Z"
PACED = b'{"type": "stats_update", "data": {"stats": {"sent": %d}}, "timestamp": "%s"}'
BURST_EVERY = 100


def message(kind: str, number: int) -> bytes:
    """The n-th message of a kind."""
    if kind == "stats" or (kind == "mix" and number % 5 == 4):
        stats = {"totalLogs": 10_500 + number, "anomalyCount": 155, "anomalyRate": 0.0147, "activeServices": 5}
        content: dict[str, object] = {"type": "stats_update", "data": {"stats": stats}, "timestamp": TIME}
    elif kind == "small":
        content = {"type": "stats_update", "data": {"stats": {"n": number}}, "timestamp": TIME}
        return json.dumps(content, separators=(",", ":")).encode()
    else:
        text = "Database connection failed" + (" and so on" * 1600 if kind == "large" else "")
        log = {
            "id": f"log-{number:08d}",
            "timestamp": TIME,
            "level": "ERROR",
            "message": text,
            "source": "user-service",
            "isAnomaly": True,
            "anomalyScore": 0.85,
            "rootCauses": ["Database timeout"],
            "recommendations": ["Check database connectivity"],
        }
        content = {"type": "new_anomaly", "data": {"log": log}, "timestamp": TIME}
        if kind == "own-times":  # a log that was written a while before it was sent, each at a time of its own
            second, millisecond = divmod(number * 37, 1000)
            log["timestamp"] = f"2024-01-01T10:{second // 60:02}:{second % 60:02}.{millisecond:03}Z"
            content["timestamp"] = f"2024-01-01T11:{second // 60:02}:{second % 60:02}.{millisecond:03}Z"
    return json.dumps(content).encode()


def frame(payload: bytes, first: int = 0x81) -> bytes:
    """One unmasked frame."""
    size = len(payload)
    if size < 126:
        return bytes([first, size]) + payload
    if size < 65536:
        return bytes([first, 126]) + struct.pack("!H", size) + payload
    return bytes([first, 127]) + struct.pack("!Q", size) + payload


def encode(kind: str, count: int, compression: str = "") -> list[bytes]:
    """The frames of a block that is sent again and again.

    Compressed with context takeover they refer to one another, and to nothing before the block: so it may be repeated.
    """
    frames = []
    context = zlib.compressobj(wbits=-15)
    for number in range(count):
        payload = message(kind, number)
        if compression:
            if compression == "deflate":
                context = zlib.compressobj(wbits=-15)
            payload = (context.compress(payload) + context.flush(zlib.Z_SYNC_FLUSH))[:-4]
        frames.append(frame(payload, 0xC1 if compression else 0x81))
    return frames


EXTENSION = {
    "": b"",
    "deflate": b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n",
    "takeover": b"Sec-WebSocket-Extensions: permessage-deflate\r\n",
}
"""What is agreed to, by the kind of compression."""


def handshake(connection: socket.socket, compression: str) -> None:
    """Take the upgrade request and grant it."""
    request = b""
    while b"\r\n\r\n" not in request:
        request += connection.recv(4096)
    key = next(
        line.split(b":", 1)[1].strip()
        for line in request.split(b"\r\n")
        if line.lower().startswith(b"sec-websocket-key")
    )
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n" + EXTENSION[compression] + b"\r\n"
    )


def serve(connection: socket.socket, frames: list[bytes], arguments: argparse.Namespace) -> None:
    """Send what is to be sent, then the closing handshake."""
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        handshake(connection, arguments.compression)
        if arguments.pace:
            pace(connection, arguments.count, arguments.pace, b"".join(frames[: arguments.burst]))
        else:
            blob = b"".join(frames)
            for _ in range(max(1, arguments.count // len(frames))):
                connection.sendall(blob)
        connection.sendall(b"\x88\x02" + struct.pack("!H", 1000))
        connection.recv(4096)  # the peer's close frame
    except OSError:
        pass
    finally:
        connection.close()


def pace(connection: socket.socket, count: int, rate: float, burst: bytes) -> None:
    """Send events with their sending time in them, evenly, and bursts between them."""
    begin = time.monotonic()
    for number in range(count):
        due = begin + number / rate
        while (left := due - time.monotonic()) > 0:
            if left > 0.0005:
                threading.Event().wait(left - 0.0003)
        if burst and number % BURST_EVERY == 0:
            connection.sendall(burst)
        connection.sendall(frame(PACED % (time.monotonic_ns(), TIME.encode())))


def main() -> None:
    """Listen on an ephemeral port of the loopback interface until killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("count", type=int)
    compression = parser.add_mutually_exclusive_group()
    for kind in ("deflate", "takeover"):
        compression.add_argument(f"--{kind}", dest="compression", action="store_const", const=kind, default="")
    parser.add_argument("--distinct", action="store_true")
    parser.add_argument("--pace", type=float, default=0.0)
    parser.add_argument("--burst", type=int, default=0)
    arguments = parser.parse_args()
    block = arguments.count if arguments.distinct else min(1000, max(arguments.count, arguments.burst))
    frames = encode(arguments.kind, block, arguments.compression)
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(f"PORT={listener.getsockname()[1]}", flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, frames, arguments), daemon=True).start()


if __name__ == "__main__":
    main()
