"""One client under test: its server, the proxy between them, its numbered feed and the account of what it is told."""

from __future__ import annotations

import itertools
import json
import ssl
import threading
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias

import attrs

from realtime_client import Gap, NewAnomaly, RealtimeClient, StatusChange
from realtime_client._core.handshake import Request
from realtime_client.testing import FakeServer, refuse
from tests.faults.proxy import HEALTHY, Direction, FaultProxy, Toxics
from tests.soak.ledger import Ledger

Filling: TypeAlias = Literal["none", "poller", "polling_url"]

PROMPT = timedelta(seconds=1)
"""Within so much time what is sent arrives, unless something holds it up."""
OPTIONS: Mapping[str, Any] = {
    "reconnect_delay": 0.05,
    "reconnect_delay_max": 0.4,
    "fatal_retry_delay": 0.4,
    "heartbeat_interval": 0.6,
    "heartbeat_timeout": 0.8,
    "connect_timeout": 5.0,
    "close_timeout": 2.0,
    "poll_after": 1.0,
    "polling_interval": 0.3,
    "backfill_timeout": 5.0,
    "max_message_bytes": 64 * 1024,
    "recent_logs_limit": 50,
}
"""The usual behaviour, some forty times as fast; only what any machine should have time for has more."""


@attrs.frozen
class Produced:
    """A numbered event of the feed."""

    number: int
    at: datetime

    def log(self) -> dict[str, Any]:
        """On the wire."""
        text = "numbered" if self.number % 7 else "Überlauf \N{FIRE} " * 20
        return {"id": f"log-{self.number}", "timestamp": self.at.isoformat(), "message": text}


@attrs.frozen
class Identity:
    """A certificate for the loopback device, and the file with the authority that vouches for it."""

    context: ssl.SSLContext
    ca_file: str


@attrs.frozen
class Obstacle:
    """A time in which something stood in the way of what the server sent.

    Attributes:
        since, until: From when until when; it may still last.
        passable: Whether anything arrived meanwhile, if late. In a black hole nothing did, until it ended.
    """

    since: datetime
    until: datetime | None
    passable: bool

    def may_delay(self, heard_at: datetime, *, sent_by: datetime) -> bool:
        """Whether something heard at this moment may have been held up, though what was sent by the other was not."""
        if self.until is None:
            return self.passable and self.since <= heard_at
        begins_before = self.since <= heard_at if self.passable else self.until <= heard_at
        return begins_before and self.until >= sent_by


