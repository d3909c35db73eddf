"""The page on reliability says what the files of figures say, and nothing that was not measured."""

from __future__ import annotations

import re
from typing import Any

import attrs
import pytest
from claims_table import claims_table
from proofs import CLIENTS, NOT_MEASURED, NOTHING_YET, OURS, read
from reliability import TABLES, reliability_tables

from tests.conformance.verdicts import GROUPS, Verdict, summary
from tests.defaults.claims import CLAIMS
from tests.docs.examples import ROOT
from tests.faults.test_cuts import ANSWER, SIZE
from tests.hostile import comparison
from tests.soak.compare import Tally
from tests.soak.herd import Herd
from tests.soak.steadiness import Sample
from tests.tally import Outcomes

PAGE = "docs/reliability.md"
RUN = {"date": "2024-05-01", "python": "3.11", "machine": "Linux"}
WITHOUT_RUN = {"hostile_faults", "fault_returns", "soak_faults", "soak_steadiness", "mutants_survived"}
"""These tables stand beside one with the same run."""


def tally(**found: int) -> dict[str, int]:
    return {**attrs.asdict(Tally()), **found}


def conformance() -> dict[str, Any]:
    """Two good cases; the other client gave the first another code, and was late with the second."""
    good = [Verdict(case, "OK", "OK", 1000, 0.1, "") for case in ("1.1.1", "6.4.2")]
    bad = [attrs.evolve(good[0], closing="WRONG CODE", code=1001), attrs.evolve(good[1], behavior="NON-STRICT")]
    not_judged = Verdict("7.1.6", "INFORMATIONAL", "INFORMATIONAL", 1000, 0.1, "")
    clients = {OURS: summary([*good, not_judged]), "websocket-client": summary(bad)}
    about = {"version": "1.2", "run": RUN}
    return {"suite": "suite==1", "clients": {name: {**about, **one} for name, one in clients.items()}}


def hostile() -> dict[str, Any]:
    """Our client has accepted one input of two, and the peer knows nothing of compression."""
    verdicts = comparison.Verdict
    of_ours = {"frames: a": verdicts.RIGHT, "frames: b": verdicts.ACCEPTED}
    of_peer = {"frames: a": verdicts.HUNG, "frames: b": verdicts.ABSENT}
    rows = [
        comparison.Row(OURS, "frames", of_ours, 3 * 1024**2),
        comparison.Row("websockets.sync", "frames", of_peer, 1024**2),
    ]
    kind = {"cases": 5, "as_expected": 3, "slowest_verdict": 0.25, "slow": None}
    kind["most_memory_above_the_limit"] = 2 * 1024**2
    slow = {**kind, "slow": ["json: many", 2.5, 3]}
    return {"run": RUN, "expectations": {"frames": kind, "json": slow}, **comparison.as_json(rows)}


def faults() -> dict[str, Any]:
    tallies = {
        OURS: tally(tried=50, lost=20, losses_reported=19, lost_without_a_word=1, wrong=2),
        "python-socketio": tally(tried=50, ended_for_good=3, unnoticed=1, lost=30),
        "another": tally(tried=50),
    }
    clients = {who: {"version": "1", "faults": {"reset": one}, "all": one} for who, one in tallies.items()}
    return {"command": "python -m it", "run": RUN, "clients": clients}


def fuzz() -> dict[str, Any]:
    guided = {"seconds": 60, "seeds": 11, "executions": 1000, "edges": 12, "findings": 1, "atheris": "3"}
    tried = {"bytes": 2 * 1024**2, "events": 5, "malformed": 6, "slowest_seconds": 0.5}
    streams = {"streams": 200, "mutations": {"cut": 150}, "ends": {"closed": 199}, **tried}
    live = {"streams": 20, "mutations": {}, "ends": {"closed": 20}, **tried}
    run = {**streams, "seconds": 9, "findings": 2, "run": {**RUN, "seed": 8}, "through_the_client": live}
    return {"codec": {**guided, "run": {**RUN, "seed": 7}}, "streams": run}


