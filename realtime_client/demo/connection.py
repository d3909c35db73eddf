"""One connection to the feed: its handshake, then a poll's answer or the WebSocket."""

from __future__ import annotations

import contextlib
import hmac
import logging
import socket
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import attrs
import msgspec

from realtime_client._core.frames import PONG, TEXT, Close, FrameReader, Item, Ping, Violation, encode_frame
from realtime_client._core.handshake import MAX_HEAD_BYTES, Request, parse_request, upgrade_answer
from realtime_client.demo.hub import CLOSE_GRACE_SECONDS, Hub, Outbox
from realtime_client.demo.polling import MESSAGES_PATH, POLL_PATH, plain_answer, poll_answer
from realtime_client.hosts import is_this_machine

__all__ = ["HANDSHAKE_SECONDS", "Connection", "Terms"]

log: logging.Logger = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 10.0
LINGER_SECONDS = 1.0
MAX_CLIENT_MESSAGE_BYTES = 64 * 1024
RECEIVE_BYTES = 64 * 1024
PONG_MESSAGE = encode_frame(TEXT, b'{"type":"pong"}')


@attrs.frozen
class Terms:
    """What the server asks of a connection.

    Attributes:
        path: Where the WebSocket is.
        token: The bearer token that is asked for, or ``None``.
        handshake_timeout: Seconds from the accepted connection to the complete head of its request.
    """

    path: str
    token: str | None = attrs.field(repr=False)
    handshake_timeout: float = HANDSHAKE_SECONDS


