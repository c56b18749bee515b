"""The virtual clock: calls and timers of nodes, each at its exact time."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Protocol

__all__ = ["MAX_STEPS", "TimeStandsStill", "VirtualClock"]

MAX_STEPS = 100_000
"""Steps at one instant, after which something must be looping forever."""


class TimeStandsStill(AssertionError):
    """So much happens at one instant that something must be looping forever."""


class Timed(Protocol):
    """A node with timers, as the clock sees it."""

    number: int
    """Its place in the order in which nodes were made."""
    alarm: float | None
    """When the next of its timers is due; set by the clock."""

    def fire_timers(self) -> None:
        """Have the timers fire that are due."""


class VirtualClock:
    """Knows the time and what is due next. It moves only when told to."""

    def __init__(self) -> None:
        self.now: float = 0.0
        self._calls: list[tuple[float, int, Callable[[], object]]] = []  # a heap
        self._alarms: list[tuple[float, int, Timed]] = []  # a heap; an entry is stale if its node has another
        self._serial = itertools.count()
        self._steps = 0

    def call_at(self, when: float, call: Callable[[], object]) -> None:
        """Have something called at a time."""
        heappush(self._calls, (when, next(self._serial), call))

    def set_alarm(self, node: Timed, when: float | None) -> None:
        """Say when the next timer of a node is due; None: it has none."""
        if when != node.alarm:
            node.alarm = when
            if when is not None:
                heappush(self._alarms, (when, node.number, node))

    def next_due(self) -> float | None:
        """When the next call or timer is due."""
        alarms = self._alarms
        while alarms and alarms[0][0] != alarms[0][2].alarm:
            heappop(alarms)
        return min((queue[0][0] for queue in (alarms, self._calls) if queue), default=None)

    def move_to(self, when: float) -> None:
        """Let time pass. Moving back does nothing."""
        if when > self.now:
            self.now = when
            self._steps = 0

    def count_step(self) -> None:
        """Raise TimeStandsStill if there were too many steps since time last passed."""
        self._steps += 1
        if self._steps > MAX_STEPS:
            self._steps = 0  # cleaning up may take as many again
            raise TimeStandsStill("time stands still")

    def take_due_alarms(self) -> list[Timed]:
        """The nodes with a timer that is due, in the order in which they were made."""
        nodes = []
        while self._alarms and self._alarms[0][0] <= self.now:
            node = heappop(self._alarms)[2]
            if node.alarm is not None and node.alarm <= self.now:
                node.alarm = None  # the node sets the next one when it is pumped
                nodes.append(node)
        return sorted(nodes, key=lambda node: node.number)

    def take_due_call(self) -> Callable[[], object] | None:
        """The next call that is due."""
        if self._calls and self._calls[0][0] <= self.now:
            return heappop(self._calls)[2]
        return None
