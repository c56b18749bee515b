"""How much one channel reads at once, so that a peer whose bytes are much work does not hold up everyone else.

What one read brings is handled in one go. 32 KiB of one large message are next to no work; as 4,500 frames of seven
bytes they are some hundred milliseconds of it. Nothing tells the two apart before, so what a read took says how much
the next may bring.

The laws kept here: a read that took too long makes the next ones smaller, however it came about. Where it had many
messages in it, trust comes back with time and not with bytes, for those cost a peer nothing. Where it had not, one
message was the work and reading less of it would spare nobody anything: then it comes back at once, lest large messages
be read in morsels. And where no time passes while there is work, as on a virtual clock, nothing ever changes.
"""

from __future__ import annotations

import math

__all__ = ["MAX_READ", "MIN_READ", "SLOW_READ", "ReadBudget"]

MAX_READ = 32 * 1024
MIN_READ = 512
FIRST_READ = 4 * 1024
"""Bytes. A new channel begins small, and has the most after a few reads that were quick."""

SLOW_READ = 0.004
"""Seconds of work from which on a read was too large."""

MANY_EVENTS = 8
"""Events from which on it was their number that took long."""

MAX_SHRINK = 8
"""A read makes the next one smaller by no more than this: it may have been a collection of garbage that took long."""

REGROW_DELAY = 1.0
"""Seconds between two doublings for a channel that has once been much work."""


class ReadBudget:
    """The size of a channel's next read, in `size`."""

    __slots__ = ("_grow_at", "_regrow_delay", "size")

    def __init__(self) -> None:
        self.size: int = FIRST_READ
        self._regrow_delay = 0.0
        self._grow_at = -math.inf

    def record(self, received: int, seconds: float, events: int, *, now: float) -> None:
        """What was received took so many seconds of work, and brought so many events."""
        if seconds > SLOW_READ:
            self.size = max(MIN_READ, self.size // MAX_SHRINK, int(self.size * SLOW_READ / seconds))
            if events >= MANY_EVENTS:
                self._regrow_delay = REGROW_DELAY
                self._grow_at = now + REGROW_DELAY
        elif received >= self.size < MAX_READ and seconds < SLOW_READ / 2 and now >= self._grow_at:
            self.size = min(MAX_READ, self.size * 2)
            self._grow_at = now + self._regrow_delay
