"""The errors: their tree as it is drawn, their fields, their texts, and that they can be pickled."""

from __future__ import annotations

import builtins
import copy
import pickle
import re
from typing import Any

import attrs
import pytest

import realtime_client
from realtime_client import errors
from realtime_client.errors import (
    AuthenticationError,
    CallbackError,
    ClientClosed,
    ConfigError,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    HandshakeRejected,
    HeartbeatTimeout,
    MalformedMessage,
    MessageTooLarge,
    NotConnected,
    PollError,
    ProtocolError,
    RealtimeError,
    RecordingError,
)


@attrs.frozen
class Example:
    """An error with every field set, the text it has to show, and its fields."""

    error: RealtimeError
    text: str
    fields: dict[str, Any]


EXAMPLES = {
    RealtimeError: Example(RealtimeError("odd"), "odd", {}),
    ConfigError: Example(ConfigError("a: 1", "b: 2"), "a: 1; b: 2", {"problems": ("a: 1", "b: 2")}),
    ConnectError: Example(
        ConnectError("no such host", url="ws://h/", retryable=False),
        "no such host",
        {"url": "ws://h/", "retryable": False},
    ),
    HandshakeRejected: Example(
        HandshakeRejected("busy", status=503, retry_after=7.5, body="later", url="ws://h/", retryable=False),
        "busy",
        {"status": 503, "retry_after": 7.5, "body": "later", "url": "ws://h/", "retryable": False},
    ),
    AuthenticationError: Example(
        AuthenticationError("refused", status=401),
        "refused",
        {"status": 401, "retry_after": None, "body": "", "url": "", "retryable": True},
    ),
    ConnectTimeout: Example(
        ConnectTimeout("too slow", timeout=3.0, url="ws://h/"),
        "too slow",
        {"timeout": 3.0, "url": "ws://h/", "retryable": True},
    ),
    RecordingError: Example(
        RecordingError("not JSON", path="feed.jsonl", line=7, url="replay:feed.jsonl"),
        "not JSON",
        {"path": "feed.jsonl", "line": 7, "url": "replay:feed.jsonl", "retryable": False},
    ),
    ConnectionLost: Example(
        ConnectionLost("closed", code=1012, reason="restart"), "closed", {"code": 1012, "reason": "restart"}
    ),
    HeartbeatTimeout: Example(
        HeartbeatTimeout("silent", silence=40.5), "silent", {"code": 1006, "reason": "", "silence": 40.5}
    ),
    ProtocolError: Example(ProtocolError("masked", code=1002), "masked", {"code": 1002, "reason": ""}),
    MessageTooLarge: Example(
        MessageTooLarge("too large", size=11, limit=10),
        "too large",
        {"code": 1009, "reason": "", "size": 11, "limit": 10},
    ),
    MalformedMessage: Example(
        MalformedMessage("data.log: missing", payload="{}"),
        "data.log: missing",
        {"reason": "data.log: missing", "payload": "{}"},
    ),
    NotConnected: Example(NotConnected("not connected"), "not connected", {}),
    ClientClosed: Example(ClientClosed("the client was closed"), "the client was closed", {}),
    PollError: Example(PollError("busy", status=429, retry_after=3.0), "busy", {"status": 429, "retry_after": 3.0}),
    CallbackError: Example(
        CallbackError("it raised", callback="app.page", argument=(1, 2)),
        "it raised",
        {"callback": "app.page", "argument": (1, 2)},
    ),
}
CLASSES = [getattr(errors, name) for name in errors.__all__]


def drawn() -> dict[str, tuple[str | None, list[str]]]:
    """The tree in the module's docstring: each name with its parent and its builtin bases."""
    tree: dict[str, tuple[str | None, list[str]]] = {}
    ancestors: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.fullmatch(r"    (?P<branch>[│├└─ ]*)(?P<name>[A-Z]\w+)(?: \((?P<bases>[\w, ]+)\))?(?:  .*)?", line)
        if found:
            depth = len(found["branch"]) // 4
            del ancestors[depth:]
            tree[found["name"]] = (ancestors[-1] if ancestors else None, (found["bases"] or "").split(", "))
            ancestors.append(found["name"])
    return tree


def test_the_drawing_has_every_error() -> None:
    assert sorted(drawn()) == sorted(errors.__all__)


@pytest.mark.parametrize("cls", CLASSES)
def test_the_drawing_is_true(cls: type[RealtimeError]) -> None:
    parent, bases = drawn()[cls.__name__]
    first, *others = cls.__bases__
    assert first is (Exception if parent is None else getattr(errors, parent))
    assert others == [getattr(builtins, name) for name in bases if name]


def test_every_error_has_an_example() -> None:
    assert set(EXAMPLES) == set(CLASSES)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_is_public(cls: type[RealtimeError]) -> None:
    assert getattr(realtime_client, cls.__name__) is cls


@pytest.mark.parametrize("cls", CLASSES)
def test_text_and_fields(cls: type[RealtimeError]) -> None:
    example = EXAMPLES[cls]
    assert type(example.error) is cls
    assert str(example.error) == example.text
    assert example.text in repr(example.error)
    assert vars(example.error) == example.fields


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_error_can_be_pickled(cls: type[RealtimeError], protocol: int) -> None:
    example = EXAMPLES[cls]
    again = pickle.loads(pickle.dumps(example.error, protocol))
    assert type(again) is cls
    assert str(again) == example.text
    assert again.args == example.error.args
    assert vars(again) == example.fields


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_can_be_copied(cls: type[RealtimeError]) -> None:
    example = EXAMPLES[cls]
    again = copy.copy(example.error)
    assert again is not example.error
    assert (type(again), str(again), vars(again)) == (cls, example.text, example.fields)


def test_a_note_survives_pickling() -> None:
    error = NotConnected("not connected")
    error.add_note("ask again later")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["ask again later"]


@pytest.mark.parametrize(
    ("builtin", "caught"),
    [
        (ValueError, {ConfigError}),
        (
            ConnectionError,
            {
                ConnectError,
                HandshakeRejected,
                AuthenticationError,
                ConnectTimeout,
                RecordingError,
                ConnectionLost,
                HeartbeatTimeout,
                ProtocolError,
                MessageTooLarge,
            },
        ),
        (TimeoutError, {ConnectTimeout}),
        (RealtimeError, set(CLASSES)),
    ],
)
def test_what_an_except_clause_catches(builtin: type[Exception], caught: set[type[RealtimeError]]) -> None:
    assert {cls for cls in CLASSES if isinstance(EXAMPLES[cls].error, builtin)} == caught


def test_facts_have_defaults_where_there_may_be_none() -> None:
    assert vars(ConnectError("?")) == {"url": "", "retryable": True}
    assert vars(ConnectionLost("?")) == {"code": 1006, "reason": ""}
    assert vars(PollError("?")) == {"status": None, "retry_after": None}
    assert vars(MalformedMessage("?")) == {"reason": "?", "payload": ""}
    assert vars(CallbackError("?", callback="f")) == {"callback": "f", "argument": None}


def test_a_message_is_no_errno() -> None:
    """The network errors are ``OSError`` too, which shows its first two arguments in a way of its own."""
    for error in (ConnectError("no such host"), ConnectTimeout("too slow"), ConnectionLost("closed")):
        assert error.errno is None
        assert not str(error).startswith("[Errno")
