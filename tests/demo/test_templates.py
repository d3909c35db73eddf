from __future__ import annotations

import ipaddress
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_client.demo.templates import TemplateCounts, template_of


@pytest.mark.parametrize(
    ("message", "template"),
    [
        ("took 12 ms", "took <*> ms"),
        ("user 'bob smith' said \"hi 3\"", "user <*> said <*>"),
        ("it's what it's", "it's what it's"),
        ("peer 10.0.0.1:80 and fe80::1", "peer <*> and <*>"),
        ("id deadbeef and 0xFF", "id <*> and <*>"),
        ("req 123e4567-e89b-12d3-a456-426614174000 done", "req <*> done"),
        ("GET /users/17/orders/9", "GET /users/<*>/orders/<*>"),
        ("status installed adduser:all 3.134", "status installed <*> <*>"),
        ("status installed libc6:amd64 2.36-9+deb12u10", "status installed <*> <*>"),
        ("status installed ca-certificates:all 20230311+deb12u1", "status installed <*> <*>"),
        ("configure tar:amd64 1.34 <none>", "configure <*> <*> <none>"),
        ("libc6:amd64-3", "<*>-<*>"),
        ("nothing variable here", "nothing variable here"),
    ],
)
def test_variable_parts_are_masked(message: str, template: str) -> None:
    assert template_of(message) == template


@given(st.text())
def test_no_digit_is_left(message: str) -> None:
    assert not any(character.isdecimal() for character in template_of(message))


WORDS = st.lists(st.from_regex(r"\A[g-z]{1,8}\Z"), max_size=5)
VARIABLES = st.one_of(
    st.integers().map(abs).map(str),
    st.uuids().map(str),
    st.ip_addresses(v=4).map(str),
    st.integers(min_value=2**32).map(hex),
)


@settings(max_examples=200)
@given(WORDS, WORDS, VARIABLES, VARIABLES)
def test_lines_that_differ_in_a_variable_part_have_one_template(
    before: list[str], after: list[str], one: str, other: str
) -> None:
    assert template_of(" ".join([*before, one, *after])) == template_of(" ".join([*before, other, *after]))


def test_every_form_of_address_and_identity_is_one_mask() -> None:
    for variable in (ipaddress.ip_address("2001:db8::8a2e:370:7334"), uuid.UUID(int=7), "1.2.3-4~rc1", "10:00:00.5"):
        assert template_of(f"x {variable} y") == "x <*> y"


def test_kinds_are_counted_for_each_source_apart() -> None:
    counts = TemplateCounts()
    assert counts.add("a", "INFO", "t") == (0, 0)
    assert counts.add("a", "INFO", "u") == (0, 1)
    assert counts.add("a", "INFO", "t") == (1, 2)
    assert counts.add("a", "ERROR", "t") == (0, 3)
    assert counts.add("b", "INFO", "t") == (0, 0)


def test_the_kind_that_was_not_seen_for_longest_is_forgotten() -> None:
    counts = TemplateCounts(limit=2)
    for template in ("old", "kept", "old", "new"):
        counts.add("a", "INFO", template)
    assert len(counts) == 2
    assert counts.add("a", "INFO", "old") == (2, 4)
    assert counts.add("a", "INFO", "kept") == (0, 5)