class Connection:
    """One accepted socket, with one thread that reads and, for a WebSocket, one that writes.

    The reading thread owns the socket: it alone closes it, after the writing thread has ended. Any thread may
    :meth:`abort` it or ask it to :meth:`finish`.

    Args:
        sock: The accepted socket; owned from now on.
        number: For the threads' names and the log.
        hub: The feed.
        terms: What is asked of the peer.
        gone: Called with this connection, on the reading thread, as the last thing it does.
    """

    def __init__(
        self,
        sock: socket.socket,
        number: int,
        *,
        hub: Hub,
        terms: Terms,
        gone: Callable[[Connection], None],
    ) -> None:
        self._sock = sock
        self.number = number
        self._hub = hub
        self._terms = terms
        self._gone = gone
        self._outbox: Outbox | None = None  # written once, by the reading thread, when the upgrade was answered
        self._reader = threading.Thread(target=self._run, name=f"feed-reader-{number}", daemon=True)

    def start(self) -> None:
        """Start the reading thread."""
        self._reader.start()

    def abort(self) -> None:
        """End both directions now, which wakes both threads. From any thread, any number of times."""
        with contextlib.suppress(OSError):  # it may have ended already
            self._sock.shutdown(socket.SHUT_RDWR)

    def finish(self, code: int, reason: str) -> None:
        """Ask for the closing handshake; what is no WebSocket yet is aborted."""
        if (outbox := self._outbox) is None:
            self.abort()
        else:
            outbox.finish(code, reason)

    def abort_if_overdue(self) -> None:
        """Abort if the closing handshake has taken too long."""
        if (outbox := self._outbox) is not None and outbox.is_overdue():
            self.abort()

    def join(self, timeout: float) -> bool:
        """Wait for the threads; whether they have ended."""
        self._reader.join(timeout)
        return not self._reader.is_alive()

    def _run(self) -> None:
        try:
            self._serve()
        except OSError as error:
            log.debug("connection %d: %s", self.number, error)
        finally:
            self._sock.close()
            self._gone(self)

    def _serve(self) -> None:
        deadline = time.monotonic() + self._terms.handshake_timeout
        head, rest = self._read_head(deadline)
        if not head:
            return
        try:
            request = parse_request(head)
        except ValueError as error:
            self._answer(plain_answer(400, str(error)))
            return
        refused = refusal(request, self._terms)
        if refused is not None:
            self._answer(refused)
        elif request.path != self._terms.path:
            self._answer(poll_answer(request, self._hub.snapshot()))
        else:
            self._upgrade(request, rest)

    def _read_head(self, deadline: float) -> tuple[bytes, bytes]:
        """The request's head and what came after it; an empty head if the peer is too slow, too long or gone."""
        data = bytearray()
        while (end := data.find(b"\r\n\r\n")) < 0:
            if len(data) > MAX_HEAD_BYTES:
                break
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return b"", b""
            self._sock.settimeout(remaining)
            received = self._sock.recv(4096)
            if not received:
                return b"", b""
            data += received
        if end < 0 or end + 4 > MAX_HEAD_BYTES:
            self._answer(plain_answer(431, f"the request's head is larger than {MAX_HEAD_BYTES} bytes"))
            return b"", b""
        return bytes(data[: end + 4]), bytes(data[end + 4 :])

    def _answer(self, answer: bytes) -> None:
        self._sock.settimeout(HANDSHAKE_SECONDS)
        self._sock.sendall(answer)
        self._linger()

    def _linger(self) -> None:
        """Let the peer read what was sent: to close with its bytes unread would reset the connection."""
        self._sock.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + LINGER_SECONDS
        while (remaining := deadline - time.monotonic()) > 0:
            self._sock.settimeout(remaining)
            if not self._sock.recv(RECEIVE_BYTES):
                return

    def _upgrade(self, request: Request, rest: bytes) -> None:
        try:
            answer = upgrade_answer(request)
        except ValueError as error:
            refused = plain_answer(426, str(error), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"))
            self._answer(refused)
            return
        if (joined := self._hub.join()) is None:
            self._answer(plain_answer(503, "too many clients", ("Retry-After", "5")))
            return
        greeting, self._outbox = joined
        outbox = self._outbox
        # From here on the socket blocks without a timeout: both threads are woken by abort().
        self._sock.settimeout(None)
        writer = threading.Thread(
            target=self._write, args=(answer + greeting, outbox), name=f"feed-writer-{self.number}", daemon=True
        )
        writer.start()
        try:
            self._read(rest, outbox)
        finally:
            # The peer has ended its side, or was aborted. If it closed properly our close frame is still due.
            self._hub.leave(outbox)
            if outbox.is_finishing():
                writer.join(CLOSE_GRACE_SECONDS)
            outbox.end()
            self.abort()
            writer.join(CLOSE_GRACE_SECONDS)

    def _write(self, first: bytes, outbox: Outbox) -> None:
        try:
            data: bytes | None = first
            while data is not None:
                self._sock.sendall(data)
                data = outbox.take()
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            log.debug("connection %d: %s", self.number, error)
            self.abort()

    def _read(self, data: bytes, outbox: Outbox) -> None:
        """Read until the peer has ended its side; after a close frame of either side only that is waited for."""
        frames = FrameReader(max_message_bytes=MAX_CLIENT_MESSAGE_BYTES, expect_masked=True)
        while True:
            for item in frames.feed(data):
                self._take(item, outbox)
            if not (data := self._sock.recv(RECEIVE_BYTES)):
                return

    def _take(self, item: Item, outbox: Outbox) -> None:
        match item:
            case Ping(payload):
                outbox.put(encode_frame(PONG, payload))
            case str() if is_ping(item):
                outbox.put(PONG_MESSAGE)
            case Close(code):
                outbox.finish(code)
            case Violation(code, reason):
                outbox.finish(code, reason)
            case _:
                pass  # the feed takes no commands, and a pong needs no answer


def is_ping(text: str) -> bool:
    """Whether a client's message is its heartbeat, ``{"type": "ping"}``."""
    try:
        message = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return isinstance(message, dict) and message.get("type") == "ping"


def refusal(request: Request, terms: Terms) -> bytes | None:
    """The answer to a request that is not served, or ``None``."""
    if request.method != "GET":
        return plain_answer(405, "only GET is served", ("Allow", "GET"))
    if request.path not in (terms.path, POLL_PATH, MESSAGES_PATH):
        return plain_answer(404, f"served are {terms.path}, {POLL_PATH} and {MESSAGES_PATH}")
    if terms.token is not None and not is_authorised(request, terms.token):
        return plain_answer(401, "a bearer token is needed", ("WWW-Authenticate", 'Bearer realm="feed"'))
    if not is_same_site(request):
        return plain_answer(403, "pages of other sites may not read the feed")
    return None


def is_authorised(request: Request, token: str) -> bool:
    """Whether the request carries the token (RFC 6750 section 2.1), compared in constant time."""
    scheme, _, given = (request.headers.get("Authorization") or "").partition(" ")
    # Header values are read as Latin-1, so this gives back the bytes that were sent.
    matches = hmac.compare_digest(given.strip().encode("latin-1", "replace"), token.encode())
    return matches and scheme.lower() == "bearer"


def is_same_site(request: Request) -> bool:
    """Whether the request comes from no web page, or from one of this host, whatever its port.

    A browser lets every page open a WebSocket to this machine; only the server can refuse (RFC 6455 section 10.2).
    """
    origin = request.headers.get("Origin")
    if origin is None:
        return True
    try:
        page = urlsplit(origin).hostname
        host = urlsplit(f"//{request.headers.get('Host') or ''}").hostname
    except ValueError:
        return False
    if page is None or host is None:
        return False
    return page == host or (is_this_machine(page) and is_this_machine(host))
