"""What the documentation makes of the code is complete."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import attrs
import pytest
from option_table import option_table
from public_names import public_path
from retry_table import retry_table
from state_diagram import arrows, collected, fact_table, state_diagram, transition_table

import realtime_client
import realtime_client.demo
import realtime_client.doctor
import realtime_client.recording
import realtime_client.testing
from realtime_client import ClientConfig
from realtime_client._core.machine import PHASE_STATE, TABLE, Fact, Phase
from realtime_client._core.retry import TABLE as OUTCOMES
from tests.docs.examples import ROOT, examples


def rows(table: str) -> list[str]:
    """The rows of a Markdown table, without its head."""
    return table.splitlines()[2:]


def test_every_option_has_a_row_with_its_variable() -> None:
    first = [row.split(" | ")[0].removeprefix("| ") for row in rows(option_table())]
    in_python_only = {"ssl_context", "retry_policy", "poller"}
    assert first == [
        f"`{field.name}`" + ("" if field.name in in_python_only else f"<br>`REALTIME_{field.name.upper()}`")
        for field in attrs.fields(ClientConfig)
    ]


def test_options_are_shown_with_default_and_meaning() -> None:
    by_name = {row.split("`")[1]: row for row in rows(option_table())}
    assert "| `16` | Cap of the delay" in by_name["reconnect_delay_max"]
    assert "| `1 * 1024 * 1024` |" in by_name["max_message_bytes"]
    assert "| `'drop_oldest'` |" in by_name["overflow"]
    assert r"\*" in by_name["headers"]


def test_a_table_has_as_many_cells_in_each_row() -> None:
    for table in (option_table(), retry_table(), fact_table(), transition_table()):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_every_outcome_has_a_row() -> None:
    assert rows(retry_table()) == [f"| {row.outcome} | {row.answer} |" for row in OUTCOMES]


def test_every_transition_has_a_row() -> None:
    assert len(rows(transition_table())) == len(TABLE)
    assert len(rows(fact_table())) == len(Fact)


def test_every_change_of_phase_is_drawn() -> None:
    drawn = {(start, fact, end) for (start, end), facts in arrows().items() for fact in facts}
    drawn |= {(start, fact, end) for fact, (end, starts) in collected().items() for start in starts}
    assert drawn == {(start, fact, end) for (start, fact), (end, _) in TABLE.items() if start is not end}


def test_the_drawing_has_every_phase_state_and_arrow() -> None:
    figure = ET.fromstring(state_diagram())
    words = [element.text or "" for element in figure.iter("{http://www.w3.org/2000/svg}text")]
    titles = [element.text or "" for element in figure.iter("{http://www.w3.org/2000/svg}title")]
    assert {state.name for state in PHASE_STATE.values()} <= set(words)
    assert {"waiting", "retrying", "outage", "probing"} <= set(words)
    assert {f"{start.name} to {end.name}" for start, end in arrows()} <= set(titles)
    assert {f"to {end.name}" for end, _ in collected().values()} <= set(titles)


def test_the_drawing_is_one_block_of_html() -> None:
    assert "\n\n" not in state_diagram()  # an empty line would end it


def test_a_phase_without_a_place_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(state_diagram.__globals__["PLACES"], Phase.PROBING)
    with pytest.raises(KeyError):
        state_diagram()


@pytest.mark.parametrize(
    ("package", "page"),
    [
        ("realtime_client", "reference.md"),
        ("realtime_client.testing", "testing.md"),
        ("realtime_client.demo", "demo.md"),
        ("realtime_client.recording", "recording.md"),
        ("realtime_client.doctor", "diagnosing.md"),
    ],
)
def test_every_public_name_is_in_the_reference(package: str, page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    public = (
        realtime_client,
        realtime_client.testing,
        realtime_client.demo,
        realtime_client.recording,
        realtime_client.doctor,
    )
    modules = {m.__name__: m for m in public}
    members = re.findall(rf"automodule:: {re.escape(package)}\n   :members: (.*)", text)
    listed = {name.strip() for line in members for name in line.split(",")}
    missing = [
        name
        for name in modules[package].__all__
        if not re.search(rf"{re.escape(package)}\.{name}\b", text) and name not in listed
    ]
    assert not missing


def test_the_figures_of_the_restart_are_those_of_the_simulation() -> None:
    command = [sys.executable, "-m", "benchmarks.restart_herd"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=True).stdout
    assert "".join(example.code for example in examples("docs/outages.md", "text")) == said


def test_the_modules_that_the_security_page_names_exist() -> None:
    named = re.findall(r"`(\w+(?:/\w+)*\.py)`", (ROOT / "docs/security.md").read_text(encoding="utf-8"))
    assert len(named) > 10
    assert [path for path in named if not (ROOT / "realtime_client" / path).is_file()] == []


def test_references_by_the_defining_module_lead_to_the_public_name() -> None:
    assert public_path("realtime_client.status.Gap") == "realtime_client.Gap"
    assert public_path("RealtimeClient.connect") == "realtime_client.RealtimeClient.connect"
    assert public_path("realtime_client.testing.server.FakeServer") == "realtime_client.testing.FakeServer"
    assert public_path("connect") == "realtime_client.RealtimeClient.connect"
    assert public_path("collections.abc.Mapping") is None
