"""A terminal that a test looks at: what is shown on it, as a terminal emulator understood it."""

from __future__ import annotations

import contextlib
import copy
import fcntl
import os
import pty
import shlex
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyte

from tests.cli.process import COMMAND, environment, heard_signals

TIMEOUT = 30.0
CTRL_C, CTRL_Z, ESCAPE, DOWN, END = "\x03", "\x1a", "\x1b", "\x1b[B", "\x1b[F"
PROMPT = "ready> "
OTHER_SCREEN = 1049
LOGIN = "import os, sys; os.login_tty(int(sys.argv[1])); os.execvp(sys.argv[2], sys.argv[2:])"


class _Emulator(pyte.Screen):
    """Knows of the other screen, which pyte does not."""

    def set_mode(self, *modes: int, **options: Any) -> None:
        super().set_mode(*modes, **options)
        if OTHER_SCREEN in modes and options.get("private"):
            self._main = copy.deepcopy(self.buffer), copy.copy(self.cursor)
            self.erase_in_display(2)

    def reset_mode(self, *modes: int, **options: Any) -> None:
        super().reset_mode(*modes, **options)
        if OTHER_SCREEN in modes and options.get("private"):
            self.buffer, self.cursor = self._main


class Screen:
    """A shell on a terminal of its own, as a person has it: with job control, so that Ctrl-Z and ``fg`` work."""

    def __init__(
        self,
        columns: int = 80,
        lines: int = 24,
        env: Mapping[str, str] | None = None,
        shell: Sequence[str] = ("bash", "--norc", "--noprofile", "-i"),
    ) -> None:
        self._screen = _Emulator(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._changed = threading.Condition()
        self.written = b""
        self._master, slave = pty.openpty()
        self.resize(columns, lines)
        with heard_signals():
            self.shell = subprocess.Popen(
                [sys.executable, "-c", LOGIN, str(slave), *shell],
                env={**environment(), "PS1": PROMPT, "LC_ALL": "C.UTF-8", **(env or {})},
                pass_fds=(slave,),
            )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, name="screen", daemon=True)
        self._reader.start()
        self.wait_for(PROMPT)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # Linux says so when the last one has left
                data = b""
            if not data:
                return
            with self._changed:
                self.written += data
                self._stream.feed(data)
                self._changed.notify_all()

    @property
    def display(self) -> list[str]:
        with self._changed:
            return list(self._screen.display)

    @property
    def text(self) -> str:
        return "\n".join(self.display)

    def row_of(self, text: str) -> int:
        return next(number for number, line in enumerate(self.display) if text in line)

    def colours(self, row: int) -> set[str]:
        """The colours of the letters of a row."""
        with self._changed:
            return {cell.fg for cell in self._screen.buffer[row].values() if cell.data.strip()}

    @property
    def title(self) -> str:
        return str(self._screen.title)

    def wait_until(self, seen: Callable[[str], object]) -> str:
        """Wait until what is on the screen is as awaited."""
        deadline = time.monotonic() + TIMEOUT
        with self._changed:
            while not seen(text := "\n".join(self._screen.display)):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"not within {TIMEOUT:g} s; on the screen is:\n{text}")
                self._changed.wait(left)
            return text

    def wait_for(self, *texts: str) -> str:
        """Wait until all of these are on the screen."""
        return self.wait_until(lambda seen: all(text in seen for text in texts))

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def resize(self, columns: int, lines: int) -> None:
        with self._changed:
            self._screen.resize(lines, columns)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def run(self, *args: str) -> None:
        """Type a call of the command."""
        self.type(shlex.join([*COMMAND, *args]) + "\n")

    def ask(self, command: str) -> str:
        """What a command says, typed at the prompt."""
        marker = f"marker{len(self.written)}"
        # The command line itself shall not look like the answer.
        self.type(f"ended=$?; clear; {command}; echo {marker[:3]}''{marker[3:]}\n")
        text = self.wait_until(lambda seen: marker in seen and seen.rstrip().endswith(PROMPT.rstrip()))
        return text.partition(marker)[0].strip()

    @property
    def job(self) -> int:
        """The process in the foreground."""
        return os.tcgetpgrp(self._master)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError, OSError):
            if (job := self.job) != self.shell.pid:
                os.killpg(job, signal.SIGKILL)
        self.shell.kill()
        self.shell.wait(TIMEOUT)
        os.close(self._master)
        self._reader.join(TIMEOUT)
