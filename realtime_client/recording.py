"""Recordings: a feed in a file, to look at later, to attach to a bug report, or to show where there is no network.

`Recorder` writes one, and ``RealtimeClient(replay_url("feed.jsonl"))`` replays it.
"""

from __future__ import annotations

import math
import os
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from realtime_client._core.recording import GZIP, packed, write_line
from realtime_client.addresses import replay_url
from realtime_client.events import Event

__all__ = ["Recorder", "replay_url"]

FLUSH_AFTER = 1.0
"""Seconds that packed events may wait in memory for company, while more come."""


class Recorder:
    """Writes events into a file, one line of JSON each, so that it is a whole recording at every moment.

    The file is made at once. Where its name ends in ``.gz`` it is packed; what was written within the last second may
    then still wait in memory, until `flush` or `close`. Thread-safe; writes block as long as the disk does. Not for a
    process that forks: the child must leave it alone.

    Example:
        >>> from realtime_client import SystemAlert
        >>> from realtime_client.recording import Recorder
        >>> with Recorder("alerts.jsonl", max_events=1, overwrite=True) as recorder:
        ...     recorder.write(SystemAlert("disk full")), recorder.write(SystemAlert("and more"))
        (True, False)

    Args:
        path: The file.
        max_events: How many events are written at most.
        max_bytes: How many bytes are written at most, before packing.
        overwrite: Whether a file that is there is replaced.

    Raises:
        FileExistsError: There is such a file.
        OSError: It cannot be made.

    Attributes:
        path: The file.
        events: How many events were written; after trouble with a packed file, how many are in it for certain.
        size: How many bytes, before packing; the same.
        full: Whether a bound is reached, so that nothing more will be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_events: int | None = None,
        max_bytes: int | None = None,
        overwrite: bool = False,
    ) -> None:
        self.path: str = os.fspath(path)
        self.events: int = 0
        self.size: int = 0
        self.full: bool = False
        self._max_events = math.inf if max_events is None else max_events
        self._max_bytes = math.inf if max_bytes is None else max_bytes
        # Guards everything here that changes. Held over the writing, whose order it keeps.
        self._lock = threading.Lock()
        self._file = open(self.path, "wb" if overwrite else "xb", buffering=0)  # noqa: SIM115 - until close()
        self._deflate = zlib.compressobj(wbits=GZIP) if packed(self.path) else None
        self._flushed_at = time.monotonic()
        self._kept = (0, 0)  # events and size as of the last flush

    def write(self, event: Event) -> bool:
        """Write an event; may serve as a callback.

        Returns:
            Whether it was written; ``False`` once a bound is reached, or after `close`.

        Raises:
            OSError: It cannot be written, for example because the disk is full. That ends the recording; what was
                written before stands.
        """
        line = write_line(event)
        with self._lock:
            if self.full or self._file.closed:
                return False
            if self.size + len(line) > self._max_bytes or self.events >= self._max_events:
                self.full = True
                return False
            with self._ended_by_trouble():
                self._put(line if self._deflate is None else self._deflate.compress(line))
                self.events += 1
                self.size += len(line)
                if time.monotonic() - self._flushed_at >= FLUSH_AFTER:
                    self._flush(zlib.Z_SYNC_FLUSH)
            self.full = self.events >= self._max_events
            return True

    def flush(self) -> None:
        """See to it that every event that was written is in the file.

        Raises:
            OSError: It cannot be written; see `write`.
        """
        with self._lock:
            if not self._file.closed:
                with self._ended_by_trouble():
                    self._flush(zlib.Z_SYNC_FLUSH)

    def close(self) -> None:
        """Finish the file. Idempotent.

        Raises:
            OSError: What still waited in memory cannot be written.
        """
        with self._lock:
            if not self._file.closed:
                with self._ended_by_trouble():
                    self._flush(zlib.Z_FINISH)
                self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _ended_by_trouble(self) -> Iterator[None]:
        """Close the file where a write fails, or Ctrl-C cuts in: what were written behind that could not be read."""
        try:
            yield
        except BaseException:
            self._file.close()
            if self._deflate is not None:  # what waited in it for company is lost
                self.events, self.size = self._kept
            raise

    def _flush(self, how: int) -> None:
        self._flushed_at = time.monotonic()
        if self._deflate is not None:
            self._put(self._deflate.flush(how))
            self._kept = self.events, self.size

    def _put(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
