"""The measurement of capacity works, the arithmetic is right, and the page shows what was measured."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import capacity
from benchmarks.capacity import BUSY, CARD, Costs, costs, plan, sections
from benchmarks.processes import ROOT
from benchmarks.report import fill
from benchmarks.suite import Run


@pytest.mark.timeout(120)
def test_everybody_gets_everything(tmp_path: Path) -> None:
    path = tmp_path / "runs.json"
    command = [sys.executable, "-m", "benchmarks.capacity", "--quick", "--levels", "1,3", "--linger", "0,0.05"]
    done = subprocess.run(
        [*command, "--json", str(path)], cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(path.read_text())
    assert [(run["feed"], run["linger"], run["readers"], run["events"]) for run in result["runs"]] == [
        ("paced", 0.0, 1, 50),
        ("paced", 0.05, 1, 50),
        ("flood", 0.0, 1, 2000),
        ("paced", 0.0, 3, 50),
        ("paced", 0.05, 3, 50),
        ("flood", 0.0, 3, 2000),
    ]
    for one in result["runs"]:
        assert one["gaps"] == 0
        assert one["seconds"] > 0
        assert one["sent"] / one["readers"] / one["events"] > 50
        assert (0 < one["p50"] <= one["p99"]) == (one["feed"] == "paced")
    assert sections(result)["paper"] in done.stdout
    assert "| readers | gathered for, ms | p50 ms |" in sections(result)["latencies"]


def run(
    feed: str, readers: int, redis_cpu: float, others: tuple[float, float], *, p50: float = 1.0, linger: float = 0.0
) -> Run:
    """A run of a thousand events."""
    return {
        **{"linger": linger, "seconds": 10.0, "p99": 9.0},
        **{"feed": feed, "round": 0, "readers": readers, "events": 1000, "p50": p50, "sent": 400_000 * readers},
        **{"redis cpu": redis_cpu, "relay cpu": others[0], "reader cpu": others[1]},
    }


def test_costs_are_lines_through_what_was_measured() -> None:
    found = costs(
        [
            run("flood", 1, 0.005, (0.010, 0.012)),
            run("flood", 4, 0.011, (0.010, 0.012)),
            run("flood", 16, 0.035, (0.010, 0.012)),
            run("paced", 1, 0.123, (0.510, 0.312)),
            run("paced", 4, 0.183, (0.510, 0.312)),
            run("paced", 16, 0.300, (0.100, 0.100), p50=12.0),  # too slow: events came together
            run("paced", 1, 0.020, (0.050, 0.030), linger=0.02),  # they came together by intention
            run("paced", 4, 0.030, (0.050, 0.030), linger=0.02),
        ]
    )
    assert (found.append, found.delivery) == pytest.approx((3e-6, 2e-6))
    assert (found.append_batch, found.delivery_batch) == pytest.approx((100e-6, 18e-6))
    assert (found.relay, found.relay_batch) == pytest.approx((10e-6, 500e-6))
    assert (found.reader, found.reader_batch, found.size) == pytest.approx((12e-6, 300e-6, 400))


def test_what_gathering_saves_is_shown_beside_what_it_costs() -> None:
    runs = [run("paced", 4, 0.2, (0.5, 0.3)), run("paced", 4, 0.05, (0.1, 0.1), p50=21.0, linger=0.02)]
    assert capacity.latencies(runs).splitlines()[2:] == [
        "| 4 | 0 | 1.0 | 9.0 | 2.0 % | 5.0 % | 3.0 % |",
        "| 4 | 20 | 21.0 | 9.0 | 0.5 % | 1.0 % | 1.0 % |",
    ]
    assert "gathered" not in capacity.latencies(runs[:1])


COST = Costs(
    append=3e-6,
    delivery=2e-6,
    relay=10e-6,
    reader=10e-6,
    append_batch=100e-6,
    delivery_batch=20e-6,
    relay_batch=500e-6,
    reader_batch=500e-6,
    size=400,
)


def test_a_small_site_needs_one_redis() -> None:
    needs = {what: much for what, much, _ in plan(COST, 40, 1000, 0.1)}
    assert needs["a worker can follow"] == "5,000 events/s"  # (0.1 - 100 x 500 µs) / 10 µs
    assert needs["streams"] == "1"
    # 1000 x (3 + 40 x 2) µs + 100 x (100 + 40 x 20) µs = 0.083 + 0.09 cores
    assert needs["Redis processes, read over the network"] == "1"
    assert needs["should every event come alone"] == "1.0 cores"  # 1000 x (83 + 900) µs


def test_a_large_site_by_hand() -> None:
    needs = {what: much for what, much, _ in plan(COST, 10_000, 1_000_000, 0.25)}
    # A worker takes (0.25 - 0.05) / 10 µs = 20,000 events a second: 50 streams, read by 200 workers each.
    assert needs["a worker can follow"] == "20,000 events/s"
    assert needs["streams"] == "50"
    assert needs["relays"] == "100"
    assert needs["deliveries"] == "200,000,000 /s"
    assert needs["their traffic"] == "80.00 GB/s"
    # Each Redis of a stream: 20,000 x 3 µs + 100 x 100 µs = 0.07 cores, and 0.042 for each reader. 12 readers are 0.574
    # cores, 13 are too many: 200 / 12 is 17 processes. The cards, 1.6 GB/s, would do with one.
    assert CARD > 20_000 * 200 * 400
    assert math.floor((BUSY - 0.07) / 0.042) == 12
    assert needs["Redis processes, read over the network"] == f"{50 * 17}"
    # 40 workers on a machine: 4 processes, with 10 readers each; 250 machines.
    assert needs["Redis processes, with replicas on the workers' machines"] == "50 + 1,000"


def test_the_page_shows_the_runs() -> None:
    page = capacity.PAGE.read_text(encoding="utf-8")
    assert fill(page, sections(json.loads(capacity.DATA.read_text(encoding="utf-8")))) == page
