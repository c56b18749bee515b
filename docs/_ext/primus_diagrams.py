"""Draws the diagrams of the pages as SVG. Their text is Mermaid's, which the usual forges draw too.

The site needs neither a script nor a network for them. Known are sequences of two participants and state machines.
"""

import html
import re
from collections import defaultdict

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

MESSAGE = re.compile(r"(\w+)(-->>|->>|--x|-x)(\w+): (.+)")
NOTE = re.compile(r"Note over ([\w, ]+): (.+)")
STATE = re.compile(r"(\S+) --> (\S+): (.+)")
FIRST = re.compile(r"\[\*\] --> (\S+)")
# Column and row of each state.
PLACES = {
    "idle": (0, 0),
    "starting": (1, 0),
    "connecting": (2, 0),
    "open": (3, 0),
    "closing": (4, 0),
    "ended": (0, 1),
    "offline": (1, 1),
    "waiting": (2, 1),
    "reconnecting": (3, 1),
    "destroyed": (0, 2),
    "resuming": (1, 2),
    "closed": (4, 1),
}
MANY = 4  # transitions with one trigger to one state: a line of text instead of arrows
STYLE = "font-family: sans-serif; font-size: 14px; fill: currentColor; stroke: none"


class Picture:
    """Collects the parts of an SVG."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def text(self, x: float, y: float, text: str, anchor: str = "middle", style: str = "") -> None:
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" style="{STYLE}; {style}">{html.escape(text)}</text>'
        )

    def line(self, *points: tuple[float, float], arrow: bool = False, style: str = "") -> None:
        path = " ".join(f"{'L' if index else 'M'}{x:g} {y:g}" for index, (x, y) in enumerate(points))
        head = ' marker-end="url(#arrow)"' if arrow else ""
        self.parts.append(f'<path d="{path}" fill="none" stroke="currentColor" style="{style}"{head}/>')

    def box(self, x: float, y: float, width: float, height: float, text: str, style: str = "") -> None:
        """A box with its text, around a point."""
        self.parts.append(
            f'<rect x="{x - width / 2:g}" y="{y - height / 2:g}" width="{width:g}" height="{height:g}" rx="6" '
            f'style="fill: var(--color-background-secondary, #eee); stroke: currentColor; {style}"/>'
        )
        self.text(x, y + 5, text)

    def svg(self, width: float, height: float, about: str) -> str:
        arrow = (
            '<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
            'orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" fill="currentColor"/></marker></defs>'
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
            f'aria-label="{html.escape(about)}" style="max-width: {width:g}px; width: 100%; height: auto">'
            f"{arrow}{''.join(self.parts)}</svg>"
        )


def sequence(lines: list[str]) -> str:
    names = dict(match.groups() for line in lines if (match := re.fullmatch(r"participant (\w+) as (.+)", line)))
    at = {name: 160 + 340 * index for index, name in enumerate(names)}
    picture = Picture()
    steps = [line for line in lines if not line.startswith("participant")]
    height = 70 + 42 * len(steps)
    for name, x in at.items():
        picture.line((x, 36), (x, height - 14), style="stroke-dasharray: 4 4")
        picture.box(x, 22, 110, 28, names[name])
    y = 56.0
    for line in steps:
        y += 42
        if match := MESSAGE.fullmatch(line):
            start, kind, end, text = match.groups()
            lost = kind.endswith("x")
            stop = at[start] + (at[end] - at[start]) * (0.8 if lost else 1)
            picture.line((at[start], y), (stop, y), arrow=not lost)
            if lost:
                picture.line((stop - 6, y - 6), (stop + 6, y + 6))
                picture.line((stop - 6, y + 6), (stop + 6, y - 6))
            picture.text((at[start] + at[end]) / 2, y - 7, text)
        elif match := NOTE.fullmatch(line):
            places = [at[name.strip()] for name in match[1].split(",")]
            picture.box(
                sum(places) / len(places), y - 10, 6.6 * len(match[2]) + 16, 26, match[2], "stroke-opacity: 0.4"
            )
        else:
            raise ValueError(f"not understood: {line}")
    return picture.svg(at[next(reversed(at))] + 160, height, "a sequence of messages; the text is in the page's source")


def machine(lines: list[str]) -> str:
    edges: dict[tuple[str, str], list[str]] = defaultdict(list)
    sources: dict[tuple[str, str], list[str]] = defaultdict(list)
    for line in lines:
        if match := STATE.fullmatch(line):
            sources[match[3], match[2]].append(match[1])
    grouped = {key: states for key, states in sources.items() if len(states) >= MANY}
    for (trigger, end), states in sources.items():
        if (trigger, end) not in grouped:
            for start in states:
                edges[start, end].append(trigger)
    found = {state for (_, end), states in sources.items() for state in (end, *states)}
    columns = sorted({PLACES[state][0] for state in found})
    rows = 1 + max(PLACES[state][1] for state in found)

    def place(state: str) -> tuple[float, float]:
        column, row = PLACES[state]
        return 80 + 190 * columns.index(column), 40 + 110 * row

    picture = Picture()
    for (start, end), triggers in edges.items():
        (x1, y1), (x2, y2) = place(start), place(end)
        across, down = x2 - x1, y2 - y1
        # From border to border of the boxes, which are 116 by 32.
        share = min(58 / abs(across) if across else 1, 16 / abs(down) if down else 1)
        ends = (x1 + across * share, y1 + down * share), (x2 - across * share * 1.05, y2 - down * share * 1.05)
        picture.line(*ends, arrow=True)
        middle_x, middle_y = (x1 + x2) / 2, (y1 + y2) / 2
        for index, trigger in enumerate(triggers):
            y = middle_y + 16 * (index - (len(triggers) - 1) / 2)
            if across and not down:
                above, _, below = (trigger, "", "") if len(trigger) < 14 else trigger.rpartition(" ")
                picture.text(middle_x, middle_y - 8 - 16 * index, above, style="font-size: 11px")
                picture.text(middle_x, middle_y + 16, below, style="font-size: 11px")
            else:
                picture.text(middle_x + 8, y + 4, trigger, "start", "font-size: 12px")
    first = next(match[1] for line in lines if (match := FIRST.fullmatch(line)))
    for state in sorted(found):
        picture.box(*place(state), 116, 32, state, "stroke-width: 3" if state == first else "")
    y = 40.0 + 110 * rows - 30
    for (trigger, end), states in grouped.items():
        picture.text(20, y, f"{trigger} → {end}, from {', '.join(states)}", "start", "font-size: 12px")
        y += 20
    width = 190 * len(columns) - 30
    return picture.svg(width, y, "a state machine; its transitions are in the page's source")


class Diagram(Directive):
    has_content = True

    def run(self) -> list[nodes.Node]:
        kind, *lines = [line.strip() for line in self.content if line.strip()]
        drawn = {"sequenceDiagram": sequence, "stateDiagram-v2": machine}[kind](lines)
        return [nodes.raw("", f'<div style="margin: 1rem 0; overflow-x: auto">{drawn}</div>', format="html")]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("mermaid", Diagram)
    return {"parallel_read_safe": True}
