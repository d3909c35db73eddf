"""Our client beside its peers, on the same cases: who refuses rightly, accepts, hangs, takes too much memory."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

import attrs

from tests.hostile.authority import Authority
from tests.hostile.case import ROOM, Case
from tests.hostile.play import Played, play
from tests.hostile.subject import Subject

__all__ = ["COMPARED", "PEERS", "Row", "Verdict", "as_json", "as_markdown", "compare", "judge"]

COMPARED: Final = ("handshake", "frames", "sizes")
"""The kinds that are about WebSockets; what JSON means is not the peers' business, and TLS is OpenSSL's for all."""
PEERS: Final[Mapping[str, str]] = {
    "WebSocketApp": "websocket-client",
    "websockets.sync": "websockets",
    "python-socketio": "python-socketio",
}
"""The peers and the distributions that they come from."""
NAMES: Final = ("realtime_client", *PEERS)
HANDSHAKES_ALONE: Final = ("python-socketio",)
UNCOMPRESSED: Final = ("WebSocketApp", "python-socketio")
NOTE: Final = (
    "python-socketio speaks Engine.IO, a protocol of its own inside of the messages. A handshake can be offered to it "
    "as to the others, with an Engine.IO session behind it; frames and sizes cannot, since what they carry is no "
    "packet of that protocol, and would be refused for that. Its frames are read by websocket-client, whose column "
    "holds for them."
)
SLACK = 2.0
"""Seconds beyond the expected ones after which a client counts as hung."""
ENDING = 0.5
"""Seconds that a client has to send its close frame once it has ended."""


class Verdict(enum.Enum):
    """How a client took a case."""

    RIGHT = "right"
    """It refused with the right close code, or accepted what is valid."""
    ACCEPTED = "accepted"
    """It went on as if nothing were wrong, or carried credentials to another host."""
    WRONG_CODE = "wrong close code"
    """It refused, and told the server another reason or none."""
    TOO_STRICT = "refused what is valid"
    UNTOLD = "refused, application not told"
    """It told the server rightly, but not its application, for as long as the server stays."""
    HUNG = "hung"
    """None of these in time."""
    MEMORY = "too much memory"
    """It took more than 16 MiB above the limit for messages."""
    ABSENT = "not applicable"
    """It is about compression, which this client does not know."""


@attrs.frozen
class Row:
    """How one client took the cases of one kind.

    Attributes:
        client: Its name.
        kind: Which cases.
        verdicts: The verdict of each case, by the case's name.
        peak: The most memory taken in any of them, in bytes above what the client took before.
    """

    client: str
    kind: str
    verdicts: Mapping[str, Verdict]
    peak: int

    @property
    def counts(self) -> Counter[Verdict]:
        """How often each verdict was given."""
        return Counter(self.verdicts.values())


def judge(case: Case, played: Played) -> Verdict:
    """How a client took a case."""
    meeting, expected = played.meeting, case.expected
    if meeting.peak > case.limit + ROOM:
        return Verdict.MEMORY
    told = [item.close_code for item in played.heard[:1]] == [expected.code]
    if meeting.then == "HUNG":
        return Verdict.UNTOLD if expected.refused and expected.code is not None and told else Verdict.HUNG
    accepted = "after" in meeting.delivered
    if not expected.refused:
        return Verdict.RIGHT if accepted else Verdict.TOO_STRICT
    carried = [item.request for item in played.heard[1:] if item.request and "Authorization" in item.request.headers]
    if accepted or carried:
        return Verdict.ACCEPTED
    if expected.code is not None and not told:
        return Verdict.WRONG_CODE
    return Verdict.RIGHT


def compare(cases: Iterable[Case], tell: Callable[[str], None]) -> list[Row]:
    """Play the cases that can be compared with every client.

    Args:
        cases: Of any kind; left out are those of others than `COMPARED`, those that need several connections, and those
            in which the protocol leaves a choice.
        tell: Called with a line for each verdict that is not right.
    """
    chosen = [case for case in cases if case.kind in COMPARED and case.turns == 1 and not case.own]
    rows = []
    with Authority() as authority:
        for name in NAMES:
            with Subject(name) as subject:
                for kind in COMPARED[:1] if name in HANDSHAKES_ALONE else COMPARED:
                    verdicts, peaks = {}, [0]
                    for case in chosen:
                        if case.kind == kind:
                            verdict, peak = _meet(case, subject, authority)
                            verdicts[case.name] = verdict
                            peaks.append(peak)
                            if verdict not in (Verdict.RIGHT, Verdict.ABSENT):
                                tell(f"{name}: {verdict.value}: {case.name}")
                    rows.append(Row(name, kind, verdicts, max(peaks)))
    return rows


def _meet(case: Case, subject: Subject, authority: Authority) -> tuple[Verdict, int]:
    if case.deflates and subject.name in UNCOMPRESSED:
        return Verdict.ABSENT, 0
    played = play(case, subject, authority, slack=SLACK, ending=ENDING)
    return judge(case, played), played.meeting.peak


def as_markdown(rows: Sequence[Row]) -> str:
    """A table, and what is not in it."""
    lines = [
        "| kind | client | cases | " + " | ".join(verdict.value for verdict in Verdict) + " | most memory |",
        "|---|---|---|" + "---|" * len(Verdict) + "---|",
    ]
    for kind in dict.fromkeys(row.kind for row in rows):
        for row in rows:
            if row.kind == kind:
                counts = " | ".join(str(row.counts[verdict]) for verdict in Verdict)
                lines.append(
                    f"| {kind} | {row.client} | {len(row.verdicts)} | {counts} | {row.peak / 1024**2:.0f} MiB |"
                )
    return "\n".join([*lines, "", NOTE, ""])


def as_json(rows: Sequence[Row]) -> dict[str, Any]:
    """The same, with the names of the cases that did not go right."""
    return {
        "versions": {name: version(distribution) for name, distribution in PEERS.items()},
        "note": NOTE,
        "rows": [
            {
                "kind": row.kind,
                "client": row.client,
                "cases": len(row.verdicts),
                "counts": {verdict.value: row.counts[verdict] for verdict in Verdict},
                "most_memory": row.peak,
                "wrong": {
                    verdict.value: [name for name, given in row.verdicts.items() if given is verdict]
                    for verdict in Verdict
                    if verdict not in (Verdict.RIGHT, Verdict.ABSENT) and row.counts[verdict]
                },
            }
            for row in rows
        ],
    }
