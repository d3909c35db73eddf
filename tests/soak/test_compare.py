"""The comparison with other clients, in its smallest form."""

from __future__ import annotations

import pytest

from tests.soak.compare import TRIALS, Tally, go_through


def told(text: str) -> Tally:
    """What is counted of these lines, given as words."""
    tally = Tally()
    tally.read([("E", word) if word.isdigit() else (word, "") for word in text.split()])
    return tally


def test_the_tally() -> None:
    assert told("3 4 5") == Tally()
    assert told("0 1 4") == Tally(lost=2, lost_without_a_word=2)
    assert told("0 W 3") == Tally(lost=2)
    assert told("0 W G 3 4 6") == Tally(lost=3, losses_reported=2, lost_without_a_word=1)
    assert told("0 2 1 3") == Tally(wrong=1)
    assert told("0 1 1") == Tally(wrong=1)


@pytest.mark.parametrize("kind", [kind for kind in TRIALS if kind != "black hole"])
def test_this_client_comes_back_and_says_what_was_lost(kind: str) -> None:
    tally = go_through("realtime_client", kind, 5, seed=2)
    assert (tally.tried, tally.ended_for_good, tally.unnoticed, tally.wrong) == (5, 0, 0, 0)
    assert tally.losses_reported == tally.lost


@pytest.mark.parametrize("which", ["WebSocketApp", "websockets.sync", "websockets.asyncio"])
def test_the_other_clients_are_driven(which: str) -> None:
    tally = go_through(which, "reset in the handshake", 3, seed=2)
    assert tally.tried == 3
    assert tally.losses_reported == 0
