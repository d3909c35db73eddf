"""`RealtimeClient`: the face of the package, and the place where its parts are put together."""

from __future__ import annotations

import random
import weakref
from collections.abc import Callable, Hashable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload
from urllib.parse import urlsplit

from realtime_client._core.machine import Fact
from realtime_client._runtime.clock import Clock, Inbox
from realtime_client._runtime.engine import Engine
from realtime_client._runtime.hub import Topic
from realtime_client._runtime.iteration import EventIterator
from realtime_client._runtime.reconnect import Outcome
from realtime_client.addresses import SCHEME
from realtime_client.config import ClientConfig
from realtime_client.errors import (
    ClientClosed,
    ConfigError,
    ConnectTimeout,
    MalformedMessage,
    RealtimeError,
)
from realtime_client.events import Event
from realtime_client.observers import Subscription
from realtime_client.redaction import show_url
from realtime_client.status import ConnectionStatus, Gap, Metrics, Notification, StatusChange
from realtime_client.store import DashboardSnapshot, DashboardStore
from realtime_client.transports.base import LinkFactory, Poller

if TYPE_CHECKING:
    from realtime_client.transports.tls import TlsSettings

__all__ = ["RealtimeClient"]

C = TypeVar("C", bound=Callable[..., object])


class RealtimeClient:
    """Follows a real-time feed from blocking code.

    Making a client does no I/O, starts no thread and reads no environment. `connect` starts its threads; `close` ends
    them. Every public method is thread-safe. Callbacks of every kind are called on the client's dispatcher thread, one
    at a time, in the order in which things happened, and under no lock.

    Args:
        url: The feed's address; ``ws://localhost:8080/ws`` by default, ``replay:feed.jsonl`` for a recording.
        config: All options as one object; cannot be given together with options.
        link_factory: Makes the links instead of the transport that the URL names; for tests.
        clock: The time; for tests.
        options: Fields of `ClientConfig`.

    Raises:
        ConfigError: Names every wrong option at once.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        config: ClientConfig | None = None,
        link_factory: LinkFactory | None = None,
        clock: Clock | None = None,
        **options: Any,
    ) -> None:
        engine = make_engine(configuration(url, config, options), link_factory=link_factory, clock=clock)
        self._hold(engine, engine.abandon)

    def _hold(self, engine: Engine, abandon: Callable[[], object]) -> None:
        """Be the face of an engine. No thread refers to this object, so that it can be collected."""
        self.__engine = engine
        weakref.finalize(self, engine.dropped, abandon).atexit = False

    @property
    def _engine(self) -> Engine:
        # Through here goes every public call: after a fork the engine must first come to life in this process.
        return self.__engine.awake()

    @property
    def _is_in_use(self) -> bool:
        """Whether it did anything in this process; for exporters, who must not bring it to life by asking."""
        return self.__engine.is_in_use

    def _watch(self, callback: Callable[[StatusChange], object]) -> Subscription:
        """As `on_status`, for exporters: a handle's end does not end it, so that the change to CLOSED is told, too."""
        return self._engine.subscribe(Topic.STATUS, callback)

    # Connecting

    def connect(self, timeout: float | None = None, wait: bool = True) -> None:
        """Connect, and keep connected from then on.

        Blocks until connected. A second call while connected does nothing; after `close` it begins anew.

        Args:
            timeout: The longest wait in seconds; ``None`` waits for success, a fatal outcome or the declared outage.
            wait: ``False`` returns at once and keeps trying. On the client's own threads it is always ``False``.

        Raises:
            ConnectTimeout: The time is up; the client keeps trying.
            ConnectError: The first fatal outcome, or the outage was declared (about 31 s plus the attempts by default);
                after a declared outage the client keeps trying.
            ConnectionLost: The same, where the last trouble was a connection that ended.
            ClientClosed: Somebody closed the client meanwhile.
        """
        self._ask(Fact.CONNECT, timeout, wait)

    def reconnect(self, timeout: float | None = None, wait: bool = True) -> None:
        """Drop the connection, if any, forget about earlier failures, and connect again.

        Args and errors are those of `connect`.
        """
        self._ask(Fact.RECONNECT, timeout, wait)

    def _ask(self, fact: Fact, timeout: float | None, wait: bool) -> None:
        engine = self._engine
        if not wait or engine.threads.is_current_own():
            engine.request(fact)
            return
        reply: Inbox[Outcome] = Inbox()
        engine.request(fact, reply)
        outcome = engine.clock.get(reply, timeout)
        if outcome is None:
            raise ConnectTimeout(
                f"not connected to {show_url(self.config.url)} within {timeout:g} s; the client keeps trying",
                timeout=timeout,
                url=show_url(self.config.url),
            )
        if outcome.error is not None:
            raise outcome.error

    def close(self, timeout: float | None = None) -> None:
        """Close the connection and end the client's threads, within one deadline. Idempotent, from any thread.

        Events that wait for callbacks are discarded (and counted under ``closed``), the final change to CLOSED is
        delivered, and then no call is started. From inside a callback this returns at once, and after that callback
        only the change to CLOSED follows. What does not end in time is named in a warning.

        Args:
            timeout: The deadline in seconds, the wait for the peer's close included; ``None`` for ``close_timeout``.
        """
        self._engine.close(timeout)

    def disconnect(self, timeout: float | None = None) -> None:
        """The same as `close`."""
        self.close(timeout)

    def __enter__(self) -> Self:
        try:
            self.connect()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        engine = self.__engine  # as it is: a debugger that shows a client after a fork must not connect it
        return f"<RealtimeClient {show_url(engine.config.url)} {engine.board.present.state.value}>"

    # The present

    @property
    def config(self) -> ClientConfig:
        """The options."""
        return self._engine.config

    @property
    def status(self) -> ConnectionStatus:
        """The present status, as one consistent snapshot. Callbacks tell every change in order, possibly later."""
        return self._engine.board.read()

    @property
    def is_connected(self) -> bool:
        """Whether the connection lives."""
        return self._engine.board.connected

    @property
    def store(self) -> DashboardStore:
        """The bounded picture of the feed."""
        return self._engine.store

    @property
    def rejected(self) -> tuple[MalformedMessage, ...]:
        """The last few messages that could not be understood, oldest first, each with its reason."""
        return self._engine.rejected.read()

    def metrics(self) -> Metrics:
        """Counters since the client was made."""
        return self._engine.metrics()

    def health(self) -> dict[str, Any]:
        """A small JSON-ready dict for health endpoints.

        Keys: ``state``, ``connected``, ``transport``, ``since``, ``last_message_at`` and ``next_retry_at`` (RFC 3339 or
        ``None``), ``reconnect_attempts``, ``last_error`` (text or ``None``), ``latency`` (seconds or ``None``),
        ``waiting`` and ``dropped`` (events).
        """
        status, metrics = self.status.to_dict(), self.metrics()
        keys = ("state", "connected", "transport", "since", "last_message_at", "next_retry_at", "reconnect_attempts")
        return {
            **{key: status[key] for key in keys},
            "last_error": status["last_error"],
            "latency": status["latency"],
            "waiting": metrics.waiting,
            "dropped": sum(metrics.dropped.values()),
        }

    # Callbacks

    @overload
    def on(self, event: str | type, /, *, own_thread: bool = False) -> Callable[[C], C]: ...

    @overload
    def on(
        self, event: str | type, callback: Callable[[Any], object], /, *, own_thread: bool = False
    ) -> Subscription: ...

    def on(
        self, event: str | type, callback: Callable[..., object] | None = None, /, *, own_thread: bool = False
    ) -> Subscription | Callable[[C], C]:
        """Subscribe a callback to events; works as a decorator too.

        The callback is called with the event, on the dispatcher thread, one at a time, in the order received. What it
        raises is logged, counted and given to `on_error`.

        Args:
            event: A wire name (``"new_anomaly"``), an event class (its subclasses match too), or ``"*"`` for all.
            callback: Takes the event. Without it this returns a decorator, which returns the function.
            own_thread: Gives the callback a thread and a bounded buffer of its own, so that it delays no other.

        Raises:
            TypeError: ``event`` is neither text nor an event class, or the callback is not callable.
        """
        return self._subscribe_event(event, callback, once=False, own_thread=own_thread)

    @overload
    def once(self, event: str | type, /, *, own_thread: bool = False) -> Callable[[C], C]: ...

    @overload
    def once(
        self, event: str | type, callback: Callable[[Any], object], /, *, own_thread: bool = False
    ) -> Subscription: ...

    def once(
        self, event: str | type, callback: Callable[..., object] | None = None, /, *, own_thread: bool = False
    ) -> Subscription | Callable[[C], C]:
        """Like `on`, for the next such event only."""
        return self._subscribe_event(event, callback, once=True, own_thread=own_thread)

    def off(self, callback: Callable[..., object]) -> bool:
        """Cancel every subscription of a callback, whatever it is to. Returns whether there was any."""
        return self._cancel(self._engine.find(callback))

    def on_connection_change(self, callback: Callable[[bool], object]) -> Subscription:
        """Subscribe to ``callback(connected)``; not called at registration."""
        return self._subscribe(Topic.CONNECTION, callback)

    def remove_connection_listener(self, callback: Callable[[bool], object]) -> bool:
        """Cancel what `on_connection_change` made. Returns whether there was any."""
        listeners = self._engine.registry.get(Topic.CONNECTION)
        return self._cancel(tuple(listener for listener in listeners if listener.matches(callback)))

    def on_status(self, callback: Callable[[StatusChange], object]) -> Subscription:
        """Subscribe to every step of the connection, in order, as ``callback(StatusChange(previous, current))``."""
        return self._subscribe(Topic.STATUS, callback)

    def on_notification(self, callback: Callable[[Notification], object]) -> Subscription:
        """Subscribe to what a person may want to be told, as ``callback(Notification)``."""
        return self._subscribe(Topic.NOTIFICATION, callback)

    def on_gap(self, callback: Callable[[Gap], object]) -> Subscription:
        """Subscribe to times in which events may have been missed, as ``callback(Gap)``."""
        return self._subscribe(Topic.GAP, callback)

    def on_error(self, callback: Callable[[RealtimeError], object]) -> Subscription:
        """Subscribe to `CallbackError` and `MalformedMessage`, as ``callback(error)``."""
        return self._subscribe(Topic.ERROR, callback)

    def register_event(self, wire_type: str, cls: type) -> None:
        """Let messages of a server's own type come as instances of an ``attrs`` class.

        Args:
            wire_type: The message's ``type`` on the wire.
            cls: An ``attrs`` class; its fields are filled from ``data``, by their names or in camelCase, uncoerced.
                A class that does not derive from `Event` gets the envelope's fields by a generated subclass.

        Raises:
            TypeError: ``cls`` is no ``attrs`` class.
            ValueError: ``wire_type`` is empty or one of the built-in types.
        """
        self._engine.codec.register(wire_type, cls)

    def _subscribe_event(
        self, event: str | type, callback: Callable[..., object] | None, *, once: bool, own_thread: bool
    ) -> Subscription | Callable[[C], C]:
        key = self._event_key(event)
        if callback is not None:
            return self._subscribe(key, callback, once=once, own_thread=own_thread)

        def decorate(function: C) -> C:
            self._subscribe(key, function, once=once, own_thread=own_thread)
            return function

        return decorate

    def _event_key(self, event: str | type) -> Hashable:
        if isinstance(event, str) and event:
            return event
        if isinstance(event, type) and (issubclass(event, Event) or self._engine.codec.wire_types(event)):
            return "*" if event is Event else event
        hint = "; register_event() makes a class known" if isinstance(event, type) else ""
        raise TypeError(f"event: {event!r} is not allowed; allowed: a wire name, an event class or '*'{hint}")

    def _subscribe(self, key: Hashable, callback: Callable[..., object], **how: bool) -> Subscription:
        return self._engine.subscribe(key, callback, **how)

    def _cancel(self, subscriptions: tuple[Subscription, ...]) -> bool:
        mine = self._mine(subscriptions)
        for subscription in mine:
            subscription.cancel()
        return bool(mine)

    def _mine(self, subscriptions: tuple[Subscription, ...]) -> tuple[Subscription, ...]:
        """Those that were made through this object."""
        return subscriptions

    # Waiting

    def events(self, event: str | type = "*", *, timeout: float | None = None) -> EventIterator:
        """Iterate over events on the calling thread.

        The iterator is subscribed from this call on and holds at most 1,000 events; further ones are treated as
        ``overflow`` says, and counted. It ends when the client is closed or gives up.

        Args:
            event: What to iterate over, as for `on`.
            timeout: Seconds without an event after which the iterator ends; ``None`` for never.

        Raises:
            RuntimeError: Called on one of the client's own threads, which it would block.
        """
        return self._iterate(self._event_key(event), name="events()", timeout=timeout)

    def _iterate(self, key: Hashable | None, *, name: str, timeout: float | None = None) -> EventIterator:
        return self._engine.iterate(key, name=name, timeout=timeout)

    def wait_for(
        self,
        event: str | type = "*",
        predicate: Callable[[Any], object] | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Block until an event comes for which the predicate is true, and return it.

        Args:
            event: What to wait for, as for `on`.
            predicate: Takes the event, on the calling thread; ``None`` takes any.
            timeout: Seconds to wait in all; ``None`` for as long as it takes.

        Raises:
            TimeoutError: The time is up.
            ClientClosed: The client was closed.
            RealtimeError: The client gave up, with its reason.
            RuntimeError: Called on one of the client's own threads, which it would block.
        """
        clock = self._engine.clock
        deadline = None if timeout is None else clock.monotonic() + timeout
        with self._iterate(self._event_key(event), name="wait_for()") as iterator:
            while True:
                left = None if deadline is None else max(0.0, deadline - clock.monotonic())
                found = iterator.next_within(left)
                if found is None:
                    if iterator.ended:
                        raise iterator.failure or ClientClosed("the client was closed")
                    raise TimeoutError(f"no such event within {timeout:g} s")
                if predicate is None or predicate(found):
                    return found

    def join(self, timeout: float | None = None) -> bool:
        """Block until the client is closed; Ctrl-C ends it at once with the usual ``KeyboardInterrupt``.

        Args:
            timeout: Seconds; ``None`` for as long as it takes.

        Returns:
            Whether the client is closed; ``False`` when the time is up.

        Raises:
            RealtimeError: The client gave up, with its reason.
            RuntimeError: Called on one of the client's own threads, which it would block.
        """
        with self._iterate(None, name="join()") as iterator:
            deadline = None if timeout is None else self._engine.clock.monotonic() + timeout
            iterator.next_within(timeout)
            if iterator.failure is not None:
                raise iterator.failure
            return iterator.ended and self._engine.wait_closed(deadline)

    # Polling and sending

    def refresh(self, timeout: float | None = None) -> DashboardSnapshot:
        """Poll once, now, on the calling thread, whatever the state of the connection; blocks.

        What is new goes to the store and, marked `Origin.POLL`, to the callbacks (which run only between `connect` and
        `close`).

        Args:
            timeout: Seconds within which all must be done; ``None`` for ``connect_timeout``.

        Returns:
            The store as it is then.

        Raises:
            PollError: The poll failed, or neither ``polling_url`` nor ``poller`` is configured.
        """
        self._engine.refresh(self.config.connect_timeout if timeout is None else timeout)
        return self.store.snapshot()

    def send(self, message: Mapping[str, Any], timeout: float | None = None) -> None:
        """Send a message, as one JSON text; returns when it is written. Never queues.

        Args:
            message: A mapping that JSON can carry.
            timeout: The longest wait for room in the connection, in seconds; ``None`` for ``connect_timeout``.

        Raises:
            NotConnected: There is no connection.
            ClientClosed: The client is closed.
            ConnectionLost: The connection broke while writing; whether the server got the message is unknown.
            TimeoutError: Another thread's message was being written all the time; nothing of this one was sent.
            TypeError, ValueError: JSON cannot carry the message.
        """
        text = self._engine.codec.encode(message)
        self._engine.send(text, self.config.connect_timeout if timeout is None else timeout)


def make_engine(config: ClientConfig, *, link_factory: LinkFactory | None = None, clock: Clock | None = None) -> Engine:
    """Put the parts of a client together, as its configuration asks for them."""
    # Not at the top: whoever only imports the package is spared sockets, TLS, and the transport with its library.
    from realtime_client.transports.tls import TlsSettings  # noqa: PLC0415

    tls = TlsSettings(config)
    if link_factory is None and urlsplit(config.url).scheme.lower() == SCHEME:
        from realtime_client.transports.replay import Replayer, for_replay  # noqa: PLC0415 - few replay

        config = for_replay(config)
        link_factory = Replayer(config)
    return Engine(
        config,
        make_link=link_factory or _dialer(config, tls),
        make_poller=_poller_factory(config, tls),
        clock=clock or Clock(),
        uniform=random.uniform,
    )


def _dialer(config: ClientConfig, tls: TlsSettings) -> LinkFactory:
    if not config.is_redis:
        from realtime_client.transports.websocket import WebSocketDialer  # noqa: PLC0415

        return WebSocketDialer(config, tls)
    try:
        from realtime_client.transports.redis import RedisDialer  # noqa: PLC0415
    except ImportError:
        raise ConfigError("url: a feed in Redis needs redis-py: pip install 'realtime-client[redis]'") from None
    return RedisDialer(config)


def _poller_factory(config: ClientConfig, tls: TlsSettings) -> Callable[[], Poller | None]:
    if config.polling_url is None and config.poller is None:
        return lambda: None
    # Whoever does not poll is spared urllib3, a third of the time of the import.
    from realtime_client.transports.polling import make_poller  # noqa: PLC0415

    callable_poller = make_poller(config, tls) if config.poller is not None else None  # knows which of its calls hang
    return lambda: callable_poller or make_poller(config, tls)


def configuration(url: str | None, config: ClientConfig | None, options: Mapping[str, Any]) -> ClientConfig:
    """The configuration that a constructor's arguments stand for."""
    if config is not None:
        if url is not None or options:
            given = ", ".join(["url"] * (url is not None) + sorted(options))
            raise ConfigError(f"config: cannot be given together with {given}; use attrs.evolve(config, ...)")
        if not isinstance(config, ClientConfig):
            raise ConfigError(f"config: a {type(config).__name__} is not allowed; allowed: a ClientConfig")
        return config
    return ClientConfig.from_mapping(dict(options) if url is None else {"url": url, **options})
