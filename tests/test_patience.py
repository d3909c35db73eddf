"""Waits that miss no Ctrl-C."""

from __future__ import annotations

import itertools
import queue
import threading

import pytest

from realtime_client.patience import SteadyQueue, pieces


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


def test_steady_queue_keeps_the_order_and_ends_in_time() -> None:
    steady: SteadyQueue[int] = SteadyQueue()
    for number in range(3):
        steady.put(number)
    assert [steady.get() for _ in range(3)] == [0, 1, 2]
    with pytest.raises(queue.Empty):
        steady.get(block=False)
    with pytest.raises(queue.Empty):
        steady.get(timeout=0.01)


def test_steady_queue_wakes_its_consumer() -> None:
    steady: SteadyQueue[int] = SteadyQueue()
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.extend(steady.get() for _ in range(1000)))
    thread.start()
    for number in range(1000):
        steady.put(number)
    thread.join(5)
    assert found == list(range(1000))


def test_steady_queue_can_be_waited_for_without_taking_anything() -> None:
    steady: SteadyQueue[int] = SteadyQueue()
    thread = threading.Thread(target=steady.wait)
    thread.start()
    assert steady.empty()
    steady.put(1)
    thread.join(5)
    assert not thread.is_alive()
    assert not steady.empty()
    assert steady.get() == 1
