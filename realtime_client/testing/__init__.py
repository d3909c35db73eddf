"""The test kit: a scripted server, a network in memory, a clock that a test advances, checks of threads and of locks.

It needs no pytest. The fixtures for pytest are in the module ``pytest_realtime_client``, which pytest loads by itself.
"""

from __future__ import annotations

from realtime_client.testing.clock import FakeClock
from realtime_client.testing.leaks import assert_no_leaked_threads
from realtime_client.testing.lock_check import LockCheck, LockViolation
from realtime_client.testing.memory import MemoryLink, MemoryTransport
from realtime_client.testing.script import (
    accept,
    close,
    disconnect,
    drip,
    garbage,
    go_silent,
    redirect,
    refuse,
    repeat,
    reset,
    send,
    send_raw,
    stall,
    wait,
    wait_for_message,
)
from realtime_client.testing.server import Ending, FakeConnection, FakeServer, Gate, Poll, ReceivedFrame

__all__ = [
    "Ending",
    "FakeClock",
    "FakeConnection",
    "FakeServer",
    "Gate",
    "LockCheck",
    "LockViolation",
    "MemoryLink",
    "MemoryTransport",
    "Poll",
    "ReceivedFrame",
    "accept",
    "assert_no_leaked_threads",
    "close",
    "disconnect",
    "drip",
    "garbage",
    "go_silent",
    "redirect",
    "refuse",
    "repeat",
    "reset",
    "send",
    "send_raw",
    "stall",
    "wait",
    "wait_for_message",
]
