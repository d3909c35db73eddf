"""The table of what default settings promise, made from the list that the tests hold to."""

from __future__ import annotations

from tests.defaults.claims import CLAIMS

__all__ = ["claims_table"]


def claims_table() -> str:
    """Markdown: each promise and the tests that would fail if it were broken."""
    rows = (f"| {claim} | {'<br>'.join(f'`{test}`' for test in tests)} |" for claim, tests in CLAIMS.items())
    return "\n".join(["| what you get | the tests that hold it |", "|---|---|", *rows])
