"""Hostile answers to the opening handshake."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from realtime_client._core.frames import encode_frame
from realtime_client._core.handshake import MAX_HEAD_BYTES, MAX_HEADERS, accept_key
from tests.hostile.case import (
    SHORT,
    Act,
    Asked,
    Case,
    Expected,
    Speech,
    Step,
    Then,
    event,
    lives,
    lost,
    not_opened,
    rejected,
    too_slow,
    upgrade,
)

FIRST = "HTTP/1.1 101 Switching Protocols"
RFC_ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # the example of RFC 6455 section 1.3
ASKS = {"subprotocols": ["logs.v2", "logs.v1"]}
PLAIN = {"compression": False}
HURRIED = {"connect_timeout": SHORT}


def case(name: str, group: str, speech: Speech, expected: Expected, **fields: Any) -> Case:
    return Case(name=f"handshake: {name}", group=group, speech=speech, expected=expected, **fields)


def answers(*lines: str, **changes: str) -> Speech:
    """The right answer but for the changes, and at once a good message behind it."""
    return lambda asked: [upgrade(asked, *lines, **changes) + event("after")]


def says(*steps: Step) -> Speech:
    """The same to everybody, and then a good message."""
    return lambda asked: [*steps, event("after")]


def plain_answer(first: str, *lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {first}", *lines, f"Content-Length: {len(body)}", "", ""]).encode("latin-1") + body


# The accept key

MISMATCH = not_opened("Sec-WebSocket-Accept does not match")


def accept_keys() -> Iterator[Case]:
    wrong: Mapping[str, Any] = {
        "of nothing": lambda asked: "",
        "of another request": lambda asked: RFC_ACCEPT,
        "in lower case": lambda asked: accept_key(asked.key).lower(),
        "in swapped case": lambda asked: accept_key(asked.key).swapcase(),
        "that echoes the request's": lambda asked: asked.key,
        "without its padding": lambda asked: accept_key(asked.key).rstrip("="),
        "with a byte behind it": lambda asked: accept_key(asked.key) + "A",
        "in quotes": lambda asked: f'"{accept_key(asked.key)}"',
        "given twice in one header": lambda asked: ", ".join([accept_key(asked.key)] * 2),
        "that is not UTF-8": lambda asked: "\xff\xfe" + accept_key(asked.key),
        "of 10,000 bytes": lambda asked: "A" * 10_000,
    }
    for name, make in wrong.items():
        yield case(
            f"an accept key {name}",
            "wrong accept key" if "case" not in name else "accept key in another letter case",
            lambda asked, make=make: [upgrade(asked, Accept=make(asked)) + event("after")],  # type: ignore[misc]
            MISMATCH,
        )
    yield case(
        "no accept key",
        "missing headers",
        answers(without="Sec-WebSocket-Accept"),
        not_opened("sent 0 Sec-WebSocket-Accept headers"),
    )
    for name, second in {"the same": accept_key, "another": lambda key: RFC_ACCEPT}.items():
        yield case(
            f"two accept keys, the second {name}",
            "duplicate headers",
            lambda asked, second=second: [  # type: ignore[misc]
                upgrade(asked, f"Sec-WebSocket-Accept: {second(asked.key)}") + event("after")
            ],
            not_opened("sent 2 Sec-WebSocket-Accept headers"),
        )


# The status line


def status_lines() -> Iterator[Case]:
    bad = {
        "in HTTP/1.0": ("HTTP/1.0 101 Switching Protocols", "101 in HTTP/1.0"),
        "in HTTP/2": ("HTTP/2 101 Switching Protocols", "bad status line"),
        "in HTTP/0.9": ("HTTP/0.9 101 Switching Protocols", "bad status line"),
        "in HTTP/11.1": ("HTTP/11.1 101 Switching Protocols", "bad status line"),
        "in lower case": ("http/1.1 101 Switching Protocols", "bad status line"),
        "with two spaces": ("HTTP/1.1  101 Switching Protocols", "bad status line"),
        "with a tab": ("HTTP/1.1\t101\tSwitching Protocols", "bad status line"),
        "with a space before it": (" HTTP/1.1 101 Switching Protocols", "bad status line"),
        "without a space behind the status": ("HTTP/1.1 101Switching Protocols", "bad status line"),
        "with a letter in the status": ("HTTP/1.1 1O1 Switching Protocols", "bad status line"),
        "with a status of two digits": ("HTTP/1.1 10 Switching Protocols", "bad status line"),
        "with a status of four digits": ("HTTP/1.1 1010 Switching Protocols", "bad status line"),
        "with a padded status": ("HTTP/1.1 0101 Switching Protocols", "bad status line"),
        "with a negative status": ("HTTP/1.1 -101 Switching Protocols", "bad status line"),
        "with a status of another script": ("HTTP/1.1 \xb910\xb9 Switching Protocols", "bad status line"),
        "with status 000": ("HTTP/1.1 000 Nothing", "bad status line"),
        "with status 600": ("HTTP/1.1 600 Beyond", "bad status line"),
        "with status 999": ("HTTP/1.1 999 Beyond", "bad status line"),
        "without a status": ("HTTP/1.1", "bad status line"),
        "of another protocol": ("ICY 101 OK", "bad status line"),
        "that is empty": ("", "bad status line"),
        "with a NUL": ("HTTP/1.1 101 Switching\x00Protocols", "control character in the first line"),
        "with an escape sequence": ("HTTP/1.1 101 \x1b[2J", "control character in the first line"),
        "with a bare line feed": ("HTTP/1.1 101 Switching\nX: y", "control character in the first line"),
        "with a bare carriage return": ("HTTP/1.1 101 Switching\rX: y", "control character in the first line"),
        "that is a request": ("GET /ws HTTP/1.1", "bad status line"),
    }
    for name, (first, words) in bad.items():
        group = "NUL" if "NUL" in name else "status line"
        yield case(f"a status line {name}", group, answers(first=first), not_opened(words))
    fine = {
        "without a reason": "HTTP/1.1 101",
        "with an empty reason": "HTTP/1.1 101 ",
        "with a reason of its own": "HTTP/1.1 101 So Be It",
        "with a reason that is not UTF-8": "HTTP/1.1 101 \xff\xfe",
        "with a reason of 10,000 bytes": "HTTP/1.1 101 " + "x" * 10_000,
    }
    for name, first in fine.items():
        group = "non-UTF-8" if "UTF-8" in name else "status line"
        own = "without" in name or "10,000" in name
        yield case(f"a status line {name}", group, answers(first=first), lives(), own=own)


# What is no HTTP


def other_protocols() -> Iterator[Case]:
    closed = not_opened("ended the connection during the handshake")
    for name, banner in {
        "an SSH server": b"SSH-2.0-OpenSSH_9.6\r\n",
        "an SMTP server": b"220 mail.example ESMTP\r\n",
        "a TLS alert": bytes.fromhex("15030100020246"),
        "a page without a head (HTTP/0.9)": b"<html>hello</html>",
        "a WebSocket frame at once": event("after"),
        "zeros": bytes(10_000),
        "a head without an end": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n",
        "half a status line": b"HTTP/1.1 10",
        "nothing": b"",
    }.items():
        yield case(f"{name}, then the end", "body instead of upgrade", says(banner, Act.FIN), closed)
    yield case(
        "an answer before the question",
        "wrong accept key",
        answers(Accept=RFC_ACCEPT),
        MISMATCH,
        hears=False,
    )
    yield case("a reset at once", "reset in the handshake", says(Act.RST), not_opened("reset"))
    yield case(
        "a reset in the head",
        "reset in the handshake",
        lambda asked: [upgrade(asked)[:60], 0.01, Act.RST],
        not_opened("reset"),
    )
    yield case(
        "the end of the stream right behind the answer",
        "reset in the handshake",
        lambda asked: [upgrade(asked), Act.FIN],
        lost("ended the connection without a close frame"),
    )
    for name, end in {"line feeds": "\n", "carriage returns": "\r"}.items():
        yield case(
            f"lines that end with bare {name}",
            "line ends",
            answers(end=end),
            too_slow(),
            options=HURRIED,
        )


# Headers


def header_fields() -> Iterator[Case]:
    upgrade_due, connection_due = "Upgrade must be one 'websocket'", "Connection must contain 'upgrade'"
    yield case("no Upgrade", "missing headers", answers(without="Upgrade"), not_opened(upgrade_due))
    yield case("no Connection", "missing headers", answers(without="Connection"), not_opened(connection_due))
    yield case("no headers at all", "missing headers", says(f"{FIRST}\r\n\r\n".encode()), not_opened(upgrade_due))
    yield case("Upgrade twice", "duplicate headers", answers("Upgrade: websocket"), not_opened(upgrade_due))
    yield case("Upgrade to h2c", "wrong headers", answers(Upgrade="h2c"), not_opened(upgrade_due))
    yield case("Upgrade to a list", "wrong headers", answers(Upgrade="websocket, h2c"), not_opened(upgrade_due))
    yield case("Upgrade to websocket/13", "wrong headers", answers(Upgrade="websocket/13"), not_opened(upgrade_due))
    yield case("Connection: close", "wrong headers", answers(Connection="close"), not_opened(connection_due))
    yield case("Connection: upgrades", "wrong headers", answers(Connection="upgrades"), not_opened(connection_due))
    for name, line, words in [
        ("a header without a colon", "X-Broken", "has no colon"),
        ("a header without a name", ": value", "invalid name"),
        ("a space before the colon", "X-Broken : value", "invalid name"),
        ("a header's name in brackets", "X(Broken): value", "invalid name"),
        ("a line feed in a value", "X: a\nSet-Cookie: b", "control character"),
        ("a carriage return in a value", "X: a\rb", "control character"),
        ("an escape sequence in a value", "X: \x1b]0;owned\x07", "control character"),
        ("DEL in a value", "X: \x7f", "control character"),
    ]:
        yield case(name, "malformed headers", answers(line), not_opened(words))
    for name, line, words in [
        ("NUL in a value", "X: a\x00b", "control character"),
        ("NUL in a name", "X\x00: a", "invalid name"),
        ("NUL as a line", "\x00", "no colon"),
    ]:
        yield case(name, "NUL", answers(line), not_opened(words))
    for name, line in [
        ("a folded line", "X: a\r\n b"),
        ("a line folded with a tab", "X: a\r\n\tb"),
        ("a folded line that looks like a header", "X: a\r\n Upgrade: websocket"),
        ("the first header folded", " X: a"),
    ]:
        folded_first = line.startswith(" ")
        speech: Speech = answers(line) if not folded_first else answers(first=f"{FIRST}\r\n{line}")
        yield case(name, "folded lines", speech, not_opened("is folded"))
    yield case(
        "the accept key folded",
        "folded lines",
        lambda asked: [upgrade(asked, Accept="\r\n " + accept_key(asked.key)) + event("after")],
        not_opened("is folded"),
    )
    yield case("a name that is not UTF-8", "non-UTF-8", answers("B\xff\xfe: a"), not_opened("invalid name"))
    yield case("a value that is not UTF-8", "non-UTF-8", answers("X: \xff\xfe"), lives())
    for name, changes in {
        "values in other letter cases": {"Upgrade": "WebSocket", "Connection": "UPGRADE"},
        "Connection with more than is due": {"Connection": "keep-alive, Upgrade"},
        "an empty element in Connection": {"Connection": ",, Upgrade ,"},
    }.items():
        yield case(name, "letter case", answers(**changes), lives())
    yield case(
        "names in other letter cases",
        "letter case",
        lambda asked: [
            f"{FIRST}\r\nuPGRADE:websocket\r\nCONNECTION:upgrade\t\r\n"
            f"sec-websocket-accept:   {accept_key(asked.key)}  \r\n\r\n".encode()
            + event("after")
        ],
        lives(),
    )


# Floods


def endless(beginning: bytes, part: bytes, pause: float = 0.0) -> Speech:
    """A beginning, and then the same over and over for ever."""

    def speech(asked: Asked) -> Iterator[Step]:
        yield beginning
        for _ in itertools.count():
            yield part
            if pause:
                yield pause

    return speech


def floods() -> Iterator[Case]:
    first = f"{FIRST}\r\n".encode()
    longer = not_opened(f"longer than {MAX_HEAD_BYTES} bytes")
    room = MAX_HEADERS - 3
    yield case(
        "more headers than are read",
        "header flood",
        answers(*[f"X-{n}: y" for n in range(room + 1)]),
        not_opened("101 headers, allowed are 100"),
        own=True,
    )
    yield case("as many headers as are read", "header flood", answers(*["X: y"] * room), lives(), own=True)
    yield case("10,000 headers", "header flood", answers(*[f"X-{n}: y" for n in range(10_000)]), longer)
    yield case("a header of a megabyte", "header flood", answers("X: " + "y" * 1_000_000), longer)
    yield case(
        "a head one byte too long",
        "header flood",
        lambda asked: [head_of(asked, MAX_HEAD_BYTES + 1), event("after")],
        longer,
        own=True,
    )
    yield case(
        "a head of the greatest length",
        "header flood",
        lambda asked: [head_of(asked, MAX_HEAD_BYTES), event("after")],
        lives(),
        own=True,
    )
    yield case("headers without an end", "endless header", endless(first, b"X: y\r\n" * 1_000), longer)
    yield case("one header without an end", "endless header", endless(first + b"X: ", b"y" * 65_536), longer)
    yield case("a status line without an end", "endless header", endless(b"HTTP/1.1 101 ", b"y" * 65_536), longer)
    yield case("blank lines without an end", "endless header", endless(b"\r\n\n", b"\n" * 65_536), longer)
    yield case(
        "headers that trickle without an end",
        "endless header",
        endless(first, b"X: y\r\n", 0.05),
        too_slow(),
        options=HURRIED,
    )


def head_of(asked: Asked, size: int) -> bytes:
    """A right answer of so many bytes."""
    return upgrade(asked, "X: " + "y" * (size - len(upgrade(asked, "X: "))))


def slow_ones() -> Iterator[Case]:
    def dripping(asked: Asked) -> Iterator[Step]:
        for byte in upgrade(asked):
            yield bytes([byte])
            yield 0.05

    yield case("no answer", "silence", lambda asked: [], too_slow(), options=HURRIED)
    yield case("no answer, and nothing is read", "silence", lambda asked: [Act.DEAF], too_slow(), options=HURRIED)
    yield case("a right answer, dripping", "dripping", dripping, too_slow(), options=HURRIED)
    yield case(
        "a head without its last byte", "silence", lambda asked: [upgrade(asked)[:-1]], too_slow(), options=HURRIED
    )


# Extensions and subprotocols


def extras() -> Iterator[Case]:
    header = "Sec-WebSocket-Extensions: "
    rfc = "not those of RFC 7692"
    for name, value, words in [
        ("another extension", "x-webkit-deflate-frame", "not offered"),
        ("an extension in capitals", "PERMESSAGE-DEFLATE", "not offered"),
        ("two extensions", "permessage-deflate, x-other", "more than one extension"),
        ("a parameter nobody knows", "permessage-deflate; x=1", rfc),
        ("a parameter twice", "permessage-deflate; server_no_context_takeover; server_no_context_takeover", rfc),
        ("a window of 7 bits", "permessage-deflate; server_max_window_bits=7", rfc),
        ("a window of 16 bits", "permessage-deflate; server_max_window_bits=16", rfc),
        ("a window of no bits", "permessage-deflate; server_max_window_bits", rfc),
        ("a window of a billion bits", "permessage-deflate; server_max_window_bits=1000000000", rfc),
        ("a padded window", "permessage-deflate; server_max_window_bits=08", rfc),
        ("a flag with a value", "permessage-deflate; server_no_context_takeover=1", rfc),
    ]:
        yield case(f"compression: {name}", "unasked extension", answers(header + value), not_opened(words))
    yield case(
        "compression that was not offered",
        "unasked extension",
        answers(header + "permessage-deflate"),
        not_opened("none was offered"),
        options=PLAIN,
    )
    yield case(
        "compression agreed in two headers",
        "duplicate headers",
        answers(header + "permessage-deflate", header + "permessage-deflate"),
        not_opened("more than one extension"),
    )
    yield case("compression: an empty list", "unasked extension", answers(header), lives(), own=True)
    yield case(
        "compression with every parameter",
        "unasked extension",
        answers(
            header + "permessage-deflate; server_max_window_bits=9; client_max_window_bits=9; "
            "server_no_context_takeover; client_no_context_takeover"
        ),
        lives(),
        deflates=True,
    )
    chosen = "Sec-WebSocket-Protocol: "
    for name, lines, words, options in [
        ("that nobody asked for", ["chat"], "not asked for", {}),
        ("besides those asked for", ["chat"], "not asked for", ASKS),
        ("in another letter case", ["LOGS.v1"], "not asked for", ASKS),
        ("that is empty", [""], "not asked for", ASKS),
        ("that is a list", ["logs.v1, logs.v2"], "not asked for", ASKS),
        ("twice", ["logs.v1", "logs.v1"], "more than once", ASKS),
    ]:
        yield case(
            f"a subprotocol {name}",
            "unasked subprotocol",
            answers(*[chosen + line for line in lines]),
            not_opened(words),
            options=options,
        )
    yield case("no subprotocol though asked", "unasked subprotocol", answers(), lives(), options=ASKS, own=True)


# Other answers than 101

STOPPING = (300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 407, 410, 426, 451)
PASSING = (200, 201, 204, 408, 421, 425, 429, 500, 501, 502, 503, 504, 599)


def other_answers() -> Iterator[Case]:
    for status in (100, 102, 103):
        yield case(
            f"{status} before 101",
            "1xx before",
            lambda asked, status=status: [f"HTTP/1.1 {status} Wait\r\n\r\n".encode() + upgrade(asked) + event("after")],  # type: ignore[misc]
            rejected(status, then=Then.RECOVERS),
        )
    for status in STOPPING:
        lines = ["Location: http://elsewhere.invalid/ws"] if 300 <= status < 400 else []
        yield case(
            f"{status}",
            f"{status // 100}xx",
            says(plain_answer(f"{status} No", *lines)),
            rejected(status, then=Then.STOPS),
        )
    yield case(
        "a redirect to another host",
        "3xx",
        lambda asked: [plain_answer("302 Found", f"Location: http://localhost:{asked.port}/ws")],
        rejected(302, then=Then.STOPS),
        options={"token": "secret"},
    )
    for status in PASSING:
        yield case(
            f"{status}", f"{status // 100}xx", says(plain_answer(f"{status} No")), rejected(status, then=Then.RECOVERS)
        )
    for name, value, pause in [
        ("of an hour", "3600", 3600.0),
        ("beyond all time", "9" * 30, 86_400.0),
        ("of a date far away", "Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0),
    ]:
        yield case(
            f"503 with a Retry-After {name}",
            "5xx",
            says(plain_answer("503 Busy", f"Retry-After: {value}")),
            rejected(503, then=Then.WAITS, pause=pause),
        )
    for name, value in [
        ("of nonsense", "soon"),
        ("of minus one", "-1"),
        ("of 400 digits", "9" * 400),
        ("1e308", "1e308"),
    ]:
        yield case(
            f"429 with a Retry-After {name}",
            "4xx",
            says(plain_answer("429 Slow Down", f"Retry-After: {value}")),
            rejected(429, then=Then.RECOVERS),
        )


def bodies() -> Iterator[Case]:
    group = "body instead of upgrade"
    page = b"<html>" + b"x" * 60_000
    yield case("200 with a page", group, says(plain_answer("200 OK", body=page)), rejected(200, then=Then.RECOVERS))
    for status, then in ((200, Then.RECOVERS), (404, Then.STOPS), (500, Then.RECOVERS)):
        yield case(
            f"{status} with a body without an end",
            group,
            endless(f"HTTP/1.1 {status} Here\r\n\r\n".encode(), b"x" * 65_536),
            rejected(status, then=then),
        )
    yield case(
        "200 with chunks without an end",
        group,
        endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n"),
        rejected(200, then=Then.RECOVERS),
    )
    yield case(
        "401 with a body that never comes",
        group,
        lambda asked: [b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 1000000000000\r\n\r\n"],
        rejected(401, then=Then.STOPS),
    )
    yield case(
        "404 with a body of escape sequences that is not UTF-8",
        group,
        says(plain_answer("404 No", body=b"\x1b[2J\xff\xfe\x00" * 100)),
        rejected(404, then=Then.STOPS),
    )
    yield case(
        "503 in HTTP/1.0",
        "5xx",
        says(b"HTTP/1.0 503 Busy\r\n\r\n"),
        rejected(503, then=Then.RECOVERS),
    )


def cases() -> Iterable[Case]:
    """The table's part."""
    return [
        *accept_keys(),
        *status_lines(),
        *other_protocols(),
        *header_fields(),
        *floods(),
        *slow_ones(),
        *extras(),
        *other_answers(),
        *bodies(),
        case(
            "good frames in the same segment",
            "early frames",
            lambda asked: [upgrade(asked) + encode_frame(9, b"p") + event("after")],
            lives(),
        ),
    ]
