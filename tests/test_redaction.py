"""What is shown of a URL."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_client.redaction import show_url

MARK = "hunter2"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("ws://localhost:8080/ws", "ws://localhost:8080/ws"),
        ("WSS://Example.COM", "wss://example.com"),
        ("wss://user:hunter2@example.com/ws", "wss://example.com/ws"),
        ("wss://hunter2@example.com:443", "wss://example.com:443"),
        ("wss://user:p@hunter2:@example.com/", "wss://example.com/"),
        ("wss://example.com/ws?token=hunter2&a=1", "wss://example.com/ws?…"),
        ("wss://example.com?hunter2", "wss://example.com?…"),
        ("wss://example.com/ws#hunter2", "wss://example.com/ws"),
        ("ws://user:hunter2@[::1]:8080/ws", "ws://[::1]:8080/ws"),
        ("http://a.b:3128", "http://a.b:3128"),
        ("redis://:hunter2@localhost:6379/0", "redis://localhost:6379/0"),
        ("ws://example.com/%40a/ü", "ws://example.com/%40a/ü"),
    ],
)
def test_everything_but_the_secrets_is_shown(url: str, shown: str) -> None:
    assert show_url(url) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        MARK,
        f"{MARK}.abc",
        f"{MARK}:abc",
        f"user:{MARK}@example.com",
        f"user:{MARK}@example.com:3128/x",
        f"//user:{MARK}@example.com",
        f"ws:/{MARK}",
        f"ws:///{MARK}",
        f"ws://{MARK}:x",
        f"ws://{MARK}:99999",
        f"ws://[{MARK}",
        f"ws://user:12/{MARK}@example.com",
        f"ws://user:12?{MARK}@example.com",
        f"ws://user:12#{MARK}@example.com",
        f"ws://example.com/\x1b[31m{MARK}",
        f"ws://example.com/\n{MARK}",
    ],
)
def test_what_may_be_a_secret_in_the_wrong_place_is_not_shown(text: str) -> None:
    assert show_url(text) == "(unreadable URL)"


@settings(deadline=None)
@given(before=st.text(max_size=8), after=st.text(max_size=8), port=st.sampled_from(["", ":80"]))
def test_no_user_name_or_password_is_ever_shown(before: str, after: str, port: str) -> None:
    secret = before + MARK + after
    for userinfo in (secret, f"user:{secret}", f"{secret}:password"):
        assert MARK not in show_url(f"wss://{userinfo}@example.com{port}/ws")


@settings(deadline=None)
@given(st.text())
def test_any_text_is_shown_on_one_line_without_control_characters(text: str) -> None:
    for url in (text, f"ws://h/{text}", f"ws://{text}"):
        assert show_url(url).isprintable()
