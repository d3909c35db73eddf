r"""A WebSocket server for tests, with every fault of the trade on demand.

It listens on a real socket of the loopback device, in threads of its own. Without a script it is a server that
works: it accepts, greets with ``connection_established``, answers pings of both kinds and the closing handshake.

>>> from realtime_client.testing.server import FakeServer
>>> import websocket                                    # any client will do
>>> with FakeServer() as server:
...     client = websocket.create_connection(server.url)
...     print(client.recv())
...     server.send({"type": "system_alert", "data": {"message": "disk full", "severity": "warning"}})
...     print(client.recv())
...     _ = client.send('{"type": "ping"}')
...     server.wait_for_message({"type": "ping"})
...     client.close()
{"type":"connection_established"}
1
{"type":"system_alert","data":{"message":"disk full","severity":"warning"}}
{'type': 'ping'}

What goes wrong is a script, one list of steps for each connection (see :mod:`realtime_client.testing.script`):

>>> from realtime_client.testing.script import accept, close, refuse, send, wait
>>> with FakeServer(script=[[refuse(503)], [accept(), wait("now"), close(1012, "restart")]]) as server:
...     try:
...         websocket.create_connection(server.url)
...     except websocket.WebSocketBadStatusException as error:
...         print(error.status_code)
...     client = websocket.create_connection(server.url)
...     server.gate("now").release()
...     print(client.recv_data(control_frame=True))
...     client.shutdown()
...     print(len(server.attempts), len(server.connections))
503
(8, b'\x03\xf4restart')
2 1
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

from realtime_client._core.handshake import Request
from realtime_client.testing.connection import (
    Ending,
    FakeConnection,
    FrameKind,
    Match,
    Message,
    ReceivedFrame,
    frame_of,
    nth_fitting,
)
from realtime_client.testing.conversation import Conversation, Interrupted, Over
from realtime_client.testing.journal import Gate, Journal, Poll
from realtime_client.testing.script import Step, checked
from realtime_client.testing.waker import Waker

__all__ = ["Ending", "FakeConnection", "FakeServer", "Gate", "Poll", "PollAnswer", "ReceivedFrame"]

T = TypeVar("T")

_HOST = "127.0.0.1"
_END_TIMEOUT = 5.0
_GREETING = {"type": "connection_established"}

PollAnswer: TypeAlias = (
    Mapping[str, Any] | Sequence[Any] | Callable[[Request], tuple[int, Mapping[str, str], bytes]] | None
)
"""How plain HTTP requests are answered: with this as JSON and status 200; by a function from the request to status,
headers and body, called on the connection's thread; ``None`` with 404."""


