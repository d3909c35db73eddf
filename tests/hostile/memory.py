"""How much memory this process takes, and took at most."""

from __future__ import annotations

import contextlib
import re
import resource
import sys
from pathlib import Path

__all__ = ["forget_peak", "limit_memory", "peak", "present"]

PROC = Path("/proc/self")


def present() -> int:
    """Bytes resident now; where the system does not tell, the most so far."""
    return _status("VmRSS")


def peak() -> int:
    """The most bytes that were ever resident, or were since `forget_peak`."""
    return _status("VmHWM")


def forget_peak() -> None:
    """Begin anew with the peak, where the system can; elsewhere it stays, and is too high rather than too low."""
    with contextlib.suppress(OSError):
        (PROC / "clear_refs").write_text("5")


def limit_memory(size: int) -> None:
    """Let allocations beyond so many bytes fail."""
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


def _status(field: str) -> int:
    # Not getrusage's ru_maxrss alone: on Linux a process inherits that from the one that started it.
    try:
        found = re.search(rf"{field}:\s+(\d+) kB", (PROC / "status").read_text())
    except OSError:
        found = None
    if found:
        return int(found.group(1)) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
