"""The check of locks finds each way to break the law, and none where the client lives its usual life."""

from __future__ import annotations

import linecache
import re
import socket
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trustme

import realtime_client
from realtime_client import observers
from realtime_client._runtime.dispatcher import CallbackLane
from realtime_client.testing import FakeServer, LockCheck, LockViolation, lock_check
from tests.client.conftest import no_proxy_of_the_machine, nothing_is_left, server
from tests.client.recording import PATIENCE, Record, Task, alert, anomaly
from tests.outages.processes import in_child
from tests.serving import serving

__all__ = ["no_proxy_of_the_machine", "nothing_is_left", "server"]

PACKAGE = Path(realtime_client.__file__).parent

PARTS = """
import select, socket, threading, time

class Part:
    def __init__(self):
        self._one = threading.Lock()
        self._other: threading.Lock = threading.Lock()
        self._again = threading.RLock()
        self._changed = threading.Condition(self._one)
        self._news = threading.Condition()

    def nothing_under(self):
        with self._one:
            sorted([3, 1, 2], key=str)
        with self._other:
            pass
        with self._again, self._again:
            pass

    def two(self):
        with self._one, self._other:
            pass

    def two_without_waiting(self):
        with self._one:
            if self._other.acquire(blocking=False):
                self._other.release()

    def one_taken(self):
        with self._one:
            assert not self._one.acquire(blocking=False)

    def the_same_twice(self):
        with self._one:
            assert not self._one.acquire(timeout=0.01)

    def a_lock_and_a_condition(self):
        with self._news, self._other:
            pass

    def user_code(self, callback):
        with self._one:
            callback()

    def user_code_through_a_library(self, callback):
        with self._one:
            sorted([2, 1], key=lambda n: callback() or n)

    def user_code_under_a_condition(self, callback):
        with self._news:
            with self._news:
                self._news.wait(0.001)
                callback()

    def join(self):
        thread = threading.Thread(target=int)
        thread.start()
        with self._one:
            thread.join(5)

    def sleep(self):
        with self._one:
            time.sleep(0)

    def poll(self):
        with self._one:
            select.poll().poll(0)

    def send(self, sock):
        with self._one:
            sock.send(b"x")

    def shut_down(self, sock):
        with self._one:
            sock.shutdown(socket.SHUT_RDWR)

    def wait(self):
        with self._changed:
            self._changed.wait(0.001)
            self._changed.notify_all()
        with self._other:
            pass

    def released_by_another_thread(self):
        self._one.acquire()
        threading.Thread(target=self._one.release).start()
        while self._one.locked():
            pass
        with self._other:
            pass
"""


def new_part(module: str = "realtime_client.part") -> Any:
    """An object of a class that is, as far as anybody can see, one of the package's."""
    file = str(PACKAGE / "part.py")
    source = textwrap.dedent(PARTS)
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    space: dict[str, Any] = {"__name__": module}
    exec(compile(source, file, "exec"), space)
    return space["Part"]()


def rules(check: LockCheck) -> list[str]:
    """What was noted; forgotten afterwards."""
    noted = [violation.rule for violation in check.violations]
    if noted:
        with pytest.raises(AssertionError):
            check.verify()
    assert check.violations == ()
    return noted


def mine() -> None:
    """Code that is neither the client's nor a library's."""


@pytest.mark.parametrize(
    ("act", "found"),
    [
        (lambda part: part.two(), "takes realtime_client.part:_other"),
        (lambda part: part.two_without_waiting(), "takes realtime_client.part:_other"),
        (lambda part: part.the_same_twice(), "takes it again"),
        (lambda part: part.a_lock_and_a_condition(), "takes realtime_client.part:_other"),
        (lambda part: part.user_code(mine), "calls mine()"),
        (lambda part: part.user_code_through_a_library(mine), "calls mine()"),
        (lambda part: part.user_code_under_a_condition(mine), "calls mine()"),
        (lambda part: part.join(), "joins a thread"),
        (lambda part: part.sleep(), "calls sleep()"),
        (lambda part: part.poll(), "calls poll.poll()"),
    ],
)
def test_a_breach_is_found(act: Callable[[Any], None], found: str) -> None:
    with LockCheck() as check:
        act(new_part())
        assert rules(check)[0] == found
        act(new_part())
        assert rules(check)[0] == found  # also the second time, after verify()


