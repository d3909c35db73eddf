"""A short chaos of relays in every run; longer ones are a command."""

from __future__ import annotations

import pytest

from tests.relay.chaos import Chaos


@pytest.mark.timeout(300)
def test_nothing_is_doubled_or_lost_without_a_word_in_a_mixture_of_faults(nothing_is_left: None) -> None:
    found = Chaos(seed=1).run(faults=8)
    assert found["terms"] > 1
