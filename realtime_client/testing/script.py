"""The steps that a fake server's connections are scripted with.

A script is a list of steps for each WebSocket handshake, in the order in which they arrive::

    FakeServer(script=[
        [refuse(503, headers={"Retry-After": "1"})],                    # the first is refused
        [accept(), send({"type": "system_alert", "data": {"message": "disk full"}}), reset()],
        [stall()],                                                      # the third never gets an answer
    ])                                                                  # from the fourth on all is well

After its steps a connection goes on as it does without a script (pings and the closing handshake are answered,
``server.send`` reaches it), unless a step ended it. ``send``, ``close``, ``wait_for_message`` and ``repeat`` of these
open the WebSocket first, where the script has not; the other steps do what they say before and after ``accept()``.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from realtime_client._core.handshake import http_answer
from realtime_client.testing.connection import Match, Message, frame_of
from realtime_client.testing.conversation import Conversation

__all__ = [
    "Step",
    "accept",
    "checked",
    "close",
    "disconnect",
    "drip",
    "garbage",
    "go_silent",
    "redirect",
    "refuse",
    "repeat",
    "reset",
    "send",
    "send_raw",
    "stall",
    "wait",
    "wait_for_message",
]

_BATCH_BYTES = 64 * 1024
_BATCH_STEPS = 4096


@attrs.frozen
class Step:
    """One thing that a fake server does on a connection; made by the functions of this module.

    Attributes:
        name: As it was called, for messages.
        run: What it does, on the connection's thread.
        data: What it does is to write these bytes; ``None`` for a step that does something else.
    """

    name: str
    run: Callable[[Conversation], None] = attrs.field(repr=False)
    data: bytes | None = attrs.field(default=None, repr=False)


def accept(
    *,
    subprotocol: str | None = None,
    headers: Mapping[str, str] | None = None,
    wrong_key: str | None = None,
    greeting: Message | None = None,
) -> Step:
    """Open the WebSocket (RFC 6455 section 4.2).

    Args:
        subprotocol: Sent as the chosen one, also when the client asked for none.
        headers: Further headers of the answer, such as an extension that nobody offered.
        wrong_key: Sent as ``Sec-WebSocket-Accept`` in place of the right one.
        greeting: A message in the same write as the answer, such as
            ``{"type": "connection_established"}``, which a connection without a script begins with.
    """
    fields = _fields(headers)
    frame_of(greeting if greeting is not None else "")  # a mistake shows here, not in a thread

    def run(talk: Conversation) -> None:
        talk.accept(subprotocol=subprotocol, headers=fields, wrong_key=wrong_key, greeting=greeting)

    return Step("accept()", run)


def refuse(status: int = 503, *, headers: Mapping[str, str] | None = None, body: bytes | str = b"") -> Step:
    """Answer the handshake with an HTTP status, and end the connection.

    Args:
        status: 100 to 599.
        headers: Further headers, such as ``{"Retry-After": "1"}``.
        body: The answer's body; ``str`` as UTF-8.
    """
    fields = _fields(headers)
    content = body.encode() if isinstance(body, str) else body
    http_answer(status, headers=fields, body=content)  # a mistake shows here, not in a thread
    return Step(f"refuse({status})", lambda talk: talk.refuse(status, fields, content))


def redirect(location: str, status: int = 302) -> Step:
    """Answer the handshake with a redirect, and end the connection.

    Args:
        location: The URL to go to.
        status: 301, 302, 303, 307 or 308.
    """
    return attrs.evolve(refuse(status, headers={"Location": location}), name=f"redirect({location!r})")


def send(message: Message) -> Step:
    """Send a message.

    Args:
        message: An event or a mapping (as JSON), ``str`` (a text message) or ``bytes`` (a binary one).
    """
    frame = frame_of(message)

    def run(talk: Conversation) -> None:
        _open(talk)
        talk.write(frame)

    return Step(f"send({message!r:.100})", run, frame)


def send_raw(data: bytes) -> Step:
    """Write bytes as they are: half a frame, a handshake of your own, a frame that the protocol forbids."""
    return Step(f"send_raw({data[:40]!r})", lambda talk: talk.write(data), data)


def garbage(size: int, *, seed: int = 0) -> Step:
    """Write bytes without a meaning.

    Args:
        size: How many.
        seed: The same seed gives the same bytes.
    """
    data = hashlib.shake_256(str(seed).encode()).digest(size)
    return Step(f"garbage({size}, seed={seed})", lambda talk: talk.write(data), data)


def drip(step: Step | bytes, size: int = 1, interval: float = 0.1) -> Step:
    """Do what a step does, but write a few bytes at a time: ``drip(accept())`` is a handshake that trickles in.

    Meanwhile the connection reads, but what it would write waits, and so does ``server.send``.

    Args:
        step: A step that writes, or bytes as for ``send_raw``.
        size: Bytes at a time, from 1.
        interval: Seconds between them.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1 byte, not {size}")
    slow = send_raw(step) if isinstance(step, bytes) else step

    def run(talk: Conversation) -> None:
        with talk.dripping(size, interval):
            slow.run(talk)

    return Step(f"drip({slow.name})", run)


