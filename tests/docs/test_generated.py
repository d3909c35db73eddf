"""What the documentation makes of the code is complete."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import attrs
import pytest
from flow_diagram import BOXES, THREADS, flow_diagram
from option_table import option_table
from outage_timeline import BACK_AT, attempts_until, outage_timeline
from public_names import PUBLIC_MODULES, public_path
from retry_table import retry_table
from state_diagram import arrows, collected, fact_table, state_diagram, transition_table

from realtime_client import ClientConfig
from realtime_client._core.machine import PHASE_STATE, TABLE, Fact, Phase
from realtime_client._core.retry import TABLE as OUTCOMES
from tests.docs.examples import ROOT, examples, pages

SAID_IN_WORDS = {"__version__", "realtime", "FILES", "FILE_HEADERS", "PAGE_HEADERS", "STREAM_HEADERS"}
"""Public names that are neither classes nor functions."""


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


def test_the_drawing_of_the_flow_is_of_classes_and_threads_that_there_are() -> None:
    figure = ET.fromstring(flow_diagram())
    words = [element.text or "" for element in figure.iter("{http://www.w3.org/2000/svg}text")]
    assert {"WebSocketLink", "FrameReader", "Codec", "DashboardStore", "Mailbox", "Dispatcher"} <= set(words)
    told = re.findall(r"^\| `rtc-<name>-(\w+)", (ROOT / "docs/concepts.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(THREADS) == set(told) - {"lane"}
    assert "\n\n" not in flow_diagram()


def test_a_box_for_a_class_that_is_gone_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BOXES, "codec", attrs.evolve(BOXES["codec"], title="_core.codec.Cipher"))
    with pytest.raises(AttributeError):
        flow_diagram()


def test_the_outage_is_drawn_as_the_page_tells_it() -> None:
    config = ClientConfig()
    attempts = attempts_until(BACK_AT, config)
    assert [at for at, declared in attempts if not declared] == [1, 3, 7, 15, 31]
    text = (ROOT / "docs/outages.md").read_text(encoding="utf-8")
    assert f"away for {BACK_AT:g} seconds" in text
    assert "| 1, 3, 7, 15, 31 | an attempt each" in text
    figure = ET.fromstring(outage_timeline())
    words = {element.text for element in figure.iter("{http://www.w3.org/2000/svg}text")}
    assert {"RECONNECTING", "UNAVAILABLE", "CONNECTED", "31", "63"} <= words
    assert "\n\n" not in outage_timeline()


@pytest.mark.parametrize("module", PUBLIC_MODULES)
def test_every_public_name_is_in_the_reference(module: str) -> None:
    """Each has its place in the documentation, and only one."""
    texts = "".join((ROOT / page).read_text(encoding="utf-8") for page in pages())
    members = re.findall(rf"automodule:: {re.escape(module)}\n   :members: (.*)", texts)
    listed = {name.strip() for line in members for name in line.split(",")}
    public = set(importlib.import_module(module).__all__) - SAID_IN_WORDS
    named = re.findall(rf":: {re.escape(module)}\.(\w+)$", texts, re.MULTILINE)
    assert public - listed <= set(named)
    assert len(named) == len(set(named))


def test_what_is_said_in_words_is_said() -> None:
    text = (ROOT / "docs/reference.md").read_text(encoding="utf-8")
    assert "`realtime_client.__version__`" in text
    assert "`realtime_client.integrations.django.realtime`" in text


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
    django = "realtime_client.integrations.django"
    assert public_path(f"{django}.client.Realtime") == f"{django}.Realtime"
    assert public_path("realtime_client.relay.relay.Relay.state") == "realtime_client.relay.Relay.state"
    assert public_path("collections.abc.Mapping") is None
