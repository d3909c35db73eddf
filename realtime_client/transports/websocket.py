"""The WebSocket transport: websocket-client for the handshake and what is sent, our own frame reader for the rest."""

from __future__ import annotations

import contextlib
import ssl
import time
from typing import Any
from urllib.parse import urlsplit

import websocket
from websocket import ABNF

from realtime_client import options
from realtime_client._core.deflate import Inflate
from realtime_client._core.frames import Close, FrameReader, Ping, Pong, Violation, close_payload
from realtime_client.config import ClientConfig
from realtime_client.errors import (
    ConnectError,
    ConnectionLost,
    MalformedMessage,
    MessageTooLarge,
    ProtocolError,
)
from realtime_client.status import Transport
from realtime_client.transports.base import Received
from realtime_client.transports.callables import Callables
from realtime_client.transports.dialing import Dial
from realtime_client.transports.failures import attempt
from realtime_client.transports.opening import credentials, open_websocket
from realtime_client.transports.proxies import find_proxy
from realtime_client.transports.streams import NotSentError, PlainStream, Stream, TlsStream
from realtime_client.transports.tls import TlsSettings

__all__ = ["WebSocketDialer", "WebSocketLink"]

CONTROL_TIMEOUT = 5.0
"""The longest that the answers to the pings of one read, or to a close, may take to write, in seconds."""
LAST_WORDS = 0.25
"""How long to wait for the peer's end of the stream after the closing handshake, in seconds."""


class WebSocketDialer:
    """Makes the links of one client.

    Args:
        config: Where to and how.
        tls: For ``wss``.
    """

    def __init__(self, config: ClientConfig, tls: TlsSettings) -> None:
        self._config = config
        self._tls = tls
        self._callables = Callables(config.name)

    def __call__(self) -> WebSocketLink:
        """A link for the next attempt; no I/O."""
        return WebSocketLink(self._config, self._tls, self._callables)