def network() -> dict[str, Any]:
    good, bad = attrs.asdict(Outcomes(passed=3)), attrs.asdict(Outcomes(passed=1, failed=2))
    skipped = attrs.asdict(Outcomes(skipped=1, reasons=["no netem"]))
    return {"command": "python -m it", "run": RUN, "proxy": {"a reset": good}, "kernel": {"a": bad, "b": skipped}}


def machines() -> dict[str, Any]:
    ways = {"Store": {"examples": 100, "steps": 5000}, "Client": {"examples": 10, "steps": 300}}
    return {"command": "python -m it", "run": RUN, "failed": 1, "machines": ways}


def soak() -> dict[str, Any]:
    threads = {"reader": 3, "heartbeat": 3, "others": 40}
    samples = [Sample(at=9.5 + n, threads=threads, descriptors=77, rss=1024**2, in_use=2 * 1024**2) for n in range(60)]
    names = ("clients", "produced", "delivered", "delivered_by_polls", "lost_and_said_so", "gaps", "gaps_incomplete")
    return {
        "command": "python -m tests.soak",
        "version": "0.1",
        "run": RUN,
        "seconds": 61.5,
        "clients": 20,
        "faults": 1234,
        "faults_by_kind": {"jitter": 5, "latency": 6, "reset": 7},
        "by_filling": {"poller": dict(zip(names, range(101, 108), strict=True))},
        "samples": [attrs.asdict(sample) for sample in samples],
        "drift": {"samples": 30, "rss": -(1024**2), "in_use": 2**19},
        "held": {"first": 1024**2, "last": 2 * 1024**2, "growth": ["+1 bytes, +1 blocks: store.py:1"]},
        "violations": ["one is lost"],
    }


def herd() -> dict[str, Any]:
    about = {"version": "1", "way": "by chance"}
    ours = attrs.asdict(Herd(clients=50, back=49, attempts=301, peak=9, peak_back=8, seconds=33.5))
    theirs = attrs.asdict(Herd(clients=50, back=50, attempts=150, peak=50, peak_back=50, seconds=15.5))
    herds = {OURS: {**about, **ours}, "WebSocketApp": {**about, **theirs}}
    return {"command": "python -m it", "run": RUN, "away": 15, "herds": herds}


def repeats() -> dict[str, Any]:
    well = {"seed": 4, "seconds": 300, "exit_code": 0, "passed": 7000, "failed": 0, "skipped": 1}
    badly = {"seed": 5, "seconds": 310, "exit_code": 1, "passed": 6998, "failed": 2, "skipped": 1}
    return {"command": "python -m it", "run": RUN, "wanted": 20, "runs": [well, badly]}


def coverage() -> dict[str, Any]:
    sums = {"statements": 2000, "statements_taken": 1999, "branches": 400, "branches_taken": 380}
    core = {"statements": 1000, "statements_taken": 1000, "branches": 0, "branches_taken": 0}
    return {"command": "python -m it", "run": RUN, "places": {".": sums, "_core": core, "all": sums}}


def mutation() -> dict[str, Any]:
    files = {
        "store.py": {"mutants": 1200, "killed": 90, "timed out": 5, "survived": 5},
        "_core/retry.py": {"mutants": 30, "killed": 0, "timed out": 0, "survived": 0},
    }
    survivor = {"file": "store.py", "line": 7, "place": "f", "change": "`a | b` becomes `a & b`", "why": "the same"}
    return {"command": "python -m it", "run": RUN, "seconds": 1234, "files": files, "survivors": [survivor]}


PROOFS = {
    "conformance": conformance(),
    "hostile": hostile(),
    "faults": faults(),
    "network": network(),
    "fuzz": fuzz(),
    "machines": machines(),
    "soak": soak(),
    "herd": herd(),
    "repeats": repeats(),
    "coverage": coverage(),
    "mutation": mutation(),
}


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return reliability_tables(PROOFS)