def test_what_goes_to_a_socket_under_a_lock_is_a_breach(server: FakeServer) -> None:
    with LockCheck() as check, socket.create_connection(("127.0.0.1", server.port)) as sock:
        new_part().send(sock)
        assert rules(check) == ["calls socket.send()"]
        new_part().shut_down(sock)  # does not wait
        assert rules(check) == []


@pytest.mark.parametrize(
    "act",
    [
        lambda part: part.nothing_under(),
        lambda part: part.one_taken(),
        lambda part: part.wait(),
        lambda part: part.released_by_another_thread(),
    ],
    ids=["one at a time", "tried in vain", "a condition", "released by another thread"],
)
def test_what_is_no_breach_is_not_found(act: Callable[[Any], None]) -> None:
    with LockCheck() as check:
        act(new_part())
        assert rules(check) == []
        assert sys.getprofile() is None


def test_a_violation_tells_who_did_what_and_both_stacks() -> None:
    with LockCheck() as check:
        Task(lambda: new_part().user_code(mine)).result()
        (violation,) = check.violations
        assert isinstance(violation, LockViolation)
        assert violation.thread == "test-task"
        assert violation.held == ("realtime_client.part:_one",)
        assert violation.held_since.rstrip().endswith("with self._one:")
        assert "in user_code\n    callback()" in violation.stack
        assert violation.stack.rstrip().endswith("def mine() -> None:")
        with pytest.raises(AssertionError, match=re.escape(str(violation))):
            check.verify()


def test_the_end_of_the_block_raises_what_was_noted() -> None:
    with pytest.raises(AssertionError, match=r"takes realtime_client\.part:_other while it held"), LockCheck():
        new_part().two()


def test_an_error_in_the_block_goes_first() -> None:
    def fails() -> None:
        with LockCheck():
            new_part().two()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()


def test_the_same_place_is_noted_once() -> None:
    with LockCheck() as check:
        part = new_part()
        for _ in range(100):
            part.two()
        assert len(rules(check)) == 1


def test_only_the_locks_of_the_package_are_watched() -> None:
    with LockCheck() as check:
        for module in ("elsewhere", "realtime_clients.part", "realtime_client.testing.part"):
            part = new_part(module)
            part.two()
            part.user_code(mine)
        threading.Event().set()
        assert rules(check) == []
        assert check.locks == frozenset()


def test_a_lock_that_a_test_takes_by_itself_is_the_tests_business() -> None:
    with LockCheck() as check:
        part = new_part()
        with part._one, part._other:
            mine()
        assert rules(check) == []


def test_all_is_as_before_after_the_block() -> None:
    lock, reentrant = threading.Lock, threading.RLock
    with LockCheck() as outer:
        part = new_part()
        with LockCheck() as inner:
            new_part().two()
            part.two()  # not watched by the inner one, and the outer one rests
            assert len(rules(inner)) == 1
        part.two()
        assert len(rules(outer)) == 1
    assert (threading.Lock, threading.RLock) == (lock, reentrant)
    part.two()
    part.user_code(mine)
    part.wait()
    assert sys.getprofile() is None
    assert outer.violations == ()


def test_a_profiler_is_left_alone_where_nothing_is_watched() -> None:
    seen: list[str] = []

    def profiler(frame: Any, event: str, argument: Any) -> None:
        seen.append(event)

    with LockCheck():
        part = new_part()
    sys.setprofile(profiler)
    try:
        part.two()
        assert sys.getprofile() is profiler
    finally:
        sys.setprofile(None)


