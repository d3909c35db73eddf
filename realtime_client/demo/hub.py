"""What all connections of the feed share: the figures, the history, and an outbox for each client."""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

from realtime_client._core.frames import CLOSE, TEXT, close_payload, encode_frame

__all__ = ["CLOSE_GRACE_SECONDS", "Hub", "Kept", "Outbox", "Snapshot", "moment_of"]

TRY_AGAIN_LATER = 1013
CLOSE_GRACE_SECONDS = 2.0

Message = Mapping[str, Any]


@attrs.frozen
class Kept:
    """A message of the history, with what it is asked for by: its time, ``None`` if it tells none, and its frame."""

    message: Message
    moment: datetime | None
    frame: bytes


@attrs.frozen
class Snapshot:
    """The feed at one moment: the figures, and the last anomalies and alerts, oldest first."""

    stats: Mapping[str, Any]
    stats_at: str
    anomalies: tuple[Kept, ...]
    alerts: tuple[Kept, ...]


class Outbox:
    """What waits to be written to one client. Made by :meth:`Hub.join`; its writer thread takes, anybody puts.

    It is bounded. A client that is so slow that its outbox fills up loses what waits in it and is closed with 1013,
    try again later: it may connect again and is told the present anew.
    """

    def __init__(self, lock: threading.Lock, room: threading.Condition, max_messages: int, max_bytes: int) -> None:
        # The hub's lock, so that a message is in the history and in every outbox, or in neither.
        # It guards every attribute below.
        self._changed = threading.Condition(lock)
        self._room = room  # of the same lock: somebody may wait for less to wait here
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._finishing_until: float | None = None
        self._ended = False

    def put(self, frame: bytes) -> None:
        """Append one frame. Never blocks; past the bound, or after the last frame, it is not taken."""
        with self._changed:
            self.put_locked([frame], len(frame))

    def put_locked(self, frames: Iterable[bytes], size: int) -> None:
        """Append frames of ``size`` bytes in all; the caller holds the hub's lock."""
        if self._finishing_until is not None or self._ended:
            return
        self._frames.extend(frames)
        self._bytes += size
        if len(self._frames) > self._max_messages or self._bytes > self._max_bytes:
            self.drop_locked()
        self._changed.notify()

    def drop_locked(self) -> None:
        """Discard what waits, and close the client as one that is too slow; the caller holds the hub's lock."""
        self._frames.clear()
        self._finish(TRY_AGAIN_LATER, "the client reads too slowly")
        self._changed.notify()

    def is_crowded_locked(self) -> bool:
        """Whether more than half of what may wait does; the caller holds the hub's lock."""
        ends = self._finishing_until is not None or self._ended
        return not ends and (2 * len(self._frames) > self._max_messages or 2 * self._bytes > self._max_bytes)

    def finish(self, code: int, reason: str = "") -> None:
        """Append a close frame as the last one. Whatever is appended later is not taken."""
        with self._changed:
            if self._finishing_until is None and not self._ended:
                self._finish(code, reason)
                self._changed.notify()

    def end(self) -> None:
        """Discard what waits; ``take`` returns ``None`` from now on."""
        with self._changed:
            self._ended = True
            self._frames.clear()
            self._changed.notify()

    def take(self) -> bytes | None:
        """All frames that wait, joined. Blocks until there is one; ``None`` after the last one."""
        with self._changed:
            while not self._frames and self._finishing_until is None and not self._ended:
                self._changed.wait()
            if not self._frames:
                return None
            data = b"".join(self._frames)
            self._frames.clear()
            self._bytes = 0
            self._room.notify_all()
            return data

    def is_finishing(self) -> bool:
        """Whether the close frame was appended."""
        with self._changed:
            return self._finishing_until is not None

    def is_overdue(self) -> bool:
        """Whether the peer has had two seconds, since the close frame was appended, to close as well."""
        with self._changed:
            return self._finishing_until is not None and time.monotonic() > self._finishing_until

    def _finish(self, code: int, reason: str) -> None:
        self._frames.append(encode_frame(CLOSE, close_payload(code, reason)))
        self._finishing_until = time.monotonic() + CLOSE_GRACE_SECONDS
        self._room.notify_all()  # nobody need wait for this one