class Way:
    """From the server to the client, and what stood in it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the rest
        self._past: deque[Obstacle] = deque(maxlen=1000)
        self._present: Obstacle | None = None

    def change(self, toxics: Toxics) -> None:
        """It is like this in a moment."""
        now = datetime.now(UTC)
        with self._lock:
            if self._present is not None:
                self._past.append(attrs.evolve(self._present, until=now))
            self._present = None if toxics is HEALTHY else Obstacle(now, None, passable=not toxics.black_hole)

    def was_blocked(self, since: datetime, until: datetime) -> None:
        """Nothing happened in a time that has just ended: the whole process was kept waiting."""
        with self._lock:
            self._past.append(Obstacle(since, until, passable=True))

    def sent_by(self, heard_at: datetime) -> datetime:
        """The earliest moment at which something that arrived at this one may have been sent."""
        with self._lock:
            obstacles = [*([self._present] if self._present else []), *reversed(self._past)]
        sent_by = heard_at - PROMPT
        for obstacle in obstacles:  # the newest first: one may have kept what an older one had kept before
            if obstacle.may_delay(heard_at, sent_by=sent_by):
                sent_by = min(sent_by, obstacle.since - PROMPT)
        return sent_by


class Station:
    """A client, its server and all between them.

    Args:
        number: For the client's name and the seed of its proxy.
        filling: How the client fills gaps: not at all, by a callable that knows everything, or by polls that go
            through the same proxy and its faults.
        identity: Speaks TLS, with this certificate.
        remembered: Events that the server still gives to a poll, and ids that the client remembers.

    Attributes:
        proxy, client, ledger, filling: See above.
        way: What stood between the server and the client.
        broken_rules: What the servers complained of.
    """

    def __init__(self, number: int, *, filling: Filling, identity: Identity | None, seed: int, remembered: int) -> None:
        self.filling = filling
        self.way = Way()
        self.broken_rules: list[str] = []
        self._identity = identity
        self._lock = threading.Lock()  # guards the two lines below
        self._produced: deque[Produced] = deque(maxlen=remembered)
        self._next = 0
        self._away = False
        self._server = self._make_server().start()
        self.proxy = FaultProxy(self._server.port, seed=seed + number)
        self.ledger = Ledger(self._produced_at, self.way.sent_by)
        self.client = self._make_client(number, remembered)

    @property
    def server(self) -> FakeServer:
        """The server of the moment."""
        return self._server

    @property
    def newest(self) -> int:
        """The number of the event that was produced last; -1 before the first."""
        with self._lock:
            return self._next - 1

    def produce(self) -> None:
        """One more event: the server knows it, and sends it to whoever is connected."""
        with self._lock:
            at = datetime.now(UTC)
            if self._produced:
                at = max(at, self._produced[-1].at + timedelta(microseconds=1))
            event = Produced(self._next, at)
            self._produced.append(event)
            self._next += 1
        self._server.send({"type": "new_anomaly", "data": {"log": event.log()}})

    def only_polls(self) -> None:
        """Until it goes away, the server answers nothing but polls."""
        self._server.then = [refuse(503)]
        self._server.drop()

    def poison(self, toxics: Toxics, *directions: Direction) -> None:
        """Let the proxy do this to directions from now on."""
        if Direction.TO_CLIENT in directions:
            self.way.change(toxics)
        self.proxy.set(toxics, *directions)

    def heal(self) -> None:
        """The proxy does nothing any more."""
        self.way.change(HEALTHY)
        self.proxy.heal()
        self.proxy.accepted_at.clear()  # for which nobody asks, and which would grow for an hour

    def go_away(self) -> None:
        """The server ends, and all its connections with it; nothing where that is so already."""
        if self._away:
            return
        self._away = True
        self._server.close()
        self.broken_rules += [repr(error) for error in self._server.errors]

    def come_back(self) -> None:
        """There is a server again, which remembers the feed; nothing where there is one."""
        if not self._away:
            return
        self._away = False
        self._server = self._make_server().start()
        self.proxy.to = self._server.port

    def close(self) -> None:
        """End everything."""
        self.client.close()
        self.proxy.close()
        self.go_away()

    def _make_server(self) -> FakeServer:
        context = self._identity.context if self._identity else None
        return FakeServer(ssl_context=context, poll_answer=self._answer_poll)

    def _make_client(self, number: int, remembered: int) -> RealtimeClient:
        secure = "s" if self._identity else ""
        options: dict[str, Any] = {**OPTIONS, "name": f"soak{number}", "dedup_window": remembered}
        if self._identity:
            options["ca_file"] = self._identity.ca_file
        if self.filling == "poller":
            options["poller"] = self._poll
        elif self.filling == "polling_url":
            options["polling_url"] = self.proxy.url("/poll", scheme=f"http{secure}")
        client = RealtimeClient(self.proxy.url(scheme=f"ws{secure}"), **options)
        client.on("new_anomaly", self._delivered)
        client.on_gap(self._gap)
        client.on_status(self._changed)
        return client

    def _delivered(self, event: NewAnomaly) -> None:
        self.ledger.event(int(event.log.id.removeprefix("log-")), event.origin)

    def _gap(self, gap: Gap) -> None:
        self.ledger.gap(gap)

    def _changed(self, change: StatusChange) -> None:
        if change.current.state is not change.previous.state:
            self.ledger.changed(change.current.state)

    def _produced_at(self, number: int) -> datetime | None:
        with self._lock:
            oldest = self._next - len(self._produced)
            return self._produced[number - oldest].at if oldest <= number < self._next else None

    def _poll(self, since: datetime | None) -> dict[str, Any]:
        with self._lock:
            newest_first = itertools.takewhile(
                lambda event: since is None or event.at >= since, reversed(self._produced)
            )
            known = list(newest_first)[::-1]
        return {"logs": [event.log() for event in known]}

    def _answer_poll(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        since = request.query.get("since")
        answer = self._poll(datetime.fromisoformat(since) if since else None)
        return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()
