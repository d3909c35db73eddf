"""The steps of a feed through Redis: the way there as for any connection, and then what the relay has left there."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs

from realtime_client import options
from realtime_client._core.codec import Codec
from realtime_client._core.picture import decode_picture
from realtime_client._core.relay_stream import Entry, Keys, at_of, read_entry
from realtime_client.config import ClientConfig
from realtime_client.doctor.advice import of_clock
from realtime_client.doctor.checks import Finding, Step, Verdict
from realtime_client.doctor.configuration import ask_for, judge_config
from realtime_client.doctor.route import SLOW, Route
from realtime_client.errors import AuthenticationError, ConfigError, ConnectError, ConnectionLost, MalformedMessage
from realtime_client.redis_url import read_redis_url
from realtime_client.transports.callables import Callables
from realtime_client.transports.tls import TlsSettings

if TYPE_CHECKING:
    from realtime_client.transports.redis_wire import RedisWire

__all__ = ["RedisStream"]

QUIET = 30.0
"""Seconds without an entry after which the feed does not live: while it does, relays write one every ten by default."""
TAKEOVER = 2.0
"""Seconds in which a relay that stands by takes a lease that was given back, with the usual one of five seconds."""
LOOK_AGAIN = 0.1
RIGHTS = "+xread +xrange +hmget +hget +ping +select +client"
"""What a reader needs."""


class Refused(Exception):
    """Redis answered a question with an error: it may not be asked, or there is something else than was expected.

    Attributes:
        error: The answer, an error of redis-py's.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class RedisStream:
    """The examination of a stream in Redis; each step leaves to the next what it has come to.

    The way there is looked at in single steps, on a connection that is given up then. From ``login`` on everything is
    asked over a connection as the client makes it, for which Sentinels and Clusters are asked for the right server.

    Args:
        config: Where to, and how.
    """

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self._url = read_redis_url(config.url)
        self._keys = Keys(self._url.stream)
        tls = TlsSettings(config, protocols=()) if self._url.tls else None
        self._route = Route(config, self._url.nodes, tls=tls, proxies=False)
        self._wire: RedisWire | None = None
        self._skew: tuple[float, float] | None = None  # seconds by which Redis is ahead of us, and how exactly
        self._state: dict[str, int] = {}
        self._epoch: bytes | None = None
        self._oldest: Entry | None = None

    @property
    def host(self) -> str:
        """Whom the present step is about."""
        return self._route.host

    def steps(self) -> tuple[Step, ...]:
        """The steps, in their order."""
        return (
            Step("config", self._look_at_config),
            *self._route.steps(),
            Step("login", self._log_in, needs="tls"),
            Step("ping", self._ping, needs="login"),
            Step("stream", self._look_at_stream, needs="ping"),
            Step("snapshot", self._look_at_snapshot, needs="stream"),
            Step("relay", self._look_for_relay, needs="ping"),
            Step("clock", self._compare_clocks, needs="ping"),
        )

    def leave(self) -> None:
        """Close what is open."""
        self._route.leave()
        if self._wire is not None:
            self._wire.release()

    # The way in

    def _look_at_config(self) -> Finding:
        config, url = self._config, self._url
        try:
            from realtime_client.transports.redis_wire import RedisWire  # noqa: F401, PLC0415 - needs redis-py
        except ImportError:
            error = ConfigError("url: a feed in Redis needs redis-py")
            return Finding("redis-py is not installed", Verdict.FAIL, "", "pip install 'realtime-client[redis]'", error)
        self._route.deadline = time.monotonic() + config.connect_timeout
        token = ask_for("token", options.Token(), config, self._route.deadline)
        self._config = attrs.evolve(config, token=token)  # which is not asked for once more
        secret = token is not None or url.password is not None
        scheme = "rediss" if url.tls else "redis"
        finding = judge_config(config, has_credentials=secret, host=self.host, scheme=scheme, secure="rediss")
        how = f", by the Sentinels' {url.sentinel}" if url.sentinel else ", in a Cluster" if url.cluster else ""
        return attrs.evolve(finding, found=f"{finding.found}; stream {url.stream}{how}")

    def _log_in(self) -> Finding:
        """Connect as the client does: it finds the server, and introduces itself."""
        self._route.leave()
        try:
            self._connect()
        except AuthenticationError as error:
            found = str(error).partition("Redis refused the credentials: ")[2] or str(error)
            if error.status == 403:
                cause = "this user may not do what every reader does"
                return Finding(found, Verdict.FAIL, cause, f"give it these rights: {RIGHTS}", error)
            cause, remedy = "user or password is missing or wrong", "check both in the URL, and the token"
            return Finding(found, Verdict.FAIL, cause, remedy, error)
        except ConnectError as error:
            return _of_login(error)
        who = f"as {self._url.username}" if self._url.username else "as the default user"
        return Finding(f"{who}, database {self._url.db}")

    def _connect(self) -> None:
        from realtime_client.transports.redis_wire import RedisWire  # noqa: PLC0415 - as above

        self._wire = RedisWire(self._config, Callables(self._config.name))
        self._wire.open(time.monotonic() + self._config.connect_timeout)

    def _ask(self, *command: Any) -> Any:
        """Ask a question; one that is refused costs the connection, and the next one makes another.

        Raises:
            Refused: It was.
        """
        if self._wire is None:
            self._connect()
        assert self._wire is not None
        try:
            return self._wire.ask(*command, timeout=self._config.heartbeat_timeout)
        except ConnectionLost as lost:
            from redis.exceptions import ResponseError  # noqa: PLC0415 - as above

            self._wire.release()
            self._wire = None
            if isinstance(lost.__cause__, ResponseError):
                raise Refused(lost.__cause__) from None
            raise

    def _ping(self) -> Finding:
        began = time.monotonic()
        self._ask("PING")
        seconds = time.monotonic() - began
        with contextlib.suppress(Refused):
            self._skew = self._compare_with_ours()
        slow = seconds > SLOW
        cause, remedy = ("it is far away, or overloaded", "look at the network") if slow else ("", "")
        return Finding(f"an answer after {seconds * 1000:.1f} ms", Verdict.WARN if slow else Verdict.OK, cause, remedy)

    # What is there

    def _look_at_stream(self) -> Finding:
        try:
            raw = self._ask("XRANGE", self._keys.events, "-", "+", "COUNT", 1)
            epoch, *numbers = self._ask("HMGET", self._keys.state, "epoch", "seq", "ms", "fence")
        except Refused as refused:
            return _of_refusal(refused)
        if not raw and None in numbers:
            cause = "no relay has ever written it, or stream= or the database is another one"
            remedy = "start one: realtime-client relay FEED 'redis://...?stream=...'; check the URL"
            return Finding(f"there is no stream {self._url.stream}", Verdict.FAIL, cause, remedy)
        self._epoch = epoch
        self._state = _state_of(numbers)
        self._oldest = read_entry(raw[0]) if raw else None
        if not raw and self._state.get("seq") == 0:
            return Finding("there are no entries yet")
        if self._oldest is None or not self._state:
            what = "its entries are" if not raw else "its state is" if not self._state else "its oldest entry is"
            cause = "somebody else has deleted or written there, or Redis evicts keys"
            remedy = "let nobody else use these keys; maxmemory-policy noeviction"
            return Finding(f"{what} not as a relay leaves it", Verdict.WARN, cause, remedy)
        count = self._state["seq"] - self._oldest.seq + 1
        found = f"{count:,} entries up to number {self._state['seq']:,}"
        return Finding(found if self._quiet is None else f"{found}, the newest {_ago(self._quiet)} old")

    @property
    def _quiet(self) -> float | None:
        """Seconds since the newest entry, by the clock of Redis if we may know it; ``None`` if there never was one."""
        if not self._state.get("ms"):
            return None
        ahead = 0.0 if self._skew is None else self._skew[0]
        return max(0.0, (datetime.now(UTC) - at_of(self._state["ms"])).total_seconds() + ahead)

    def _look_at_snapshot(self) -> Finding:
        try:
            answer = self._ask("HMGET", self._keys.snapshot, "epoch", "seq", "fence", "store")
        except Refused as refused:
            return _of_refusal(refused)
        if None in answer:
            cause = "somebody has deleted it, or Redis evicts keys"
            remedy = "maxmemory-policy noeviction; the relay writes it again after so many entries, and at its end"
            return Finding("there is none: a new client reads the whole stream", Verdict.WARN, cause, remedy)
        epoch, number, fence, store = answer
        try:
            seq, _ = int(number), int(fence)
        except ValueError:
            cause, remedy = "somebody else has written there", "delete that key; let nobody else use it"
            found = "a number in it is none"
            return Finding(f"it is none: {found}", Verdict.FAIL, cause, remedy, MalformedMessage(found))
        behind = self._state.get("seq", seq) - seq
        found = f"{len(store) / 1000:,.1f} kB, of number {seq:,}, {behind:,} entries before the newest"
        try:
            picture = decode_picture(store, Codec(), received_at=datetime.now(UTC))
        except MalformedMessage as error:
            cause, remedy = "a relay of another version has written it", "let relays and clients be of one version"
            return Finding(f"it is none: {error}", Verdict.FAIL, cause, remedy, error)
        if self._epoch is not None and epoch != self._epoch:
            cause = "Redis has lost something, and the relay has begun anew meanwhile"
            return Finding(f"{found}; of another history", Verdict.WARN, cause, "it passes with the next snapshot")
        if self._oldest is not None and self._oldest.seq > seq + 1:
            cause = "the relay keeps fewer entries (--maxlen) than come between two snapshots"
            missing = f"numbers {seq + 1:,} to {self._oldest.seq - 1:,} are gone, and a new client tells a gap"
            return Finding(f"{found}; {missing}", Verdict.WARN, cause, "let it keep more")
        return Finding(f"{found}; {len(picture.logs)} logs, {len(picture.alerts)} alerts")

    def _look_for_relay(self) -> Finding:
        try:
            milliseconds = self._lease()
        except Refused as refused:
            return self._judge_by_age() if _is_of_rights(refused) else _of_refusal(refused)
        quiet = self._quiet
        if milliseconds > 0:
            found = f"one is active, its lease ends in {milliseconds / 1000:.1f} s unless it renews it"
            if quiet is None:
                return Finding(f"{found}; nothing has come yet")
            if quiet > QUIET:
                cause = "it does not reach the feed, or the feed has fallen silent"
                remedy = "see what the relay says; doctor with the URL of the feed itself"
                return Finding(f"{found}; the feed was last heard {_ago(quiet)} ago", Verdict.WARN, cause, remedy)
            return Finding(found)
        cause = "no relay runs, or none of them reaches the feed or this Redis"
        remedy = "start one: realtime-client relay FEED 'redis://...?stream=...'; see what those that run say"
        if quiet is not None and quiet <= QUIET:
            found = f"none is active just now; the last one wrote {_ago(quiet)} ago"
            return Finding(found, Verdict.WARN, cause, remedy)
        return Finding("none is active: nothing new will come", Verdict.FAIL, cause, remedy)

    def _lease(self) -> int:
        """Milliseconds that the active relay's lease has left; below 1 where none is active, nor becomes it."""
        pause = threading.Event()  # never set
        until = time.monotonic() + TAKEOVER
        while True:
            left = int(self._ask("PTTL", self._keys.lease))
            if left > 0 or time.monotonic() >= until:
                return left
            pause.wait(LOOK_AGAIN)

    def _judge_by_age(self) -> Finding:
        """Without the right to look at the lease."""
        found = "this user may not look at the lease (+pttl)"
        quiet = self._quiet
        if quiet is None:
            return Finding(found, Verdict.SKIP)
        found += f"; the newest entry is {_ago(quiet)} old"
        if quiet <= QUIET:
            return Finding(found)
        cause = "no relay is active, or it does not reach the feed"
        return Finding(found, Verdict.FAIL, cause, "see what the relays say")

    def _compare_with_ours(self) -> tuple[float, float]:
        began = time.monotonic()
        seconds, micros = map(int, self._ask("TIME"))
        half = (time.monotonic() - began) / 2
        return seconds + micros / 1e6 + half - datetime.now(UTC).timestamp(), half

    def _compare_clocks(self) -> Finding:
        if self._skew is None:
            return Finding("this user may not ask for the time (+time)", Verdict.SKIP)
        return of_clock("the clock of Redis", *self._skew)


