"""Mutants that no test can kill, or that none should, and why."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["WHY"]

WHY: Mapping[tuple[str, str, str], str] = {
    ("_core/backoff.py", "", "`1000000.0` becomes `1000001.0`"): "a bound far from every real delay",
    (
        "_core/backoff.py",
        "Attempts.next_delay",
        "`delay < decision.at_least` becomes `delay <= decision.at_least`",
    ): "at exactly that time both are allowed",
    (
        "_core/codec.py",
        "_parse",
        "without `raise Mismatch(_TOO_DEEP) from None`",
    ): "a few levels deeper the other parser refuses it",
    ("_core/frames.py", "FrameReader.__init__", "without `self._mask = b''`"): "each frame sets it before it is read",
    ("_core/codec.py", "_weight", "`0.0` becomes `1.0`"): "every message has one text that is no key: its type's",
}
"""By file, place and change, as the command shows them."""
