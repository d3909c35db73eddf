"""Who wants to be told what: subscriptions, and the registry that the dispatcher reads.

The registry is copy-on-write: a change makes new tuples under the lock, a reader takes the current tuple without it. So
a callback may subscribe and cancel at will, and the dispatcher never holds a lock while user code runs.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Hashable
from types import TracebackType
from typing import Any, Self

from realtime_client.events import Event

__all__ = ["Lane", "ObserverRegistry", "Subscription", "callback_name"]

MAX_ROUTES = 1_000
"""How many event types the registry remembers the subscribers of: the server may invent any number of them."""


def callback_name(callback: Callable[..., Any]) -> str:
    """A callback's name for log messages: ``module.qualified_name`` where it has one."""
    while isinstance(callback, functools.partial):
        callback = callback.func
    name = getattr(callback, "__qualname__", None) or type(callback).__qualname__
    module = getattr(callback, "__module__", None)
    return f"{module}.{name}" if module else str(name)


class Lane:
    """The place where callbacks are called one after the other.

    Attributes:
        running: The subscription whose callback is claimed, written by the calling thread alone.
    """

    def __init__(self) -> None:
        self.running: Subscription | None = None


class Subscription:
    """One callback's interest; ``cancel()`` ends it. A context manager that cancels on exit.

    Attributes:
        callback: The function that is called.
        name: Its name, for log messages and metrics.
        active: Whether further calls may be claimed.
    """

    # How cancelling and claiming meet without a lock. The lane writes ``lane`` and ``lane.running`` and then reads
    # ``active``; cancel writes ``active`` and then reads ``lane.running``. Whatever the order, one of the two sees the
    # other: either the lane drops the call, or cancel knows that it is running and can wait for ``_ended``. That is set
    # by the lane where it finds ``active`` cleared after it has cleared ``running``, which it does after cancel looked.

    def __init__(
        self,
        callback: Callable[..., Any],
        *,
        forget: Callable[[Subscription], None],
        on_own_thread: Callable[[], bool],
        once: bool = False,
    ) -> None:
        self.callback = callback
        self.name: str = callback_name(callback)
        self.active: bool = True
        self.once = once
        self.order = 0
        self.lane: Lane = Lane()  # where it was last claimed; until then a place where nothing runs
        self._forget = forget
        self._on_own_thread = on_own_thread
        self._ended = threading.Event()  # set when a call has ended, and none can follow

    def cancel(self, wait: bool = False, timeout: float | None = None) -> bool:
        """End the subscription. Thread-safe, idempotent; does not block unless asked to.

        Once this has returned, no further call is claimed. A call that its lane had already claimed counts as running.

        Args:
            wait: Whether to wait for the end of a running call.
            timeout: The longest wait, in seconds; ``None`` for no limit.

        Returns:
            Whether it is known that no call is running. On the client's own threads ``wait`` never waits and the answer
            is ``False``.
        """
        self.active = False
        self._forget(self)
        if not wait:
            return self.lane.running is not self
        if self._on_own_thread():
            return False
        return self.lane.running is not self or self._ended.wait(timeout)

    def claim(self, lane: Lane) -> bool:
        """Take the right to call, on the lane's thread; `release` must follow if it was granted."""
        self.lane = lane
        lane.running = self
        if not self.active:
            self.release(lane)
            return False
        if self.once:
            self.active = False
            self._forget(self)
        return True

    def release(self, lane: Lane) -> None:
        """The call has ended, on the lane's thread."""
        lane.running = None
        if not self.active:
            self._ended.set()

    def after_fork(self) -> None:
        """In a child process no call is running, whatever was running in the parent."""
        self.lane = Lane()
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    def matches(self, callback: Callable[..., Any]) -> bool:
        """Whether this is a subscription of that callback; bound methods are equal, not identical."""
        return bool(self.callback == callback)

    def __repr__(self) -> str:
        return f"<Subscription {self.name} {'active' if self.active else 'cancelled'}>"


class Routes(dict[tuple[type[Event], str], tuple[Subscription, ...]]):
    """Who hears an event, by its type's name, by its class or by ``"*"``, in the order in which they subscribed.

    Keys are an event's class and type. Worked out when first asked for, and remembered: a callback is looked up for
    every event.
    """

    def __init__(self, by_key: dict[Hashable, tuple[Subscription, ...]]) -> None:
        super().__init__()
        self._by_key = by_key

    def __missing__(self, kind: tuple[type[Event], str]) -> tuple[Subscription, ...]:
        if len(self) >= MAX_ROUTES:
            self.clear()
        cls, wire_type = kind
        # A change at this moment replaces this object, so that what is put into it here is soon forgotten.
        keys: set[Hashable] = {wire_type, *cls.__mro__, "*"}  # a server may well call a type "*"
        every = [subscription for key in keys for subscription in self._by_key.get(key, ())]
        found = self[kind] = tuple(sorted(every, key=lambda subscription: subscription.order))
        return found


class ObserverRegistry:
    """Subscriptions by key, in the order in which they were made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards _by_key against two writers; readers take the tuples as they are
        self._by_key: dict[Hashable, tuple[Subscription, ...]] = {}
        self._added = 0
        self.routes: Routes = Routes(self._by_key)
        """Who hears an event, by its class and type; another object after each change, so ask anew for each event."""

    def add(self, key: Hashable, subscription: Subscription) -> None:
        """Add a subscription under a key."""
        with self._lock:
            self._added += 1
            subscription.order = self._added
            self._by_key[key] = (*self._by_key.get(key, ()), subscription)
            self.routes = Routes(self._by_key)

    def remove(self, subscription: Subscription) -> None:
        """Forget a subscription; unknown ones are ignored."""
        with self._lock:
            for key, subscriptions in self._by_key.items():
                if subscription in subscriptions:
                    rest = tuple(s for s in subscriptions if s is not subscription)
                    if rest:
                        self._by_key[key] = rest
                    else:
                        del self._by_key[key]
                    self.routes = Routes(self._by_key)
                    return

    def get(self, key: Hashable) -> tuple[Subscription, ...]:
        """The subscriptions under a key; no lock, no copy."""
        return self._by_key.get(key, ())

    def find(self, callback: Callable[..., Any]) -> tuple[Subscription, ...]:
        """All subscriptions of a callback, under any key."""
        with self._lock:
            everything = [s for subscriptions in self._by_key.values() for s in subscriptions]
        return tuple(s for s in everything if s.matches(callback))

    def after_fork(self) -> None:
        """In a child process: a fresh lock, since the old one's holder may not exist here, and no call is running."""
        self._lock = threading.Lock()
        for subscriptions in self._by_key.values():
            for subscription in subscriptions:
                subscription.after_fork()
