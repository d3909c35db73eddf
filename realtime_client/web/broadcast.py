"""One picture of one process's client, encoded once for all pages.

A thread of its own waits for the store and the connection to change and makes a *frame* of each difference; frames are
numbered and the last ones are kept. A stream is a cursor into them: it waits for its bell and takes what is behind the
cursor. So fifty pages cost one encoding, a slow page costs no memory, and one that lost its connection goes on where it
was. Neither the client's callbacks nor the pages can hold one another up. The thread lives while there are streams.
"""

from __future__ import annotations

import secrets
import threading
import weakref
from collections import deque
from collections.abc import Callable
from itertools import islice

from realtime_client import DashboardSnapshot, RealtimeClient, RealtimeError, Subscription
from realtime_client.web.changes import Picture, difference, status_alone, whole
from realtime_client.web.event_stream import encode_event

__all__ = ["Broadcast", "Cursor", "HouseIsFull"]

SPACING = 0.1
"""Seconds between two frames; what changes in between is one frame."""
WIDEST_SPACING = 0.5
"""The same after a large frame: nobody reads hundreds of new rows ten times a second, and browsers fall behind."""
BYTES_A_SECOND = 200_000
"""What a page can well take; a frame is large if it is more than that for the usual spacing."""
FRAMES = 512
"""Frames kept for those that come back."""
FRAME_BYTES = 2 * 1024 * 1024
"""Bytes of frames kept."""


class HouseIsFull(Exception):
    """There are as many streams as there may be."""


class Cursor:
    """How far one stream has got. Touched by the broadcast, under its lock.

    Args:
        ring: Called when there may be something to take, on the broadcast's thread; must not block.
        position: The number of the last frame that the page has, or ``None`` for a page that has nothing.
        returning: Whether the page had something before; what it then gets whole is called a reset.
    """

    def __init__(self, ring: Callable[[], object], position: int | None, *, returning: bool) -> None:
        self.ring = ring
        self.position = position
        self.returning = returning
        self.told = -1  # the newest frame of which at least the status was told
        self.ended = False


