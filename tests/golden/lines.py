"""The form of a recording: JSON lines, the first a header, then what the script did and what was observed.

A step is ``{"do": what, "by": whom, ...}``; its ``until`` names what the script waited for before it went on. An
observation is ``{"event": name, "readyState": n, ...}`` or ``{"reply": verb, "result": value}``. Recorder and replay
write the same form, so that a recording can be compared with what our machines do line by line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

Line = dict[str, Any]

NORMALISED = [
    "times and ports are left out, and with them start and duration of the reconnect events",
    "spark: 1 for the first connection, 2 for the next, and so on",
    "delay: milliseconds; where it is drawn at random, the bounds it is drawn from",
    "error: its kind; true where the event only carries one",
]

# What is read of both ends; all else is below Primus, or (`initialised`) over before anybody can listen.
CLIENT_EVENTS = frozenset({
    "open", "data", "error", "close", "end", "reconnect scheduled", "reconnect", "reconnected", "reconnect timeout",
    "reconnect failed", "timeout", "online", "offline", "readyStateChange", "destroy",
})  # fmt: skip
SERVER_EVENTS = frozenset({
    "connection", "disconnection", "data", "error", "end", "heartbeat", "readyStateChange", "heartbeat-skipped",
    "flatline", "close", "log",
})  # fmt: skip


@dataclass(frozen=True)
class Recording:
    """One side of one situation."""

    header: Line
    lines: list[Line]

    @property
    def name(self) -> str:
        return f"{self.header['situation']}.{self.header['who']}"

    @property
    def steps(self) -> list[Line]:
        return [line for line in self.lines if "do" in line]

    def dump(self) -> str:
        return "".join(json.dumps(line) + "\n" for line in (self.header, *self.lines))


def path(name: str) -> Path:
    return HERE / f"{name}.jsonl"


def load(name: str) -> Recording:
    """The recording called ``<situation>.<who>``."""
    header, *lines = (json.loads(text) for text in path(name).read_text(encoding="utf-8").splitlines())
    return Recording(header, lines)


def recorded() -> list[str]:
    """The names of all recordings there are."""
    return sorted(file.name.removesuffix(".jsonl") for file in HERE.glob("*.jsonl"))


def normal_delay(attempt: int, delay: float, options: Mapping[str, Any]) -> float | list[float]:
    """A reconnect delay in milliseconds; where it was drawn, the bounds, provided that it lies within them.

    `options` are the `reconnect` options of the client, as the original has them.
    """
    low = options.get("min", 500) * (options.get("factor", 2) ** (attempt - 1) if attempt > 1 else 1)
    high = low * 2 if attempt > 1 else low
    low, high = (min(bound, options.get("max", float("inf"))) for bound in (low, high))
    return [low, high] if low < high and low <= delay <= high else delay


@dataclass
class Book:
    """What one side said, in order, and where the steps of the script belong among it.

    A step stands behind all that the script *knew* when it was made: what the steps before it caused at once, and
    what they waited for. So it does not depend on how soon anybody heard of the rest.
    """

    lines: list[Line] = field(default_factory=list)
    known: int = 0
    steps: list[tuple[int, Line]] = field(default_factory=list)

    def note(self, step: Line) -> None:
        self.steps.append((self.known, step))

    def know(self, count: int) -> None:
        self.known = max(self.known, count)

    def find(self, until: Line, start: int) -> int | None:
        """After how many lines an item of ``until`` was fulfilled, by those from `start` on."""
        fields = dict(until)
        times = fields.pop("times", 1)
        name = fields.pop(whose(until))
        for count, line in enumerate(self.lines[start:], start + 1):
            if line.get("event") == name and all(line.get(key) == value for key, value in fields.items()):
                times -= 1
                if times == 0:
                    return count
        return None

    def compose(self) -> list[Line]:
        """The lines of the recording."""
        lines: list[Line] = []
        done = 0
        for position, step in self.steps:
            lines += self.lines[done:position]
            lines.append(step)
            done = position
        return lines + self.lines[done:]


def whose(until: Line) -> str:
    """Whose event an item of ``until`` is about."""
    return next(iter(until))
