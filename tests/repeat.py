"""Run the suite many times over, to find what fails once in a while: ``python -m tests.repeat 20 [options of pytest]``.

Each run is a process of its own with another seed, of ``PYTHONHASHSEED`` and of Hypothesis. The first run that fails is
the last one; its output and the command that repeats it are shown. The environment is that of the suite, see
``tests/conftest.py``.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit code of the run that failed, or 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.repeat", description="Run the suite many times over.")
    parser.add_argument("times", type=int, help="how often")
    parser.add_argument("--first-seed", type=int, default=1, help="of the first run; then one more each")
    given, options = parser.parse_known_args(arguments)
    for run in range(given.times):
        seed = str(given.first_seed + run)
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            f"--hypothesis-seed={seed}",
            *options,
        ]
        began = time.monotonic()
        done = subprocess.run(
            command,
            check=False,
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        last = done.stdout.strip().rpartition("\n")[2]
        say(f"run {run + 1} of {given.times}, {time.monotonic() - began:.0f} s: {last}")
        if done.returncode != 0:
            say(f"{done.stdout}\nthe same again: PYTHONHASHSEED={seed} {shlex.join(command)}")
            return done.returncode
    return 0


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