class Broadcast:
    """Makes the frames of one client, in one process.

    Args:
        client: The client; whoever opens a stream has asked it to connect.
        max_streams: Streams at one time.
    """

    def __init__(self, client: RealtimeClient, *, max_streams: int) -> None:
        self.client = client
        self._max_streams = max_streams
        self._epoch = secrets.token_urlsafe(6)  # another one in each process, and after each restart
        self._on_status: Subscription | None = None
        self._pause = threading.Event()  # set to end the spacing early; cleared by the thread
        # Guards everything below. Encoding happens under it only for a picture as a whole, once for each frame.
        self._lock = threading.Lock()
        self._cursors: set[Cursor] = set()
        self._following = False  # whether the thread runs
        self._asked = False  # whether it is to look again, whatever it found
        self._picture: Picture | None = None
        self._number = 0  # of the newest frame
        self._frames: deque[bytes] = deque()  # those numbered up to _number, without a break
        self._bytes = 0
        self._whole: dict[str, bytes] = {}  # the picture as it is, by the event's name

    @property
    def streams(self) -> int:
        """How many streams there are."""
        return len(self._cursors)

    def join(self, last_event_id: str | None, ring: Callable[[], object]) -> Cursor:
        """Begin a stream. Never blocks.

        Args:
            last_event_id: The id of the last event that the page has, if any.
            ring: See `Cursor`.

        Raises:
            HouseIsFull: There is no room.
        """
        with self._lock:
            if len(self._cursors) >= self._max_streams:
                raise HouseIsFull
            cursor = Cursor(ring, self._read_id(last_event_id), returning=bool(last_event_id))
            self._cursors.add(cursor)
        self._follow()
        return cursor

    def leave(self, cursor: Cursor) -> None:
        """End a stream; idempotent, never blocks."""
        with self._lock:
            cursor.ended = True
            self._cursors.discard(cursor)
            idle = not self._cursors
        if idle:
            self._pause.set()
            self.client.store.wake()  # the thread looks, and ends

    def end(self) -> None:
        """End every stream, as a server does that is about to stop."""
        with self._lock:
            ended, self._cursors = self._cursors, set()
            for cursor in ended:
                cursor.ended = True
        for cursor in ended:
            cursor.ring()
        self._pause.set()
        self.client.store.wake()

    def take(self, cursor: Cursor) -> bytes | None:
        """What is new for a stream: some bytes, none yet, or ``None`` where it has ended. Never blocks."""
        with self._lock:
            if cursor.ended:
                return None
            if self._picture is None or cursor.position == self._number:
                return b""
            if cursor.position is None and cursor.returning and self._picture.snapshot.version == 0:
                # As after a restart: this process has heard nothing yet. What the page shows is old, and better than
                # nothing, which would only make it flicker.
                told, cursor.told = cursor.told, self._number
                return b"" if told == self._number else encode_event("change", status_alone(self._picture))
            position, cursor.position = cursor.position, self._number
            first = self._number - len(self._frames)
            if position is not None and position >= first:
                return b"".join(islice(self._frames, position - first, None))
            return self._encoded_whole("reset" if cursor.returning or position is not None else "snapshot")

    def _encoded_whole(self, name: str) -> bytes:
        assert self._picture is not None
        if name not in self._whole:
            self._whole[name] = encode_event(name, whole(self._picture), f"{self._epoch}-{self._number}")
        return self._whole[name]

    def _read_id(self, event_id: str | None) -> int | None:
        """The frame that an id of ours stands for; ``None`` for another process's, or for no id at all."""
        epoch, _, number = (event_id or "").rpartition("-")
        if epoch != self._epoch or not (number.isascii() and number.isdecimal() and len(number) <= 18):
            return None
        return int(number) if int(number) <= self._number else None

    # The thread

    def _follow(self) -> None:
        """See to it that the thread runs, if there are streams, and that it looks once more."""
        with self._lock:
            self._asked = True
            if self._following or not self._cursors:
                return
            self._following = True
        try:
            threading.Thread(target=self._run, name=f"rtc-{self.client.config.name}-pages", daemon=True).start()
        except RuntimeError:  # the interpreter is about to end
            self._following = False

    def _run(self) -> None:
        try:
            self._make_frames()
        except BaseException:
            # Whatever it was: heartbeats alone must not call a page live. It comes back, and this begins anew.
            self._following = False
            self.end()
            raise

    def _make_frames(self) -> None:
        if self._on_status is None:
            # A weak reference: a client whose callback refers to it would not be collected.
            self._on_status = self.client.on_status(_call_weakly(weakref.WeakMethod(self._follow)))
        store, hopeful = self.client.store, True
        while True:
            with self._lock:
                self._asked = False
            picture = Picture(store.snapshot(), self.client.status)
            size = self._publish(picture)
            # Before the look at the cursors, and by this thread alone: whoever leaves after it ends the spacing, and
            # one that leaves just as another comes ends one spacing and not all that follow.
            self._pause.clear()
            with self._lock:
                # While the client is closed or has given up, nobody can wait for its store. This thread then ends, and
                # the first word of a new connection starts it again.
                if not self._cursors or not (hopeful or self._asked):
                    self._following = False
                    return
            self._pause.wait(min(WIDEST_SPACING, max(SPACING, size / BYTES_A_SECOND)))
            try:
                store.wait_for(lambda snapshot, seen=picture: self._has_news(snapshot, seen))  # type: ignore[misc]
                hopeful = True
            except RealtimeError:
                hopeful = False  # one look more, at the end that this is

    def _has_news(self, snapshot: DashboardSnapshot, seen: Picture) -> bool:
        return (
            snapshot.version != seen.snapshot.version
            or not self._cursors
            or difference(seen, Picture(seen.snapshot, self.client.status)) != {}
        )

    def _publish(self, picture: Picture) -> int:
        """Make a frame of what has changed, and ring every bell; returns the frame's bytes."""
        before = self._picture  # written by this thread alone
        changed = {} if before is None else difference(before, picture)
        if before is not None and not changed:
            return 0
        frame = encode_event("change", changed, f"{self._epoch}-{self._number + 1}") if before is not None else b""
        with self._lock:
            self._picture = picture
            self._whole = {}
            if frame:
                self._number += 1
                self._frames.append(frame)
                self._bytes += len(frame)
                while len(self._frames) > FRAMES or self._bytes > FRAME_BYTES:
                    self._bytes -= len(self._frames.popleft())
            cursors = tuple(self._cursors)
        for cursor in cursors:
            cursor.ring()
        return len(frame)


def _call_weakly(method: weakref.WeakMethod[Callable[[], None]]) -> Callable[[object], None]:
    def call(_: object) -> None:
        if (alive := method()) is not None:
            alive()

    return call
