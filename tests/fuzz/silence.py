"""The proof that no thread of a client met with an exception that nobody expected."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

__all__ = ["no_errors_logged"]


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(self.format(record))


@contextlib.contextmanager
def no_errors_logged() -> Iterator[None]:
    """Nothing is logged as an error: there are no unexpected exceptions on the client's threads."""
    errors = _Errors()
    logger = logging.getLogger("realtime_client")
    logger.addHandler(errors)
    try:
        yield
    finally:
        logger.removeHandler(errors)
    assert not errors.seen, errors.seen[0]