def _state_of(numbers: Sequence[bytes | None]) -> dict[str, int]:
    """What a relay has left of itself; nothing where that is not as a relay leaves it."""
    try:
        state = {name: int(number or b"") for name, number in zip(("seq", "ms", "fence"), numbers, strict=True)}
        at_of(state["ms"])
    except (ValueError, OverflowError):
        return {}
    return state


def _of_refusal(refused: Refused) -> Finding:
    """What it means that Redis refuses what every reader asks."""
    words = str(refused)
    if _is_of_rights(refused):
        error = AuthenticationError(words, status=403)
        cause, remedy = "this user may not read the stream", f"give it these rights: {RIGHTS}"
        return Finding(words, Verdict.FAIL, cause, remedy, error)
    if "wrong kind of value" in words:
        cause = "something else than a relay has written under this name"
        return Finding(words, Verdict.FAIL, cause, "take another stream=, or delete that key")
    if _is_of_cluster(refused):
        cause = "this is one node of a Cluster, and the stream is on another, or on none"
        return Finding(words, Verdict.FAIL, cause, "add &cluster=yes to the URL; see CLUSTER INFO")
    return Finding(words, Verdict.FAIL, "Redis refuses what every reader asks", "look at its log")


def _is_of_rights(refused: Refused) -> bool:
    from redis.exceptions import NoPermissionError  # noqa: PLC0415 - needs redis-py

    return isinstance(refused.error, NoPermissionError)


def _is_of_cluster(refused: Refused) -> bool:
    from redis.exceptions import AskError, ClusterDownError, MovedError  # noqa: PLC0415 - as above

    # An older redis-py has these classes for its own Cluster client alone, and leaves the word.
    word = str(refused).partition(" ")[0]
    return type(refused.error) in (AskError, ClusterDownError, MovedError) or word in ("ASK", "CLUSTERDOWN", "MOVED")


def _of_login(error: ConnectError) -> Finding:
    """What it means that somebody answers there, and no connection comes of it.

    Raises:
        ConnectError: What it would mean of any connection.
    """
    from redis.exceptions import BusyLoadingError, ResponseError  # noqa: PLC0415 - as above

    match error.__cause__:
        case BusyLoadingError():
            return Finding(str(error), Verdict.FAIL, "Redis has just started, and reads its data", "wait", error)
        case ResponseError():
            cause = "Redis refuses how the client begins"
            return Finding(str(error), Verdict.FAIL, cause, "check the number of the database in the URL", error)
    raise error


def _ago(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else str(timedelta(seconds=round(seconds)))
