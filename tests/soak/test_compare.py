"""The comparison with other clients, in its smallest form."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from tests.faults.numbered_feed import EVENTS
from tests.soak import __main__ as command
from tests.soak.compare import DISTRIBUTIONS, TRIALS, Tally, _feed, go_through

START = datetime(2024, 5, 1, tzinfo=UTC)


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def told(text: str, unsent: Collection[int] = ()) -> Tally:
    """What is counted of these lines, given as words: ``G3-5`` is a gap. An event is sent each second, but for some."""
    lines = []
    for word in text.split():
        if word.startswith("G"):
            since, until = (at(float(second)).isoformat() for second in word[1:].split("-"))
            lines.append(("G", f"{since} {until}"))
        else:
            lines.append(("E" if word.isdigit() else "W", word))
    tally = Tally()
    tally.read(lines, lambda number: None if number in unsent else at(number))
    return tally


def test_the_tally() -> None:
    assert told("3 4 5") == Tally()
    assert told("0 1 4") == Tally(lost=2, lost_without_a_word=2)
    assert told("0 W 3") == Tally(lost=2)
    assert told("0 W G1-3 3 4 6") == Tally(lost=3, losses_reported=2, lost_without_a_word=1)
    assert told("0 2 1 3") == Tally(wrong=1)
    assert told("0 1 1") == Tally(wrong=1)


def test_what_was_never_sent_is_not_lost() -> None:
    assert told("0 1 W 6", unsent=(3, 4)) == Tally(lost=2)
    assert told("0 W G1-3 6", unsent=(4, 5)) == Tally(lost=3, losses_reported=3)
    assert told("0 1 6", unsent=(2, 3, 4, 5)) == Tally()


def test_a_loss_outside_of_the_gaps_times_is_not_covered() -> None:
    assert told("0 G0-4 5") == Tally(lost=4, losses_reported=4)
    assert told("0 G0-3 5") == Tally(lost=4, losses_reported=3)
    assert told("0 G2-9 5") == Tally(lost=4, losses_reported=4)  # a second is allowed for what was under way
    assert told("0 G2.5-9 5") == Tally(lost=4, losses_reported=3)
    assert told("0 G0-2 W G4-5 5") == Tally(lost=4, losses_reported=4)
    assert told("0 G0-2 1 5") == Tally(lost=3, lost_without_a_word=3)


def test_the_command_fails_where_a_loss_of_ours_is_not_covered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def compare(**_: object) -> dict[str, Any]:
        return {"clients": {"realtime_client": {"all": attrs.asdict(tally)}}}

    monkeypatch.setattr(command, "compare", compare)
    monkeypatch.setattr("sys.argv", ["soak", "--peers"])
    tally = Tally(lost=3, losses_reported=3)
    assert command.main() == 0
    tally.losses_reported = 2
    assert command.main() == 1
    assert "1 x lost outside of every gap" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [kind for kind in TRIALS if kind != "black hole"])
def test_this_client_comes_back_and_says_what_was_lost(kind: str) -> None:
    tally = go_through("realtime_client", kind, 5, seed=2)
    assert (tally.tried, tally.ended_for_good, tally.unnoticed, tally.wrong) == (5, 0, 0, 0)
    assert tally.losses_reported == tally.lost


@pytest.mark.parametrize("which", DISTRIBUTIONS)
def test_every_feed_knows_when_it_has_sent_what(which: str) -> None:
    with _feed(which) as feed:
        assert feed.sent_at(0) is None
        feed._first_words(0)
        assert feed.sent_at(0) is not None
        assert feed.sent_at(EVENTS) is None


@pytest.mark.parametrize("which", ["WebSocketApp", "websockets.sync", "websockets.asyncio"])
def test_the_other_clients_are_driven(which: str) -> None:
    tally = go_through(which, "reset in the handshake", 3, seed=2)
    assert tally.tried == 3
    assert tally.losses_reported == 0
