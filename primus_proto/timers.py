"""All timers of an endpoint in one heap; exact, cheap to re-arm, and pure to ask.

A timer that is moved to a later time is not touched in the heap: only its `due` changes, and the heap catches
up when the stale entry reaches the top. That settling happens when timers are *changed*, so `next()` stays a
pure read (a getter changes nothing) and never names a time at which nothing is due. When more than half of the heap
is stale it is tidied: an entry holds its timer, and whatever that belongs to, which a peer could else pile up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heapify, heappop, heappush

__all__ = ["Timer", "Timers"]

# A heap of up to this many entries is not worth tidying.
SMALL = 64


class Timer:
    """One deadline and what to call when it passes. `due` is seconds on the driver's clock, inf when off."""

    __slots__ = ("_queued", "_timers", "callback", "due")

    def __init__(self, timers: Timers, callback: Callable[[float], None]) -> None:
        self._timers = timers
        self._queued = math.inf  # the earliest heap entry that stands for this timer
        self.callback: Callable[[float], None] = callback
        self.due: float = math.inf

    def set(self, due: float) -> None:
        """Arm or re-arm for the absolute time `due`; inf turns the timer off."""
        timers = self._timers
        timers._armed += (due != math.inf) - (self.due != math.inf)
        self.due = due
        if due < self._queued:
            self._queued = due
            timers._push(self)
        timers._settle()

    def cancel(self) -> None:
        """Turn the timer off; harmless when it is."""
        if self.due != math.inf:
            self.set(math.inf)


class Timers:
    """The heap. Timers due at the same instant fire in the order in which they were queued."""

    __slots__ = ("_armed", "_heap", "_serial")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._serial = 0
        self._armed = 0  # how many timers are on

    def new(self, callback: Callable[[float], None]) -> Timer:
        """A timer that is off; `callback` is called with `now`."""
        return Timer(self, callback)

    def next(self) -> float | None:
        """When the earliest timer is due, None when none is armed. Pure."""
        return self._heap[0][0] if self._heap else None

    def fire(self, now: float) -> None:
        """Call every timer due at or before `now`, earliest first, until there is none."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            timer = heappop(heap)[2]
            timer.due = timer._queued = math.inf
            self._armed -= 1
            self._settle()
            timer.callback(now)

    def _push(self, timer: Timer) -> None:
        self._serial += 1
        heappush(self._heap, (timer._queued, self._serial, timer))

    def _settle(self) -> None:
        heap = self._heap
        if len(heap) > SMALL and len(heap) > 2 * self._armed:
            self._tidy()
        while heap:
            queued, _, timer = heap[0]
            if queued == timer.due:
                return
            heappop(heap)
            if queued == timer._queued:  # not an entry that an earlier one has replaced
                timer._queued = timer.due
                if timer.due != math.inf:
                    self._push(timer)

    def _tidy(self) -> None:
        kept = []
        for entry in self._heap:
            queued, _, timer = entry
            if queued == timer._queued:  # not an entry that an earlier one has replaced
                if timer.due != math.inf:
                    kept.append(entry)
                else:
                    timer._queued = math.inf
        self._heap[:] = kept
        heapify(self._heap)
