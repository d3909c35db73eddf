"""The doctor against servers that are well and servers that are not: each step, its verdict, cause and remedy."""

from __future__ import annotations

import contextlib
import datetime
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from realtime_client import (
    AuthenticationError,
    ClientConfig,
    ConnectError,
    ConnectTimeout,
    HeartbeatTimeout,
    MalformedMessage,
    RecordingError,
    SystemAlert,
)
from realtime_client._core.frames import PONG, TEXT, encode_frame
from realtime_client._core.handshake import parse_request, upgrade_answer
from realtime_client.doctor import Check, Verdict, connection, diagnose
from realtime_client.recording import Recorder, replay_url
from realtime_client.testing import (
    FakeServer,
    accept,
    close,
    disconnect,
    go_silent,
    redirect,
    refuse,
    send_raw,
    stall,
)
from tests.client.recording import PATIENCE
from tests.doctor.examining import FAIL, OK, SKIP, WARN, BriefServer, Checks, examined, verdicts
from tests.doctor.examining import failed as the_failed
from tests.transports.proxying import ConnectProxy

GREETING = {"type": "connection_established"}
STEPS = ["config", "dns", "proxy", "tcp", "tls", "upgrade", "greeting", "heartbeat", "polling", "clock"]


class Hanging:
    """A callable that does not answer until the block ends; by then the threads that called it have ended, too."""

    def __init__(self) -> None:
        self._released = threading.Event()
        self._callers: list[threading.Thread] = []

    def __call__(self, *_: object, **__: object) -> Any:
        self._callers.append(threading.current_thread())
        assert self._released.wait(PATIENCE)
        return ""

    def __enter__(self) -> Hanging:
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        for caller in self._callers:
            caller.join(PATIENCE)


def failed(checks: Checks) -> Check:
    return the_failed(checks, "polling", "clock")


# A server that is well


def test_every_step_of_a_server_that_is_well() -> None:
    with FakeServer(poll_answer={"stats": {"totalLogs": 5}, "logs": [], "alerts": []}) as server:
        checks = examined(server.url, polling_url=server.poll_url)
    assert list(checks) == STEPS
    assert verdicts(checks) == {
        OK: ["config", "dns", "proxy", "tcp", "upgrade", "greeting", "heartbeat", "polling"],
        WARN: [],
        FAIL: [],
        SKIP: ["tls", "clock"],
    }
    assert checks["config"].found == f"{server.url}, without credentials, not by default: polling_url"
    assert (checks["dns"].found, checks["proxy"].found) == ("127.0.0.1", "none")
    assert checks["tcp"].found == f"connected to 127.0.0.1, port {server.port}"
    assert checks["upgrade"].found.startswith("101, ")
    assert checks["greeting"].found == "the first message is connection_established"
    assert checks["heartbeat"].found.startswith("a pong ")
    assert checks["polling"].found == f"{server.poll_url} gave 0 logs, 0 alerts and 4 figures"
    assert all(check.seconds >= 0 and not check.cause and check.error is None for check in checks.values())


def test_a_check_comes_as_soon_as_it_is_done_and_closing_closes_the_connection() -> None:
    with FakeServer() as server:
        checks = diagnose(ClientConfig(server.url))
        assert next(checks).name == "config"
        assert server.attempts == ()
        while next(checks).name != "upgrade":
            pass
        server.wait_for_connection(timeout=10)
        checks.close()  # type: ignore[attr-defined]
        server.connections[0].wait_closed()


def test_checks_are_json_ready() -> None:
    with FakeServer(then=[refuse(404)]) as server:
        answer = [check.to_dict() for check in diagnose(ClientConfig(server.url))]
    assert json.loads(json.dumps(answer)) == answer
    (upgrade,) = (check for check in answer if check["name"] == "upgrade")
    assert set(upgrade) == {"name", "verdict", "seconds", "found", "cause", "remedy", "error"}
    assert (upgrade["verdict"], upgrade["error"]) == ("fail", "HandshakeRejected")


# Configuration


def test_secrets_are_not_shown() -> None:
    def token() -> str:
        raise ValueError("s3cret")

    with FakeServer(then=[refuse(401, body="s3cret")]) as server:
        url = server.url.replace("ws://", "ws://user:s3cret@") + "?key=s3cret"
        for options in ({"token": "s3cret"}, {"token": token}, {"headers": {"X-Key": "s3cret"}}, {}):
            everything = "".join(map(repr, diagnose(ClientConfig(url, **options))))
            assert "s3cret" not in everything
            assert "with credentials" in everything or "callable raised" in everything


