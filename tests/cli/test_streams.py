"""The standard streams, and what becomes of a process that lacks them."""

from __future__ import annotations

import io
import os
import sys

import pytest

from realtime_client.cli.exits import Exit, Failure
from realtime_client.cli.streams import output, reader_has_left, say


def test_say_needs_no_listener(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    say("nobody hears it")
    assert capsys.readouterr().out == ""


def test_say_survives_a_listener_that_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    raw = os.fdopen(writer, "wb", buffering=0)
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, write_through=True))
    say("nobody hears it")
    raw.close()


def test_say_keeps_to_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\nb\x1b[2J")
    assert capsys.readouterr().err == "a\\nb\\x1b[2J\n"


def test_a_process_without_standard_output_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(Failure, match="standard output is closed") as caught:
        output()
    assert caught.value.code is Exit.FAILURE


def test_reader_has_left() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w", encoding="utf-8") as stream:
        assert not reader_has_left(stream)
        os.close(reader)
        assert reader_has_left(stream)
    assert not reader_has_left(io.StringIO())
