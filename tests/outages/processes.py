"""Other processes: scripts that are run to their end, and children that are forked."""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

import attrs

SCRIPT_PATIENCE = 30.0
"""Seconds after which a process that has not ended is killed, and its test fails."""

AT_ONCE = 0.5
"""Seconds from the end of the main program to the end of the process, and from Ctrl-C to where it was heard."""
TRIES = 12
"""Other programs may keep this machine busy for half a second, and that more often than not; a client that holds its
process up does so each time."""
INEXPLICABLE = 4
"""So many times the bound is no busy machine's fault, but a wait for something else."""

# A test run may have been started with SIGINT ignored, and children inherit that.
PRELUDE = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"


@attrs.frozen
class Finished:
    """How a script ended.

    Attributes:
        code: Its exit code.
        lines: What it printed and nobody had read.
        errors: What it wrote to stderr.
        at: When it was found to have ended, ``time.monotonic()`` seconds, the same clock in all processes.
    """

    code: int
    lines: list[str]
    errors: str
    at: float


class Script:
    """A Python process that runs a text; it is killed when it takes too long.

    Args:
        text: The program; indented as a whole if need be.
        arguments: Its ``sys.argv[1:]``.
        flags: Options of the interpreter.
    """

    def __init__(self, text: str, *arguments: object, flags: Sequence[str] = ()) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed on exit
        program = PRELUDE + textwrap.dedent(text)
        self._process = subprocess.Popen(
            [sys.executable, *flags, "-c", program, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._killer = threading.Timer(SCRIPT_PATIENCE, self._process.kill)
        self._killer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._killer.cancel()
        self._killer.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()

    def read_line(self) -> str:
        """The next line that it prints; fails where it ends without one."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the script ended: {self._read_errors()}"
        return line.rstrip("\n")

    def interrupt(self) -> float:
        """Ctrl-C; returns when it was sent."""
        self._process.send_signal(signal.SIGINT)
        return time.monotonic()

    def finish(self) -> Finished:
        """Wait for the end."""
        assert self._process.stdout is not None
        lines = self._process.stdout.read().splitlines()
        code = self._process.wait()
        return Finished(code, lines, self._read_errors(), time.monotonic())

    def _read_errors(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")


def see_at_once(attempt: Callable[[], float], within: float = AT_ONCE) -> None:
    """See that something takes less than so many seconds, in one of some tries, and in none of them much longer.

    The seconds include those in which other processes have the processor, which differ from try to try; what the
    client itself waits for does not. What a process without a client takes to end just then is allowed on top.

    Args:
        attempt: Does it, checks all that came of it, and returns the seconds that it took.
        within: The bound, in seconds.
    """
    took: list[float] = []
    excuse = 0.0
    while not took or (took[-1] >= within + excuse and len(took) < TRIES):
        took.append(attempt())
        excuse = how_busy() if took[-1] >= within else 0.0
        assert took[-1] < INEXPLICABLE * within + excuse, f"{took}: no busy machine explains that"
    assert took[-1] < within + excuse, f"{took} where a process without a client takes {excuse:.2f} s"


def how_busy() -> float:
    """Seconds that a process without a client takes to end just now: a few hundredths on a machine at rest."""
    finished = run_script("import time, realtime_client\nprint(time.monotonic(), flush=True)")
    return finished.at - float(finished.lines[-1])


def run_script(text: str, *arguments: object, flags: Sequence[str] = ()) -> Finished:
    """Run a program to its end."""
    with Script(text, *arguments, flags=flags) as script:
        return script.finish()


class Child:
    """A forked child that runs a function and tells what it returned; forked here and now."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _live_and_die(function, writer)
        os.close(writer)

    def result(self) -> Any:
        """Wait for the child's end; what the function returned. Fails with its traceback where it raised."""
        data = b""
        deadline = time.monotonic() + SCRIPT_PATIENCE
        with contextlib.closing(os.fdopen(self._reader, "rb", buffering=0)) as reader:
            while select.select([reader], [], [], max(0.0, deadline - time.monotonic()))[0]:
                chunk = reader.read(65536)
                if not chunk:
                    break
                data += chunk
            else:
                os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        assert data, "the forked child hung or died"
        succeeded, result = pickle.loads(data)
        assert succeeded, f"in the forked child:\n{result}"
        return result


def _live_and_die(function: Callable[[], Any], writer: int) -> None:
    try:
        signal.alarm(int(SCRIPT_PATIENCE))
        try:
            answer = pickle.dumps((True, function()))
        except BaseException:  # noqa: BLE001 - told to the parent
            answer = pickle.dumps((False, traceback.format_exc()))
        view = memoryview(answer)
        while view:
            view = view[os.write(writer, view) :]
    finally:
        os._exit(0)


def in_child(function: Callable[[], Any]) -> Any:
    """Fork, run the function in the child, and return what it returned there."""
    return Child(function).result()


def only_in_this_process(record: Callable[[Any], object]) -> Callable[[Any], object]:
    """A callback that does nothing in a forked child.

    A record has a lock. Where events come all the time a fork may find it taken, and in the child it is so for ever.
    """
    here = os.getpid()
    return lambda event: record(event) if os.getpid() == here else None


@contextlib.contextmanager
def process(*command: str, pass_fds: Sequence[int] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """Any program, whose output is one stream; killed at the end of the block if it still runs."""
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=pass_fds)
    try:
        yield running
    finally:
        running.kill()
        running.wait()
        assert running.stdout is not None
        running.stdout.close()
