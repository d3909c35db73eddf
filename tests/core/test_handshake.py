"""Each rule of the opening handshake, on both sides."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_client._core.deflate import Agreement
from realtime_client._core.handshake import (
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    AnswerHead,
    Headers,
    Request,
    accept_key,
    check_upgrade,
    http_answer,
    parse_answer,
    parse_request,
    retry_after,
    upgrade_answer,
)
from realtime_client.errors import ConnectError

# The example of RFC 6455 section 1.3.
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

ANSWER = (
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Accept", ACCEPT),
)
REQUEST = (
    ("Host", "localhost:8080"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", KEY),
    ("Sec-WebSocket-Version", "13"),
)


def lines(*parts: str) -> bytes:
    return "\r\n".join([*parts, "", ""]).encode("latin-1")


def answer(*fields: tuple[str, str], status: int = 101) -> AnswerHead:
    return AnswerHead(status, "Switching Protocols", fields)


def without(fields: tuple[tuple[str, str], ...], name: str) -> tuple[tuple[str, str], ...]:
    return tuple(field for field in fields if field[0] != name)


def request(*fields: tuple[str, str], method: str = "GET") -> Request:
    return Request(method, "/ws", Headers(fields))


# parse_answer


def test_parse_answer_reads_a_head() -> None:
    head = parse_answer(lines("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "X-A:\t one two \t", "x-a:"))
    assert head == AnswerHead(101, "Switching Protocols", (("Upgrade", "websocket"), ("X-A", "one two"), ("x-a", "")))


def test_parse_answer_reads_latin_1() -> None:
    head = parse_answer(lines("HTTP/1.1 503 Überlastet", "Server: Bär"))
    assert head.reason == "Überlastet"
    assert head.get("Server") == "Bär"


@pytest.mark.parametrize("line", ["HTTP/1.1 404 ", "HTTP/1.1 404"])
def test_parse_answer_reads_an_empty_reason(line: str) -> None:
    assert parse_answer(lines(line)) == AnswerHead(404, "", ())


def test_parse_answer_reads_a_refusal_in_http_1_0() -> None:
    assert parse_answer(lines("HTTP/1.0 401 Unauthorized")).status == 401


def test_get_finds_the_first_in_any_letter_case() -> None:
    head = answer(("Retry-After", "5"), ("RETRY-AFTER", "9"))
    assert head.get("retry-after") == "5"
    assert head.get("Location") is None


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        (b"", "empty line"),
        (b"HTTP/1.1 101 Switching", "empty line"),
        (lines("HTTP/1.1 101")[:-2], "empty line"),
        (b"HTTP/1.1 200 OK\n\n", "empty line"),
        (lines(""), "bad status line ''"),
        (lines("HTTP/1.0 101 Switching Protocols"), "status 101 in HTTP/1.0"),
        (lines("HTTP/2 200"), "bad status line 'HTTP/2 200'"),
        (lines("HTTP/1.1 20 OK"), "bad status line"),
        (lines("HTTP/1.1 2000 OK"), "bad status line"),
        (lines("HTTP/1.1 099 OK"), "bad status line"),
        (lines("HTTP/1.1 600 OK"), "bad status line"),
        (lines("HTTP/1.1 1\xb21 OK"), "bad status line"),
        (lines("HTTP/1.1  101 OK"), "bad status line"),
        (lines("http/1.1 101 OK"), "bad status line"),
        (lines("ICY 200 OK"), "bad status line"),
        (lines("HTTP/1.1 200 O\x00K"), "control character in the first line"),
        (lines("HTTP/1.1 200 O\x1bK"), "control character in the first line"),
        (lines("HTTP/1.1 200 OK\nX: y"), "control character in the first line"),
        (lines("HTTP/1.1 200 OK", "X: a\x00b"), "control character in header 'X'"),
        (lines("HTTP/1.1 200 OK", "X: a\nb: c"), "control character in header 'X'"),
        (lines("HTTP/1.1 200 OK", "X: a\rb"), "control character in header 'X'"),
        (lines("HTTP/1.1 200 OK", "X: a\x7f"), "control character in header 'X'"),
        (lines("HTTP/1.1 200 OK", "X: a", " folded"), "header 2 is folded"),
        (lines("HTTP/1.1 200 OK", "X: a", "\tfolded: b"), "header 2 is folded"),
        (lines("HTTP/1.1 200 OK", "no colon"), "header 1 has no colon"),
        (lines("HTTP/1.1 200 OK", "X : a"), "header 1 has an invalid name 'X '"),
        (lines("HTTP/1.1 200 OK", ": a"), "header 1 has an invalid name ''"),
        (lines("HTTP/1.1 200 OK", "X(y): a"), "header 1 has an invalid name"),
        (lines("HTTP/1.1 200 OK", "B\xe4r: a"), "header 1 has an invalid name"),
        (lines("HTTP/1.1 200 OK", "", "X: a"), "header 1 has no colon"),
        (lines("HTTP/1.1 200 OK", *["X: a"] * (MAX_HEADERS + 1)), "101 headers, allowed are 100"),
        (lines("HTTP/1.1 200 OK", "X: " + "a" * MAX_HEAD_BYTES), "head of 16408 bytes, allowed are 16384"),
    ],
)
def test_parse_answer_refuses(head: bytes, problem: str) -> None:
    with pytest.raises(ConnectError) as caught:
        parse_answer(head)
    assert str(caught.value).startswith("the server's answer is not valid HTTP: ")
    assert problem in str(caught.value)


def test_parse_answer_reads_up_to_its_limits() -> None:
    many = parse_answer(lines("HTTP/1.1 200 OK", *["X: a"] * MAX_HEADERS))
    assert len(many.headers) == MAX_HEADERS
    short = len(lines("HTTP/1.1 200 OK", "X: "))
    long = lines("HTTP/1.1 200 OK", "X: " + "a" * (MAX_HEAD_BYTES - short))
    assert len(long) == MAX_HEAD_BYTES
    assert parse_answer(long).status == 200


def test_messages_show_no_header_values() -> None:
    with pytest.raises(ConnectError) as caught:
        parse_answer(lines("HTTP/1.1 200 OK", "Set-Cookie: hunter2\x01"))
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(answer(("Set-Cookie", "hunter2")))
    assert "hunter2" not in repr(Request("GET", "/ws?token=hunter2", Headers([("Authorization", "hunter2")])))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda junk: b"HTTP/1.1 200 OK\r\n" + junk + b"\r\n\r\n"))
def test_parse_answer_reads_or_refuses_anything(head: bytes) -> None:
    try:
        read = parse_answer(head)
    except ConnectError:
        return
    assert all(name.isascii() and "\n" not in name + value for name, value in read.headers)


# check_upgrade


def test_accept_key_is_that_of_the_rfc() -> None:
    assert accept_key(KEY) == ACCEPT


def test_check_upgrade_without_a_subprotocol() -> None:
    assert check_upgrade(answer(*ANSWER), key=KEY, subprotocols=()) is None
    assert check_upgrade(answer(*ANSWER), key=KEY, subprotocols=["logs.v1"]) is None


def test_check_upgrade_ignores_letter_case_where_http_does() -> None:
    head = answer(
        ("UPGRADE", "WebSocket"),
        ("connection", "keep-alive, UPGRADE"),
        ("sec-websocket-accept", ACCEPT),
    )
    assert check_upgrade(head, key=KEY, subprotocols=()) is None


def test_check_upgrade_reads_connection_over_several_headers() -> None:
    head = answer(*without(ANSWER, "Connection"), ("Connection", "keep-alive"), ("Connection", "Upgrade"))
    assert check_upgrade(head, key=KEY, subprotocols=()) is None


def test_check_upgrade_allows_a_subprotocol_that_was_asked_for() -> None:
    head = answer(*ANSWER, ("Sec-WebSocket-Protocol", "logs.v1"))
    assert check_upgrade(head, key=KEY, subprotocols=["logs.v2", "logs.v1"]) is None


def test_check_upgrade_returns_what_was_agreed_on_compression() -> None:
    head = answer(*ANSWER, ("Sec-WebSocket-Extensions", "permessage-deflate; server_max_window_bits=10"))
    assert check_upgrade(head, key=KEY, subprotocols=(), compression=True) == Agreement(window_bits=10)
    assert check_upgrade(answer(*ANSWER), key=KEY, subprotocols=(), compression=True) is None


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        (answer(*ANSWER, status=200), "the server answered 200"),
        (answer(*without(ANSWER, "Upgrade")), "Upgrade must be one 'websocket', not none"),
        (answer(*ANSWER, ("Upgrade", "websocket")), "Upgrade must be one 'websocket'"),
        (answer(*without(ANSWER, "Upgrade"), ("Upgrade", "h2c")), "Upgrade must be one 'websocket', not 'h2c'"),
        (answer(*without(ANSWER, "Upgrade"), ("Upgrade", "websocket, h2c")), "Upgrade must be one 'websocket'"),
        (answer(*without(ANSWER, "Connection")), "Connection must contain 'upgrade', not none"),
        (answer(*without(ANSWER, "Connection"), ("Connection", "close")), "Connection must contain 'upgrade'"),
        (answer(*without(ANSWER, "Connection"), ("Connection", "upgrades")), "Connection must contain 'upgrade'"),
        (answer(*without(ANSWER, "Sec-WebSocket-Accept")), "sent 0 Sec-WebSocket-Accept headers"),
        (answer(*ANSWER, ("Sec-WebSocket-Accept", ACCEPT)), "sent 2 Sec-WebSocket-Accept headers"),
        (
            answer(*without(ANSWER, "Sec-WebSocket-Accept"), ("Sec-WebSocket-Accept", ACCEPT.lower())),
            "does not match the key",
        ),
        (answer(*without(ANSWER, "Sec-WebSocket-Accept"), ("Sec-WebSocket-Accept", "")), "does not match the key"),
        (answer(*ANSWER, ("Sec-WebSocket-Extensions", "permessage-deflate")), "none was offered: 'permessage-deflate'"),
        (answer(*ANSWER, ("Sec-WebSocket-Protocol", "chat")), "subprotocol 'chat', which was not asked for"),
        (answer(*ANSWER, ("Sec-WebSocket-Protocol", "LOGS.v1")), "subprotocol 'LOGS.v1'"),
        (answer(*ANSWER, ("Sec-WebSocket-Protocol", "")), "subprotocol ''"),
        (answer(*ANSWER, ("Sec-WebSocket-Protocol", "logs.v1, logs.v2")), "subprotocol 'logs.v1, logs.v2'"),
        (
            answer(*ANSWER, ("Sec-WebSocket-Protocol", "logs.v1"), ("Sec-WebSocket-Protocol", "logs.v1")),
            "Sec-WebSocket-Protocol more than once",
        ),
    ],
)
def test_check_upgrade_refuses(head: AnswerHead, problem: str) -> None:
    with pytest.raises(ConnectError) as caught:
        check_upgrade(head, key=KEY, subprotocols=["logs.v1", "logs.v2"])
    assert problem in str(caught.value)


def test_check_upgrade_shows_hostile_text_escaped_and_short() -> None:
    head = answer(*without(ANSWER, "Upgrade"), ("Upgrade", "\x1b[2J" + "x" * 5000))
    with pytest.raises(ConnectError) as caught:
        check_upgrade(head, key=KEY, subprotocols=())
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 200


# retry_after

NOW = datetime(1994, 11, 6, 8, 49, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 120\t", 120.0),
        ("99999999999", 99999999999.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 30.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 30.0),
        ("Sun Nov  6 08:49:37 1994", 30.0),
        ("Sun, 06 Nov 1994 09:49:37 +0100", 30.0),
        ("Sun, 06 Nov 1994 08:49:00 GMT", 0.0),
    ],
)
def test_retry_after_reads_seconds_and_dates(value: str, seconds: float) -> None:
    assert retry_after(value, now=NOW) == seconds


def test_retry_after_reckons_from_a_present_in_any_zone() -> None:
    now = NOW.astimezone(timezone(timedelta(hours=5)))
    assert retry_after("Sun Nov  6 08:49:37 1994", now=now) == 30.0


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "soon",
        "-1",
        "+1",
        "1.5",
        "1e3",
        "1_000",
        "\u0661",
        "9" * 400,
        "Sun, 06 Nov 1994",
        "Sun, 66 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 99999 08:49:37 GMT",
        "Sun, 06 Nov 99999999999999999999 08:49:37 GMT",
        "1994-11-06T08:49:37Z",
    ],
)
def test_retry_after_does_not_obey_nonsense(value: str | None) -> None:
    assert retry_after(value, now=NOW) is None


date_words = st.lists(
    st.sampled_from(
        ["Sun,", "Sunday,", "06", "Nov", "06-Nov-94", "1994", "0001", "9999", "08:49:37", "GMT", "-2359", "Z"]
    ),
    max_size=7,
).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=40) | date_words)
def test_retry_after_reads_or_ignores_anything(value: str) -> None:
    seconds = retry_after(value, now=NOW)
    assert seconds is None or 0.0 <= seconds < float("inf")


# parse_request


def test_parse_request_reads_a_head() -> None:
    read = parse_request(lines("GET /ws?token=a%20b&empty=&token=c HTTP/1.1", "Host: h", "X-A: 1", "x-a: 2"))
    assert (read.method, read.target, read.path) == ("GET", "/ws?token=a%20b&empty=&token=c", "/ws")
    assert read.query == {"token": "c", "empty": ""}
    assert read.headers.get("host") == "h"
    assert read.headers["X-a"] == "1"
    assert read.headers.values_of("X-A") == ("1", "2")


def test_a_request_without_a_query() -> None:
    read = parse_request(lines("GET /a%2Fb HTTP/1.1"))
    assert (read.path, read.query) == ("/a%2Fb", {})


def test_a_query_is_decoded() -> None:
    assert request().query == {}
    assert parse_request(lines("GET /?q=a%20b+c%C3%A9 HTTP/1.1")).query == {"q": "a b cé"}


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"GET / HTTP/1.1\r\n",
        lines("GET / HTTP/1.0"),
        lines("GET / HTTP/2"),
        lines("GET /"),
        lines("GET  / HTTP/1.1"),
        lines("GET /a b HTTP/1.1"),
        lines("GET /\xe9 HTTP/1.1"),
        lines("G(T / HTTP/1.1"),
        lines("GET /\x00 HTTP/1.1"),
        lines("GET / HTTP/1.1", "X : a"),
        lines("GET / HTTP/1.1", *["X: a"] * (MAX_HEADERS + 1)),
    ],
)
def test_parse_request_refuses(head: bytes) -> None:
    with pytest.raises(ValueError, match=r"bad request line|empty line|control character|invalid name|allowed are"):
        parse_request(head)


def test_headers_are_a_mapping_of_the_first_values() -> None:
    headers = Headers([("A", "1"), ("a", "2"), ("B", "x, ,y")])
    assert dict(headers) == {"a": "1", "b": "x, ,y"}
    assert len(headers) == 2
    assert "A" in headers
    assert "c" not in headers
    assert headers.get("c") is None
    assert headers.tokens_of("b") == ("x", "y")
    assert headers.fields == (("A", "1"), ("a", "2"), ("B", "x, ,y"))
    with pytest.raises(KeyError):
        headers["c"]


# upgrade_answer


def test_upgrade_answer_is_accepted_by_the_client_side() -> None:
    head = upgrade_answer(request(*REQUEST), subprotocol="logs.v1", headers=[("X-Server", "demo")])
    read = parse_answer(head)
    assert check_upgrade(read, key=KEY, subprotocols=["logs.v1"]) is None
    assert read.get("Sec-WebSocket-Protocol") == "logs.v1"
    assert read.get("X-Server") == "demo"


def test_upgrade_answer_without_a_subprotocol_has_none() -> None:
    assert parse_answer(upgrade_answer(request(*REQUEST))).get("Sec-WebSocket-Protocol") is None


def test_upgrade_answer_reads_lists_and_letter_case() -> None:
    fields = without(without(REQUEST, "Upgrade"), "Connection")
    sent = request(*fields, ("upgrade", "h2c, WebSocket"), ("CONNECTION", "keep-alive, Upgrade"))
    assert parse_answer(upgrade_answer(sent)).status == 101


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        (request(*REQUEST, method="POST"), "method must be GET, not 'POST'"),
        (request(*without(REQUEST, "Host")), "Host must be given once"),
        (request(*REQUEST, ("Host", "other")), "Host must be given once"),
        (request(*without(REQUEST, "Upgrade")), "Upgrade must contain 'websocket', not none"),
        (request(*without(REQUEST, "Connection")), "Connection must contain 'upgrade', not none"),
        (request(*without(REQUEST, "Sec-WebSocket-Version")), "Sec-WebSocket-Version must be '13', not none"),
        (
            request(*without(REQUEST, "Sec-WebSocket-Version"), ("Sec-WebSocket-Version", "8")),
            "Sec-WebSocket-Version must be '13', not '8'",
        ),
        (request(*without(REQUEST, "Sec-WebSocket-Key")), "Sec-WebSocket-Key must be given once, 16 bytes in base64"),
        (request(*REQUEST, ("Sec-WebSocket-Key", KEY)), "Sec-WebSocket-Key must be given once"),
    ],
)
def test_upgrade_answer_refuses(sent: Request, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        upgrade_answer(sent)


@pytest.mark.parametrize(
    "key", ["", "short", "not base64 at all!!!!!!!", base64.b64encode(bytes(15)).decode(), KEY + KEY, "\xe9" * 24]
)
def test_upgrade_answer_refuses_a_key_that_is_not_16_bytes(key: str) -> None:
    sent = request(*without(REQUEST, "Sec-WebSocket-Key"), ("Sec-WebSocket-Key", key))
    with pytest.raises(ValueError, match="Sec-WebSocket-Key must be given once, 16 bytes in base64"):
        upgrade_answer(sent)


@pytest.mark.parametrize(
    ("name", "value"), [("X\r\n", "a"), ("", "a"), ("X", "a\r\nSet-Cookie: b"), ("X", "a\nb"), ("X", "€")]
)
def test_nothing_is_written_that_would_break_the_head(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"invalid header name|control character in header|latin-1"):
        upgrade_answer(request(*REQUEST), headers=[(name, value)])
    with pytest.raises(ValueError, match=r"invalid header name|control character in header|latin-1"):
        http_answer(200, headers=[(name, value)])


# http_answer


def test_http_answer_is_a_whole_answer() -> None:
    whole = http_answer(503, headers=[("Retry-After", "5")], body=b"later")
    assert whole == (
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlater"
    )


def test_http_answer_with_a_reason_of_its_own() -> None:
    assert http_answer(404, reason="Nope").startswith(b"HTTP/1.1 404 Nope\r\n")
    assert http_answer(599).startswith(b"HTTP/1.1 599 \r\n")


@pytest.mark.parametrize("status", [101, 204, 304])
def test_http_answer_without_a_body_has_no_length(status: int) -> None:
    assert parse_answer(http_answer(status)).get("Content-Length") is None
    with pytest.raises(ValueError, match=f"an answer with status {status} has no body"):
        http_answer(status, body=b"x")


def test_http_answer_leaves_given_headers_alone() -> None:
    whole = http_answer(200, headers=[("content-length", "99"), ("connection", "keep-alive")], body=b"x")
    assert whole == b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\nconnection: keep-alive\r\n\r\nx"


@pytest.mark.parametrize("status", [99, 600])
def test_http_answer_refuses_a_status_out_of_range(status: int) -> None:
    with pytest.raises(ValueError, match=f"status must be from 100 to 599, not {status}"):
        http_answer(status)


def test_http_answer_refuses_a_reason_that_would_break_the_head() -> None:
    with pytest.raises(ValueError, match="control character in the reason"):
        http_answer(200, reason="OK\r\nX: y")
