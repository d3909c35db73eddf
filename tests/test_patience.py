"""Waits that miss no Ctrl-C."""

from __future__ import annotations

import itertools
import threading

import pytest

from realtime_client.patience import pieces


@pytest.mark.parametrize("timeout", [0.0, 0.01, 0.05, 1.0, 123.0])
def test_pieces_add_up_to_the_timeout(timeout: float) -> None:
    cut = list(pieces(timeout))
    assert sum(piece or 0.0 for piece in cut) == pytest.approx(timeout)
    assert all(piece is not None and piece <= 10 for piece in cut)


def test_pieces_begin_short_and_grow_so_that_a_long_wait_wakes_up_rarely() -> None:
    endless = list(itertools.islice(pieces(None), 10))
    assert endless[:4] == [0.05, 0.1, 0.2, 0.4]
    assert endless[-1] == 10


def test_pieces_are_for_the_main_thread_alone() -> None:
    found: list[float | None] = []
    thread = threading.Thread(target=lambda: found.extend([*pieces(None), *pieces(5.0)]))
    thread.start()
    thread.join(5)
    assert found == [None, 5.0]