# The client itself


EXPECTED = {
    "_runtime.counters:_lock",
    "_runtime.engine:_lock",
    "_runtime.hub:_lock",
    "_runtime.mailbox:_lock",
    "observers:_lock",
    "store:_lock",
    "transports.dialing:_closing",
    "transports.polling:_lock",
    "transports.streams:_io_lock",
    "transports.streams:_write_lock",
}


def test_the_client_keeps_the_law_in_all_that_it_does() -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    with (
        authority.cert_pem.tempfile() as trust,
        LockCheck() as check,
        FakeServer(ssl_context=serving(certificate), poll_answer={"logs": []}) as server,
        realtime_client.RealtimeClient(server.url, ca_file=trust, polling_url=server.poll_url) as client,
    ):
        main, own, gaps = Record(), Record(), Record()
        client.on("system_alert", main)
        client.on("system_alert", own, own_thread=True)
        client.on_gap(gaps)
        client.store.subscribe("alerts", lambda previous, current: None)
        for turn in range(5):
            server.send(alert(f"{turn}"))
            server.send(anomaly(turn))
            client.send({"type": "hello"})
            own.wait_for(turn + 1)
        client.store.wait_for(lambda seen: len(seen.recent_logs) == 5, PATIENCE)
        client.refresh(PATIENCE)
        client.reconnect(PATIENCE)
        gaps.wait_for(1)
        server.drop()
        gaps.wait_for(2)
        assert client.metrics().callback_errors == 0
        assert client.health()
    assert {name.removeprefix("realtime_client.") for name in check.locks} == EXPECTED


def test_a_callback_under_a_lock_of_the_client_is_found(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    right = CallbackLane._deliver
    source = "def deliver(lane, run):\n    with lane.mailbox._lock:\n        right(lane, run)\n"
    space: dict[str, Any] = {"__name__": "realtime_client._runtime.dispatcher", "right": right}
    exec(compile(source, str(PACKAGE / "wrong.py"), "exec"), space)
    monkeypatch.setattr(CallbackLane, "_deliver", space["deliver"])
    done = threading.Event()
    with LockCheck() as check, realtime_client.RealtimeClient(server.url) as client:
        client.on("system_alert", lambda event: done.set())
        server.send(alert("x"))
        assert done.wait(PATIENCE)
        client.close()
        (found,) = [one for one in check.violations if "<lambda>" in one.rule]
        assert found.held == ("realtime_client._runtime.mailbox:_lock",)
        assert found.thread == f"rtc-{client.config.name}-dispatcher"
        assert rules(check)


def test_two_locks_of_the_client_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = observers.ObserverRegistry.add
    source = "def add(registry, *what):\n    with other._lock:\n        right(registry, *what)\n"
    other = SimpleNamespace()
    space: dict[str, Any] = {"__name__": "realtime_client.observers", "right": right, "other": other}
    exec(compile(source, str(PACKAGE / "wrong.py"), "exec"), space)
    monkeypatch.setattr(observers.ObserverRegistry, "add", space["add"])
    with LockCheck() as check:
        other._lock = new_part()._other
        realtime_client.RealtimeClient().on("pong", print)
        assert rules(check) == ["takes realtime_client.observers:_lock"]


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_it_goes_on_in_a_forked_child() -> None:
    with LockCheck() as check:
        part = new_part()

        def child() -> list[str]:
            part.two()
            return rules(check)

        assert in_child(child) == ["takes realtime_client.part:_other"]
        assert check.violations == ()


def test_the_names_of_exceptions_to_the_law_exist() -> None:
    """A lock that was renamed must not lose its exception, nor an exception outlive its lock."""
    for module, attribute in lock_check.SIGNALS | lock_check.IO_LOCKS:
        path = PACKAGE.parent / (module.replace(".", "/") + ".py")
        assert f"self.{attribute} = threading.Lock()" in path.read_text(encoding="utf-8")
