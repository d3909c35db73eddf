"""Subscriptions while callbacks run: whoever is subscribed is called, in order, and never once it was cancelled."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import Any

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from realtime_client.events import Event, Pong, SystemAlert, UnknownEvent
from realtime_client.observers import Lane, ObserverRegistry, Subscription
from tests.client.recording import PATIENCE, Task
from tests.stateful.effort import effort

EVENTS: tuple[Event, ...] = (Pong(), SystemAlert("x"), UnknownEvent(type="deploy"), UnknownEvent(type="*"))
HEARS: dict[Hashable, tuple[int, ...]] = {
    "pong": (0,),
    Pong: (0,),
    "system_alert": (1,),
    SystemAlert: (1,),
    "deploy": (2,),
    UnknownEvent: (2, 3),
    Event: (0, 1, 2, 3),
    "*": (0, 1, 2, 3),
}
"""Which of the events each key stands for."""

pick = st.integers(0, 99)


@attrs.define(eq=False)
class Known:
    """What the model knows of a subscription."""

    subscription: Subscription
    key: Hashable
    callback: Any
    once: bool
    active: bool = True


class SubscriptionsAgainstModel(RuleBasedStateMachine):
    """One lane dispatches; everything else happens before, between and during its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = ObserverRegistry()
        self.lane = Lane()
        self.known: list[Known] = []
        self.pending: list[Subscription] = []  # of the event at hand, who is still to be called
        self.running: Known | None = None
        self.waiting: Task | None = None  # for the end of the running call

    def teardown(self) -> None:
        if self.running is not None:
            self.the_call_ends()

    def is_in_a_callback(self) -> bool:
        """Whether the callback that runs is who asks: this thread is the lane's while one runs."""
        return self.running is not None and threading.current_thread() is threading.main_thread()

    def find(self, subscription: Subscription) -> Known:
        return next(known for known in self.known if known.subscription is subscription)

    def hearers(self, number: int) -> list[Subscription]:
        return [known.subscription for known in self.known if known.active and number in HEARS[known.key]]

    @rule(key=st.sampled_from(list(HEARS)), once=st.booleans(), shared=st.booleans())
    def subscribe(self, key: Hashable, once: bool, shared: bool) -> None:
        callback = print if shared else object().__str__
        subscription = Subscription(
            callback, forget=self.registry.remove, on_own_thread=self.is_in_a_callback, once=once
        )
        self.registry.add(key, subscription)
        self.known.append(Known(subscription, key, callback, once))

    @precondition(lambda self: self.known)
    @rule(which=pick, wait=st.booleans())
    def cancel(self, which: int, wait: bool) -> None:
        known = self.known[which % len(self.known)]
        known.active = False
        nothing_runs = known.subscription.cancel(wait=wait, timeout=0)
        own_thread_asks = wait and self.running is not None  # the lane is in a callback, which is who cancels
        assert nothing_runs is (known is not self.running and not own_thread_asks)

    @precondition(lambda self: self.running is not None and self.waiting is None)
    @rule()
    def another_thread_cancels_and_waits(self) -> None:
        assert self.running is not None
        self.running.active = False
        cancel = self.running.subscription.cancel
        assert Task(lambda: cancel(wait=True, timeout=0)).result() is False
        self.waiting = Task(lambda: cancel(wait=True, timeout=PATIENCE))

    @precondition(lambda self: not self.pending and self.running is None)
    @rule(number=st.sampled_from(range(len(EVENTS))))
    def dispatch(self, number: int) -> None:
        event = EVENTS[number]
        self.pending = list(self.registry.routes[type(event), event.type])
        assert self.pending == self.hearers(number)

    @precondition(lambda self: self.pending and self.running is None)
    @rule()
    def call(self) -> None:
        subscription = self.pending.pop(0)
        known = self.find(subscription)
        assert subscription.claim(self.lane) is known.active
        if known.active:
            self.running = known
            known.active = not known.once

    @precondition(lambda self: self.running is not None)
    @rule()
    def the_call_ends(self) -> None:
        assert self.running is not None
        ended, self.running = self.running, None
        ended.subscription.release(self.lane)
        if self.waiting is not None:
            assert self.waiting.result(2 * PATIENCE) is True
            self.waiting = None

    @invariant()
    def same(self) -> None:
        for known in self.known:
            assert known.subscription.active is known.active
        for key in HEARS:
            expected = [known.subscription for known in self.known if known.active and known.key == key]
            assert list(self.registry.get(key)) == expected
        for number, event in enumerate(EVENTS):
            assert list(self.registry.routes[type(event), event.type]) == self.hearers(number)
        assert set(self.registry.find(print)) == {
            known.subscription for known in self.known if known.active and known.callback is print
        }
        assert self.lane.running is (None if self.running is None else self.running.subscription)


SubscriptionsAgainstModel.TestCase.settings = effort(80, 40)
TestSubscriptions = SubscriptionsAgainstModel.TestCase
