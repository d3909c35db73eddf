"""One connection to the Redis server that holds a stream: found and spoken to by redis-py, over a socket of our dial.

The socket is ours for the same reason as a WebSocket's: whoever ends the connection must be able to reach it at every
moment, and from any thread.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import (
    AskError,
    NoPermissionError,
    NoScriptError,
    RedisError,
    ResponseError,
)
from redis.exceptions import (
    AuthenticationError as RefusedCredentials,
)
from redis.retry import Retry
from redis.sentinel import Sentinel

from realtime_client import options
from realtime_client._core.relay_stream import Keys
from realtime_client.config import ClientConfig
from realtime_client.errors import (
    AuthenticationError,
    ConnectError,
    ConnectionLost,
    HeartbeatTimeout,
)
from realtime_client.redis_url import read_redis_url
from realtime_client.transports.callables import Callables
from realtime_client.transports.dialing import Dial, left
from realtime_client.transports.errands import Raised
from realtime_client.transports.failures import attempt, located
from realtime_client.transports.proxies import find_proxy
from realtime_client.transports.tls import TlsSettings

__all__ = ["RedisWire", "Script"]

REFUSALS = (RefusedCredentials, NoPermissionError)
ELSEWHERE = ("MOVED ", "ASK ")
"""How the errors begin of which older versions of redis-py make no class (`MovedError` is an `AskError`)."""


class Script:
    """A Lua script, which Redis is given again wherever it does not know it.

    Args:
        text: The script.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha: str = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class RedisWire:
    """One attempt to connect, and the connection that comes of it.

    One thread opens it and asks; any thread may abort.

    Args:
        config: Where to and how; its ``url`` is a Redis URL.
        callables: Of the client, for its token.

    Attributes:
        keys: The keys of the stream.
    """

    def __init__(self, config: ClientConfig, callables: Callables) -> None:
        self._config = config
        self._url = read_redis_url(config.url)
        self._callables = callables
        self._dial = Dial()
        self._connection: _Connection | None = None
        self._failure: ConnectionLost | None = None  # the first reason to end; written once
        self.keys: Keys = Keys(self._url.stream)

    def open(self, deadline: float) -> None:
        """Find the server, connect and log in; blocks.

        Args:
            deadline: Monotonic time by which all must be done.

        Raises:
            ConnectError: It failed, or `abort` was called.
        """
        with attempt(self._config, lambda: self._failure, RedisError):
            try:
                self._open(deadline)
            except REFUSALS as error:
                raise _refused(error) from error
            except redis.TimeoutError as error:
                raise TimeoutError(str(error)) from error

    def _open(self, deadline: float) -> None:
        token = self._callables.ask("token", self._config.token, options.Token(), self._dial.errands, deadline)
        password = self._url.password if token is None else token
        host, port = self._find(password, deadline)
        # The environment's proxies are for HTTP: only one that was asked for by name is for Redis too.
        proxy = find_proxy(self._config.proxy or "direct", urlsplit(self._config.url))
        if proxy is None:
            self._dial.connect(host, port, deadline)
        else:
            self._dial.through(proxy, host, port, deadline)
        if self._url.tls:
            self._dial.secure(TlsSettings(self._config, protocols=()).context(), host, deadline)
        assert self._dial.sock is not None
        self._dial.sock.settimeout(left(deadline))
        self._connection = _Connection(
            self._dial,
            host=host,
            port=port,
            db=self._url.db,
            username=self._url.username,
            password=password,
            protocol=2,
            client_name="realtime-client",
        )
        self._connection.connect()
        if self._failure is not None:
            raise ConnectError(str(self._failure))

    def _find(self, password: str | None, deadline: float) -> tuple[str, int]:
        """The server that holds the stream; Sentinels and Clusters are asked by redis-py, on a thread of its own."""
        url = self._url
        if url.sentinel is None and not url.cluster:
            return url.nodes[0]
        share = left(deadline) / len(url.nodes)  # a node whose machine is gone must leave some of it to the others
        how: dict[str, Any] = {
            "socket_timeout": share,
            "socket_connect_timeout": share,
            "retry": Retry(NoBackoff(), 0),  # the next node is asked at once, and another attempt is ours to make
        }
        if url.tls:
            # Old redis-py checks no names unless told to, and whoever names the server is told the password.
            how.update(ssl=True, ssl_ca_certs=self._config.ca_file, ssl_check_hostname=True)

        def ask_sentinels() -> tuple[str, int]:
            sentinels = Sentinel(url.nodes, sentinel_kwargs=how)  # or it would pass on the times alone
            try:
                host, port = sentinels.discover_master(url.sentinel)
                return str(host), int(port)
            finally:
                for sentinel in sentinels.sentinels:
                    sentinel.close()

        def ask_cluster() -> tuple[str, int]:
            nodes = [ClusterNode(host, port) for host, port in url.nodes]
            cluster: Any = RedisCluster(startup_nodes=nodes, username=url.username, password=password, **how)
            try:
                node = cluster.get_node_from_key(self.keys.events)
                return str(node.host), int(node.port)
            finally:
                cluster.close()

        try:
            return self._dial.errands.call(
                f"rtc-{self._config.name}-find", ask_cluster if url.cluster else ask_sentinels, deadline
            )
        except Raised as raised:
            raise raised.error from None

    def ask(self, *command: Any, timeout: float | None) -> Any:
        """Send one command and wait for the answer; blocks, on the thread that opened it.

        Args:
            command: As redis-py packs it.
            timeout: Seconds of silence after which the connection is taken for dead; ``None`` for never.

        Returns:
            The answer as it comes: bytes, numbers, lists.

        Raises:
            ConnectionLost: There is none, or Redis refused; the connection has failed.
        """
        if self._failure is not None:
            raise self._failure
        assert self._connection is not None
        assert self._dial.sock is not None
        try:
            return self._exchange(command, timeout)
        except NoScriptError:
            raise
        except (OSError, RedisError, ValueError) as error:
            raise self._lost(error, timeout) from error

    def _exchange(self, command: Sequence[Any], timeout: float | None) -> Any:
        assert self._connection is not None
        self._send(command, timeout)
        return self._connection.read_response()

    def _send(self, command: Sequence[Any], timeout: float | None) -> None:
        assert self._connection is not None
        assert self._dial.sock is not None
        self._dial.sock.settimeout(timeout)
        # In one piece: redis-py's are small, and between two of them other threads would have their turns.
        self._connection.send_packed_command([b"".join(self._connection.pack_command(*command))])

    def post(self, script: Script, keys: Sequence[str], arguments: Sequence[Any], *, timeout: float) -> None:
        """Send a script that Redis knows already, whose answer `answer` will give; the answers come in order."""
        if self._failure is not None:
            raise self._failure
        try:
            self._send(("EVALSHA", script.sha, len(keys), *keys, *arguments), timeout)
        except (OSError, RedisError, ValueError) as error:
            raise self._lost(error, timeout) from error

    def answer(self, *, timeout: float) -> Any:
        """Wait for the answer to the oldest `post`; a script that Redis does not know is an error here."""
        if self._failure is not None:
            raise self._failure
        assert self._connection is not None
        assert self._dial.sock is not None
        try:
            self._dial.sock.settimeout(timeout)
            return self._connection.read_response()
        except (OSError, RedisError, ValueError) as error:
            raise self._lost(error, timeout) from error

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Any], *, timeout: float) -> Any:
        """Run a script; otherwise as `ask`."""
        try:
            return self.ask("EVALSHA", script.sha, len(keys), *keys, *arguments, timeout=timeout)
        except NoScriptError:  # a server that was restarted, or another one
            return self.ask("EVAL", script.text, len(keys), *keys, *arguments, timeout=timeout)

    def could_not_begin(self, lost: ConnectionLost) -> ConnectError:
        """The error of an attempt that got no further than the first questions."""
        refused = isinstance(lost.__cause__, REFUSALS)
        return located(_refused(lost.__cause__) if refused else ConnectError(str(lost)), self._config)

    def _lost(self, error: Exception, timeout: float | None) -> ConnectionLost:
        lost: ConnectionLost
        if timeout is not None and isinstance(error, (TimeoutError, redis.TimeoutError)):
            lost = HeartbeatTimeout(f"nothing was heard from Redis for {timeout:.1f} s", silence=timeout)
        elif isinstance(error, AskError) or str(error).startswith(ELSEWHERE):  # the next attempt asks the Cluster where
            lost = ConnectionLost("the stream is on another node of the Cluster")
        elif isinstance(error, ResponseError):
            lost = ConnectionLost(f"Redis refused: {error}")
        else:
            lost = ConnectionLost(f"the connection to Redis broke: {error}")
        self.abort(lost)
        return self._failure or lost

    def abort(self, reason: ConnectionLost) -> None:
        """End it at once, from any thread, with this reason: whatever waits in it returns. Never blocks."""
        if self._failure is None:
            self._failure = reason
        self._dial.abort()

    def release(self) -> None:
        """Give the descriptor back, on the thread that opened it."""
        self._dial.close()

    def disown(self) -> None:
        """In a forked child: give the descriptor back without a byte on the parent's connection."""
        if self._connection is not None:
            self._connection.forget()
        self._dial.disown()

    @property
    def lingering(self) -> str | None:
        """The name of a thread that outlives it because nothing can interrupt it, or ``None``."""
        return self._dial.errands.lingering


class _Connection(redis.Connection):
    """redis-py's connection, over a socket that is connected already and that only our dial closes."""

    def __init__(self, dial: Dial, **options: Any) -> None:
        self._dial = dial
        super().__init__(**options)

    def _connect(self) -> Any:
        return self._dial.sock

    def disconnect(self, *_: Any, **__: Any) -> None:
        """Give the socket back by way of the dial, which keeps an abort from a descriptor that is used anew."""
        connected, self._sock = self._sock is not None, None
        self._parser.on_disconnect()
        if connected:
            self._dial.close()

    def __del__(self) -> None:
        """Nothing: redis-py's disconnects under the dial's lock, and a finaliser runs anywhere, also under one."""

    def forget(self) -> None:
        """In a forked child: never touch the dial's lock, which nobody may be there to release."""
        self._sock = None


def _refused(error: BaseException | None) -> AuthenticationError:
    status = 403 if isinstance(error, NoPermissionError) else 401
    return AuthenticationError(f"Redis refused the credentials: {error}", status=status)