def stall(gate: str | None = None) -> Step:
    """Read nothing and answer nothing: a server that hangs. Before ``accept()`` the handshake gets no answer.

    ``server.send`` is still sent.

    Args:
        gate: Until ``server.gate(gate).release()``; ``None`` until the client leaves or the server is closed.
    """
    return Step("stall()", lambda talk: talk.hush(talk.gate(gate) if gate else None, reads=False))


def go_silent(*, read: bool = True, gate: str | None = None) -> Step:
    """Stay connected and answer nothing, no ping and no close: a half-open connection.

    ``server.send`` is still sent.

    Args:
        read: Whether what the client sends is read (and recorded).
        gate: Until ``server.gate(gate).release()``; ``None`` until the client leaves or the server is closed. What
            came meanwhile is not answered afterwards.
    """
    return Step("go_silent()", lambda talk: talk.hush(talk.gate(gate) if gate else None, reads=read))


def close(code: int = 1000, reason: str = "", *, timeout: float = 1.0) -> Step:
    """End the connection with the closing handshake (RFC 6455 section 7).

    Args:
        code: 0 to 65535, sent as it is; 1005 sends a close frame without a code.
        reason: Cut to 123 bytes.
        timeout: Seconds to wait for the client's close frame.
    """

    def run(talk: Conversation) -> None:
        _open(talk)
        talk.close(code, reason, timeout)

    return Step(f"close({code})", run)


def reset() -> Step:
    """End the TCP connection with a RST, as a crashed machine or a firewall does."""
    return Step("reset()", lambda talk: talk.reset())


def disconnect() -> Step:
    """End the TCP connection with a FIN but no close frame, as a killed process does."""
    return Step("disconnect()", lambda talk: talk.disconnect())


def wait(gate: str, timeout: float | None = None) -> Step:
    """Go on with the connection until ``server.gate(gate).release()``: the test says when.

    Args:
        gate: The gate's name.
        timeout: Seconds, after which it is an error; ``None`` waits as long as the connection lives.
    """
    return Step(f"wait({gate!r})", lambda talk: talk.wait_at(talk.gate(gate), timeout))


def wait_for_message(match: Match, timeout: float = 5.0) -> Step:
    """Go on with the connection until the client sends a message; each such step looks behind the one before.

    Args:
        match: A mapping fits every message that has its items, text and bytes fit their equal, a callable says so.
        timeout: Seconds, after which it is an error.
    """

    def run(talk: Conversation) -> None:
        _open(talk)
        talk.wait_for_message(match, timeout)

    return Step(f"wait_for_message({match!r:.100})", run)


def repeat(times: int | None, step: Step | Callable[[int], Step], *, interval: float = 0.0) -> Step:
    """Do a step over and over: a flood, or a steady feed.

    Args:
        times: How often; ``None`` as long as the connection lives.
        step: The step, or a function from the number of the turn (from 0) to the step.
        interval: Seconds between the turns. With 0 the bytes of ``send``, ``send_raw`` and ``garbage`` are
            written in batches, as fast as the client reads.
    """
    make = (lambda _: step) if isinstance(step, Step) else step

    def run(talk: Conversation) -> None:
        turns = itertools.count() if times is None else range(times)
        if interval:
            for turn in turns:
                if turn:
                    talk.pause(interval)
                make(turn).run(talk)
            return
        for one in _batched(make(turn) for turn in turns):
            one.run(talk)

    return Step(f"repeat({times})", run)


def _batched(steps: Iterator[Step]) -> Iterator[Step]:
    """The same steps, with those that write joined. The first is left alone: it may have to open the WebSocket."""
    yield from itertools.islice(steps, 1)
    parts: list[bytes] = []
    size = 0
    for step in steps:
        if step.data is None:
            if parts:
                yield send_raw(b"".join(parts))
                parts, size = [], 0
            yield step
            continue
        parts.append(step.data)
        size += len(step.data)
        if size >= _BATCH_BYTES or len(parts) >= _BATCH_STEPS:
            yield send_raw(b"".join(parts))
            parts, size = [], 0
    if parts:
        yield send_raw(b"".join(parts))


def _open(talk: Conversation) -> None:
    if not talk.upgraded:
        talk.accept()


def _fields(headers: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    return tuple((headers or {}).items())


def checked(steps: Any, where: str) -> tuple[Step, ...]:
    """The steps of one connection.

    Raises:
        TypeError: It is no list of steps; the message names the place.
    """
    if isinstance(steps, Step) or not all(isinstance(step, Step) for step in steps):
        raise TypeError(f"{where} must be a list of steps, such as [accept(), reset()], not {steps!r:.200}")
    return tuple(steps)
