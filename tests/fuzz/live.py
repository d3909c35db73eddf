"""Damaged server streams through the whole client, over real sockets: it delivers what was read without one."""

from __future__ import annotations

import contextlib
import socket
import threading

from realtime_client import ConnectError, ConnectionLost, ConnectionState, RealtimeClient
from tests.client.recording import FIRST_FAILURE, PATIENCE, Record, own_threads
from tests.core.test_codec_differential import shape
from tests.fuzz import feed
from tests.fuzz.streams import LIMIT, DamagedStream, Reading, judge
from tests.fuzz.targets import with_accept
from tests.serving import read_head

__all__ = ["Stage", "judge_live"]


class Stage:
    """A server that plays one stream to each who connects, ends its side, and waits for the other's end."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self._listener.getsockname()[1]}/ws"
        self._closed = False
        self._stream: DamagedStream | None = None
        self._thread = threading.Thread(target=self._play, name="stage", daemon=True)
        self._thread.start()

    def put_on(self, stream: DamagedStream) -> None:
        """What whoever connects next is to see."""
        self._stream = stream

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        with contextlib.suppress(OSError):  # end the wait in accept()
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        self._listener.close()

    def _play(self) -> None:
        while not self._closed:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):  # the client may leave at any moment
                connection.settimeout(PATIENCE)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                assert self._stream is not None
                _play_to(connection, self._stream)


def _play_to(connection: socket.socket, stream: DamagedStream) -> None:
    request, _ = read_head(connection)
    wire = with_accept(stream.wire, request)
    at = 0
    for piece in stream.pieces:
        connection.sendall(wire[at : at + len(piece)])
        at += len(piece)
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(4096):
        pass


def judge_live(stage: Stage, stream: DamagedStream) -> Reading:
    """Let a client of its own follow the stream to its end; it gives up there, so that the end can be seen.

    Returns:
        What the stream comes to without a socket, which was delivered just so.
    """
    expected = judge(stream)
    stage.put_on(stream)
    delivered, changes = Record(), Record()
    client = RealtimeClient(
        stage.url,
        name="fuzzed",
        subprotocols=[feed.SUBPROTOCOL],
        max_message_bytes=LIMIT,
        max_pending_bytes=1 << 30,
        **FIRST_FAILURE,
    )
    client.on("*", delivered)
    client.on_status(changes)
    try:
        client.connect(wait=False)
        changes.wait_until(lambda items: items and items[-1].current.state is ConnectionState.FAILED)
        end = client.status.last_error
        malformed = client.metrics().malformed - len(expected.malformed)
    finally:
        client.close()
    assert [shape(event.to_dict() | {"receivedAt": None}) for event in delivered.items] == [
        shape(event.to_dict() | {"receivedAt": None}) for event in expected.events
    ]
    if expected.agreement is None or not expected.end.startswith("refused"):
        assert malformed == (expected.end == "refused with 1007")
    else:  # how the bytes arrived decides which wrong thing was seen first
        assert malformed in (0, 1)
    assert isinstance(end, ConnectError if expected.refusal is not None else ConnectionLost), repr(end)
    assert own_threads(client) == []
    return expected
