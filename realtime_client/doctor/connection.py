"""The steps of a connection to a WebSocket, as the client itself takes them."""

from __future__ import annotations

import contextlib
import math
import socket
import ssl
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, cast
from urllib.parse import urlsplit

import attrs
from websocket import ABNF

from realtime_client import options
from realtime_client._core.codec import Codec
from realtime_client._core.frames import Pong as PongFrame
from realtime_client._core.handshake import parse_answer
from realtime_client.client import RealtimeClient
from realtime_client.config import ClientConfig
from realtime_client.doctor.checks import Finding, Step, Verdict
from realtime_client.doctor.talk import ListeningSocket, Talk
from realtime_client.errors import ConnectError, ConnectTimeout, HeartbeatTimeout, MalformedMessage
from realtime_client.events import Event, Pong
from realtime_client.redaction import show_url
from realtime_client.transports.dialing import Dial
from realtime_client.transports.errands import Abandoned, Errands, Raised
from realtime_client.transports.opening import credentials, open_websocket
from realtime_client.transports.proxies import Proxy, find_proxy
from realtime_client.transports.tls import TlsSettings

__all__ = ["Connection"]

EXPIRES_SOON = timedelta(days=14)
SLOW = 1.0
"""Seconds; a step that takes longer works, and is felt at every reconnection."""
GREETING = 3.0
"""Seconds to wait for the server's first message."""
MAX_SKEW = 5.0
"""Seconds that two clocks may differ before it is worth a word."""
GOODBYE = 0.5
"""Seconds to wait for the server's goodbye."""
PING = b"doctor"


