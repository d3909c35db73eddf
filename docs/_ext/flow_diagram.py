"""The way of a message as a drawing: who does what, and on which thread.

Boxes stand for classes, frames for threads. Only places and words are chosen here: a class that is not there is an
error, so that the drawing cannot fall behind the code.
"""

from __future__ import annotations

import importlib
from html import escape

from attrs import frozen

__all__ = ["BOXES", "THREADS", "flow_diagram"]

WIDTH, HEIGHT = 960, 430
BOX_WIDTH, BOX_HEIGHT = 122, 44


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
    "server": Box(72, 90, "server", "the feed"),
    "link": Box(240, 90, "transports.websocket.WebSocketLink", "recv: bytes"),
    "frames": Box(386, 90, "_core.frames.FrameReader", "messages"),
    "codec": Box(532, 90, "_core.codec.Codec", "typed events"),
    "store": Box(720, 90, "store.DashboardStore", "the present"),
    "views": Box(882, 90, "your threads", "read at any time"),
    "mailbox": Box(720, 215, "_runtime.mailbox.Mailbox", "what waits"),
    "lane": Box(882, 215, "_runtime.dispatcher.Dispatcher", "your callbacks"),
    "poller": Box(459, 215, "transports.polling.HttpPoller", "what was missed"),
    "heartbeat": Box(313, 215, "_core.liveness.Liveness", "pings, silence"),
    "machine": Box(313, 345, "_core.machine.Machine", "what to do next"),
    "attempts": Box(459, 345, "_core.backoff.Attempts", "when"),
    "retry": Box(605, 345, "status.RetryDecision", "whether at all"),
}
THREADS = {
    "reader": ("link", "frames", "codec"),
    "heartbeat": ("heartbeat",),
    "poll": ("poller",),
    "dispatcher": ("lane",),
    "reconnect": ("machine", "attempts", "retry"),
}
"""The frames: by the thread's role, which is in its name."""
ARROWS = (
    ("server", "link"),
    ("link", "frames"),
    ("frames", "codec"),
    ("codec", "store"),
    ("store", "views"),
    ("store", "mailbox"),
    ("mailbox", "lane"),
    ("poller", "store"),
    ("heartbeat", "link"),
    ("machine", "attempts"),
    ("attempts", "retry"),
)


def flow_diagram() -> str:
    """One HTML figure with an SVG in it, without an empty line, in the colours of the page."""
    parts = [
        f'<figure class="machine"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" xmlns="http://www.w3.org/2000/svg">',
        "<title>From bytes to callback: boxes are classes, frames are threads</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">',
        '<path d="M0 0 8 4 0 8z" fill="currentColor"/></marker></defs>',
        *(_frame(role, [BOXES[name] for name in names]) for role, names in THREADS.items()),
        *(_arrow(BOXES[start], BOXES[end]) for start, end in ARROWS),
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
    left = min(box.x for box in boxes) - BOX_WIDTH / 2 - 10
    right = max(box.x for box in boxes) + BOX_WIDTH / 2 + 10
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


def _arrow(start: Box, end: Box) -> str:
    """From the edge of one box to the edge of another: across, or up and down, or aslant."""
    if start.y == end.y:
        way = (start.x + BOX_WIDTH / 2, start.y, end.x - BOX_WIDTH / 2, end.y)
    elif end.y > start.y:
        way = (start.x, start.y + BOX_HEIGHT / 2, end.x, end.y - BOX_HEIGHT / 2)
    else:
        way = (start.x, start.y - BOX_HEIGHT / 2, end.x, end.y + BOX_HEIGHT / 2)
    x1, y1, x2, y2 = way
    return f'<path class="way" d="M{x1:g} {y1:g} L{x2:g} {y2:g}" marker-end="url(#tip)"/>'
