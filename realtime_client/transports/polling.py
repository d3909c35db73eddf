"""HTTP polling by urllib3, and polling by a callable of the user's. Every poll has a deadline and can be aborted."""

from __future__ import annotations

import inspect
import ssl
import threading
import time
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from realtime_client import options
from realtime_client._core.handshake import retry_after
from realtime_client.config import ClientConfig
from realtime_client.errors import ConnectError, PollError
from realtime_client.redaction import describe, show_url
from realtime_client.transports.base import Poller
from realtime_client.transports.callables import accepted
from realtime_client.transports.dialing import Dial
from realtime_client.transports.errands import Abandoned, Errands, Raised
from realtime_client.transports.opening import credentials
from realtime_client.transports.proxies import find_proxy
from realtime_client.transports.tls import TlsSettings

__all__ = ["CallablePoller", "HttpPoller", "make_poller"]

ANSWER_FACTOR = 16
"""An answer may be this many times ``max_message_bytes``: it holds many messages."""
MAX_HANGING = 4
"""How many calls of a user's poller may hang at one time."""
SETTLE = 0.5
"""How long an aborted request may take to notice that its socket is gone, in seconds."""
CHUNK = 64 * 1024
GZIP = 16 + zlib.MAX_WBITS


def make_poller(config: ClientConfig, tls: TlsSettings) -> Poller | None:
    """The poller that a configuration asks for, if any; no I/O."""
    if config.polling_url is not None:
        return HttpPoller(config, config.polling_url, tls)
    if config.poller is not None:
        return CallablePoller(config, config.poller)
    return None


class CallablePoller:
    """Polls by calling a function, on a thread that can be abandoned.

    Args:
        config: For names.
        function: Called without arguments, or with the newest timestamp held if it demands one.
    """

    def __init__(self, config: ClientConfig, function: Callable[..., Any]) -> None:
        self._name = config.name
        self._function = function
        self._wants_since = not _can_be_called(function)
        self._errands: list[Errands] = []  # of calls that may still run

    def poll(self, since: datetime | None, timeout: float) -> Any:
        """See `Poller.poll`."""

        def call() -> Any:
            return self._function(since) if self._wants_since else self._function()

        self._errands = [errands for errands in self._errands if errands.lingering]
        if len(self._errands) >= MAX_HANGING:
            raise PollError(f"{len(self._errands)} earlier calls of the poller have not returned yet")
        errands = Errands()
        self._errands.append(errands)
        try:
            return errands.call(f"rtc-{self._name}-poller", call, time.monotonic() + timeout)
        except Abandoned as abandoned:
            if abandoned.ended:
                raise PollError("the poll was ended") from None
            raise PollError(f"the poller did not return within {timeout:g} s") from None
        except Raised as raised:
            if isinstance(raised.error, PollError):
                raise raised.error from None
            raise PollError(f"the poller raised {describe(raised.error)}") from raised.error

    def abort(self) -> None:
        """See `Poller.abort`."""
        for errands in list(self._errands):
            errands.abandon()

    def close(self) -> None:
        """See `Poller.close`."""

    def disown(self) -> None:
        """See `Poller.disown`."""


