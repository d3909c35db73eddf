from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_client.demo import FollowedFile, FollowedInput, follow
from realtime_client.demo.follow import MAX_LINE_BYTES, LineSource, LineSplitter
from tests.demo.conftest import open_descriptors


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def ended(source: LineSource) -> bool:
    return source.ended


def texts(source: LineSource) -> list[str]:
    """Everything that is there now."""
    found: list[str] = []
    while lines := source.read():
        found += [line.text for line in lines]
    return found


def test_a_file_is_read_from_its_start_and_followed(path: Path) -> None:
    append(path, b"one\ntwo\r\n")
    source = FollowedFile(path)
    assert source.name == "app"
    assert texts(source) == ["one", "two"]
    append(path, b"three\n")
    assert texts(source) == ["three"]
    source.close()


def test_a_file_is_followed_from_its_end(path: Path) -> None:
    append(path, b"old\nunfin")
    source = FollowedFile(path, from_start=False)
    append(path, b"ished\nnew\n")
    assert texts(source) == ["unfinished", "new"]
    source.close()


def test_a_last_line_waits_for_its_newline(path: Path) -> None:
    append(path, b"par")
    source = FollowedFile(path)
    assert texts(source) == []
    append(path, b"tial\nnext")
    assert texts(source) == ["partial"]
    source.close()


def test_a_file_that_appears_later_is_read_from_its_start(path: Path) -> None:
    source = FollowedFile(path, from_start=False)
    assert texts(source) == []
    append(path, b"first\n")
    assert texts(source) == ["first"]
    source.close()


def test_a_renamed_file_is_read_to_its_end_and_then_the_new_one(path: Path) -> None:
    append(path, b"one\n")
    source = FollowedFile(path)
    assert texts(source) == ["one"]
    old = path.rename(path.with_suffix(".1"))
    append(old, b"two\n")
    path.touch()
    assert texts(source) == ["two"]
    append(old, b"three, while the new one is empty\nno newline at the end")
    append(path, b"four\n")
    assert texts(source) == ["three, while the new one is empty", "no newline at the end", "four"]
    append(path, b"five\n")
    assert texts(source) == ["five"]
    source.close()


def test_a_truncated_file_is_read_from_its_start_again(path: Path) -> None:
    append(path, b"one\ntwo\nhalf a li")
    source = FollowedFile(path)
    assert texts(source) == ["one", "two"]
    path.write_bytes(b"new\n")
    assert texts(source) == ["new"]
    source.close()


def test_a_huge_line_is_cut_and_the_next_one_is_whole(path: Path) -> None:
    append(path, b"x" * (5 * MAX_LINE_BYTES))
    source = FollowedFile(path)
    assert texts(source) == []
    append(path, b"x\nnext\n")
    huge, following = texts(source)
    assert huge == "x" * MAX_LINE_BYTES
    assert following == "next"
    source.close()


def test_what_is_not_utf8_is_replaced(path: Path) -> None:
    append(path, b"caf\xe9 \xff\n")
    source = FollowedFile(path)
    assert texts(source) == ["caf\ufffd \ufffd"]
    source.close()


def test_ids_are_the_same_after_a_restart_and_differ_between_equal_lines(path: Path) -> None:
    append(path, b"same\nsame\n")
    first, second, later = FollowedFile(path), FollowedFile(path), FollowedFile(path, from_start=False)
    ids = [line.id for line in first.read()]
    assert ids == [line.id for line in second.read()]
    assert len(set(ids)) == 2
    append(path, b"same\n")
    third = first.read()[0].id
    assert third not in ids
    assert third == later.read()[0].id
    for source in (first, second, later):
        source.close()


def test_equal_lines_of_a_rotated_file_and_the_next_one_differ(path: Path) -> None:
    append(path, b"same\n")
    source = FollowedFile(path)
    first = source.read()[0].id
    path.rename(path.with_suffix(".1"))
    append(path, b"same\n")
    assert source.read() == []  # the end of the old one
    assert source.read()[0].id != first
    source.close()


def test_a_directory_and_a_pipe_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a regular file"):
        FollowedFile(tmp_path)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(ValueError, match="not a regular file"):
        FollowedFile(fifo)


def test_closing_releases_the_descriptor_and_ends(path: Path) -> None:
    append(path, b"one\n")
    before = open_descriptors()
    source = FollowedFile(path)
    assert open_descriptors() == before + 1
    assert not ended(source)
    source.close()
    source.close()
    assert open_descriptors() == before
    assert ended(source)
    assert source.read() == []


def test_an_input_is_read_until_its_end_and_never_blocks(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    source = FollowedInput(reading)
    assert source.read() == []  # nothing is there, and the writer is still there
    os.write(writing, b"one\ntwo")
    assert texts(source) == ["one"]
    assert not ended(source)
    os.close(writing)
    assert texts(source) == ["two"]
    assert ended(source)


def test_a_dash_is_standard_input(pipe: tuple[int, int], path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with os.fdopen(os.dup(pipe[0])) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        os.write(pipe[1], b"one\n")
        source = follow("-")
        assert texts(source) == ["one"]
        assert source.name == "stdin"
    append(path, b"old\n")
    with closing(follow(path, from_start=False)) as file:
        append(path, b"new\n")
        assert texts(file) == ["new"]
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ValueError, match="no standard input"):
        follow("-")


def test_a_closed_input_is_not_read(pipe: tuple[int, int]) -> None:
    source = FollowedInput(pipe[0])
    os.write(pipe[1], b"one\n")
    source.close()
    assert ended(source)
    assert source.read() == []
    assert os.read(pipe[0], 10) == b"one\n"


@given(st.lists(st.sampled_from([b"a", b"bb\n", b"\n", b"c\nd", b"\xff"])), st.integers(0, 9))
def test_lines_do_not_depend_on_how_the_bytes_are_cut(parts: list[bytes], offset: int) -> None:
    whole, cut = LineSplitter(offset), LineSplitter(offset)
    data = b"".join(parts)
    found = [line for part in parts for line in cut.feed(part)] + cut.finish()
    assert found == whole.feed(data) + whole.finish()
    for start, line in found:
        assert data[start - offset : start - offset + len(line)] == line


def test_history_is_what_was_there_and_how_much_of_it_was_read(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_text("one\ntwo\n")
    source = FollowedFile(path)
    assert source.history == (0, 8)
    with path.open("a") as file:
        file.write("three\n")
    source.read()
    assert source.history == (8, 8)
    source.close()


def test_history_from_the_end_is_nothing(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_text("one\ntwo\nunfinished")
    source = FollowedFile(path, from_start=False)
    assert source.history == (0, 10)  # the line that is not finished
    source.close()
    assert FollowedFile(tmp_path / "to come").history == (0, 0)
