"""The files of figures are of the code that is there, and what the page says in words is what they and the code say."""

from __future__ import annotations

import re
from collections import Counter
from importlib import import_module
from typing import Any

import pytest

from tests.conformance.echo import CLIENTS as CONFORMING
from tests.conformance.echo import OURS
from tests.conformance.verdicts import CORE, SIZES
from tests.coverage import LEAST, PURE
from tests.docs.examples import ROOT
from tests.faults.numbered_feed import EVENTS, conversation
from tests.fuzz.__main__ import COUNT, LIVE_SHARE, SECONDS
from tests.fuzz.mutation import KINDS as WOUNDS
from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS
from tests.hostile.__main__ import AT_ONCE
from tests.hostile.case import ROOM
from tests.hostile.comparison import COMPARED, HANDSHAKES_ALONE, PEERS, Verdict
from tests.hostile.table import KINDS, TABLE
from tests.mutation.__main__ import ENOUGH
from tests.mutation.subjects import PACKAGE, SUBJECTS
from tests.records import recorded
from tests.repeat import WORKERS
from tests.soak import __main__ as soak
from tests.soak import peer
from tests.soak.chaos import FAULTS
from tests.soak.compare import DISTRIBUTIONS, SLOW, TRIALS
from tests.soak.herd_peer import WAYS
from tests.tally import words_of

PAGE = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
NAMES = ("conformance", "hostile", "faults", "network", "fuzz", "machines", "soak", "herd", "coverage", "mutation")
RECORDS = {name: recorded(name) for name in NAMES}
COMPARABLE = Counter(case.kind for case in TABLE if case.kind in COMPARED and case.turns == 1 and not case.own)
"""How many inputs of each kind all clients can be compared by."""


def runs(record: dict[str, Any]) -> list[dict[str, Any]]:
    """What each part of a file was run on."""
    parts = [record, *(part for part in record.values() if isinstance(part, dict))]
    parts += record.get("clients", {}).values() if isinstance(record.get("clients"), dict) else ()
    return [part["run"] for part in parts if "run" in part]


@pytest.mark.parametrize("name", NAMES)
def test_there_is_a_record_and_it_says_what_it_was_run_on(name: str) -> None:
    found = runs(RECORDS[name])
    assert found
    for run in found:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", run["date"])
        assert re.fullmatch(r"3\.\d+\.\d+", run["python"])
        assert "processors" in run["machine"]
    if name not in ("conformance", "hostile", "network", "coverage"):  # whose inputs are fixed
        assert all("seed" in run for run in found)


def test_conformance_is_of_every_case_and_of_every_client() -> None:
    clients = RECORDS["conformance"]["clients"]
    assert set(clients) == set(CONFORMING)
    for found in clients.values():
        assert {group: one["cases"] for group, one in found["groups"].items()} == dict(SIZES)


def test_hostile_inputs_are_those_of_the_table() -> None:
    cases = Counter(case.kind for case in TABLE)
    found = RECORDS["hostile"]["expectations"]
    assert list(found) == list(KINDS)
    assert {kind: one["cases"] for kind, one in found.items()} == cases
    assert {kind: one["as_expected"] for kind, one in found.items()} == cases
    by_name = {case.name: case for case in TABLE}
    for one in found.values():
        assert one["slowest_verdict"] <= 1
        assert one["most_memory_above_the_limit"] <= ROOM
        name, seconds, allowed = one["slow"]
        assert seconds <= allowed == by_name[name].expected.within


def test_the_comparison_is_of_every_input_that_all_can_be_compared_by() -> None:
    rows = RECORDS["hostile"]["rows"]
    kinds = {who: COMPARED[:1] if who in HANDSHAKES_ALONE else COMPARED for who in (OURS, *PEERS)}
    assert {(row["client"], row["kind"]): row["cases"] for row in rows} == {
        (who, kind): COMPARABLE[kind] for who, of in kinds.items() for kind in of
    }
    names = {case.name for case in TABLE}
    for row in rows:
        assert sum(row["counts"].values()) == row["cases"]
        assert set(row["counts"]) == {verdict.value for verdict in Verdict}
        assert {name for wrong in row["wrong"].values() for name in wrong} <= names
    assert all(row["counts"]["right"] == row["cases"] for row in rows if row["client"] == OURS)


