"""The tables of what the tests themselves are worth: how much of the code they reach, and which changes they notice."""

from __future__ import annotations

from proofs import Figures, number, ran, table

__all__ = ["coverage_places", "mutants_killed", "mutants_survived"]


def coverage_places(figures: Figures) -> str:
    """What the suite reaches of each part of the package."""
    head = ["part", "statements", "reached", "branches", "taken"]
    rows = (
        [
            {".": "the modules at the top", "all": "all"}.get(place, f"`{place}`"),
            number(found["statements"]),
            _percent(found["statements_taken"], found["statements"]),
            number(found["branches"]),
            _percent(found["branches_taken"], found["branches"]),
        ]
        for place, found in figures["places"].items()
    )
    return f"{table(head, rows)}\n\n`{figures['command']}`; {ran(figures['run'])}."


def mutants_killed(figures: Figures) -> str:
    """How many changes to each file made a test fail."""
    files = figures["files"]
    sums = {key: sum(found[key] for found in files.values()) for key in next(iter(files.values()))}
    rows = (
        [
            "all" if file == "all" else f"`{file}`",
            number(found["mutants"]),
            number(_tried(found)),
            number(found["killed"]),
            number(found["timed out"]),
            number(found["survived"]),
            _percent(_tried(found) - found["survived"], _tried(found)) if _tried(found) else "none tried",
        ]
        for file, found in {**files, "all": sums}.items()
    )
    head = ["file", "mutants", "tried", "a test failed", "did not end in time", "survived", "killed"]
    return f"{table(head, rows)}\n\n`{figures['command']}`, {number(figures['seconds'])} s; {ran(figures['run'])}."


def mutants_survived(figures: Figures) -> str:
    """Each change that no test noticed, and why that is so."""
    rows = (
        [f"`{found['file']}`", f"`{found['place']}`" if found["place"] else "", found["change"], found["why"]]
        for found in figures["survivors"]
    )
    return table(["file", "in", "change", "why it survives"], rows)


def _tried(found: Figures) -> int:
    return int(found["killed"] + found["timed out"] + found["survived"])


def _percent(part: int, whole: int) -> str:
    """Rounded down: nothing is called whole that is not."""
    return f"{1000 * part // whole / 10:g} %" if whole else "none"
