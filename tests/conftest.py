"""What holds for the whole suite, and two ways to run it under harder conditions, chosen by the environment.

``REALTIME_LOCK_CHECK=1`` watches every lock that the client makes; a test in which the law of locks is broken fails.
``REALTIME_SWITCH_INTERVAL=1e-6`` lets threads take turns after so many seconds (the interpreter's own choice is 5 ms).

What Hypothesis has found is told together with the line that repeats it (``@reproduce_failure``), also on another
machine; ``--hypothesis-seed`` repeats a whole run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import settings

from realtime_client import handles
from realtime_client.testing import LockCheck

STAND_INS = ("tests/runtime/", "tests/stateful/", "tests/test_store.py", "tests/web/")
"""Tests of single parts, whose own code stands in for the client's other parts: it may be called under a lock."""

settings.register_profile("suite", print_blob=True, deadline=None)  # the tests share the machine
settings.load_profile("suite")  # before any test is imported, and before the profile that the command names

running = pytest.StashKey[ExitStack]()
lock_check = pytest.StashKey[LockCheck]()


def pytest_configure(config: pytest.Config) -> None:
    stack = config.stash[running] = ExitStack()
    if interval := os.environ.get("REALTIME_SWITCH_INTERVAL"):
        stack.callback(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(float(interval))
    if os.environ.get("REALTIME_LOCK_CHECK", "0") != "0":
        config.stash[lock_check] = stack.enter_context(LockCheck())
        handles._register.after_fork()  # the one lock that is made at import is made anew, so that it is watched


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[running].close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    yield
    if (check := item.config.stash.get(lock_check, None)) is not None:
        only_calls = all(found.rule.startswith("calls ") for found in check.violations)
        try:
            check.verify()
        except AssertionError:
            if not (only_calls and item.nodeid.startswith(STAND_INS)):
                raise


def pytest_report_header(config: pytest.Config) -> str:
    watched = "on" if lock_check in config.stash else "off"
    return f"realtime_client: switch interval {sys.getswitchinterval():g} s, lock check {watched}"
