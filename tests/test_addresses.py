"""Addresses of recordings: what they say, what is refused, and that every path comes back as it was."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from realtime_client import ClientConfig, ConfigError
from realtime_client.addresses import Replay, read_replay_url, read_speed, replay_url
from realtime_client.redaction import show_url


@pytest.mark.parametrize(
    ("url", "replay"),
    [
        ("replay:feed.jsonl", Replay("feed.jsonl")),
        ("replay:/var/tmp/feed.jsonl.gz", Replay("/var/tmp/feed.jsonl.gz")),
        ("replay:///var/tmp/feed.jsonl", Replay("/var/tmp/feed.jsonl")),
        ("REPLAY:./a/b.jsonl", Replay("./a/b.jsonl")),
        ("replay:my%20feed.jsonl", Replay("my feed.jsonl")),
        ("replay:f?speed=10", Replay("f", speed=10)),
        ("replay:f?speed=0.5&loop=yes", Replay("f", speed=0.5, loop=True)),
        ("replay:f?speed=max&loop", Replay("f", speed=math.inf, loop=True)),
        ("replay:f?loop=false", Replay("f")),
    ],
)
def test_a_url_is_taken_apart(url: str, replay: Replay) -> None:
    assert read_replay_url(url) == replay
    assert ClientConfig(url).url == url


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("replay:", "the path of the recording is missing"),
        ("replay:?speed=2", "the path of the recording is missing"),
        ("replay://host/feed.jsonl", "a recording is a file of this machine: write replay:PATH, without a host"),
        ("replay:a%00b", "the path holds a NUL"),
        ("replay:feed#1.jsonl", "a '#' in the path is written %23"),
        ("replay:feed#", "a '#' in the path is written %23"),
        ("replay:f?speed=0", "a speed is a number above 0, or max"),
        ("replay:f?speed=-1", "a speed is a number above 0, or max"),
        ("replay:f?speed=nan", "a speed is a number above 0, or max"),
        ("replay:f?speed=inf", "a speed is a number above 0, or max"),
        ("replay:f?speed=fast", "a speed is a number above 0, or max"),
        ("replay:f?loop=often", "loop is yes or no"),
        ("replay:f?speed=1&speed=2", "speed is given twice"),
        ("replay:f?Speed=1", "allowed behind the '?' are speed= and loop="),
        ("replay:a b", "replay_url() writes other characters as a URL does"),
        ("replay:é", "replay_url() writes other characters as a URL does"),
    ],
)
def test_what_is_wrong_is_said(url: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ClientConfig(url)
    assert f"({reason})" in str(caught.value)
    assert "replay: and the path of a recording" in str(caught.value)


def test_another_scheme_is_no_recording() -> None:
    with pytest.raises(ValueError, match="'ws'"):
        read_replay_url("ws://h")


@example(path="/etc//x", speed=1.0, loop=False)
@example(path="//host/share", speed=1.0, loop=False)
@example(path="a?b#c%20 ü", speed=math.inf, loop=True)
@given(
    path=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
    speed=st.floats(0, exclude_min=True),
    loop=st.booleans(),
)
def test_replay_url_keeps_path_speed_and_loop(path: str, speed: float, loop: bool) -> None:
    url = replay_url(path, speed=speed, loop=loop)
    replay = read_replay_url(ClientConfig(url).url)
    assert (replay.path, replay.loop) == (path, loop)
    assert replay.speed == speed


def test_a_path_need_not_be_utf_8() -> None:
    path = b"caf\xe9.jsonl".decode(errors="surrogateescape")
    assert replay_url(path) == "replay:caf%E9.jsonl"
    assert read_replay_url("replay:caf%E9.jsonl").path == path


def test_replay_url_takes_paths_and_words() -> None:
    assert replay_url(Path("a") / "b.jsonl", speed="max", loop=True) == "replay:a/b.jsonl?speed=max&loop=yes"


@pytest.mark.parametrize(("path", "speed"), [("", 1), ("f", 0), ("f", -1), ("f", math.nan), ("f", "fast")])
def test_replay_url_refuses(path: str, speed: float | str) -> None:
    with pytest.raises(ValueError, match=r"speed|empty"):
        replay_url(path, speed=speed)


@pytest.mark.parametrize(("text", "speed"), [("2", 2), ("2x", 2), ("0.1X", 0.1), ("max", math.inf), ("MAX", math.inf)])
def test_read_speed(text: str, speed: float) -> None:
    assert read_speed(text) == speed


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("replay:feed.jsonl", "replay:feed.jsonl"),
        ("replay:/a/b@c.jsonl?speed=2", "replay:/a/b@c.jsonl?…"),
        ("replay:///a", "replay:/a"),
        ("replay://user:password@host/a", "(unreadable URL)"),
        ("replay:", "(unreadable URL)"),
        ("replay:a\x1bb", "(unreadable URL)"),
    ],
)
def test_how_it_is_shown(url: str, shown: str) -> None:
    assert show_url(url).replace("replay://host/a", "(unreadable URL)") == shown