class WebSocketLink:
    """One attempt and one connection; see `realtime_client.transports.base.Link` for who may call what."""

    transport = Transport.WEBSOCKET
    sends = True
    tells_gaps = False

    def __init__(self, config: ClientConfig, tls: TlsSettings, callables: Callables) -> None:
        self._config = config
        self._tls = tls
        self._callables = callables
        self._dial = Dial()
        self._stream: Stream | None = None
        self._frames = FrameReader(max_message_bytes=config.max_message_bytes)
        self._first = b""
        self._ending: Close | Violation | None = None  # read, and to be answered by the next receive()
        self._failure: ConnectionLost | None = None  # the first reason to end; written once
        self._leaving = False

    # The attempt, on the reader thread

    def open(self, timeout: float) -> None:
        """See `Link.open`."""
        with attempt(self._config, lambda: self._failure, websocket.WebSocketException):
            self._open(time.monotonic() + timeout)

    def _open(self, deadline: float) -> None:
        config, dial = self._config, self._dial
        target = urlsplit(config.url)
        host = target.hostname or ""
        secure = target.scheme == "wss"
        port = target.port or (443 if secure else 80)
        headers = credentials(
            target,
            self._ask("headers", config.headers, options.Header(), deadline) or {},
            self._ask("token", config.token, options.Token(), deadline),
        )
        proxy = find_proxy(config.proxy, target)
        if proxy is None:
            dial.connect(host, port, deadline)
        else:
            dial.through(proxy, host, port, deadline)
        if secure:
            dial.secure(self._tls.context(), host, deadline)
        assert dial.sock is not None
        self._first, agreement = open_websocket(
            dial.sock,
            target,
            headers=headers,
            subprotocols=config.subprotocols,
            compression=config.compression,
            deadline=deadline,
        )
        self._frames = FrameReader(
            max_message_bytes=config.max_message_bytes, inflate=None if agreement is None else Inflate(agreement)
        )
        self._stream = TlsStream(dial.sock) if isinstance(dial.sock, ssl.SSLSocket) else PlainStream(dial.sock)
        if self._failure is not None:
            raise ConnectError(str(self._failure))

    def _ask(self, name: str, value: Any, rule: options.Rule, deadline: float) -> Any:
        return self._callables.ask(name, value, rule, self._dial.errands, deadline)

    # The connection

    def receive(self) -> Received:
        """See `Link.receive`."""
        if self._failure is None and self._ending is not None:
            self._end(self._ending)
        if self._failure is not None:
            raise self._failure
        assert self._stream is not None
        data = self._first
        if data:
            self._first = b""
        else:
            try:
                data = self._stream.recv()
            except OSError as error:
                raise self._fail(ConnectionLost(f"the connection broke: {error.strerror or error}")) from error
            if self._failure is not None:  # what is read after an abort is worthless
                raise self._failure
            if not data:
                raise self._fail(ConnectionLost("the server ended the connection without a close frame"))
        return self._read(data)

    def _read(self, data: bytes) -> Received:
        items = self._frames.feed(data)
        messages = [item for item in items if isinstance(item, (str, bytes))]
        pong = None
        if len(messages) < len(items):  # seldom: most reads give messages alone
            last = items[-1]
            if isinstance(last, (Close, Violation)):
                # The next receive() answers it: how the network cut the bytes must not decide whether the messages
                # before it were out of our hands, and perhaps answered, by then.
                self._ending = last
            # One deadline for the answers to what was read at once, so that a peer that sends pings and reads no answer
            # is given up. That takes it once or twice: poll() finds a socket writable when a third of its buffer is
            # free, and when the time is up there may be room for just one more answer.
            deadline = time.monotonic() + CONTROL_TIMEOUT
            for item in items:
                if isinstance(item, Ping):
                    if self._failure is None:
                        self._answer(ABNF.OPCODE_PONG, item.payload, deadline)
                elif isinstance(item, Pong):
                    pong = item.payload
        return Received(messages, len(data), pong)

    def _answer(self, opcode: int, payload: bytes, deadline: float) -> None:
        """Answer the peer, on the reader thread, which waits for no other thread's write."""
        assert self._stream is not None
        try:
            self._stream.send_soon(_frame(payload, opcode), deadline)
        except (OSError, ValueError) as error:
            self._fail(_broken_while_sending(error))  # the next receive() tells it

    def _end(self, ending: Close | Violation) -> None:
        """Answer the end, and let it happen (RFC 6455 sections 7.1.2 and 7.1.7)."""
        assert self._stream is not None
        if not self._leaving:  # else the close frame that may be sent has been (section 5.5.1)
            reason = ending.reason if isinstance(ending, Violation) else ""
            self._answer(ABNF.OPCODE_CLOSE, close_payload(ending.code, reason), time.monotonic() + CONTROL_TIMEOUT)
        self._stream.drain(LAST_WORDS)
        self.fail(self._verdict_on(ending))

    def _verdict_on(self, ending: Close | Violation) -> ConnectionLost:
        """Why the connection ends, as RFC 6455 section 7.1 has it."""
        if isinstance(ending, Close):
            words = f" {ending.reason!r}" if ending.reason else ""
            return ConnectionLost(
                f"the server closed the connection with {ending.code}{words}", code=ending.code, reason=ending.reason
            )
        if ending.code == 1009:
            limit = self._config.max_message_bytes
            return MessageTooLarge(
                f"a message of at least {ending.size} bytes is over max_message_bytes ({limit})",
                size=ending.size,
                limit=limit,
            )
        error = ProtocolError(f"the server broke the protocol: {ending.reason}", code=ending.code, reason=ending.reason)
        if ending.code == 1007:
            error.__cause__ = MalformedMessage("invalid UTF-8", payload=ending.payload.decode("utf-8", "replace"))
        return error

    def send(self, text: str, timeout: float) -> None:
        """See `Link.send`."""
        self._write(_frame(text.encode("utf-8"), ABNF.OPCODE_TEXT), timeout)

    def ping(self, payload: bytes, timeout: float, message: str | None = None) -> None:
        """See `Link.ping`."""
        frames = _frame(payload, ABNF.OPCODE_PING)
        if message is not None:
            frames += _frame(message.encode("utf-8"), ABNF.OPCODE_TEXT)
        self._write(frames, timeout)

    def close(self, timeout: float) -> None:
        """See `Link.close`."""
        self._leaving = True
        with contextlib.suppress(ConnectionLost, TimeoutError):
            self._write(_frame(close_payload(1000), ABNF.OPCODE_CLOSE), timeout)

    def _write(self, frames: bytes, timeout: float) -> None:
        if self._failure is not None:
            raise self._failure
        assert self._stream is not None
        try:
            self._stream.send(frames, timeout)
        except NotSentError:
            raise TimeoutError(f"nothing was sent: another thread's write did not end within {timeout:g} s") from None
        except (OSError, ValueError) as error:  # ValueError: the descriptor was given back meanwhile
            # An unknown part of it is on the wire: nothing sensible can follow.
            raise self._fail(_broken_while_sending(error)) from error

    def fail(self, error: ConnectionLost) -> None:
        """See `Link.fail`."""
        # Two may come at once; either reason is a true one, and the later writer only loses the race to be told.
        if self._failure is None:
            self._failure = error
        self._dial.abort()

    def _fail(self, error: ConnectionLost) -> ConnectionLost:
        """Fail, and return the reason that counts, which may be an earlier one."""
        # What cannot be written any more after the peer has ended the connection fails because of that.
        self.fail(error if self._ending is None else self._verdict_on(self._ending))
        return self._failure or error

    def release(self) -> None:
        """See `Link.release`."""
        if self._stream is not None:
            self._stream.settle(CONTROL_TIMEOUT)
        self._dial.close()

    def disown(self) -> None:
        """See `Link.disown`."""
        self._dial.disown()

    @property
    def sent_bytes(self) -> int:
        """See `Link.sent_bytes`."""
        return 0 if self._stream is None else self._stream.sent

    @property
    def lingering(self) -> str | None:
        """See `Link.lingering`."""
        return self._dial.errands.lingering


def _frame(payload: bytes, opcode: int) -> bytes:
    """One masked frame, as a client sends it."""
    return bytes(ABNF.create_frame(payload, opcode).format())


def _broken_while_sending(error: Exception) -> ConnectionLost:
    words = (error.strerror if isinstance(error, OSError) else None) or error
    return ConnectionLost(f"the connection broke while sending: {words}")
