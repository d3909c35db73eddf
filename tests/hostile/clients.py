"""The clients that meet the servers: ours, and its peers as their own documentation shows them."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import socketio
import websocket
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from realtime_client import ConnectionState, RealtimeClient, StatusChange, SystemAlert
from tests.client.recording import own_threads
from tests.hostile.case import DEFAULT_LIMIT
from tests.hostile.meeting import Client, Log, Meeting

__all__ = ["CLIENTS"]

LONG = 5.0
"""A next attempt that is farther away than so many seconds is one that the server put off."""
TOKEN = "Authorization"


def realtime_client(url: str, options: Mapping[str, Any], patience: float) -> Meeting:
    """Ours, with default settings but for delays that a test can wait for."""
    meeting = Meeting()
    log = Log(meeting)
    client = RealtimeClient(url, **{"reconnect_delay": 0.01, "reconnect_delay_max": 0.02, "name": "hostile", **options})

    def changed(change: StatusChange) -> None:
        status = change.current
        pause = None
        if status.next_retry_at is not None:
            pause = (status.next_retry_at - datetime.now(UTC)).total_seconds()
        error = status.last_error
        if error is not None:
            log.fail(error, code=getattr(error, "code", None), status=getattr(error, "status", None), pause=pause)
        if status.state is ConnectionState.FAILED:
            log.decide("STOPS")
        elif status.state is ConnectionState.UNAVAILABLE:
            log.decide("OUTAGE")
        elif pause is not None and pause > LONG:
            log.decide("WAITS")

    client.on_status(changed)
    client.on(SystemAlert, lambda event: log.deliver(event.message[:20]))
    client.connect(wait=False)
    log.wait(patience)
    meeting.rejected = [error.reason for error in client.rejected]
    meeting.malformed = client.metrics().malformed
    if meeting.then == "LIVES" and not client.is_connected:
        meeting.then = "HUNG"
    client.close()
    meeting.left = own_threads()
    return meeting


def websocket_client(url: str, options: Mapping[str, Any], patience: float) -> Meeting:
    """``WebSocketApp`` of websocket-client; its time-out for connecting is the module's default time-out."""
    meeting = Meeting()
    log = Log(meeting)
    websocket.setdefaulttimeout(options.get("connect_timeout", 10))

    def message(_app: object, text: Any) -> None:
        _deliver(log, text)

    def opened(app: Any) -> None:
        app.sock.sock.settimeout(None)  # the time-out was for connecting alone

    app = websocket.WebSocketApp(
        url,
        header=[f"Authorization: Bearer {options['token']}"] if "token" in options else None,
        subprotocols=options.get("subprotocols"),
        on_open=opened,
        on_message=message,
        on_error=lambda _app, error: log.fail(error),
        on_close=lambda *_: None,
    )

    def run() -> None:
        try:
            app.run_forever()
        except BaseException as error:  # noqa: BLE001 - whatever it lets out is its verdict
            log.fail(error)
        log.fail("ended")
        log.decide("REFUSED")

    return _run(log, run, patience)


def websockets_sync(url: str, options: Mapping[str, Any], patience: float) -> Meeting:
    """The threaded client of websockets, with a ``recv`` loop."""
    meeting = Meeting()
    log = Log(meeting)

    def run() -> None:
        try:
            with connect(
                url,
                open_timeout=options.get("connect_timeout", 10),
                max_size=options.get("max_message_bytes", DEFAULT_LIMIT),
                compression="deflate" if options.get("compression", True) else None,
                subprotocols=options.get("subprotocols"),
                additional_headers={TOKEN: f"Bearer {options['token']}"} if "token" in options else None,
                close_timeout=0.5,
            ) as connection:
                while True:
                    _deliver(log, connection.recv())
        except ConnectionClosed as error:
            log.fail(error, code=error.sent.code if error.sent else None)
        except BaseException as error:  # noqa: BLE001 - whatever it lets out is its verdict
            log.fail(error)
        log.decide("REFUSED")

    return _run(log, run, patience)


def socketio_client(url: str, options: Mapping[str, Any], patience: float) -> Meeting:
    """The threaded client of python-socketio, without its own reconnecting; its server speaks Engine.IO."""
    meeting = Meeting()
    log = Log(meeting)
    extra = {"subprotocols": options["subprotocols"]} if "subprotocols" in options else {}
    client = socketio.Client(
        reconnection=False, request_timeout=options.get("connect_timeout", 10), websocket_extra_options=extra
    )
    client.on("system_alert", lambda data: log.deliver(data["message"]))

    def run() -> None:
        headers = {TOKEN: f"Bearer {options['token']}"} if "token" in options else {}
        try:
            client.connect(url.replace("ws://", "http://"), headers=headers, transports=["websocket"])
            client.wait()
        except BaseException as error:  # noqa: BLE001 - whatever it lets out is its verdict
            log.fail(error)
        log.fail("ended")
        log.decide("REFUSED")

    return _run(log, run, patience)


def _run(log: Log, run: Any, patience: float) -> Meeting:
    threading.Thread(target=run, name="peer", daemon=True).start()
    log.wait(patience)
    return log.meeting


def _deliver(log: Log, text: Any) -> None:
    try:
        message = json.loads(text)["data"]["message"]
    except (ValueError, KeyError, TypeError, RecursionError):
        message = repr(text[:20])
    log.deliver(str(message)[:20])


CLIENTS: Final[Mapping[str, Client]] = {
    "realtime_client": realtime_client,
    "WebSocketApp": websocket_client,
    "websockets.sync": websockets_sync,
    "python-socketio": socketio_client,
}
