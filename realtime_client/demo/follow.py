"""Follow logs as they grow: files over rotation and truncation, and standard input.

The standard library has no blocking notification for a growing file. So a source is *asked*: ``read()`` returns at
once what is new, and whoever follows waits between two askings, on something that can wake it. A source therefore
has no thread and closing it ends at once.
"""

from __future__ import annotations

import hashlib
import os
import select
import stat
import sys
from pathlib import Path
from typing import Protocol

import attrs

__all__ = ["FollowedFile", "FollowedInput", "Line", "LineSource", "LineSplitter", "follow", "line_of"]

MAX_LINE_BYTES = 64 * 1024
READ_BYTES = 256 * 1024


@attrs.frozen
class Line:
    """A line of a source.

    Attributes:
        text: The line without its newline; what is not UTF-8 is replaced, and past 64 KiB it is cut.
        id: The line's identity: the same after a restart for the same line of the same file.
    """

    text: str
    id: str


class LineSource(Protocol):
    """Where log lines come from. One thread uses a source."""

    name: str
    """The source of lines that name none themselves."""
    notice: str
    """What people should know about this source; may be empty."""

    def read(self) -> list[Line]:
        """The next lines, as many as are at hand up to some bound; empty when there are none. Never blocks.

        Raises:
            OSError: The source cannot be read now; asking again later may help.
            ValueError: The source is no log now, for example a directory.
        """

    @property
    def ended(self) -> bool:
        """Whether no line will ever come again."""

    def close(self) -> None:
        """Release what is held. Idempotent."""


