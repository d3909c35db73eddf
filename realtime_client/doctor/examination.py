"""The examination: one step after the other, each timed and judged."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from realtime_client.addresses import SCHEME
from realtime_client.config import ClientConfig
from realtime_client.doctor import recordings
from realtime_client.doctor.advice import of_poll, of_trouble
from realtime_client.doctor.checks import Check, Finding, Step, Verdict
from realtime_client.doctor.connection import Connection
from realtime_client.doctor.redis_stream import RedisStream
from realtime_client.errors import PollError
from realtime_client.transports.errands import Abandoned

__all__ = ["diagnose"]


def diagnose(config: ClientConfig) -> Iterator[Check]:
    """Look at each step of a connection by itself.

    A generator: each check comes as soon as it is done. It takes the steps that a client takes, with its time limits,
    on the calling thread, and blocks meanwhile; what it opens is closed at its end, or when it is closed. Nothing that
    is wrong with the connection is raised.

    A WebSocket gets ``config``, ``dns``, ``proxy``, ``tcp``, ``tls``, ``upgrade``, ``greeting``, ``heartbeat``,
    ``polling`` and ``clock``; a stream in Redis ``config`` to ``tls``, ``login``, ``ping``, ``stream``, ``snapshot``,
    ``relay`` and ``clock``; a recording ``config`` and ``recording``. What cannot be looked at, because a step that it
    needs failed or because there is nothing, is there with `Verdict.SKIP`.

    Args:
        config: Where to, and how.

    Example:
        >>> from realtime_client import ClientConfig
        >>> from realtime_client.doctor import Verdict, diagnose
        >>> checks = list(diagnose(ClientConfig("ws://localhost:1/ws")))
        >>> [check.name for check in checks if check.verdict is Verdict.FAIL]
        ['tcp']
    """
    if urlsplit(config.url).scheme.lower() == SCHEME:
        yield from _in_turn(recordings.steps(config), lambda: "the file")
        return
    examined = RedisStream(config) if config.is_redis else Connection(config)
    try:
        yield from _in_turn(examined.steps(), lambda: examined.host)
    finally:
        examined.leave()


def _in_turn(steps: tuple[Step, ...], where: Callable[[], str]) -> Iterator[Check]:
    blocked: dict[str, str] = {}  # steps that were not to be had, and the one that failed
    for name, take, needs in steps:
        began = time.monotonic()
        if needs in blocked:
            blocked[name] = blocked[needs]
            finding = Finding(f"not tried, since {blocked[needs]} failed", Verdict.SKIP)
        else:
            try:
                finding = take()
            except PollError as error:
                finding = of_poll(error)
            except (Exception, Abandoned) as error:  # noqa: BLE001 - whatever it is, it is what is wrong
                finding = of_trouble(name, error, where=where())
        if finding.verdict is Verdict.FAIL:
            blocked[name] = name
        seconds = time.monotonic() - began
        yield Check(name, finding.verdict, seconds, finding.found, finding.cause, finding.remedy, finding.error)
