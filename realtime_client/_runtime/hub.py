"""The hand-over: who reads publishes, and every buffer gets what it wants, in the same order.

The main mailbox feeds the dispatcher. A callback with a thread of its own, and an iterating thread, have a side lane
each, so that none of them delays another.
"""

from __future__ import annotations

import enum
import threading
from collections import Counter
from collections.abc import Callable, Sequence

from realtime_client._runtime.mailbox import Mailbox, Notice
from realtime_client.events import Event, FrozenMapping
from realtime_client.status import LaneMetrics

__all__ = ["Hub", "SideLane", "Topic"]

MAX_RETIRED = 1_000
"""How many names of ended lanes the counters are kept under."""


class Topic(enum.Enum):
    """What a notice is about; the ones up to GAP are also the registry's keys of the callbacks that hear it."""

    STATUS = "status"
    CONNECTION = "connection"
    NOTIFICATION = "notification"
    ERROR = "error"
    GAP = "gap"
    FAILED = "failed"
    END = "end"


class SideLane:
    """A buffer beside the main one, for the events that somebody wants.

    Attributes:
        mailbox: The buffer.
        active: Whether it still wants events; cleared by its consumer, who may be a finaliser and takes no lock.
    """

    def __init__(self, mailbox: Mailbox, wants: Callable[[Event], bool]) -> None:
        self.mailbox = mailbox
        self.active = True
        self._wants = wants

    def offer(self, events: Sequence[Event], sizes: Sequence[int], *, through_hold: bool) -> int:
        """Put those of the events that are wanted; returns how many events were dropped for it."""
        wanted = [i for i, event in enumerate(events) if self._wants(event)]
        if not wanted:
            return 0
        return self.mailbox.put([events[i] for i in wanted], [sizes[i] for i in wanted], through_hold=through_hold)


