"""A TCP proxy on the loopback device that does to connections what networks do, while they run.

One thread moves the bytes of all connections. Each direction has its toxics (latency, bandwidth, tiny segments, a
black hole), which hold for connections that are open and for those to come; a connection may be planned to be cut
after so many bytes; and all that are open can be reset, ended or closed by half at any moment.
"""

from __future__ import annotations

import contextlib
import enum
import fcntl
import math
import queue
import random
import selectors
import socket
import struct
import termios
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self, TypeAlias, TypeVar

import attrs

T = TypeVar("T")
Way: TypeAlias = Literal["fin", "rst"]

HOST = "127.0.0.1"
PATIENCE = 30.0
"""Seconds that a call waits for the proxy's thread, which never takes long."""
REMEMBERED = 10_000
READ_BYTES = 64 * 1024
HELD_BYTES = 256 * 1024
"""So much is taken from a sender that is faster than its direction; the rest waits in the kernel's buffers."""
BURST = 0.02
"""Seconds of a limited bandwidth that go at once."""
ACK_CHECK = 0.0005
"""Seconds between two looks at whether the kernel on the other side has all bytes, before a reset."""
ACK_PATIENCE = 1.0
"""Seconds after which it is taken to be gone."""


class Direction(enum.Enum):
    """Which way bytes go."""

    TO_CLIENT = "server to client"
    TO_SERVER = "client to server"


BOTH = (Direction.TO_CLIENT, Direction.TO_SERVER)


@attrs.frozen(kw_only=True)
class Toxics:
    """What one direction does to bytes. Their order never changes, as with TCP.

    Attributes:
        latency: Seconds by which everything is late.
        jitter: Up to so many seconds more, at random.
        bytes_per_second: The bandwidth; ``None`` for no limit.
        slice_bytes: The most that is written at once, each as a segment of its own; ``None`` for no limit.
        slice_delay: Seconds between two slices.
        black_hole: Nothing arrives any more, no FIN and no RST either. When that is over what was sent arrives, as
            it does after TCP's retransmissions.
    """

    latency: float = 0.0
    jitter: float = 0.0
    bytes_per_second: float | None = None
    slice_bytes: int | None = None
    slice_delay: float = 0.0
    black_hole: bool = False


HEALTHY = Toxics()


@attrs.frozen
class Cut:
    """A connection's planned end: after so many bytes in one direction, and not before they have arrived.

    Attributes:
        after: Bytes that arrive.
        by: ``"fin"`` as if the server's process had ended, ``"rst"`` as a crashed machine or a firewall does.
        direction: Whose bytes are counted. It is the client who sees the FIN or RST.
    """

    after: int
    by: Way = "rst"
    direction: Direction = Direction.TO_CLIENT


