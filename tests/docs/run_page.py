"""Runs the Python examples of one page, one after the other, in one namespace, as a reader who follows the page does.

Called as ``python -m tests.docs.run_page PAGE URL``. The first example that fails ends it with a traceback whose line
numbers are the page's; so does one that takes too long.
"""

from __future__ import annotations

import doctest
import faulthandler
import io
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any, TextIO
from urllib.parse import urlsplit

from tests.docs.examples import DJANGO_SETTINGS, FEED_ADDRESS, REDIS_ADDRESS, Example, examples

SECONDS_EACH = 20.0
LINES_UNTIL_CTRL_C = 3


class ImpatientReader(io.TextIOBase):
    """Standard output whose reader presses Ctrl-C after a few lines, and with each further line until it is heard.

    Once may not do: a signal that comes between the interpreter's last look and the wait of a lock does not wake it.

    Attributes:
        heard: Whether the main thread was interrupted.
    """

    def __init__(self, screen: TextIO) -> None:
        super().__init__()
        self._screen = screen
        self._lines = 0
        self.heard = False

    def write(self, text: str) -> int:
        """Show the text, and count its lines."""
        self._screen.write(text)
        self._lines += text.count("\n")
        if self._lines >= LINES_UNTIL_CTRL_C and not self.heard:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        return len(text)

    def hear(self, signum: int, frame: FrameType | None) -> None:
        """Take note that the main thread was interrupted."""
        self.heard = True
        signal.default_int_handler(signum, frame)


def run(example: Example, names: dict[str, Any], url: str) -> None:
    """Run one example."""
    faulthandler.dump_traceback_later(SECONDS_EACH, exit=True)
    code = example.code.replace(FEED_ADDRESS, urlsplit(url).netloc)
    code = code.replace(REDIS_ADDRESS, os.environ.get("REDIS_ADDRESS", REDIS_ADDRESS))
    if example.language == "pycon":
        run_session(example, code, names)
    elif example.endless:
        run_until_ctrl_c(example, code, names)
    else:
        exec(located(example, code), names)
        if example.mark == DJANGO_SETTINGS:
            begin_django_project(names)
    faulthandler.cancel_dump_traceback_later()


def begin_django_project(names: dict[str, Any]) -> None:
    """Let what the page has set be a project's settings."""
    import django
    from django.conf import settings

    settings.configure(**{name: value for name, value in names.items() if name.isupper()})
    django.setup()


def run_session(example: Example, code: str, names: dict[str, Any]) -> None:
    """Run a session with prompts, whose answers must be those that the page shows."""
    session = doctest.DocTestParser().get_doctest(code, names, example.page, example.page, example.line - 1)
    assert session.examples, f"{example.page}:{example.line}: a session without a prompt"
    outcome = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(session, clear_globs=False)
    if outcome.failed:
        raise AssertionError(f"{outcome.failed} answers differ")
    names.update(session.globs)


def run_until_ctrl_c(example: Example, code: str, names: dict[str, Any]) -> None:
    """Run what has no end until it has printed a few lines, and press Ctrl-C."""
    screen = sys.stdout
    sys.stdout = reader = ImpatientReader(screen)
    signal.signal(signal.SIGINT, reader.hear)
    try:
        exec(located(example, code), names)
    except KeyboardInterrupt:
        return
    finally:
        sys.stdout = screen
    if not reader.heard:  # there are programs that end in the usual way then
        raise AssertionError("it ended before Ctrl-C")


def located(example: Example, code: str) -> Any:
    """Compiled so that a traceback shows the page and its line."""
    return compile("\n" * (example.line - 1) + code, example.page, "exec", dont_inherit=True)


def main(page: str, url: str) -> None:
    """Run them all."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for example in examples(page, "python", "pycon"):
        if example.file:
            continue
        sys.stdout.write(f"--- {page}:{example.line}\n")
        run(example, names, url)


if __name__ == "__main__":
    main(*sys.argv[1:])
