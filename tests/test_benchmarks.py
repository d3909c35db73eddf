"""The measurements work: everybody does all of the work, nothing is lost, what is shown is what was measured.

How long anything takes is not asked here. Every measurement is made once, in its smallest form.
"""

from __future__ import annotations

import functools
import importlib
import json
import math
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from benchmarks import suite
from benchmarks.suite import Effort, Run, at_least, at_most, median, present, ratio, select, versions
from realtime_client._core.deflate import Agreement, Inflate
from realtime_client._core.frames import FrameReader

SMALLEST = Effort(rounds=1, scale=0)
ALWAYS_THERE = {"wsapp"}
"""Peers that the client itself needs."""
SMALL_FORMS: dict[str, dict[str, Any]] = {
    "throughput": {"feeds": ("anomalies", "anomalies-deflate", "anomalies-takeover")},
    "latency": {"situations": ("1,000 events/s, busy, bursts",)},
    "idle": {"sizes": (1, 3)},
    "fan_out": {"levels": (1, 10)},
    "store_reads": {},
    "slow_callback": {},
    "startup": {},
    "relay": {},
}
PLOTTED = {"throughput", "latency", "slow_callback"}


def module(name: str) -> Any:
    """A module of the benchmarks; by its name, as some import peers that the type checker may not find installed."""
    return importlib.import_module(f"benchmarks.{name}")


@functools.cache
def measured(name: str) -> list[Run]:
    runs: list[Run] = module(name).measure(SMALLEST, **SMALL_FORMS[name])
    return runs


def result(*names: str) -> dict[str, Any]:
    """What one run of everything leaves, with these measurements in it."""
    found: dict[str, Any] = module("report").new_result(SMALLEST)
    found["runs"] = {name: measured(name) for name in names}
    return found


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *words],
        cwd=suite.__file__.rpartition("/benchmarks/")[0],
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )


def rows(markdown: str) -> list[str]:
    """The rows of all tables, without their heads."""
    found: list[str] = []
    for line in markdown.splitlines():
        if line.startswith("|---"):
            found.pop()  # what stood above was a head
        elif line.startswith("|"):
            found.append(line)
    return found


# Everybody works


@pytest.mark.parametrize("feed", SMALL_FORMS["throughput"]["feeds"])
def test_throughput_everybody_gets_every_event(feed: str) -> None:
    runs = select(measured("throughput"), feed=feed)
    left_out = ("wsapp", "picows", "limit") if feed != "anomalies" else ()
    for work, contenders in (("full", module("throughput").FULL), ("bare", module("throughput").BARE)):
        expected = [who for who in present(contenders) if who not in left_out]
        assert [run["who"] for run in select(runs, work=work)] == expected
    assert {run["events"] for run in runs} == {run["sent"] for run in runs} == {1000}
    assert all(run["seconds"] > 0 and run["cpu"] > 0 for run in runs)
    (blocking,) = select(runs, who="ours")
    (dropping,) = select(runs, who="ours-defaults")
    assert (blocking["delivered"], blocking["dropped"]) == (1000, 0)
    assert dropping["delivered"] + dropping["dropped"] == 1000


@pytest.mark.parametrize("compression", ["", "deflate", "takeover"])
def test_a_block_of_messages_may_be_sent_again_and_again(compression: str) -> None:
    firehose = module("firehose")
    block = b"".join(firehose.encode("anomalies", 300, compression))
    inflate = Inflate(Agreement(takeover=compression == "takeover")) if compression else None
    expected = [firehose.message("anomalies", number).decode() for number in range(300)]
    assert FrameReader(max_message_bytes=1000, inflate=inflate).feed(3 * block) == 3 * expected


def test_latency_every_paced_event_is_timed() -> None:
    runs = measured("latency")
    contenders = [(who, work) for who, work in module("latency").CONTENDERS if who in present([who])]
    assert [(run["who"], run["work"]) for run in runs] == contenders
    assert {run["events"] for run in runs} == {200}
    assert all(0 < run["p50"] <= run["p99"] <= run["p99.9"] for run in runs)


def test_percentiles_are_by_rank_and_leave_the_first_out() -> None:
    stopwatch = module("latency").Stopwatch()
    stopwatch.took = [10**9] * 1000 + list(range(1000, 9_001_000, 1000))
    assert stopwatch.percentiles() == {"p50": 4500, "p99": 8910, "p99.9": 8991}


def test_idle_every_client_is_connected_and_counted() -> None:
    runs = measured("idle")
    expected = [(who, clients) for who in present(module("idle").CONTENDERS) for clients in (1, 3)]
    assert [(run["who"], run["clients"]) for run in runs] == expected
    for run in runs:
        assert run["threads_each"] >= 1
        assert run["voluntary"] == sum(run["voluntary_by_thread"].values()) >= 0
        assert min(run["memory_one"].values()) > 0
        assert min(run["memory_all"].values()) > 0
    assert len({run["threads_each"] for run in select(runs, who="ours")}) == 1
    assert any("heartbeat" in name for name in select(runs, who="ours")[0]["voluntary_by_thread"])
    assert not any("heartbeat" in name for name in select(runs, who="ours-silent")[0]["voluntary_by_thread"])


