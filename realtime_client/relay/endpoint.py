"""A relay's health and metrics over HTTP, for a process that does nothing else. No library needed."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from realtime_client.measures import RELAY, Kind, Reading
from realtime_client.relay.relay import Relay

__all__ = ["Endpoint", "exposition"]

TEXT = "text/plain; version=0.0.4; charset=utf-8"
"""The text format of Prometheus."""
REQUEST_SECONDS = 5.0
"""How long a client may keep us waiting for its request."""


class Endpoint:
    """Answers ``GET /health`` (200 or 503, `Relay.health` as JSON) and ``GET /metrics`` (for Prometheus).

    Starts at once, on threads of its own; as a context manager it closes. Whoever can reach it can read it.

    Args:
        relay: Of which it tells.
        host: The address to listen on; by default only this machine can ask.
        port: The port; 0 takes any that is free.

    Attributes:
        port: The port.

    Raises:
        OSError: The port is taken, or the address is not ours.
    """

    def __init__(self, relay: Relay, host: str = "127.0.0.1", port: int = 0) -> None:
        pages: dict[str, Callable[[], tuple[int, str, str]]] = {
            "/health": lambda: _health(relay),
            "/metrics": lambda: (200, TEXT, exposition(relay)),
        }

        class Answer(BaseHTTPRequestHandler):
            server_version, sys_version = "realtime-client", ""
            timeout = REQUEST_SECONDS

            def do_GET(self) -> None:
                page = pages.get(self.path.partition("?")[0])
                status, kind, text = page() if page else (404, "text/plain; charset=utf-8", "/health, /metrics\n")
                body = text.encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                """Nothing: whoever asks every second shall not fill the log."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, request: object, client_address: object) -> None:
                """Nothing: a client that hangs up is no trouble of ours."""

        self._server = Server((host, port), Answer)
        self.port: int = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name=f"rtc-{relay.name}-endpoint", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Listen no longer; blocks for a moment."""
        if self._thread.is_alive():  # not in a forked child, which would wait for its end for ever
            self._server.shutdown()
        self._server.server_close()
        self._thread.join(1.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def exposition(relay: Relay) -> str:
    """The metrics of a relay in the text format of Prometheus, by the names that all exporters use."""
    reading = Reading(relay.metrics(), relay.state, relay.max_pending_events)
    lines = []
    for measure in RELAY:
        name = measure.prometheus_name
        lines += [
            f"# HELP {name} {measure.description}",
            f"# TYPE {name} {'counter' if measure.kind is Kind.COUNTER else 'gauge'}",
        ]
        for of, value in measure.points(reading):
            label = f',{measure.label}="{of}"' if measure.label else ""
            lines.append(f'{name}{{relay="{_escaped(relay.name)}"{label}}} {float(value)!r}')
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _health(relay: Relay) -> tuple[int, str, str]:
    health = relay.health()
    return 200 if health["healthy"] else 503, "application/json", json.dumps(health) + "\n"
