"""The whole table of hostile inputs."""

from __future__ import annotations

from typing import Final

from tests.hostile import frames, handshake, messages, sizes, tls
from tests.hostile.case import Case

__all__ = ["KINDS", "TABLE"]

KINDS: Final = ("handshake", "frames", "sizes", "json", "tls")

TABLE: Final[tuple[Case, ...]] = tuple(
    case for part in (handshake, frames, sizes, messages, tls) for case in part.cases()
)
