"""Long fuzzing: ``python -m tests.fuzz`` is all of it, ``python -m tests.fuzz frames --seconds 600`` one part.

A finding ends the run with exit code 1, and the input is printed, so that it can become a test.
"""

from __future__ import annotations

import argparse
import base64
import faulthandler
import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.fuzz.live import Stage, judge_live
from tests.fuzz.seeds import SEEDS
from tests.fuzz.silence import no_errors_logged
from tests.fuzz.streams import Tally, damaged_streams, judge
from tests.records import add_docs_option, conditions, keep

STREAMS = "streams"
"""The part beside the targets."""
SECONDS, COUNT = 60, 100_000
"""How long to fuzz a target, and how many streams to damage, unless told otherwise."""
HANG = 60.0
"""A stream that takes longer than this many seconds hangs: every thread's stack is printed and the process ends."""
LIVE_SHARE = 50
"""One stream of so many goes through the whole client too."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz as the command line asks; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", nargs="?", choices=[*SEEDS, STREAMS], help="one part alone")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="how long to fuzz a target (default: %(default)s)")
    parser.add_argument("--count", type=int, default=COUNT, help="how many streams (default: %(default)s)")
    parser.add_argument("--live", type=int, help="how many of them through the whole client too (default: one in 50)")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    add_docs_option(parser)
    options = parser.parse_args(arguments)
    live = options.count // LIVE_SHARE if options.live is None else options.live
    less = options.seconds < SECONDS or options.count < COUNT or live < COUNT // LIVE_SHARE
    if options.docs and (options.target or less):
        parser.error("--docs wants the whole: every part, and no less of it than by default")
    if options.target != STREAMS and find_spec("atheris") is None:
        parser.error("atheris is not installed: pip install 'realtime-client[fuzz]'")
    figures = {}
    for part in [options.target] if options.target else [*SEEDS, STREAMS]:
        run = conditions(seed=options.seed)
        if part == STREAMS:
            found = run_streams(options.count, live, options.seed)
        else:
            found = run_guided(part, options.seconds, options.seed)
        figures[part] = {"run": run, **found}
        sys.stdout.write(json.dumps({part: figures[part]}, indent=1) + "\n")
        sys.stdout.flush()
    if options.docs:
        keep("fuzz", figures)
    return int(any(found["findings"] for found in figures.values()))


def run_streams(count: int, live: int, seed: int) -> dict[str, Any]:
    """Judge so many damaged streams without a socket, and the first of them through the whole client too."""
    tally, through_client, findings = Tally(), Tally(), 0
    began = time.monotonic()
    with no_errors_logged(), Stage() as stage:
        for number, stream in enumerate(damaged_streams(count, seed)):
            faulthandler.dump_traceback_later(HANG, exit=True)
            started = time.monotonic()
            try:
                reading = judge(stream)
                tally.add(stream, reading, started)
                if number < live:
                    started = time.monotonic()
                    through_client.add(stream, judge_live(stage, stream), started)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
                findings += 1
                _show(f"stream {number} of seed {seed}, {', '.join(stream.mutations)}", stream.wire, error)
    faulthandler.cancel_dump_traceback_later()
    return {
        "seconds": round(time.monotonic() - began, 1),
        **_counts(tally),
        "through_the_client": _counts(through_client),
        "findings": findings,
    }


def _counts(tally: Tally) -> dict[str, Any]:
    return {
        "streams": tally.streams,
        "bytes": tally.bytes,
        "mutations": dict(sorted(tally.mutations.items())),
        "ends": dict(sorted(tally.ends.items())),
        "events": tally.events,
        "malformed": tally.malformed,
        "slowest_seconds": round(tally.slowest_seconds, 3),
    }


def run_guided(target: str, seconds: int, seed: int) -> dict[str, Any]:
    """Fuzz a target with atheris, which has to be installed, in a process of its own."""
    with tempfile.TemporaryDirectory() as directory:
        corpus, artifacts = Path(directory, "corpus"), Path(directory, "artifacts")
        corpus.mkdir()
        artifacts.mkdir()
        seeds = list(SEEDS[target]())
        for number, data in enumerate(seeds):
            (corpus / f"seed-{number:03}").write_bytes(data)
        limits = [f"-max_total_time={seconds}", "-max_len=4096", "-timeout=10", "-rss_limit_mb=1024"]
        command = [sys.executable, "-m", "tests.fuzz.guided", target, *limits, f"-seed={seed}"]
        command += [f"-artifact_prefix={artifacts}/", "-print_final_stats=1", str(corpus)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        output = done.stdout.decode(errors="replace")
        found = sorted(artifacts.iterdir())
        for path in found:
            _show(f"{target}: {path.name}", path.read_bytes(), None)
        if found or done.returncode:
            sys.stderr.write(output[-4000:] + "\n")
        return {
            "seconds": seconds,
            "seeds": len(seeds),
            **read_report(output),
            "atheris": importlib.metadata.version("atheris"),
            "findings": max(len(found), int(done.returncode != 0)),
        }


def read_report(output: str) -> dict[str, int]:
    """What libFuzzer says at its end; zeros where it did not come so far."""
    progress = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)/", output)
    edges, features, corpus = map(int, progress[-1]) if progress else (0, 0, 0)
    runs = re.search(r"stat::number_of_executed_units: *(\d+)", output)
    return {"executions": int(runs[1]) if runs else 0, "edges": edges, "features": features, "corpus": corpus}


def _show(what: str, data: bytes, error: Exception | None) -> None:
    cause = "" if error is None else f": {type(error).__name__}: {error}"
    sys.stderr.write(f"FINDING in {what}{cause}\n  base64: {base64.b64encode(data).decode()}\n")


if __name__ == "__main__":
    sys.exit(main())
