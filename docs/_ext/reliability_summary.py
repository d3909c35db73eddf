"""All proofs in one table: what went wrong, for whom, and of how many."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from proofs import ALIASES, CLIENTS, NOT_MEASURED, OURS, Proofs, heading, number, share, table

__all__ = ["summary"]

Cell: TypeAlias = Callable[[Proofs, str], str | None]
"""What is said of one client, or ``None`` where it was not measured."""


def summary(proofs: Proofs) -> str:
    """Markdown: a line for each way to go wrong, a column for each client."""
    rows = ([what, *(cell(proofs, who) or NOT_MEASURED for who in CLIENTS)] for what, cell in LINES.items())
    return table(["what went wrong", *map(heading, CLIENTS)], rows)


def _failed(proofs: Proofs, who: str) -> str | None:
    total = _conformance_of(proofs, who)
    return None if total is None else share(total["cases"] - total["ok"] - total["informational"], total["cases"])


def _badly_closed(proofs: Proofs, who: str) -> str | None:
    total = _conformance_of(proofs, who)
    return (
        None
        if total is None
        else share(total["wrong_close_code"] + total["unclean"] + total["failed_close"], total["cases"])
    )


def _conformance_of(proofs: Proofs, who: str) -> dict[str, int] | None:
    clients = proofs.get("conformance", {}).get("clients", {})
    found = clients.get(who, clients.get(ALIASES.get(who)))
    return None if found is None else dict(found["total"])


def _hostile(proofs: Proofs, who: str) -> str | None:
    rows = [row for row in proofs.get("hostile", {}).get("rows", ()) if row["client"] == who]
    if not rows:
        return None
    applicable = sum(row["cases"] - row["counts"]["not applicable"] for row in rows)
    return share(applicable - sum(row["counts"]["right"] for row in rows), applicable)


def _hostile_at_all(proofs: Proofs, who: str) -> str | None:
    kinds = proofs.get("hostile", {}).get("expectations", {}).values()
    if who != OURS or not kinds:
        return None
    cases = sum(found["cases"] for found in kinds)
    return share(cases - sum(found["as_expected"] for found in kinds), cases)


def _faults_of(proofs: Proofs, who: str) -> dict[str, int] | None:
    found = proofs.get("faults", {}).get("clients", {}).get(who)
    return None if found is None else dict(found["all"])


def _gone(proofs: Proofs, who: str) -> str | None:
    found = _faults_of(proofs, who)
    return None if found is None else share(found["ended_for_good"] + found["unnoticed"], found["tried"])


def _unreported(proofs: Proofs, who: str) -> str | None:
    found = _faults_of(proofs, who)
    return None if found is None else share(found["lost"] - found["losses_reported"], found["lost"])


def _untold(proofs: Proofs, who: str) -> str | None:
    found = _faults_of(proofs, who)
    return None if found is None else share(found["lost_without_a_word"], found["lost"])


def _wrong(proofs: Proofs, who: str) -> str | None:
    found = _faults_of(proofs, who)
    return None if found is None else number(found["wrong"])


def _found(proofs: Proofs, who: str) -> str | None:
    runs = proofs.get("fuzz")
    if who != OURS or not runs:
        return None
    tried = sum(run.get("executions", 0) + run.get("streams", 0) for run in runs.values())
    return f"{number(sum(run['findings'] for run in runs.values()))} in {number(tried)}"


def _network(proofs: Proofs, who: str) -> str | None:
    parts = proofs.get("network")
    if who != OURS or not parts:
        return None
    tests = [found for part in ("proxy", "kernel") for found in parts[part].values()]
    failed = sum(found["failed"] for found in tests)
    return share(failed, failed + sum(found["passed"] for found in tests))


def _stepped(proofs: Proofs, who: str) -> str | None:
    run = proofs.get("machines")
    if who != OURS or not run:
        return None
    return f"{number(run['failed'])} in {number(sum(way['steps'] for way in run['machines'].values()))} steps"


def _broken(proofs: Proofs, who: str) -> str | None:
    soak = proofs.get("soak")
    return f"{number(len(soak['violations']))} in {number(soak['faults'])}" if who == OURS and soak else None


def _astray(proofs: Proofs, who: str) -> str | None:
    herd = proofs.get("herd", {}).get("herds", {}).get(who)
    return share(herd["clients"] - herd["back"], herd["clients"]) if herd else None


def _crowd(proofs: Proofs, who: str) -> str | None:
    herd = proofs.get("herd", {}).get("herds", {}).get(who)
    return number(herd["peak"]) if herd else None


def _flaky(proofs: Proofs, who: str) -> str | None:
    runs = proofs.get("repeats", {}).get("runs")
    return share(sum(run["exit_code"] != 0 for run in runs), len(runs)) if who == OURS and runs else None


LINES: dict[str, Cell] = {
    "Autobahn: cases failed, not strict, or not implemented": _failed,
    "Autobahn: cases with a wrong close code, or not closed cleanly": _badly_closed,
    "hostile server: inputs not taken as the whole table says": _hostile_at_all,
    "hostile server: inputs not refused rightly, of those for all clients": _hostile,
    "faults: clients gone for good, or left with a dead connection": _gone,
    "faults: lost events that no report covers": _unreported,
    "faults: lost events around which the application was told nothing": _untold,
    "faults: events twice or out of order": _wrong,
    "single faults of the network: cases in which a promise was broken": _network,
    "fuzzing: findings": _found,
    "state machines: failures": _stepped,
    "soak: broken promises": _broken,
    "herd of fifty: clients that did not come back": _astray,
    "herd of fifty: most attempts in 0.1 s": _crowd,
    "the whole suite, over and over: runs that failed": _flaky,
}
