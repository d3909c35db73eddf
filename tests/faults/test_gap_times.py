"""A gap ends after it begins, also where polls go on until the stream has said its first word."""

from __future__ import annotations

from realtime_client.testing import MemoryTransport
from tests.client.conftest import Make
from tests.client.recording import PATIENCE, Record, anomaly


def test_polls_after_the_stream_is_back_do_not_move_the_beginning_of_the_gap_past_its_end(
    network: MemoryTransport, make: Make
) -> None:
    polls = Record()

    def poll() -> None:
        polls(None)

    options = {"heartbeat": "none", "reconnect_delay": 0.01, "reconnect_delay_max": 0.01, "max_reconnect_attempts": 1}
    client = make(link_factory=network, poller=poll, polling_interval=0.01, **options)
    gaps = Record()
    client.on_gap(gaps)
    client.connect(PATIENCE)
    network.refuse(times=20)
    network.current.lose()
    polls.wait_for(1)
    link = network.wait_for_open(2)
    polls.wait_for(len(polls.items) + 3)  # the stream is silent: they go on
    link.put(anomaly(1))
    (gap,) = gaps.wait_for(1)
    assert gap.complete
    assert gap.since <= gap.until