class HttpPoller:
    """Polls by HTTP GET: pooled, with gzip and ETag, without redirects, with a bounded answer.

    Args:
        config: For credentials, proxy and limits.
        url: Where to.
        tls: For ``https``.
    """

    def __init__(self, config: ClientConfig, url: str, tls: TlsSettings) -> None:
        self._config = config
        self._url = url
        self._shown = show_url(url)
        self._target = urlsplit(url)
        self._limit = ANSWER_FACTOR * config.max_message_bytes
        self._errands = Errands()
        self._pool: urllib3.HTTPConnectionPool | None = None
        self._etag: tuple[str, str] | None = None  # the path that was asked for, and its ETag
        self._connections = _Connections(config, tls)

    def poll(self, since: datetime | None, timeout: float) -> Any:
        """See `Poller.poll`."""
        deadline = time.monotonic() + timeout
        name = f"rtc-{self._config.name}-poll-request"
        try:
            return self._errands.call(name, lambda: self._request(since, deadline), deadline)
        except Abandoned as abandoned:
            self._connections.cut()
            if abandoned.ended:
                raise PollError(f"polling {self._shown} was ended") from None
            raise PollError(f"polling {self._shown} was not done within {timeout:g} s") from None
        except Raised as raised:
            if isinstance(raised.error, PollError):
                raise raised.error from None
            if isinstance(raised.error, (TimeoutError, urllib3.exceptions.TimeoutError)):
                raise PollError(f"polling {self._shown} was not done within {timeout:g} s") from raised.error
            raise PollError(f"polling {self._shown} failed: {_words(raised.error)}") from raised.error

    def abort(self) -> None:
        """See `Poller.abort`."""
        self._errands.abandon()
        self._connections.abort()

    def close(self) -> None:
        """See `Poller.close`."""
        self._errands.settle(SETTLE)
        if self._pool is not None:
            self._pool.close()

    def disown(self) -> None:
        """See `Poller.disown`."""
        self._connections.disown()

    def _request(self, since: datetime | None, deadline: float) -> bytes | None:
        path = self._target.path or "/"
        query = [self._target.query] if self._target.query else []
        if since is not None:
            query.append(urlencode({"since": since.astimezone(UTC).isoformat().replace("+00:00", "Z")}))
        self._connections.query = "?" + "&".join(query) if query else ""
        asked = path + self._connections.query
        headers = {**self._credentials(), "Accept": "application/json", "Accept-Encoding": "gzip"}
        if self._etag is not None and self._etag[0] == asked:
            headers["If-None-Match"] = self._etag[1]
        answer = self._usable_pool().urlopen(
            "GET",
            path,
            headers=headers,
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
            timeout=max(0.001, deadline - time.monotonic()),
        )
        try:
            body = self._read(answer, asked)
        except BaseException:
            answer.close()  # with a part of the body unread the connection is of no more use
            raise
        answer.release_conn()
        return body

    def _credentials(self) -> dict[str, str]:
        headers = _ask("headers", self._config.headers, options.Header())
        return credentials(self._target, headers or {}, _ask("token", self._config.token, options.Token()))

    def _usable_pool(self) -> urllib3.HTTPConnectionPool:
        if self._pool is None:
            host, port = self._target.hostname or "", self._target.port
            if self._target.scheme == "https":
                self._pool = _SecurePool(host, port, connections=self._connections)
            else:
                self._pool = _PlainPool(host, port, connections=self._connections)
        return self._pool

    def _read(self, answer: urllib3.BaseHTTPResponse, asked: str) -> bytes | None:
        if answer.status == 304:
            answer.drain_conn()
            return None
        if answer.status != 200:
            raise PollError(
                f"polling {self._shown} was answered with {answer.status} {answer.reason or ''}".rstrip(),
                status=answer.status,
                retry_after=retry_after(answer.headers.get("Retry-After"), now=datetime.now(UTC)),
            )
        body = self._read_body(answer)
        etag = answer.headers.get("ETag")
        self._etag = None if etag is None else (asked, etag)
        return body

    def _read_body(self, answer: urllib3.BaseHTTPResponse) -> bytes:
        encoding = answer.headers.get("Content-Encoding", "identity").lower()
        if encoding not in ("identity", "gzip"):
            raise PollError(f"polling {self._shown} was answered in the encoding {encoding!r}, which was not asked for")
        inflate = zlib.decompressobj(GZIP) if encoding == "gzip" else None
        body = bytearray()
        for chunk in answer.stream(CHUNK, decode_content=False):
            try:
                # Never more than one byte past the limit, however far the bytes would inflate.
                body += chunk if inflate is None else inflate.decompress(chunk, self._limit - len(body) + 1)
            except zlib.error as error:
                raise PollError(f"polling {self._shown} was answered with broken gzip data") from error
            if len(body) > self._limit:
                raise PollError(f"polling {self._shown} was answered with more than {self._limit} bytes")
        if inflate is not None and not inflate.eof:
            raise PollError(f"polling {self._shown} was answered with gzip data that break off")
        return bytes(body)


