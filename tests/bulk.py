"""How much of a bulk is enough: tests that do one thing over and over do it less often in every run than they can.

``REALTIME_FULL=1`` lets them do it as often as they are meant to in the long run: hundreds of reconnections of each
kind, twenty relays killed, recordings of 100,000 events.
"""

from __future__ import annotations

import os

__all__ = ["bulk"]

FULL = os.environ.get("REALTIME_FULL", "0") != "0"


def bulk(usual: int, full: int) -> int:
    """How often: ``usual`` in every run, ``full`` where that is asked for."""
    return full if FULL else usual
