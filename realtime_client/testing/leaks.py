"""Whether a block of a test has ended the threads that it began."""

from __future__ import annotations

import functools
import os
import sys
import sysconfig
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from types import FrameType, TracebackType
from typing import Any, TypeAlias

import attrs

from realtime_client.testing.stacks import Stack, printable, stack_of

__all__ = ["assert_no_leaked_threads"]

DEPTH = 40
"""How many calls of a stack are kept; a web framework alone may have twenty between a test and its application."""
RUNNERS = tuple(f"{folder}{os.sep}" for folder in ("_pytest", "pluggy", f"{sysconfig.get_path('stdlib')}/unittest"))
"""Where the code is that calls tests: nobody wants to read of it."""


class assert_no_leaked_threads:  # noqa: N801 - read as what it does, like contextlib.suppress
    """A ``with`` block at whose end every thread that began in it has ended, or else an ``AssertionError`` is raised.

    It names each thread that still runs, and shows where it began. Counted are the threads that are started by the
    thread of the block, by those threads in turn, and so on, whoever's they are; not those that what was there before
    the block has started. A block that raises is not checked.

    Blocks may be nested, and used in several threads at a time. While there is one, ``threading.Thread.start`` is
    watched, for the whole process.

    Args:
        timeout: Seconds that threads have to end, from the end of the block; not waited where none is left.
        ignore: What the names of threads begin with that may go on, such as ``["ThreadPoolExecutor"]``.

    Raises:
        AssertionError: Threads still run; from the end of the block.
        TypeError: ``ignore`` is a text, and no list of texts.

    Example:
        >>> from realtime_client import RealtimeClient
        >>> from realtime_client.testing import MemoryTransport, assert_no_leaked_threads
        >>> with assert_no_leaked_threads(), RealtimeClient(link_factory=MemoryTransport()) as client:
        ...     client.is_connected
        True
    """

    _entered = True  # until the arguments are known to be right: where they are not, that is enough to be told

    def __init__(self, *, timeout: float = 5.0, ignore: Sequence[str] = ()) -> None:
        if isinstance(ignore, str):
            raise TypeError(f"ignore: {ignore!r} is not allowed; allowed: a list of what names of threads begin with")
        self._timeout = timeout
        self._ignore = tuple(ignore)
        self._thread = threading.current_thread()
        # Changed by single operations of C, on the threads that start others, so that it needs no lock.
        self._begun: dict[threading.Thread, _Beginning] = {}
        self._entered = False

    def __enter__(self) -> None:
        self._entered = True
        self._thread = threading.current_thread()
        self._begun = {}
        _watch.begin(self._note)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            left = [] if error is not None else self._wait()
        finally:
            _watch.end(self._note)
        if left:
            raise AssertionError(self._told(left))

    def __del__(self) -> None:
        if not self._entered:
            warnings.warn("assert_no_leaked_threads() checks nothing but a with block", RuntimeWarning, stacklevel=2)

    def _note(self, thread: threading.Thread, frame: FrameType) -> None:
        """A thread is about to be started; on the thread that does so."""
        starter = threading.current_thread()
        if starter is self._thread or starter in self._begun:
            for ended in [known for known in self._begun.copy() if _has_ended(known)]:
                self._begun.pop(ended, None)
            self._begun[thread] = _Beginning(starter, stack_of(frame, DEPTH))

    def _wait(self) -> list[threading.Thread]:
        """Wait for the end of all that has begun; what still runs when the time is up."""
        deadline = time.monotonic() + self._timeout
        while running := self._running():
            left = deadline - time.monotonic()
            if left <= 0:
                break
            running[0].join(left)
        return running

    def _running(self) -> list[threading.Thread]:
        here = threading.current_thread()
        return [
            thread
            for thread in self._begun.copy()
            if thread.is_alive() and thread is not here and not thread.name.startswith(self._ignore)
        ]

    def _told(self, left: Sequence[threading.Thread]) -> str:
        lines = [f"threads that began here still run {self._timeout:g} s after the end:\n"]
        for thread in left:
            beginning = self._begun[thread]
            where = "" if beginning.starter in left else f":\n{printable(_of_the_test(beginning.stack)).rstrip()}"
            lines.append(f"{thread.name}, started by {beginning.starter.name}{where}")
        if any(thread.name.startswith("rtc-") for thread in left):
            lines.append("\nThe threads of a client (rtc-...) end with its close(), or with its own with block.")
        return "\n".join(lines)


@attrs.frozen(eq=False)
class _Beginning:
    """Who has started a thread, and where."""

    starter: threading.Thread
    stack: Stack


def _has_ended(thread: threading.Thread) -> bool:
    return thread.ident is not None and not thread.is_alive()


def _of_the_test(stack: Stack) -> Stack:
    """What lies within a test, or within one of its fixtures."""
    for position, (code, _) in enumerate(stack):
        if any(runner in code.co_filename for runner in RUNNERS):
            return stack[:position]
    return stack


_Note: TypeAlias = Callable[[threading.Thread, FrameType], None]


class _Watch:
    """Tells the blocks which threads are started; stands in for ``threading.Thread.start`` while there are any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the rest against two who begin or end
        self._notes: tuple[_Note, ...] = ()
        self._original: Any = None
        self._ours: Any = None

    def begin(self, note: _Note) -> None:
        with self._lock:
            self._notes = (*self._notes, note)
            # Ours may be there already, below somebody else's.
            if self._ours is None or threading.Thread.start is self._original:
                self._original = threading.Thread.start
                self._ours = self._over(self._original)
                vars(threading)["Thread"].start = self._ours

    def end(self, note: _Note) -> None:
        with self._lock:
            self._notes = tuple(other for other in self._notes if other != note)
            # Where somebody else has put a start() over ours meanwhile, ours stays below it and does no harm.
            if not self._notes and threading.Thread.start is self._ours:
                vars(threading)["Thread"].start = self._original
                self._ours = None

    def _over(self, original: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
        @functools.wraps(original)
        def start(thread: threading.Thread) -> None:
            for note in self._notes:
                note(thread, sys._getframe(1))
            original(thread)

        return start


_watch = _Watch()
