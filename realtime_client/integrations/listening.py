"""A process whose work is to follow a feed and to call what is registered for it."""

from __future__ import annotations

from realtime_client import Notification, RealtimeClient, RealtimeError
from realtime_client.cli.exits import Exit, failure_of
from realtime_client.cli.streams import say
from realtime_client.redaction import show_url

__all__ = ["listen"]


def listen(client: RealtimeClient, *, quiet: bool) -> int:
    """Connect, and block until Ctrl-C or SIGTERM, which are raised in the main thread; closes the client.

    Args:
        client: The client, with its callbacks.
        quiet: Say nothing about the connection on standard error.

    Returns:
        The exit code 0: somebody closed the client; 1 if it did not come to its end in ``close_timeout``.

    Raises:
        Failure: The feed is out of reach for good: refused credentials, a certificate, an address that is none.
    """
    if not quiet:
        client.on_notification(_say)
        say(f"connecting to {show_url(client.config.url)}")
    try:
        client.connect(wait=False)
        return Exit.DONE if client.join() else Exit.FAILURE
    except RealtimeError as error:
        raise failure_of(error, was_connected=client.metrics().connects > 0) from None
    finally:
        client.close()


def _say(notification: Notification) -> None:
    if notification.kind not in ("anomaly", "alert"):
        say(notification.message)
