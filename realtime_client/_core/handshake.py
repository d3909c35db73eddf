"""The rules of the opening handshake (RFC 6455 section 4), without I/O.

The client's side judges the head of the server's answer, strictly: what the library that dials lets through
must not pass for a WebSocket. The server's side reads requests and writes answers for the package's own small
servers.

A head is bytes up to and including the empty line; lines end with CRLF. Header names are ASCII tokens (RFC
9110 section 5.1). Values are visible ASCII, spaces, tabs and the bytes from 0x80, which are read as Latin-1
(section 5.5).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl

import attrs

from realtime_client._core.deflate import Agreement, read_agreement
from realtime_client.errors import ConnectError

__all__ = [
    "MAX_HEADERS",
    "MAX_HEAD_BYTES",
    "AnswerHead",
    "Headers",
    "Request",
    "accept_key",
    "check_upgrade",
    "http_answer",
    "parse_answer",
    "parse_request",
    "retry_after",
    "upgrade_answer",
]

MAX_HEAD_BYTES: Final = 16 * 1024
"""The largest head that is read, in bytes, the empty line included."""
MAX_HEADERS: Final = 100
"""The most header fields that are read."""

_Fields = tuple[tuple[str, str], ...]

_KEY_SUFFIX: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_STATUS_LINE: Final = re.compile(r"(HTTP/1\.[01]) ([1-5][0-9]{2})(?: (.*))?")
_REQUEST_LINE: Final = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([!-~]+) HTTP/1\.1")
_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_NOT_TEXT: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_NO_BODY: Final = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


class Headers(Mapping[str, str]):
    """Header fields, found by name in any letter case.

    Where a name is given more than once, the mapping has the first value; ``values_of`` has all of them.
    Iterating gives the names in lower case, each once.

    Attributes:
        fields: The (name, value) pairs as they were sent, in order.
    """

    __slots__ = ("fields",)

    def __init__(self, fields: Sequence[tuple[str, str]] = ()) -> None:
        self.fields: _Fields = tuple(fields)

    def __getitem__(self, name: str) -> str:
        for value in self.values_of(name):
            return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.lower() for name, _ in self.fields))

    def __len__(self) -> int:
        return len({name.lower() for name, _ in self.fields})

    def __repr__(self) -> str:
        # Values may be credentials.
        return f"Headers({', '.join(self)})"

    def values_of(self, name: str) -> tuple[str, ...]:
        """Every value of a name, in order; empty where it was not sent."""
        wanted = name.lower()
        return tuple(value for field, value in self.fields if field.lower() == wanted)

    def tokens_of(self, name: str) -> tuple[str, ...]:
        """The elements of a comma-separated list, over all fields of that name (RFC 9110 section 5.6.1)."""
        elements = (part.strip(" \t") for value in self.values_of(name) for part in value.split(","))
        return tuple(element for element in elements if element)


@attrs.frozen
class AnswerHead:
    """The head of a server's answer.

    Attributes:
        status: 100 to 599.
        reason: The words after the status, possibly none; hostile text like any other.
        headers: The (name, value) pairs as they were sent, in order.
    """

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...] = attrs.field(repr=False)

    def get(self, name: str) -> str | None:
        """The first value of a header in any letter case, or ``None`` where it was not sent."""
        return Headers(self.headers).get(name)


@attrs.frozen
class Request:
    """The head of a client's request.

    Attributes:
        method: As sent; methods are case-sensitive.
        target: Path and query as sent.
        headers: The header fields.
    """

    method: str
    target: str = attrs.field(repr=False)  # its query may hold a token
    headers: Headers

    @property
    def path(self) -> str:
        """The target without its query; percent-escapes as sent."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        """The query's decoded fields; of a name given twice the last."""
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))


def parse_answer(head: bytes) -> AnswerHead:
    """Read the head of a server's answer.

    HTTP/1.0 is read too, because proxies and small servers refuse in it, but an upgrade has to be HTTP/1.1.

    Args:
        head: Up to and including the empty line, at most ``MAX_HEAD_BYTES``.

    Raises:
        ConnectError: The head is not well-formed HTTP/1.1 (RFC 9112); the message names the line or header,
            and shows no header's value.
    """
    try:
        line, fields = _parse_head(head)
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"bad status line {line[:80]!r}")
        version, status, reason = match.groups(default="")
        if int(status) == HTTPStatus.SWITCHING_PROTOCOLS and version != "HTTP/1.1":
            raise ValueError(f"status 101 in {version}, which has no upgrade")
    except ValueError as error:
        raise ConnectError(f"the server's answer is not valid HTTP: {error}") from None
    return AnswerHead(int(status), reason, fields)


