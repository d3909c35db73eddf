"""What the tests of outages wait for: a planned attempt, and the end of threads that hung in a test's own code."""

from __future__ import annotations

import threading
from collections.abc import Callable

from realtime_client import StatusChange
from tests.client.recording import PATIENCE, Record


def wait_until_ended(part: str) -> None:
    """Join every thread with this in its name; fails where one of them does not end."""
    for thread in threading.enumerate():
        if part in thread.name and thread is not threading.current_thread():
            # Threads are listed from the moment in which they are asked to start, and can be joined once they have.
            began: threading.Event = vars(thread)["_started"]
            began.wait(PATIENCE)
            thread.join(PATIENCE)
            assert not thread.is_alive()


def wait_for_plan(changes: Record, attempts: int) -> StatusChange:
    """The newest change, once it tells of so many failed attempts and plans the next one."""
    seen = changes.wait_until(
        lambda items: (
            items and items[-1].current.reconnect_attempts == attempts and items[-1].current.next_retry_at is not None
        )
    )
    last: StatusChange = seen[-1]
    return last


def in_turn(*calls: Callable[[], object]) -> Callable[..., None]:
    """A callback that makes these calls, whatever it is called with."""

    def callback(*_arguments: object) -> None:
        for call in calls:
            call()

    return callback
