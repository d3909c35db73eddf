"""When a process that was not asked by name should connect."""

from __future__ import annotations

from datetime import UTC, datetime

from realtime_client import ClientConfig, ConnectionState, ConnectionStatus

__all__ = ["is_due"]


def is_due(status: ConnectionStatus, config: ClientConfig) -> bool:
    """Whether a client should be connected by whoever asks for it.

    One that was never started; and one that had to give up at its first attempts, after a while: whoever runs a server
    would otherwise have to restart it once the address, the certificate or the token is right.
    """
    if status.state is ConnectionState.FAILED:
        waited = (datetime.now(UTC) - status.since).total_seconds()
        return not config.give_up and waited >= config.fatal_retry_delay
    return status.state is ConnectionState.IDLE
