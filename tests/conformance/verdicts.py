"""What the suite says about a client, what is required of ours, and the figures for the documentation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

GROUPS: Mapping[str, str] = {
    "1": "framing",
    "2": "pings and pongs",
    "3": "reserved bits",
    "4": "opcodes",
    "5": "fragmentation",
    "6": "UTF-8",
    "7": "closing",
    "9": "limits and speed",
    "10": "automatic fragmentation",
    "12": "compression, kinds of data",
    "13": "compression, parameters",
}
SIZES: Mapping[str, int] = {
    "1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "9": 54, "10": 1, "12": 90, "13": 126,
}  # fmt: skip
"""How many cases each group has; a suite that has lost some proves less than it seems to."""
COMPRESSION = ("12", "13")
CORE = tuple(group for group in GROUPS if group not in COMPRESSION)
INFORMATIONAL = frozenset({"7.1.6", "7.13.1", "7.13.2"})
"""Cases that the suite does not judge, whatever a client does."""
WITHOUT_CODE = frozenset({"7.3.1"})
"""Cases in which the server closes without a code, so that the answer has none either."""


@attrs.frozen
class Verdict:
    """The suite's word on one case.

    Attributes:
        case: Its number, such as ``6.4.1``.
        behavior: ``OK``, ``NON-STRICT``, ``INFORMATIONAL``, ``FAILED`` or ``UNIMPLEMENTED``.
        closing: ``OK``, ``INFORMATIONAL``, ``WRONG CODE``, ``UNCLEAN`` or ``FAILED``.
        code: The close code that the client sent, or ``None``.
        seconds: How long it took.
        words: The suite's reasons.
    """

    case: str
    behavior: str
    closing: str
    code: int | None
    seconds: float
    words: str

    @property
    def group(self) -> str:
        return self.case.partition(".")[0]


def read_verdicts(report: Iterable[Mapping[str, Any]]) -> list[Verdict]:
    """The verdicts in the order of their cases, from the suite's report."""
    verdicts = [
        Verdict(
            case=entry["id"],
            behavior=entry["behavior"],
            closing=entry["behaviorClose"],
            code=entry["remoteCloseCode"],
            seconds=entry["duration"] / 1000,
            words=f"{entry['result']} {entry['resultClose']}",
        )
        for entry in report
    ]
    return sorted(verdicts, key=lambda verdict: [int(part) for part in verdict.case.split(".")])


def shortcomings(verdicts: Iterable[Verdict]) -> list[str]:
    """A line for each case that is not as required: nothing but OK, and always a close code."""
    lines = []
    for verdict in verdicts:
        required = "INFORMATIONAL" if verdict.case in INFORMATIONAL else "OK"
        is_told = verdict.code is not None or verdict.case in WITHOUT_CODE
        if verdict.behavior != required or verdict.closing != required or not is_told:
            lines.append(
                f"{verdict.case}: {verdict.behavior}, closing {verdict.closing}, code {verdict.code}: {verdict.words}"
            )
    return lines


def summary(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The figures of one client: in all, and for each group of cases."""
    groups = {group: [verdict for verdict in verdicts if verdict.group == group] for group in GROUPS}
    return {
        "total": _figures(verdicts),
        "groups": {group: _figures(members) for group, members in groups.items() if members},
    }


def _figures(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    behavior = Counter(verdict.behavior for verdict in verdicts)
    closing = Counter(verdict.closing for verdict in verdicts)
    codes = Counter("none" if verdict.code is None else str(verdict.code) for verdict in verdicts)
    return {
        "cases": len(verdicts),
        "ok": behavior["OK"],
        "non_strict": behavior["NON-STRICT"],
        "informational": behavior["INFORMATIONAL"],
        "failed": behavior["FAILED"],
        "unimplemented": behavior["UNIMPLEMENTED"],
        "wrong_close_code": closing["WRONG CODE"],
        "unclean": closing["UNCLEAN"],
        "failed_close": closing["FAILED"],
        "close_codes": dict(sorted(codes.items())),
        "seconds": round(sum(verdict.seconds for verdict in verdicts), 1),
    }


COLUMNS: Mapping[str, str] = {
    "cases": "cases",
    "ok": "OK",
    "non_strict": "non-strict",
    "informational": "informational",
    "failed": "failed",
    "unimplemented": "unimplemented",
    "wrong_close_code": "wrong close code",
    "unclean": "unclean",
    "failed_close": "failed to close",
}


def table_of_groups(client: Mapping[str, Any]) -> str:
    """Markdown: the figures of one client, a line for each group."""
    rows = [
        [f"{group}.* {GROUPS[group]}", *_cells(figures), _codes(figures), f"{figures['seconds']:g}"]
        for group, figures in client["groups"].items()
    ]
    total = client["total"]
    rows.append(["all", *_cells(total), _codes(total), f"{total['seconds']:g}"])
    return _table(["group", *COLUMNS.values(), "close codes", "seconds"], rows)


def _cells(figures: Mapping[str, Any]) -> list[str]:
    return [str(figures[column]) for column in COLUMNS]


def _codes(figures: Mapping[str, Any]) -> str:
    return ", ".join(f"{code} ({count})" for code, count in figures["close_codes"].items())


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
