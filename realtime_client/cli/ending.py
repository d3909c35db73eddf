"""How every end of a command becomes an exit code, whoever's roof it runs under."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from realtime_client import RealtimeError
from realtime_client.cli.exits import Exit, Failure, Terminated, failure_of
from realtime_client.cli.streams import abandon_output, say

__all__ = ["run_to_end"]


def run_to_end(run: Callable[[], int], program: str) -> int:
    """Run a command, say on standard error what went wrong, and let SIGTERM end it as Ctrl-C does.

    Args:
        run: The command; returns its exit code, or raises.
        program: What the message begins with.

    Returns:
        The exit code; see `Exit`.
    """
    code: int
    with _sigterm_raises():
        try:
            code = run()
            if sys.stdout is not None:
                sys.stdout.flush()
        except (Failure, RealtimeError) as error:
            failure = error if isinstance(error, Failure) else failure_of(error, was_connected=False)
            say(f"{program}: error: {failure}")
            code = failure.code
        except BrokenPipeError:
            abandon_output()
            code = Exit.DONE
        except OSError as error:
            say(f"{program}: error: {error.strerror or error}")
            abandon_output()
            code = Exit.FAILURE
        except KeyboardInterrupt:
            abandon_output()
            code = Exit.INTERRUPTED
        except Terminated:
            abandon_output()
            code = Exit.TERMINATED
    return int(code)


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    def terminate(*_: object) -> NoReturn:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield  # signals are none of its business, and setting handlers is refused
        return
    previous = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
