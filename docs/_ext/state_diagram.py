"""The connection machine as a drawing and as tables, made from the table that drives it.

Only the places of the boxes are chosen here. A phase without a place is a `KeyError`, so that the drawing cannot fall
behind the machine.
"""

from __future__ import annotations

import math
import textwrap
from html import escape

from realtime_client._core.machine import PHASE_STATE, TABLE, Fact, Phase

__all__ = ["arrows", "collected", "fact_table", "state_diagram", "transition_table"]

Arrow = tuple[Phase, Phase]
Point = tuple[float, float]

WIDTH, HEIGHT = 960, 560
BOX_WIDTH, BOX_HEIGHT = 136, 40
PLACES: dict[Phase, Point] = {
    Phase.IDLE: (105, 60),
    Phase.CONNECTING: (430, 60),
    Phase.CONNECTED: (770, 60),
    Phase.FAILED: (105, 240),
    Phase.WAITING: (430, 240),
    Phase.RETRYING: (770, 240),
    Phase.CLOSED: (105, 430),
    Phase.OUTAGE: (430, 430),
    Phase.PROBING: (770, 430),
}
BENDS: dict[Arrow, float] = {(Phase.PROBING, Phase.CONNECTED): 110}
"""How far, in pixels, an arrow keeps off the straight line, to the right of its direction."""
PAIR_OFFSET = 15
"""How far apart two arrows stand that join the same boxes in both directions."""
MANY = 4
"""A fact that leads to one and the same phase from so many others is drawn once."""


def collected() -> dict[Fact, tuple[Phase, tuple[Phase, ...]]]:
    """The facts that lead to one phase from many others: the phase, and from which."""
    found = {}
    for fact in Fact:
        ways = [(start, end) for (start, given), (end, _) in TABLE.items() if given is fact]
        ends = {end for _, end in ways}
        starts = tuple(start for start, end in ways if start is not end)
        if len(ends) == 1 and len(starts) >= MANY:
            found[fact] = (ends.pop(), starts)
    return found


def arrows() -> dict[Arrow, tuple[Fact, ...]]:
    """The other ways from one phase to another, and the facts that open them."""
    drawn_once = collected()
    found: dict[Arrow, tuple[Fact, ...]] = {}
    for (start, fact), (end, _) in TABLE.items():
        if start is not end and fact not in drawn_once:
            found[start, end] = (*found.get((start, end), ()), fact)
    return found


def state_diagram() -> str:
    """One HTML figure with an SVG in it, without an empty line, in the colours of the page."""
    ways = arrows()
    parts = [
        f'<figure class="machine"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" xmlns="http://www.w3.org/2000/svg">',
        "<title>The connection machine</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">',
        '<path d="M0 0 8 4 0 8z" fill="currentColor"/></marker></defs>',
        *_groups(),
        *(_arrow(start, end, paired=(end, start) in ways) for start, end in ways),
        *_collected_arrows(),
        *(_box(phase) for phase in PHASE_STATE),
        *(_label(start, end, facts, paired=(end, start) in ways) for (start, end), facts in ways.items()),
        "</svg></figure>",
    ]
    return "\n".join(parts)


def _groups() -> list[str]:
    """A frame around the phases that are one public state."""
    parts = []
    for state in dict.fromkeys(PHASE_STATE.values()):
        places = [PLACES[phase] for phase, its in PHASE_STATE.items() if its is state]
        if len(places) == 1:
            continue
        left = min(x for x, _ in places) - BOX_WIDTH / 2 - 14
        right = max(x for x, _ in places) + BOX_WIDTH / 2 + 14
        top = min(y for _, y in places) - BOX_HEIGHT / 2 - 30
        bottom = max(y for _, y in places) + BOX_HEIGHT / 2 + 14
        parts.append(
            f'<rect class="state" x="{left:g}" y="{top:g}" width="{right - left:g}" height="{bottom - top:g}" rx="8"/>'
            f'<text class="state" x="{left + 10:g}" y="{top + 18:g}">{state.name}</text>'
        )
    return parts


def _box(phase: Phase) -> str:
    x, y = PLACES[phase]
    alone = phase.name == PHASE_STATE[phase].name
    return (
        f'<rect class="{"phase state" if alone else "phase"}" x="{x - BOX_WIDTH / 2:g}" y="{y - BOX_HEIGHT / 2:g}" '
        f'width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6"/>'
        f'<text class="phase" x="{x:g}" y="{y + 5:g}">{phase.name if alone else phase.value}</text>'
    )


