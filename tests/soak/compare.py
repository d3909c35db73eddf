"""The same cuts, one after the other, for this client and for others: who comes back, and who says what was lost."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import attrs

from tests.faults.numbered_feed import EVENTS, EngineFeed, NumberedFeed
from tests.faults.proxy import Cut, FaultProxy, Toxics

ROOT = Path(__file__).parents[2]
PATIENCE = 5.0
"""Seconds within which a client is back, or counts as gone for good; they all try every twentieth of a second."""
NOTICE = 4.0
"""Seconds within which a black hole is to be noticed by a keep-alive of half a second."""
UNDER_WAY = timedelta(seconds=1)
"""The longest that anything is, on a busy machine."""
HANDSHAKE = 100
"""Bytes; every answer to a handshake is longer."""
FIRST_FRAMES = (170, 480)
"""Bytes within which the events of a connection lie."""
DISTRIBUTIONS = {
    "realtime_client": ("realtime-client", "realtime_client"),
    "WebSocketApp": ("websocket-client", "websocket"),
    "websockets.sync": ("websockets", "websockets"),
    "websockets.asyncio": ("websockets", "websockets"),
    "python-socketio": ("python-socketio", "socketio"),
}


class PeerProcess:
    """A client in a process of its own, and what it has said."""

    def __init__(self, which: str, url: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.peer", which, url],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env={**os.environ, **{f"WEBSOCKETS_BACKOFF_{name}_DELAY": "0.05" for name in ("INITIAL", "MIN", "MAX")}},
        )
        self._changed = threading.Condition()  # guards the rest
        self._lines: list[tuple[str, str]] = []
        self._ended = False
        self._thread = threading.Thread(target=self._read, name=f"peer-{which}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Everything it has said."""
        with self._changed:
            return list(self._lines)

    def wait_for_whole(self, connections: int, timeout: float) -> bool:
        """Block until it has got the last event of any connection after so many.

        Returns:
            ``False`` where it has ended, or the time is up.
        """

        def has() -> bool:
            numbers = [int(text) for kind, text in self._lines[-3 * EVENTS :] if kind == "E"]
            return any(one >= connections * EVENTS and one % EVENTS == EVENTS - 1 for one in numbers)

        with self._changed:
            self._changed.wait_for(lambda: self._ended or has(), timeout)
            return has()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            kind, _, words = line.rstrip("\n").partition(" ")
            with self._changed:
                self._lines.append((kind, words))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


@attrs.define
class Tally:
    """What became of one kind of fault.

    Attributes:
        tried: How many.
        ended_for_good: After how many the client did not come back.
        unnoticed: How many left it with a dead connection that it took for a living one.
        lost: Events that the server sent and the client never got.
        lost_without_a_word: Those of them between whose neighbours the application was told nothing at all.
        losses_reported: Those of them that were sent within the times of a report of missed events.
        wrong: Events that came twice or out of order.
    """

    tried: int = 0
    ended_for_good: int = 0
    unnoticed: int = 0
    lost: int = 0
    lost_without_a_word: int = 0
    losses_reported: int = 0
    wrong: int = 0

    def read(self, lines: list[tuple[str, str]], sent_at: Callable[[int], datetime | None]) -> None:
        """Count what the lines of one process tell; the feed knows when an event was sent, if it was."""
        got = {int(text) for kind, text in lines if kind == "E"}
        newest: int | None = None
        words: list[tuple[str, str]] = []
        for kind, text in lines:
            if kind != "E":
                words.append((kind, text))
                continue
            number = int(text)
            if newest is None:
                newest = number
            elif number <= newest:
                self.wrong += 1
            missing = [at for one in range(newest + 1, number) if one not in got and (at := sent_at(one)) is not None]
            gaps = [_times(text) for kind, text in words if kind == "G"]
            self.lost += len(missing)
            self.lost_without_a_word += len(missing) * (not words)
            self.losses_reported += sum(any(since <= at <= until for since, until in gaps) for at in missing)
            newest, words = max(newest, number), []


def _times(text: str) -> tuple[datetime, datetime]:
    """A report's times. What is under way when the feed is heard last was sent a little earlier."""
    since, until = map(datetime.fromisoformat, text.split())
    return since - UNDER_WAY, until


