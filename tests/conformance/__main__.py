"""Runs the Autobahn WebSocket test suite, and keeps the figures for the documentation.

usage: python -m tests.conformance [--peer NAME] [--cases PATTERN ...] [--reports DIR]

Without options it is our link in all 517 cases (several minutes). The figures go to docs/conformance.json, where those
of other clients stay; a choice of cases is shown only. The exit status is 1 when our link falls short.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.conformance.echo import CLIENTS, OURS, VERSIONS
from tests.conformance.run import patterns, run
from tests.conformance.suite import NO_PYTHON27, REQUIREMENT, find_python27
from tests.conformance.verdicts import GROUPS, shortcomings, summary, table_of_groups

FIGURES = Path(__file__).resolve().parents[2] / "docs" / "conformance.json"


def main(arguments: Sequence[str] | None = None) -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__.partition("\n")[0])
    parser.add_argument("--peer", choices=[name for name in CLIENTS if name != OURS], help="another client than ours")
    parser.add_argument("--cases", nargs="+", metavar="PATTERN", help="numbers of cases, or patterns such as 6.*")
    parser.add_argument("--reports", type=Path, metavar="DIR", help="keep the suite's own report, for a browser")
    chosen = parser.parse_args(arguments)
    client = chosen.peer or OURS
    python = find_python27()
    if python is None:
        parser.error(NO_PYTHON27)
    with tempfile.TemporaryDirectory() as temporary:
        verdicts = run(
            client,
            python,
            chosen.reports or Path(temporary),
            cases=chosen.cases or patterns(GROUPS),
            html=chosen.reports is not None,
            progress=lambda what: sys.stderr.write(f"{client}: {what}\n"),
        )
    figures = {"version": VERSIONS[client], "python": platform.python_version(), **summary(verdicts)}
    short = shortcomings(verdicts)
    sys.stdout.write("\n".join([table_of_groups(figures), "", *short, ""]))
    if chosen.cases is None:
        keep(client, figures)
    return 1 if client == OURS and short else 0


def keep(client: str, figures: dict[str, Any]) -> None:
    """Put the figures of a client in place of its older ones; ours come first."""
    clients = json.loads(FIGURES.read_text())["clients"] if FIGURES.exists() else {}
    clients[client] = figures
    ordered = {name: clients[name] for name in CLIENTS if name in clients}
    FIGURES.write_text(json.dumps({"suite": REQUIREMENT, "clients": ordered}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
