"""The examination of a recording."""

from __future__ import annotations

import math
import os
import stat
from collections import Counter
from datetime import UTC, datetime

from realtime_client._core.codec import Codec
from realtime_client._core.recording import CHUNK, Cut, MalformedLine, packed, read_messages
from realtime_client.addresses import read_replay_url
from realtime_client.config import ClientConfig
from realtime_client.doctor.checks import Finding, Step, Verdict
from realtime_client.errors import RecordingError
from realtime_client.redaction import show_url

__all__ = ["steps"]

MOST_TYPES = 4
"""Types of events that are named; the others are counted together."""
LONGEST_NAME = 40
"""Characters of a type's name that are told."""


def steps(config: ClientConfig) -> tuple[Step, ...]:
    """The steps, in their order."""
    return (Step("config", lambda: _config(config)), Step("recording", lambda: _read(config), needs="config"))


def _config(config: ClientConfig) -> Finding:
    replay = read_replay_url(config.url)
    speed = "as fast as it can be read" if replay.speed == math.inf else f"at {replay.speed:g} times its speed"
    return Finding(f"{show_url(config.url)}, {speed}{', looped' if replay.loop else ''}")


def _read(config: ClientConfig) -> Finding:
    """Read all of it."""
    path = read_replay_url(config.url).path
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # to open a pipe would wait for whoever writes into it
            raise IsADirectoryError(0, "it is no regular file")
        file = open(path, "rb")  # noqa: SIM115 - what follows has errors of its own
    except OSError as error:
        raise RecordingError(error.strerror or str(error), path=path) from None
    codec, types, messages, malformed, cut = Codec(), Counter[str](), 0, 0, ""
    begin: datetime | None = None
    end: datetime | None = None
    with file:
        try:
            for message in read_messages(iter(lambda: file.read(CHUNK), b""), unpack=packed(path)):
                if isinstance(message, Cut):
                    cut = f", cut off within line {message.number}"
                    break
                messages += 1
                batch = codec.decode_batch([message.text], received_at=message.at or datetime.now(UTC))
                types.update(event.type[:LONGEST_NAME] for event in batch.events)
                malformed += len(batch.malformed)
                begin, end = begin or message.at, message.at or end
        except MalformedLine as error:
            raise RecordingError(f"line {error.number}: {error}", path=path, line=error.number) from None
    found = f"{messages} messages" + (f" over {end - begin}" if begin and end else "") + cut
    if malformed:
        found += f", {malformed} of them malformed"
    if types:
        found += f": {_counted(types)}"
    if not messages:
        return Finding(found, Verdict.WARN, "nothing came while it was recorded", "record for longer")
    if malformed:
        cause = "the server sent what the client does not understand"
        return Finding(found, Verdict.WARN, cause, "see client.rejected of a client that replays it")
    if cut:
        return Finding(
            found,
            Verdict.WARN,
            "the recorder was killed, or its disk full",
            "nothing need be done: the rest is replayed",
        )
    return Finding(found)


def _counted(types: Counter[str]) -> str:
    """The commonest types, and how many events there are of each."""
    parts = [f"{count} {name}" for name, count in types.most_common(MOST_TYPES)]
    others = types.total() - sum(count for _, count in types.most_common(MOST_TYPES))
    return ", ".join([*parts, f"{others} others"] if others else parts)
