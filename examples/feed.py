"""A busy feed to try things out on: ten times a second an anomaly, figures, an alert, and a message type of its own.

    python feed.py          serves it at ws://localhost:8080/ws until Ctrl-C
    python feed.py 0        on any port that is free

Everything in it is invented. Every example of the documentation works with it.
"""

import contextlib
import sys
import time

from realtime_client.demo import FeedServer


def messages(number):
    log = {
        "id": f"log-{number}",
        "level": "ERROR",
        "message": f"payment {number} failed: connection refused",
        "source": "payments",
        "anomalyScore": 0.93,
    }
    figures = {"totalLogs": 20 * number, "anomalyCount": number, "anomalyRate": 0.05, "activeServices": 6}
    return [
        {"type": "new_anomaly", "data": {"log": log}},
        {"type": "stats_update", "data": {"stats": figures}},
        {"type": "system_alert", "data": {"message": f"alert {number}", "severity": "warning"}},
        {"type": "deploy_finished", "data": {"service": "payments", "durationSeconds": 12.5}},
    ]


def main(port=8080):
    with FeedServer(port=port, stats_interval=0.1) as server:
        print(f"REALTIME_URL={server.url}", flush=True)
        number = 0
        while True:
            number += 1
            server.publish(*messages(number))
            time.sleep(0.1)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(*map(int, sys.argv[1:]))