class Hub:
    """The main mailbox and the side lanes of one client.

    Args:
        make_main: Makes a main mailbox; each run of the client, from connect to close, has a fresh one.
    """

    def __init__(self, make_main: Callable[[], Mailbox]) -> None:
        self._make_main = make_main
        self._lock = threading.Lock()  # guards everything below but main
        self._side: tuple[SideLane, ...] = ()
        self._ending: tuple[SideLane, ...] = ()
        self._last: tuple[SideLane, ...] = ()  # those of a feed that is over: they end behind what waits in them
        self._counted: tuple[SideLane, ...] = ()  # those whose counters are not among the retired yet
        self._over = False
        self._past: list[LaneMetrics] = []
        self._retired: dict[str, LaneMetrics] = {}
        self._holding = False
        self.main: Mailbox = make_main()

    def renew(self) -> None:
        """Begin a run with a fresh main mailbox, if the last run ended its own; that one's counters are kept."""
        if not self.main.closed and not self._over:
            return
        last = self.main.metrics()
        with self._lock:
            self._past = [_sum("main", [*self._past, last])]
            self.main = self._make_main()
            self._over, self._last = False, ()

    def add(self, lane: SideLane) -> None:
        """Add a side lane; it gets what is published from now on."""
        with self._lock:
            self._side = (*(known for known in self._side if known.active), lane)
            self._counted = (*self._counted, lane)
            holding = self._holding
        self._retire_ended()
        if holding:
            lane.mailbox.hold()
            if not self._holding:  # released meanwhile, perhaps before this lane was held
                lane.mailbox.release()

    def retire(self, lane: SideLane) -> None:
        """Take a lane out; its counters are kept under its name."""
        lane.active = False
        lane.mailbox.close("cancelled")  # unless it was for another reason: what still waits will not be asked for
        last = lane.mailbox.metrics()
        with self._lock:
            if lane not in self._counted:
                return
            self._counted = tuple(known for known in self._counted if known is not lane)
            name = last.name if last.name in self._retired or len(self._retired) < MAX_RETIRED else "others"
            self._retired[name] = _sum(name, [self._retired[name], last] if name in self._retired else [last])

    def _retire_ended(self) -> None:
        """Retire those whose consumer has left, or has taken all there was in a run that is over."""
        with self._lock:
            present = {*self._side, *self._ending, *self._last}
            ended = [lane for lane in self._counted if not lane.active or lane not in present]
        for lane in ended:
            if not lane.active or not lane.mailbox.metrics().waiting:
                self.retire(lane)

    def publish(
        self, events: Sequence[Event], sizes: Sequence[int], *, through_hold: bool = False, heard: bool = True
    ) -> int:
        """Hand a batch over; under ``"block"`` this waits for room.

        Args:
            events: The events, in order.
            sizes: Bytes of each event's message.
            through_hold: See `Mailbox.put`.
            heard: Whether anybody on the main lane may want to know; else it is not woken.

        Returns:
            How many events all lanes dropped.
        """
        dropped = 0
        for lane in self._side:
            if lane.active:
                dropped += lane.offer(events, sizes, through_hold=through_hold)
        if heard:
            return dropped + self.main.put(events, sizes, through_hold=through_hold)
        self.main.pass_by(len(events))
        return dropped

    def tell(self, notice: Notice, *, through_hold: bool = False) -> None:
        """Put a notice into the main mailbox."""
        self.main.tell(notice, through_hold=through_hold)

    def tell_side(self, notice: Notice) -> None:
        """Put a notice into every side lane."""
        for lane in self._side:
            lane.mailbox.tell(notice)

    def report(self, notice: Notice) -> None:
        """Put a notice about an error into the main mailbox; see `Mailbox.report`."""
        self.main.report(notice)

    def stir(self) -> None:
        """Let the consumer of the main mailbox look around, though nothing has come for it."""
        self.main.nudge()

    def hurry(self, on: bool) -> None:
        """See `Mailbox.hurry`."""
        for mailbox in self._mailboxes():
            mailbox.hurry(on)

    def hold(self) -> None:
        """See `Mailbox.hold`."""
        with self._lock:
            self._holding = True
        for mailbox in self._mailboxes():
            mailbox.hold()

    def release(self) -> None:
        """See `Mailbox.release`."""
        with self._lock:
            self._holding = False
        for mailbox in self._mailboxes():
            mailbox.release()

    def close(self) -> int:
        """Discard what waits, everywhere; returns how many events the main mailbox discarded.

        Lanes that are added from now on belong to the next run.
        """
        with self._lock:
            self._ending, self._side = (*self._ending, *self._side), ()
        for lane in (*self._ending, *self._last):
            lane.mailbox.close()
        return self.main.close()

    def over(self) -> None:
        """The feed is over: nothing will come. What waits is kept for its consumers, unless `close` is called.

        Lanes that are added from now on belong to the next run.
        """
        with self._lock:
            self._over = True
            self._last, self._side = self._side, ()

    def end(self) -> None:
        """Let every consumer end, behind everything that waits and was told before."""
        self.main.tell(Notice(Topic.END))
        with self._lock:
            ending, self._ending = self._ending, ()
        for lane in (*ending, *self._last):
            lane.mailbox.tell(Notice(Topic.END))

    def metrics(self) -> tuple[LaneMetrics, tuple[LaneMetrics, ...]]:
        """The counters of the main mailbox, over all runs, and of the side lanes."""
        self._retire_ended()
        with self._lock:
            past, main, counted, retired = list(self._past), self.main, self._counted, dict(self._retired)
        # A lane that is retired from here on counts as what it was: it must be in one of the two, and never in both.
        lanes = {name: [metrics] for name, metrics in retired.items()}
        for lane in counted:
            lanes.setdefault(lane.mailbox.name, []).append(lane.mailbox.metrics())
        summed = tuple(_sum(name, parts) for name, parts in lanes.items())
        return _sum("main", [*past, main.metrics()]), summed

    def after_fork(self) -> None:
        """Start over in a child process: the parent's waiting events are the parent's."""
        self._lock = threading.Lock()
        self._side = self._counted = tuple(lane for lane in self._side if lane.active)
        for lane in self._side:  # those of iterators live on, in case that this thread iterates
            lane.mailbox.after_fork()
        self._ending = self._last = ()
        self._over = False
        self._retired = {}
        self._past = []
        self._holding = False
        self.main = self._make_main()

    def _mailboxes(self) -> list[Mailbox]:
        return [self.main, *(lane.mailbox for lane in self._side if lane.active)]


def _sum(name: str, parts: Sequence[LaneMetrics]) -> LaneMetrics:
    dropped: Counter[str] = Counter()
    for part in parts:
        dropped.update(part.dropped)
    return LaneMetrics(
        name=name,
        received=sum(part.received for part in parts),
        delivered=sum(part.delivered for part in parts),
        dropped=FrozenMapping(dropped),
        waiting=sum(part.waiting for part in parts),
        high_water=max(part.high_water for part in parts),
    )
