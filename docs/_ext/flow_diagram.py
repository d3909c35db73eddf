"""The way of a message as a drawing: who does what, and on which thread.

Boxes stand for classes, frames for threads. Only places and words are chosen here: a class that is not there is an
error, so that the drawing cannot fall behind the code.
"""

from __future__ import annotations

import importlib
from html import escape

from attrs import frozen

__all__ = ["BOXES", "THREADS", "flow_diagram"]

WIDTH, HEIGHT = 720, 425
BOX_WIDTH, BOX_HEIGHT = 120, 46


@frozen
class Box:
    """One step.

    Attributes:
        x, y: Its middle.
        title: A class by its module and name, or words.
        note: What happens there.
    """

    x: float
    y: float
    title: str
    note: str

    @property
    def name(self) -> str:
        """What is written in it."""
        module, _, name = self.title.rpartition(".")
        return str(getattr(importlib.import_module(f"realtime_client.{module}"), name).__name__) if module else name


BOXES = {
    "server": Box(62, 90, "server", "the feed"),
    "link": Box(213, 90, "transports.websocket.WebSocketLink", "recv: bytes"),
    "frames": Box(347, 90, "_core.frames.FrameReader", "messages"),
    "codec": Box(481, 90, "_core.codec.Codec", "typed events"),
    "store": Box(646, 90, "store.DashboardStore", "the present"),
    "heartbeat": Box(213, 220, "_core.liveness.Liveness", "pings, silence"),
    "poller": Box(347, 220, "transports.polling.HttpPoller", "what was missed"),
    "views": Box(493, 220, "your threads", "read at any time"),
    "mailbox": Box(646, 220, "_runtime.mailbox.Mailbox", "what waits"),
    "machine": Box(213, 350, "_core.machine.Machine", "what to do next"),
    "retry": Box(347, 350, "status.RetryDecision", "whether at all"),
    "attempts": Box(481, 350, "_core.backoff.Attempts", "when"),
    "dispatcher": Box(646, 350, "_runtime.dispatcher.Dispatcher", "your callbacks"),
}
THREADS = {
    "reader": ("link", "frames", "codec"),
    "heartbeat": ("heartbeat",),
    "poll": ("poller",),
    "reconnect": ("machine", "retry", "attempts"),
    "dispatcher": ("dispatcher",),
}
"""The frames: by the thread's role, which is in its name."""
ARROWS = (
    ("server", "link", 0),
    ("link", "frames", 0),
    ("frames", "codec", 0),
    ("codec", "store", 0),
    ("store", "mailbox", 20),
    ("store", "views", -10),
    ("mailbox", "dispatcher", 40),
    ("poller", "store", -30),
    ("heartbeat", "link", 0),
    ("machine", "retry", 0),
    ("retry", "attempts", 0),
)
"""From where, to where, and how far beside the middle of the upper box an upright one ends or begins."""


def flow_diagram() -> str:
    """One HTML figure with an SVG in it, without an empty line, in the colours of the page."""
    parts = [
        f'<figure class="machine"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" xmlns="http://www.w3.org/2000/svg">',
        "<title>From bytes to callback: boxes are classes, frames are threads</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">',
        '<path d="M0 0 8 4 0 8z" fill="currentColor"/></marker></defs>',
        *(_frame(role, [BOXES[name] for name in names]) for role, names in THREADS.items()),
        *(_arrow(BOXES[start], BOXES[end], beside) for start, end, beside in ARROWS),
        *(_box(box) for box in BOXES.values()),
        _note(BOXES["machine"], "it starts and ends the reader, the heartbeat and the poll; everybody posts to it"),
        "</svg></figure>",
    ]
    return "\n".join(parts)


def _note(box: Box, text: str) -> str:
    """Below a box's frame."""
    x, y = box.x - BOX_WIDTH / 2, box.y + BOX_HEIGHT / 2 + 34
    return f'<text class="fact start" x="{x:g}" y="{y:g}">{escape(text)}</text>'


def _frame(role: str, boxes: list[Box]) -> str:
    left = min(box.x for box in boxes) - BOX_WIDTH / 2 - 6
    right = max(box.x for box in boxes) + BOX_WIDTH / 2 + 6
    top, bottom = boxes[0].y - BOX_HEIGHT / 2 - 28, boxes[0].y + BOX_HEIGHT / 2 + 10
    return (
        f'<rect class="state" x="{left:g}" y="{top:g}" width="{right - left:g}" height="{bottom - top:g}" rx="8"/>'
        f'<text class="state" x="{left + 9:g}" y="{top + 18:g}">{role}</text>'
    )


def _box(box: Box) -> str:
    return (
        f'<rect class="phase" x="{box.x - BOX_WIDTH / 2:g}" y="{box.y - BOX_HEIGHT / 2:g}" '
        f'width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6"/>'
        f'<text class="phase" x="{box.x:g}" y="{box.y - 3:g}">{escape(box.name)}</text>'
        f'<text class="note" x="{box.x:g}" y="{box.y + 14:g}">{escape(box.note)}</text>'
    )


def _arrow(start: Box, end: Box, beside: float) -> str:
    """From the edge of one box to the edge of another: across, down or up."""
    if start.y == end.y:
        way = (start.x + BOX_WIDTH / 2, start.y, end.x - BOX_WIDTH / 2, end.y)
    elif end.y > start.y:
        straight = start.x + beside if start.x == end.x else end.x
        way = (start.x + beside, start.y + BOX_HEIGHT / 2, straight, end.y - BOX_HEIGHT / 2)
    else:
        way = (start.x, start.y - BOX_HEIGHT / 2, end.x + beside, end.y + BOX_HEIGHT / 2)
    x1, y1, x2, y2 = way
    return f'<path class="way" d="M{x1:g} {y1:g} L{x2:g} {y2:g}" marker-end="url(#tip)"/>'
