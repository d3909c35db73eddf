"""Fifty clients whose server is away for 15 seconds."""

from __future__ import annotations

import pytest

from tests.soak.herd import peak, scatter, scatter_peers
from tests.soak.herd_peer import WAYS


@pytest.mark.parametrize(
    ("moments", "most"),
    [([], 0), ([1.0], 1), ([1.0, 1.05, 1.099, 1.101, 1.3], 3), ([0.0, 0.2, 0.4], 1), ([3.0, 3.0, 1.0], 2)],
)
def test_the_peak_is_that_of_any_tenth_of_a_second(moments: list[float], most: int) -> None:
    assert peak(moments) == most


def test_fifty_clients_come_back_one_by_one() -> None:
    """Delays of at most 6 s, for the test's sake: that is a denser herd than the default delays make."""
    herd = scatter(clients=50, away=15, seed=1, reconnect_delay_max=4)
    assert herd.back == 50
    assert herd.peak <= 16
    assert herd.attempts >= 50 * 4


@pytest.mark.parametrize("which", WAYS)
def test_other_clients_are_scattered_too(which: str) -> None:
    herd = scatter_peers(which, 3, 1.0)
    assert herd.clients == 3
    assert 0 < herd.back <= 3  # that all come back is not what each of them promises
    assert herd.attempts >= 3
