"""The test kit: a scripted fake server, a transport without a network, and a clock that a test advances."""

from __future__ import annotations

from realtime_client.testing.clock import FakeClock
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
