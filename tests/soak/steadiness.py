"""What a process has taken: threads, descriptors, memory."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from collections import Counter

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
        held: Bytes that the package's own lines have allocated and not given back.
        lines: The same, by line: bytes and blocks.
    """

    at: float
    threads: dict[str, int]
    descriptors: int
    rss: int
    held: int
    lines: dict[str, tuple[int, int]] = attrs.field(repr=False)

    def shown(self) -> dict[str, object]:
        """As JSON."""
        return attrs.asdict(self, filter=lambda field, _: field.name != "lines")


def take(at: float) -> Sample:
    """Look at this process."""
    gc.collect()
    process = psutil.Process()
    seen = tracemalloc.take_snapshot().filter_traces((OURS, NOT_THE_TEST_KIT)).statistics("lineno")
    return Sample(
        at=round(at, 1),
        threads=threads(),
        descriptors=process.num_fds(),
        rss=process.memory_info().rss,
        held=sum(one.size for one in seen),
        lines={_place(one.traceback[0]): (one.size, one.count) for one in seen},
    )


def _place(frame: tracemalloc.Frame) -> str:
    return f"{frame.filename.partition('/realtime_client/')[2]}:{frame.lineno}"


def threads() -> dict[str, int]:
    """How many threads of each role there are; a reader's or heartbeat's generation is left out."""
    names = (thread.name for thread in threading.enumerate())
    roles = (name.split("-")[2] if name.startswith("rtc-") else "others" for name in names)
    return dict(sorted(Counter(roles).items()))


def growth(before: Sample, after: Sample, top: int = 10) -> list[str]:
    """The lines that hold most more than before."""
    grown = []
    for place, (size, blocks) in after.lines.items():
        size_before, blocks_before = before.lines.get(place, (0, 0))
        grown.append((size - size_before, blocks - blocks_before, place))
    return [f"{size:+} bytes, {blocks:+} blocks: {place}" for size, blocks, place in sorted(grown, reverse=True)[:top]]
