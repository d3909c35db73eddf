"""The thread that sends heartbeats and notices when nobody answers."""

from __future__ import annotations

import logging

from realtime_client._core.liveness import Liveness
from realtime_client._runtime.board import StatusBoard
from realtime_client._runtime.clock import Clock, Inbox
from realtime_client._runtime.counters import Counters
from realtime_client._runtime.reader import Reader
from realtime_client.config import ClientConfig
from realtime_client.errors import ConnectionLost, HeartbeatTimeout

__all__ = ["Heartbeat"]

logger = logging.getLogger("realtime_client")

MESSAGE = '{"type":"ping"}'


class Heartbeat:
    """The heartbeat of one connection; made and started when it stands.

    Args:
        reader: Knows when the peer was last heard, and hears the answers.
        config: Spacing, time-out and kind.
        board: Where the latency is shown.
        counters: Where heartbeats are counted.
        clock: The time.
        at_once: Whether the first heartbeat is due at once, instead of after the interval.
    """

    def __init__(
        self,
        reader: Reader,
        *,
        config: ClientConfig,
        board: StatusBoard,
        counters: Counters,
        clock: Clock,
        at_once: bool = False,
    ) -> None:
        self._reader = reader
        self._config = config
        self._board = board
        self._counters = counters
        self._clock = clock
        self._inbox: Inbox[bool | None] = Inbox()
        self._count = 0
        self._sent_at = 0.0
        begin = clock.monotonic() - (config.heartbeat_interval if at_once else 0.0)
        self._liveness = Liveness(interval=config.heartbeat_interval, timeout=config.heartbeat_timeout, now=begin)
        reader.on_answer = self._answered

    def run(self) -> None:
        """The thread's life."""
        try:
            self._beat_until_stopped()
        except ConnectionLost:
            pass  # the link has failed, and its reader will tell
        except Exception as error:
            logger.exception("unexpected error on the heartbeat thread")
            self._reader.link.fail(ConnectionLost(f"unexpected {type(error).__name__} on the heartbeat thread"))

    def stop(self) -> None:
        """End at once; from the reconnect thread."""
        self._inbox.post(True)

    def _beat_until_stopped(self) -> None:
        while True:
            now = self._clock.monotonic()
            heard_at = self._reader.life_sign(now)
            dead, due, until = self._liveness.judge(now, heard_at=heard_at)
            if dead:
                silence = now - heard_at
                self._reader.link.fail(
                    HeartbeatTimeout(f"nothing was heard from the server for {silence:.1f} s", silence=silence)
                )
                return
            if due:
                self._beat(now)
            elif self._clock.get(self._inbox, until - now) is not None:
                return

    def _beat(self, now: float) -> None:
        self._count += 1
        payload = self._count.to_bytes(4, "big")
        timeout = self._config.heartbeat_timeout
        self._sent_at = now
        self._reader.await_answer(payload)
        try:
            self._reader.link.ping(payload, timeout, MESSAGE if self._config.heartbeat == "message" else None)
        except TimeoutError:
            return  # somebody writes at length; that either ends, and then it is our turn, or breaks the link
        self._liveness.pinged(now)
        self._counters.add(heartbeats=1)

    def _answered(self, heard_at: float) -> None:
        """The answer came; on the reader thread."""
        self._board.latency = max(0.0, heard_at - self._sent_at)
