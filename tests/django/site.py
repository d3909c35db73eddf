"""The example site as a reader would run it: real servers, real visitors."""

from __future__ import annotations

import contextlib
import http.client
import http.cookiejar
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import psutil

from tests.cli.process import Lines, environment, heard_signals

__all__ = ["SITE", "Database", "EventStream", "Served", "Visitor", "manage", "serve"]

SITE = Path(__file__).parents[2] / "examples" / "django_site"
PATIENCE = 40.0
"""Seconds after which something hangs; the machine may be busy."""
NAME, PASSWORD = "ada", "only for tests"
LISTENING = r"(?:http://|TCP address )127\.0\.0\.1:(\d+)"
"""What a server says when it listens."""


class Database:
    """A migrated database with one member of the staff, which is copied for each test."""

    def __init__(self, folder: Path) -> None:
        self._original = folder / "original.sqlite3"
        more = {"DJANGO_SUPERUSER_PASSWORD": PASSWORD, "DJANGO_DATABASE": str(self._original)}
        manage("migrate", "--verbosity", "0", env=more)
        manage("createsuperuser", "--noinput", "--username", NAME, "--email", "ada@example.com", env=more)

    def copy(self, folder: Path) -> Path:
        """A copy of its own for a test."""
        return Path(shutil.copy(self._original, folder / "db.sqlite3"))


def site_environment(extra: Mapping[str, str]) -> dict[str, str]:
    # What servers and frameworks warn of is theirs, and the settings are the site's, not those of this process.
    always = {"PYTHONWARNINGS": "default", "PYTHONUNBUFFERED": "1", "DJANGO_DEBUG": "0"}
    return environment({**always, "DJANGO_SETTINGS_MODULE": "project.settings", **extra})


def manage(*args: str, env: Mapping[str, str]) -> None:
    """Run ``manage.py`` to its end; it must succeed."""
    run(sys.executable, "manage.py", *args, env=env)


def run(*command: str, env: Mapping[str, str], folder: Path = SITE) -> None:
    """Run a program to its end; it must succeed."""
    done = subprocess.run(
        command, cwd=folder, env=site_environment(env), capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


class Served:
    """A running server.

    Attributes:
        process: It.
        url: Where it listens.
        said: What it says on both of its streams.
    """

    def __init__(self, process: subprocess.Popen[str], listening: str) -> None:
        assert process.stdout is not None
        self.process = process
        self.said = Lines(process.stdout)
        line = self.said.until(listening)
        found = re.search(listening, line)
        assert found is not None
        self.url = f"http://127.0.0.1:{found[1]}"

    def processes(self) -> list[psutil.Process]:
        """The server and its workers."""
        server = psutil.Process(self.process.pid)
        return [server, *server.children(recursive=True)]

    def stop(self, number: int = signal.SIGTERM) -> float:
        """Ask it to end, and wait until it has; returns the seconds that this took."""
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(PATIENCE)
        return time.monotonic() - began


@contextlib.contextmanager
def serve(*command: str, env: Mapping[str, str], listening: str = LISTENING, folder: Path = SITE) -> Iterator[Served]:
    """Start a server in the site's folder; killed at the end of the block, with its workers, if it still runs."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with heard_signals():
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=site_environment({"PATH": programs, **env}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    try:
        yield Served(process, listening)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Visitor:
    """Somebody with a browser's cookies."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._cookies = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._cookies))

    def get(self, path: str) -> str:
        """A page."""
        with self._opener.open(self.url + path, timeout=PATIENCE) as answer:
            text: str = answer.read().decode()
            return text

    def log_in(self) -> Self:
        """Through the form, as everybody does."""
        self.get("/admin/login/")
        form = {
            "username": NAME,
            "password": PASSWORD,
            "next": "/",
            "csrfmiddlewaretoken": next(c.value for c in self._cookies if c.name == "csrftoken") or "",
        }
        request = urllib.request.Request(self.url + "/admin/login/", urlencode(form).encode())
        with self._opener.open(request, timeout=PATIENCE) as answer:
            assert "Incidents" in answer.read().decode()
        return self

    @property
    def cookies(self) -> str:
        """As a header."""
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self._cookies)

    def stream(self, path: str = "/realtime/stream", **headers: str) -> EventStream:
        """Open the stream of events."""
        return EventStream(self.url, path, {"Cookie": self.cookies, "Accept-Encoding": "gzip", **headers})


class EventStream:
    """Server-sent events as they come over a connection of their own."""

    def __init__(self, url: str, path: str, headers: Mapping[str, str]) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)
        self._connection.request("GET", path, headers=dict(headers))
        self.answer = self._connection.getresponse()
        assert self.answer.status == 200, self.answer.status

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave, as a browser does that is closed."""
        self.answer.close()
        self._connection.close()

    def __iter__(self) -> Iterator[tuple[str, Any, str | None]]:
        event: dict[str, str] = {}
        while line := self.answer.readline():
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                event[name] = value
            elif "data" in event:
                yield event["event"], json.loads(event["data"]), event.get("id")
                event = {}
            else:
                event = {}

    def connected(self) -> str:
        """Wait until the page shows the feed as connected; the id of the event that said so."""
        for _, picture, event_id in self:
            if picture.get("status", {}).get("state") == "connected":
                assert event_id is not None
                return event_id
        raise AssertionError("the stream ended without being connected")

    def log(self, wanted: str) -> None:
        """Wait until the page has a log."""
        for _, picture, _ in self:
            if any(wanted == (entry.get("log") or entry)["id"] for entry in picture.get("logs", ())):
                return
        raise AssertionError(f"the stream ended without {wanted}")

    def until(self, *names: str) -> tuple[str, Any, str | None]:
        """Wait for the next event with one of some names."""
        seen = []
        for event in self:
            if event[0] in names:
                return event
            seen.append(event[0])
        raise AssertionError(f"the stream ended without {names}; it had {seen}")


def wait_until(look: Any, what: str, timeout: float = PATIENCE) -> Any:
    """Look until something is found; for other processes, which cannot be waited for."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {timeout:g} s: {what}")
