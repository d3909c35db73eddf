"""Calls that nothing can interrupt (a name look-up, a user's function), made on a thread that can be abandoned."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from realtime_client.patience import SteadyQueue, pieces

__all__ = ["Abandoned", "Errands", "Raised"]

T = TypeVar("T")


class Abandoned(Exception):
    """The call was abandoned: its time is up, or `Errands.abandon` was called.

    Attributes:
        ended: Whether it was the latter.
    """

    def __init__(self, *, ended: bool = False) -> None:
        super().__init__("ended" if ended else "the time is up")
        self.ended = ended


class Raised(Exception):
    """The call raised; kept apart from what happens to the waiting thread itself, such as Ctrl-C.

    Attributes:
        error: What it raised.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__(type(error).__name__)
        self.error = error


class Errands:
    """Makes calls on disposable threads and waits for their results, with a deadline and an end from outside."""

    def __init__(self) -> None:
        self._answers: SteadyQueue[tuple[object, bool, Any]] = SteadyQueue()
        self._thread: threading.Thread | None = None

    def call(self, name: str, function: Callable[[], T], deadline: float) -> T:
        """Call a function on a thread of its own and wait for it.

        Args:
            name: The thread's name.
            function: What to call; it may hang for ever, then its result is discarded whenever it comes.
            deadline: Monotonic time until which to wait.

        Raises:
            Abandoned: There is no result in time.
            Raised: The function raised something.
        """
        errand = object()

        def run() -> None:
            answer: tuple[object, bool, Any]
            try:
                answer = (errand, True, function())
            except BaseException as error:  # noqa: BLE001 - a user's sys.exit() must not end the waiting thread
                answer = (errand, False, error)
            self._answers.put(answer)

        self._thread = threading.Thread(target=run, name=name, daemon=True)
        self._thread.start()
        while True:
            whose, succeeded, result = self._next(deadline)
            if whose is self:
                raise Abandoned(ended=True)
            if whose is errand:
                break
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if succeeded:
            return cast("T", result)
        raise Raised(result)

    def _next(self, deadline: float) -> tuple[object, bool, Any]:
        for piece in pieces(max(0.0, deadline - time.monotonic())):
            with contextlib.suppress(queue.Empty):
                return self._answers.get(timeout=piece)
        raise Abandoned

    def abandon(self) -> None:
        """Let the waiting thread go, from any thread."""
        self._answers.put((self, False, None))

    def settle(self, timeout: float) -> None:
        """Wait, for a while, for the end of a call that was abandoned and is about to end."""
        if self._thread is not None:
            self._thread.join(timeout)

    @property
    def lingering(self) -> str | None:
        """The name of a thread that still runs after its call was abandoned, or ``None``."""
        thread = self._thread
        return thread.name if thread is not None and thread.is_alive() else None
