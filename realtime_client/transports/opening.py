"""The opening handshake (RFC 6455 section 4): done by websocket-client, over a socket that guards it.

websocket-client writes the request and checks the answer. What it lets through is stopped here before it sees it: an
answer that comes too slowly or does not end, folded and repeated headers, an accept key in the wrong letter case,
extensions and subprotocols that nobody asked for, redirects, and cookies, which it would keep in a jar for the whole
process and send along with other clients' handshakes.
"""

from __future__ import annotations

import base64
import contextlib
import re
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import SplitResult, unquote

import websocket

from realtime_client._core.deflate import OFFER, Agreement
from realtime_client._core.handshake import AnswerHead, check_upgrade, parse_answer, retry_after
from realtime_client._version import __version__
from realtime_client.errors import AuthenticationError, ConnectError, HandshakeRejected
from realtime_client.options import Rule
from realtime_client.transports.dialing import left, read_head

__all__ = ["accepted", "credentials", "open_websocket"]

BODY_SHOWN = 500
KEY = re.compile(rb"^Sec-WebSocket-Key: (\S+)\r$", re.MULTILINE)


def accepted(name: str, answer: Any, rule: Rule) -> Any:
    """What a callable of the user's has returned for an option, as the option's rule has it.

    Raises:
        ConnectError: The rule refuses it; not retryable.
    """
    with contextlib.suppress(ValueError):
        value = rule.accept(answer)
        if not callable(value):
            return value
    raise ConnectError(f"the {name} callable did not return {rule.allowed}", retryable=False)


def credentials(target: SplitResult, headers: Mapping[str, str], token: str | None) -> dict[str, str]:
    """The request's headers of the user's making: a token wins over other ways to say Authorization."""
    result = {"User-Agent": f"realtime-client/{__version__}", **headers}
    authorization = None
    if token is not None:
        authorization = f"Bearer {token}"
    elif target.username is not None:
        pair = f"{unquote(target.username)}:{unquote(target.password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode("ascii")
    if authorization is not None:
        result = {name: value for name, value in result.items() if name.lower() != "authorization"}
        result["Authorization"] = authorization
    return result


def open_websocket(
    sock: socket.socket,
    target: SplitResult,
    *,
    headers: Mapping[str, str],
    subprotocols: tuple[str, ...],
    compression: bool,
    deadline: float,
) -> tuple[bytes, Agreement | None]:
    """Do the opening handshake.

    Returns:
        Bytes of frames that came along with the answer, and what was agreed on compression.

    Raises:
        HandshakeRejected: The server answered with something else than 101.
        ConnectError: The answer is not what it must be.
    """
    guard = _Guard(sock, subprotocols, compression, deadline)
    lines = [f"{name}: {value}" for name, value in headers.items()]
    if subprotocols:  # not by the library's own option, which refuses a server that chooses none
        lines.append("Sec-WebSocket-Protocol: " + ", ".join(subprotocols))
    if compression:
        lines.append(f"Sec-WebSocket-Extensions: {OFFER}")
    host = f"[{target.hostname}]" if ":" in (target.hostname or "") else target.hostname
    port = "" if target.port is None else f":{target.port}"
    url = f"{target.scheme}://{host}{port}{target.path}" + (f"?{target.query}" if target.query else "")
    try:
        websocket.WebSocket().connect(  # type: ignore[no-untyped-call]
            url, socket=guard, header=lines, suppress_origin=True, redirect_limit=0
        )
    except websocket.WebSocketTimeoutException as error:  # what it makes of the guard's TimeoutError
        raise TimeoutError("the handshake was not done in time") from error
    except websocket.WebSocketException as error:
        raise ConnectError(f"the handshake failed: {error}") from error
    return guard.rest, guard.agreement


class _Guard:
    """What websocket-client takes for the socket: it reads the answer itself, judges it and hands on what is left."""

    def __init__(self, sock: socket.socket, subprotocols: tuple[str, ...], compression: bool, deadline: float) -> None:
        self._sock = sock
        self._subprotocols = subprotocols
        self._compression = compression
        self._deadline = deadline
        self._key = ""
        self._judged: bytes | None = None
        self._position = 0
        self.rest = b""
        self.agreement: Agreement | None = None

    def send(self, data: bytes) -> int:
        """Write the request, and remember its key."""
        found = KEY.search(data)
        if found:
            self._key = found.group(1).decode("ascii")
        self._sock.settimeout(left(self._deadline))
        self._sock.sendall(data)
        return len(data)

    def recv(self, size: int) -> bytes:
        """Give the judged answer, as many bytes as are asked for."""
        if self._judged is None:
            head, self.rest = read_head(self._sock, self._deadline)
            self._judged = self._judge(parse_answer(head))
        data = self._judged[self._position : self._position + size]
        self._position += size
        return data

    def close(self) -> None:
        """The library gives up; the socket is closed by its owner."""

    def gettimeout(self) -> float | None:
        """The library asks; the deadline is ours."""
        return None

    def settimeout(self, timeout: float | None) -> None:
        """The library tells; the deadline is ours."""

    def _judge(self, answer: AnswerHead) -> bytes:
        if answer.status != 101:
            raise _rejection(answer, self.rest)
        self.agreement = check_upgrade(
            answer, key=self._key, subprotocols=self._subprotocols, compression=self._compression
        )
        # The answer has been judged, more strictly than the library does, which keeps the last of several equal fields:
        # it is told what it wants to read.
        accept = answer.get("Sec-WebSocket-Accept")
        told = ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept}")
        return "\r\n".join(["HTTP/1.1 101 Switching Protocols", *told, "", ""]).encode("latin-1")


def _rejection(answer: AnswerHead, body: bytes) -> HandshakeRejected:
    kind = AuthenticationError if answer.status in (401, 403) else HandshakeRejected
    return kind(
        f"{answer.status} {answer.reason}".strip(),
        status=answer.status,
        retry_after=retry_after(answer.get("Retry-After"), now=datetime.now(UTC)),
        body=body[:BODY_SHOWN].decode("utf-8", "replace"),
    )