class Connection:
    """The examination of a WebSocket; each step leaves to the next what it has come to.

    Args:
        config: Where to, and how.

    Attributes:
        host: Whom the client speaks to next: the server, or the proxy on the way.
    """

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self._target = urlsplit(config.url)
        self._secure = self._target.scheme == "wss"
        self._host = self._target.hostname or ""
        self._port = self._target.port or (443 if self._secure else 80)
        self._deadline = math.inf
        self._headers: dict[str, str] = {}
        self._proxy: Proxy | None = None
        self._addresses: list[str] = []
        self._dial: Dial | None = None
        self._talk: Talk | None = None
        self._skews: list[tuple[str, float, float]] = []  # who said it, seconds ahead of us, how exactly
        self.host: str = self._host

    def steps(self) -> tuple[Step, ...]:
        """The steps, in their order; only the first for what is no WebSocket."""
        return (
            ("config", self._look_at_config),
            ("dns", self._look_up),
            ("proxy", self._choose_proxy),
            ("tcp", self._connect),
            ("tls", self._secure_it),
            ("upgrade", self._upgrade),
            ("greeting", self._await_greeting),
            ("heartbeat", self._beat),
            ("polling", self._poll),
            ("clock", self._compare_clocks),
        )

    def leave(self) -> None:
        """Close what is open."""
        if self._talk is not None:
            self._talk.leave(time.monotonic() + GOODBYE)
        if self._dial is not None:
            self._dial.close()

    def _look_at_config(self) -> Finding:
        config = self._config
        self._deadline = time.monotonic() + config.connect_timeout
        token = self._ask("token", config.token, options.Token())
        headers = self._ask("headers", config.headers, options.Header()) or {}
        self._headers = credentials(self._target, headers, token)
        default = ClientConfig()
        changed = [f.name for f in attrs.fields(ClientConfig) if getattr(config, f.name) != getattr(default, f.name)]
        others = [name for name in changed if name not in ("url", "token", "headers")]
        has_credentials = "Authorization" in self._headers
        found = ", ".join(
            [
                show_url(config.url),
                "with credentials" if has_credentials else "without credentials",
                *([f"not by default: {', '.join(others)}"] if others else []),
            ]
        )
        if has_credentials and not self._secure and not _is_this_machine(self._host):
            cause = "whoever is on the way can read them"
            return Finding(f"{found}; they go over ws:// in the clear", Verdict.WARN, cause, "use wss://")
        return Finding(found)

    def _ask(self, name: str, value: Any, rule: options.Rule) -> Any:
        """The value of an option that may be a callable of the user's."""
        if not callable(value):
            return value
        try:
            answer = Errands().call(f"rtc-{self._config.name}-{name}", value, self._deadline)
            if not callable(answer):
                return rule.accept(answer)
        except Abandoned:
            raise ConnectTimeout(f"the {name} callable does not return") from None
        except Raised as raised:
            raise ConnectError(f"the {name} callable raised {raised}") from None
        except ValueError:
            pass
        raise ConnectError(f"the {name} callable did not return {rule.allowed}", retryable=False)

    def _look_up(self) -> Finding:
        with contextlib.suppress(ConnectError):  # which is for the next step to tell
            self._proxy = find_proxy(self._config.proxy, self._target)
        host, port = (self._host, self._port) if self._proxy is None else (self._proxy.host, self._proxy.port)
        self.host = host
        whose = "" if self._proxy is None else f"the proxy {host}: "
        began = time.monotonic()
        try:
            answers = Errands().call(
                f"rtc-resolve-{host}", lambda: socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM), self._deadline
            )
        except Raised as raised:
            raise raised.error from None
        except Abandoned:
            raise ConnectTimeout("the time is up") from None
        self._addresses = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
        found = whose + ", ".join(self._addresses)
        if time.monotonic() - began > SLOW:
            return Finding(found, Verdict.WARN, "the first name server does not answer", "check /etc/resolv.conf")
        return Finding(found)

    def _choose_proxy(self) -> Finding:
        self._proxy = find_proxy(self._config.proxy, self._target)
        if self._proxy is None:
            return Finding("none" if self._config.proxy is None else "none, as configured")
        origin = "from the environment" if self._config.proxy is None else "as configured"
        return Finding(f"{self._proxy.scheme} proxy {self._proxy.host}:{self._proxy.port}, {origin}")

    def _connect(self) -> Finding:
        if self._proxy is not None:
            self._dial = Dial()
            self._dial.through(self._proxy, self._host, self._port, self._deadline)
            return Finding(f"connected through the proxy to {self._host}:{self._port}")
        refused: list[tuple[str, OSError]] = []
        for number, address in enumerate(self._addresses):
            began = time.monotonic()
            share = (self._deadline - began) / (len(self._addresses) - number)
            dial = self._dial = Dial()
            try:
                dial.connect(address, self._port, began + share)
            except OSError as error:
                dial.close()
                refused.append((address, error))
                continue
            found = f"connected to {address}, port {self._port}"
            if refused:
                failed = ", ".join(f"{address}: {_words(error)}" for address, error in refused)
                cause = "the name has addresses at which nobody listens"
                return Finding(f"{found}; not to {failed}", Verdict.WARN, cause, "mend the name's addresses")
            if time.monotonic() - began > SLOW:
                return Finding(found, Verdict.WARN, "it is far away, or packets are lost", "look at the network")
            return Finding(found)
        raise refused[-1][1]

    def _secure_it(self) -> Finding:
        if not self._secure:
            return Finding("none: ws://", Verdict.SKIP)
        assert self._dial is not None
        self._dial.secure(TlsSettings(self._config).context(), self._host, self._deadline)
        sock = self._dial.sock
        assert isinstance(sock, ssl.SSLSocket)
        return _of_peer(sock, datetime.now(UTC))

    def _upgrade(self) -> Finding:
        assert self._dial is not None
        assert self._dial.sock is not None
        listening = ListeningSocket(self._dial.sock)
        try:
            first, agreement = open_websocket(
                cast("socket.socket", listening),
                self._target,
                headers=self._headers,
                subprotocols=self._config.subprotocols,
                compression=self._config.compression,
                deadline=self._deadline,
            )
        finally:
            self._note_date(bytes(listening.heard))
        self._talk = Talk(self._dial.sock, first, agreement, self._config.max_message_bytes)
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
        try:
            item = self._talk.hear(time.monotonic() + wait)
            while isinstance(item, PongFrame):
                item = self._talk.hear(time.monotonic() + wait)
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
        about = f"{abs(ahead):.1f} s" if abs(ahead) < 100 else str(timedelta(seconds=round(abs(ahead))))
        found = f"{whose} is {about} {'ahead of' if ahead > 0 else 'behind'} this machine's clock"
        if abs(ahead) - exactness > MAX_SKEW:
            cause = "one of the two clocks is wrong"
            remedy = "let both be set by NTP; tokens and certificates may be refused, and ages shown are wrong"
            return Finding(found, Verdict.WARN, cause, remedy)
        return Finding(found)


def _of_peer(sock: ssl.SSLSocket, now: datetime) -> Finding:
    """What the TLS connection has come to."""
    cipher = sock.cipher()
    found = f"{sock.version()}, {cipher[0] if cipher else 'no cipher'}"
    certificate = sock.getpeercert()
    if not certificate:
        cause = "the ssl_context given does not verify"
        return Finding(f"{found}; the certificate is not verified", Verdict.WARN, cause, "verify it")
    names = [value for _, value in cast("tuple[tuple[str, str], ...]", certificate.get("subjectAltName", ()))]
    until = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    left = until - now
    found += f"; certificate for {', '.join(names[:5]) or 'no name'}, until {until:%Y-%m-%d} ({left.days} days)"
    if left < EXPIRES_SOON:
        return Finding(found, Verdict.WARN, "the certificate expires soon", "renew it")
    return Finding(found)


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


def _is_this_machine(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.") or host.endswith(".localhost")


def _words(error: OSError) -> str:
    return str(error.strerror or error)
