"""Subscriptions and their registry: order, once, and how cancelling meets calling."""

from __future__ import annotations

import functools
import random
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from unittest.mock import Mock

import pytest

from realtime_client.events import Event, Pong, StatsUpdate, SystemAlert, UnknownEvent
from realtime_client.observers import MAX_ROUTES, Lane, ObserverRegistry, Subscription, callback_name

T = TypeVar("T")
PATIENCE = 30.0
ALERT = SystemAlert("x")


@pytest.fixture
def registry() -> ObserverRegistry:
    return ObserverRegistry()


@pytest.fixture
def elsewhere() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


def add(registry: ObserverRegistry, key: Any, callback: Callable[..., Any] = print, **how: Any) -> Subscription:
    subscription = Subscription(callback, forget=registry.remove, on_own_thread=lambda: False, **how)
    registry.add(key, subscription)
    return subscription


def lonely(callback: Callable[..., Any] = print, *, own_thread: bool = False, once: bool = False) -> Subscription:
    return Subscription(callback, forget=lambda s: None, on_own_thread=lambda: own_thread, once=once)


def who_hears(registry: ObserverRegistry, event: Event) -> tuple[Subscription, ...]:
    return registry.routes[type(event), event.type]


# The registry


def test_subscribers_by_name_class_and_star_are_called_in_the_order_of_subscription(registry: ObserverRegistry) -> None:
    keys = ["*", SystemAlert, "system_alert", Event, "*", "system_alert", SystemAlert]
    expected = tuple(add(registry, key) for key in keys)
    for other in ("pong", Pong, StatsUpdate, "watchers"):
        add(registry, other)
    assert who_hears(registry, ALERT) == expected


def test_a_class_hears_its_subclasses(registry: ObserverRegistry) -> None:
    class Louder(SystemAlert):
        pass

    subscription = add(registry, SystemAlert)
    exact = add(registry, Louder)
    assert who_hears(registry, Louder("x")) == (subscription, exact)
    assert who_hears(registry, ALERT) == (subscription,)


def test_an_event_that_a_server_calls_star_is_heard_once(registry: ObserverRegistry) -> None:
    subscription = add(registry, "*")
    assert who_hears(registry, UnknownEvent(type="*")) == (subscription,)


def test_a_change_leaves_tuples_in_use_as_they_are(registry: ObserverRegistry) -> None:
    first = add(registry, "system_alert")
    by_key, by_event = registry.get("system_alert"), who_hears(registry, ALERT)
    second = add(registry, "system_alert")
    first.cancel()
    assert by_key == by_event == (first,)
    assert registry.get("system_alert") == (second,)


def test_routes_follow_every_change(registry: ObserverRegistry) -> None:
    assert who_hears(registry, ALERT) == ()
    first = add(registry, "*")
    assert who_hears(registry, ALERT) == (first,)
    second = add(registry, SystemAlert)
    assert who_hears(registry, ALERT) == (first, second)
    first.cancel()
    assert who_hears(registry, ALERT) == (second,)
    second.cancel()
    assert who_hears(registry, ALERT) == registry.get("*") == ()


def test_routes_follow_the_class_that_is_registered_for_a_type(registry: ObserverRegistry) -> None:
    class Deployed(Event):
        pass

    subscription = add(registry, Deployed)
    # What was decoded before the registration comes as an UnknownEvent, even after the first of the new class.
    for _ in range(2):
        assert who_hears(registry, UnknownEvent(type="deployed")) == ()
        assert who_hears(registry, Deployed(type="deployed")) == (subscription,)


def test_types_that_a_server_invents_do_not_fill_the_memory(registry: ObserverRegistry) -> None:
    subscription = add(registry, "*")
    for n in range(MAX_ROUTES * 2 + 1):
        assert who_hears(registry, UnknownEvent(type=str(n))) == (subscription,)
    assert len(registry.routes) <= MAX_ROUTES