def check_upgrade(
    head: AnswerHead, *, key: str, subprotocols: Sequence[str], compression: bool = False
) -> Agreement | None:
    """Judge the answer that is to open the WebSocket (RFC 6455 section 4.1, requirements 1 to 6 at its end).

    Args:
        head: The answer.
        key: The ``Sec-WebSocket-Key`` that was sent.
        subprotocols: The subprotocols that were asked for.
        compression: Whether permessage-deflate was offered, as `realtime_client._core.deflate.OFFER` has it.

    Returns:
        What was agreed on compression, or ``None``.

    Raises:
        ConnectError: The answer opens no WebSocket that was asked for; the message says why.
    """
    headers = Headers(head.headers)
    if head.status != HTTPStatus.SWITCHING_PROTOCOLS:
        raise ConnectError(f"the server answered {head.status} where 101 opens a WebSocket")
    upgrade = headers.values_of("Upgrade")
    if len(upgrade) != 1 or upgrade[0].lower() != "websocket":
        raise ConnectError(f"the server's Upgrade must be one 'websocket', not {_shown(upgrade)}")
    if not _has_token(headers, "Connection", "upgrade"):
        connection = headers.values_of("Connection")
        raise ConnectError(f"the server's Connection must contain 'upgrade', not {_shown(connection)}")
    accept = headers.values_of("Sec-WebSocket-Accept")
    if len(accept) != 1:
        raise ConnectError(f"the server sent {len(accept)} Sec-WebSocket-Accept headers where one is due")
    if accept[0] != accept_key(key):
        raise ConnectError("the server's Sec-WebSocket-Accept does not match the key that was sent")
    _check_subprotocol(headers, subprotocols)
    extensions = headers.values_of("Sec-WebSocket-Extensions")
    if extensions and not compression:
        raise ConnectError(f"the server chose an extension, and none was offered: {_shown(extensions)}")
    return read_agreement(extensions)


def retry_after(value: str | None, *, now: datetime) -> float | None:
    """What a ``Retry-After`` header asks for (RFC 9110 section 10.2.3).

    Args:
        value: The header's value: a number of seconds, or a date in any of HTTP's three forms; ``None`` where
            there is none.
        now: The present, timezone-aware.

    Returns:
        Seconds from ``now``, 0.0 for a date that has passed, not capped; ``None`` where there is nothing to
        obey.
    """
    text = (value or "").strip(" \t")
    if text.isascii() and text.isdecimal():
        seconds = float(text)
        return seconds if math.isfinite(seconds) else None
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - it brings much along, and dates are rare

    try:
        date = parsedate_to_datetime(text)
    except (ValueError, IndexError, OverflowError):
        return None
    if date.tzinfo is None:  # HTTP dates are UTC; asctime's form does not say so
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - now).total_seconds())


def parse_request(head: bytes) -> Request:
    """Read the head of a client's request.

    Args:
        head: Up to and including the empty line, at most ``MAX_HEAD_BYTES``.

    Raises:
        ValueError: The head is not well-formed HTTP/1.1 (RFC 9112); the message shows no header's value and
            no target.
    """
    line, fields = _parse_head(head)
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise ValueError("bad request line, due are method, target and HTTP/1.1")
    method, target = match.groups()
    return Request(method, target, Headers(fields))


def accept_key(key: str) -> str:
    """The ``Sec-WebSocket-Accept`` that proves a ``Sec-WebSocket-Key`` was read (RFC 6455 section 4.2.2)."""
    # The RFC fixes SHA-1; it guards against caches, not against attackers.
    digest = hashlib.sha1(key.encode() + _KEY_SUFFIX, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def upgrade_answer(
    request: Request, *, subprotocol: str | None = None, headers: Sequence[tuple[str, str]] = ()
) -> bytes:
    """The whole head that opens a WebSocket (RFC 6455 section 4.2).

    Args:
        request: The client's request, which is judged first.
        subprotocol: Sent as it is, also when the client did not ask for it (a test server may have to).
        headers: Further (name, value) pairs, sent last.

    Raises:
        ValueError: The request is no WebSocket upgrade, naming what is wrong, or a header cannot be sent.
    """
    sent = request.headers
    if request.method != "GET":
        raise ValueError(f"method must be GET, not {request.method[:40]!r}")
    if len(sent.values_of("Host")) != 1:
        raise ValueError("Host must be given once")
    if not _has_token(sent, "Upgrade", "websocket"):
        raise ValueError(f"Upgrade must contain 'websocket', not {_shown(sent.values_of('Upgrade'))}")
    if not _has_token(sent, "Connection", "upgrade"):
        raise ValueError(f"Connection must contain 'upgrade', not {_shown(sent.values_of('Connection'))}")
    versions = sent.values_of("Sec-WebSocket-Version")
    if versions != ("13",):
        raise ValueError(f"Sec-WebSocket-Version must be '13', not {_shown(versions)}")
    keys = sent.values_of("Sec-WebSocket-Key")
    if len(keys) != 1 or not _is_key(keys[0]):
        raise ValueError("Sec-WebSocket-Key must be given once, 16 bytes in base64")
    fields = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept_key(keys[0])),
    ]
    if subprotocol is not None:
        fields.append(("Sec-WebSocket-Protocol", subprotocol))
    return _head("HTTP/1.1 101 Switching Protocols", [*fields, *headers])