def cells(row: str) -> list[str]:
    return row.removeprefix("| ").removesuffix(" |").split(" | ")


def line(text: str, first: str) -> list[str]:
    """The cells of the one line of a table that begins with this one."""
    lines = [cells(row) for row in text.splitlines() if row.startswith(f"| {first} |")]
    assert len(lines) == 1, text
    return lines[0][1:]


def test_in_short_every_client_has_its_figures_or_is_said_not_to_be_measured(made: dict[str, str]) -> None:
    rows = [cells(row) for row in made["proof_summary"].splitlines()[2:]]
    none = NOT_MEASURED
    assert [row[1:] for row in rows] == [
        ["0 of 3", "1 of 2", none, none],
        ["0 of 3", "1 of 2", none, none],
        ["4 of 10", none, none, none],
        ["1 of 2", none, "1 of 1", none],
        ["0 of 50", none, none, "4 of 50"],
        ["1 of 20", none, none, "30 of 30"],
        ["1 of 20", none, none, "0 of 30"],
        ["2", none, none, "0"],
        ["2 of 6", none, none, none],
        ["3 in 1,200", none, none, none],
        ["1 in 5,300 steps", none, none, none],
        ["1 in 1,234", none, none, none],
        ["1 of 50", "0 of 50", none, none],
        ["9", "50", none, none],
        ["1 of 2", none, none, none],
    ]


def test_conformance_by_group_and_by_client(made: dict[str, str]) -> None:
    groups, clients = made["conformance_groups"], made["conformance_clients"]
    assert line(groups, f"6.\\* {GROUPS['6']}") == ["1", "1", "0", "0", "1000 (1)"]
    assert line(groups, "all") == ["3", "2", "1", "0", "1000 (3)"]
    assert line(clients, "OK") == ["2", "1", NOT_MEASURED, NOT_MEASURED]
    assert line(clients, "not strict") == ["0", "1", NOT_MEASURED, NOT_MEASURED]
    assert line(clients, "wrong close code") == ["0", "1", NOT_MEASURED, NOT_MEASURED]


def test_a_case_that_is_closed_badly_is_shown_in_its_group() -> None:
    good = conformance()["clients"]
    swapped = {OURS: good["websocket-client"]}
    groups = reliability_tables({"conformance": {"suite": "suite==1", "clients": swapped}})["conformance_groups"]
    assert line(groups, f"1.\\* {GROUPS['1']}") == ["1", "1", "0", "1", "1001 (1)"]
    assert line(groups, "all") == ["2", "1", "0", "2", "1000 (1), 1001 (1)"]


def test_hostile_inputs_and_what_was_not_taken_rightly(made: dict[str, str]) -> None:
    assert line(made["hostile_inputs"], "frames") == ["3 of 5", "0.25 s", "none", "2.0 MiB"]
    assert line(made["hostile_inputs"], "json") == ["3 of 5", "0.25 s", "2.5 s of 3 s (many)", "2.0 MiB"]
    assert "names the 4 that were not" in made["hostile_inputs"]
    assert line(made["hostile_clients"], "**frames**") == ["2 inputs", NOT_MEASURED, "2 inputs", NOT_MEASURED]
    assert line(made["hostile_clients"], "accepted") == ["1", "", "0", ""]
    assert line(made["hostile_clients"], "hung") == ["0", "", "1", ""]
    assert "wrong close code" not in made["hostile_clients"]  # nobody had it
    assert hostile()["note"] in made["hostile_clients"]
    assert made["hostile_faults"].endswith("\n- frames: b: accepted")


