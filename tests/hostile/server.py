"""A raw TCP server that does, byte by byte, what a case says; it knows no better and checks nothing.

One thread a connection, which sends and reads at the same time, so that a client is heard while it is flooded.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterable
from typing import Self

import attrs

from realtime_client._core.frames import Close, FrameReader, Violation
from realtime_client._core.handshake import Request, parse_request
from realtime_client.testing.waker import Waker
from tests.hostile.authority import Authority
from tests.hostile.case import Act, Asked, Case, Step, event, upgrade
from tests.serving import read_head

READ_SIZE = 64 * 1024
GREETING_PATIENCE = 20.0
"""Seconds within which a client has to say its first words; a guard against hanging only."""
LEFT = getattr(select, "POLLRDHUP", 0)
"""The client has ended its half, as far as the system can tell that without reading."""
BUSY = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


@attrs.define
class Heard:
    """What the server heard on one connection.

    Attributes:
        request: The client's request, where it was read.
        bytes: How many bytes came after the request.
        close_code: That of the client's close frame, 1005 where it had none; ``None`` without such a frame.
        nonsense: What was wrong with what the client sent after the request.
    """

    request: Request | None = None
    bytes: int = 0
    close_code: int | None = None
    nonsense: str = ""


class StrangerError(Exception):
    """Somebody who asks for no WebSocket: another program's, whose server had this port before."""


class HostileServer:
    """Plays a case: hostile for ``case.turns`` connections, well behaved on those that follow.

    Args:
        case: What to do.
        authority: Whose certificates to show, for cases with TLS.
    """

    def __init__(self, case: Case, authority: Authority) -> None:
        self._case = case
        self._authority = authority
        self._waker = Waker()
        self._stopping = threading.Event()
        self._changed = threading.Condition()  # guards the two lists
        self._heard: list[Heard] = []
        self._over: list[Heard] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._talks: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._accept, name="hostile-server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopping.set()
        self._waker.wake()
        self._thread.join(GREETING_PATIENCE)
        for talk in self._talks:
            talk.join(GREETING_PATIENCE)
        self._listening.close()
        self._waker.close()

    @property
    def url(self) -> str:
        """Where clients go."""
        return f"{'ws' if self._case.security is None else 'wss'}://127.0.0.1:{self.port}/ws"

    @property
    def heard(self) -> list[Heard]:
        """What was heard on each connection so far, in the order in which they came."""
        with self._changed:
            return list(self._heard)

    def wait_for_silence(self, timeout: float) -> bool:
        """Block until the clients have left; whether they have."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._over) == len(self._heard), timeout)

    def _accept(self) -> None:
        poll = select.poll()
        poll.register(self._listening, select.POLLIN)
        poll.register(self._waker, select.POLLIN)
        while not self._stopping.is_set():
            poll.poll()
            if self._stopping.is_set():
                return
            sock = self._listening.accept()[0]
            with self._changed:
                heard = Heard()
                self._heard.append(heard)
                turn = len(self._heard)
            talk = threading.Thread(target=self._talk, args=(sock, heard, turn), name="hostile-talk", daemon=True)
            self._talks.append(talk)
            talk.start()

    def _talk(self, sock: socket.socket, heard: Heard, turn: int) -> None:
        hostile = turn <= self._case.turns
        try:
            sock.settimeout(GREETING_PATIENCE)
            context = self._context(hostile)
            if context is not None:
                sock = context.wrap_socket(sock, server_side=True)
            key, rest = "", b""
            if self._case.waits or not hostile:
                key, rest = self._listen(sock, heard, hears=self._case.hears or not hostile)
            speech = self._case.speech if hostile else well_behaved
            talk = _Talk(sock, heard, self._stopping, polite=self._case.polite or not hostile)
            talk.hear(rest)
            talk.run(speech(Asked(key, self.port)))
        except StrangerError:
            with self._changed:
                self._heard = [known for known in self._heard if known is not heard]
        except OSError:
            pass  # the client left, or the server reset the connection
        finally:
            sock.close()
            with self._changed:
                if any(known is heard for known in self._heard):
                    self._over.append(heard)
                self._changed.notify_all()

    def _context(self, hostile: bool) -> ssl.SSLContext | None:
        security = self._case.security
        if security is None:
            return None
        if not hostile:
            return self._authority.good
        return None if security.context is None else security.context(self._authority)

    @staticmethod
    def _listen(sock: socket.socket, heard: Heard, *, hears: bool) -> tuple[str, bytes]:
        """The key of the client's request, and what came behind it."""
        if not hears:
            sock.recv(READ_SIZE)
            return "", b""
        head, rest = read_head(sock)
        heard.request = parse_request(head)
        key = heard.request.headers.get("Sec-WebSocket-Key")
        if key is None:
            raise StrangerError
        return key, rest


