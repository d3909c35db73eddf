"""The command as a process of its own, whose lines a test can wait for."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, TypeAlias

TIMEOUT = 15.0

COMMAND = (sys.executable, "-m", "realtime_client")

Start: TypeAlias = Callable[..., "Process"]


STEERING = re.compile(r"REALTIME_|.*_proxy$|NO_COLOR$|FORCE_COLOR$|PYTHONUNBUFFERED$", re.IGNORECASE)
"""The environment variables that would steer the command."""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The process's environment, without what would steer the command."""
    kept = {name: value for name, value in os.environ.items() if not STEERING.match(name)}
    return {**kept, "TERM": "xterm", "PYTHONWARNINGS": "error", **(extra or {})}


@contextlib.contextmanager
def heard_signals() -> Iterator[None]:
    """Let processes that are started in the block hear Ctrl-C: a background job ignores it, and they inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Lines:
    """The lines of a stream, read by a thread as they come; ``seen`` keeps all that were taken."""

    def __init__(self, stream: IO[str]) -> None:
        self.seen: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self._queue.put(line.removesuffix("\n"))
        self._queue.put(None)

    def next(self, timeout: float = TIMEOUT) -> str | None:
        """The next line, ``None`` at the end of the stream."""
        try:
            line = self._queue.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(f"no line within {timeout:g} s; seen: {self.seen}") from None
        if line is None:
            self._queue.put(None)
        else:
            self.seen.append(line)
        return line

    def until(self, pattern: str) -> str:
        """Wait for a line in which the pattern is found."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            line = self.next(max(0.0, deadline - time.monotonic()))
            assert line is not None, f"ended without {pattern!r}; seen: {self.seen}"
            if re.search(pattern, line):
                return line

    def __iter__(self) -> Iterator[str]:
        while (line := self.next()) is not None:
            yield line

    def all(self) -> list[str]:
        """Every line, those taken before included; waits for the end of the stream."""
        list(self)
        self._thread.join(TIMEOUT)
        return self.seen


class Process:
    """A running command."""

    def __init__(self, *args: str, env: Mapping[str, str] | None = None, **streams: Any) -> None:
        streams.setdefault("stdin", subprocess.DEVNULL)
        streams.setdefault("stdout", subprocess.PIPE)
        with heard_signals():
            self.popen = subprocess.Popen(
                [*COMMAND, *args], stderr=subprocess.PIPE, text=True, encoding="utf-8", env=environment(env), **streams
            )
        assert self.popen.stderr is not None
        self.err = Lines(self.popen.stderr)
        self._out: Lines | None = None

    @property
    def out(self) -> Lines:
        """Standard output; reading begins with the first use."""
        if self._out is None:
            assert self.popen.stdout is not None
            self._out = Lines(self.popen.stdout)
        return self._out

    def end(self, timeout: float = TIMEOUT) -> int:
        """Wait for the exit code; no traceback may have been printed."""
        code = self.popen.wait(timeout)
        errors = "\n".join(self.err.all())
        assert "Traceback" not in errors, errors
        assert "Exception ignored" not in errors, errors
        return code

    def interrupt(self, signal_number: int) -> tuple[int, float]:
        """Send a signal; the exit code, and the seconds until the process had ended."""
        began = time.monotonic()
        self.popen.send_signal(signal_number)
        code = self.popen.wait(TIMEOUT)
        taken = time.monotonic() - began
        assert self.end() == code
        return code, taken

    def said(self) -> str:
        """Everything on standard error; waits for its end."""
        return "\n".join(self.err.all())

    def stop(self) -> None:
        """Make sure that it has ended, and let its streams go."""
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait(TIMEOUT)
        self.err.all()
        if self._out is not None:
            self._out.all()
        for stream in (self.popen.stdin, self.popen.stdout):
            if stream is not None and not stream.closed:
                stream.close()
