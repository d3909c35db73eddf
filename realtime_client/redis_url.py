"""Addresses of a feed in Redis: ``redis://user:password@host:6379/0?stream=name``, taken apart."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs

__all__ = ["SCHEMES", "RedisUrl", "read_redis_url"]

SCHEMES = ("redis", "rediss")
OPTIONS = ("stream", "sentinel", "cluster", "also")
STREAM_NAME = re.compile(r"[A-Za-z0-9._:-]{1,200}")
"""Braces would be another hash tag, and whatever stands in a key should be readable on a terminal."""
YES, NO = ("yes", "true", "1", "on"), ("no", "false", "0", "off")


@attrs.frozen
class RedisUrl:
    """Where a stream is.

    Attributes:
        nodes: Host and port of the server; or of Sentinels, or of some nodes of a Cluster.
        stream: The stream's name.
        tls: Whether the connection is encrypted.
        db: The database's number.
        username: The ACL user, or ``None``.
        password: The password, or ``None``.
        sentinel: The name under which the Sentinels know the master; ``None`` where ``nodes`` is the server itself.
        cluster: Whether ``nodes`` belong to a Redis Cluster.
    """

    nodes: tuple[tuple[str, int], ...]
    stream: str
    tls: bool = False
    db: int = 0
    username: str | None = None
    password: str | None = attrs.field(default=None, repr=False)
    sentinel: str | None = None
    cluster: bool = False


def read_redis_url(url: str) -> RedisUrl:
    """Take a URL apart.

    Raises:
        ValueError: Says what is wrong with it, without secrets.
    """
    parts = urlsplit(url)
    if parts.scheme.lower() not in SCHEMES or not parts.hostname:
        raise ValueError(f"a Redis URL begins with {' or '.join(SCHEMES)} and has a host")
    given = parse_qsl(parts.query, keep_blank_values=True)
    once = [name for name, _ in given if name != "also"]
    if any(name not in OPTIONS for name in once):
        raise ValueError(f"allowed behind the '?' are {', '.join(f'{name}=' for name in OPTIONS)}")
    if len(set(once)) < len(once):
        raise ValueError("only also= may be given more than once")
    options = dict(given)
    stream = options.get("stream", "")
    if not STREAM_NAME.fullmatch(stream):
        raise ValueError("?stream=NAME is missing or not made of 1 to 200 letters, digits and ._:-")
    cluster = options.get("cluster", "no").lower()
    if cluster not in YES + NO:
        raise ValueError("cluster is yes or no")
    sentinel = options.get("sentinel")
    if sentinel is not None and (not sentinel or cluster in YES):
        raise ValueError("sentinel= is the name of a master, and does not go together with cluster=yes")
    database = parts.path.strip("/")
    if database and not (database.isascii() and database.isdecimal() and len(database) < 6):
        raise ValueError("the path is the number of a database, such as /0")
    if cluster in YES and database.strip("0"):
        raise ValueError("a Redis Cluster has database 0 alone")
    port = 6379 if sentinel is None else 26379
    also = tuple(_node(text, port) for name, text in given if name == "also")
    return RedisUrl(
        nodes=((parts.hostname, parts.port or port), *also),
        stream=stream,
        tls=parts.scheme.lower() == "rediss",
        db=int(database or 0),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        sentinel=sentinel,
        cluster=cluster in YES,
    )


def _node(text: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    try:
        found = (parts.hostname or "", parts.port or port)
    except ValueError:
        found = ("", 0)
    if not found[0] or text.strip("[]").count("@") or parts.path:
        raise ValueError("also= is another HOST or HOST:PORT")
    return found
