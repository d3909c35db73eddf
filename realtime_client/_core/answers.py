"""What a polling answer says, in either of its two forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import attrs

from realtime_client._core.codec import Codec
from realtime_client.errors import MalformedMessage
from realtime_client.events import Event, LogEntry, NewAnomaly, Origin, StatsUpdate

__all__ = ["PollAnswer", "read_answer"]

PARTS = ("stats", "logs", "alerts")


@attrs.define
class PollAnswer:
    """The parts of an answer, in the order in which they are applied.

    Attributes:
        logs: Applied first.
        events: Alerts and other messages, then the figures, so that what the server says of a figure overwrites.
        malformed: What could not be understood; the rest counts.
    """

    logs: list[LogEntry] = attrs.Factory(list)
    events: list[Event] = attrs.Factory(list)
    malformed: list[MalformedMessage] = attrs.Factory(list)


def read_answer(answer: Any, codec: Codec, *, received_at: datetime) -> PollAnswer:
    """Read an answer.

    Args:
        answer: Parsed JSON: an object of ``stats``, ``logs`` and ``alerts``, each optional, or a list of messages.
        codec: For the parts.
        received_at: When it came.

    Raises:
        MalformedMessage: It has neither form.
    """
    result = PollAnswer()
    figures: list[Event] = []

    def keep(read: Callable[[], None]) -> None:
        try:
            read()
        except MalformedMessage as error:
            result.malformed.append(error)

    def message(item: Any) -> None:
        event = codec.decode_object(item, received_at=received_at, origin=Origin.POLL)
        if isinstance(event, NewAnomaly):
            result.logs.append(event.log)
        else:
            (figures if isinstance(event, StatsUpdate) else result.events).append(event)

    if isinstance(answer, Mapping):
        parts = {name: answer.get(name) for name in PARTS}
        for name in ("logs", "alerts"):
            if parts[name] is not None and not isinstance(parts[name], (list, tuple)):
                result.malformed.append(MalformedMessage(f"{name} is not a list"))
                parts[name] = None
        for log in parts["logs"] or ():
            keep(lambda log=log: result.logs.append(codec.decode_log(log)))  # type: ignore[misc]
        for alert in parts["alerts"] or ():
            keep(lambda alert=alert: result.events.append(codec.decode_alert(alert, received_at=received_at)))  # type: ignore[misc]
        if parts["stats"] is not None:
            keep(lambda: message({"type": "stats_update", "data": {"stats": parts["stats"]}}))
    elif isinstance(answer, (list, tuple)):
        for item in answer:
            keep(lambda item=item: message(item))  # type: ignore[misc]
    else:
        raise MalformedMessage(f"the answer is a {type(answer).__name__}, neither an object nor a list of messages")
    result.events += figures
    return result
