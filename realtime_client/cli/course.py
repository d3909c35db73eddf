"""The course of the connection: told to people as it goes, and judged for whether there is any hope."""

from __future__ import annotations

import math
import time

from realtime_client import (
    ConnectionState,
    MalformedMessage,
    Notification,
    RealtimeClient,
    RealtimeError,
    StatusChange,
)
from realtime_client.cli.exits import Exit, Failure, failure_of
from realtime_client.cli.streams import say
from realtime_client.redaction import show_url

__all__ = ["Course"]

MALFORMED_SPACING = 1.0
"""Seconds between two lines about messages that could not be understood."""


class Course:
    """Watches the course of the connection: tells people, and knows when there is no hope.

    Its methods but ``begin`` are callbacks, all on the client's dispatcher thread; the attributes are written there and
    read by the following thread, each a single reference.

    Attributes:
        connected_at: When there first was a connection, in monotonic seconds, or ``None``.
        failure: Why following should end, or ``None``.
    """

    def __init__(self, client: RealtimeClient, *, talks: bool) -> None:
        self.connected_at: float | None = None
        self.failure: Failure | None = None
        self._client = client
        self._talks = talks
        self._told: RealtimeError | None = None
        self._next_malformed_at = -math.inf

    @property
    def was_connected(self) -> bool:
        """Whether there ever was a connection."""
        return self.connected_at is not None

    def begin(self) -> None:
        """Subscribe, and say where it goes."""
        self._client.on_status(self._step)
        self._client.on_error(self._error)
        if self._talks:
            self._client.on_notification(self._notify)
            say(f"connecting to {show_url(self._client.config.url)}")

    def _step(self, change: StatusChange) -> None:
        current = change.current
        if current.state is ConnectionState.CONNECTED:
            if self.connected_at is None:
                self.connected_at = time.monotonic()
        elif current.state is ConnectionState.UNAVAILABLE:
            # An outage of a feed that was there before may pass, and polling may stand in. A peer that breaks the
            # protocol again and again does not mend itself.
            failure = failure_of(current.last_error, was_connected=self.was_connected)
            hopeful = self.was_connected or self._client.config.polling_url is not None
            if failure.code is Exit.DATA or not hopeful:
                self.failure = failure
        elif current.state is ConnectionState.FAILED:
            self.failure = failure_of(current.last_error, was_connected=self.was_connected)

    def _notify(self, notification: Notification) -> None:
        match notification.kind:
            case "connected" | "lost":
                say(notification.message[:1].lower() + notification.message[1:])
            case "retry":
                say(f"retry {notification.message.removeprefix('Attempt ')}{self._news()}")
            case "unavailable" if self.failure is None:
                say(f"unavailable: {notification.message}")
        self._told = self._client.status.last_error

    def _news(self) -> str:
        """Why there is another attempt, unless that was just said."""
        error = self._client.status.last_error
        return "" if error is None or error is self._told else f" ({error})"

    def _error(self, error: RealtimeError) -> None:
        now = time.monotonic()
        if self._talks and isinstance(error, MalformedMessage) and now >= self._next_malformed_at:
            self._next_malformed_at = now + MALFORMED_SPACING
            number = self._client.metrics().malformed
            messages = "1 message" if number == 1 else f"{number} messages so far"
            say(f"{messages} could not be understood: {error.reason}")