def test_credentials_in_the_clear_are_a_warning() -> None:
    for host in ("feed.example.com", "127.0.0.1.example.com"):
        config = next(diagnose(ClientConfig(f"ws://{host}/ws", token="t")))
        assert config.verdict is WARN
        assert "in the clear" in config.found
    assert next(diagnose(ClientConfig("ws://localhost/ws", token="t"))).verdict is OK
    assert next(diagnose(ClientConfig("wss://feed.example.com/ws", token="t"))).verdict is OK


@pytest.mark.parametrize(
    ("token", "words"),
    [
        (lambda: 1 / 0, "the token callable raised ZeroDivisionError"),
        (lambda: 5, "the token callable did not return text in printable ASCII"),
        (lambda: lambda: "x", "the token callable did not return"),
    ],
)
def test_a_token_callable_that_gives_none(token: Callable[[], Any], words: str) -> None:
    check = failed(examined("ws://localhost:1/", token=token))
    assert check.name == "config"
    assert check.found.startswith(words)


def test_a_token_callable_that_hangs() -> None:
    with Hanging() as token:
        check = failed(examined("ws://localhost:1/", token=token, connect_timeout=0.2))
    assert (check.name, check.found) == ("config", "no answer in time")
    assert isinstance(check.error, ConnectTimeout)


# Names and TCP


def test_an_unknown_name() -> None:
    check = failed(examined("ws://feed.invalid/ws"))
    assert check.name == "dns"
    assert "misspelt" in check.cause
    assert check.remedy.endswith("getent hosts feed.invalid")
    assert isinstance(check.error, ConnectError)


def test_a_name_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with Hanging() as look_up:
        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        check = failed(examined("ws://feed.example.com/ws", connect_timeout=0.2))
    assert (check.name, check.found) == ("dns", "no answer in time")


def test_nobody_listens() -> None:
    check = failed(examined("ws://127.0.0.1:1/ws"))
    assert (check.name, check.found, check.cause) == ("tcp", "Connection refused", "nothing listens there")


def test_one_address_of_two_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeServer() as server:
        look_up = socket.getaddrinfo
        answers = look_up("127.0.0.2", server.port, type=socket.SOCK_STREAM)
        answers += look_up("127.0.0.1", server.port, type=socket.SOCK_STREAM)
        monkeypatch.setattr(
            socket, "getaddrinfo", lambda host, *a, **k: answers if host == "two.test" else look_up(host, *a, **k)
        )
        checks = examined(f"ws://two.test:{server.port}/ws")
    assert checks["dns"].found == "127.0.0.2, 127.0.0.1"
    assert checks["tcp"].verdict is WARN
    assert "not to 127.0.0.2: Connection refused" in checks["tcp"].found
    assert checks["heartbeat"].verdict is OK


# Proxies


def test_through_a_proxy() -> None:
    with FakeServer() as server, ConnectProxy(server.port) as proxy:
        checks = examined("ws://feed.test/ws", proxy=proxy.url("user:s3cret"))
        port = proxy.port
    assert not verdicts(checks)[FAIL]
    assert checks["dns"].found == "the proxy 127.0.0.1: 127.0.0.1"
    assert checks["proxy"].found == f"http proxy 127.0.0.1:{port}, as configured"
    assert checks["tcp"].found == "connected through the proxy to feed.test:80"
    assert "s3cret" not in repr(checks)


def test_a_proxy_of_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeServer() as server, ConnectProxy(server.port) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url())
        checks = examined("ws://feed.test/ws")
    assert checks["proxy"].found.endswith("from the environment")
    assert checks["heartbeat"].verdict is OK


def test_a_proxy_that_wants_credentials() -> None:
    with FakeServer() as server, ConnectProxy(server.port, credentials="user:right") as proxy:
        check = failed(examined("ws://feed.test/ws", proxy=proxy.url("user:wrong")))
    assert check.name == "tcp"
    assert "407" in check.found
    assert "proxy" in check.remedy


def test_an_unsupported_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    look_up = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *a, **k: look_up("127.0.0.1", *a, **k))
    monkeypatch.setenv("all_proxy", "gopher://127.0.0.1:1")
    check = failed(examined("ws://feed.test/"))
    assert check.name == "proxy"
    assert "gopher://127.0.0.1:1 is not supported" in check.found


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trust(authority: trustme.CA) -> Iterator[str]:
    with authority.cert_pem.tempfile() as path:
        yield path


