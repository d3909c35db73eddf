"""A real Redis server, and relays in processes of their own: what a test may kill, stop and start again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import redis

from benchmarks.processes import redis_program
from tests.cli.process import heard_signals
from tests.client.recording import Record

SERVER: str = redis_program()
PATIENCE = 20.0
"""Seconds that a test waits for what must come."""


def reserved_port() -> socket.socket:
    """A socket bound to a free port, which nobody gets but a server that reuses addresses, again and again."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    return sock


def free_port() -> int:
    """A port on which nobody listens."""
    with reserved_port() as sock:
        return int(sock.getsockname()[1])


class RedisServer:
    """A ``redis-server`` with its files in a directory of its own.

    Attributes:
        port: Where it listens, also after a restart.
    """

    def __init__(self, *options: str) -> None:
        self._reserved = reserved_port()
        self.port: int = self._reserved.getsockname()[1]
        self._options = options
        self._folder = tempfile.mkdtemp(prefix="redis-")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._reserved.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start it, with what its files hold."""
        self._process = subprocess.Popen(self.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as sock:
                    sock.sendall(b"PING\r\n")
                    answer = sock.recv(100)
                    if answer.startswith((b"+PONG", b"-NOAUTH")):
                        return
            except OSError:
                pass
            assert time.monotonic() < deadline, "redis-server does not answer"
            assert self._process.poll() is None, "redis-server has ended"
            time.sleep(0.02)

    def command(self) -> list[str]:
        """The command line."""
        where = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", self._folder]
        return [SERVER, *where, "--save", "", *self._options]

    def kill(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self, *, keep: bool) -> None:
        """Kill it and start it again, with its data or without."""
        self.kill()
        if not keep:
            shutil.rmtree(self._folder)
            os.mkdir(self._folder)
        self.start()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def url(self, stream: str, *, port: int | None = None, more: str = "") -> str:
        return f"redis://127.0.0.1:{port or self.port}/0?stream={stream}{more}"

    def client(self, **options: Any) -> redis.Redis:
        return redis.Redis(port=self.port, **options)


class Sentinel(RedisServer):
    """A Redis Sentinel, which replaces a master that is gone by its replica. It is the only one, and so the majority.

    Args:
        master: Of the name ``mymaster``.
    """

    def __init__(self, master: RedisServer) -> None:
        super().__init__()
        self._config = os.path.join(self._folder, "sentinel.conf")
        with open(self._config, "w", encoding="ascii") as file:
            file.write(
                f"sentinel monitor mymaster 127.0.0.1 {master.port} 1\n"
                "sentinel down-after-milliseconds mymaster 500\n"
                "sentinel failover-timeout mymaster 2000\n"
            )

    def command(self) -> list[str]:
        """The command line."""
        return [SERVER, self._config, "--sentinel", "--port", str(self.port), "--bind", "127.0.0.1"]

    def url(self, stream: str, *, port: int | None = None, more: str = "") -> str:
        """The address of a stream on whichever server is the master."""
        return super().url(stream, port=port, more=f"&sentinel=mymaster{more}")


class RelayProcess:
    """``realtime-client relay`` in a process of its own.

    Attributes:
        said: What it logs, as data.
    """

    def __init__(self, feed: str, stream: str, *options: str, name: str) -> None:
        self.name = name
        self.said = Record()
        with heard_signals():
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "realtime_client",
                    "relay",
                    feed,
                    stream,
                    "--name",
                    name,
                    "--log-format",
                    "json",
                    *options,
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        self._reading = threading.Thread(target=self._read, name=f"test-{name}", daemon=True)
        self._reading.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.signal(signal.SIGCONT)
        self.kill()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            try:
                self.said(json.loads(line))
            except ValueError:
                self.said({"what": "raw", "line": line})
        self._process.stderr.close()

    def wait_for(self, *whats: str, after: int = 0, timeout: float = PATIENCE) -> dict[str, Any]:
        """The first time, after so many lines, that it says one of these."""

        def found(items: Sequence[Any]) -> list[Any]:
            return [item for item in items[after:] if item.get("what") in whats]

        return dict(found(self.said.wait_until(found, timeout))[0])

    @property
    def fences(self) -> list[int]:
        """The fencing numbers under which it was active."""
        return [item["fence"] for item in self.said.items if item.get("what") == "active"]

    @property
    def is_active(self) -> bool:
        last = [item["what"] for item in self.said.items if item.get("what") in STANDINGS]
        return bool(last) and last[-1] == "active"

    def signal(self, number: int) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.wait()
        self._reading.join(PATIENCE)

    def terminate(self) -> int:
        """SIGTERM; the exit code."""
        self._process.terminate()
        return self.wait()

    def wait(self) -> int:
        """Wait for its end; the exit code."""
        code = self._process.wait(PATIENCE)
        self._reading.join(PATIENCE)
        return code


STANDINGS = ("active", "standing by", "lease lost", "lease given back")
