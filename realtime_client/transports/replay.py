"""The replay transport: a recording in place of a connection."""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

import attrs

from realtime_client._core.recording import (
    CHUNK,
    MAX_LINE_BYTES,
    Cut,
    MalformedLine,
    packed,
    read_messages,
)
from realtime_client.addresses import Replay, read_replay_url
from realtime_client.config import ClientConfig
from realtime_client.errors import ConnectError, ConnectionLost, RecordingError
from realtime_client.redaction import show_url
from realtime_client.status import Transport
from realtime_client.transports.base import FeedOver, Received

__all__ = ["ReplayLink", "Replayer", "for_replay"]

logger: logging.Logger = logging.getLogger("realtime_client")

BATCH = 200
"""How many messages are given at once, where so many were received at one moment."""
PAUSE = 1.0
"""Seconds, at the speed of the replay, between the end of a recording and its beginning anew."""
LONGEST_WAIT = 1e6


def for_replay(config: ClientConfig) -> ClientConfig:
    """The options as they are for a recording: it can wait for slow callbacks, and there is nobody to ask anything."""
    return attrs.evolve(config, overflow="block", heartbeat="none", read_interval=0.0, polling_url=None, poller=None)


class Replayer:
    """Makes the links of one client.

    Args:
        config: Where the recording is, and how it is replayed.
    """

    def __init__(self, config: ClientConfig) -> None:
        self._replay = read_replay_url(config.url)
        self._where = show_url(config.url)
        self._max_line_bytes = max(MAX_LINE_BYTES, 4 * config.max_message_bytes)

    def __call__(self) -> ReplayLink:
        """A link that replays from the beginning; no I/O."""
        return ReplayLink(self._replay, self._where, self._max_line_bytes)


class _Batch(NamedTuple):
    """Messages that were received at one moment."""

    at: datetime | None
    texts: list[str | bytes]


class ReplayLink:
    """One replay of a recording; see `realtime_client.transports.base.Link` for who may call what.

    Args:
        replay: What is replayed, and how.
        where: Its address.
        max_line_bytes: The longest line.
    """

    transport = Transport.REPLAY
    sends = True
    tells_gaps = False
    lingering: str | None = None
    sent_bytes = 0

    def __init__(self, replay: Replay, where: str, max_line_bytes: int) -> None:
        self._replay = replay
        self._name = replay.path if replay.path.isprintable() else ascii(replay.path)
        self._where = where
        self._max_line_bytes = max_line_bytes
        # A descriptor and no file object, whose lock might be held for ever by nobody in a forked child.
        self._descriptor: int | None = None
        self._batches: Iterator[_Batch] = iter(())
        self._first: _Batch | None = None  # read already, to see whether it is a recording
        self._due = 0.0  # when the last messages were due (monotonic)
        self._given_at: datetime | None = None  # when they had been received
        self._failure: ConnectionLost | None = None  # written once, before the event is set
        self._ended = threading.Event()

    def open(self, timeout: float) -> None:
        """See `Link.open`. Reads the first messages, so that what is no recording is found now."""
        del timeout  # a file of this machine: nobody is waited for
        self._begin()
        self._due = time.monotonic()
        if self._failure is not None:
            raise ConnectError(f"cannot connect to {self._where}: {self._failure}", url=self._where)

    def receive(self) -> Received:
        """See `Link.receive`; waits until the next messages are due."""
        batch = None if self._failure else self._take()
        if batch is None:
            raise self._failure or FeedOver("the recording has ended", code=1000)
        if batch.at is not None and self._given_at is not None:
            # From one moment to the next, so that a clock that was set back in between holds nothing up.
            self._due += max(0.0, (batch.at - self._given_at).total_seconds()) / self._replay.speed
        self._given_at = batch.at or self._given_at
        while self._failure is None and (left := self._due - time.monotonic()) > 0:
            self._ended.wait(min(left, LONGEST_WAIT))
        if self._failure is not None:
            raise self._failure
        return Received(batch.texts, sum(map(len, batch.texts)), at=batch.at)

    def send(self, text: str, timeout: float) -> None:
        """See `Link.send`; nobody is there to read it."""

    def ping(self, payload: bytes, timeout: float, message: str | None = None) -> None:
        """See `Link.ping`; nobody is there to answer."""

    def close(self, timeout: float) -> None:
        """See `Link.close`."""
        self.fail(ConnectionLost("the replay was ended", code=1000))

    def fail(self, error: ConnectionLost) -> None:
        """See `Link.fail`."""
        if self._failure is None:
            self._failure = error
        self._ended.set()

    def release(self) -> None:
        """See `Link.release`."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def disown(self) -> None:
        """See `Link.disown`."""
        self.release()

    def _take(self) -> _Batch | None:
        """What comes next, ``None`` at the end."""
        batch, self._first = self._first, None
        batch = batch or next(self._batches, None)
        if batch is None and self._replay.loop:  # one that is empty now ends all the same
            self.release()
            self._begin()
            self._due = max(self._due, time.monotonic()) + PAUSE / self._replay.speed
            self._given_at = None
            batch, self._first = self._first, None
        return batch

    def _begin(self) -> None:
        try:
            regular = stat.S_ISREG(os.stat(self._replay.path).st_mode)
            if regular:  # to open a pipe would wait for whoever writes into it
                self._descriptor = os.open(self._replay.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except OSError as error:
            raise self._unusable(error.strerror) from error
        if self._descriptor is None:
            raise self._unusable("it is no regular file")
        self._batches = self._read(self._descriptor)
        self._first = next(self._batches, None)

    def _read(self, descriptor: int) -> Iterator[_Batch]:
        """The messages, those together that were received together; an error comes after all that comes before it."""
        texts: list[str | bytes] = []
        at: datetime | None = None
        failure: RecordingError | None = None
        messages = read_messages(
            iter(lambda: os.read(descriptor, CHUNK), b""),
            unpack=packed(self._replay.path),
            max_line_bytes=self._max_line_bytes,
        )
        while True:
            try:
                message = next(messages, None)
            except MalformedLine as error:
                failure = RecordingError(
                    f"{self._name} is no recording, or a damaged one: line {error.number}: {error}",
                    path=self._replay.path,
                    line=error.number,
                    url=self._where,
                )
            except OSError as error:
                failure = self._unusable(error.strerror)
            if failure is not None or message is None:
                break
            if isinstance(message, Cut):
                logger.warning("%s is cut off within line %d, which is left out", self._name, message.number)
                break
            if texts and (message.at != at or len(texts) == BATCH):
                yield _Batch(at, texts)
                texts = []
            texts.append(message.text)
            at = message.at
        if texts:
            yield _Batch(at, texts)
        if failure is not None:
            raise failure

    def _unusable(self, why: str | None) -> RecordingError:
        return RecordingError(f"cannot replay {self._name}: {why}", path=self._replay.path, url=self._where)
