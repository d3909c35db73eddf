"""The relay's connection to the feed: a client whose events go into a backlog, and the poll at the beginning."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime

import attrs

from realtime_client._core.answers import read_answer
from realtime_client._core.codec import Codec
from realtime_client._core.relay_stream import encode_event
from realtime_client.client import RealtimeClient
from realtime_client.config import ClientConfig
from realtime_client.errors import MalformedMessage, PollError
from realtime_client.events import Event, NewAnomaly, Origin
from realtime_client.relay.backlog import Backlog
from realtime_client.status import ConnectionState, Gap, Transport
from realtime_client.transports.polling import make_poller
from realtime_client.transports.tls import TlsSettings

__all__ = ["Backfill", "Connected", "Item", "Upstream", "size_of"]

logger: logging.Logger = logging.getLogger("realtime_client.relay")


class Connected:
    """The feed is there for the first time in this term."""


@attrs.frozen
class Backfill:
    """What the poll at the beginning of a term gave.

    Attributes:
        events: Logs, alerts and figures.
        complete: Whether it succeeded.
    """

    events: tuple[Event, ...] = ()
    complete: bool = False


Item = Event | Gap | Connected | Backfill


class Upstream:
    """One connection to the feed, from the beginning of a term to its end.

    Args:
        config: Where the feed is.
        limit: How many events may wait; the configuration says how many bytes of them.
        linger: Seconds in which more may gather behind an event.
    """

    def __init__(self, config: ClientConfig, limit: int, linger: float) -> None:
        self._config = config
        self._client = RealtimeClient(config=attrs.evolve(config, overflow="block"))
        self._poller = make_poller(config, TlsSettings(config))
        self._told = False
        self.backlog: Backlog[Item] = Backlog(limit, max_bytes=config.max_pending_bytes, linger=linger)
        self._client.on("*", self._received)
        self._client.on_gap(self.backlog.put)
        self._client.on_connection_change(self._changed)

    def connect(self) -> None:
        """Connect, and go on trying; does not block."""
        self._client.connect(wait=False)

    @property
    def client(self) -> RealtimeClient:
        """The client."""
        return self._client

    @property
    def hopeless(self) -> bool:
        """Whether the feed is declared to be out of reach, and polls do not stand in for it."""
        status = self._client.status
        out_of_reach = status.state in (ConnectionState.UNAVAILABLE, ConnectionState.FAILED)
        return out_of_reach and status.transport is not Transport.POLLING

    @property
    def can_poll(self) -> bool:
        """Whether a poll can be asked for what was missed."""
        return self._poller is not None

    def backfill(self, since: datetime | None, timeout: float) -> None:
        """Ask once for what is newer, on a thread of its own; a `Backfill` comes through the backlog."""
        threading.Thread(
            target=self._backfill, args=(since, timeout), name=f"rtc-{self._config.name}-backfill", daemon=True
        ).start()

    @property
    def waiting(self) -> int:
        """Events that were received and are not appended yet."""
        return len(self.backlog) + self._client.metrics().waiting

    def close(self, timeout: float) -> None:
        """Disconnect, within so many seconds; whoever waits for room in the backlog goes on."""
        self.backlog.close()
        if self._poller is not None:
            self._poller.abort()
        self._client.close(min(timeout, self._config.close_timeout))
        if self._poller is not None:
            self._poller.close()

    def _received(self, event: Event) -> None:
        self.backlog.put(event, size_of(event))

    def _changed(self, connected: bool) -> None:
        if connected and not self._told:
            self._told = True
            self.backlog.put(Connected())

    def _backfill(self, since: datetime | None, timeout: float) -> None:
        try:
            self.backlog.put(self._poll(since, timeout))
        except Exception:
            logger.exception("[%s] unexpected error while asking for what was missed", self._config.name)
            self.backlog.put(Backfill())

    def _poll(self, since: datetime | None, timeout: float) -> Backfill:
        if self._poller is None:
            return Backfill()
        now = datetime.now(UTC)
        codec = Codec()
        try:
            answer = self._poller.poll(since, timeout)
            parsed = codec.parse(answer) if isinstance(answer, (str, bytes)) else answer
            content = read_answer({} if parsed is None else parsed, codec, received_at=now)
        except (PollError, MalformedMessage) as error:
            logger.warning("[%s] what was missed could not be asked for: %s", self._config.name, error)
            return Backfill()
        logs = sorted((log for log in content.logs if log.is_anomaly), key=lambda log: log.timestamp or now)
        anomalies = [NewAnomaly(log, timestamp=log.timestamp, received_at=now, origin=Origin.POLL) for log in logs]
        return Backfill((*anomalies, *content.events), complete=not content.malformed)


def size_of(item: Event | Gap) -> int:
    """About how many bytes something takes; plain logs, which most are, are not encoded for it."""
    if isinstance(item, Gap):
        return 0
    if not isinstance(item, NewAnomaly) or item.log.extra:
        return len(encode_event(item))
    log = item.log
    words = sum(map(len, log.root_causes + log.recommendations))
    return len(log.id) + len(log.source) + len(log.message) + words