def test_when_all_was_taken_rightly_it_says_so() -> None:
    rows = [comparison.Row(OURS, "frames", {"frames: a": comparison.Verdict.RIGHT}, 0)]
    kind = {"cases": 5, "as_expected": 5, "slowest_verdict": 0.25, "slow": None, "most_memory_above_the_limit": 0}
    figures = {"run": RUN, "expectations": {"frames": kind}, **comparison.as_json(rows)}
    made = reliability_tables({"hostile": figures})
    assert "every one of these inputs rightly" in made["hostile_faults"]
    assert "were not" not in made["hostile_inputs"]


def test_faults_have_a_column_for_everybody(made: dict[str, str]) -> None:
    none = NOT_MEASURED
    assert line(made["fault_returns"], "reset") == ["50 of 50", none, none, "46 of 50", "50 of 50"]
    assert line(made["fault_outcomes"], "dead connection not noticed") == ["0", none, none, "1", "0"]
    assert line(made["fault_outcomes"], "of them, covered by a report") == ["19", none, none, "0", "0"]


def test_fuzzing_shows_parts_and_streams(made: dict[str, str]) -> None:
    assert line(made["fuzz_targets"], "codec") == ["60", "7", "11", "1,000", "12", "1"]
    assert "streams" not in made["fuzz_targets"]
    assert line(made["fuzz_streams"], "streams") == ["200", "20"]
    assert line(made["fuzz_streams"], "damage: cut") == ["150", "0"]
    assert line(made["fuzz_streams"], "end: closed") == ["199", "20"]
    assert "2 findings in 9 s" in made["fuzz_streams"]
    assert made["fuzz_streams"].endswith("seed 8.")


def test_fuzzing_without_streams_or_without_parts() -> None:
    for part, missing in (("codec", "fuzz_streams"), ("streams", "fuzz_targets")):
        assert reliability_tables({"fuzz": {part: fuzz()[part]}})[missing] == NOTHING_YET


def test_the_soak_shows_losses_faults_and_growth(made: dict[str, str]) -> None:
    assert line(made["soak_result"], "a callable") == [str(count) for count in range(101, 108)]
    assert made["soak_result"].endswith("\n- `one is lost`")
    kept = {**soak(), "violations": []}
    assert "None of the promises above was broken" in reliability_tables({"soak": kept})["soak_result"]
    assert line(made["soak_faults"], "jitter") == ["5", "reset", "7"]
    assert "| latency | 6 |" in made["soak_faults"]
    steadiness = made["soak_steadiness"]
    assert line(steadiness, "9.5 s") == line(steadiness, "68.5 s") == ["6", "77", "2.0 MiB", "1.0 MiB"]
    assert steadiness.count("1.0 MiB |") == 8
    assert "(30 such moments, a straight line through them) +0.50 MiB came to be in use" in steadiness
    assert "resident memory changed by -1.0 MiB" in steadiness
    assert "held 1.0 MiB after the first part and 2.0 MiB at the end" in steadiness
    assert "+1 bytes, +1 blocks: store.py:1" in made["soak_steadiness"]


def test_single_faults_of_the_network_by_test(made: dict[str, str]) -> None:
    assert line(made["network_proxy"], "a reset") == ["3", "0", ""]
    assert line(made["network_kernel"], "b") == ["0", "0", "no netem"]
    assert line(made["network_kernel"], "all")[:2] == ["1", "2"]


def test_how_far_the_state_machines_went(made: dict[str, str]) -> None:
    assert line(made["machines_driven"], "`Store`") == ["100", "5,000"]
    assert line(made["machines_driven"], "all") == ["110", "5,300"]
    assert "1 of them failed" in made["machines_driven"]


def test_each_herd_is_a_line(made: dict[str, str]) -> None:
    assert line(made["herd_result"], f"{OURS} 1") == ["by chance", "50", "49", "301", "9", "8", "33.5 s"]


def test_each_run_of_the_whole_suite_is_a_line(made: dict[str, str]) -> None:
    assert line(made["suite_repeats"], "4") == ["7,000", "0", "1", "300"]
    assert line(made["suite_repeats"], "5") == ["6,998", "2", "1", "310"]
    assert "1 of 2 runs failed, and 18 are still to be made" in made["suite_repeats"]


