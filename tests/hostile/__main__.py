"""``python -m tests.hostile``: the whole table against our client; with ``--peers`` beside its peers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import attrs

from tests.hostile.authority import Authority
from tests.hostile.case import Case
from tests.hostile.comparison import as_json, as_markdown, compare
from tests.hostile.play import Played, faults, play_fairly
from tests.hostile.subject import Subject
from tests.hostile.table import KINDS, TABLE
from tests.records import add_docs_option, conditions, keep

AT_ONCE = 1.0
"""Seconds within which a verdict is due, where time is not the matter itself."""


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@attrs.define
class Tally:
    """How the client took the cases of one kind.

    Attributes:
        cases: How many.
        as_expected: How many of them in every respect as the table says.
        slowest_verdict: Seconds, of the cases that are to be decided at once.
        slow: Of the others the one that took the largest part of its time: its name, its seconds, and those allowed.
        most_memory_above_the_limit: Bytes.
    """

    cases: int = 0
    as_expected: int = 0
    slowest_verdict: float = 0.0
    slow: tuple[str, float, float] | None = None
    most_memory_above_the_limit: int = 0

    def add(self, case: Case, played: Played, *, well: bool) -> None:
        """Count a case."""
        self.cases += 1
        self.as_expected += well
        seconds, allowed = round(played.meeting.seconds, 3), case.expected.within
        if allowed <= AT_ONCE:
            self.slowest_verdict = max(self.slowest_verdict, seconds)
        elif self.slow is None or seconds / allowed > self.slow[1] / self.slow[2]:
            self.slow = (case.name, seconds, allowed)
        self.most_memory_above_the_limit = max(self.most_memory_above_the_limit, played.meeting.peak - case.limit)


def play_all(cases: Sequence[Case]) -> dict[str, Tally]:
    """Our client, with every expectation, by kind."""
    tallies: dict[str, Tally] = {}
    with Subject("realtime_client") as subject, Authority() as authority:
        for case in cases:
            played = play_fairly(case, subject, authority)
            found = faults(case, played)
            tallies.setdefault(case.kind, Tally()).add(case, played, well=not found)
            for fault in found:
                say(f"{case.name}: {fault}")
    return {kind: tallies[kind] for kind in KINDS if kind in tallies}


def main(given: Sequence[str] | None = None) -> int:
    """Play what is asked for; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--peers", action="store_true", help="compare with the peers")
    parser.add_argument("--only", default="", help="only the cases with this text in their names")
    add_docs_option(parser)
    arguments = parser.parse_args(given)
    if arguments.docs and (arguments.only or not arguments.peers):
        parser.error("--docs wants the whole: with --peers, without --only")
    run = conditions()
    cases = [case for case in TABLE if arguments.only in case.name]
    ours = play_all(cases)
    for kind, tally in ours.items():
        say(f"{kind}: {tally.as_expected} of {tally.cases} as expected")
    if arguments.peers:
        rows = compare(cases, say)
        say(as_markdown(rows))
        if arguments.docs:
            tallies = {kind: attrs.asdict(tally) for kind, tally in ours.items()}
            keep("hostile", {"run": run, "expectations": tallies, **as_json(rows)})
    return int(any(tally.as_expected < tally.cases for tally in ours.values()))


if __name__ == "__main__":
    sys.exit(main())
