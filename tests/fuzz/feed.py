"""What a server may send, for the fuzzers to begin with: made from the vectors and by code."""

from __future__ import annotations

import base64
import functools
import json
import random
import zlib
from collections.abc import Sequence
from pathlib import Path

from realtime_client._core.deflate import Agreement
from realtime_client._core.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_payload, encode_frame
from realtime_client._core.handshake import accept_key

__all__ = ["ACCEPT", "AGREEMENTS", "KEY", "SUBPROTOCOL", "compressed", "payloads", "stream", "upgrade"]

KEY = base64.b64encode(bytes(range(16))).decode()
"""The key of the handshake whose answers are made here."""
ACCEPT = accept_key(KEY).encode()
SUBPROTOCOL = "feed.v1"
AGREEMENTS = {
    "": None,
    "permessage-deflate": Agreement(),
    "permessage-deflate; server_no_context_takeover": Agreement(takeover=False),
    "permessage-deflate; server_max_window_bits=9": Agreement(window_bits=9),
}
"""What the server may agree to, by its header's value."""

VECTORS = Path(__file__).parents[1] / "vectors" / "messages.jsonl"


@functools.cache
def payloads() -> tuple[bytes, ...]:
    """The payloads of all vectors, good and bad."""
    found = []
    for line in VECTORS.read_text(encoding="utf-8").splitlines():
        payload: str = json.loads(line)["payload"]
        if payload.startswith("hex:"):
            found.append(bytes.fromhex(payload.removeprefix("hex:")))
        elif payload.startswith("deep:"):
            depth = int(payload.removeprefix("deep:"))
            found.append(b'{"type":"x","data":' + b"[" * depth + b"]" * depth + b"}")
        else:
            # As bytes that are no UTF-8 where the vector is about lone surrogates.
            found.append(payload.encode("utf-8", "surrogatepass"))
    return tuple(found)


@functools.cache
def _good_texts() -> tuple[bytes, ...]:
    return tuple(payload for payload in payloads() if len(payload) < 2000 and _is_text(payload))


def _is_text(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def upgrade(extension: str, dice: random.Random) -> bytes:
    """The head of an answer that opens a WebSocket."""
    fields = [b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Accept: " + ACCEPT]
    if extension:
        fields.append(b"Sec-WebSocket-Extensions: " + extension.encode())
    if dice.random() < 0.3:
        fields.append(b"Sec-WebSocket-Protocol: " + SUBPROTOCOL.encode())
    if dice.random() < 0.3:
        fields += [b"Server: caf\xe9/1.0", b"Date: Mon, 01 Jan 2024 00:00:00 GMT", b"Set-Cookie: a=b"]
    dice.shuffle(fields)
    return b"\r\n".join([b"HTTP/1.1 101 Switching Protocols", *fields, b"", b""])


def compressed(payload: bytes, context: zlib._Compress, *, final: bool = False) -> bytes:
    """A message as permessage-deflate sends it (RFC 7692 section 7.2.1), by a final block if asked for."""
    if final:
        return context.compress(payload) + context.flush(zlib.Z_FINISH) + b"\0"
    return (context.compress(payload) + context.flush(zlib.Z_SYNC_FLUSH))[:-4]


def _context(agreement: Agreement) -> zlib._Compress:
    return zlib.compressobj(wbits=-agreement.window_bits)


def stream(dice: random.Random) -> tuple[bytes, list[bytes]]:
    """A valid stream: the answer to the handshake, and the frames of a dozen messages with what comes between them."""
    extension = dice.choice(tuple(AGREEMENTS))
    agreement = AGREEMENTS[extension]
    context = None if agreement is None else _context(agreement)
    frames: list[bytes] = []
    for number in range(dice.randint(1, 12)):
        if agreement is not None and not agreement.takeover:
            context = _context(agreement)
        frames += _message(_payload(number, dice), dice, context)
        if dice.random() < 0.2:
            frames.append(encode_frame(dice.choice((PING, PONG)), dice.randbytes(dice.choice((0, 4, 125)))))
    if dice.random() < 0.7:
        code, reason = dice.choice(((1000, ""), (1001, "going away"), (1005, ""), (1012, "zurück"), (4000, "x" * 123)))
        frames.append(encode_frame(CLOSE, close_payload(code, reason)))
    return upgrade(extension, dice), frames


def _payload(number: int, dice: random.Random) -> bytes:
    if dice.random() < 0.5:
        return dice.choice(_good_texts())
    words = dice.choice(("disk full", "größer ✓", "\U0001f600" * 3, "x" * dice.choice((100, 130, 3000, 70_000))))
    log = {"id": f"log-{number}", "message": words, "anomalyScore": 0.5, "timestamp": "2024-01-01T10:00:00Z"}
    message = dice.choice(
        (
            {"type": "new_anomaly", "data": {"log": log}, "timestamp": "2024-01-01T10:00:00Z"},
            {"type": "stats_update", "data": {"stats": {"totalLogs": number, "anomalyRate": 0.25}}},
            {"type": "system_alert", "data": {"message": words, "severity": "warning"}},
            {"type": "numbered", "data": number},
        )
    )
    return json.dumps(message, ensure_ascii=dice.random() < 0.5).encode()


def _message(payload: bytes, dice: random.Random, context: zlib._Compress | None) -> Sequence[bytes]:
    opcode = BINARY if dice.random() < 0.1 else TEXT
    rsv = 0
    if context is not None and dice.random() < 0.7:
        payload, rsv = compressed(payload, context), 4
    if dice.random() < 0.75:
        return [encode_frame(opcode, payload, rsv=rsv)]
    cuts = sorted(dice.randint(0, len(payload)) for _ in range(dice.randint(1, 4)))
    parts = [payload[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
    last = len(parts) - 1
    return [
        encode_frame(opcode if at == 0 else CONTINUATION, part, fin=at == last, rsv=rsv if at == 0 else 0)
        for at, part in enumerate(parts)
    ]