def served_with(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    return context


def issued(
    authority: trustme.CA,
    *names: str,
    not_before: datetime.datetime | None = None,
    not_after: datetime.datetime | None = None,
) -> ssl.SSLContext:
    names = names or ("127.0.0.1",)
    return served_with(authority.issue_cert(*names, not_before=not_before, not_after=not_after))


def test_a_certificate_that_is_trusted(authority: trustme.CA, trust: str) -> None:
    until = datetime.datetime.now(UTC) + timedelta(days=100, hours=1)
    with FakeServer(ssl_context=issued(authority, "127.0.0.1", "localhost", not_after=until)) as server:
        checks = examined(server.url, ca_file=trust)
    tls = checks["tls"]
    assert tls.verdict is OK
    assert tls.found.startswith("TLSv1.3, TLS_")
    assert tls.found.endswith(f"until {until:%Y-%m-%d} (100 days)")
    assert "certificate for " in tls.found
    assert "127.0.0.1" in tls.found
    assert checks["heartbeat"].verdict is OK


def test_a_certificate_that_expires_soon(authority: trustme.CA, trust: str) -> None:
    until = datetime.datetime.now(UTC) + timedelta(days=13)
    with FakeServer(ssl_context=issued(authority, not_after=until)) as server:
        checks = examined(server.url, ca_file=trust)
    assert (checks["tls"].verdict, checks["tls"].remedy) == (WARN, "renew it")
    assert checks["heartbeat"].verdict is OK


@pytest.mark.parametrize(
    ("names", "days", "trusted", "cause"),
    [
        (("127.0.0.1",), 1, False, "signed by itself, or by an authority that this machine does not know"),
        (("elsewhere.test",), 1, True, "it is for another name"),
        (("127.0.0.1",), -1, True, "it has expired, or this machine's clock is wrong"),
    ],
)
def test_a_certificate_that_is_not_trusted(
    authority: trustme.CA, trust: str, *, names: tuple[str, ...], days: int, trusted: bool, cause: str
) -> None:
    now = datetime.datetime.now(UTC)
    dates = {"not_before": now - timedelta(days=10), "not_after": now + timedelta(days=days)}
    with FakeServer(ssl_context=issued(authority, *names, **dates)) as server:
        check = failed(examined(server.url, **({"ca_file": trust} if trusted else {})))
    assert check.name == "tls"
    assert check.found.startswith("the certificate is not trusted: ")
    assert check.cause.endswith(cause)
    assert isinstance(check.error, ConnectError)
    assert not check.error.retryable


def test_a_certificate_that_nobody_verifies_is_a_warning(authority: trustme.CA) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with FakeServer(ssl_context=issued(authority)) as server:
        checks = examined(server.url, ssl_context=context)
    assert checks["tls"].verdict is WARN
    assert "not verified" in checks["tls"].found


def test_a_ca_file_that_is_none(authority: trustme.CA, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("hello")
    with FakeServer(ssl_context=issued(authority)) as server:
        check = failed(examined(server.url, ca_file=str(path)))
    assert (check.name, check.remedy) == ("tls", "check ca_file")


def test_tls_where_there_is_none() -> None:
    with BriefServer(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        check = failed(examined(f"wss://127.0.0.1:{port}/ws"))
    assert check.name == "tls"
    assert "does not speak TLS" in check.cause
    assert "ws://" in check.remedy


def test_no_tls_where_there_is_some(authority: trustme.CA) -> None:
    with BriefServer(b"\x15\x03\x03\x00\x02\x02\x50") as port:  # a TLS alert
        check = failed(examined(f"ws://127.0.0.1:{port}/ws"))
    assert check.name == "upgrade"
    assert "wss://" in check.cause + check.remedy


# The upgrade


@pytest.mark.parametrize(
    ("step", "words", "remedy"),
    [
        (refuse(401), "the server answered 401 Unauthorized", "check token and headers"),
        (refuse(403), "the server answered 403 Forbidden", "check token and headers"),
        (refuse(404), "the server answered 404 Not Found", "check the path of the URL"),
        (refuse(400), "the server answered 400 Bad Request", "try wss://; check the path"),
        (refuse(426), "the server answered 426 Upgrade Required", "ask whoever runs it"),
        (refuse(429), "the server answered 429 Too Many Requests", "use fewer clients, or shared()"),
        (refuse(503), "the server answered 503 Service Unavailable", "look at its log; the client keeps trying"),
        (refuse(200), "the server answered 200 OK", "check the URL"),
        (redirect("/other"), "the server answered 302 Found", "put the new address into the URL"),
        (send_raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "bad status line", "check scheme, port and path of the URL"),
        (accept(wrong_key="no"), "", "check scheme, port and path of the URL"),
    ],
)
def test_an_upgrade_that_is_refused(step: Any, words: str, remedy: str) -> None:
    with FakeServer(then=[step, disconnect()]) as server:
        check = failed(examined(server.url))
    assert check.name == "upgrade"
    assert words in check.found
    assert check.remedy == remedy


def test_refused_credentials_are_an_authentication_error() -> None:
    with FakeServer(then=[refuse(401)]) as server:
        assert isinstance(failed(examined(server.url)).error, AuthenticationError)


def test_an_upgrade_that_is_not_answered() -> None:
    with FakeServer(then=[stall()]) as server:
        check = failed(examined(server.url, connect_timeout=0.3))
    assert (check.name, check.found) == ("upgrade", "no answer in time")
    assert "wss://" in check.remedy


# Greeting and heartbeat


def test_no_greeting_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "GREETING", 0.2)
    with FakeServer(then=[accept()]) as server:
        checks = examined(server.url)
    assert (checks["greeting"].verdict, checks["greeting"].found) == (WARN, "nothing within 0.2 s")
    assert checks["heartbeat"].verdict is OK


def test_pongs_that_nobody_asked_for_are_no_greeting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "GREETING", 0.2)
    with DeafServer(encode_frame(PONG, b"")) as port:
        checks = examined(f"ws://127.0.0.1:{port}/ws", heartbeat_timeout=0.2)
    assert (checks["greeting"].verdict, checks["greeting"].found) == (WARN, "nothing within 0.2 s")
    assert checks["heartbeat"].verdict is WARN


def test_another_message_does_as_well() -> None:
    with FakeServer(then=[accept(greeting={"type": "stats_update", "data": {"stats": {}}})]) as server:
        assert examined(server.url)["greeting"].found == "the first message is stats_update"


def test_another_protocol_is_no_feed() -> None:
    with FakeServer(then=[accept(greeting='0{"sid":"x"}')]) as server:
        check = failed(examined(server.url))
    assert check.name == "greeting"
    assert check.found.startswith("no message of the feed: ")
    assert isinstance(check.error, MalformedMessage)


@pytest.mark.parametrize("step", [close(1008, "go away"), disconnect(), send_raw(b"\xff\xff")])
def test_a_connection_that_ends_at_once(step: Any) -> None:
    with FakeServer(then=[accept(), step]) as server:
        check = failed(examined(server.url))
    assert check.name == "greeting"
    assert check.error is not None


def test_a_server_that_does_not_answer_pings() -> None:
    with FakeServer(then=[accept(greeting=GREETING), go_silent()]) as server:
        check = failed(examined(server.url, heartbeat_timeout=0.3))
    assert check.name == "heartbeat"
    assert isinstance(check.error, HeartbeatTimeout)


def test_a_server_that_speaks_and_does_not_answer_pings() -> None:
    with DeafServer(encode_frame(TEXT, b'{"type":"tick"}')) as port:
        heartbeat = examined(f"ws://127.0.0.1:{port}/ws", heartbeat_timeout=0.5)["heartbeat"]
    assert heartbeat.verdict is WARN
    assert "other messages" in heartbeat.found


class DeafServer:
    """Opens a WebSocket to its only client, and says a frame again and again without ever listening."""

    def __init__(self, frame: bytes) -> None:
        self._frame = frame
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._over = threading.Event()

    def _serve(self) -> None:
        sock, _ = self._listening.accept()
        with sock, contextlib.suppress(OSError):
            sock.sendall(upgrade_answer(parse_request(sock.recv(65536))))
            while not self._over.wait(0.02):
                sock.sendall(self._frame)

    def __enter__(self) -> int:
        self._thread.start()
        return int(self._listening.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(20)
        self._listening.close()


def test_a_heartbeat_that_is_switched_off() -> None:
    with FakeServer() as server:
        heartbeat = examined(server.url, heartbeat="none")["heartbeat"]
    assert (heartbeat.verdict, heartbeat.found) == (SKIP, "switched off")


# Polling


def test_a_poll_that_is_refused_is_told_though_the_stream_is_well() -> None:
    with FakeServer() as server:
        checks = examined(server.url, polling_url=server.poll_url)
    polling = failed(checks)
    assert polling.name == "polling"
    assert "404" in polling.found
    assert polling.remedy == "check the path of polling_url"
    assert checks["heartbeat"].verdict is OK


def test_a_poll_is_made_though_the_stream_cannot_be_had() -> None:
    with FakeServer(poll_answer={"logs": [{"id": "1", "message": "m"}]}) as server:
        checks = examined("ws://127.0.0.1:1/ws", polling_url=server.poll_url)
    assert failed(checks).name == "tcp"
    assert checks["polling"].verdict is OK
    assert "gave 1 logs, 0 alerts" in checks["polling"].found


def test_a_poll_that_is_understood_in_part() -> None:
    with FakeServer(poll_answer={"logs": [{"id": 1}, {"id": "2", "message": "m"}]}) as server:
        polling = examined(server.url, polling_url=server.poll_url)["polling"]
    assert polling.verdict is WARN
    assert "not understood: log.id is not text" in polling.found or "id" in polling.found


def test_a_poller_of_the_users_own() -> None:
    with FakeServer() as server:
        polling = examined(server.url, poller=lambda: {"alerts": [{"message": "hot"}]})["polling"]
    assert polling.found.startswith("the poller gave 0 logs, 1 alerts")


# Clocks


@pytest.mark.parametrize(
    ("ahead", "verdict", "words"),
    [(0, OK, "this machine's clock"), (3600, WARN, "1:00:0"), (-90, WARN, "behind this machine's clock")],
)
def test_the_clock_by_the_date_of_the_answer(ahead: int, verdict: Verdict, words: str) -> None:
    date = format_datetime(datetime.datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)
    with FakeServer(then=[accept(headers={"Date": date}, greeting=GREETING)]) as server:
        clock = examined(server.url)["clock"]
    assert clock.verdict is verdict
    assert words in clock.found.replace("0:59:59", "1:00:00")
    assert clock.found.startswith("the server's Date is ")


def test_the_clock_by_the_date_of_a_refusal() -> None:
    with FakeServer(then=[refuse(401, headers={"Date": "Thu, 01 Jan 2015 00:00:00 GMT"})]) as server:
        assert examined(server.url)["clock"].verdict is WARN


def test_the_clock_by_the_greeting() -> None:
    at = (datetime.datetime.now(UTC) + timedelta(seconds=20)).isoformat()
    with FakeServer(then=[accept(greeting={**GREETING, "timestamp": at})]) as server:
        clock = examined(server.url)["clock"]
    assert clock.verdict is WARN
    assert clock.found.startswith("the greeting is ")


@pytest.mark.parametrize("date", ["yesterday", "Thu, 99 Jan 2015 00:00:00 GMT"])
def test_a_date_that_is_none(date: str) -> None:
    with FakeServer(then=[accept(headers={"Date": date}, greeting=GREETING)]) as server:
        assert examined(server.url)["clock"].verdict is SKIP


# Recordings


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "feed.jsonl"
    with Recorder(path) as recorder:
        for second in range(3):
            recorder.write(SystemAlert("hot", received_at=datetime.datetime(2026, 1, 2, 3, 4, second, tzinfo=UTC)))
    return path


def test_a_recording(recording: Path) -> None:
    checks = examined(replay_url(recording, speed="max", loop=True))
    assert list(checks) == ["config", "recording"]
    assert checks["config"].found.endswith("as fast as it can be read, looped")
    assert (checks["recording"].verdict, checks["recording"].found) == (OK, "3 messages over 0:00:02: 3 system_alert")


def test_a_recording_that_is_cut_or_malformed_or_empty(recording: Path) -> None:
    text = recording.read_text()
    for content, found in (
        (text[:-10], "2 messages over 0:00:01, cut off within line 3: 2 system_alert"),
        (text + '{"type":"system_alert"}\n', "4 messages over 0:00:02, 1 of them malformed: 3 system_alert"),
        ("", "0 messages"),
    ):
        recording.write_text(content)
        check = examined(replay_url(recording))["recording"]
        assert (check.verdict, check.found) == (WARN, found)
        assert check.cause


def test_a_recording_of_many_types(recording: Path) -> None:
    kinds = [*("new_anomaly" for _ in range(3)), "x" * 100, *(f"type-{n}" for n in range(5))]
    log = {"log": {"id": "1", "message": "m"}}
    lines = ({"type": kind, "data": log if kind == "new_anomaly" else None} for kind in kinds)
    recording.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = examined(replay_url(recording))["recording"].found
    assert found == f"9 messages: 3 new_anomaly, 1 {'x' * 40}, 1 type-0, 1 type-1, 3 others"


def test_a_recording_that_is_none(recording: Path, tmp_path: Path) -> None:
    recording.write_text(recording.read_text() + "hello\n")
    check = failed(examined(replay_url(recording)))
    assert check.found.startswith("line 4: not JSON")
    assert isinstance(check.error, RecordingError)
    assert check.error.line == 4
    missing = failed(examined(replay_url(tmp_path / "none")))
    assert (missing.found, missing.remedy) == ("No such file or directory", "check the path in the URL")
    assert failed(examined(replay_url(tmp_path))).found == "it is no regular file"
