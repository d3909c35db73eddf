"""The steps of a connection to a WebSocket, as the client itself takes them."""

from __future__ import annotations

import contextlib
import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, cast
from urllib.parse import urlsplit

from websocket import ABNF

from realtime_client import options
from realtime_client._core.codec import Codec
from realtime_client._core.frames import Pong as PongFrame
from realtime_client._core.handshake import parse_answer
from realtime_client.client import RealtimeClient
from realtime_client.config import ClientConfig
from realtime_client.doctor.advice import of_clock
from realtime_client.doctor.checks import Finding, Step, Verdict
from realtime_client.doctor.configuration import ask_for, judge_config
from realtime_client.doctor.route import SLOW, Route
from realtime_client.doctor.talk import ListeningSocket, Talk
from realtime_client.errors import ConnectError, HeartbeatTimeout, MalformedMessage
from realtime_client.events import Event, Pong
from realtime_client.redaction import show_url
from realtime_client.transports.opening import credentials, open_websocket
from realtime_client.transports.tls import TlsSettings

__all__ = ["Connection"]

GREETING = 3.0
"""Seconds to wait for the server's first message."""
GOODBYE = 0.5
"""Seconds to wait for the server's goodbye."""
PING = b"doctor"


class Connection:
    """The examination of a WebSocket; each step leaves to the next what it has come to.

    Args:
        config: Where to, and how.
    """

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self._target = urlsplit(config.url)
        self._host = self._target.hostname or ""
        secure = self._target.scheme == "wss"
        nodes = [(self._host, self._target.port or (443 if secure else 80))]
        self._route = Route(config, nodes, tls=TlsSettings(config) if secure else None)
        self._headers: dict[str, str] = {}
        self._talk: Talk | None = None
        self._skews: list[tuple[str, float, float]] = []  # who said it, seconds ahead of us, how exactly

    @property
    def host(self) -> str:
        """Whom the present step is about."""
        return self._route.host

    def steps(self) -> tuple[Step, ...]:
        """The steps, in their order."""
        return (
            Step("config", self._look_at_config),
            *self._route.steps(),
            Step("upgrade", self._upgrade, needs="tls"),
            Step("greeting", self._await_greeting, needs="upgrade"),
            Step("heartbeat", self._beat, needs="greeting"),
            Step("polling", self._poll),
            Step("clock", self._compare_clocks),
        )

    def leave(self) -> None:
        """Close what is open."""
        if self._talk is not None:
            self._talk.leave(time.monotonic() + GOODBYE)
        self._route.leave()

    def _look_at_config(self) -> Finding:
        config = self._config
        deadline = self._route.deadline = time.monotonic() + config.connect_timeout
        token = ask_for("token", options.Token(), config, deadline)
        headers = ask_for("headers", options.Header(), config, deadline) or {}
        self._headers = credentials(self._target, headers, token)
        return judge_config(
            config,
            has_credentials="Authorization" in self._headers,
            host=self._host,
            scheme=self._target.scheme,
            secure="wss",
        )

    def _upgrade(self) -> Finding:
        listening = ListeningSocket(self._route.sock)
        try:
            first, agreement = open_websocket(
                cast("socket.socket", listening),
                self._target,
                headers=self._headers,
                subprotocols=self._config.subprotocols,
                compression=self._config.compression,
                deadline=self._route.deadline,
            )
        finally:
            self._note_date(bytes(listening.heard))
        self._talk = Talk(self._route.sock, first, agreement, self._config.max_message_bytes)
        return Finding(f"101, {'no compression' if agreement is None else 'permessage-deflate'}")

    def _note_date(self, heard: bytes) -> None:
        head, blank, _ = heard.partition(b"\r\n\r\n")
        with contextlib.suppress(ConnectError, ValueError, TypeError):
            if date := parse_answer(head + blank).get("Date"):
                # It names a second that has begun: half a second more is the best guess.
                self._note_time("the server's Date", parsedate_to_datetime(date) + timedelta(seconds=0.5), 0.5)

    def _note_time(self, whose: str, moment: datetime, exactness: float) -> None:
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        self._skews.append((whose, (moment - datetime.now(UTC)).total_seconds(), exactness))

    def _await_greeting(self) -> Finding:
        assert self._talk is not None
        wait = min(GREETING, self._config.connect_timeout)
        until = time.monotonic() + wait
        try:
            item = self._talk.hear(until)
            while isinstance(item, PongFrame):
                item = self._talk.hear(until)
        except TimeoutError:
            cause = "the server does not greet, and nothing happens just now"
            return Finding(f"nothing within {wait:g} s", Verdict.WARN, cause, "none is needed if that is its way")
        try:
            event = _decoded(item)
        except MalformedMessage as error:
            cause = "this WebSocket speaks something else than the feed"
            return Finding(f"no message of the feed: {error}", Verdict.FAIL, cause, "check the path of the URL", error)
        if event.timestamp is not None and event.type == "connection_established":
            self._note_time("the greeting", event.timestamp, 0.0)
        return Finding(f"the first message is {event.type}")

    def _beat(self) -> Finding:
        config, talk = self._config, self._talk
        assert talk is not None
        if config.heartbeat == "none":
            return Finding("switched off", Verdict.SKIP)
        began = time.monotonic()
        deadline = began + config.heartbeat_timeout
        talk.say(ABNF.OPCODE_PING, PING, deadline)
        if config.heartbeat == "message":
            talk.say(ABNF.OPCODE_TEXT, b'{"type":"ping"}', deadline)
        others = 0
        while True:
            try:
                item = talk.hear(deadline)
            except TimeoutError:
                break
            answer = _answer(item)
            if answer:
                seconds = time.monotonic() - began
                slow = seconds > SLOW
                cause, remedy = ("it is far away, or overloaded", "look at the network") if slow else ("", "")
                verdict = Verdict.WARN if slow else Verdict.OK
                return Finding(f"{answer} after {seconds * 1000:.1f} ms", verdict, cause, remedy)
            others += 1
        silence = config.heartbeat_timeout
        if others:
            found = f"no answer within {silence:g} s, only {others} other messages"
            cause = "the server answers neither ping frames nor ping messages"
            return Finding(found, Verdict.WARN, cause, "a quiet feed would be taken for dead: mend the server")
        error = HeartbeatTimeout(f"nothing was heard from the server for {silence:.1f} s", silence=silence)
        cause = "the server answers no ping, or something on the way holds messages back"
        return Finding(str(error), Verdict.FAIL, cause, "mend the server, or set heartbeat to none", error)

    def _poll(self) -> Finding:
        config = self._config
        if config.polling_url is None and config.poller is None:
            return Finding("none is configured", Verdict.SKIP)
        client = RealtimeClient(config=config)  # never connected: it polls, and no more
        snapshot = client.refresh(config.connect_timeout)
        where = "the poller" if config.polling_url is None else show_url(config.polling_url)
        found = (
            f"{where} gave {len(snapshot.recent_logs)} logs, {len(snapshot.alerts)} alerts"
            f" and {len(snapshot.stats.to_dict())} figures"
        )
        if client.rejected:
            cause = "the answer is not all in the feed's format"
            return Finding(f"{found}; not understood: {client.rejected[-1]}", Verdict.WARN, cause, "mend the server")
        return Finding(found)

    def _compare_clocks(self) -> Finding:
        if not self._skews:
            return Finding("the server did not say what time it is", Verdict.SKIP)
        whose, ahead, exactness = min(self._skews, key=lambda skew: skew[2])
        return of_clock(whose, ahead, exactness)


def _decoded(item: Any) -> Event:
    return Codec().decode(item, received_at=datetime.now(UTC))


def _answer(item: Any) -> str:
    """How a heartbeat was answered; empty where that is no answer."""
    if isinstance(item, PongFrame):
        return "a pong frame" if item.payload == PING else ""
    with contextlib.suppress(MalformedMessage):
        if isinstance(_decoded(item), Pong):
            return "a pong message"
    return ""