class FakeServer:
    """A WebSocket server on the loopback device that does what a test needs, faults included.

    Start it with ``with`` or ``start()``. Every method may be called from any thread. Leaving the ``with`` block
    closes the server, and raises what went wrong in its own threads: ``errors``, as an ``ExceptionGroup``.

    Args:
        port: The port; 0 takes a free one.
        path: The WebSocket's path; a handshake for another is answered with 404, outside of the script.
        script: The steps of each WebSocket handshake, in order of arrival.
        then: The steps of every handshake after those; by default none, that is a server that works.
        ssl_context: Serves ``wss://`` and ``https://`` with this context.
        poll_answer: How plain HTTP requests are answered on the same port, at any path; may be set later.

    Raises:
        TypeError: ``script`` or ``then`` is not made of steps.

    Attributes:
        poll_answer: See above.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        path: str = "/ws",
        script: Sequence[Sequence[Step]] = (),
        then: Sequence[Step] = (),
        ssl_context: ssl.SSLContext | None = None,
        poll_answer: PollAnswer = None,
    ) -> None:
        self.poll_answer = poll_answer
        self._path = path
        self._ssl_context = ssl_context
        self._journal = Journal()
        self._lock = threading.Lock()  # guards the rest
        self._script = [checked(steps, f"script[{index}]") for index, steps in enumerate(script)]
        self._then = checked(then, "then")
        self._port = port
        self._accepted = 0
        self._threads: list[threading.Thread] = []
        self._bound: socket.socket | None = None
        self._acceptor: _Acceptor | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<FakeServer {self._port}{self._path} {'listening' if self._acceptor else 'not listening'}>"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if error is None and self.errors:
            raise ExceptionGroup("the fake server's script or its client failed", self.errors)

    # Life.

    def start(self) -> Self:
        """Listen; nothing if it does already.

        Returns:
            The server itself.

        Raises:
            OSError: The port is taken.
            RuntimeError: The server was closed.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError("the server was closed; make another one")
            if self._acceptor is None:
                sock = self._bound or _bind(self._port)
                self._bound = None
                self._port = sock.getsockname()[1]
                sock.listen(128)
                self._acceptor = _Acceptor(sock, self._welcome)
        return self

    def stop(self) -> None:
        """Cut every connection and refuse new ones, as a server that went away; records and the port are kept.

        Blocks until the server's threads have ended, at most 5 s.
        """
        self._end_threads()

    def restart(self) -> None:
        """Stop, if need be, and listen again on the same port. The script goes on where it was."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop for good and release everything; records can still be read.

        May be called more than once. Blocks until the server's threads have ended, at most 5 s; one that has not
        (a ``poll_answer`` that hangs) is named in ``errors``.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._journal.release_gates()
        self._end_threads()
        with self._lock:
            bound, self._bound = self._bound, None
            stragglers = [thread.name for thread in self._threads if thread.is_alive()]
        if bound is not None:
            bound.close()
        for name in stragglers:
            self._journal.failed(RuntimeError(f"{name} did not end within {_END_TIMEOUT:g} s"))

    def _end_threads(self) -> None:
        deadline = time.monotonic() + _END_TIMEOUT
        with self._lock:
            acceptor, self._acceptor = self._acceptor, None
        if acceptor is not None:
            acceptor.close()
            with self._lock:
                if not self._closed:
                    # Bound but not listening: connections are refused, and nobody else gets the port meanwhile.
                    self._bound = _bind(self._port)
        with self._journal.reading():
            live = tuple(self._journal.live)
        for connection in live:
            connection.demand(lambda talk: talk.hang_up(Ending.SERVER_FIN), also_unopened=True)
        with self._lock:
            threads = tuple(self._threads)
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    # Where it is.

    @property
    def port(self) -> int:
        """The port.

        Raises:
            RuntimeError: The server was given port 0 and never started.
        """
        if not self._port:
            raise RuntimeError("the server has no port before start()")
        return self._port

    @property
    def url(self) -> str:
        """The WebSocket's URL."""
        return f"{'wss' if self._ssl_context else 'ws'}://{_HOST}:{self.port}{self._path}"

    @property
    def poll_url(self) -> str:
        """A URL for plain HTTP."""
        return f"{'https' if self._ssl_context else 'http'}://{_HOST}:{self.port}/poll"

    # What it is to do.

    def add_script(self, *steps: Step) -> None:
        """Add the steps of one more handshake, after those that are scripted already."""
        with self._lock:
            self._script.append(checked(steps, "the script"))

    @property
    def then(self) -> tuple[Step, ...]:
        """The steps of every handshake beyond the script; may be set."""
        with self._lock:
            return self._then

    @then.setter
    def then(self, steps: Sequence[Step]) -> None:
        with self._lock:
            self._then = checked(steps, "then")

    def gate(self, name: str) -> Gate:
        """The gate that ``wait(name)``, ``stall(name)`` and ``go_silent(gate=name)`` wait at; made at first use."""
        return self._journal.gate(name)

    def send(self, message: Message, timeout: float = 5.0) -> int:
        """Send a message to every connection that is open now, after whatever its script is just writing.

        Args:
            message: An event or a mapping (as JSON), ``str`` (a text message) or ``bytes`` (a binary one).
            timeout: Seconds to wait while 4 MiB are queued for a client that does not read.

        Returns:
            How many connections that were; 0 when nobody got it.

        Raises:
            TimeoutError: A client reads too slowly.
        """
        frame = frame_of(message)
        return sum(connection.send_frame(frame, timeout) for connection in self.open_connections)

    def drop(self, *, reset: bool = True) -> tuple[FakeConnection, ...]:
        """Cut every open connection at once, without a close frame; what is still queued is lost.

        Args:
            reset: ``True`` sends a TCP RST, ``False`` a FIN.

        Returns:
            The connections. Their end is not waited for, but none counts as open any more.
        """
        connections = self.open_connections
        for connection in connections:
            connection.drop(reset=reset)
        return connections

    def close_connections(self, code: int = 1000, reason: str = "") -> tuple[FakeConnection, ...]:
        """End every open connection with the closing handshake, after what was sent before.

        Args:
            code: 0 to 65535, sent as it is; 1005 sends a close frame without a code.
            reason: Cut to 123 bytes.

        Returns:
            The connections. Their end is not waited for, but none counts as open any more.
        """
        connections = self.open_connections
        for connection in connections:
            connection.close(code, reason)
        return connections

    # What it has seen.

    @property
    def attempts(self) -> tuple[FakeConnection, ...]:
        """Every TCP connection but the polls, in the order of their requests; one without a request when it ended."""
        with self._journal.reading():
            return tuple(self._journal.attempts)

    @property
    def connections(self) -> tuple[FakeConnection, ...]:
        """The attempts that became a WebSocket, open or ended, in order."""
        with self._journal.reading():
            return tuple(self._journal.connections)

    @property
    def open_connections(self) -> tuple[FakeConnection, ...]:
        """The WebSockets that are open."""
        return tuple(connection for connection in self.connections if connection.is_open)

    @property
    def max_open(self) -> int:
        """The most WebSockets that were open at one time, those excepted whose client had left."""
        with self._journal.reading():
            return self._journal.max_open

    @property
    def messages(self) -> tuple[Any, ...]:
        """What all clients sent in text and binary messages, in order: parsed where text is JSON, else as it came."""
        with self._journal.reading():
            return tuple(self._journal.messages)

    @property
    def polls(self) -> tuple[Poll, ...]:
        """Every plain HTTP request, in order."""
        with self._journal.reading():
            return tuple(self._journal.polls)

    @property
    def errors(self) -> tuple[Exception, ...]:
        """What went wrong in the server's threads: a step that failed, a client that broke RFC 6455 or HTTP.

        A client that goes away is none. An error's notes say at which connection and step it arose.
        """
        with self._journal.reading():
            return tuple(self._journal.errors)

    def wait_for_connection(self, n: int = 1, timeout: float = 5.0) -> FakeConnection:
        """Block until a WebSocket was opened.

        Args:
            n: Which one, from 1, those counted that have ended.
            timeout: Seconds.

        Returns:
            The n-th of ``connections``.

        Raises:
            TimeoutError: There were fewer; the message tells what was seen.
        """
        return self._wait_for(lambda: self.connections, n, timeout, "connection")[n - 1]

    def wait_for_attempts(self, n: int, timeout: float = 5.0) -> tuple[FakeConnection, ...]:
        """Block until so many attempts were made.

        Args:
            n: How many, from the beginning.
            timeout: Seconds.

        Returns:
            ``attempts``, of which there may be more by now.

        Raises:
            TimeoutError: There were fewer; the message tells what was seen.
        """
        return self._wait_for(lambda: self.attempts, n, timeout, "attempt")

    def wait_for_polls(self, n: int, timeout: float = 5.0) -> tuple[Poll, ...]:
        """Block until so many polls were made; the last may not be answered yet.

        Args:
            n: How many, from the beginning.
            timeout: Seconds.

        Returns:
            ``polls``, of which there may be more by now.

        Raises:
            TimeoutError: There were fewer; the message tells what was seen.
        """
        return self._wait_for(lambda: self.polls, n, timeout, "poll")

    def wait_for_message(self, match: Match, timeout: float = 5.0, n: int = 1) -> Any:
        """Block until any client has sent a message, from the beginning.

        Args:
            match: A mapping fits every message that has its items (nested ones too), text and bytes fit their
                equal, a callable says so itself.
            timeout: Seconds.
            n: Which of those that fit, from 1.

        Returns:
            The message, as in ``messages``.

        Raises:
            TimeoutError: There was none; the message tells what was seen.
        """
        look = lambda: nth_fitting(self.messages, match, n)  # noqa: E731
        return self._journal.wait(look, timeout, f"message {n} like {match!r}")[0]

    def wait_for_frame(self, kind: FrameKind, timeout: float = 5.0, n: int = 1) -> ReceivedFrame:
        """Block until any client has sent a frame of a kind, from the beginning.

        Args:
            kind: ``"text"``, ``"binary"``, ``"ping"``, ``"pong"`` or ``"close"``.
            timeout: Seconds.
            n: Which one of that kind, from 1.

        Raises:
            TimeoutError: There was none; the message tells what was seen.
        """

        def frames() -> tuple[ReceivedFrame, ...]:
            all_frames = (frame for connection in self.connections for frame in connection.frames)
            return tuple(sorted((f for f in all_frames if f.kind == kind), key=lambda frame: frame.at))

        return self._wait_for(frames, n, timeout, f"{kind} frame")[n - 1]

    def wait_for_closed(self, connection: FakeConnection, timeout: float = 5.0) -> Ending:
        """Block until a connection has ended and its socket is closed.

        Args:
            connection: One of ``attempts`` or ``connections``.
            timeout: Seconds.

        Returns:
            How it ended.

        Raises:
            TimeoutError: It has not.
        """
        return connection.wait_closed(timeout)

    def _wait_for(self, records: Callable[[], tuple[T, ...]], n: int, timeout: float, what: str) -> tuple[T, ...]:
        def look() -> tuple[T, ...] | None:
            found = records()
            return found if len(found) >= n else None

        return self._journal.wait(look, timeout, f"{what} {n}")

    # What its threads do.

    def _welcome(self, sock: socket.socket) -> None:
        """Give a new TCP connection its thread."""
        with self._lock:
            self._accepted += 1
            number = self._accepted
        connection = FakeConnection(number, sock, self._journal)
        with self._journal.reading():
            self._journal.live.append(connection)
        talk = Conversation(sock, connection, self._journal)
        name = f"fake-server-connection-{number}"
        thread = threading.Thread(target=self._serve, args=(talk,), name=name, daemon=True)
        with self._lock:
            self._threads = [known for known in self._threads if known.is_alive()]
            thread.start()
            self._threads.append(thread)

    def _serve(self, talk: Conversation) -> None:
        is_poll = False

        def life(talk: Conversation) -> None:
            nonlocal is_poll
            if self._ssl_context is not None:
                talk.start_tls(self._ssl_context)
            request = self._read_request(talk)
            upgrades = "websocket" in (token.lower() for token in request.headers.tokens_of("Upgrade"))
            if upgrades:
                self._follow_script(talk, request)
            else:
                is_poll = True
                self._answer_poll(talk, request)

        talk.run(life)
        with self._journal.reading():
            self._journal.live.remove(talk.connection)
        if not is_poll:
            self._journal.attempted(talk.connection)

    def _read_request(self, talk: Conversation) -> Request:
        try:
            return talk.read_request()
        except ValueError as error:
            error.add_note(f"in the request of connection {talk.connection.number}")
            self._journal.failed(error)
            talk.refuse(400, (), b"")

    def _follow_script(self, talk: Conversation, request: Request) -> None:
        connection = talk.connection
        connection.asked(request)
        if request.path != self._path:
            self._journal.attempted(connection)
            talk.refuse(404, (), b"")
        with self._lock:
            steps = self._script.pop(0) if self._script else self._then
        self._journal.attempted(connection)
        for step in steps:
            try:
                step.run(talk)
            except (Over, Interrupted):
                raise
            except Exception as error:
                error.add_note(f"in the step {step.name} of connection {connection.number}")
                raise
        if not talk.upgraded:
            talk.accept(greeting=_GREETING)
        talk.stay()

    def _answer_poll(self, talk: Conversation, request: Request) -> None:
        with self._journal.changing():
            self._journal.polls.append(Poll(request, time.monotonic()))
        answer = self.poll_answer
        if answer is None:
            talk.refuse(404, (), b"")
        if not callable(answer):
            talk.refuse(200, (("Content-Type", "application/json"),), json.dumps(answer).encode())
        try:
            status, headers, body = answer(request)
        except Exception as error:  # noqa: BLE001 - what the test's function raises is for the test to see
            error.add_note(f"in poll_answer for {request.path}")
            self._journal.failed(error)
            talk.refuse(500, (), b"")
        talk.refuse(status, tuple(headers.items()), body)


class _Acceptor:
    """The thread that accepts."""

    def __init__(self, sock: socket.socket, welcome: Callable[[socket.socket], None]) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._welcome = welcome
        self._waker = Waker()
        self._closing = False  # written before the waker is used, read after
        self._thread = threading.Thread(target=self._run, name="fake-server-accept", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and close the socket."""
        self._closing = True
        self._waker.wake()
        self._thread.join(_END_TIMEOUT)

    def _run(self) -> None:
        poller = select.poll()
        poller.register(self._sock, select.POLLIN)
        poller.register(self._waker.fileno(), select.POLLIN)
        with self._sock, contextlib.closing(self._waker):
            while not self._closing:
                poller.poll()
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    self._welcome(self._sock.accept()[0])


def _bind(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # A stopped server's connections linger in the kernel; they must not keep it from its own port.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((_HOST, port))
    except OSError:
        sock.close()
        raise
    return sock