def test_what_a_reader_found_before_a_change_is_soon_forgotten(registry: ObserverRegistry) -> None:
    class Late(Subscription):
        """Another thread cancels it when the reader has found it, and not yet noted it."""

        def __getattribute__(self, name: str) -> Any:
            if name == "order" and super().__getattribute__("active"):
                self.cancel()
            return super().__getattribute__(name)

    subscription = Late(print, forget=registry.remove, on_own_thread=lambda: False)
    registry.add("system_alert", subscription)
    assert who_hears(registry, ALERT) == (subscription,)
    assert who_hears(registry, ALERT) == ()


def test_remove_ignores_the_unknown(registry: ObserverRegistry) -> None:
    subscription = add(registry, "*")
    registry.remove(lonely())
    registry.remove(subscription)
    registry.remove(subscription)
    assert registry.get("*") == ()


def test_find_gives_all_subscriptions_of_a_callback(registry: ObserverRegistry) -> None:
    class Page:
        def show(self, event: Event) -> None: ...

    page, other = Page(), Page()
    mine = [add(registry, key, page.show) for key in ("*", SystemAlert)]
    add(registry, "*", other.show)
    assert registry.find(page.show) == tuple(mine)
    assert registry.find(print) == ()


def test_after_fork_a_lock_held_by_nobody_does_not_block(registry: ObserverRegistry) -> None:
    registry._lock.acquire()  # by a thread that the child process does not have
    registry.after_fork()
    subscription = add(registry, "*")
    assert who_hears(registry, ALERT) == (subscription,)


# Calling


def test_claim_and_release() -> None:
    subscription, lane = lonely(), Lane()
    running = [lane.running]
    assert subscription.claim(lane)
    running.append(lane.running)
    subscription.release(lane)
    running.append(lane.running)
    assert running == [None, subscription, None]
    assert subscription.claim(lane)


def test_once_is_claimed_exactly_once(registry: ObserverRegistry) -> None:
    subscription, lane = add(registry, "*", once=True), Lane()
    assert subscription.claim(lane)
    assert not subscription.active
    assert registry.get("*") == ()
    subscription.release(lane)
    assert not subscription.claim(lane)
    assert lane.running is None


def test_once_that_was_cancelled_is_not_claimed() -> None:
    subscription = lonely(once=True)
    assert subscription.cancel()
    assert not subscription.claim(Lane())


def test_once_can_be_waited_for(elsewhere: ThreadPoolExecutor) -> None:
    subscription, lane = lonely(once=True), Lane()
    subscription.claim(lane)
    assert not subscription.cancel(wait=True, timeout=0)
    subscription.release(lane)
    assert subscription.cancel(wait=True)


# Cancelling


def test_after_cancel_nothing_is_claimed(registry: ObserverRegistry) -> None:
    subscription = add(registry, "*")
    assert subscription.cancel()
    assert subscription.cancel(wait=True)
    assert not subscription.claim(Lane())
    assert registry.get("*") == ()


def test_cancel_does_not_wait_unless_asked_to() -> None:
    subscription, lane = lonely(), Lane()
    subscription.claim(lane)
    assert not subscription.cancel()
    assert not subscription.cancel(wait=True, timeout=0.01)
    assert lane.running is subscription


