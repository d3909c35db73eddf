"""The feed over HTTP: what a poll is answered. Pure."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from datetime import datetime
from typing import Any

from realtime_client._core.handshake import Request, http_answer
from realtime_client.demo.hub import Kept, Snapshot, moment_of

__all__ = ["MESSAGES_PATH", "POLL_PATH", "plain_answer", "poll_answer"]

POLL_PATH = "/poll"
"""Answered with an object of ``stats``, ``logs`` and ``alerts``."""
MESSAGES_PATH = "/messages"
"""Answered with a list of the messages that the WebSocket would carry."""


def poll_answer(request: Request, snapshot: Snapshot) -> bytes:
    """The whole HTTP answer to a ``GET`` of one of the two paths.

    ``?since=`` (RFC 3339) leaves out the logs and alerts from before that time; what is of exactly that time, or tells
    none, is in the answer. A client that has the answer already (``If-None-Match``) gets 304. The body is compressed
    if the client takes gzip.
    """
    query = request.query
    since = None
    if "since" in query and (since := since_of(query["since"])) is None:
        return plain_answer(400, "since must be an RFC 3339 time, such as 2026-01-02T03:04:05Z")
    content: Any
    if request.path == MESSAGES_PATH:
        content = [kept.message for kept in newer((*snapshot.anomalies, *snapshot.alerts), since)]
        stats = {"type": "stats_update", "data": {"stats": snapshot.stats}, "timestamp": snapshot.stats_at}
        content.append(stats)
    else:
        content = {
            "stats": snapshot.stats,
            "logs": [kept.message["data"]["log"] for kept in newer(snapshot.anomalies, since)],
            "alerts": [
                {**kept.message["data"], "timestamp": kept.message["timestamp"]}
                for kept in newer(snapshot.alerts, since)
            ],
        }
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    # Weak, since the compressed and the plain body share it (RFC 9110 section 8.8.1).
    etag = f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    headers = [("ETag", etag), ("Cache-Control", "no-cache"), ("Vary", "Accept-Encoding, Authorization")]
    if is_known(etag, request.headers.get("If-None-Match") or ""):
        return http_answer(304, headers=headers)
    headers.append(("Content-Type", "application/json"))
    if takes_gzip(request.headers.get("Accept-Encoding") or ""):
        body = gzip.compress(body, compresslevel=5, mtime=0)
        headers.append(("Content-Encoding", "gzip"))
    return http_answer(200, headers=headers, body=body)


def plain_answer(status: int, text: str, *headers: tuple[str, str]) -> bytes:
    """An answer for a person to read."""
    headers = (("Content-Type", "text/plain; charset=utf-8"), *headers)
    return http_answer(status, headers=headers, body=f"{text}\n".encode())


def newer(kept: tuple[Kept, ...], since: datetime | None) -> list[Kept]:
    """What is of that time or later, or tells no time."""
    return [item for item in kept if since is None or item.moment is None or item.moment >= since]


LOST_PLUS = re.compile(r"(:\d\d(?:\.\d+)?) (\d\d:\d\d)$")


def since_of(text: str) -> datetime | None:
    """The query's time. An unescaped ``+`` of its offset arrives as a blank, which is undone."""
    return moment_of(LOST_PLUS.sub(r"\1+\2", text))


def is_known(etag: str, if_none_match: str) -> bool:
    """Whether the client holds this answer, by the weak comparison (RFC 9110 section 13.1.2)."""
    held = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in held or etag.removeprefix("W/") in held


def takes_gzip(accept_encoding: str) -> bool:
    """Whether the client takes gzip (RFC 9110 section 12.5.3)."""
    for element in accept_encoding.lower().split(","):
        coding, *parameters = (part.strip() for part in element.split(";"))
        if coding == "gzip":
            return not any(re.fullmatch(r"q=0(?:\.0*)?", parameter) for parameter in parameters)
    return False
