"""Nothing that the client says of itself shows a secret: in success, and in every kind of failure."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import trustme

import realtime_client
from realtime_client import ClientConfig, ConfigError, ConnectionState, RealtimeClient, RealtimeError
from realtime_client.testing import (
    FakeServer,
    accept,
    close,
    disconnect,
    garbage,
    go_silent,
    redirect,
    refuse,
    reset,
    send_raw,
    stall,
)
from tests.client.recording import PATIENCE, QUICK, Record
from tests.outages.tunnel import TunnelProxy
from tests.outages.waiting import wait_until_ended

TOKEN, PASSWORD, QUERY, HEADER = "tok3n-of-mine", "pa55word-of-mine", "qu3ry-of-mine", "h3ader-of-mine"
POLL_PASSWORD, POLL_QUERY, PROXY_PASSWORD = "p0ll-word-of-mine", "p0ll-query-of-mine", "pr0xy-word-of-mine"
SECRETS = (TOKEN, PASSWORD, QUERY, HEADER, POLL_PASSWORD, POLL_QUERY, PROXY_PASSWORD, "Bearer ", "Basic ")


class Everything(logging.Handler):
    """Every record of every logger, as text, with the traces, and the arguments that the text may not show."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s %(threadName)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.texts += [self.format(record), repr(record.args), repr(record.__dict__)]


@pytest.fixture
def log() -> Iterator[Everything]:
    """All that is logged by anybody, at DEBUG."""
    everything, loggers = (
        Everything(),
        [logging.getLogger(name) for name in ("", "realtime_client", "urllib3", "websocket")],
    )
    levels = [logger.level for logger in loggers]
    loggers[0].addHandler(everything)
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    yield everything
    loggers[0].removeHandler(everything)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def said(error: BaseException | None) -> Iterator[str]:
    """Everything that may be shown of an error: by itself, in a trace, as a dict, and of what caused it."""
    if error is not None:
        yield from (str(error), repr(error), repr(error.args), repr(vars(error)))
        yield "".join(traceback.format_exception(error))


class Listener:
    """Hears everything that a client tells, and reads everything that it shows."""

    def __init__(self, client: RealtimeClient) -> None:
        self._client = client
        self.told = Record()
        client.on_status(self.told)
        client.on_notification(self.told)
        client.on_error(self.told)
        client.on_gap(self.told)
        client.on("*", self.told)

    def texts(self) -> Iterator[str]:
        client = self._client
        for one in self.told.items:
            yield from (str(one), repr(one))
            yield from said(one if isinstance(one, BaseException) else None)
        for shown in (client, client.config, client.status, client.metrics(), client.store.snapshot()):
            yield from (str(shown), repr(shown))
        yield from (repr(client.health()), repr(client.status.to_dict()), repr(client.store.snapshot().to_dict()))
        yield from said(client.status.last_error)
        for rejected in client.rejected:
            yield from said(rejected)
        yield from (thread.name for thread in threading.enumerate())


def assert_no_secrets(texts: Iterator[str] | list[str], *, besides: tuple[str, ...] = ()) -> None:
    count = 0
    for text in texts:
        count += 1
        for secret in (*SECRETS, *besides):
            assert secret not in text, f"{secret!r} in {text!r}"
    assert count > 0


def secretive(server: FakeServer, **options: Any) -> dict[str, Any]:
    """The options of a client that has every kind of secret."""
    return {
        "url": server.url.replace("://", f"://user:{PASSWORD}@") + f"?access_token={QUERY}",
        "polling_url": server.poll_url.replace("://", f"://user:{POLL_PASSWORD}@") + f"?key={POLL_QUERY}",
        "token": TOKEN,
        "headers": {"X-Api-Key": HEADER, "Cookie": f"session={HEADER}"},
        "name": "secretive",
        **QUICK,
        **options,
    }


def listen(server: FakeServer, **options: Any) -> tuple[RealtimeClient, Listener]:
    client = RealtimeClient(config=ClientConfig(**secretive(server, **options)))
    return client, Listener(client)


