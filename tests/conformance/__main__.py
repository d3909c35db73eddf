"""Runs the Autobahn WebSocket test suite, and keeps the figures for the documentation.

usage: python -m tests.conformance [--peer NAME] [--cases PATTERN ...] [--reports DIR] [--docs]

Without options it is our link in all 517 cases (several minutes). With --docs the figures go into the documentation,
where those of other clients stay. The exit status is 1 when our link falls short.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.conformance.echo import CLIENTS, OURS, VERSIONS
from tests.conformance.run import patterns, run
from tests.conformance.suite import REQUIREMENT, find_python27
from tests.conformance.verdicts import GROUPS, shortcomings, summary, table_of_groups
from tests.records import add_docs_option, conditions, keep, recorded


def main(arguments: Sequence[str] | None = None) -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__.partition("\n")[0])
    parser.add_argument("--peer", choices=[name for name in CLIENTS if name != OURS], help="another client than ours")
    parser.add_argument("--cases", nargs="+", metavar="PATTERN", help="numbers of cases, or patterns such as 6.*")
    parser.add_argument("--reports", type=Path, metavar="DIR", help="keep the suite's own report, for a browser")
    add_docs_option(parser)
    chosen = parser.parse_args(arguments)
    if chosen.docs and chosen.cases:
        parser.error("--docs wants the whole: without --cases")
    client = chosen.peer or OURS
    try:
        python = find_python27()
    except (LookupError, ValueError) as error:
        parser.error(str(error))
    started = conditions()
    with tempfile.TemporaryDirectory() as temporary:
        verdicts = run(
            client,
            python,
            chosen.reports or Path(temporary),
            cases=chosen.cases or patterns(GROUPS),
            html=chosen.reports is not None,
            progress=lambda what: sys.stderr.write(f"{client}: {what}\n"),
        )
    figures = {"version": VERSIONS[client], "run": started, **summary(verdicts)}
    short = shortcomings(verdicts)
    sys.stdout.write("\n".join([table_of_groups(figures), "", *short, ""]))
    if chosen.docs:
        put(client, figures)
    return 1 if client == OURS and short else 0


def put(client: str, figures: dict[str, Any]) -> None:
    """Put the figures of a client in place of its older ones; ours come first."""
    clients = {**recorded("conformance").get("clients", {}), client: figures}
    ordered = {name: clients[name] for name in CLIENTS if name in clients}
    keep("conformance", {"suite": REQUIREMENT, "clients": ordered})


if __name__ == "__main__":
    sys.exit(main())
