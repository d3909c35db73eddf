"""The table of outcomes, made from the one that decides."""

from __future__ import annotations

from realtime_client._core.retry import TABLE

__all__ = ["retry_table"]


def retry_table() -> str:
    """Markdown: each outcome and what is done, in the order in which the rows are tried."""
    rows = (f"| {row.outcome} | {row.answer} |" for row in TABLE)
    return "\n".join(["| outcome | what is done |", "|---|---|", *rows])
