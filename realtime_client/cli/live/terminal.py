"""The terminal: taken over as a whole, drawn on, and given back as it was on every way out."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import threading
from types import FrameType, TracebackType
from typing import Self

from rich.color import ColorSystem
from rich.console import Console

from realtime_client.cli.exits import Terminated
from realtime_client.cli.live.frame import Frame, Line
from realtime_client.cli.live.keys import KeyDecoder

__all__ = ["Terminal"]

ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"
"""Another screen, without cursor, on which a line that is too long for it is cut instead of wrapped."""
CLEAR = "\x1b[0m\x1b[2J"
LEAVE = b"\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
LEAVE_PATIENCE = 1.0
"""Seconds that a terminal may take nothing and still be told to leave the other screen."""
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
HEARD = (*ENDING, signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT)
ESCAPE_PATIENCE = 0.05
"""Seconds after which an escape character is the Escape key, and not the beginning of another one."""
ASCII_GLYPHS = str.maketrans("▁▂▃▄▅▆▇█─│·…↑↓", "__..--##-|-~^v")


class Terminal:
    """The terminal that standard output is, as a context. Main thread only, but for `wake`.

    While it is held, signals are noted and not raised, so that no exception can come between two steps of taking it
    over or giving it back: `keys` raises in their place. Only a write raises at once, since a terminal that takes
    nothing would hold it for ever.

    Args:
        colour: Whether to colour.

    Raises:
        OSError: Standard output is no terminal.
    """

    def __init__(self, *, colour: bool) -> None:
        self._screen = sys.stdout.fileno()
        self._is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
        self._colour = colour
        system = Console(force_terminal=True, color_system="auto").color_system or "standard"
        self._system = {"256": ColorSystem.EIGHT_BIT, "truecolor": ColorSystem.TRUECOLOR}.get(
            system, ColorSystem.STANDARD
        )
        self._size = os.get_terminal_size(self._screen)
        self._decoder = KeyDecoder()
        self._drawn: dict[int, Line] = {}
        self._held = False
        self._pending: set[int] = set()  # signals that have come, and nobody has heeded yet
        self._writes = False
        self._lock = threading.Lock()  # guards _waker: a byte must not go to whoever gets its number next
        self._waker: int | None = None

    def __enter__(self) -> Self:
        # Keys come from standard input, or else, where that is a pipe, from the terminal that controls the process.
        self._own_keyboard = None if sys.stdin is not None and sys.stdin.isatty() else _controlling_terminal()
        self._keyboard = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else self._own_keyboard
        self._before = None if self._keyboard is None else termios.tcgetattr(self._keyboard)
        self._woken, waker = os.pipe()
        for descriptor in (self._woken, waker):
            os.set_blocking(descriptor, False)
        self._waker = waker
        self._previous_waker = signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        self._previous = {number: signal.signal(number, self._note) for number in HEARD}
        try:
            self._take_over()
        except BaseException:
            self._give_back()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()

    @property
    def size(self) -> os.terminal_size:
        """Columns and lines, now."""
        with contextlib.suppress(OSError):
            size = os.get_terminal_size(self._screen)
            if size != self._size:
                self._size = size
                self._drawn = {}
        return self._size

    def draw(self, frame: Frame) -> None:
        """Show a frame; only lines that have changed are written. Blocks while the terminal takes nothing.

        Raises:
            KeyboardInterrupt, Terminated: Meanwhile, as `keys` would.
            OSError: The terminal has gone.
        """
        changed = [] if self._drawn else [CLEAR]
        for number, line in enumerate(frame.lines):
            if self._drawn.get(number) != line:
                self._drawn[number] = line
                changed.append(self._written(number, line))
        if changed:
            self._write("".join(changed))

    def keys(self, timeout: float) -> list[str]:
        """Wait for keys; empty when the time is up, or when there is something to draw anew.

        Args:
            timeout: Seconds.

        Raises:
            KeyboardInterrupt: Ctrl-C.
            Terminated: Another signal that ends the process.
            OSError: The terminal has gone.
        """
        self._heed()
        sources = [self._woken] if self._keyboard is None else [self._woken, self._keyboard]
        ready, _, _ = select.select(sources, [], [], ESCAPE_PATIENCE if self._decoder.waits else timeout)
        if self._woken in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._woken, 4096)
        self._heed()
        if self._keyboard in ready and self._keyboard is not None:
            data = os.read(self._keyboard, 4096)
            if not data:  # the terminal was hung up
                raise Terminated
            return self._decoder.feed(data)
        return self._decoder.flush() if self._decoder.waits and not ready else []

    def wake(self) -> None:
        """Let `keys` return now. From any thread; never blocks."""
        with self._lock:
            if self._waker is not None:
                with contextlib.suppress(BlockingIOError):  # full of wake-ups
                    os.write(self._waker, b"\0")

    # Taking over and giving back

    def _take_over(self) -> None:
        self._held = True
        if self._keyboard is not None and self._before is not None:
            settings = list(self._before)
            settings[3] &= ~(termios.ICANON | termios.ECHO)  # keys at once and unseen; Ctrl-C and Ctrl-Z stay signals
            termios.tcsetattr(self._keyboard, termios.TCSANOW, settings)
        self._drawn = {}
        self._write(ENTER)

    def _let_go(self) -> None:
        if not self._held:
            return
        self._held = False
        # First what needs nobody's cooperation: a terminal that takes nothing any more shall not keep its keys.
        if self._keyboard is not None and self._before is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._keyboard, termios.TCSANOW, self._before)
        # Not by _write, which a further signal would interrupt.
        with contextlib.suppress(OSError):
            if select.select([], [self._screen], [], LEAVE_PATIENCE)[1]:
                os.write(self._screen, LEAVE)

    def _give_back(self) -> None:
        self._let_go()
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._previous_waker)
        with self._lock:
            if self._waker is not None:
                os.close(self._waker)
            self._waker = None
        os.close(self._woken)
        if self._own_keyboard is not None:
            os.close(self._own_keyboard)

    # Signals

    def _note(self, number: int, frame: FrameType | None) -> None:
        """A signal came; on the main thread, between two steps of whatever it does."""
        self._pending.add(number)
        if self._writes:
            self._end_if_asked()

    def _heed(self) -> None:
        self._end_if_asked()
        if signal.SIGTSTP in self._pending:
            self._stop()
        elif signal.SIGCONT in self._pending:
            self._take_over()  # somebody else had the terminal meanwhile
        self._pending.difference_update((signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH))

    def _end_if_asked(self) -> None:
        if signal.SIGINT in self._pending:
            raise KeyboardInterrupt
        if self._pending.intersection(ENDING):
            raise Terminated

    def _stop(self) -> None:
        """Ctrl-Z: give the terminal back, stop as a process does, and go on when somebody says so."""
        self._let_go()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTSTP)
        # Here the process stands still.
        signal.signal(signal.SIGTSTP, self._note)
        self._end_if_asked()  # before touching a terminal that may be another's now
        self._take_over()

    # Writing

    def _written(self, number: int, line: Line) -> str:
        parts = [f"\x1b[{number + 1};1H\x1b[0m\x1b[2K"]
        for piece in line:
            style = piece.style if self._colour else piece.style.without_color
            parts.append(f"\x1b[{piece.column + 1}G{style.render(piece.text, color_system=self._system)}")
        return "".join(parts)

    def _write(self, text: str) -> None:
        if not self._is_utf8:
            text = text.translate(ASCII_GLYPHS)
        data = memoryview(text.encode(sys.stdout.encoding or "ascii", errors="replace"))
        self._writes = True
        try:
            while data:
                data = data[os.write(self._screen, data) :]
        finally:
            self._writes = False


def _controlling_terminal() -> int | None:
    with contextlib.suppress(OSError):
        return os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    return None