class Watched(threading.Event):
    """Tells when somebody comes to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.awaited = threading.Semaphore(0)

    def wait(self, timeout: float | None = None) -> bool:
        self.awaited.release()
        return super().wait(timeout)


def test_cancel_waits_for_the_running_call(elsewhere: ThreadPoolExecutor) -> None:
    subscription, lane = lonely(), Lane()
    subscription._ended = ended = Watched()
    subscription.claim(lane)
    waiting = [elsewhere.submit(subscription.cancel, wait=True) for _ in range(2)]
    for _ in waiting:
        assert ended.awaited.acquire(timeout=PATIENCE)
    assert not any(one.done() for one in waiting)
    subscription.release(lane)
    assert [one.result(PATIENCE) for one in waiting] == [True, True]


def test_an_earlier_call_is_not_taken_for_the_running_one() -> None:
    subscription, lane = lonely(), Lane()
    subscription.claim(lane)
    subscription.release(lane)
    subscription.claim(lane)
    assert not subscription.cancel(wait=True, timeout=0.01)


def test_on_the_clients_own_threads_cancel_never_waits_and_returns_false() -> None:
    subscription, lane = lonely(own_thread=True), Lane()
    assert not subscription.cancel(wait=True)
    running = lonely(own_thread=True)
    running.claim(lane)
    assert not running.cancel(wait=True)
    assert not running.active


def test_cancel_from_within_the_callback() -> None:
    lane = Lane()
    answers: list[bool] = []

    def callback() -> None:
        answers.extend((subscription.cancel(), subscription.cancel(wait=True)))

    subscription = lonely(callback, own_thread=True)
    assert subscription.claim(lane)
    callback()
    subscription.release(lane)
    assert answers == [False, False]
    assert not subscription.claim(lane)
    assert subscription.cancel()


def test_a_subscription_is_a_context_manager(registry: ObserverRegistry) -> None:
    with add(registry, "*") as subscription:
        assert registry.get("*") == (subscription,)
    assert not subscription.active
    assert registry.get("*") == ()


# Every point at which one thread can come between the steps of the other

STEPS = frozenset({"active", "lane", "running", "_ended"})


class Interruption:
    """Does something in the middle of something else: before its n-th access to what the two threads share."""

    def __init__(self, position: int) -> None:
        self.left = position
        self.action: Callable[[], None] = lambda: None
        self.armed = False
        self.happened = False

    def step(self, name: str) -> None:
        if self.armed and name in STEPS:
            self.left -= 1
            if self.left < 0:
                self.armed = False
                self.happened = True
                self.action()

    def interrupts(self, something: Callable[[], T]) -> T:
        self.armed = True
        try:
            return something()
        finally:
            self.armed = False


def interrupted_pair(interruption: Interruption, *, once: bool) -> tuple[Subscription, Lane]:
    class Stepwise:
        def __getattribute__(self, name: str) -> Any:
            interruption.step(name)
            return super().__getattribute__(name)

        def __setattr__(self, name: str, value: Any) -> None:
            interruption.step(name)
            super().__setattr__(name, value)

    class StepwiseSubscription(Stepwise, Subscription):
        pass

    class StepwiseLane(Stepwise, Lane):
        pass

    subscription = StepwiseSubscription(print, forget=lambda s: None, on_own_thread=lambda: False, once=once)
    return subscription, StepwiseLane()


@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.parametrize("position", range(8))
def test_cancel_at_every_step_of_a_claim(position: int, wait: bool, once: bool) -> None:
    interruption = Interruption(position)
    subscription, lane = interrupted_pair(interruption, once=once)
    known_to_be_idle: list[bool] = []
    interruption.action = lambda: known_to_be_idle.append(subscription.cancel(wait=wait, timeout=0))
    claimed = interruption.interrupts(lambda: subscription.claim(lane))
    if not interruption.happened:
        interruption.action()
    assert len(known_to_be_idle) == 1
    assert not (claimed and known_to_be_idle[0]), "cancel said that no call runs, and the call was claimed all the same"
    if claimed:
        assert lane.running is subscription
        subscription.release(lane)
    assert lane.running is None
    assert subscription.cancel(wait=True, timeout=0)
    assert not subscription.claim(lane)


@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.parametrize("position", range(8))
def test_a_claim_at_every_step_of_cancel(position: int, wait: bool) -> None:
    interruption = Interruption(position)
    subscription, lane = interrupted_pair(interruption, once=False)
    claims: list[bool] = []
    interruption.action = lambda: claims.append(subscription.claim(lane))
    known_to_be_idle = interruption.interrupts(lambda: subscription.cancel(wait=wait, timeout=0))
    assert not (claims == [True] and known_to_be_idle)
    if claims == [True]:
        subscription.release(lane)
    assert subscription.cancel(wait=True, timeout=0)
    assert not subscription.claim(lane)


@pytest.mark.parametrize("position", range(8))
def test_the_end_of_a_call_at_every_step_of_cancel(position: int) -> None:
    interruption = Interruption(position)
    subscription, lane = interrupted_pair(interruption, once=False)
    subscription.claim(lane)
    interruption.action = lambda: subscription.release(lane)
    known_to_be_idle = interruption.interrupts(lambda: subscription.cancel(wait=True, timeout=0))
    assert known_to_be_idle == interruption.happened, "a call that ended while cancel looked must not be waited for"


@pytest.mark.parametrize("position", range(8))
def test_cancel_at_every_step_of_the_end_of_a_call(position: int) -> None:
    interruption = Interruption(position)
    subscription, lane = interrupted_pair(interruption, once=False)
    subscription.claim(lane)
    cancelled: list[bool] = []
    interruption.action = lambda: cancelled.append(subscription.cancel(wait=True, timeout=0))
    interruption.interrupts(lambda: subscription.release(lane))
    if cancelled == [False]:
        assert subscription._ended.is_set(), "who had begun to wait for the end of the call would wait for ever"
    assert subscription.cancel(wait=True, timeout=0)


@pytest.fixture
def furious_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("furious_switches")
@pytest.mark.parametrize("seed", range(3))
def test_no_call_runs_after_cancel_said_so(seed: int, elsewhere: ThreadPoolExecutor) -> None:
    dice = random.Random(seed)
    registry = ObserverRegistry()
    over: set[int] = set()
    wrong: list[int] = []
    begun, done = threading.Event(), threading.Event()

    def call_everybody() -> None:
        lane = Lane()
        while not done.is_set():
            for subscription in who_hears(registry, ALERT):
                if subscription.claim(lane):
                    subscription.callback()
                    subscription.release(lane)

    def subscribe(number: int) -> Subscription:
        def callback() -> None:
            begun.set()
            wrong.extend(number for _ in range(3) if number in over)

        return add(registry, "system_alert", callback)

    def cancel(number: int, subscription: Subscription, wait: bool) -> None:
        if subscription.cancel(wait=wait) or subscription.cancel(wait=True, timeout=PATIENCE):
            over.add(number)

    subscriptions = [subscribe(n) for n in range(400)]
    calling = elsewhere.submit(call_everybody)
    assert begun.wait(PATIENCE)
    in_any_order = dice.sample(range(400), 400)
    cancelling = [elsewhere.submit(cancel, n, subscriptions[n], dice.random() < 0.5) for n in in_any_order]
    for one in cancelling:
        one.result(PATIENCE)
    done.set()
    calling.result(PATIENCE)
    assert over == set(range(400))
    assert wrong == []


# Names


class Callback:
    def __call__(self, event: Event) -> None: ...

    def method(self, event: Event) -> None: ...


def function(event: Event) -> None: ...


@pytest.mark.parametrize(
    ("callback", "name"),
    [
        (function, f"{__name__}.function"),
        (functools.partial(functools.partial(function, ALERT), ALERT), f"{__name__}.function"),
        (functools.partial(Callback().method), f"{__name__}.Callback.method"),
        (lambda event: None, f"{__name__}.<lambda>"),
        (Callback().method, f"{__name__}.Callback.method"),
        (Callback(), f"{__name__}.Callback"),
        (Callback, f"{__name__}.Callback"),
        (print, "builtins.print"),
        ([].append, "list.append"),
        (Mock(), "unittest.mock.Mock"),
    ],
)
def test_callback_name(callback: Callable[..., object], name: str) -> None:
    assert callback_name(callback) == name


def test_repr_names_the_callback() -> None:
    subscription = lonely(function)
    assert repr(subscription) == f"<Subscription {__name__}.function active>"
    subscription.cancel()
    assert repr(subscription) == f"<Subscription {__name__}.function cancelled>"


def test_matches_bound_methods_by_equality() -> None:
    callback = Callback()
    assert lonely(callback.method).matches(callback.method)
    assert not lonely(callback.method).matches(Callback().method)
