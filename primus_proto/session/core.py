"""What the session side of either end is made of: timers on a clock that is told, and what is to be fetched from it.

The law kept here: time and randomness come in, events and commands come out, and reading twice gives nothing new.
"""

from __future__ import annotations

import random

from .. import events as ev
from ..commands import Command
from ..limits import Limits
from ..timers import Timers

__all__ = ["Machine"]


class Machine:
    """Base of `Client` and `Server`.

    `rng` gives ids, nonces and delays their randomness: a `random.SystemRandom` in production, a seeded
    `random.Random` where runs must repeat. `wall_offset` is Unix time minus the driver's clock, in seconds.
    """

    def __init__(self, limits: Limits, rng: random.Random, wall_offset: float = 0.0) -> None:
        self.limits = limits
        self.rng = rng
        self.wall_offset = wall_offset
        self.timers = Timers()
        self.deaf = False
        """From a client's `end` to `events`: whoever delivers events passes over data that is left (protocol 4.5)."""
        self._events: list[ev.Event] = []
        self._commands: list[Command] = []

    def next_timeout(self) -> float | None:
        """When `handle_timeout` is due, on the clock of `now`; None: nothing is. Pure."""
        return self.timers.next()

    def handle_timeout(self, *, now: float) -> None:
        """Do what is due; early and extra calls are harmless."""
        self.timers.fire(now)

    def events(self) -> list[ev.Event]:
        """What happened since the last call, in order; hands over and forgets."""
        taken, self._events = self._events, []
        self.deaf = False
        return taken

    def commands(self, *, now: float) -> list[Command]:
        """What the host must do since the last call, in order; hands over and forgets."""
        taken = self._commands.copy()
        self._commands.clear()  # the pipes of the message seam hold this very list
        return taken

    # --- inside the core ---

    def emit(self, event: ev.Event) -> None:
        """Queue an event."""
        self._events.append(event)

    def epoch(self, now: float) -> float:
        """Unix time in seconds."""
        return now + self.wall_offset

    def epoch_ms(self, now: float) -> int:
        """Unix time in milliseconds, as the wire has it."""
        return int((now + self.wall_offset) * 1000)
