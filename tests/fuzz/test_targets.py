"""The fuzzers' targets without a fuzzer: their seeds, seeded damage to them, and anything at all."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_client._core import recording
from realtime_client._core.codec import Codec
from realtime_client._core.deflate import Inflate
from realtime_client._core.frames import FrameReader, Item
from realtime_client.errors import MalformedMessage
from realtime_client.events import Event
from tests.fuzz import targets
from tests.fuzz.mutation import mutated
from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS

MUTATIONS = 1500

every_target = pytest.mark.parametrize("target", TARGETS)


def test_every_target_has_seeds() -> None:
    assert set(SEEDS) == set(TARGETS)
    assert all(list(seeds()) == list(seeds()) for seeds in SEEDS.values())


@every_target
def test_every_seed_is_judged_well(target: str) -> None:
    judge_all(target, SEEDS[target]())


@every_target
def test_mutated_seeds_are_judged_well(target: str) -> None:
    seeds = list(SEEDS[target]())
    for number in range(MUTATIONS):
        dice = random.Random(f"{target}/{number}")
        data, done = mutated(dice.choice(seeds), dice, times=dice.randint(1, 3))
        try:
            TARGETS[target](data)
        except Exception as error:
            error.add_note(f"number {number}, {done}: {data!r}")
            raise


@every_target
@settings(max_examples=100, deadline=None)
@given(choices=st.binary(min_size=3, max_size=3), data=st.binary(max_size=300))
def test_anything_is_judged_well(target: str, choices: bytes, data: bytes) -> None:
    TARGETS[target](choices + data)


# The oracles notice


def reads_one_item(feed: Callable[[FrameReader, bytes], list[Item]]) -> Callable[[FrameReader, bytes], list[Item]]:
    return lambda reader, data: feed(reader, data)[:1]


def loses_a_byte(inflate: Callable[..., Iterator[bytes]]) -> Callable[..., Iterator[bytes]]:
    return lambda *arguments, **how: (piece[:-1] for piece in inflate(*arguments, **how))


def loses_line_ends(lines: Callable[..., Iterator[bytes]]) -> Callable[..., Iterator[bytes]]:
    return lambda *arguments: (line.rstrip(b"\n") for line in lines(*arguments))


def unpacks_half(unpacked: Callable[..., Iterator[bytes]]) -> Callable[..., Iterator[bytes]]:
    return lambda *arguments: (piece[: len(piece) // 2] for piece in unpacked(*arguments))


def refuses_everything(decode: Callable[..., Event]) -> Callable[..., Event]:
    def refuse(*_: object, **__: object) -> Event:
        raise MalformedMessage("no")

    return refuse


def accepts_everything(check: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *_, **__: None


def fails(_: Callable[..., Any]) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise KeyError("undocumented")

    return fail


@pytest.mark.parametrize(
    ("target", "place", "flaw", "found"),
    [
        ("frames", (FrameReader, "feed"), reads_one_item, AssertionError),
        ("inflate", (Inflate, "inflate"), loses_a_byte, AssertionError),
        ("codec", (Codec, "decode_object"), refuses_everything, AssertionError),
        ("handshake", (targets, "check_upgrade"), accepts_everything, AssertionError),
        ("recordings", (recording, "_lines"), loses_line_ends, AssertionError),
        ("recordings", (recording, "_unpacked"), unpacks_half, AssertionError),
        ("frames", (FrameReader, "_read_control"), fails, KeyError),
        ("inflate", (Inflate, "inflate"), fails, KeyError),
        ("codec", (Codec, "decode_batch"), fails, KeyError),
        ("handshake", (targets, "parse_answer"), fails, KeyError),
        ("recordings", (recording, "parse_timestamp"), fails, KeyError),
    ],
)
def test_a_flaw_is_found(
    target: str, place: tuple[Any, str], flaw: Any, found: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = list(SEEDS[target]())
    monkeypatch.setattr(*place, flaw(getattr(*place)))
    with pytest.raises(found):
        judge_all(target, seeds)


def judge_all(target: str, inputs: Iterable[bytes]) -> None:
    for data in inputs:
        TARGETS[target](data)
