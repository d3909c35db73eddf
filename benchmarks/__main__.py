"""All measurements in one go: tables to the terminal, and if asked for JSON, plots and the page of the documentation.

usage: python -m benchmarks [NAME ...] [--rounds 5] [--quick] [--json F] [--plots DIR] [--docs] [--from F]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from benchmarks import plots
from benchmarks.processes import ROOT
from benchmarks.report import BENCHMARKS, Result, dump, fill, new_result, sections
from benchmarks.suite import Effort

PAGE = ROOT / "docs" / "performance.md"
DATA = ROOT / "docs" / "performance.json"
IMAGES = ROOT / "docs" / "images"
QUICK = Effort(rounds=2, scale=0.1)


def measure(names: list[str], effort: Effort) -> Result:
    """Measure, and say on the way how it goes."""
    result = new_result(effort)
    for name in names:
        begin = time.monotonic()
        sys.stderr.write(f"{name} ... ")
        sys.stderr.flush()
        result["runs"][name] = BENCHMARKS[name].measure(effort)
        sys.stderr.write(f"{time.monotonic() - begin:.0f} s\n")
    return result


def show(result: Result) -> str:
    """What the terminal gets."""
    shown = sections(result)
    wanted = ["conditions", "targets", *result["runs"]]
    return "\n\n".join(f"## {name.replace('_', ' ')}\n\n{shown[name]}" for name in wanted) + "\n"


def parse(words: list[str] | None) -> argparse.Namespace:
    """Read the command line; refuse what makes no sense before an hour is spent on it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(BENCHMARKS)}; otherwise all")
    parser.add_argument("--rounds", type=int, help="how often everybody has a turn (5)")
    parser.add_argument("--scale", type=float, help="share of the full counts and times (1)")
    parser.add_argument("--quick", action="store_true", help="a look in a few minutes")
    parser.add_argument("--json", type=Path, metavar="F", help="write all runs")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw SVG files")
    parser.add_argument(
        "--docs", action="store_true", help="write the runs, the plots and the page of the documentation"
    )
    parser.add_argument("--from", type=Path, metavar="F", dest="source", help="measure nothing; show this file's runs")
    arguments = parser.parse_args(words)
    unknown = [name for name in arguments.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no such measurement: {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    if arguments.docs and arguments.names:
        parser.error("the page shows everything from one run; --docs and names do not go together")
    if arguments.source and arguments.names:
        parser.error("--from shows all that is in the file; --from and names do not go together")
    if arguments.plots or arguments.docs:
        plots.require()
    return arguments


def main(words: list[str] | None = None) -> None:
    """Measure, show, keep."""
    arguments = parse(words)
    if arguments.source:
        result: Result = json.loads(arguments.source.read_text())
    else:
        given = QUICK if arguments.quick else Effort()
        rounds = arguments.rounds if arguments.rounds is not None else given.rounds
        scale = arguments.scale if arguments.scale is not None else given.scale
        result = measure(arguments.names or list(BENCHMARKS), Effort(rounds, scale))
    for path in [arguments.json] * bool(arguments.json) + [DATA] * arguments.docs:
        path.write_text(dump(result))
    for folder in [arguments.plots] * bool(arguments.plots) + [IMAGES] * arguments.docs:
        plots.draw(result["runs"], folder)
    if arguments.docs:
        PAGE.write_text(fill(PAGE.read_text(), sections(result, IMAGES.name)))
    sys.stdout.write(show(result))


if __name__ == "__main__":
    main()
