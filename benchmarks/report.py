"""One run of everything: what is kept of it, and what is shown of it."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import fan_out, idle, latency, relay, slow_callback, startup, store_reads, throughput
from benchmarks.suite import Benchmark, Effort, Run, Verdict, table, versions

BENCHMARKS: dict[str, Benchmark] = {
    "throughput": throughput,
    "latency": latency,
    "idle": idle,
    "fan_out": fan_out,
    "store_reads": store_reads,
    "slow_callback": slow_callback,
    "startup": startup,
    "relay": relay,
}
PLOTS = {
    "throughput": "Events a second of each contender",
    "latency": "Percentiles of the latency of each contender",
    "slow_callback": "Memory and events read a second while a callback is slow",
}
"""The benchmarks that have a plot, with what it shows."""
NOT_MEASURED = "*Not measured yet.*"
Result = dict[str, Any]


def machine() -> dict[str, str]:
    """Where it was measured."""
    described = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", described.read_text()) if described.exists() else None
    return {
        "processor": model[1] if model else platform.processor() or platform.machine(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load before": f"{os.getloadavg()[0]:.2f}",
        "nice": str(os.nice(0)),
    }


def new_result(effort: Effort) -> Result:
    """A result without runs."""
    return {
        "machine": machine(),
        "versions": versions(),
        "rounds": effort.rounds,
        "scale": effort.scale,
        "runs": {},
    }


def dump(result: Result) -> str:
    """JSON with a line for each run, so that a new measurement is a change that can be read."""
    lists = [
        f"  {json.dumps(name)}: [\n" + ",\n".join(f"   {json.dumps(run)}" for run in runs) + "\n  ]"
        for name, runs in result["runs"].items()
    ]
    head = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in result.items() if key != "runs"]
    return "{\n" + ",\n".join([*head, ' "runs": {\n' + ",\n".join(lists) + "\n }"]) + "\n}\n"


def conditions(result: Result) -> str:
    """Where, with what and how often, in a paragraph."""
    where, found = result["machine"], result["versions"]
    peers = ", ".join(f"{name} {version}" for name, version in found.items() if version)
    missing = ", ".join(name for name, version in found.items() if not version)
    text = (
        f"Measured on {where['processor']}, {where['cores']} cores, {where['system']}, {where['python']}, with "
        f"{peers}; load before {where['load before']}, nice {where['nice']}; {result['rounds']} rounds."
    )
    if missing:
        text += f" Not installed, and left out: {missing}."
    if result["scale"] != 1:
        text += " **A short run: the figures are good for a look, and for nothing else.**"
    return text


def verdict_table(verdicts: Sequence[Verdict]) -> str:
    """Targets beside what was measured."""
    words = {True: "yes", False: "**no**", None: ""}
    rows = [(verdict.what, verdict.goal, verdict.measured, words[verdict.met]) for verdict in verdicts]
    return table(("target", "goal", "measured", "met"), rows)


def sections(result: Result, plots: str | None = None) -> dict[str, str]:
    """Everything that is shown, in Markdown: the conditions, the targets, and each benchmark's tables.

    Args:
        result: One run.
        plots: The folder of the plots, as the page writes it; ``None`` shows none.
    """
    all_runs: Mapping[str, list[Run]] = result["runs"]
    if not all_runs:
        return dict.fromkeys(("conditions", "targets", *BENCHMARKS), NOT_MEASURED)
    verdicts = [
        verdict
        for name, benchmark in BENCHMARKS.items()
        if name in all_runs
        for verdict in benchmark.verdicts(all_runs[name])
    ]
    shown = {"conditions": conditions(result), "targets": verdict_table(verdicts) if verdicts else NOT_MEASURED}
    for name, benchmark in BENCHMARKS.items():
        shown[name] = benchmark.tables(all_runs[name]) if name in all_runs else NOT_MEASURED
        if plots is not None and name in PLOTS and name in all_runs:
            shown[name] += f"\n\n![{PLOTS[name]}]({plots}/{plot_file(name)})"
    return shown


def plot_file(name: str) -> str:
    """The file of a benchmark's plot."""
    return f"performance-{name.replace('_', '-')}.svg"


def fill(page: str, shown: Mapping[str, str]) -> str:
    """Put sections into a page, each between the two comments that mark its place.

    Raises:
        ValueError: A section has no place in the page.
    """
    for name, text in shown.items():
        begin, end = f"<!-- measured: {name} -->\n", f"<!-- end of {name} -->\n"
        before, begun, rest = page.partition(begin)
        _, ended, after = rest.partition(end)
        if not (begun and ended):
            raise ValueError(f"the page has no place for {name}: {begin.strip()} ... {end.strip()}")
        page = f"{before}{begin}\n{text}\n\n{end}{after}"
    return page