def test_what_the_tests_reach_is_never_rounded_up(made: dict[str, str]) -> None:
    assert line(made["coverage_places"], "all") == ["2,000", "99.9 %", "400", "95 %"]
    assert line(made["coverage_places"], "`_core`") == ["1,000", "100 %", "0", "none"]


def test_mutants_by_file_and_what_survived(made: dict[str, str]) -> None:
    assert line(made["mutants_killed"], "`store.py`") == ["1,200", "100", "90", "5", "5", "95 %"]
    assert line(made["mutants_killed"], "`_core/retry.py`") == ["30", "0", "0", "0", "0", "none tried"]
    assert line(made["mutants_killed"], "all") == ["1,230", "100", "90", "5", "5", "95 %"]
    assert "1,234 s" in made["mutants_killed"]
    assert made["mutants_survived"].endswith("| `store.py` | `f` | `a \\| b` becomes `a & b` | the same |")


def test_every_figure_has_its_day_its_interpreter_and_its_machine(made: dict[str, str]) -> None:
    for name in TABLES:
        if name not in WITHOUT_RUN:
            assert "2024-05-01, Python 3.11, Linux" in made[name], name


def test_the_cuts_are_those_of_the_tests(made: dict[str, str]) -> None:
    counts = [cells(row)[-1] for row in made["proof_cuts"].splitlines()[2:]]
    assert counts == [f"{2 * (SIZE + 1):,}", f"{2 * (SIZE + 1 - ANSWER):,}"]


def test_without_files_nothing_is_claimed() -> None:
    made = reliability_tables({})
    assert {made[name] for name in TABLES} == {NOTHING_YET}
    assert {cell for row in made["proof_summary"].splitlines()[2:] for cell in cells(row)[1:]} == {NOT_MEASURED}


@pytest.mark.parametrize("proofs", [PROOFS, read(), {}], ids=["made up", "as in the documentation", "none"])
def test_a_table_has_as_many_cells_in_each_row(proofs: dict[str, Any]) -> None:
    for text in (claims_table(), *reliability_tables(proofs).values()):
        rows = [row for row in text.splitlines() if row.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) <= 1


def test_the_page_shows_every_table_once() -> None:
    shown = re.findall(r"^\{\{ (\w+) \}\}$", (ROOT / PAGE).read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(shown) == sorted([*reliability_tables({}), "claims_table"])


def test_every_promise_has_a_row_with_its_tests() -> None:
    rows = claims_table().splitlines()[2:]
    assert rows == [f"| {claim} | {'<br>'.join(f'`{test}`' for test in tests)} |" for claim, tests in CLAIMS.items()]


def test_everybody_who_is_compared_is_introduced() -> None:
    names = re.findall(r"^\| ([\w.-]+) \| ", (ROOT / PAGE).read_text(encoding="utf-8"), re.MULTILINE)
    measured = {*read().get("faults", {}).get("clients", ()), *read().get("conformance", {}).get("clients", ())}
    assert {*CLIENTS, *measured - {"websocket-client"}} <= {*names}


@pytest.mark.parametrize("page", [PAGE, "CONTRIBUTING.md"])
def test_the_commands_know_the_options_that_are_given(page: str) -> None:
    """Those of our own: the modules below ``tests``, and the places that pytest is given."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(r"-m tests\.([\w.]+)((?: [^\s|`]+)*)", text)
    assert len(found) >= 6
    for module, words in found:
        path = ROOT / "tests" / module.replace(".", "/")
        source = (path / "__main__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")
        for option in re.findall(r"--[\w-]+", words):
            known = "add_docs_option(parser)" if option == "--docs" else f'"{option}"'
            assert known in source, f"{module} has no {option}"
    for place in re.findall(r"pytest (tests/[\w/.]+)", text):
        assert (ROOT / place).exists(), place