class _Talk:
    """One connection, from the request on."""

    def __init__(self, sock: socket.socket, heard: Heard, stopping: threading.Event, *, polite: bool) -> None:
        self._sock = sock
        self._heard = heard
        self._stopping = stopping
        self._polite = polite
        self._deaf = False
        self._frames = FrameReader(max_message_bytes=READ_SIZE, expect_masked=True)

    def run(self, steps: Iterable[Step]) -> None:
        """Do the steps, hear what comes meanwhile, and wait for the client to leave."""
        self._sock.setblocking(False)
        turns = iter(steps)
        pending = memoryview(b"")
        speaking, quiet_until = True, 0.0
        while not self._stopping.is_set():
            if speaking and not pending and time.monotonic() >= quiet_until:
                step = next(turns, None)
                if isinstance(step, bytes):
                    pending = memoryview(step)
                elif isinstance(step, Act):
                    self._act(step)
                elif step is None:
                    speaking = False
                else:
                    quiet_until = time.monotonic() + step
            if pending:
                with contextlib.suppress(*BUSY):
                    pending = pending[self._sock.send(pending) :]
            if not self._wait(sends=bool(pending), idles=not speaking, until=quiet_until):
                return

    def _act(self, act: Act) -> None:
        if act is Act.DEAF:
            self._deaf = True
        elif act is Act.FIN:
            socket.socket.shutdown(self._sock, socket.SHUT_WR)
        else:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._sock.close()
            raise ConnectionAbortedError("reset")

    def _wait(self, *, sends: bool, idles: bool, until: float) -> bool:
        """Wait until there is something to do, and hear what came; whether the client is still there."""
        poll = select.poll()
        poll.register(self._sock, (LEFT if self._deaf else select.POLLIN) | (select.POLLOUT if sends else 0))
        # Looks at self._stopping ten times a second, which ends a case whose client hangs.
        seconds = 0.1 if sends or idles else min(0.1, max(0.0, until - time.monotonic()))
        for _, what in poll.poll(seconds * 1000):
            if what & (select.POLLERR | select.POLLHUP | LEFT):
                self._hear_all()
                return False
            if what & select.POLLIN:
                return self._hear_all()
        return True

    def _hear_all(self) -> bool:
        """Read what there is; whether the client is still there and the server wants to stay."""
        with contextlib.suppress(*BUSY):
            while True:
                data = self._sock.recv(READ_SIZE)
                if not data:
                    return False
                self.hear(data)
                if self._polite and self._heard.close_code is not None:
                    return False
        return True

    def hear(self, data: bytes) -> None:
        """Take what the client sent."""
        self._heard.bytes += len(data)
        if self._heard.request is None:  # there can be no frames
            return
        for item in self._frames.feed(data):
            if isinstance(item, Close):
                self._heard.close_code = item.code
            elif isinstance(item, Violation):
                self._heard.nonsense = item.reason


def well_behaved(asked: Asked) -> Iterable[Step]:
    """A server as it should be."""
    yield upgrade(asked) + event("again")
