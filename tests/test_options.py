"""The rules of single options: normal form, text, what is allowed in words, and what may be shown."""

from __future__ import annotations

import math
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_client.events import FrozenMapping
from realtime_client.options import (
    Choice,
    Flag,
    Header,
    Number,
    Object,
    Refused,
    Rule,
    Text,
    Token,
    Tokens,
    Url,
    Whole,
)

RULES: list[Rule] = [
    Choice(("a", "b")),
    Flag(),
    Header(),
    Number(),
    Object("__call__", "a callable or None"),
    Text(),
    Token(),
    Tokens(),
    Url(("ws",)),
    Whole(),
]


def kind(rule: Rule) -> str:
    return type(rule).__name__


# All rules


@pytest.mark.parametrize("rule", RULES, ids=kind)
@settings(deadline=None)
@given(value=st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.lists(st.text()))
def test_a_rule_accepts_or_refuses_and_nothing_else(rule: Rule, value: Any) -> None:
    try:
        normal = rule.accept(value)
    except ValueError:
        return
    assert rule.accept(normal) == normal, "the normal form is allowed"


@pytest.mark.parametrize("rule", RULES, ids=kind)
@settings(deadline=None)
@given(text=st.text())
def test_a_text_is_read_or_refused_and_nothing_else(rule: Rule, text: str) -> None:
    try:
        rule.parse(text)
    except ValueError:
        return


@pytest.mark.parametrize("rule", RULES, ids=kind)
def test_whatever_is_shown_is_short(rule: Rule) -> None:
    values: list[Any] = [None, 1, "text", b"bytes", 10**5000, "x" * 10_000, "ws://h/" + "x" * 10_000, {"a": 1}]
    assert max(len(rule.show(value)) for value in values) <= 120


@pytest.mark.parametrize("rule", RULES, ids=kind)
def test_every_rule_says_what_is_allowed(rule: Rule) -> None:
    assert rule.allowed
    assert rule.allowed == rule.allowed.strip()


# Text


def test_text() -> None:
    assert Text().accept("Zähler") == "Zähler"
    assert Text().allowed == "text that is not empty, without control characters"
    for value in ("", "a\n", "\x1b[2J", "\u202e", None, 1):
        with pytest.raises(Refused):
            Text().accept(value)


def test_optional_text() -> None:
    assert Text(optional=True).accept(None) is None
    assert Text(optional=True).allowed.endswith(" or None")


# Secrets


@pytest.mark.parametrize("rule", [Token(), Header(), Object("__call__", "a callable or None")], ids=kind)
def test_a_secret_is_shown_by_its_type(rule: Rule) -> None:
    assert rule.show(None) == "None"
    assert rule.show("hunter2") == "(a str, hidden)"
    assert rule.show({"X": "hunter2"}) == "(a dict, hidden)"


def test_token() -> None:
    assert Token().accept("a.b-c~ d") == "a.b-c~ d"
    assert Token().accept(str) is str
    for value in ("", "a\nb", "ü", b"t"):
        with pytest.raises(Refused):
            Token().accept(value)


# Headers


def test_headers() -> None:
    headers = Header().accept({"X-A": "1", "!#$%&'*+-.^_`|~9": ""})
    assert headers == {"X-A": "1", "!#$%&'*+-.^_`|~9": ""}
    assert isinstance(headers, FrozenMapping)
    assert Header().accept(None) is None


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"X Y": "1"}, "a header's name is not a token"),
        ({"Ü": "1"}, "a header's name is not a token"),
        ({"HOST": "h"}, "the header HOST is set by the handshake"),
        ({"sec-websocket-protocol": "p"}, "the header sec-websocket-protocol is set by the handshake"),
        ({"X": "a\nb"}, "the value of the header X is not one line of Latin-1 text"),
        ({"X": "\x00"}, "the value of the header X is not one line of Latin-1 text"),
        ({"X": "\u0100"}, "the value of the header X is not one line of Latin-1 text"),
        ({"X": b"1"}, "the value of the header X is not one line of Latin-1 text"),
    ],
)
def test_headers_that_are_refused(headers: Any, reason: str) -> None:
    with pytest.raises(Refused) as caught:
        Header().accept(headers)
    assert str(caught.value) == reason


@settings(deadline=None)
@given(st.dictionaries(st.text(), st.text()))
def test_no_header_can_break_out_of_its_line(headers: dict[str, str]) -> None:
    try:
        accepted = Header().accept(headers)
    except Refused:
        return
    for name, value in accepted.items():
        line = f"{name}: {value}".encode("latin-1")
        assert not set(line) & set(b"\r\n\0")
        assert name.isascii()
        assert ":" not in name


