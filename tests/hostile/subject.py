"""A client in a process of its own, so that its memory is its own, and so that it can be ended when it hangs.

``python -m tests.hostile.subject NAME`` reads one JSON line for each server to meet and answers with one.
"""

from __future__ import annotations

import gc
import json
import os
import select
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tests.hostile import memory
from tests.hostile.meeting import Meeting, from_json, to_json

ROOT = Path(__file__).parents[2]
HANG = 15.0
"""Seconds beyond its own patience after which a process that does not answer is killed."""
STALE = 4 * 1024**2
"""Bytes that a process may keep from one meeting to the next; with more, the next begins in a new one."""
CEILING = 4 * 1024**3
"""Bytes of address space: a client that takes memory without end must not take the machine's."""


class Subject:
    """The parent's side: a process that is started when it is needed, and again after it had to be killed.

    Args:
        name: The client: a name of `tests.hostile.clients.CLIENTS`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process is not None:
            self._end(self._process)

    def meet(self, url: str, options: Mapping[str, Any], patience: float) -> Meeting:
        """Let the client meet a server.

        Args:
            url: Where.
            options: The client's options, JSON-ready.
            patience: Seconds within which the client has to come to a verdict.
        """
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([url, dict(options), patience]) + "\n")
        process.stdin.flush()
        if select.select([process.stdout], [], [], patience + HANG)[0]:
            answer = process.stdout.readline()
            if answer:
                meeting = from_json(answer)
                if meeting.kept > STALE or meeting.then == "HUNG":
                    self._end(process)
                return meeting
        self._end(process)
        return Meeting(message="the process hung or ended", seconds=patience)

    def _start(self) -> subprocess.Popen[str]:
        environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.subject", self.name],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self._process

    def _end(self, process: subprocess.Popen[str]) -> None:
        self._process = None
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def main(name: str) -> None:
    """The child's side: warm up, then meet one server after the other."""
    from tests.hostile.clients import CLIENTS
    from tests.hostile.play import warm_up

    client = CLIENTS[name]
    answers = sys.stdout
    sys.stdout = sys.stderr  # what a client prints must not be taken for an answer
    if name != "realtime_client":
        memory.limit_memory(CEILING)
    warm_up(name, client)
    before = memory.present()
    for line in sys.stdin:
        url, options, patience = json.loads(line)
        with warnings.catch_warnings(record=True, category=ResourceWarning, action="always") as unclosed:
            memory.forget_peak()
            meeting = client(url, options, patience)
            meeting.peak = memory.peak() - before
            gc.collect()  # what one meeting leaves in cycles is not to count for the next
        meeting.left += [str(warning.message) for warning in unclosed]
        meeting.kept = memory.present() - before
        answers.write(to_json(meeting) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])
