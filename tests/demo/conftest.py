"""Every test of this package leaves no thread of the feed behind."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest


def open_descriptors() -> int:
    """How many descriptors this process holds."""
    return len(os.listdir("/dev/fd"))


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("feed-")]
    assert left == []