Trial = Callable[[FaultProxy, random.Random], None]


def _cut_next(by: Any, low: int, high: int) -> Trial:
    """The connection is reset, and the next one cut within these bytes."""

    def trial(proxy: FaultProxy, dice: random.Random) -> None:
        proxy.plan(Cut(dice.randint(low, high), by))
        proxy.cut("rst")

    return trial


def _black_hole(proxy: FaultProxy, _dice: random.Random) -> None:
    """Nothing arrives for a while; who notices has dialled anew by then."""
    before = proxy.accepted
    proxy.set(Toxics(black_hole=True))
    with contextlib.suppress(TimeoutError):
        proxy.wait_for_accepted(before + 1, NOTICE)
    proxy.heal()


TRIALS: dict[str, Trial] = {
    "reset": lambda proxy, dice: void(proxy.cut("rst")),
    "end of stream": lambda proxy, dice: void(proxy.cut("fin")),
    "reset in the handshake": _cut_next("rst", 0, HANDSHAKE),
    "end of stream in the handshake": _cut_next("fin", 0, HANDSHAKE),
    "reset inside the first frames": _cut_next("rst", *FIRST_FRAMES),
    "end of stream inside the first frames": _cut_next("fin", *FIRST_FRAMES),
    "black hole": _black_hole,
}
SLOW = {"black hole": 10}
"""Of these so many times fewer."""


def void(_result: object) -> None:
    """What a trial has to return."""


def compare(*, faults: int, seed: int, say: Callable[[str], object]) -> dict[str, Any]:
    """Put every client through every kind of fault; blocks for minutes.

    Args:
        faults: How often each kind.
        seed: Of the places of the cuts.
        say: Is told of the progress.
    """
    result: dict[str, Any] = {
        "command": f"python -m tests.soak --peers --faults {faults} --seed {seed}",
        "patience": PATIENCE,
        "clients": {},
    }
    for which, (distribution, module) in DISTRIBUTIONS.items():
        if importlib.util.find_spec(module) is None:
            say(f"{which}: not installed")
            continue
        tallies = {kind: go_through(which, kind, faults // SLOW.get(kind, 1), seed) for kind in TRIALS}
        result["clients"][which] = {
            "version": importlib.metadata.version(distribution),
            "faults": {kind: attrs.asdict(tally) for kind, tally in tallies.items()},
            "all": {name: sum(getattr(one, name) for one in tallies.values()) for name in attrs.fields_dict(Tally)},
        }
        say(f"{which}: {result['clients'][which]['all']}")
    return result


def go_through(which: str, kind: str, times: int, seed: int) -> Tally:
    """Put one client through one kind of fault; a client that is gone is started anew."""
    tally = Tally()
    dice = random.Random(seed)
    with _feed(which) as feed, FaultProxy(feed.port, seed=seed) as proxy:
        while tally.tried < times:
            with PeerProcess(which, proxy.url()) as peer:
                if not peer.wait_for_whole(proxy.accepted, PATIENCE * 4):
                    raise RuntimeError(f"{which} cannot connect at all: {peer.lines[-3:]}")
                is_back = True
                while is_back and tally.tried < times:
                    before = proxy.accepted
                    TRIALS[kind](proxy, dice)
                    is_back = peer.wait_for_whole(before, PATIENCE)
                    tally.tried += 1
                if not is_back:
                    tally.unnoticed += proxy.open
                    tally.ended_for_good += not proxy.open
                tally.read(peer.lines, feed.sent_at)
            proxy.heal()
            proxy.cut("rst")
    return tally


class TimedFeed(NumberedFeed):
    """Knows when it has sent what."""

    def __init__(self) -> None:
        self._times: dict[int, datetime] = {}
        super().__init__()

    def sent_at(self, number: int) -> datetime | None:
        """When an event was sent; ``None`` where its connection was cut before the server had read the request."""
        return self._times.get(number // EVENTS)

    def _first_words(self, connection: int) -> bytes:
        words = super()._first_words(connection)
        self._times[connection] = datetime.now(UTC)
        return words


class TimedEngineFeed(TimedFeed, EngineFeed):
    """The same for a client that speaks Engine.IO."""


def _feed(which: str) -> TimedFeed:
    return TimedEngineFeed() if which == "python-socketio" else TimedFeed()
