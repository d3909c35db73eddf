"""``python -m tests.mutation``: small changes to the code, each of which some test should notice."""

from __future__ import annotations

import argparse
import importlib
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tests.mutation.mutants import Mutant, changed, mutants_of
from tests.mutation.subjects import PACKAGE, SUBJECTS, trial_of
from tests.mutation.survivors import WHY
from tests.mutation.trial import Verdict
from tests.records import add_docs_option, conditions, keep, recorded

ENOUGH = 0.85
"""The share of mutants that must be killed."""
SLACK = 10
"""Seconds that a mutant may take in any case; beyond that, three times as long as the tests without a change."""
LIBRARIES = ("cattrs", "hypothesis.stateful", "msgspec", "urllib3", "websocket")
"""What the client and its tests import: each mutant's process finds it loaded."""


class Judged(NamedTuple):
    """A mutant of a file, and what became of it."""

    file: str
    mutant: Mutant
    verdict: Verdict


def main(given: Sequence[str] | None = None) -> int:
    """Try mutants; returns 1 if too many survive."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help="files, such as store.py; default: all")
    parser.add_argument("--sample", type=int, metavar="N", help="so many mutants, chosen by the seed; default: all")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument(
        "--again", action="store_true", help="only the survivors in the documentation, after tests were added"
    )
    add_docs_option(parser)
    arguments = parser.parse_args(given)
    if unknown := [part for part in arguments.parts if part not in SUBJECTS]:
        parser.error(f"no such part: {unknown[0]}; there are {', '.join(SUBJECTS)}")
    if arguments.docs and arguments.parts:
        parser.error("--docs wants the whole: no single parts")
    for library in LIBRARIES:
        importlib.import_module(library)
    if arguments.again:
        record = _again(recorded("mutation"))
    else:
        record = _tried(arguments.parts or list(SUBJECTS), arguments.sample, arguments.seed)
    survived, tried = _sums(record)
    sys.stdout.write(f"{tried:,} mutants tried, {1 - survived / tried:.1%} killed\n")
    if arguments.docs:
        keep("mutation", record)
    return 0 if survived <= (1 - ENOUGH) * tried else 1


def _tried(files: Sequence[str], sample: int | None, seed: int) -> dict[str, Any]:
    """Try mutants of some files, and make a record of it."""
    run, began = conditions(seed=seed), time.monotonic()
    mutants = list(_mutants(files))
    chosen = mutants
    command = f"python -m tests.mutation --seed {seed}"
    if sample is not None and sample < len(mutants):
        chosen = [mutants[place] for place in sorted(random.Random(seed).sample(range(len(mutants)), sample))]
        command = f"python -m tests.mutation --sample {sample} --seed {seed}"
    judged = list(_judged(chosen, seed))
    of, verdicts = Counter(file for file, _ in mutants), Counter((one.file, one.verdict) for one in judged)
    counts = {
        file: {"mutants": of[file], **{verdict.value: verdicts[file, verdict] for verdict in Verdict}} for file in files
    }
    seconds = round(time.monotonic() - began)
    return {"command": command, "run": run, "seconds": seconds, "files": counts, "survivors": _survivors(judged)}


def _again(record: dict[str, Any]) -> dict[str, Any]:
    """Try the survivors of a record again, of the same code; what is killed now is counted so."""
    had = [(one["file"], one["line"], one["place"], one["change"]) for one in record["survivors"]]
    there = {
        (file, mutant.line, mutant.place, mutant.change): (file, mutant) for file, mutant in _mutants(record["files"])
    }
    if gone := [one for one in had if one not in there]:
        raise SystemExit(f"{gone[0]} is no mutant of today's code: try all of them")
    judged = list(_judged([there[one] for one in had], record["run"]["seed"]))
    for one in judged:
        record["files"][one.file][Verdict.SURVIVED.value] -= 1
        record["files"][one.file][one.verdict.value] += 1
    return {**record, "survivors": _survivors(judged)}


def _mutants(files: Iterable[str]) -> Iterator[tuple[str, Mutant]]:
    for file in files:
        yield from ((file, mutant) for mutant in mutants_of((PACKAGE / file).read_text(encoding="utf-8")))


def _judged(chosen: Sequence[tuple[str, Mutant]], seed: int) -> Iterator[Judged]:
    baselines: dict[str, float] = {}
    for number, (file, mutant) in enumerate(chosen, 1):
        trial = trial_of(file)
        if file not in baselines:
            baselines[file] = trial.baseline(seed)
            sys.stdout.write(f"{file}: {baselines[file]:.1f} s of CPU without a change\n")
        allowed = SLACK + 3 * baselines[file]
        tree = changed(trial.path.read_text(encoding="utf-8"), mutant.number)
        verdict = trial.judge(tree, seed, cpu=allowed, patience=6 * allowed)
        if verdict is not Verdict.KILLED:
            place = f"{file}:{mutant.line} {mutant.place}: {mutant.change}"
            sys.stdout.write(f"[{number}/{len(chosen)}] {verdict.value}: {place}\n")
        sys.stdout.flush()
        yield Judged(file, mutant, verdict)


def _survivors(judged: Iterable[Judged]) -> list[dict[str, Any]]:
    return [
        {
            "file": file,
            "line": mutant.line,
            "place": mutant.place,
            "change": mutant.change,
            "why": WHY.get((file, mutant.place, mutant.change), ""),
        }
        for file, mutant, verdict in judged
        if verdict is Verdict.SURVIVED
    ]


def _sums(record: Mapping[str, Any]) -> tuple[int, int]:
    """How many survived, of how many that were tried."""
    files = record["files"].values()
    return (
        sum(found[Verdict.SURVIVED.value] for found in files),
        sum(found[verdict.value] for found in files for verdict in Verdict),
    )


if __name__ == "__main__":
    sys.exit(main())
