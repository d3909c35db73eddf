"""Mutants that no test can kill, or that none should, and why."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["WHY"]

SPEED = "the message is then read in a slower way, to the same effect"
WORDS = "words for the documentation, whose own tests read them"
ARRIVALS = "of the numbers only their order counts"
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
    ("_core/frames.py", "_unmask", "`1` becomes `2`"): "four bytes more of the repeated mask, which are cut off",
    ("_core/frames.py", "FrameReader._read_texts", "`2` becomes `3`"): SPEED,
    ("_core/machine.py", "Action", "`'end'` becomes `'XXendXX'`"): WORDS,
    ("_core/recording.py", "", "`1024` becomes `1025`"): FAR,
    ("_core/relay_stream.py", "Place", "`0` becomes `1`"): "fencing numbers begin with 1",
    ("_core/relay_stream.py", "", "`b'gap'` becomes `b'XXgapXX'`"): "who writes and who reads it share the name",
    ("_core/retry.py", "_code", "`0` becomes `1`"): "no close has either code",
    ("_core/retry.py", "", "`'retry'` becomes `'XXretryXX'`"): WORDS,
    ("_core/retry.py", "", "`'fatal'` becomes `'XXfatalXX'`"): WORDS,
    ("_core/structure.py", "", "without `complex`"): "cattrs reads none either",
    ("_runtime/mailbox.py", "Mailbox._wake", "`True` becomes `False`"): "what wakes is not looked at",
    ("store.py", "DashboardStore.__init__", "`0` becomes `1`"): "it is only looked at whether it has changed",
    ("store.py", "DashboardStore.apply", "`1` becomes `2`"): ARRIVALS,
    (
        "store.py",
        "DashboardStore.restore",
        "`self._arrivals + 1` becomes `self._arrivals - 1`",
    ): ARRIVALS,
    ("store.py", "DashboardStore._put_in_order", "without `self._in_order = True`"): "sorted anew each time, alike",
}
"""By file, place and change, as the command shows them."""
