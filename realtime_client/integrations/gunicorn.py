"""gunicorn: a worker that is to stop ends the pages' streams, instead of waiting for them until it is killed.

In ``gunicorn.conf.py``::

    from realtime_client.integrations.gunicorn import post_worker_init

A configuration that has a ``post_worker_init`` of its own calls this one from there.
"""

from __future__ import annotations

import threading
from typing import Protocol

from realtime_client.web import end_all_streams

__all__ = ["post_worker_init"]

LOOK_AROUND = 0.5
"""Seconds between two looks at whether the worker is to stop."""


class Worker(Protocol):
    """What is asked of a worker."""

    alive: bool


def post_worker_init(worker: Worker) -> None:
    """Watch over a worker; gunicorn's hook of this name.

    gunicorn has no hook for SIGTERM, for ``max_requests`` or for a master that is gone. All of them clear
    ``worker.alive``, so a daemon thread looks at that.
    """
    threading.Thread(target=_watch, args=(worker,), name="rtc-gunicorn", daemon=True).start()


def _watch(worker: Worker) -> None:
    pause = threading.Event()  # never set: the thread ends with the process
    while True:
        pause.wait(LOOK_AROUND)
        if not worker.alive:
            # Again and again: a page may come back over a connection that is kept alive.
            end_all_streams()
