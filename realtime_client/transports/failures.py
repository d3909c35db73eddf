"""Why an attempt to connect failed, in the same classes and words for every transport that dials."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterator

from realtime_client.config import ClientConfig
from realtime_client.errors import ConnectError, ConnectionLost, ConnectTimeout
from realtime_client.redaction import show_url
from realtime_client.transports.errands import Abandoned

__all__ = ["attempt", "located"]


@contextlib.contextmanager
def attempt(
    config: ClientConfig, ended: Callable[[], ConnectionLost | None], *foreign: type[Exception]
) -> Iterator[None]:
    """Make every failure of what is done inside a `ConnectError` that says where to.

    Args:
        config: Where to, and how long it may take.
        ended: The reason for which the attempt was ended from outside, if it was: then that is why it failed.
        foreign: What a library raises besides ``OSError``.

    Raises:
        ConnectError: What was done inside failed.
    """
    failures: tuple[type[Exception], ...] = (ConnectError, Abandoned, OSError, UnicodeError, *foreign)
    try:
        yield
    except failures as error:
        failure = _failure(error, config)
        if (reason := ended()) is not None:
            failure = ConnectError(str(reason))
        raise located(failure, config) from (error.__cause__ if failure is error else error)


def located(error: ConnectError, config: ClientConfig) -> ConnectError:
    """The same error, which now says where to as well."""
    error.url = show_url(config.url)
    error.args = (f"cannot connect to {error.url}: {error}",)
    return error


def _failure(error: Exception, config: ClientConfig) -> ConnectError:
    if isinstance(error, (Abandoned, TimeoutError)):  # a ConnectTimeout too, which does not know the limit
        limit = config.connect_timeout
        return ConnectTimeout(f"not done within {limit:g} s", timeout=limit)
    if isinstance(error, ConnectError):
        return error
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConnectError(f"the certificate is not trusted: {error.verify_message}", retryable=False)
    if isinstance(error, UnicodeError):
        return ConnectError("the host name is not valid", retryable=False)
    return ConnectError(str((error.strerror if isinstance(error, OSError) else None) or error))
