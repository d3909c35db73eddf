"""Follow a feed from a script: print the severe anomalies, and say so when the feed is lost and when it is back.

    python script.py                                   the feed at REALTIME_URL, or ws://localhost:8080/ws
    REALTIME_URL=wss://logs.example.com/ws REALTIME_TOKEN_FILE=/run/secrets/feed python script.py

Runs until Ctrl-C. In between it lives through outages of any length.
"""

import sys

from realtime_client import ClientConfig, ConfigError, RealtimeClient, RealtimeError

SEVERE = 0.6


def main():
    try:
        client = RealtimeClient(config=ClientConfig.from_env())
    except ConfigError as error:
        return f"wrong settings: {error}"

    @client.on("new_anomaly")
    def show(event):
        log = event.log
        if log.anomaly_score >= SEVERE:
            print(f"{log.level} {log.source}: {log.message!r} (score {log.anomaly_score:.2f})", flush=True)
            for cause in log.root_causes:
                print(f"    perhaps: {cause!r}", flush=True)

    @client.on_notification
    def tell(note):
        if note.kind in ("connected", "lost", "unavailable"):
            print(f"-- {note.title}: {note.message}", flush=True)

    @client.on_gap
    def missed(gap):
        if not gap.complete:
            print(f"-- between {gap.since:%H:%M:%S} and {gap.until:%H:%M:%S} something may be missing", flush=True)

    try:
        with client:
            client.join()
    except KeyboardInterrupt:
        stats = client.store.stats
        print(f"-- {stats.anomaly_count} anomalies in {stats.total_logs} lines", flush=True)
    except RealtimeError as error:
        return f"no feed: {error}"
    return 0


if __name__ == "__main__":
    sys.exit(main())
