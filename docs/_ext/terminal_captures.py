"""Captures of the live view, for the documentation: ``python docs/_ext/terminal_captures.py``. Needs tmux.

The real command runs in real terminals of two sizes, over the feed of a generated log. They are captured while all is
well, while the server is away, and after it has come back.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from realtime_client.demo import FeedServer, GeneratedLog, LogFeed

__all__ = ["MOMENTS", "SIZES", "capture_name", "svg_of"]

IMAGES = Path(__file__).parents[1] / "images"
SIZES = ((80, 24), (200, 50))
MOMENTS = ("connected", "outage", "after")
SOCKET = "realtime-captures"
LINES_PER_SECOND = 200.0
ALERT = "demo-database has used 95 % of its disk"
LIVELY = re.compile(r" for ([6-9]|\d\d).* latency.*Anomalies · \d\d", re.DOTALL)
PATIENCE = 60.0
OPTIONS = {
    "REALTIME_RECONNECT_DELAY": "1",
    "REALTIME_RECONNECT_DELAY_MAX": "4",
    "REALTIME_RECONNECT_JITTER": "0",
    "REALTIME_MAX_RECONNECT_ATTEMPTS": "2",
    "REALTIME_HEARTBEAT_INTERVAL": "5",
}


def capture_name(size: tuple[int, int], moment: str) -> str:
    """The file of a capture."""
    return f"watch-{size[0]}x{size[1]}-{moment}.svg"


def svg_of(ansi: str, width: int) -> str:
    """What stands on a terminal, as a picture that loads nothing from elsewhere."""
    console = Console(record=True, width=width, file=io.StringIO(), color_system="truecolor")
    for line in ansi.splitlines():
        console.print(Text.from_ansi(line), no_wrap=True, overflow="crop", end="\n", highlight=False)
    picture = console.export_svg(title="realtime-client watch", theme=MONOKAI)
    return re.sub(r"\s*@font-face \{.*?\}", "", picture, flags=re.DOTALL)


def tmux(*command: str) -> str:
    """Call tmux, on a server of its own."""
    done = subprocess.run(["tmux", "-L", SOCKET, *command], capture_output=True, text=True, check=True)  # noqa: S603, S607
    return done.stdout


def session(size: tuple[int, int]) -> str:
    """The name of the session of a size."""
    return f"size{size[0]}"


@contextmanager
def watching(url: str) -> Iterator[None]:
    """The command in a terminal of each size."""
    options = " ".join(f"{name}={value}" for name, value in OPTIONS.items())
    command = f"env {options} {sys.executable} -m realtime_client watch {url}"
    for size in SIZES:
        columns, lines = map(str, size)
        tmux("new-session", "-d", "-s", session(size), "-x", columns, "-y", lines, command)
    try:
        yield
    finally:
        tmux("kill-server")


def wait_until(seen: Callable[[str], bool]) -> None:
    """Wait until every terminal shows it."""
    deadline = time.monotonic() + PATIENCE
    while not all(seen(tmux("capture-pane", "-t", session(size), "-p")) for size in SIZES):
        if time.monotonic() > deadline:
            raise SystemExit("it is not seen: " + tmux("capture-pane", "-t", session(SIZES[0]), "-p"))
        time.sleep(0.1)


def capture(moment: str) -> None:
    """Keep what every terminal shows."""
    for size in SIZES:
        ansi = tmux("capture-pane", "-t", session(size), "-e", "-N", "-p")
        path = IMAGES / capture_name(size, moment)
        path.write_text(svg_of(ansi, size[0]), encoding="utf-8")
        sys.stdout.write(f"{path}\n")


@contextmanager
def feeding(port: int, seed: int) -> Iterator[FeedServer]:
    """A server over lively logs."""
    logs = [GeneratedLog(seed=seed + n, lines_per_second=LINES_PER_SECOND) for n in range(4)]
    with FeedServer(port=port) as server, LogFeed(server, logs):
        yield server


def show_life(server: FeedServer) -> None:
    """Wait until there is something to see, and see to it that there is an alert."""
    wait_until(lambda text: LIVELY.search(text) is not None)
    server.publish({"type": "system_alert", "data": {"message": ALERT, "severity": "warning"}})
    wait_until(lambda text: ALERT in text)


def main() -> None:
    """Make them all."""
    with ExitStack() as stack:
        with feeding(0, seed=7) as server:
            stack.enter_context(watching(server.url))
            show_life(server)
            capture("connected")
        wait_until(lambda text: re.search("UNAVAILABLE.*outage declared [2-9]", text, re.DOTALL) is not None)
        capture("outage")
        with feeding(server.port, seed=11) as server:
            show_life(server)
            capture("after")


if __name__ == "__main__":
    main()
