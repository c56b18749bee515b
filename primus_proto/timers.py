"""All timers of an endpoint, in one heap. Timers are exact and cheap to re-arm.

Moving a timer to a later time only changes its `due`. Its heap entry is then stale and is replaced when it is at the
top and somebody asks what is due. So a heartbeat costs no work on the heap, however many connections there are. When
many entries are stale, all are replaced at once. When most are of timers that are off, they are removed: an entry keeps
its timer and the timer's owner alive, and a peer could pile them up otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Protocol

__all__ = ["Deadlines", "Expiring", "Timer", "Timers"]

# A heap of up to this many entries is not worth tidying.
SMALL = 8
# If more than MOVED entries, and one of MANY, were stale and had to be moved, all are replaced. That costs less than to
# move each.
MOVED, MANY = 64, 8


class Timer:
    """A deadline and a function to call when it passes. `due` is seconds on the driver's clock, inf when off."""

    __slots__ = ("_queued", "_timers", "callback", "due")

    def __init__(self, timers: Timers, callback: Callable[[float], object]) -> None:
        self._timers = timers
        self._queued = math.inf  # the time of this timer's earliest heap entry
        self.callback = callback
        self.due = math.inf

    def set(self, due: float) -> None:
        """Arm or re-arm for the absolute time `due`; inf turns the timer off."""
        if self._queued <= due < math.inf > self.due:
            self.due = due
            return
        timers = self._timers
        timers._armed += (due != math.inf) - (self.due != math.inf)
        self.due = due
        if due < self._queued:
            self._queued = due
            timers._push(self)
        if len(timers._heap) > SMALL and len(timers._heap) > 2 * timers._armed:
            timers._replace_all()

    def cancel(self) -> None:
        """Turn the timer off; harmless if it is off already."""
        if self.due != math.inf:
            self.set(math.inf)
        elif self._timers.delays:
            self._timers.delays.pop(self, None)

    def drop(self) -> None:
        """Turn the timer off for good, and release its callback: a stale entry would keep the owner alive."""
        self.cancel()
        self.callback = _nothing


def _nothing(now: float) -> None:
    """Do nothing."""


class Timers:
    """The heap. Timers that are due at the same instant fire in the order in which they were queued."""

    __slots__ = ("_armed", "_heap", "_serial", "delays")

    def __init__(self) -> None:
        self.delays: dict[Timer, float] = {}
        """The seconds of timers that were made without the time, and are not set yet."""
        self._heap: list[tuple[float, int, Timer]] = []
        self._serial = 0
        self._armed = 0  # how many timers are on

    def new(self, callback: Callable[[float], object]) -> Timer:
        """Make a timer, which is off. `callback` is called with `now`."""
        return Timer(self, callback)

    def next(self) -> float | None:
        """When the earliest timer is due; None if none is armed. Pure, for all that can be seen."""
        heap = self._heap
        if heap and heap[0][0] != heap[0][2].due:
            self._settle()
        return heap[0][0] if heap else None

    def soonest(self) -> float | None:
        """A time before which no timer is due, for less than `next` costs; None if none is armed."""
        return self._heap[0][0] if self._armed else None

    def fire(self, now: float) -> None:
        """Call every timer that is due at or before `now`, earliest first, until there is none."""
        heap = self._heap
        self._settle()
        while heap and heap[0][0] <= now:
            timer = heappop(heap)[2]
            timer.due = timer._queued = math.inf
            self._armed -= 1
            timer.callback(now)
            self._settle()

    def _push(self, timer: Timer) -> None:
        self._serial += 1
        heappush(self._heap, (timer._queued, self._serial, timer))

    def _settle(self) -> None:
        """Replace stale entries until the one at the top is not."""
        heap = self._heap
        stale = 0
        while heap:
            queued, _, timer = heap[0]
            if queued == timer.due:
                return
            if stale > MOVED and stale > len(heap) // MANY:
                return self._replace_all()
            stale += 1
            heappop(heap)
            if queued == timer._queued:  # an earlier entry has not replaced this one
                timer._queued = timer.due
                if timer.due != math.inf:
                    self._push(timer)

    def _replace_all(self) -> None:
        kept = []
        for queued, serial, timer in self._heap:
            if queued == timer._queued:  # an earlier entry has not replaced this one
                timer._queued = timer.due
                if timer.due != math.inf:
                    kept.append((timer.due, serial, timer))
        self._heap[:] = kept
        heapify(self._heap)


class Expiring(Protocol):
    """What has a deadline among `Deadlines`."""

    def expired(self, now: float) -> None:
        """The deadline has passed."""


class Deadlines:
    """Deadlines that are all equally far away, behind one timer. They cost little where nearly all are met."""

    __slots__ = ("_open", "_seconds", "_timer")

    def __init__(self, timers: Timers, seconds: float) -> None:
        self._seconds = seconds
        self._open: dict[Expiring, float] = {}  # the earliest first
        self._timer = timers.new(self._look)

    def start(self, owner: Expiring, now: float) -> None:
        """Call `owner.expired` in so many seconds, unless there is a `stop` before. Starts anew if it was started."""
        due = now + self._seconds
        self._open.pop(owner, None)
        self._open[owner] = due
        if due < self._timer.due:
            self._timer.set(due)

    def stop(self, owner: Expiring) -> None:
        """Forget the deadline of `owner`; harmless if it has none."""
        if self._open.pop(owner, None) is not None and not self._open:
            self._timer.cancel()

    def _look(self, now: float) -> None:
        while self._open:
            owner, due = next(iter(self._open.items()))
            if due > now:
                self._timer.set(due)
                return
            del self._open[owner]
            owner.expired(now)
