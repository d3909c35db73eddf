"""What a process has taken: threads, descriptors, memory."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import statistics
import threading
import tracemalloc
from collections import Counter
from collections.abc import Collection, Sequence

import attrs
import psutil

OURS = tracemalloc.Filter(inclusive=True, filename_pattern="*/realtime_client/*")
NOT_THE_TEST_KIT = tracemalloc.Filter(inclusive=False, filename_pattern="*/realtime_client/testing/*")


@attrs.frozen
class Sample:
    """The process at one moment, when all is calm.

    Attributes:
        at: Seconds since the beginning.
        threads: The client's threads by role, and all others together.
        descriptors: Open ones.
        rss: Resident memory, bytes.
        in_use: Bytes that Python has allocated and not given back, whoever asked for them.
    """

    at: float
    threads: dict[str, int]
    descriptors: int
    rss: int
    in_use: int


@attrs.frozen
class Holdings:
    """What the package's own lines have allocated and not given back.

    Attributes:
        lines: By line: bytes and blocks.
    """

    lines: dict[str, tuple[int, int]]

    @property
    def size(self) -> int:
        """Of all lines together, bytes."""
        return sum(size for size, _ in self.lines.values())


def take(at: float, strangers: Collection[threading.Thread]) -> Sample:
    """Look at this process, strangers' threads left out.

    The allocator is asked to give back what is free, where that can be asked (glibc): it keeps a pool for each few
    threads, and every one of them goes on growing to the most that it ever needed at once.
    """
    gc.collect()
    _give_back()
    in_use, _ = tracemalloc.get_traced_memory()
    process = psutil.Process()
    return Sample(
        at=round(at, 1),
        threads=threads(strangers),
        descriptors=process.num_fds(),
        rss=process.memory_info().rss,
        in_use=in_use,
    )


def _give_back() -> None:
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def take_stock() -> Holdings:
    """Count what is held. That takes some 13 MiB for a moment, of which a part stays in the allocator's half-used
    pages: resident memory is not to be compared across it.
    """
    gc.collect()
    seen = tracemalloc.take_snapshot().filter_traces((OURS, NOT_THE_TEST_KIT)).statistics("lineno")
    return Holdings({_place(one.traceback[0]): (one.size, one.count) for one in seen})


def drift(at: Sequence[float], sizes: Sequence[int]) -> int:
    """By how many bytes something has grown over this time: a straight line through all of it.

    So a single size that is off by a little decides nothing.
    """
    return round(statistics.linear_regression(at, sizes).slope * (at[-1] - at[0]))


def _place(frame: tracemalloc.Frame) -> str:
    return f"{frame.filename.partition('/realtime_client/')[2]}:{frame.lineno}"


def threads(strangers: Collection[threading.Thread]) -> dict[str, int]:
    """How many threads of each role there are; a reader's or heartbeat's generation is left out."""
    names = (thread.name for thread in threading.enumerate() if thread not in strangers)
    roles = (name.split("-")[2] if name.startswith("rtc-") else "others" for name in names)
    return dict(sorted(Counter(roles).items()))


def growth(before: Holdings, after: Holdings, top: int = 10) -> list[str]:
    """The lines that hold most more than before."""
    grown = []
    for place, (size, blocks) in after.lines.items():
        size_before, blocks_before = before.lines.get(place, (0, 0))
        grown.append((size - size_before, blocks - blocks_before, place))
    return [f"{size:+} bytes, {blocks:+} blocks: {place}" for size, blocks, place in sorted(grown, reverse=True)[:top]]
