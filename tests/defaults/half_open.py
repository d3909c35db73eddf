"""How long a real client takes, in real time and with default settings, to notice a half-open connection.

``python -m tests.defaults.half_open`` takes three quarters of a minute; the suite does the same on a fake clock.
"""

from __future__ import annotations

import sys
import time

from realtime_client import HeartbeatTimeout, RealtimeClient
from realtime_client.testing import FakeServer, accept, go_silent
from tests.client.recording import PATIENCE, Record

NOTICED_WITHIN = 41.0


def measure() -> float:
    """Seconds from the server's last sign of life to the client's word that the connection is lost.

    Raises:
        TimeoutError: It was not noticed in time.
        AssertionError: The connection was lost for another reason.
    """
    with FakeServer(script=[[accept(), go_silent(read=False)]]) as server, RealtimeClient(server.url) as client:
        heard_at = time.monotonic()
        changes = Record()
        with client.on_connection_change(lambda connected: changes((connected, time.monotonic(), client.status))):
            _, at, status = changes.wait_until(lambda items: items and not items[-1][0], NOTICED_WITHIN + PATIENCE)[-1]
        assert isinstance(status.last_error, HeartbeatTimeout), repr(status.last_error)
        return float(at - heard_at)


def main() -> int:
    """Measure; returns 0 if it was in time."""
    seconds = measure()
    sys.stdout.write(f"a half-open connection was noticed after {seconds:.1f} s (at most {NOTICED_WITHIN:g} s)\n")
    return 0 if seconds <= NOTICED_WITHIN else 1


if __name__ == "__main__":
    sys.exit(main())