def _arrow(start: Phase, end: Phase, *, paired: bool) -> str:
    first, control, last = _way(start, end, paired=paired)
    (x1, y1), (x2, y2), (x3, y3) = first, control, last
    return (
        f'<path class="way" d="M{x1:.1f} {y1:.1f} Q{x2:.1f} {y2:.1f} {x3:.1f} {y3:.1f}" marker-end="url(#tip)">'
        f"<title>{start.name} to {end.name}</title></path>"
    )


def _label(start: Phase, end: Phase, facts: tuple[Fact, ...], *, paired: bool) -> str:
    first, control, last = _way(start, end, paired=paired)
    x = (first[0] + 2 * control[0] + last[0]) / 4
    y = (first[1] + 2 * control[1] + last[1]) / 4
    text = escape(" or ".join(fact.name for fact in facts))
    upright = abs(first[0] - last[0]) < BOX_WIDTH / 2
    if not upright:
        return f'<text class="fact middle" x="{x:.1f}" y="{y + 4:.1f}">{text}</text>'
    # Beside an upright line: on the side to which the line was moved.
    to_the_left = paired and x < PLACES[start][0]
    side = "end" if to_the_left else "start"
    return f'<text class="fact {side}" x="{x + (-7 if to_the_left else 7):.1f}" y="{y + 4:.1f}">{text}</text>'


def _way(start: Phase, end: Phase, *, paired: bool) -> tuple[Point, Point, Point]:
    """Where an arrow begins, what bends it, and where it ends: on the edges of the two boxes."""
    (x1, y1), (x2, y2) = PLACES[start], PLACES[end]
    length = math.hypot(x2 - x1, y2 - y1)
    right = (-(y2 - y1) / length, (x2 - x1) / length)
    bend = BENDS.get((start, end), 0.0)
    aside = 0.0 if bend or not paired else PAIR_OFFSET
    x1, y1, x2, y2 = x1 + right[0] * aside, y1 + right[1] * aside, x2 + right[0] * aside, y2 + right[1] * aside
    control = ((x1 + x2) / 2 + right[0] * bend * 2, (y1 + y2) / 2 + right[1] * bend * 2)
    return _edge((x1, y1), PLACES[start], control), control, _edge((x2, y2), PLACES[end], control)


def _edge(point: Point, centre: Point, towards: Point) -> Point:
    """Where the line from a point inside a box leaves the box."""
    dx, dy = towards[0] - point[0], towards[1] - point[1]
    wall_x = centre[0] + math.copysign(BOX_WIDTH / 2, dx)
    wall_y = centre[1] + math.copysign(BOX_HEIGHT / 2, dy)
    share = min((wall_x - point[0]) / dx if dx else math.inf, (wall_y - point[1]) / dy if dy else math.inf)
    return point[0] + dx * share, point[1] + dy * share


def _collected_arrows() -> list[str]:
    """An arrow from below into each phase that collected facts lead to, with the words for them."""
    grouped: dict[tuple[Phase, tuple[Phase, ...]], list[Fact]] = {}
    for fact, way in collected().items():
        grouped.setdefault(way, []).append(fact)
    parts = []
    for (end, starts), facts in grouped.items():
        x, bottom = PLACES[end][0], PLACES[end][1] + BOX_HEIGHT / 2
        everywhere = set(starts) | {end} == set(PHASE_STATE)
        where = "everywhere" if everywhere else ", ".join(start.name for start in starts)
        parts.append(
            f'<path class="way" d="M{x:g} {bottom + 36:g} L{x:g} {bottom:g}" marker-end="url(#tip)">'
            f"<title>to {end.name}</title></path>"
        )
        text = f"{' or '.join(fact.name for fact in facts)} from {where}"
        for line, words in enumerate(textwrap.wrap(text, 28)):
            parts.append(f'<text class="fact middle" x="{x:g}" y="{bottom + 52 + 16 * line:g}">{escape(words)}</text>')
    return parts


def fact_table() -> str:
    """Markdown: what each fact stands for."""
    rows = (f"| `{fact.name}` | {fact.value} |" for fact in Fact)
    return "\n".join(["| fact | what happened |", "|---|---|", *rows])


def transition_table() -> str:
    """Markdown: every pair that the machine knows."""
    rows = (
        f"| {start.name} | {PHASE_STATE[start].name} | `{fact.name}` | {end.name} | {action.value} |"
        for (start, fact), (end, action) in TABLE.items()
    )
    return "\n".join(["| phase | public state | fact | next phase | action |", "|---|---|---|---|---|", *rows])