class _Connections:
    """The sockets under urllib3's connections: dialled as the stream's are, and within reach of an abort."""

    def __init__(self, config: ClientConfig, tls: TlsSettings) -> None:
        self._config = config
        self._tls = tls
        self._lock = threading.Lock()  # guards _dials and _aborted
        self._dials: list[Dial] = []
        self._aborted = False
        self.query = ""
        """What comes behind the path of the next request. It may hold a secret, and urllib3 logs paths."""

    def dial(self, scheme: str, host: str, port: int, timeout: float) -> Dial:
        """A connected socket, through the proxy if there is one, with TLS if the scheme is ``https``."""
        dial = Dial()
        with self._lock:
            self._dials = [known for known in self._dials if not known.is_closed] + [dial]
            aborted = self._aborted
        if aborted:
            dial.abort()
        deadline = time.monotonic() + timeout
        proxy = find_proxy(self._config.proxy, urlsplit(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"))
        try:
            if proxy is None:
                dial.connect(host, port, deadline)
            else:
                dial.through(proxy, host, port, deadline)
            if scheme == "https":
                dial.secure(self._tls.context(), host, deadline)
        except BaseException:
            dial.close()
            raise
        return dial

    def abort(self) -> None:
        """End whatever uses the sockets, now and from now on."""
        with self._lock:
            self._aborted = True
        self.cut()

    def cut(self) -> None:
        """End whatever uses the sockets now."""
        with self._lock:
            dials = list(self._dials)
        for dial in dials:
            dial.abort()

    def disown(self) -> None:
        """In a forked child, where nobody else is."""
        for dial in self._dials:
            dial.disown()


class _Dialled:
    """What both kinds of connection share: the way to their socket."""

    scheme = "http"

    def __init__(self, *arguments: Any, connections: _Connections, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._connections = connections
        self._dial: Dial | None = None

    def _new_conn(self: Any) -> Any:
        try:
            self._dial = self._connections.dial(self.scheme, self.host, self.port, self.timeout)
        except Abandoned:
            raise TimeoutError("the name look-up took too long") from None
        self._dial.sock.settimeout(self.timeout)
        return self._dial.sock

    def putrequest(self, method: str, url: str, *arguments: Any, **options: Any) -> None:
        super().putrequest(method, url + self._connections.query, *arguments, **options)  # type: ignore[misc]


class _PlainConnection(_Dialled, HTTPConnection):
    """An HTTP connection over a dialled socket."""


class _SecureConnection(_Dialled, HTTPSConnection):
    """An HTTPS connection over a dialled socket, on which TLS is done already."""

    scheme = "https"

    def connect(self) -> None:
        """See ``HTTPConnection.connect``; not the HTTPS one, which would do TLS where an abort cannot reach it."""
        HTTPConnection.connect(self)
        assert isinstance(self.sock, ssl.SSLSocket)
        self.is_verified = self.sock.context.verify_mode is ssl.CERT_REQUIRED


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def _ask(name: str, value: Any, rule: options.Rule) -> Any:
    """The value of an option that may be a callable; on a disposable thread, so that it may take its time."""
    if not callable(value):
        return value
    try:
        answer = value()
    except Exception as error:
        raise ConnectError(f"the {name} callable raised {type(error).__name__}") from error
    return accepted(name, answer, rule)


def _can_be_called(function: Callable[..., Any]) -> bool:
    """Whether a function can be called without arguments."""
    try:
        inspect.signature(function).bind()
    except TypeError:
        return False
    except ValueError:  # a built-in without a signature
        return True
    return True


def _words(error: BaseException) -> str:
    """What went wrong, in words: urllib3 wraps an error in others, whose texts may repeat the URL."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, ConnectError):
            return str(link)
        if isinstance(link, ssl.SSLCertVerificationError):
            return f"the certificate is not trusted: {link.verify_message}"
        if isinstance(link, OSError) and link.strerror:
            return link.strerror
        error, link = link, link.__cause__ or link.__context__
    return type(error).__name__
