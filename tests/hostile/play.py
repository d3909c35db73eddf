"""One case, played: a hostile server, a client, and what is wrong with what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from realtime_client import ConnectionLost
from tests import engine_io
from tests.hostile.authority import Authority
from tests.hostile.case import ROOM, Asked, Case, Expected, Step, Then, event, lives, upgrade
from tests.hostile.meeting import Client, Meeting
from tests.hostile.server import Heard, HostileServer
from tests.hostile.subject import Subject

__all__ = ["Played", "faults", "in_engine_io", "play", "play_fairly", "warm_up"]

SLACK = 10.0
"""Seconds beyond the expected ones until a case counts as hung."""
ENDING = 10.0
"""Seconds within which the client has left the server, once there is a verdict; a guard against hanging only."""
TRIES = 6
"""How often a case is played at most, until it was quick enough."""

AFTER_IN_ENGINE_IO = engine_io.frames(
    [*engine_io.opening("sid", interval=25, timeout=20), engine_io.message("system_alert", {"message": "after"})]
)
WARM_UP = Case(name="warm-up", group="", speech=lambda asked: [upgrade(asked) + event("after")], expected=lives())


@attrs.frozen
class Played:
    """What came of a case, on both sides.

    Attributes:
        meeting: What the client saw.
        heard: What the server heard, a connection each.
        alone: Whether the client had left every connection in the end.
    """

    meeting: Meeting
    heard: list[Heard]
    alone: bool


def play(case: Case, subject: Subject, authority: Authority, *, slack: float = SLACK, ending: float = ENDING) -> Played:
    """Play a case once.

    Args:
        case: What the server does.
        subject: The client, in its process.
        authority: For cases with TLS.
        slack: Seconds beyond the expected ones until the client's process is asked for what it has.
        ending: Seconds to wait for the client to leave.
    """
    with HostileServer(spoken_to(subject.name, case), authority) as server:
        meeting = subject.meet(server.url, options_of(case, authority), case.expected.within + slack)
        alone = server.wait_for_silence(ending)
        heard = server.heard
    return Played(meeting, heard, alone)


def play_fairly(case: Case, subject: Subject, authority: Authority) -> Played:
    """Play a case, and again if it took too long: a machine is busy now and then, a slow client is slow each time."""
    for _ in range(TRIES):
        played = play(case, subject, authority)
        if played.meeting.seconds <= case.expected.within:
            break
    return played


def options_of(case: Case, authority: Authority) -> dict[str, Any]:
    """The client's options."""
    return {**case.options, **({} if case.security is None else {"ca_file": authority.path})}


def spoken_to(client: str, case: Case) -> Case:
    """The case as it is put to a client; one that does not speak the feed's own protocol gets Engine.IO's packets."""
    return in_engine_io(case) if client == "python-socketio" else case


def in_engine_io(case: Case) -> Case:
    """The same case, but that good messages come as packets of an Engine.IO session."""

    def speech(asked: Asked) -> Iterator[Step]:
        for step in case.speech(asked):
            yield step.replace(event("after"), AFTER_IN_ENGINE_IO) if isinstance(step, bytes) else step

    return attrs.evolve(case, speech=speech)


def warm_up(name: str, client: Client) -> None:
    """Meet a good server, so that what is loaded with the first connection is loaded."""
    with Authority() as authority, HostileServer(spoken_to(name, WARM_UP), authority) as server:
        client(server.url, {}, SLACK)


def faults(case: Case, played: Played) -> list[str]:
    """What is not as the case expects it; empty where all is well."""
    return [*_of_the_verdict(case.expected, played.meeting), *_of_the_wire(case, played), *_of_the_rest(case, played)]


def _of_the_verdict(expected: Expected, meeting: Meeting) -> Iterator[str]:
    if meeting.then != expected.then.name:
        yield f"the client {meeting.then}, expected {expected.then.name}"
    error = expected.error.__name__ if expected.error else ""
    if meeting.error != error:
        yield f"error {meeting.error or 'none'} ({meeting.message}), expected {error or 'none'}"
    words = meeting.message if expected.error else " ".join(meeting.rejected)
    if expected.words not in words:
        yield f"it says {words!r}, expected {expected.words!r}"
    if expected.status is not None and meeting.status != expected.status:
        yield f"status {meeting.status}, expected {expected.status}"
    if expected.code is not None and expected.refused and meeting.code != expected.code:
        yield f"the error's code is {meeting.code}, expected {expected.code}"
    if expected.pause is not None and not expected.pause - 30 < (meeting.pause or 0) < expected.pause + 1:
        yield f"the next attempt in {meeting.pause} s, expected {expected.pause:g}"
    if meeting.malformed != expected.rejected or len(meeting.rejected) != expected.rejected:
        yield f"{meeting.malformed} malformed messages ({meeting.rejected}), expected {expected.rejected}"


def _of_the_wire(case: Case, played: Played) -> Iterator[str]:
    expected, heard, delivered = case.expected, played.heard, played.meeting.delivered
    if expected.refused and "after" in delivered:
        yield "a message behind what is refused was delivered"
    if case.kind in ("frames", "sizes", "json") and delivered.count("before") != case.turns:
        yield f"of the messages before what is hostile {delivered.count('before')} were delivered, not {case.turns}"
    if any(item.nonsense for item in heard):
        yield f"the client broke the protocol: {[item.nonsense for item in heard]}"
    turns = heard[: case.turns]
    codes = [item.close_code for item in turns]
    if codes != [expected.code] * case.turns:
        yield f"the client closed with {codes}, expected {expected.code}"
    if (
        case.kind == "handshake"
        and expected.error is not ConnectionLost
        and expected.refused
        and any(item.bytes for item in turns)
    ):
        yield f"the client sent {[item.bytes for item in turns]} bytes on a connection that was not open"
    attempts = case.turns + (expected.then is Then.RECOVERS)
    if len(heard) != attempts:
        yield f"{len(heard)} attempts, expected {attempts}"


def _of_the_rest(case: Case, played: Played) -> Iterator[str]:
    meeting = played.meeting
    if meeting.seconds > case.expected.within:
        yield f"the verdict took {meeting.seconds:.2f} s, allowed are {case.expected.within:g}"
    if meeting.peak > case.limit + ROOM:
        yield f"{meeting.peak} bytes of memory, allowed are {case.limit + ROOM}"
    if meeting.left or not played.alone:
        yield f"left behind: {meeting.left or 'a connection'}"