def test_fan_out_every_callback_gets_every_event() -> None:
    runs = measured("fan_out")
    assert [run["callbacks"] for run in runs] == [1, 10]
    assert all(run["events"] == run["sent"] == 1000 for run in runs)
    assert all(run["calls"] == run["events"] * run["callbacks"] for run in runs)


def test_store_reads_cost_no_event() -> None:
    runs = measured("store_reads")
    assert [run["readers"] for run in runs] == list(module("store_reads").READERS)
    assert all((run["events"], run["dropped"]) == (run["sent"], 0) for run in runs)
    assert [run["reads"] > 0 for run in runs] == [False, True, True]


def test_slow_callback_the_counters_add_up() -> None:
    (run,) = measured("slow_callback")
    assert module("slow_callback").mistakes(run) == []
    assert run["samples"][-1]["received"] > run["samples"][0]["begun"] > 0
    assert run["end"]["received"] >= run["samples"][-1]["received"]


@pytest.mark.parametrize(
    ("where", "counter", "change", "complaint"),
    [
        ("samples", "dropped", 1, "received is not"),
        ("samples", "dropped", -1, "received is not"),
        ("samples", "begun", -2, "what the callback has seen"),
        ("samples", "begun", 2, "what the callback has seen"),
        ("samples", "bytes_received", -(10**12), "than read"),
        ("end", "waiting", 1, "waits after the end"),
    ],
)
def test_slow_callback_a_wrong_counter_is_noticed(where: str, counter: str, change: int, complaint: str) -> None:
    run = json.loads(json.dumps(measured("slow_callback")[0]))
    sample = run["end"] if where == "end" else run["samples"][1]
    sample[counter] += change
    assert any(complaint in mistake for mistake in module("slow_callback").mistakes(run))
    by_what = {verdict.what: verdict.met for verdict in module("slow_callback").verdicts([run])}
    assert by_what["slow callback: counters that do not add up"] is False


def test_startup_imports_and_first_events_are_timed() -> None:
    runs = measured("startup")
    for what, contenders in (("import", module("startup").IMPORTS), ("connect", module("startup").CONTENDERS)):
        assert [run["who"] for run in select(runs, what=what)] == present(contenders)
    assert all(run["first"] > 0 and run.get("later", 1) > 0 for run in runs)


# A process that fails is noticed


def test_a_client_that_fails_is_no_measurement(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="ended with 2"):
        module("processes").run_client("fan_out")
    assert "required: callbacks" in capfd.readouterr().err


def test_a_server_that_fails_is_no_measurement(capfd: pytest.CaptureFixture[str]) -> None:
    with (
        pytest.raises(RuntimeError, match="ended without a word"),
        module("processes").server("firehose", "nonsense", 1),
    ):
        pass
    assert "invalid choice" in capfd.readouterr().err


# Who can be measured


def test_a_library_that_is_not_installed_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(present(["wsapp"])) == ALWAYS_THERE
    monkeypatch.setitem(suite.LIBRARIES, "picows", "no-such-distribution")
    assert present(["ours", "wsapp", "picows"]) == ["ours", "wsapp"]
    assert versions()["no-such-distribution"] is None
    shown = module("report").conditions({**result(), "versions": versions()})
    assert "left out: " in shown
    assert "no-such-distribution" in shown.partition("left out: ")[2]


def test_a_target_whose_peer_is_missing_is_not_met_and_not_missed() -> None:
    runs = [run for run in measured("throughput") if run["who"] != "wsapp"]
    by_what = {verdict.what: verdict for verdict in module("throughput").verdicts(runs)}
    verdict = by_what["the same, against WebSocketApp"]
    assert (verdict.measured, verdict.met) == ("not measured", None)


# Medians, ratios, targets


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    mine = [{"round": n, "x": x} for n, x in enumerate((10, 90, 40))]
    theirs = [{"round": n, "x": x} for n, x in enumerate((5, 100, 10))]
    assert ratio(mine, theirs, "x") == 2.0
    assert ratio(mine, theirs[:1], lambda run: run["x"]) == 2.0
    assert median(mine, "x") == 40
    assert math.isnan(ratio(mine, [], "x"))
    assert math.isnan(median([], "x"))


@pytest.mark.parametrize(("value", "met"), [(7.99, False), (8.0, True), (float("nan"), None)])
def test_a_target_from_below(value: float, met: bool | None) -> None:
    assert at_least("what", value, 8, " x").met is met


@pytest.mark.parametrize(("value", "met"), [(1.11, False), (1.1, True), (float("nan"), None)])
def test_a_target_from_above(value: float, met: bool | None) -> None:
    assert at_most("what", value, 1.1, " x").met is met


