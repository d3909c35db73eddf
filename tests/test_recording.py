"""`Recorder`: the file is a whole recording at every moment, within its bounds, also when a write fails."""

from __future__ import annotations

import gzip
import json
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from realtime_client import RealtimeClient, SystemAlert
from realtime_client._core.recording import RecordedMessage, read_messages
from realtime_client.recording import Recorder, replay_url
from realtime_client.testing import FakeServer, accept, send

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def alert(number: int, text: str = "hot") -> SystemAlert:
    return SystemAlert(f"{text} {number}", "info", received_at=NOW)


LINE = len(json.dumps(alert(0).to_dict(), separators=(",", ":"))) + 1


def messages(path: Path) -> list[str]:
    found = read_messages([path.read_bytes()], unpack=path.suffix == ".gz")
    return [json.loads(m.text)["data"]["message"] for m in found if isinstance(m, RecordedMessage)]


@pytest.fixture(params=["feed.jsonl", "feed.jsonl.gz"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / str(request.param)


def test_what_is_written_is_in_the_file(path: Path) -> None:
    with Recorder(path) as recorder:
        assert all(recorder.write(alert(n)) for n in range(5))
        assert (recorder.events, recorder.size, recorder.full) == (5, 5 * LINE, False)
    assert messages(path) == [f"hot {n}" for n in range(5)]


def test_it_is_what_other_programs_read(path: Path) -> None:
    with Recorder(path) as recorder:
        recorder.write(alert(1))
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    assert json.loads(text) == alert(1).to_dict()


def test_it_is_a_whole_recording_at_every_moment(tmp_path: Path) -> None:
    path = tmp_path / "feed.jsonl"
    with Recorder(path) as recorder:
        assert messages(path) == []
        for n in range(5):
            recorder.write(alert(n))
            assert len(messages(path)) == n + 1
            assert path.stat().st_size == recorder.size


def test_flush_brings_what_is_packed_into_the_file(tmp_path: Path) -> None:
    path = tmp_path / "feed.jsonl.gz"
    with Recorder(path) as recorder:
        recorder.write(alert(1))
        recorder.flush()
        assert messages(path) == ["hot 1"]
        recorder.write(alert(2))
    assert messages(path) == ["hot 1", "hot 2"]


def test_packed_events_wait_a_second_at_most_while_more_come(tmp_path: Path) -> None:
    path = tmp_path / "feed.jsonl.gz"
    with Recorder(path) as recorder:
        recorder.write(alert(1))
        assert messages(path) == []
        recorder._flushed_at -= 1.0
        recorder.write(alert(2))
        assert messages(path) == ["hot 1", "hot 2"]


def test_max_events(path: Path) -> None:
    with Recorder(path, max_events=2) as recorder:
        told = [(recorder.write(alert(n)), recorder.full) for n in (1, 2, 3)]
        assert told == [(True, False), (True, True), (False, True)]
        assert recorder.events == 2
    assert messages(path) == ["hot 1", "hot 2"]


def test_max_bytes_counts_lines_before_packing(path: Path) -> None:
    with Recorder(path, max_bytes=2 * LINE + 5) as recorder:
        assert [recorder.write(alert(n)) for n in range(3)] == [True, True, False]
        assert recorder.full
        assert recorder.size == 2 * LINE
    assert messages(path) == ["hot 0", "hot 1"]


def test_a_file_that_is_there_is_left_alone(path: Path) -> None:
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        Recorder(path)
    assert path.read_bytes() == b"precious"
    with Recorder(path, overwrite=True) as recorder:
        recorder.write(alert(1))
    assert messages(path) == ["hot 1"]


def test_a_file_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Recorder(tmp_path / "none" / "feed.jsonl")


def test_after_close_nothing_is_written(path: Path) -> None:
    recorder = Recorder(path)
    recorder.close()
    recorder.close()
    recorder.flush()
    assert not recorder.write(alert(1))
    assert messages(path) == []


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size: the kernel then writes a piece, and refuses the rest."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [0, 1, LINE - 1, LINE, LINE + 1, 3 * LINE - 1])
def test_a_full_disk_ends_the_recording_and_what_was_before_stands(tmp_path: Path, room: int) -> None:
    path = tmp_path / "feed.jsonl"
    recorder = Recorder(path)
    whole = room // LINE
    with room_for(room):
        for n in range(whole):
            assert recorder.write(alert(n))
        with pytest.raises(OSError, match="File too large"):
            recorder.write(alert(whole))
    assert not recorder.write(alert(whole + 1))  # a line behind a piece of one could not be read
    recorder.close()
    assert recorder.events == whole
    assert path.stat().st_size == room
    assert messages(path) == [f"hot {n}" for n in range((room + 1) // LINE)]  # one may lack nothing but its end


def test_a_full_disk_under_what_is_packed(tmp_path: Path) -> None:
    path = tmp_path / "feed.jsonl.gz"
    recorder = Recorder(path)
    recorder.write(alert(1))
    recorder.flush()
    recorder.write(alert(2))
    with room_for(path.stat().st_size + 3), pytest.raises(OSError, match="File too large"):
        recorder.close()
    recorder.close()
    assert messages(path) == ["hot 1"]
    assert (recorder.events, recorder.size) == (1, LINE)  # it does not claim what it has lost


def test_any_trouble_within_a_write_leaves_a_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is packed behind a piece that is missing could not be unpacked; Ctrl-C may come anywhere."""
    path = tmp_path / "feed.jsonl.gz"
    with Recorder(path) as recorder:
        recorder.write(alert(1))
        recorder.flush()
        missing: dict[bytes, bytes] = {}
        monkeypatch.setattr(recorder, "_deflate", SimpleNamespace(compress=missing.pop))
        with pytest.raises(KeyError):
            recorder.write(alert(2))
        assert not recorder.write(alert(3))
    assert messages(path) == ["hot 1"]


def test_many_threads_write_whole_lines(path: Path) -> None:
    with Recorder(path) as recorder:
        threads = [
            threading.Thread(target=lambda k=k: [recorder.write(alert(n, f"t{k}")) for n in range(200)])
            for k in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert sorted(messages(path)) == sorted(f"t{k} {n}" for k in range(4) for n in range(200))


def test_as_a_callback_it_records_a_live_feed(path: Path) -> None:
    greeting = {"type": "connection_established"}
    with FakeServer(then=[accept(greeting=greeting), send({"type": "new"}), send({"type": "last"})]) as server:
        client = RealtimeClient(server.url)
        seen = client.events()
        with Recorder(path) as recorder:
            client.on("*", recorder.write)
            with client:
                while next(seen).type != "last":
                    pass
                client.on("*", lambda _: None)
                while recorder.events < 3:
                    client.join(timeout=0.01)
    again = RealtimeClient(replay_url(path))
    events = again.events()
    with again:
        assert [event.type for event in events] == ["connection_established", "new", "last"]