def test_the_secrets_do_reach_the_server(server: FakeServer, log: Everything) -> None:
    server.poll_answer = {}
    client, listener = listen(server)
    with client:
        client.refresh()
        request, poll = server.connections[0].request, server.polls[0].request
        assert request is not None
        for one, query in ((request, QUERY), (poll, POLL_QUERY)):
            assert one.headers["Authorization"] == f"Bearer {TOKEN}"
            assert one.headers["X-Api-Key"] == HEADER
            assert query in one.target
    assert_no_secrets(listener.texts())
    assert_no_secrets(log.texts)


def test_in_success(server: FakeServer, log: Everything) -> None:
    server.poll_answer = {"stats": {"totalLogs": 1}}
    client, listener = listen(server)
    with client:
        client.send({"type": "hello"})
        server.send("no JSON at all")
        server.drop()
        server.wait_for_connection(2)
        listener.told.wait_until(lambda items: any(isinstance(one, realtime_client.Gap) for one in items))
        client.refresh()
        client.reconnect(PATIENCE)
        assert_no_secrets(listener.texts())
    assert_no_secrets(listener.texts())
    assert_no_secrets(log.texts)


FAILURES: dict[str, list[Any]] = {
    "401": [refuse(401, body="who are you?")],
    "403": [refuse(403)],
    "404": [refuse(404)],
    "429": [refuse(429, headers={"Retry-After": "1"})],
    "503": [refuse(503)],
    "redirect": [redirect("http://elsewhere.example/login")],
    "reset in the handshake": [reset()],
    "end in the handshake": [disconnect()],
    "stall": [stall()],
    "garbage": [garbage(2000)],
    "wrong key": [accept(wrong_key="bm90IHlvdXIga2V5")],
    "wrong subprotocol": [accept(subprotocol="nobody-asked")],
    "wrong extension": [accept(headers={"Sec-WebSocket-Extensions": "x-unknown"})],
    "close": [accept(), close(1011, "sorry")],
    "strikes": [accept(), close(1008, "your fault")],
    "reset": [accept(), reset()],
    "protocol": [accept(), send_raw(b"\xff\xff\xff")],
    "too large": [accept(), send_raw(b"\x81\x7f\x00\x00\x00\x7f\x00\x00\x00\x00")],
    "bad text": [accept(), send_raw(b"\x81\x02\xff\xfe")],
    "silence": [accept(), go_silent()],
}


@pytest.mark.parametrize("failure", FAILURES)
def test_in_every_failure_of_the_stream(failure: str, log: Everything) -> None:
    with FakeServer(then=FAILURES[failure], poll_answer=lambda _: (503, {}, b"")) as server:
        options = {"connect_timeout": 0.2, "heartbeat_interval": 0.05, "heartbeat_timeout": 0.1}
        client, listener = listen(server, max_reconnect_attempts=1, fatal_retry_delay=0.05, **options)
        errors: list[str] = []
        try:
            client.connect(3)
        except RealtimeError as error:
            errors += said(error)
        server.wait_for_attempts(1)
        listener.told.wait_until(
            lambda items: any(getattr(one, "current", None) and one.current.last_error is not None for one in items)
        )
        errors += said(client.status.last_error)
        client.close()
        assert_no_secrets(listener.texts())
        assert_no_secrets([*log.texts, *errors])


def nobody(server: FakeServer) -> str:
    """A port on which nobody listens."""
    del server
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


UNREACHABLE: dict[str, Callable[[FakeServer], dict[str, Any]]] = {
    "refused": lambda server: {"url": f"ws://user:{PASSWORD}@{nobody(server)}/ws?access_token={QUERY}"},
    "no such name": lambda _: {"url": f"ws://user:{PASSWORD}@no.such.name.invalid/ws?access_token={QUERY}"},
    "proxy gone": lambda server: {"proxy": f"http://proxy:{PROXY_PASSWORD}@{nobody(server)}"},
    "socks proxy gone": lambda server: {"proxy": f"socks5://proxy:{PROXY_PASSWORD}@{nobody(server)}"},
    "no certificates": lambda server: {"url": server.url.replace("ws:", "wss:"), "ca_file": "/nowhere/ca.pem"},
    "no TLS": lambda server: {
        "url": server.url.replace("ws://", f"wss://user:{PASSWORD}@") + f"?t={QUERY}",
        "connect_timeout": 0.3,
    },
}


