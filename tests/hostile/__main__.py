"""``python -m tests.hostile``: the whole table against our client; with ``--peers`` beside its peers."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.hostile.authority import Authority
from tests.hostile.case import Case
from tests.hostile.comparison import as_json, as_markdown, compare
from tests.hostile.play import faults, play_fairly
from tests.hostile.subject import ROOT, Subject
from tests.hostile.table import KINDS, TABLE

RESULTS = ROOT / "docs" / "hostile.json"


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def play_all(cases: Sequence[Case]) -> tuple[dict[str, Any], bool]:
    """Our client, with every expectation: a summary by kind, and whether all is well."""
    good: Counter[str] = Counter()
    slowest: dict[str, float] = {}
    peaks: dict[str, int] = {}
    with Subject("realtime_client") as subject, Authority() as authority:
        for case in cases:
            played = play_fairly(case, subject, authority)
            found = faults(case, played)
            good[case.kind] += not found
            if case.expected.within <= 1:  # of those that are to be decided at once
                slowest[case.kind] = max(slowest.get(case.kind, 0.0), played.meeting.seconds)
            peaks[case.kind] = max(peaks.get(case.kind, 0), played.meeting.peak - case.limit)
            for fault in found:
                say(f"{case.name}: {fault}")
    summary: dict[str, Any] = {
        kind: {
            "cases": sum(case.kind == kind for case in cases),
            "as_expected": good[kind],
            "slowest_verdict": round(slowest.get(kind, 0.0), 3),
            "most_memory_above_the_limit": max(0, peaks[kind]),
        }
        for kind in KINDS
        if kind in peaks
    }
    return summary, sum(good.values()) == len(cases)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--peers", action="store_true", help="compare with the peers, and write the results")
    parser.add_argument("--only", default="", help="only the cases with this text in their names")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where --peers writes to (default: %(default)s)")
    arguments = parser.parse_args()
    cases = [case for case in TABLE if arguments.only in case.name]
    ours, well = play_all(cases)
    for kind, figures in ours.items():
        say(f"{kind}: {figures['as_expected']} of {figures['cases']} as expected")
    if arguments.peers:
        rows = compare(cases, say)
        say(as_markdown(rows))
        results = {"expectations": ours, **as_json(rows)}
        arguments.json.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