def test_effort_is_in_the_firehoses_blocks() -> None:
    assert Effort(scale=0.0123).count(200_000, least=1000) == 2000
    assert Effort(scale=0).count(200_000, least=1000) == 1000
    assert Effort(scale=0.5).seconds(60, least=1) == 30


# What is shown


@pytest.mark.parametrize("name", SMALL_FORMS)
def test_every_measurement_is_shown_with_its_targets(name: str) -> None:
    shown = module("report").sections(result(name), "images")
    assert rows(shown[name])
    assert "nan" not in shown[name]
    targets = module(name).verdicts(measured(name))
    assert len(rows(shown["targets"])) == len(targets)
    assert all(f"| {target.what} | {target.goal} | {target.measured} |" in shown["targets"] for target in targets)
    assert (f"](images/performance-{name.replace('_', '-')}.svg)" in shown[name]) is (name in PLOTTED)
    assert {other for other, text in shown.items() if "Not measured" in text} >= set(SMALL_FORMS) - {name}


def test_all_measurements_are_known_to_the_command() -> None:
    assert set(module("report").BENCHMARKS) == set(SMALL_FORMS)
    assert set(module("plots").PLOTS) == set(module("report").PLOTS) == PLOTTED


def test_there_is_a_target_of_each_kind() -> None:
    found = [verdict.goal for name in SMALL_FORMS for verdict in module(name).verdicts([])]
    assert found == [
        *("≤ 0", "≥ 8 x", "≥ 4 x", "≥ 2.5 x", "≥ 2.5 x", "≥ 0.55"),
        *("≤ 1 x", "≤ 1.1 x"),
        *("≤ 0", "≤ 0.02 %", "≤ 120 KiB"),
        *("≤ 20 MiB", "≤ 0", "≤ 0"),
        "≤ 1.5 x",
        "≥ 0.5 x",
    ]


def test_a_page_is_filled_between_its_marks_again_and_again() -> None:
    fill = module("report").fill
    page = "before\n<!-- measured: idle -->\nold\n<!-- end of idle -->\nafter\n"
    filled = fill(page, {"idle": "| new |"})
    assert filled == "before\n<!-- measured: idle -->\n\n| new |\n\n<!-- end of idle -->\nafter\n"
    assert fill(filled, {"idle": "| new |"}) == filled
    with pytest.raises(ValueError, match="no place for latency"):
        fill(page, {"latency": "| new |"})


def test_what_is_kept_has_a_line_for_each_run() -> None:
    for found in (result(), result("fan_out", "startup")):
        kept = module("report").dump(found)
        assert json.loads(kept) == found
        assert kept.count('"round":') == len([line for line in kept.splitlines() if '"round":' in line])


def test_the_page_shows_the_figures_of_its_file() -> None:
    main, report = module("__main__"), module("report")
    page = main.PAGE.read_text(encoding="utf-8")
    kept = json.loads(main.DATA.read_text(encoding="utf-8"))
    assert report.fill(page, report.sections(kept, "images")) == page
    assert all((main.IMAGES / report.plot_file(name)).is_file() for name in PLOTTED & set(kept["runs"]))


# The one command


def test_the_command_measures_shows_and_keeps(tmp_path: Path) -> None:
    kept = tmp_path / "runs.json"
    done = command("fan_out", "--rounds", "1", "--scale", "0", "--json", str(kept))
    assert done.returncode == 0, done.stderr
    runs = json.loads(kept.read_text())["runs"]
    assert {run["callbacks"] for run in runs["fan_out"]} == {1, 10, 100, 1000}
    assert "A short run" in done.stdout
    assert len(rows(done.stdout.partition("## fan out")[2])) == 4
    assert command("--from", str(kept)).stdout == done.stdout


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["nonsense"], "no such measurement: nonsense"),
        (["idle", "--docs"], "do not go together"),
        (["idle", "--from", "runs.json"], "do not go together"),
    ],
)
def test_the_command_refuses_before_it_measures(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        module("__main__").parse(words)
    assert complaint in capsys.readouterr().err


def test_plots_without_the_library_are_refused_before_it_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SystemExit, match="plots need matplotlib"):
        module("__main__").parse(["--plots", "anywhere"])


def test_plots_are_drawn_and_always_the_same(tmp_path: Path) -> None:
    """Where the drawing library is not installed, to say so is what must be done."""
    plots, runs = module("plots"), result(*PLOTTED)["runs"]
    if find_spec("matplotlib") is None:
        with pytest.raises(SystemExit, match="plots need matplotlib"):
            plots.draw(runs, tmp_path)
        return
    first, second = plots.draw(runs, tmp_path / "1"), plots.draw(runs, tmp_path / "2")
    assert {path.name for path in first} == {f"performance-{name.replace('_', '-')}.svg" for name in PLOTTED}
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert plots.draw({}, tmp_path / "3") == []
