"""The check of threads, by itself."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest

from realtime_client import RealtimeClient
from realtime_client.testing import FakeServer, MemoryTransport, assert_no_leaked_threads
from tests.client.recording import PATIENCE, Task

Stray: TypeAlias = Callable[..., threading.Thread]
START = threading.Thread.start
SOON = 0.05


@pytest.fixture
def ends() -> Iterator[threading.Event]:
    """Set at the end of a test: what its stray threads wait for."""
    event = threading.Event()
    yield event
    event.set()
    assert threading.Thread.start is START


@pytest.fixture
def stray(ends: threading.Event) -> Iterator[Stray]:
    """Starts threads that run on."""
    started: list[threading.Thread] = []

    def start(name: str = "stray") -> threading.Thread:
        thread = threading.Thread(target=ends.wait, args=(PATIENCE,), name=name, daemon=True)
        started.append(thread)
        thread.start()
        return thread

    yield start
    ends.set()
    for thread in started:
        thread.join(PATIENCE)


def leaks(*, ignore: tuple[str, ...] = ()) -> contextlib.ExitStack:
    """A block that is expected to fail."""
    stack = contextlib.ExitStack()
    stack.enter_context(pytest.raises(AssertionError, match=r"threads that began here still run 0\.05 s after the end"))
    stack.enter_context(assert_no_leaked_threads(timeout=SOON, ignore=ignore))
    return stack


def test_threads_that_end_are_no_leak(ends: threading.Event) -> None:
    with assert_no_leaked_threads():
        with RealtimeClient(link_factory=MemoryTransport()), FakeServer() as server, RealtimeClient(server.url):
            pass
        threading.Thread(target=ends.wait, args=(SOON,)).start()  # it is waited for


def test_a_thread_that_runs_on_is_named(stray: Stray) -> None:
    with pytest.raises(AssertionError) as caught, assert_no_leaked_threads(timeout=SOON):
        stray("left behind")
    said = str(caught.value)
    assert "left behind, started by MainThread:\n" in said
    assert said.rstrip().endswith("thread.start()")
    assert "in test_a_thread_that_runs_on_is_named" in said
    assert "rtc-" not in said


def test_what_was_there_before_is_no_leak_nor_what_it_starts(stray: Stray) -> None:
    stray("before")
    with (
        FakeServer() as server,
        RealtimeClient(server.url, reconnect_delay=0.01) as client,
        assert_no_leaked_threads(timeout=SOON),
    ):
        server.drop()
        server.wait_for_connection(2)
        client.reconnect()
        assert client.is_connected


def test_threads_that_threads_of_the_block_start_count(stray: Stray) -> None:
    with (
        pytest.raises(AssertionError, match="grandchild, started by test-task:"),
        assert_no_leaked_threads(timeout=SOON),
    ):
        Task(lambda: stray("grandchild")).result()


def test_some_threads_may_go_on(stray: Stray) -> None:
    with assert_no_leaked_threads(timeout=SOON, ignore=["pool-", "stray"]):
        stray("pool-1")
        stray()
    with leaks(ignore=("pool-",)):
        stray()
    with pytest.raises(TypeError, match="ignore: 'pool-' is not allowed; allowed: a list"):
        assert_no_leaked_threads(ignore="pool-")


def test_a_block_that_raises_says_so_alone(stray: Stray) -> None:
    with pytest.raises(KeyError), assert_no_leaked_threads(timeout=SOON):
        raise KeyError(stray().name)


def test_blocks_may_be_nested(stray: Stray) -> None:
    with leaks(), leaks():
        stray()
    with leaks():
        stray()
        with assert_no_leaked_threads(timeout=SOON):
            pass


def test_blocks_of_several_threads_are_apart(stray: Stray) -> None:
    inside, leave = threading.Event(), threading.Event()

    def clean() -> None:
        with assert_no_leaked_threads(timeout=SOON):
            inside.set()
            assert leave.wait(PATIENCE)

    with leaks():
        stray()
        other = Task(clean)
        assert inside.wait(PATIENCE)
        stray()
        leave.set()
        other.result()


def test_others_may_watch_as_well(stray: Stray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracing libraries put a start() of their own in the place of the original one, and may do so at any time."""
    seen = []

    def put_on_top() -> None:
        below = threading.Thread.start

        def start(thread: threading.Thread) -> None:
            seen.append(thread.name)
            below(thread)

        monkeypatch.setattr(threading.Thread, "start", start)

    with leaks():
        put_on_top()
        stray("one")
    with leaks():
        stray("two")
    monkeypatch.undo()
    assert seen == ["one", "two"]
    with assert_no_leaked_threads():  # ours was left below the other; now it is on top, and goes
        pass
    with assert_no_leaked_threads():
        threading.Thread.start = START  # type: ignore[method-assign] # others may also take away what they find
    with leaks():
        stray("three")


def test_a_check_without_a_block_is_told() -> None:
    with pytest.warns(RuntimeWarning, match="checks nothing but a with block") as told:
        assert_no_leaked_threads()
    assert told[0].filename == __file__


@pytest.mark.parametrize("wrong", [{"time_out": 5.0}, {"ignore": "rtc-"}])
def test_wrong_arguments_are_all_that_is_told(wrong: dict[str, Any]) -> None:
    # That nothing of __del__ is reported besides is seen by pytest, which makes an error of it.
    with pytest.raises(TypeError):
        assert_no_leaked_threads(**wrong)
    gc.collect()
