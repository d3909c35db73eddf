"""`shared`: one connection for a process and configuration, held through handles."""

from __future__ import annotations

import contextlib
import queue
import threading
import weakref
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import attrs

from realtime_client._runtime.engine import Engine
from realtime_client._runtime.iteration import EventIterator
from realtime_client._runtime.process import snapshot, watch
from realtime_client.client import RealtimeClient, configuration, make_engine
from realtime_client.config import ClientConfig
from realtime_client.errors import ClientClosed, ConfigError
from realtime_client.observers import Subscription
from realtime_client.store import DashboardSnapshot, DashboardStore, Selector

__all__ = ["SharedClient", "shared"]


@attrs.define(eq=False, repr=False)
class _Shared:
    """One connection that several handles hold.

    Attributes:
        config: Its configuration.
        engine: Its working parts.
        references: How many handles hold it.
    """

    config: ClientConfig
    engine: Engine
    references: int = 0


class _Register:
    """The shared connections of this process, by URL."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards _by_url and the reference counts
        self._by_url: dict[str, _Shared] = {}
        # The references of handles that were collected. Their finalisers may run anywhere, even under the lock.
        self.dropped: queue.SimpleQueue[tuple[_Shared, threading.Lock]] = queue.SimpleQueue()

    def take(self, config: ClientConfig) -> _Shared:
        """Take a reference to the connection of a configuration, made now if there is none."""
        self.collect()
        with self._lock:
            entry = self._by_url.get(config.url)
            if entry is None:
                entry = self._by_url[config.url] = _Shared(config, make_engine(config))
            elif entry.config != config:
                differing = [a.name for a in attrs.fields(ClientConfig) if _differ(a.name, entry.config, config)]
                raise ConfigError(
                    f"shared: this URL is in use with another configuration; different: {', '.join(differing)}"
                    " (callables and contexts are compared by identity)"
                )
            entry.references += 1
            return entry

    def give_back(self, entry: _Shared) -> bool:
        """Give a reference back; whether it was the last one."""
        with self._lock:
            entry.references -= 1
            if entry.references == 0 and self._by_url.get(entry.config.url) is entry:
                del self._by_url[entry.config.url]
            return entry.references == 0

    def collect(self) -> None:
        """Give the references of collected handles back."""
        while True:
            try:
                entry, given_back = self.dropped.get_nowait()
            except queue.Empty:
                return
            if given_back.acquire(blocking=False) and self.give_back(entry):
                entry.engine.abandon()

    def after_fork(self) -> None:
        """A fresh lock in a child process: the parent's may be held by a thread that does not exist here."""
        self._lock = threading.Lock()

    def close_at_exit(self, timeout: float) -> None:
        """Nothing: each engine is told by itself."""


def _differ(name: str, one: ClientConfig, other: ClientConfig) -> bool:
    return bool(getattr(one, name) != getattr(other, name))


_register = _Register()
watch(_register)


class _StoreOfHandle(DashboardStore):
    """The shared store as one handle gives it: the same state, and subscriptions that end with the handle."""

    # Not the handle itself: whoever holds its store would keep it from being collected.
    __slots__ = ("_given_back", "_subscriptions")

    def __init__(
        self, store: DashboardStore, subscriptions: weakref.WeakSet[Subscription], given_back: threading.Lock
    ) -> None:
        self.__dict__ = store.__dict__  # one store with two faces, also after a fork
        self._subscriptions = subscriptions
        self._given_back = given_back

    def subscribe(self, part: str | Selector, callback: Callable[[Any, Any], object]) -> Subscription:
        """See `DashboardStore.subscribe`."""
        _check_open(self._given_back)
        subscription = super().subscribe(part, callback)
        self._subscriptions.add(subscription)
        if self._given_back.locked():  # meanwhile, by a close() that may not have seen this one
            subscription.cancel()
        return subscription

    def wait_for(
        self, predicate: Callable[[DashboardSnapshot], object], timeout: float | None = None
    ) -> DashboardSnapshot:
        """See `DashboardStore.wait_for`; the end of the handle is an end, too."""
        _check_open(self._given_back)
        return self._wait_for(predicate, timeout, self._ended)

    def _ended(self) -> BaseException | None:
        try:
            _check_open(self._given_back)
        except ClientClosed as error:
            return error
        return self._end


