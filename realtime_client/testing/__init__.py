"""The test kit: a scripted server, a transport without a network, a clock that a test advances, a check of locks."""

from __future__ import annotations

from realtime_client.testing.clock import FakeClock
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
