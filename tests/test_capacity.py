"""The measurement of capacity works, the arithmetic is right, and the page shows what was measured."""

from __future__ import annotations

import json
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
    command = [sys.executable, "-m", "benchmarks.capacity", "--quick", "--levels", "1,3", "--json", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(path.read_text())
    assert [(run["feed"], run["readers"], run["events"]) for run in result["runs"]] == [
        ("paced", 1, 50),
        ("flood", 1, 2000),
        ("paced", 3, 50),
        ("flood", 3, 2000),
    ]
    for run in result["runs"]:
        assert run["gaps"] == 0
        assert run["seconds"] > 0
        assert run["sent"] / run["readers"] / run["events"] > 50
        assert (0 < run["p50"] <= run["p99"]) == (run["feed"] == "paced")
    assert sections(result)["paper"] in done.stdout


def flood(readers: int, redis_cpu: float) -> Run:
    return {
        "feed": "flood",
        "round": 0,
        "readers": readers,
        "events": 1000,
        "redis cpu": redis_cpu,
        "relay cpu": 0.010,
        "reader cpu": 0.012,
        "sent": 400_000 * readers,
    }


def test_costs_are_a_line_through_what_was_measured() -> None:
    runs = [flood(1, 0.005), flood(4, 0.011), flood(16, 0.035)]
    found = costs(runs)
    assert found.append == pytest.approx(3e-6)
    assert found.delivery == pytest.approx(2e-6)
    assert (found.relay, found.reader, found.size) == pytest.approx((10e-6, 12e-6, 400))


def test_a_small_site_needs_one_redis() -> None:
    needs = {what: much for what, much, _ in plan(Costs(3e-6, 2e-6, 10e-6, 12e-6, 400), 40, 1000, 0.1)}
    assert needs["streams"] == "1"
    assert needs["Redis processes, read over the network"] == "1"


def test_a_large_site_by_hand() -> None:
    cost = Costs(3e-6, 2e-6, 10e-6, 12.5e-6, 400)
    needs = {what: much for what, much, _ in plan(cost, 10_000, 1_000_000, 0.25)}
    # A worker takes 0.25 / 12.5 µs = 20,000 events a second: 50 streams, read by 200 workers each.
    assert needs["a worker can follow"] == "20,000 events/s"
    assert needs["streams"] == "50"
    assert needs["relays"] == "100"
    assert needs["deliveries"] == "200,000,000 /s"
    assert needs["their traffic"] == "80.00 GB/s"
    # A stream takes 20,000 x (3 + 200 x 2) µs = 8.06 cores, at 60 % 14; the cards, 1.6 GB/s, would do with one.
    assert CARD > 20_000 * 200 * 400
    assert needs["Redis processes, read over the network"] == f"{50 * 14}"
    # 250 machines; 20,000 x (3 + 40 x 2) µs = 1.66 cores on each.
    assert 1.66 / BUSY < 3
    assert needs["Redis processes, with replicas on the workers' machines"] == "50 + 750"


def test_the_page_shows_the_runs() -> None:
    page = capacity.PAGE.read_text(encoding="utf-8")
    assert fill(page, sections(json.loads(capacity.DATA.read_text(encoding="utf-8")))) == page