@pytest.mark.parametrize("trouble", UNREACHABLE)
def test_where_nobody_is_reached(trouble: str, log: Everything) -> None:
    server = FakeServer()
    with server:
        client, listener = listen(server, **{"max_reconnect_attempts": 0, **UNREACHABLE[trouble](server)})
        with pytest.raises(RealtimeError) as caught:
            client.connect(PATIENCE)
        poller = RealtimeClient(config=attrs.evolve(client.config, polling_url=polling(server, client)))
        with pytest.raises(RealtimeError) as polled:
            poller.refresh()
        client.close()
        assert_no_secrets(listener.texts())
        assert_no_secrets([*log.texts, *said(caught.value), *said(polled.value)])


def polling(server: FakeServer, client: RealtimeClient) -> str:
    """A polling address in the same trouble as the client's stream; where that is the proxy's, any."""
    if client.config.proxy is not None:
        return f"http://user:{POLL_PASSWORD}@127.0.0.1:{server.port}/poll?key={POLL_QUERY}"
    address = client.config.url.rpartition("@")[2] if "@" in client.config.url else f"127.0.0.1:{server.port}/poll"
    secure = "https" if client.config.url.startswith("wss") else "http"
    return f"{secure}://user:{POLL_PASSWORD}@{address.partition('?')[0]}?key={POLL_QUERY}"


@pytest.mark.parametrize("status", ["200 OK", "403 Forbidden", "407 Proxy Authentication Required"])
def test_through_a_proxy(status: str, server: FakeServer, log: Everything) -> None:
    server.poll_answer = {}
    with TunnelProxy(status) as proxy:
        address = f"http://proxy:{PROXY_PASSWORD}@127.0.0.1:{proxy.port}"
        client, listener = listen(server, proxy=address, max_reconnect_attempts=0)
        errors: list[str] = []
        for attempt in (lambda: client.refresh(PATIENCE), lambda: client.connect(PATIENCE)):
            try:
                attempt()
            except RealtimeError as error:
                errors += said(error)
        assert bool(errors) is not status.startswith("200")
        assert "Proxy-Authorization" in proxy.requests[0]  # it was given to him whom it concerns
        client.close()
        assert_no_secrets(listener.texts())
        assert_no_secrets([*log.texts, *errors])


def test_a_certificate_that_is_not_trusted(tmp_path: Path, log: Everything) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca = trustme.CA()
    ca.issue_cert("127.0.0.1").configure_cert(context)
    with FakeServer(ssl_context=context, poll_answer={}) as server:
        client, listener = listen(server)
        for attempt in (lambda: client.connect(PATIENCE), lambda: client.refresh(PATIENCE)):
            with pytest.raises(RealtimeError) as caught:
                attempt()
            assert_no_secrets(said(caught.value))
        client.close()
        assert_no_secrets(listener.texts())
        assert_no_secrets(log.texts)


POLLS: dict[str, Callable[[Any], tuple[int, dict[str, str], bytes]]] = {
    "401": lambda _: (401, {}, b""),
    "302": lambda _: (302, {"Location": "http://elsewhere.example/"}, b""),
    "500": lambda _: (500, {}, b"oops"),
    "no JSON": lambda _: (200, {}, b"<html>"),
    "gzip": lambda _: (200, {"Content-Encoding": "gzip"}, b"no gzip"),
    "wrong parts": lambda _: (200, {}, b'{"logs": 7, "alerts": [7]}'),
    "too large": lambda _: (200, {}, b" " * 70_000),
}


@pytest.mark.parametrize("failure", POLLS)
def test_in_every_failure_of_a_poll(failure: str, server: FakeServer, log: Everything) -> None:
    server.poll_answer = POLLS[failure]
    client, listener = listen(server, max_message_bytes=4096)
    with client:
        try:
            client.refresh(PATIENCE)
        except RealtimeError as error:
            assert_no_secrets(said(error))
        server.drop()  # and as a backfill
        listener.told.wait_until(lambda items: any(isinstance(one, realtime_client.Gap) for one in items))
        assert_no_secrets(listener.texts())
    assert_no_secrets(log.texts)


