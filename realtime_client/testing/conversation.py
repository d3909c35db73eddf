"""The thread's side of a fake server's connection: it alone uses the socket.

There is one place where it waits, for the socket, for what other threads post and for the time. So a script's step
may take for ever, and yet a post goes out, a ping is answered and an end that is demanded comes at once.
"""

from __future__ import annotations

import contextlib
import math
import select
import socket
import ssl
import struct
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from realtime_client._core.frames import (
    CLOSE,
    PONG,
    Close,
    FrameReader,
    Item,
    Ping,
    Violation,
    close_payload,
    encode_frame,
)
from realtime_client._core.handshake import (
    MAX_HEAD_BYTES,
    Request,
    accept_key,
    http_answer,
    parse_request,
    upgrade_answer,
)
from realtime_client.errors import ProtocolError
from realtime_client.testing.connection import Demand, Ending, FakeConnection, Match, fits, frame_of, parsed
from realtime_client.testing.journal import Gate, Journal

__all__ = ["Conversation", "Interrupted", "Over"]

_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_PEER_LEFT = getattr(select, "POLLRDHUP", 0)  # Linux tells of a FIN without reading; elsewhere only of a full close
_READ_BYTES = 65536  # more than a TLS record, so that nothing waits inside TLS where poll() cannot see it
_READS_AT_ONCE = 16
_LINGER = 1.0


