"""Drawings of the runs, as SVG that is the same whenever it is drawn of the same runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import latency, slow_callback, throughput
from benchmarks.report import plot_file
from benchmarks.suite import NAMES, Run, median, select, values

OURS, THEIRS = "tab:blue", "tab:gray"


def require() -> Any:
    """The drawing library, set up for SVG.

    Raises:
        SystemExit: It is not installed.
    """
    try:
        matplotlib = import_module("matplotlib")
    except ImportError:
        raise SystemExit("plots need matplotlib: pip install '.[bench]'") from None
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "realtime_client", "font.size": 9})
    return import_module("matplotlib.pyplot")


def draw(all_runs: Mapping[str, list[Run]], folder: Path) -> list[Path]:
    """Draw what there is to draw; returns the files."""
    plt = require()
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, plot in PLOTS.items():
        if all_runs.get(name):
            figure = plot(plt, all_runs[name])
            paths.append(folder / plot_file(name))
            figure.savefig(paths[-1], metadata={"Date": None})
            plt.close(figure)
    return paths


def throughput_bars(plt: Any, runs: Sequence[Run]) -> Any:
    """Bars for the first feed, the quickest on top."""
    feed = values(runs, "feed")[0]
    here = [run for run in select(runs, feed=feed) if run["who"] != "ours-defaults"]
    bars = []
    for who, work in dict.fromkeys((run["who"], run["work"]) for run in here):
        rate = median(select(here, who=who, work=work), throughput.rate)
        label = NAMES[who] if who == "limit" else f"{NAMES[who]} ({work})"
        bars.append((rate / 1000, label, OURS if who == "ours" else THEIRS))
    bars.sort()
    rates, labels, colours = zip(*bars, strict=True)
    figure, axis = plt.subplots(figsize=(8, 4), constrained_layout=True)
    axis.bar_label(axis.barh(labels, rates, color=colours), fmt="%.0f", padding=3)
    axis.set_xlabel(f"thousand events a second ({feed})")
    return figure


def latency_points(plt: Any, runs: Sequence[Run]) -> Any:
    """A row for each contender, a point for each percentile, a panel for each situation."""
    situations = values(runs, "situation")
    figure, axes = plt.subplots(len(situations), 1, sharex=True, squeeze=False, constrained_layout=True)
    figure.set_size_inches(8, 1.6 * len(situations) + 0.6)
    for axis, situation in zip(axes[:, 0], situations, strict=True):
        here = select(runs, situation=situation)
        contenders = list(dict.fromkeys((run["who"], run["work"]) for run in here))[::-1]
        for row, (who, work) in enumerate(contenders):
            found = [median(select(here, who=who, work=work), name) for name in latency.PERCENTILES]
            axis.plot(found, [row] * len(found), color=OURS if who == "ours" else THEIRS, linewidth=1, zorder=1)
            for name, value, marker in zip(latency.PERCENTILES, found, "osD", strict=True):
                colour = OURS if who == "ours" else THEIRS
                axis.scatter(value, row, color=colour, marker=marker, zorder=2, label="" if row else name)
        axis.set_yticks(range(len(contenders)), [f"{NAMES[who]} ({work})" for who, work in contenders])
        axis.set_ylim(-0.6, len(contenders) - 0.4)
        axis.set_title(situation, loc="left", fontsize=9)
        axis.set_xscale("log")
        axis.grid(axis="x", which="both", alpha=0.2)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
    axes[-1, 0].set_xlabel("microseconds from send to callback")
    return figure


def slow_callback_lines(plt: Any, runs: Sequence[Run]) -> Any:
    """Memory above, reading below, over the time."""
    run = runs[0]
    samples = run["samples"]
    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(8, 4), constrained_layout=True)
    grown = [(sample["rss"] - run["rss"]) / slow_callback.MIB for sample in samples]
    above.plot([0, *(sample["at"] for sample in samples)], [0, *grown], color=OURS)
    above.set_ylabel("memory grew by MiB")
    below.plot([after["at"] for _, after in pairwise(samples)], slow_callback.rates(run), color=OURS)
    below.set_ylabel("events read a second")
    below.set_xlabel("seconds")
    for axis in (above, below):
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.2)
    return figure


PLOTS: dict[str, Callable[[Any, Sequence[Run]], Any]] = {
    "throughput": throughput_bars,
    "latency": latency_points,
    "slow_callback": slow_callback_lines,
}