def http_answer(
    status: int, *, reason: str | None = None, headers: Sequence[tuple[str, str]] = (), body: bytes = b""
) -> bytes:
    """A whole plain HTTP/1.1 answer, after which the connection is closed.

    ``Connection: close`` is added and, where the status may have a body (RFC 9110 section 6.4.1),
    ``Content-Length``; one that ``headers`` already has is left as it is given there.

    Args:
        status: 100 to 599.
        reason: The words after the status; ``None`` takes the usual ones.
        headers: Further (name, value) pairs, sent first.
        body: The body.

    Raises:
        ValueError: The status is out of range or may have no body, or the reason or a header cannot be sent.
    """
    if not 100 <= status <= 599:
        raise ValueError(f"status must be from 100 to 599, not {status}")
    bodiless = status < 200 or status in _NO_BODY
    if bodiless and body:
        raise ValueError(f"an answer with status {status} has no body")
    if reason is None:
        reason = next((known.phrase for known in HTTPStatus if known == status), "")
    given = Headers(headers)
    fields = list(headers)
    if not bodiless and "Content-Length" not in given:
        fields.append(("Content-Length", str(len(body))))
    if "Connection" not in given:
        fields.append(("Connection", "close"))
    return _head(f"HTTP/1.1 {status} {reason}", fields) + body


def _parse_head(head: bytes) -> tuple[str, _Fields]:
    """The first line and the fields; ValueError where they are not well-formed (RFC 9112 section 5)."""
    if len(head) > MAX_HEAD_BYTES:
        raise ValueError(f"head of {len(head)} bytes, allowed are {MAX_HEAD_BYTES}")
    text = head.decode("latin-1")
    if not text.endswith("\r\n\r\n"):
        raise ValueError("head without the empty line that ends it")
    first, *lines = text[:-4].split("\r\n")
    if _NOT_TEXT.search(first):
        raise ValueError("control character in the first line")
    if len(lines) > MAX_HEADERS:
        raise ValueError(f"{len(lines)} headers, allowed are {MAX_HEADERS}")
    return first, tuple(_parse_field(line, number) for number, line in enumerate(lines, 1))


def _parse_field(line: str, number: int) -> tuple[str, str]:
    if line.startswith((" ", "\t")):
        raise ValueError(f"header {number} is folded over two lines")
    name, colon, value = line.partition(":")
    if not colon:
        raise ValueError(f"header {number} has no colon")
    if not _NAME.fullmatch(name):
        raise ValueError(f"header {number} has an invalid name {name[:40]!r}")
    if _NOT_TEXT.search(value):
        raise ValueError(f"control character in header {name[:40]!r}")
    return name, value.strip(" \t")


def _head(first: str, fields: Sequence[tuple[str, str]]) -> bytes:
    """A head as bytes; ValueError for what would break its lines."""
    if _NOT_TEXT.search(first):
        raise ValueError("control character in the reason")
    for name, value in fields:
        if not _NAME.fullmatch(name):
            raise ValueError(f"invalid header name {name[:40]!r}")
        if _NOT_TEXT.search(value):
            raise ValueError(f"control character in header {name[:40]!r}")
    lines = [first, *(f"{name}: {value}" for name, value in fields)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _has_token(headers: Headers, name: str, token: str) -> bool:
    return token in (element.lower() for element in headers.tokens_of(name))


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def _check_subprotocol(headers: Headers, asked: Sequence[str]) -> None:
    chosen = headers.values_of("Sec-WebSocket-Protocol")
    if len(chosen) > 1:
        raise ConnectError("the server sent Sec-WebSocket-Protocol more than once")
    if chosen and chosen[0] not in asked:
        raise ConnectError(f"the server chose the subprotocol {chosen[0][:40]!r}, which was not asked for")


def _shown(values: Sequence[str]) -> str:
    """Values as a message may show them."""
    return ", ".join(repr(value[:40]) for value in values) or "none"
