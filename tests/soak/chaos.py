"""Every fault there is, by name; a seeded choice among them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from realtime_client._core.frames import TEXT, encode_frame
from realtime_client.testing import accept, close, drip, go_silent, redirect, refuse, reset, send_raw, stall
from tests.faults.proxy import BOTH, HEALTHY, Cut, Direction, Toxics
from tests.soak.station import Station

Fault: TypeAlias = Callable[[Station, random.Random], tuple[float, Callable[[], None]] | None]
"""Does something to a station; what is to be undone, and after how many seconds, or ``None``."""

CLOSE_CODES = (1000, 1001, 1002, 1008, 1011, 1012, 1013, 4000)
REFUSALS = (404, 408, 429, 500, 503)
INVALID_TEXT = b'{"type":"new_anomaly","data":"\xff"}'


def _toxic(make: Callable[[random.Random], Toxics], longest: float, *directions: Direction) -> Fault:
    """For a while a direction at random, or these, have toxics."""

    def fault(station: Station, dice: random.Random) -> tuple[float, Callable[[], None]]:
        chosen = directions or (dice.choice(BOTH),)
        station.poison(make(dice), *chosen)
        return dice.uniform(0.05, longest), lambda: station.poison(HEALTHY, *chosen)

    return fault


def _cut_later(station: Station, dice: random.Random) -> None:
    """The next connection is cut somewhere in its handshake or its first frames."""
    direction = dice.choice(BOTH)
    station.proxy.plan(Cut(dice.randint(0, 1500), dice.choice(("fin", "rst")), direction))
    station.proxy.cut("rst")


def _cut_inside_a_frame(station: Station, dice: random.Random) -> None:
    """Half a frame, and then the end."""
    frame = encode_frame(TEXT, b'{"type":"system_alert","data":{"message":"never whole"}}')
    station.server.add_script(accept(), send_raw(frame[: dice.randrange(1, len(frame))]), reset())
    station.proxy.cut("fin")


def _half_close(station: Station, dice: random.Random) -> None:
    station.proxy.half_close(dice.choice(BOTH))


def _restart(station: Station, dice: random.Random) -> tuple[float, Callable[[], None]]:
    station.go_away()
    return dice.uniform(0.05, 3.0), station.come_back


def _close_code(station: Station, dice: random.Random) -> None:
    station.server.close_connections(dice.choice(CLOSE_CODES), "chaos")


def _refuse(station: Station, dice: random.Random) -> None:
    """The next handshakes are refused, with or without a word on when to come back."""
    for _ in range(dice.randint(1, 4)):
        headers = {"Retry-After": dice.choice(("0", "1"))} if dice.random() < 0.5 else None
        station.server.add_script(refuse(dice.choice(REFUSALS), headers=headers))
    station.server.drop()


def _next_handshake(*steps: object) -> Fault:
    """The next handshake goes like this."""

    def fault(station: Station, dice: random.Random) -> None:
        station.server.add_script(*steps)  # type: ignore[arg-type]
        station.server.drop(reset=dice.random() < 0.5)

    return fault


def _now(data: bytes) -> Fault:
    """The server sends what it should not, on the connection that is open."""

    def fault(station: Station, _dice: random.Random) -> None:
        station.server.send(data.decode())

    return fault


FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        "latency": _toxic(lambda dice: Toxics(latency=dice.uniform(0.005, 0.3)), 2.0),
        "jitter": _toxic(lambda dice: Toxics(jitter=dice.uniform(0.005, 0.2)), 2.0),
        "bandwidth": _toxic(lambda dice: Toxics(bytes_per_second=dice.uniform(500, 50_000)), 2.0),
        "single bytes": _toxic(lambda dice: Toxics(slice_bytes=dice.randint(1, 5)), 2.0),
        "black hole": _toxic(lambda dice: Toxics(black_hole=True), 4.0),
        "black hole, both ways": _toxic(lambda dice: Toxics(black_hole=True), 4.0, *BOTH),
        "reset": lambda station, dice: void(station.proxy.cut("rst")),
        "end of stream": lambda station, dice: void(station.proxy.cut("fin")),
        "half-close": _half_close,
        "cut after so many bytes": _cut_later,
        "cut inside a frame": _cut_inside_a_frame,
        "server restart": _restart,
        "close code": _close_code,
        "refused handshakes": _refuse,
        "redirect": _next_handshake(redirect("http://127.0.0.1:9/elsewhere")),
        "reset in the handshake": _next_handshake(reset()),
        "handshake that stalls": _next_handshake(stall()),
        "handshake that trickles": _next_handshake(drip(accept(), 1, 0.05)),
        "wrong accept key": _next_handshake(accept(wrong_key="bm90IHRoZSBrZXkgYXQgYWxsIQ==")),
        "mute server": _next_handshake(accept(), go_silent()),
        "deaf server": _next_handshake(accept(), stall()),
        "broken frames": _next_handshake(accept(), send_raw(b"\xff\xff\xff\xff")),
        "invalid text": _next_handshake(accept(), send_raw(encode_frame(TEXT, INVALID_TEXT))),
        "message too large": _next_handshake(accept(), send_raw(encode_frame(TEXT, b" " * 100_000))),
        "close in the handshake's shadow": _next_handshake(accept(), close(1001)),
        "malformed message": _now(b'{"type": "new_anomaly", "data": {}}'),
    }
)


def void(_result: object) -> None:
    """Nothing to undo."""