class LineSplitter:
    """Cuts bytes into lines, and remembers where each began. Pure.

    Args:
        offset: Where in the source the first byte stands.
    """

    def __init__(self, offset: int = 0) -> None:
        self._offset = offset
        self._begun = bytearray()
        self._begun_at = offset

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The lines that these bytes complete, each with its offset; the rest waits for its newline."""
        *whole, rest = data.split(b"\n")
        lines = []
        for part in whole:
            self._keep(part)
            lines.append((self._begun_at, bytes(self._begun)))
            self._offset += len(part) + 1
            self._begun.clear()
            self._begun_at = self._offset
        self._keep(rest)
        self._offset += len(rest)
        return lines

    def finish(self) -> list[tuple[int, bytes]]:
        """The last line, if the source ended without a newline."""
        lines = [(self._begun_at, bytes(self._begun))] if self._begun else []
        self._begun.clear()
        self._begun_at = self._offset
        return lines

    def _keep(self, part: bytes) -> None:
        # Past the limit a line's bytes are dropped as they come, so an endless line takes no memory.
        self._begun += part[: MAX_LINE_BYTES - len(self._begun)]


def line_of(origin: str, offset: int, data: bytes) -> Line:
    """A line and its identity, a hash of where it stands and what it says."""
    digest = hashlib.blake2b(f"{origin}\0{offset}\0".encode(errors="replace") + data, digest_size=12)
    return Line(data.rstrip(b"\r").decode(errors="replace"), digest.hexdigest())


class FollowedFile:
    """The lines of a file, as it grows.

    A file that was renamed and created anew is read to its end, then the new one from its start, as soon as something
    is in it; one that was cut is read from its start again (one that was cut and has grown past the place
    already read cannot be told from one that has grown). A file that does not exist yet is read from its start when it
    appears. A last line without its newline waits for it.

    Args:
        path: The file.
        from_start: Whether to read what is in the file already; else only what is written from now on.

    Raises:
        OSError: ``path`` exists and cannot be opened.
        ValueError: ``path`` exists and is no regular file.
    """

    notice = ""

    def __init__(self, path: str | os.PathLike[str], *, from_start: bool = True) -> None:
        # Not resolve(): a link is followed anew after each rotation.
        self._path = Path(os.path.abspath(path))
        self.name: str = self._path.stem
        self._descriptor = -1
        self._identity = (0, 0)
        self._origin = ""
        self._position = 0
        self._splitter = LineSplitter()
        self._closed = False
        self._taken = 0
        self._history = 0
        if self._path.exists():
            self._open()
            if not from_start:
                self._skip()
            self._taken, self._history = 0, os.fstat(self._descriptor).st_size - self._position

    @property
    def ended(self) -> bool:
        """Whether it was closed; a file can always grow."""
        return self._closed

    @property
    def history(self) -> tuple[int, int]:
        """Of what was in the file at first and is to be read: how many bytes have been read, and how many there are."""
        return min(self._taken, self._history), self._history

    def read(self) -> list[Line]:
        """The next lines, those of 256 KiB at most. Never blocks on anything but the disk.

        Raises:
            OSError: The file exists and cannot be read.
            ValueError: What is there now is no regular file.
        """
        if self._closed:
            return []
        if self._descriptor < 0:
            try:
                self._open()
            except FileNotFoundError:
                return []
        if os.fstat(self._descriptor).st_size < self._position:
            self._start_at(0)
        replaced = self._is_replaced()
        data = self._read_some()
        if data:
            return self._lines(self._splitter.feed(data))
        if not replaced:
            return []
        # The new file was there before the old one was read to its end, so nothing of the old one is left.
        last = self._lines(self._splitter.finish())
        self._release()
        return last

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._closed = True
        self._release()

    def _open(self) -> None:
        # Not blocking, for the time in which the path is a pipe: opening one would wait for its writer.
        descriptor = os.open(self._path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise ValueError(f"{str(self._path)!r} is not a regular file")
        self._descriptor = descriptor
        self._identity = (status.st_dev, status.st_ino)
        # The inode tells the lines of a rotated file from those at the same place in the next one.
        self._origin = f"{self._path}\0{status.st_ino}"
        self._start_at(0)

    def _start_at(self, offset: int) -> None:
        os.lseek(self._descriptor, offset, os.SEEK_SET)
        self._position = offset
        self._splitter = LineSplitter(offset)

    def _skip(self) -> None:
        """Go to the start of the last line, which is at the end unless that line is unfinished."""
        size = os.fstat(self._descriptor).st_size
        self._start_at(max(0, size - MAX_LINE_BYTES))
        tail = self._read_some()
        self._start_at(self._position - len(tail) + tail.rfind(b"\n") + 1)

    def _read_some(self) -> bytes:
        data = os.read(self._descriptor, READ_BYTES)
        self._position += len(data)
        self._taken += len(data)
        return data

    def _is_replaced(self) -> bool:
        """Whether the path is another file by now, with something in it.

        While the new file is empty its writer may still be writing to the old one.
        """
        try:
            status = self._path.stat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) != self._identity and status.st_size > 0

    def _lines(self, found: list[tuple[int, bytes]]) -> list[Line]:
        return [line_of(self._origin, offset, data) for offset, data in found]

    def _release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class FollowedInput:
    """The lines of standard input, or of another descriptor, until its end.

    Works on what ``select`` works on: pipes, terminals and files on Linux and macOS. The descriptor stays open.

    Args:
        descriptor: What to read; ``None`` is standard input.
        name: The source of lines that name none.

    Raises:
        ValueError: The process has no standard input.
    """

    notice = ""

    def __init__(self, descriptor: int | None = None, *, name: str = "stdin") -> None:
        if descriptor is None and sys.stdin is None:
            raise ValueError("this process has no standard input")
        self._descriptor = sys.stdin.fileno() if descriptor is None else descriptor
        self.name = name
        self._splitter = LineSplitter()
        self._ended = False

    @property
    def ended(self) -> bool:
        """Whether the end of the input was read, or it was closed."""
        return self._ended

    def read(self) -> list[Line]:
        """The next lines, those of 256 KiB at most; asks first, so a silent input never blocks."""
        if self._ended or not select.select([self._descriptor], [], [], 0)[0]:
            return []
        data = os.read(self._descriptor, READ_BYTES)
        if data:
            found = self._splitter.feed(data)
        else:
            self._ended = True
            found = self._splitter.finish()
        return [line_of(self.name, offset, line) for offset, line in found]

    def close(self) -> None:
        """Read no more. Idempotent."""
        self._ended = True


def follow(path: str | os.PathLike[str], *, from_start: bool = True) -> LineSource:
    """The source for a path as people write it: ``-`` is standard input, anything else a file.

    Args:
        path: The path, or ``-``.
        from_start: Whether to read what is in the file already; standard input has no past.

    Raises:
        OSError: The file exists and cannot be opened.
        ValueError: The path is no regular file, or there is no standard input.
    """
    if os.fspath(path) == "-":
        return FollowedInput()
    return FollowedFile(path, from_start=from_start)