def test_faults_are_those_that_every_client_is_put_through() -> None:
    clients = RECORDS["faults"]["clients"]
    assert set(clients) == set(DISTRIBUTIONS)
    expected = {kind: soak.FAULTS // SLOW.get(kind, 1) for kind in TRIALS}
    for found in clients.values():
        assert {kind: one["tried"] for kind, one in found["faults"].items()} == expected
        for key, total in found["all"].items():
            assert total == sum(one[key] for one in found["faults"].values())
    ours = clients[OURS]["all"]
    assert [ours[key] for key in ("ended_for_good", "unnoticed", "lost_without_a_word", "wrong")] == [0] * 4
    assert ours["losses_reported"] == ours["lost"]


@pytest.mark.parametrize(("part", "file"), [("proxy", "test_toxics"), ("kernel", "test_kernel")])
def test_single_faults_are_those_that_have_a_test(part: str, file: str) -> None:
    source = (ROOT / "tests/faults" / f"{file}.py").read_text(encoding="utf-8")
    found = RECORDS["network"][part]
    assert set(found) == {words_of(name) for name in re.findall(r"^def (test_\w+)\(", source, re.MULTILINE)}
    assert [one["failed"] for one in found.values()] == [0] * len(found)
    assert all(one["passed"] or one["reasons"] for one in found.values())


def test_fuzzing_is_of_every_target_and_of_streams_with_every_wound() -> None:
    found = RECORDS["fuzz"]
    assert set(found) == {*TARGETS, "streams"}
    assert [one["findings"] for one in found.values()] == [0] * len(found)
    for name in TARGETS:
        assert found[name]["seconds"] >= SECONDS
        assert found[name]["seeds"] == len(list(SEEDS[name]()))
        assert found[name]["executions"] > found[name]["seeds"]
    streams = found["streams"]
    for tried, count in ((streams, COUNT), (streams["through_the_client"], COUNT // LIVE_SHARE)):
        assert tried["streams"] >= count
        assert set(tried["mutations"]) == set(WOUNDS)
        assert sum(tried["ends"].values()) == tried["streams"]


def test_state_machines_are_those_that_are_driven() -> None:
    modules = [import_module(f"tests.stateful.{path.stem}") for path in (ROOT / "tests/stateful").glob("test_*.py")]
    driven = {
        getattr(module, name).__qualname__.partition(".")[0]: getattr(module, name).settings.max_examples
        for module in modules
        for name in vars(module)
        if name.startswith("Test")
    }
    found = RECORDS["machines"]
    assert set(found["machines"]) == set(driven)
    assert found["failed"] == 0
    for name, way in found["machines"].items():
        assert way["steps"] > way["examples"] >= 20 * driven[name], name  # as the page says


def test_the_soak_is_of_every_fault_and_broke_no_promise() -> None:
    found = RECORDS["soak"]
    assert found["violations"] == []
    assert found["clients"] >= soak.CLIENTS
    assert found["seconds"] >= soak.LONG * 60
    assert set(found["faults_by_kind"]) == set(FAULTS)
    assert sum(found["faults_by_kind"].values()) == found["faults"]
    assert sum(sums["clients"] for sums in found["by_filling"].values()) == found["clients"]
    for sums in found["by_filling"].values():
        assert sums["delivered"] + sums["lost_and_said_so"] == sums["produced"]


def test_herds_are_of_every_client() -> None:
    found = RECORDS["herd"]
    assert found["away"] == soak.AWAY
    assert set(found["herds"]) == {OURS, *WAYS}
    for who, herd in found["herds"].items():
        assert herd["clients"] >= soak.HERD, who
    ours = found["herds"][OURS]
    assert ours["back"] == ours["clients"]
    assert ours["peak"] <= soak.CROWD


def test_coverage_is_of_the_whole_package_and_enough() -> None:
    found = RECORDS["coverage"]["places"]
    package = ROOT / "realtime_client"
    assert set(found) == {".", "all", *(path.parent.name for path in package.glob("*/__init__.py"))}
    for key, total in found["all"].items():
        assert total == sum(sums[key] for place, sums in found.items() if place != "all")
    assert found["all"]["branches_taken"] >= LEAST / 100 * found["all"]["branches"]
    assert found[PURE]["branches_taken"] == found[PURE]["branches"]
    assert found[PURE]["statements_taken"] == found[PURE]["statements"]


def test_mutants_are_of_every_file_that_is_named_and_few_survive() -> None:
    record = RECORDS["mutation"]
    found = record["files"]
    core = {path.relative_to(PACKAGE).as_posix() for path in (PACKAGE / "_core").glob("[!_]*.py")}
    assert set(found) == set(SUBJECTS) == {*core, "store.py", "observers.py", "_runtime/mailbox.py"}
    survived = sum(one["survived"] for one in found.values())
    tried = survived + sum(one["killed"] + one["timed out"] for one in found.values())
    assert len(record["survivors"]) == survived <= (1 - ENOUGH) * tried
    assert all(one["why"] for one in record["survivors"])


def test_no_run_of_the_whole_suite_failed() -> None:
    """Of those that were written down; the page says how many there were, and where there were none."""
    found = recorded("repeats")
    for number, run in enumerate(found.get("runs", ())):
        assert run["seed"] == found["run"]["seed"] + number
        assert (run["exit_code"], run["failed"]) == (0, 0)
        assert run["passed"] > 7_000


@pytest.mark.parametrize("name", ["faults", "network", "machines", "soak", "herd", "coverage", "mutation"])
def test_the_command_that_the_page_gives_is_the_one_that_was_run(name: str) -> None:
    """But for its length, which may be chosen."""
    command = re.sub(r" --minutes [\d.]+", "", RECORDS[name]["command"])
    page = re.sub(r" --minutes [\d.]+", "", PAGE)
    assert f"$ .venv/bin/{command} --docs" in page


PATIENT = {
    "silence",
    "dripping",
    "endless header",
    "line ends",  # one of them lacks its last byte
    "300 MB text in fragments",
    "a million one-byte fragments",
    "deflate bombs",
    "many values",
    "control flood",
}
"""The groups of hostile inputs in which time or mere quantity is the matter."""
SAID = {
    "within a second, where time or mere quantity is not the matter itself": {
        case.group for case in TABLE if case.expected.within > AT_ONCE
    }
    == PATIENT,
    "at most 16 MiB above `max_message_bytes`": ROOM == 16 * 1024**2,
    "The groups 1 to 10 are part of every run": set(map(int, CORE)) <= set(range(1, 11)),
    "five frames (one message of them in two fragments, with a ping between)": len(conversation(0)) == 5,
    "greets each connection with three numbered events": EVENTS == 3,
    "everybody tries to return every twentieth of a second, with a keep-alive of half a second": (
        peer.DELAY == 0.05 and peer.KEEP_ALIVE == 0.5
    ),
    "Twenty clients in one process": soak.CLIENTS == 20 and RECORDS["soak"]["clients"] == 20,
    "Fifty clients with default settings": soak.HERD == 50 and RECORDS["herd"]["herds"][OURS]["clients"] == 50,
    "away for fifteen seconds": soak.AWAY == 15,
    "no more than 16 attempts": soak.CROWD == 16,
    "four at a time": WORKERS == 4 and f"-m pytest -n {WORKERS}\n" in (ROOT / "README.md").read_text(encoding="utf-8"),
}
"""What the page says in words, and whether it is so."""


@pytest.mark.parametrize("words", SAID)
def test_what_the_page_says_in_words_is_so(words: str) -> None:
    flat = " ".join(PAGE.split())
    assert " ".join(words.split()) in flat
    assert SAID[words]