class FaultProxy:
    """Stands between a client and a server, both on the loopback device. Every method may be called from any thread.

    Args:
        to: The server's port; may be set later, for the connections to come.
        seed: For the jitter.
        listening: Where clients are accepted instead, such as a socket of another network namespace.

    Attributes:
        port: Where the client connects.
        accepted_at: When the latest connections came, ``time.monotonic()`` seconds.
    """

    def __init__(self, to: int, *, seed: int = 0, listening: socket.socket | None = None) -> None:
        self.to = to
        self.random = random.Random(seed)
        self.toxics = dict.fromkeys(BOTH, HEALTHY)
        self.plans: deque[Cut] = deque()
        self.accepted_at: deque[float] = deque(maxlen=REMEMBERED)
        self._changed = threading.Condition()  # guards what others wait for, which the proxy's thread alone writes
        self._open: set[_Connection] = set()
        self._accepted = 0
        self._carried = dict.fromkeys(BOTH, 0)
        self._calls: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._listening = listening or socket.create_server((HOST, 0), backlog=128)
        self._listening.setblocking(False)
        self._host, self.port = self._listening.getsockname()[:2]
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self._listening, selectors.EVENT_READ, self._accept)
        self.selector.register(self._woken, selectors.EVENT_READ, self._obey)
        self._running = True
        self._thread = threading.Thread(target=self._run, name=f"fault-proxy-{self.port}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Reset what is open, and end."""
        self._calls.put(None)
        self._waker.send(b"x")
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            raise RuntimeError(f"{self._thread.name} did not end")
        self._woken.close()
        self._waker.close()

    # What a test asks for

    def url(self, path: str = "/ws", scheme: str = "ws") -> str:
        """A URL that leads through the proxy."""
        return f"{scheme}://{self._host}:{self.port}{path}"

    def set(self, toxics: Toxics, *directions: Direction) -> None:
        """Let directions (both by default) have these toxics and no other, from now on."""
        self._do(lambda: self.toxics.update(dict.fromkeys(directions or BOTH, toxics)))

    def heal(self) -> None:
        """No toxics, and no planned cuts."""
        self.set(HEALTHY)
        self._do(self.plans.clear)

    def plan(self, *cuts: Cut) -> None:
        """Cut the connections to come, one after the other, in this way."""
        self._do(lambda: self.plans.extend(cuts))

    def cut(self, by: Way = "rst") -> int:
        """End every open connection now. What is held back is lost.

        Returns:
            How many that were.
        """

        def cut() -> int:
            connections = tuple(self._open)
            for connection in connections:
                connection.cut(by)
            return len(connections)

        return self._do(cut)

    def half_close(self, direction: Direction) -> int:
        """Send a FIN in one direction on every open connection, behind what has arrived; the other stays as it is.

        Returns:
            How many that were.
        """

        def half_close() -> int:
            connections = tuple(self._open)
            for connection in connections:
                connection.pipes[direction].finish()
            return len(connections)

        return self._do(half_close)

    @property
    def accepted(self) -> int:
        """Connections so far."""
        with self._changed:
            return self._accepted

    @property
    def open(self) -> int:
        """Connections now."""
        return self._do(lambda: len(self._open))

    def carried(self, direction: Direction) -> int:
        """Bytes of all connections that have gone in a direction."""
        with self._changed:
            return self._carried[direction]

    def wait_for_accepted(self, count: int, timeout: float = PATIENCE) -> None:
        """Block until there were so many connections."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._accepted >= count, timeout):
                raise TimeoutError(f"{self._accepted} connections within {timeout:g} s, not {count}")

    def wait_for_open(self, count: int, timeout: float = PATIENCE) -> None:
        """Block until there are exactly so many connections."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._open) == count, timeout):
                raise TimeoutError(f"{len(self._open)} connections after {timeout:g} s, not {count}")

    def wait_for_carried(self, direction: Direction, count: int, timeout: float = PATIENCE) -> None:
        """Block until so many bytes have gone in a direction."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._carried[direction] >= count, timeout):
                raise TimeoutError(f"{self._carried[direction]} bytes within {timeout:g} s, not {count}")

    def _do(self, call: Callable[[], T]) -> T:
        """Let the proxy's thread do something, and wait for it."""
        results: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._calls.put(lambda: results.put(call()))
        self._waker.send(b"x")
        try:
            return results.get(timeout=PATIENCE)
        except queue.Empty:
            raise RuntimeError(f"{self._thread.name} does not answer") from None

    # The proxy's thread

    def _run(self) -> None:
        while self._running:
            now = time.monotonic()
            due = min((connection.turn(now) for connection in tuple(self._open)), default=math.inf)
            timeout = None if due == math.inf else max(0.0, due - time.monotonic())
            for key, events in self.selector.select(timeout):
                key.data(events)
        for connection in tuple(self._open):
            connection.cut("rst")
        self.selector.close()
        self._listening.close()

    def _obey(self, _events: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(READ_BYTES)
        with contextlib.suppress(queue.Empty):
            while True:
                call = self._calls.get_nowait()
                if call is None:
                    self._running = False
                else:
                    call()

    def _accept(self, _events: int) -> None:
        try:
            client = self._listening.accept()[0]
        except OSError:
            return  # it has left already
        try:
            server = socket.create_connection((HOST, self.to), timeout=PATIENCE)
        except OSError:
            _close(client, reset=True)
        else:
            plan = self.plans.popleft() if self.plans else None
            connection = _Connection(self, client, server, plan)
            with self._changed:
                self._open.add(connection)
        with self._changed:
            self.accepted_at.append(time.monotonic())
            self._accepted += 1
            self._changed.notify_all()

    def forget(self, connection: _Connection) -> None:
        """It has ended; on the proxy's thread."""
        with self._changed:
            self._open.discard(connection)
            self._changed.notify_all()

    def count(self, direction: Direction, sent: int) -> None:
        """So many bytes went; on the proxy's thread."""
        with self._changed:
            self._carried[direction] += sent
            self._changed.notify_all()


class _Connection:
    """Two sockets and a pipe for each direction; of the proxy's thread."""

    def __init__(self, proxy: FaultProxy, client: socket.socket, server: socket.socket, plan: Cut | None) -> None:
        self._proxy = proxy
        self.sockets = (client, server)
        self.pipes = {
            Direction.TO_CLIENT: _Pipe(proxy, self, Direction.TO_CLIENT, source=server, sink=client, plan=plan),
            Direction.TO_SERVER: _Pipe(proxy, self, Direction.TO_SERVER, source=client, sink=server, plan=plan),
        }
        self._wanted = dict.fromkeys(self.sockets, 0)
        self._ending = False
        for sock in self.sockets:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def turn(self, now: float) -> float:
        """Move what can be moved; returns when there is more to do without an event."""
        due = math.inf
        for pipe in self.pipes.values():
            if not self.is_closed:
                due = min(due, pipe.turn(now))
        if not self.is_closed and all(pipe.finished for pipe in self.pipes.values()):
            self._end(reset=False)
        if not self.is_closed:
            self._listen()
        return math.inf if self.is_closed else due

    @property
    def is_closed(self) -> bool:
        return self.sockets[0].fileno() == -1

    def cut(self, by: Way) -> None:
        """End it, as the client is to see it; the server sees a RST."""
        if by == "rst" or self._ending:
            self._end(reset=True)
            return
        # A socket that is closed with unread bytes sends a RST: read until the client has closed its end.
        self._ending = True
        server = self.sockets[1]
        self._unlisten(server)
        _close(server, reset=True)
        self.pipes[Direction.TO_CLIENT].finish()
        self.pipes[Direction.TO_SERVER].discard()

    def broken(self, sock: socket.socket) -> None:
        """One side has reset: so is the other, unless nothing arrives there."""
        direction = Direction.TO_SERVER if sock is self.sockets[0] else Direction.TO_CLIENT
        if not self._proxy.toxics[direction].black_hole or self._ending:
            self._end(reset=True)
        else:
            self.pipes[direction].breaks = True

    def _end(self, *, reset: bool) -> None:
        for sock in self.sockets:
            self._unlisten(sock)
            _close(sock, reset=reset)
        self._proxy.forget(self)

    def _listen(self) -> None:
        wanted = dict.fromkeys(self.sockets, 0)
        for pipe in self.pipes.values():
            if pipe.wants_to_read:
                wanted[pipe.source] |= selectors.EVENT_READ
            if pipe.wants_to_write:
                wanted[pipe.sink] |= selectors.EVENT_WRITE
        for sock, events in wanted.items():
            if events == self._wanted[sock] or sock.fileno() == -1:
                continue
            if not self._wanted[sock]:
                self._proxy.selector.register(sock, events, self._ready(sock))
            elif events:
                self._proxy.selector.modify(sock, events, self._ready(sock))
            else:
                self._proxy.selector.unregister(sock)
            self._wanted[sock] = events

    def _unlisten(self, sock: socket.socket) -> None:
        if self._wanted[sock]:
            self._proxy.selector.unregister(sock)
            self._wanted[sock] = 0

    def _ready(self, sock: socket.socket) -> Callable[[int], None]:
        def ready(events: int) -> None:
            for pipe in self.pipes.values():
                if pipe.source is sock and events & selectors.EVENT_READ and not self.is_closed:
                    pipe.read()
                if pipe.sink is sock and events & selectors.EVENT_WRITE:
                    pipe.wants_to_write = False

        return ready


class _Pipe:
    """One direction of a connection; of the proxy's thread."""

    def __init__(
        self,
        proxy: FaultProxy,
        connection: _Connection,
        direction: Direction,
        *,
        source: socket.socket,
        sink: socket.socket,
        plan: Cut | None,
    ) -> None:
        self._proxy = proxy
        self._connection = connection
        self._direction = direction
        self.source = source
        self.sink = sink
        self._cut = plan if plan is not None and plan.direction is direction else None
        self._cut_by = math.inf  # when a cut that is due does not wait any longer
        self._sent = 0
        self._held: deque[tuple[float, bytes]] = deque()
        self._held_bytes = 0
        self._due = 0.0  # when the newest of the held bytes arrive
        self._not_before = 0.0  # when the bandwidth allows the next
        self._ended = False  # the source has sent its FIN
        self._discards = False
        self.finished = False
        self.breaks = False  # the source was reset, which the black hole hides
        self.wants_to_write = False

    @property
    def _toxics(self) -> Toxics:
        return self._proxy.toxics[self._direction]

    @property
    def wants_to_read(self) -> bool:
        if self._ended or self.breaks:
            return False
        return self._discards or (not self._toxics.black_hole and self._held_bytes < HELD_BYTES)

    def read(self) -> None:
        try:
            data = self.source.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._connection.broken(self.source)
            return
        if not data:
            self._ended = True
        if self._discards:
            self.finished = self.finished or self._ended
            return
        toxics = self._toxics
        late = toxics.latency + self._proxy.random.uniform(0, toxics.jitter)
        self._due = max(self._due, time.monotonic() + late)
        self._held.append((self._due, data))  # an empty one is the FIN
        self._held_bytes += len(data)

    def finish(self) -> None:
        """Send a FIN, and throw away what comes from now on."""
        self._held.clear()
        self._shut()
        self.discard()

    def discard(self) -> None:
        """Throw away what comes, until its end."""
        self._discards = True
        self._held.clear()
        self.finished = self.finished or self._ended or self.source.fileno() == -1

    def turn(self, now: float) -> float:
        """Write what may be written; returns when there is more to do, if nothing else happens."""
        if self._toxics.black_hole:
            return math.inf
        if self.breaks:
            self._connection.broken(self.source)
            return math.inf
        while not self.wants_to_write:
            if self._cut is not None and self._sent >= self._cut.after:
                return self._cut_now(now)
            if not self._held:
                return math.inf
            due, data = self._held[0]
            due = max(due, self._not_before)
            if due > now:
                return due
            if not data:
                self._held.popleft()
                self._shut()
                self.finished = True
            elif not self._write(now, data):
                return math.inf
        return math.inf

    def _write(self, now: float, data: bytes) -> bool:
        toxics = self._toxics
        most = len(data) if toxics.slice_bytes is None else toxics.slice_bytes
        if toxics.bytes_per_second is not None:
            most = min(most, max(1, int(toxics.bytes_per_second * BURST)))
        if self._cut is not None:
            most = min(most, self._cut.after - self._sent)
        try:
            sent = self.sink.send(data[:most])
        except BlockingIOError:
            self.wants_to_write = True
            return True
        except OSError:
            self._connection.broken(self.sink)
            return False
        self._sent += sent
        self._held_bytes -= sent
        if sent == len(data):
            self._held.popleft()
        else:
            self._held[0] = (self._held[0][0], data[sent:])
        if toxics.bytes_per_second is not None:
            self._not_before = max(self._not_before, now) + sent / toxics.bytes_per_second
        if toxics.slice_delay:
            self._not_before = max(self._not_before, now + toxics.slice_delay)
        self._proxy.count(self._direction, sent)
        return True

    def _cut_now(self, now: float) -> float:
        assert self._cut is not None
        self._cut_by = min(self._cut_by, now + ACK_PATIENCE)
        if self._cut.by == "rst" and _on_the_way(self.sink) and now < self._cut_by:
            return now + ACK_CHECK
        by, self._cut = self._cut.by, None
        self._connection.cut(by)
        return math.inf

    def _shut(self) -> None:
        with contextlib.suppress(OSError):
            self.sink.shutdown(socket.SHUT_WR)


def _on_the_way(sock: socket.socket) -> int:
    """Bytes that the kernel on the other side has not acknowledged; none where our end is closed."""
    if sock.fileno() == -1:
        return 0
    answer: bytes = fcntl.ioctl(sock, termios.TIOCOUTQ, struct.pack("i", 0))
    return int(struct.unpack("i", answer)[0])


def _close(sock: socket.socket, *, reset: bool) -> None:
    if reset:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
