"""Running cases of the suite with a client."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.conformance.echo import CLIENTS
from tests.conformance.suite import FuzzingServer
from tests.conformance.verdicts import GROUPS, Verdict, read_verdicts

HEAVY = ("9", "12", "13")
"""Groups that keep the server busy; it is one thread, and other cases give a client a second to answer."""


def patterns(groups: Iterable[str]) -> list[str]:
    """All cases of some groups."""
    return [f"{group}.*" for group in groups]


def run(
    client: str,
    python: str,
    reports: Path,
    *,
    cases: Sequence[str],
    html: bool = False,
    progress: Callable[[str], object] = str,
) -> list[Verdict]:
    """Run cases, and return the suite's verdicts on all of them.

    Args:
        client: Which of `CLIENTS`.
        python: A Python 2.7.
        reports: A directory for what the suite writes.
        cases: Numbers of cases, or patterns such as ``6.*``.
        html: Whether the suite is to write pages for a browser, too.
        progress: Told what is run next.

    Raises:
        RuntimeError: The suite cannot be run, or says nothing about a case.
    """
    echo = CLIENTS[client]
    with FuzzingServer(python, cases, reports, html=html) as server:
        # Side by side because some cases wait.
        for names, at_once in ((tuple(set(GROUPS) - set(HEAVY)), 4), *(((group,), 2) for group in HEAVY)):
            urls = [server.url(case, client) for case in server.cases if case.partition(".")[0] in names]
            if not urls:
                continue
            progress(f"{len(urls)} cases of {', '.join(sorted(names, key=int))}")
            with ThreadPoolExecutor(at_once) as pool:
                list(pool.map(echo, urls))
        server.stop()
        verdicts = read_verdicts(server.report(client))
        missing = {*server.cases} - {verdict.case for verdict in verdicts}
        if missing:
            raise RuntimeError(f"the suite says nothing about {', '.join(sorted(missing))}")
        return verdicts