class SharedClient(RealtimeClient):
    """A handle on a shared connection: the whole client, but for its end.

    `close` cancels this handle's own subscriptions and iterators and gives the connection back; the last handle's
    `close` closes it. A closed handle cannot connect again; `shared` gives a new one.
    """

    def __init__(self, config: ClientConfig) -> None:
        self._entry = _register.take(config)
        self._given_back = threading.Lock()  # acquired once, for ever: by the first close, or by the finaliser's
        self._subscriptions: weakref.WeakSet[Subscription] = weakref.WeakSet()
        self._iterators: weakref.WeakSet[EventIterator] = weakref.WeakSet()
        self._store = _StoreOfHandle(self._entry.engine.store, self._subscriptions, self._given_back)
        self._hold(self._entry.engine, _register.collect)
        # Finalisers run from the newest to the oldest: the reference is in the queue before the engine is told to look.
        weakref.finalize(self, _register.dropped.put, (self._entry, self._given_back)).atexit = False

    @property
    def closed(self) -> bool:
        """Whether this handle was closed."""
        return self._given_back.locked()

    @property
    def store(self) -> DashboardStore:
        """The bounded picture of the feed; what is subscribed to it through this handle ends with the handle."""
        return self._store

    def close(self, timeout: float | None = None) -> None:
        """Cancel this handle's subscriptions and give the connection back; the last handle closes it.

        Args:
            timeout: As for `RealtimeClient.close`, for the last handle.
        """
        if not self._given_back.acquire(blocking=False):
            return
        for subscription in snapshot(self._subscriptions):
            subscription.cancel()
        for iterator in snapshot(self._iterators):
            iterator.end()
        self._store.wake()
        if _register.give_back(self._entry):
            self._entry.engine.close(timeout)

    def join(self, timeout: float | None = None) -> bool:
        """Block until this handle is closed, or all are; see `RealtimeClient.join`."""
        with contextlib.suppress(ClientClosed):  # by somebody, between the two
            return self.closed or super().join(timeout)
        return True

    def _ask(self, *arguments: Any) -> None:
        self._check()
        super()._ask(*arguments)

    def _subscribe(self, key: Hashable, callback: Callable[..., object], **how: bool) -> Subscription:
        self._check()
        subscription = super()._subscribe(key, callback, **how)
        self._subscriptions.add(subscription)
        if self.closed:  # meanwhile, by a close() that may not have seen this one
            subscription.cancel()
        return subscription

    def _iterate(self, key: Hashable | None, *, name: str, timeout: float | None = None) -> EventIterator:
        self._check()
        iterator = super()._iterate(key, name=name, timeout=timeout)
        self._iterators.add(iterator)
        if self.closed:  # as above; whoever waits in it would wait for ever
            iterator.end()
        return iterator

    def send(self, message: Mapping[str, Any], timeout: float | None = None) -> None:
        """See `RealtimeClient.send`."""
        self._check()
        super().send(message, timeout)

    def refresh(self, timeout: float | None = None) -> DashboardSnapshot:
        """See `RealtimeClient.refresh`."""
        self._check()
        return super().refresh(timeout)

    def _mine(self, subscriptions: tuple[Subscription, ...]) -> tuple[Subscription, ...]:
        return tuple(subscription for subscription in subscriptions if subscription in self._subscriptions)

    def _check(self) -> None:
        _check_open(self._given_back)


def _check_open(given_back: threading.Lock) -> None:
    """Refuse what is asked of a closed handle."""
    if given_back.locked():
        raise ClientClosed("this handle is closed; shared() gives a new one")


def shared(url: str | None = None, **options: Any) -> SharedClient:
    """A handle on this process's one connection to a URL.

    The first call makes the client, further calls with the same configuration share it. Making it does no I/O; the
    first `connect` of any handle connects it for all.

    Args:
        url: The feed's address; ``ws://localhost:8080/ws`` by default.
        options: Fields of `ClientConfig`; callables and contexts are compared by identity.

    Raises:
        ConfigError: An option is wrong, or the URL is in use with another configuration.
    """
    return SharedClient(configuration(url, None, options))
