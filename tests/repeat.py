"""Run the suite many times over, to find what fails once in a while: ``python -m tests.repeat 20 [options of pytest]``.

Each run is a process of its own with another seed, of ``PYTHONHASHSEED`` and of Hypothesis. The first run that fails is
the last one; its output and the command that repeats it are shown. The environment is that of the suite, see
``tests/conftest.py``. With ``--docs`` each run is written down when it is over, so that the record says how many there
were, however it ended; and where it was interrupted, the same command goes on, as long as no file has changed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from tests.records import DOCS, add_docs_option, conditions, keep, recorded

__all__ = ["counts", "main"]

WORKERS = 4
"""How many processes share the tests of a run, as in the command that the README gives."""
RECORD = "repeats"
COUNTED = re.compile(r"(\d+) (passed|failed|skipped|error)")


def main(given: Sequence[str] | None = None) -> int:
    """Run; returns the exit code of the run that failed, or 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.repeat", description="Run the suite many times over.")
    parser.add_argument("times", type=int, help="how often")
    parser.add_argument("--first-seed", type=int, default=1, help="of the first run; then one more each")
    add_docs_option(parser)
    arguments, options = parser.parse_known_args(given)
    if arguments.docs and options:
        parser.error(f"--docs wants the whole: without {shlex.join(options)}")
    record = {
        "command": f"python -m tests.repeat {arguments.times} --first-seed {arguments.first_seed}",
        "run": conditions(seed=arguments.first_seed),
        "wanted": arguments.times,
    }
    runs: list[dict[str, Any]] = []
    if arguments.docs:
        record["state"] = state()
        runs = begun(record)
    status = 0
    while status == 0 and len(runs) < arguments.times:
        seed = arguments.first_seed + len(runs)
        began = time.monotonic()
        status, said = run_once(seed, options)
        seconds = round(time.monotonic() - began)
        last = said.strip().rpartition("\n")[2]
        runs.append({"seed": seed, "seconds": seconds, "exit_code": status, **counts(last)})
        say(f"run {len(runs)} of {arguments.times}, {seconds} s: {last}")
        if arguments.docs:
            keep(RECORD, {**record, "runs": runs})
        if status != 0:
            say(f"{said}\nthe same again: PYTHONHASHSEED={seed} {shlex.join(command(seed, options))}")
    return status


def begun(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs of a record that was interrupted, if it is of this command and these files."""
    known = recorded(RECORD)
    same = all(known.get(key) == record[key] for key in ("command", "state"))
    same = same and all(known["run"][key] == record["run"][key] for key in ("python", "machine"))
    open_ = same and len(known["runs"]) < record["wanted"] and not any(run["exit_code"] for run in known["runs"])
    return known["runs"] if open_ else []


def state() -> str:
    """A digest of every file under version control but the record."""
    folder = DOCS.parent
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=folder, check=True, capture_output=True, text=True).stdout
    digest = hashlib.sha256()
    for name in sorted(listed.split("\0")):
        path = folder / name
        if path.is_file() and path != DOCS / f"{RECORD}.json":
            content = path.read_bytes()
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def command(seed: int, options: Sequence[str]) -> list[str]:
    """One run of the suite; what is given last overrules."""
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", str(WORKERS)]
    return [*pytest, f"--hypothesis-seed={seed}", *options]


def run_once(seed: int, options: Sequence[str]) -> tuple[int, str]:
    """Pytest's exit code, and all that it said."""
    done = subprocess.run(
        command(seed, options),
        check=False,
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, done.stdout


def counts(last: str) -> dict[str, int]:
    """How many tests ended how, from the last line that pytest says: what went wrong around a test counts as failed."""
    found = {"passed": 0, "failed": 0, "skipped": 0}
    for number, outcome in COUNTED.findall(last):
        found["failed" if outcome == "error" else outcome] += int(number)
    return found


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
