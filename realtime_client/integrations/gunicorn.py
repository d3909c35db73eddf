"""gunicorn: a worker that is to stop ends the pages' streams, instead of waiting for them until it is killed.

In ``gunicorn.conf.py``::

    from realtime_client.integrations.gunicorn import child_exit, post_worker_init

A configuration that has a hook of the same name calls this one from there.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Protocol

from realtime_client.web import end_all_streams

__all__ = ["child_exit", "post_worker_init"]

LOOK_AROUND = 0.5
"""Seconds between two looks at whether the worker is to stop."""


class Worker(Protocol):
    """What is asked of a worker."""

    alive: bool
    pid: int


def post_worker_init(worker: Worker) -> None:
    """Watch over a worker; gunicorn's hook of this name.

    gunicorn has no hook for SIGTERM, for ``max_requests`` or for a master that is gone. All of them clear
    ``worker.alive``, so a daemon thread looks at that.
    """
    threading.Thread(target=_watch, args=(worker,), name="rtc-gunicorn", daemon=True).start()


def child_exit(server: object, worker: Worker) -> None:
    """Let a worker that has ended leave the gauges of Prometheus; gunicorn's hook of this name, called in its master.

    Without ``PROMETHEUS_MULTIPROC_DIR`` there is nothing to do.
    """
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ or "prometheus_multiproc_dir" in os.environ:  # both are known to it
        with contextlib.suppress(ImportError):  # then nobody has written anything
            from prometheus_client import multiprocess  # noqa: PLC0415 - an optional library

            multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def _watch(worker: Worker) -> None:
    pause = threading.Event()  # never set: the thread ends with the process
    while True:
        pause.wait(LOOK_AROUND)
        if not worker.alive:
            # Again and again: a page may come back over a connection that is kept alive.
            end_all_streams()
