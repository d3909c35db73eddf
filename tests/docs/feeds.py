"""Feeds as a reader starts them: a program of their own that says where it serves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["started"]

SAYS = "REALTIME_URL="


@contextmanager
def started(*command: str, cwd: Path | None = None) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a Python program until the end of the block; gives it, and the URL that it says on standard output."""
    with subprocess.Popen([sys.executable, *command], cwd=cwd, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, next(line for line in process.stdout if line.startswith(SAYS)).strip().removeprefix(SAYS)
        finally:
            process.terminate()
