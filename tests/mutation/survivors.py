"""Mutants that no test can kill, or that none should, and why."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["WHY"]

SPEED = "the message is then read in a slower way, to the same effect"
WORDS = "words for the documentation, whose own tests read them"
FAR = "a bound far from everything real"
WHY: Mapping[tuple[str, str, str], str] = {
    ("_core/backoff.py", "", "`1000000.0` becomes `1000001.0`"): FAR,
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
    ("_core/codec.py", "_weight", "`0.0` becomes `1.0`"): "every message has one text that is no key: its type's",
    ("_core/frames.py", "FrameReader.__init__", "without `self._mask = b''`"): "each frame sets it before it is read",
    ("_core/frames.py", "FrameReader._judge_frame", "`0` becomes `1`"): "that bit is none of the reserved ones",
    ("_core/frames.py", "FrameReader._read_texts", "`2` becomes `3`"): SPEED,
    ("_core/machine.py", "Action", "`'end'` becomes `'XXendXX'`"): WORDS,
    ("_core/recording.py", "", "`1024` becomes `1025`"): FAR,
    ("_core/relay_stream.py", "Place", "`0` becomes `1`"): "fencing numbers begin with 1",
    ("_core/retry.py", "", "`'retry'` becomes `'XXretryXX'`"): WORDS,
    ("_core/retry.py", "", "`'fatal'` becomes `'XXfatalXX'`"): WORDS,
    ("_core/structure.py", "", "without `complex`"): "cattrs reads none either",
    ("store.py", "DashboardStore._put_in_order", "without `self._in_order = True`"): "sorted anew each time, alike",
}
"""By file, place and change, as the command shows them."""
