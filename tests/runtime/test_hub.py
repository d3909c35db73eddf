"""The hub: who gets what of a batch, and what is told to whom."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from realtime_client._runtime.hub import Hub, SideLane, Topic
from realtime_client._runtime.mailbox import Mailbox, Notice
from realtime_client.events import Event, Pong, SystemAlert, UnknownEvent
from realtime_client.testing import FakeClock
from tests.client.recording import PATIENCE

EVENTS = [UnknownEvent(1), Pong(), SystemAlert("x"), Pong(2)]
SIZES = [1, 10, 100, 1000]


def mailbox(name: str = "main", **options: Any) -> Mailbox:
    how: dict[str, Any] = {
        "max_events": 100,
        "max_bytes": 10**6,
        "overflow": "drop_oldest",
        "clock": FakeClock(),
    } | options
    return Mailbox(name, **how)


def everything(event: Event) -> bool:
    return True


def side(wants: Callable[[Event], bool] = everything, name: str = "side", **options: Any) -> SideLane:
    return SideLane(mailbox(name, **options), wants)


def rest(box: Mailbox) -> list[Any]:
    """Everything that can be taken without waiting: events, and the topics of notices."""
    found: list[Any] = []
    while (item := box.take(0)) is not None:
        if isinstance(item, Notice):
            found.append(item.topic)
        else:
            found.extend(item)
            item.clear()
    return found


@pytest.fixture
def hub() -> Hub:
    return Hub(mailbox)


def test_the_main_mailbox_gets_everything_and_a_side_lane_what_it_wants(hub: Hub) -> None:
    pongs, nothing = side(lambda event: isinstance(event, Pong)), side(lambda event: False)
    hub.add(pongs)
    hub.add(nothing)
    hub.publish(EVENTS, SIZES)
    assert rest(hub.main) == EVENTS
    assert rest(pongs.mailbox) == [Pong(), Pong(2)]
    assert rest(nothing.mailbox) == []
    assert nothing.mailbox.metrics().received == 0


def test_a_side_lane_weighs_the_events_it_wants(hub: Hub) -> None:
    pongs = side(lambda event: isinstance(event, Pong), overflow="drop_newest", max_bytes=1010)
    hub.add(pongs)
    hub.publish(EVENTS, SIZES)
    hub.publish([Pong(3)], [1])
    assert pongs.mailbox.metrics().dropped == {"drop_newest": 1}


def test_publish_returns_what_was_dropped_in_all_lanes() -> None:
    hub = Hub(lambda: mailbox(max_events=3))
    assert hub.publish(EVENTS, SIZES) == 1
    hub.add(side(max_events=1))
    assert hub.publish(EVENTS, SIZES) == 4 + 3


def test_a_full_side_lane_takes_nothing_from_the_main_mailbox(hub: Hub) -> None:
    small = side(max_events=1)
    hub.add(small)
    hub.publish(EVENTS, SIZES)
    assert rest(small.mailbox) == EVENTS[-1:]
    assert rest(hub.main) == EVENTS


def test_a_lane_gets_what_is_published_after_it_was_added(hub: Hub) -> None:
    hub.publish(EVENTS[:1], [1])
    late = side()
    hub.add(late)
    hub.publish(EVENTS[1:], SIZES[1:])
    assert rest(late.mailbox) == EVENTS[1:]


def test_an_inactive_lane_gets_nothing_and_is_pruned(hub: Hub) -> None:
    gone = side(name="gone")
    hub.add(gone)
    gone.active = False
    hub.publish(EVENTS, SIZES)
    assert gone.mailbox.metrics().received == 0
    hub.add(side(name="next"))
    gone.active = True
    hub.publish(EVENTS, SIZES)
    assert gone.mailbox.metrics().received == 0


def test_tell_and_report_go_to_the_main_mailbox(hub: Hub) -> None:
    lane = side()
    hub.add(lane)
    hub.tell(Notice(Topic.STATUS))
    hub.report(Notice(Topic.ERROR))
    assert rest(hub.main) == [Topic.STATUS, Topic.ERROR]
    assert rest(lane.mailbox) == []


def test_tell_side_goes_to_every_side_lane(hub: Hub) -> None:
    lanes = [side(), side()]
    for lane in lanes:
        hub.add(lane)
    hub.publish(EVENTS, SIZES)
    hub.tell_side(Notice(Topic.FAILED))
    assert [rest(lane.mailbox) for lane in lanes] == [[*EVENTS, Topic.FAILED]] * 2
    assert rest(hub.main) == EVENTS


def test_end_lets_every_consumer_of_the_closed_run_end_behind_what_was_told_before(hub: Hub) -> None:
    lane, late = side(), side()
    hub.add(lane)
    hub.publish(EVENTS, SIZES)
    hub.close()
    hub.add(late)
    hub.tell(Notice(Topic.STATUS))
    hub.end()
    assert rest(hub.main) == [Topic.STATUS, Topic.END]
    assert rest(lane.mailbox) == [Topic.END]
    assert rest(late.mailbox) == []  # it belongs to the next run
    hub.publish(EVENTS, SIZES)
    assert rest(lane.mailbox) == []
    assert rest(late.mailbox) == EVENTS


def test_close_discards_everywhere(hub: Hub) -> None:
    lane = side(lambda event: isinstance(event, Pong))
    hub.add(lane)
    hub.publish(EVENTS, SIZES)
    hub.tell(Notice(Topic.STATUS))
    assert hub.close() == 4
    assert (rest(hub.main), rest(lane.mailbox)) == ([Topic.STATUS], [])
    assert lane.mailbox.metrics().dropped == {"closed": 2}
    assert hub.publish(EVENTS, SIZES) == 4


def test_hold_and_release_are_for_all(hub: Hub) -> None:
    lane = side()
    hub.add(lane)
    hub.hold()
    hub.publish(EVENTS[:1], [1])
    hub.tell(Notice(Topic.STATUS))
    hub.publish(EVENTS[1:2], [1], through_hold=True)
    hub.tell(Notice(Topic.GAP), through_hold=True)
    assert (rest(hub.main), rest(lane.mailbox)) == ([EVENTS[1], Topic.GAP], [EVENTS[1]])
    hub.release()
    assert (rest(hub.main), rest(lane.mailbox)) == ([EVENTS[0], Topic.STATUS], [EVENTS[0]])


def test_a_lane_that_is_added_while_others_are_held_is_held_too(hub: Hub) -> None:
    before, after = side(), side()
    hub.hold()
    hub.add(before)
    hub.publish(EVENTS, SIZES)
    assert rest(before.mailbox) == []
    hub.release()
    hub.add(after)
    hub.publish(EVENTS, SIZES)
    assert (rest(before.mailbox), rest(after.mailbox)) == (EVENTS * 2, EVENTS)


def test_hurry_is_for_all() -> None:
    hub = Hub(lambda: mailbox(max_events=1, overflow="block"))
    lane = side(max_events=1, overflow="block")
    hub.add(lane)
    hub.hurry(True)
    hub.publish(EVENTS, SIZES)  # else this would wait for ever
    assert (rest(hub.main), rest(lane.mailbox)) == (EVENTS, EVENTS)


def test_metrics_sum_the_main_mailboxes_of_all_runs() -> None:
    hub = Hub(lambda: mailbox(max_events=3))
    hub.publish(EVENTS, SIZES)
    first = hub.main
    for count in (2, 1):
        hub.main.take(0)
        hub.close()
        hub.renew()
        hub.publish(EVENTS[:count], SIZES[:count])
    assert hub.main is not first
    main, lanes = hub.metrics()
    assert (main.name, main.received, main.waiting, main.high_water, lanes) == ("main", 7, 1, 3, ())
    assert main.dropped == {"drop_oldest": 1, "closed": 5}
    assert main.received == main.delivered + sum(main.dropped.values()) + main.waiting


def test_renew_keeps_a_mailbox_that_was_not_closed(hub: Hub) -> None:
    hub.publish(EVENTS, SIZES)
    hub.renew()
    assert rest(hub.main) == EVENTS


def test_lanes_have_their_own_line_in_the_metrics(hub: Hub) -> None:
    lane = side(lambda event: isinstance(event, Pong), name="mine")
    hub.add(lane)
    hub.publish(EVENTS, SIZES)
    lane.mailbox.take(0)
    main, (mine,) = hub.metrics()
    assert (mine.name, mine.received, mine.waiting) == ("mine", 2, 2)
    assert (main.name, main.received) == ("main", 4)


def test_a_lane_that_has_ended_stays_counted_under_its_name(hub: Hub) -> None:
    for lane in (side(max_events=1), side(max_events=3)):
        hub.add(lane)
        hub.publish(EVENTS, SIZES)
        lane.active = False  # as a finaliser does it, who does no more
    (ended,) = hub.metrics()[1]
    assert (ended.name, ended.received, ended.delivered, ended.waiting, ended.high_water) == ("side", 8, 0, 0, 3)
    assert ended.dropped == {"drop_oldest": 3 + 1, "cancelled": 1 + 3}
    hub.add(side())
    assert hub.metrics()[1] == (ended,)


def test_what_waits_for_room_in_a_lane_that_ends_is_counted_with_it(hub: Hub) -> None:
    clock = FakeClock()
    lane = side(max_events=1, overflow="block", clock=clock)
    hub.add(lane)
    with ThreadPoolExecutor(1) as elsewhere:
        publishing = elsewhere.submit(hub.publish, EVENTS, SIZES)
        clock.wait_for_waiters()
        lane.active = False
        (ended,) = hub.metrics()[1]
        assert (ended.received, dict(ended.dropped)) == (4, {"cancelled": 4})
        assert publishing.result(PATIENCE) == 3
    assert hub.metrics()[1] == (ended,)
    assert lane.mailbox.metrics() == ended


@pytest.mark.parametrize("over", [False, True], ids=["closed", "the feed is over"])
def test_no_counter_of_a_lane_steps_back_while_its_run_ends(over: bool, hub: Hub) -> None:
    lane = side()
    hub.add(lane)
    hub.publish(EVENTS, SIZES)

    def received() -> list[int]:
        return [metrics.received for metrics in hub.metrics()[1]]

    for step in (hub.over, hub.end, hub.renew) if over else (hub.close, hub.end, hub.renew):
        step()
        assert received() == [4]
    if over:
        hub.add(side(name="next"))
        assert rest(lane.mailbox) == [*EVENTS, Topic.END]  # the next run takes nothing from it
    (mine, *_) = hub.metrics()[1]
    assert (mine.delivered, mine.waiting, dict(mine.dropped)) == ((4, 0, {}) if over else (0, 0, {"closed": 4}))
    assert lane not in hub._counted


def test_after_fork_nothing_of_the_parent_waits(hub: Hub) -> None:
    lane = side()
    hub.add(lane)
    hub.publish(EVENTS, SIZES)
    hub._lock.acquire()  # by a thread that the child process does not have
    lane.mailbox._lock.acquire()
    hub.main._lock.acquire()
    hub.after_fork()
    assert hub.metrics()[0].received == 0
    hub.publish(EVENTS[:1], [1])
    assert (rest(hub.main), rest(lane.mailbox)) == (EVENTS[:1], EVENTS[:1])