class Over(Exception):
    """The connection has ended."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.value)
        self.ending = ending


class Interrupted(Exception):
    """What the thread was doing gives way to a demand, which ends the connection."""

    def __init__(self, demand: Demand) -> None:
        super().__init__()
        self.demand = demand


class Conversation:
    """What a script's steps act on. One thread's own; everything here blocks that thread."""

    def __init__(self, sock: socket.socket, connection: FakeConnection, journal: Journal) -> None:
        self.connection = connection
        self._journal = journal
        sock.setblocking(False)
        self._sock = sock
        self._poller = select.poll()
        self._poller.register(connection.waker.fileno(), select.POLLIN)
        self._reader = FrameReader(max_message_bytes=_MAX_MESSAGE_BYTES, expect_masked=True)
        self._early = b""  # what came before the WebSocket was open
        self._upgraded = False
        self._close_sent = False
        self._writing = memoryview(b"")
        self._awaited = 0  # messages that the script has waited for already
        self._be_polite()

    def _be_polite(self) -> None:
        """What a step may change for its time."""
        self._reads = True
        self._is_hushed: Callable[[], bool] = lambda: False
        self._pace: tuple[int, float] | None = None
        self._holds_posts = False

    @property
    def upgraded(self) -> bool:
        """Whether the 101 was sent."""
        return self._upgraded

    def run(self, life: Demand) -> None:
        """Live, and release everything at the end; ``Over`` and errors are recorded, never raised."""
        ending = Ending.SERVER_FIN
        try:
            self._obey(life)
        except Over as over:
            ending = over.ending
        except Exception as error:  # noqa: BLE001 - whatever a step or a predicate raises is for the test to see
            self._journal.failed(error)
            self._prepare_reset()
            ending = Ending.SERVER_RESET
        finally:
            self.connection.leaves()
            self._sock.close()
            self.connection.waker.close()
            self.connection.ended(ending)

    def _obey(self, demand: Demand) -> None:
        while True:
            try:
                demand(self)
            except Interrupted as interrupted:
                demand = interrupted.demand
                self._be_polite()
            else:
                return

    # The beginning.

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Lay TLS over the connection."""
        try:
            sock = context.wrap_socket(self._sock, server_side=True, do_handshake_on_connect=False)
        except OSError as error:
            _close_half_made(error)
            raise Over(Ending.TLS_FAILED) from None
        self._sock = sock
        self.connection.uses(sock)
        while True:
            try:
                sock.do_handshake()
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT)
            except OSError:
                raise Over(Ending.TLS_FAILED) from None
            else:
                return

    def read_request(self) -> Request:
        """Wait for the head of the client's request.

        Raises:
            ValueError: It is no HTTP.
        """
        while b"\r\n\r\n" not in self._early:
            if len(self._early) > MAX_HEAD_BYTES:
                raise ValueError(f"head of more than {MAX_HEAD_BYTES} bytes")
            self._turn()
            if self._early and not self._early[:1].isalpha():
                self._journal.attempted(self.connection)  # such as TLS where none is spoken
        head, _, self._early = self._early.partition(b"\r\n\r\n")
        return parse_request(head + b"\r\n\r\n")

    def accept(
        self,
        *,
        subprotocol: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
        wrong_key: str | None = None,
        greeting: Any = None,
    ) -> None:
        """Open the WebSocket; see the step of that name.

        Raises:
            ValueError: The client asked for none, or not properly.
        """
        request = self.connection.request
        if request is None or self._upgraded:
            raise ValueError("accept() when the WebSocket is open already")
        answer = upgrade_answer(request, subprotocol=subprotocol, headers=headers)
        if wrong_key is not None:
            right_key = accept_key(request.headers["Sec-WebSocket-Key"])
            answer = answer.replace(right_key.encode(), wrong_key.encode(), 1)
        if greeting is not None:
            answer += frame_of(greeting)
        self.write(answer, opens=True)

    def refuse(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> NoReturn:
        """Answer with something else than an upgrade, and end."""
        self.write(http_answer(status, headers=headers, body=body))
        self.hang_up(Ending.REFUSED, linger=_LINGER, clean=True)

    # The middle.

    def write(self, data: bytes, *, opens: bool = False) -> None:
        """Write bytes, after those that were posted before.

        Args:
            data: Any bytes.
            opens: The WebSocket is open behind these bytes.
        """
        if self._pace:
            self._drip(data, *self._pace, opens=opens)
            return
        self.connection.post(data, opens=opens)
        if opens:
            self._open_reader()
        self._drain()

    @contextlib.contextmanager
    def dripping(self, size: int, interval: float) -> Iterator[None]:
        """Write at this pace: ``size`` bytes each ``interval`` seconds."""
        self._pace = (size, interval)
        yield
        self._pace = None

    def _drip(self, data: bytes, size: int, interval: float, *, opens: bool) -> None:
        self._drain()
        self._holds_posts = True
        for start in range(0, len(data), size):
            if start:
                self.pause(interval)
            if opens and start + size >= len(data):
                self.connection.opens()
                self._open_reader()
            self._writing = memoryview(data)[start : start + size]
            while self._writing:
                self._turn()
        self._holds_posts = False

    def pause(self, seconds: float) -> None:
        """Go on with the connection for a time."""
        end = time.monotonic() + seconds
        while (remaining := end - time.monotonic()) > 0:
            self._turn(remaining)

    def until(self, condition: Callable[[], bool], timeout: float | None, wanted: str) -> None:
        """Go on with the connection until something is so.

        Raises:
            TimeoutError: It was not in time (``None``: no limit).
        """
        end = math.inf if timeout is None else time.monotonic() + timeout
        self._turn(0)  # so that a step repeated for ever gives way to a demand
        while not condition():
            remaining = end - time.monotonic()
            if remaining <= 0:
                raise TimeoutError(f"{wanted}: not within {timeout:g} s; {self.connection!r} sent {self._recent()}")
            self._turn(None if remaining == math.inf else remaining)

    def wait_for_message(self, match: Match, timeout: float) -> None:
        """Go on until the client sends a message, behind the one that was waited for before."""

        def came() -> bool:
            messages = self.connection.messages
            for index in range(self._awaited, len(messages)):
                if fits(messages[index], match):
                    self._awaited = index + 1
                    return True
            return False

        self.until(came, timeout, f"message like {match!r}")

    def wait_at(self, gate: Gate, timeout: float | None) -> None:
        """Go on until the gate is released."""
        gate.reach()
        self.until(lambda: gate.is_released, timeout, f"release of {gate!r}")

    def gate(self, name: str) -> Gate:
        """The server's gate of that name."""
        return self._journal.gate(name)

    def hush(self, gate: Gate | None, *, reads: bool) -> None:
        """Answer nothing, and perhaps read nothing, until a gate is released, or for good."""
        self._reads = reads
        if gate is None:
            self._is_hushed = lambda: True
            self.stay()
        # The gate itself is asked, so that what comes after its release is answered, be it read before this goes on.
        self._is_hushed = lambda: not gate.is_released
        self.wait_at(gate, None)
        self._reads = True

    def stay(self) -> NoReturn:
        """Go on with the connection until it ends."""
        while True:
            self._turn()

    # The end.

    def close(self, code: int, reason: str, timeout: float = _LINGER) -> NoReturn:
        """The closing handshake, begun by the server."""
        self.connection.leaves()
        self.connection.post(encode_frame(CLOSE, close_payload(code, reason)))
        self._close_sent = True
        try:
            self.until(self._is_closed, timeout, "the client's close frame")
        except TimeoutError:
            self.hang_up(Ending.SERVER_FIN, linger=_LINGER, clean=True)
        self.hang_up(Ending.CLOSED, linger=_LINGER, clean=True)

    def _is_closed(self) -> bool:
        done = self._close_sent and self.connection.close_code is not None
        return done and not self._writing and not self.connection.has_posts()

    def _answer_close(self, code: int) -> NoReturn:
        """The closing handshake, begun by the client (RFC 6455 section 5.5.1)."""

        def answer(talk: Conversation) -> None:
            talk.connection.leaves()
            talk._close_sent = True
            talk.write(encode_frame(CLOSE, close_payload(code)))
            talk.hang_up(Ending.CLOSED, linger=_LINGER, clean=True)

        raise Interrupted(answer)

    def _fail(self, violation: Violation) -> NoReturn:
        """Fail the connection (RFC 6455 section 7.1.7)."""

        def fail(talk: Conversation) -> None:
            talk.connection.leaves()
            talk.write(encode_frame(CLOSE, close_payload(violation.code, violation.reason)))
            talk.hang_up(Ending.SERVER_FIN, linger=_LINGER, clean=True)

        raise Interrupted(fail)

    def hang_up(self, ending: Ending, *, linger: float = 0.0, clean: bool = False) -> NoReturn:
        """End the TCP connection with a FIN.

        Args:
            ending: How this is recorded.
            linger: Seconds to wait for the client's FIN. With bytes of the client unread the kernel sends a RST, so
                they are read and thrown away.
            clean: Say goodbye in TLS too.
        """
        self.connection.leaves()
        with contextlib.suppress(OSError, ValueError):
            if clean and isinstance(self._sock, ssl.SSLSocket):
                self._sock.unwrap()
        with contextlib.suppress(OSError):
            # The base class's method: that of SSLSocket forgets its TLS state first.
            socket.socket.shutdown(self._sock, socket.SHUT_WR)
            end = time.monotonic() + linger
            while (remaining := end - time.monotonic()) > 0:
                if self._wait(select.POLLIN, remaining) and not socket.socket.recv(self._sock, _READ_BYTES):
                    break
        raise Over(ending)

    def disconnect(self) -> NoReturn:
        """End the TCP connection with a FIN, as if the server's process had ended."""
        self.hang_up(Ending.SERVER_FIN, linger=_LINGER)

    def reset(self) -> NoReturn:
        """End the TCP connection with a RST."""
        self.connection.leaves()
        self._prepare_reset()
        raise Over(Ending.SERVER_RESET)

    def _prepare_reset(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    # The one place where the thread waits, and what it does then.

    def _wait(self, events: int, timeout: float | None = None) -> int:
        """Wait for the socket, at most ``timeout`` seconds, and return what it is ready for; 0 after a wake-up."""
        demand = self.connection.take_demand()
        if demand is not None:
            raise Interrupted(demand)
        self._poller.register(self._sock, events | _PEER_LEFT)
        ready = dict(self._poller.poll(None if timeout is None else math.ceil(timeout * 1000)))
        waker = self.connection.waker
        if waker.fileno() in ready:
            waker.rest()
        return ready.get(self._sock.fileno(), 0)

    def _turn(self, timeout: float | None = None) -> None:
        """Wait once; read, answer and write what there is."""
        if not self._writing and not self._holds_posts:
            self._writing = memoryview(self.connection.take_posts())
        events = (select.POLLIN if self._reads else 0) | (select.POLLOUT if self._writing else 0)
        ready = self._wait(events, timeout)
        if self._reads and ready & ~select.POLLOUT:
            self._read()
        elif ready & ~(select.POLLIN | select.POLLOUT):
            self._over_by_client(reset=bool(self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)))
        if self._writing:
            self._write_on()

    def _drain(self) -> None:
        while self._writing or self.connection.has_posts():
            self._turn()

    def _read(self) -> None:
        for _ in range(_READS_AT_ONCE):
            try:
                data = self._sock.recv(_READ_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError:
                self._over_by_client(reset=True)
            if not data:
                self._over_by_client(reset=False)
            if self._upgraded:
                self._take(data)
            else:
                self._early += data

    def _write_on(self) -> None:
        try:
            sent = self._sock.send(self._writing)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError:
            self._over_by_client(reset=True)
        self._writing = self._writing[sent:]

    def _over_by_client(self, *, reset: bool) -> NoReturn:
        if self._close_sent and self.connection.close_code is not None:
            raise Over(Ending.CLOSED)
        raise Over(Ending.CLIENT_RESET if reset else Ending.CLIENT_FIN)

    def _open_reader(self) -> None:
        self._upgraded = True
        early, self._early = self._early, b""
        self._take(early)

    def _take(self, data: bytes) -> None:
        for item in self._reader.feed(data):
            if isinstance(item, Violation):
                self._journal.failed(_violated(item, self.connection))
                self._fail(item)
            hushed = self._is_hushed()  # before a test that waits for the item can release the gate
            self.connection.received(item)
            if not hushed:
                self._answer(item)

    def _answer(self, item: Item) -> None:
        match item:
            case Ping():
                self.connection.post(encode_frame(PONG, item.payload))
            case Close() if not self._close_sent:
                self._answer_close(item.code)
            case str() if fits(parsed(item), {"type": "ping"}):
                self.connection.post(frame_of({"type": "pong"}))

    def _recent(self) -> str:
        return ", ".join(repr(message)[:120] for message in self.connection.messages[-5:]) or "no message"


def _violated(violation: Violation, connection: FakeConnection) -> ProtocolError:
    return ProtocolError(
        f"the client of connection {connection.number} broke RFC 6455: {violation.reason}",
        code=violation.code,
        reason=violation.reason,
    )


def _close_half_made(error: BaseException) -> None:
    """Close the TLS socket that has the descriptor already, and that CPython 3.11 forgets (python/cpython#113280)."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for local in frame.f_locals.values():
            if isinstance(local, ssl.SSLSocket):
                local.close()