class Hub:
    """Takes messages, keeps the last ones and the figures, and puts them into every client's outbox.

    Thread-safe; nothing here blocks or does I/O, except a writer in :meth:`Outbox.take`.

    Args:
        history: Anomalies kept, and alerts.
        max_pending_messages: Messages that may wait for one client.
        max_pending_bytes: Bytes that may wait for one client.
        max_clients: Clients at one time.
    """

    def __init__(self, *, history: int, max_clients: int, max_pending_messages: int, max_pending_bytes: int) -> None:
        self._history = history
        self._max_clients = max_clients
        self._max_pending_messages = max_pending_messages
        self._max_pending_bytes = max_pending_bytes
        # One lock for all of the feed's state: joining, publishing and asking each see one consistent moment.
        # It guards the attributes below and the outboxes' insides.
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)  # less waits in some outbox
        self._outboxes: set[Outbox] = set()
        self._anomalies: OrderedDict[str, Kept] = OrderedDict()
        self._alerts: deque[Kept] = deque(maxlen=history)
        self._stats: dict[str, Any] = {}
        self._stats_at = wire_time(datetime.now(UTC))
        self._stats_untold = False

    def publish(self, *events: Message) -> None:
        """Take messages, in order and all at once; see :meth:`FeedServer.publish`."""
        now = wire_time(datetime.now(UTC))
        messages = [checked({**event, "timestamp": event.get("timestamp") or now}) for event in events]
        kept = [Kept(message, time_of(message), text_frame(message)) for message in messages]
        with self._lock:
            live = []
            for item in kept:
                if item.message["type"] == "stats_update":
                    self._merge(item.message)
                    continue
                if item.message["type"] == "new_anomaly":
                    self._keep_anomaly(item)
                elif item.message["type"] == "system_alert":
                    self._alerts.append(item)
                live.append(item.frame)
            self._send_locked(live)

    def tell_figures(self) -> None:
        """Send the figures to everybody, if they have changed since they were last told."""
        with self._lock:
            if self._stats_untold:
                self._stats_untold = False
                self._send_locked([text_frame(self._stats_message())])

    @property
    def clients(self) -> int:
        """How many clients there are now."""
        with self._lock:
            return len(self._outboxes)

    def join(self) -> tuple[bytes, Outbox] | None:
        """A new client: its greeting, as frames to be written first, and the outbox of what comes after that.

        ``None`` if there are too many clients.

        The greeting is ``connection_established``, the figures, the last anomalies, and the figures again: a
        client counts each anomaly it sees for the first time, and what the feed says of the count overwrites that.
        """
        hello = {
            "type": "connection_established",
            "data": {"server": "realtime_client.demo"},
            "timestamp": wire_time(datetime.now(UTC)),
        }
        outbox = Outbox(self._lock, self._room, self._max_pending_messages, self._max_pending_bytes)
        with self._lock:
            if len(self._outboxes) >= self._max_clients:
                return None
            self._outboxes.add(outbox)
            figures = text_frame(self._stats_message())
            greeting = [text_frame(hello), figures]
            if self._anomalies:
                greeting += [*(kept.frame for kept in self._anomalies.values()), figures]
        return b"".join(greeting), outbox

    def leave(self, outbox: Outbox) -> None:
        """The client is gone: it is sent nothing more."""
        with self._lock:
            self._outboxes.discard(outbox)
            self._room.notify_all()

    def wait_for_room(self, timeout: float) -> None:
        """See :meth:`FeedServer.wait_for_room`."""
        with self._lock:
            if not self._room.wait_for(lambda: not any(o.is_crowded_locked() for o in self._outboxes), timeout):
                for outbox in [o for o in self._outboxes if o.is_crowded_locked()]:
                    outbox.drop_locked()

    def snapshot(self) -> Snapshot:
        """The present."""
        with self._lock:
            return Snapshot(dict(self._stats), self._stats_at, tuple(self._anomalies.values()), tuple(self._alerts))

    def _merge(self, message: Message) -> None:
        changed = {**self._stats, **message["data"]["stats"]}
        if changed != self._stats:
            self._stats = changed
            self._stats_at = message["timestamp"]
            self._stats_untold = True

    def _keep_anomaly(self, item: Kept) -> None:
        log_id = item.message["data"]["log"]["id"]
        self._anomalies.pop(log_id, None)
        self._anomalies[log_id] = item
        if len(self._anomalies) > self._history:
            self._anomalies.popitem(last=False)

    def _stats_message(self) -> Message:
        return {"type": "stats_update", "data": {"stats": self._stats}, "timestamp": self._stats_at}

    def _send_locked(self, frames: list[bytes]) -> None:
        size = sum(map(len, frames))
        for outbox in self._outboxes if frames else ():
            outbox.put_locked(frames, size)


def checked(message: dict[str, Any]) -> Message:
    """The message, if it is one that the feed can keep and poll answers can show.

    Raises:
        ValueError: A field is missing or of the wrong type; it is named.
    """
    if not isinstance(message.get("type"), str) or not message["type"]:
        raise ValueError(f"type is {message.get('type')!r}, allowed is a non-empty text")
    for path in REQUIRED_TEXT.get(message["type"], ()):
        value: Any = message
        for key in path.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if not isinstance(value, str):
            raise ValueError(f"{path} of {message['type']!r} is of type {type(value).__name__}, must be a text")
    if message["type"] == "stats_update":
        data = message.get("data")
        if not isinstance(data, Mapping) or not isinstance(data.get("stats"), Mapping):
            raise ValueError("data.stats of 'stats_update' must be an object")
    return message


REQUIRED_TEXT = {
    "new_anomaly": ("timestamp", "data.log.id", "data.log.message"),
    "system_alert": ("timestamp", "data.message"),
    "stats_update": ("timestamp",),
}


def text_frame(message: Message) -> bytes:
    """The message as a text frame.

    Raises:
        TypeError: Something in it is no JSON value.
        ValueError: A number that is not finite, or a lone surrogate.
    """
    text = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return encode_frame(TEXT, text.encode())


def time_of(message: Message) -> datetime | None:
    """When what the message tells of happened: its log's time, else its own."""
    if message["type"] == "new_anomaly" and isinstance(own := message["data"]["log"].get("timestamp"), str):
        return moment_of(own)
    stated = message["timestamp"]
    return moment_of(stated) if isinstance(stated, str) else None


def moment_of(text: str) -> datetime | None:
    """An RFC 3339 time, UTC where it tells no offset; ``None`` if it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def wire_time(moment: datetime) -> str:
    """A time as the feed writes it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
