"""The two streams of the command: data goes to standard output, everything said to people goes to standard error."""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
from typing import TextIO

from realtime_client.cli.cells import visible
from realtime_client.cli.exits import Exit, Failure

__all__ = ["abandon_output", "output", "reader_has_left", "say", "write_line"]


def say(text: str) -> None:
    """Say one line on standard error; nobody listening is no error. Safe from any thread."""
    # A process may be started with its standard streams closed, and Python then has none.
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            sys.stderr.write(visible(text) + "\n")
            sys.stderr.flush()


def output() -> TextIO:
    """Standard output, ready for any text.

    Raises:
        Failure: The process has none.
    """
    if sys.stdout is None:
        raise Failure(Exit.FAILURE, "standard output is closed")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    return sys.stdout


def write_line(line: str, stream: TextIO) -> None:
    """Write a line and flush it; blocks while the reader is slow.

    Raises:
        BrokenPipeError: The reader has left.
        Failure: It cannot be written, for example because the disk is full.
    """
    try:
        stream.write(line + "\n")
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        abandon_output()
        raise Failure(Exit.FAILURE, f"cannot write to standard output: {error.strerror or error}") from None


def reader_has_left(stream: TextIO) -> bool:
    """Whether the pipe's reader has left, which writing alone would tell only with the next event. Never blocks."""
    if not hasattr(select, "poll"):
        return False
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        return False
    poller = select.poll()
    poller.register(descriptor, 0)
    return bool(poller.poll(0))


def abandon_output() -> None:
    """Let what is still buffered go nowhere, so that the interpreter's last flush neither fails nor blocks."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