def test_a_poll_that_nobody_answers(server: FakeServer, log: Everything) -> None:
    def late(_request: object) -> tuple[int, dict[str, str], bytes]:
        server.gate("never").wait(30)
        return 200, {}, b"{}"

    server.poll_answer = late
    client, listener = listen(server)
    with pytest.raises(realtime_client.PollError) as caught:
        client.refresh(0.1)
    server.gate("never").release()
    assert_no_secrets(listener.texts())
    assert_no_secrets([*log.texts, *said(caught.value)])
    wait_until_ended("poll-request")


@pytest.mark.parametrize("option", ["token", "headers"])
@pytest.mark.parametrize("given", ["wrong", "raises"])
def test_callables_that_fail(option: str, given: str, server: FakeServer, log: Everything) -> None:
    server.poll_answer = {}

    def fails() -> Any:
        if given == "raises":
            raise ValueError("no text of ours")
        return f"{TOKEN}\n" if option == "token" else {"X-Key": f"{HEADER}\n"}

    client, listener = listen(server, **{option: fails}, max_reconnect_attempts=0)
    for attempt in (lambda: client.connect(PATIENCE), lambda: client.refresh(PATIENCE)):
        with pytest.raises(RealtimeError) as caught:
            attempt()
        assert_no_secrets(said(caught.value))
    client.close()
    assert_no_secrets(listener.texts())
    assert_no_secrets(log.texts)


@pytest.mark.parametrize(
    "wrong",
    [
        {"token": f"{TOKEN}\n"},
        {"token": TOKEN.encode()},
        {"headers": {"X-Key": f"{HEADER}\n"}},
        {"headers": [HEADER]},
        {"url": f"http://user:{PASSWORD}@host/?t={QUERY}"},
        {"url": f"ws://user:{PASSWORD}@host:notaport/?t={QUERY}"},
        {"url": f"ws://user:{PASSWORD}@/?t={QUERY}"},
        {"url": f"ws://user:pass/{PASSWORD}@host/"},
        {"url": f"ws://host/#{QUERY}"},
        {"polling_url": f"ftp://user:{POLL_PASSWORD}@host/?t={POLL_QUERY}"},
        {"proxy": f"https://user:{PROXY_PASSWORD}@host"},
        {"proxy": f"user:{PROXY_PASSWORD}@host"},
    ],
)
def test_a_wrong_configuration(wrong: dict[str, Any], server: FakeServer, log: Everything) -> None:
    with pytest.raises(ConfigError) as caught:
        RealtimeClient(**{**secretive(server), **wrong})
    assert next(iter(wrong)) in str(caught.value)
    log.texts.append("nothing")
    assert_no_secrets(said_briefly(caught.value))
    assert_no_secrets(log.texts)


def said_briefly(error: BaseException) -> Iterator[str]:
    """An error without the trace, whose lines are the test's own."""
    yield from (str(error), repr(error), repr(vars(error)))


def test_two_configurations_for_one_shared_url(server: FakeServer) -> None:
    options = secretive(server)
    handle = realtime_client.shared(**options)
    try:
        with pytest.raises(ConfigError) as caught:
            realtime_client.shared(**{**options, "token": TOKEN + "2"})
        assert "token" in str(caught.value)
        assert_no_secrets(said_briefly(caught.value))
        assert_no_secrets([repr(handle)])
    finally:
        handle.close()


def test_a_bad_callback_does_not_spill_the_configuration(server: FakeServer, log: Everything) -> None:
    client, listener = listen(server)

    def broken(_event: Any) -> None:
        raise ValueError("broken")

    client.on("connection_established", broken)
    with client:
        listener.told.wait_until(lambda items: any(isinstance(one, realtime_client.CallbackError) for one in items))
        assert_no_secrets(listener.texts())
    assert client.status.state is ConnectionState.CLOSED
    assert_no_secrets(log.texts)