# URLs


WS = Url(("ws", "wss"))


def test_url_keeps_what_came() -> None:
    assert WS.accept("WSS://User:P%20w@H:1/p?q") == "WSS://User:P%20w@H:1/p?q"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("localhost:8080/ws", "the host is missing"),
        ("user:password@h", "the host is missing"),
        ("ws:/h", "the host is missing"),
        ("http://h", "the scheme 'http' is not supported"),
        ("git+ssh://h", "the scheme 'git+ssh' is not supported"),
        ("ws://h:0", "the port is 0"),
        ("ws://h/#top", "a fragment ('#...') is not allowed (RFC 6455 section 3)"),
    ],
)
def test_url_says_why(url: str, reason: str) -> None:
    with pytest.raises(Refused) as caught:
        WS.accept(url)
    assert str(caught.value) == reason


def test_url_words() -> None:
    rule = Url(("http",), optional=True, words=("direct",))
    assert rule.allowed == "a URL with http and a host or 'direct' or None"
    assert rule.accept("direct") == "direct"
    assert rule.accept(None) is None
    assert (rule.show("direct"), rule.show(None)) == ("'direct'", "None")
    with pytest.raises(Refused):
        WS.accept("direct")


def test_url_of_another_library_is_refused_and_hidden() -> None:
    url = urlsplit("ws://user:hunter2@h")
    with pytest.raises(Refused):
        WS.accept(url)
    assert WS.show(url) == "(a SplitResult, hidden)"


# Numbers


def test_number_allowed_in_words() -> None:
    assert Number().allowed == "a finite number of seconds at least 0"
    assert Number(above=True).allowed == "a finite number of seconds greater than 0"
    assert Number(low=1, high=2, unit="").allowed == "a finite number at least 1 and at most 2"
    assert Whole(unit="bytes").allowed == "a whole number of bytes of at least 1"
    assert Whole(low=0, optional=True).allowed == "a whole number of at least 0 or None"


@settings(deadline=None)
@given(st.integers() | st.floats())
def test_number_gives_a_finite_float_in_its_range(value: float) -> None:
    rule = Number(low=0, high=100, above=True)
    if 0 < value <= 100:
        number = rule.accept(value)
        assert type(number) is float
        assert number == value
    else:
        with pytest.raises(Refused):
            rule.accept(value)


@pytest.mark.parametrize("value", [10**400, -(10**400), math.inf, math.nan, True, "1", None, 1j])
def test_number_refuses(value: Any) -> None:
    with pytest.raises(Refused):
        Number().accept(value)


def test_number_reads_decimals() -> None:
    assert Number().parse(" 2.5 ") == 2.5
    with pytest.raises(ValueError, match="could not convert"):
        Number().parse("2,5")


def test_whole_reads_digits_and_none() -> None:
    assert Whole().parse("12") == 12
    assert Whole(optional=True).parse("NONE") is None
    for rule, text in ((Whole(), "none"), (Whole(), "1.0"), (Whole(optional=True), "")):
        with pytest.raises(ValueError, match="invalid literal"):
            rule.parse(text)


# Words


def test_flag_reads_the_usual_words() -> None:
    assert {word: Flag().parse(word) for word in ("1", "true", "Yes", "ON", "0", "FALSE", "no", "off")} == {
        "1": True,
        "true": True,
        "Yes": True,
        "ON": True,
        "0": False,
        "FALSE": False,
        "no": False,
        "off": False,
    }
    with pytest.raises(Refused):
        Flag().parse("y")


def test_choice() -> None:
    rule = Choice(("a", "b"))
    assert rule.allowed == "one of 'a', 'b'"
    assert rule.accept(rule.parse("b")) == "b"
    with pytest.raises(Refused):
        rule.accept("c")


def test_tokens_read_a_list_with_commas() -> None:
    assert Tokens().parse(" a , b,,") == ["a", "b"]
    assert Tokens().accept(["a", "b"]) == ("a", "b")
    assert Tokens().accept(name for name in "ab") == ("a", "b")


def test_object_wants_its_attribute_and_reads_no_text() -> None:
    rule = Object("wrap_socket", "an ssl.SSLContext or None")
    assert rule.accept(None) is None
    with pytest.raises(Refused):
        rule.accept(object())
    with pytest.raises(Refused, match="only be set in Python"):
        rule.parse("x")
