"""The connection machine: every pair of phase and fact, and what holds for the table as a whole."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_client._core.machine import PHASE_STATE, TABLE, Action, Fact, IllegalFact, Machine, Phase
from realtime_client.status import ConnectionState

FACTS = [fact.name for fact in Fact]

# Read off the contract, independently of the code: a row for each phase, a column for each fact, "next phase/action".
# A dash is a fact that cannot happen there.
EXPECTED = """
phase      CONNECT             RECONNECT       OPENED          RENEW           FAILED       EXHAUSTED       FATAL           HOPELESS       DUE           CLOSE
IDLE       CONNECTING/DIAL     CONNECTING/DIAL -               -               -            -               -               -              -             CLOSED/END
CONNECTING CONNECTING/NOTHING  CONNECTING/DIAL CONNECTED/SERVE CONNECTING/DIAL WAITING/WAIT OUTAGE/DECLARE  OUTAGE/DECLARE  FAILED/GIVE_UP -             CLOSED/END
CONNECTED  CONNECTED/NOTHING   RETRYING/DIAL   -               -               WAITING/WAIT OUTAGE/DECLARE  OUTAGE/DECLARE  FAILED/GIVE_UP -             CLOSED/END
WAITING    WAITING/NOTHING     RETRYING/DIAL   -               -               -            -               -               -              RETRYING/DIAL CLOSED/END
RETRYING   RETRYING/NOTHING    RETRYING/DIAL   CONNECTED/SERVE RETRYING/DIAL   WAITING/WAIT OUTAGE/DECLARE  OUTAGE/DECLARE  FAILED/GIVE_UP -             CLOSED/END
OUTAGE     OUTAGE/NOTHING      RETRYING/DIAL   -               -               -            -               -               -              PROBING/DIAL  CLOSED/END
PROBING    PROBING/NOTHING     RETRYING/DIAL   CONNECTED/SERVE PROBING/DIAL    OUTAGE/WAIT  OUTAGE/WAIT     OUTAGE/WAIT     FAILED/GIVE_UP -             CLOSED/END
FAILED     CONNECTING/DIAL     CONNECTING/DIAL -               -               -            -               -               -              -             CLOSED/END
CLOSED     CLOSED/NOTHING      CLOSED/NOTHING  -               -               -            -               -               -              -             CLOSED/NOTHING
"""  # noqa: E501 - a table is read by its columns


def expected() -> dict[tuple[Phase, Fact], tuple[Phase, Action] | None]:
    header, *rows = (line.split() for line in EXPECTED.strip().splitlines())
    table: dict[tuple[Phase, Fact], tuple[Phase, Action] | None] = {}
    for phase, *cells in rows:
        for fact, cell in zip(header[1:], cells, strict=True):
            target, _, action = cell.partition("/")
            table[Phase[phase], Fact[fact]] = None if cell == "-" else (Phase[target], Action[action])
    return table


def machine_in(phase: Phase) -> Machine:
    machine = Machine()
    machine.phase = phase
    return machine


def test_the_expectation_knows_every_pair() -> None:
    assert set(expected()) == set(product(Phase, Fact))


@pytest.mark.parametrize(("phase", "fact"), list(product(Phase, Fact)), ids=lambda value: str(value.name))
def test_every_pair(phase: Phase, fact: Fact) -> None:
    machine = machine_in(phase)
    rule = expected()[phase, fact]
    if rule is None:
        with pytest.raises(IllegalFact, match=rf"\b{fact.name}\b.*\b{phase.name}\b"):
            machine.feed(fact)
        assert machine.phase is phase
    else:
        assert (machine.feed(fact), machine.phase) == (rule[1], rule[0])


def test_a_machine_begins_idle() -> None:
    assert Machine().phase is Phase.IDLE
    assert Machine().state is ConnectionState.IDLE


def test_every_phase_is_reachable_from_idle() -> None:
    reached, edge = {Phase.IDLE}, [Phase.IDLE]
    while edge:
        here = edge.pop()
        new = {target for (phase, _), (target, _) in TABLE.items() if phase is here} - reached
        reached |= new
        edge += new
    assert reached == set(Phase)


@pytest.mark.parametrize("phase", Phase, ids=lambda phase: phase.name)
def test_close_leads_from_every_phase_to_closed(phase: Phase) -> None:
    machine = machine_in(phase)
    machine.feed(Fact.CLOSE)
    assert machine.phase is Phase.CLOSED


def test_nothing_leads_out_of_closed() -> None:
    rules = [rule for (phase, _), rule in TABLE.items() if phase is Phase.CLOSED]
    assert rules
    assert set(rules) == {(Phase.CLOSED, Action.NOTHING)}


@pytest.mark.parametrize("phase", Phase, ids=lambda phase: phase.name)
def test_reconnect_dials_from_every_phase_but_closed(phase: Phase) -> None:
    dialled = machine_in(phase).feed(Fact.RECONNECT) is Action.DIAL
    assert dialled == (phase is not Phase.CLOSED)


def test_every_action_fits_the_phase_it_leads_to() -> None:
    dialling = {phase for phase in Phase if machine_in(phase).dialling}
    targets: dict[Action, set[Phase]] = {action: set() for action in Action}
    for target, action in TABLE.values():
        targets[action].add(target)
    assert dialling == {Phase.CONNECTING, Phase.RETRYING, Phase.PROBING}
    assert targets[Action.DIAL] == dialling
    assert targets[Action.SERVE] == {Phase.CONNECTED}
    assert targets[Action.WAIT] == {Phase.WAITING, Phase.OUTAGE}
    assert targets[Action.DECLARE] == {Phase.OUTAGE}
    assert targets[Action.GIVE_UP] == {Phase.FAILED}
    assert targets[Action.END] == {Phase.CLOSED}


def test_nothing_is_done_only_where_nothing_changes() -> None:
    assert all(target is phase for (phase, _), (target, action) in TABLE.items() if action is Action.NOTHING)


def test_the_outage_is_declared_once() -> None:
    """Once declared, a failed probe waits again; only a connection or a request leaves the outage."""
    machine = machine_in(Phase.OUTAGE)
    for fact in (Fact.FAILED, Fact.EXHAUSTED, Fact.FATAL):
        assert machine.feed(Fact.DUE) is Action.DIAL
        assert machine.state is ConnectionState.UNAVAILABLE
        assert machine.feed(fact) is Action.WAIT
        assert machine.state is ConnectionState.UNAVAILABLE


def test_public_states() -> None:
    assert {phase.name: state.name for phase, state in PHASE_STATE.items()} == {
        "IDLE": "IDLE",
        "CONNECTING": "CONNECTING",
        "CONNECTED": "CONNECTED",
        "WAITING": "RECONNECTING",
        "RETRYING": "RECONNECTING",
        "OUTAGE": "UNAVAILABLE",
        "PROBING": "UNAVAILABLE",
        "FAILED": "FAILED",
        "CLOSED": "CLOSED",
    }
    assert set(PHASE_STATE.values()) == set(ConnectionState)


@settings(deadline=None)
@given(st.lists(st.sampled_from(FACTS), max_size=30))
def test_any_sequence_of_facts_follows_the_expectation(names: list[str]) -> None:
    machine, table = Machine(), expected()
    phase = Phase.IDLE
    for fact in (Fact[name] for name in names):
        rule = table[phase, fact]
        if rule is None:
            with pytest.raises(IllegalFact):
                machine.feed(fact)
        else:
            assert machine.feed(fact) is rule[1]
            phase = rule[0]
        assert machine.phase is phase
        assert machine.state is PHASE_STATE[phase]
