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

__all__ = ["LEAST", "LONG", "MOST", "Portion"]

MOST = 32 * 1024
LEAST = 512
FIRST = 4 * 1024
"""Bytes. A new channel begins small, and has the most after a few reads that were quick."""

LONG = 0.004
"""Seconds of work from which on a read was too large."""

MANY = 8
"""Events from which on it was their number that took long."""

STEP = 8
"""A read makes the next one smaller by no more than this: it may have been a collection of garbage that took long."""

PATIENCE = 1.0
"""Seconds between two doublings for a channel that has once been much work."""


class Portion:
    """The size of a channel's next read, in `size`."""

    __slots__ = ("_grows", "_patience", "size")

    def __init__(self) -> None:
        self.size = FIRST
        self._patience = 0.0
        self._grows = -math.inf

    def took(self, received: int, seconds: float, events: int, *, now: float) -> None:
        """What was received took so many seconds of work, and brought so many events."""
        if seconds > LONG:
            self.size = max(LEAST, self.size // STEP, int(self.size * LONG / seconds))
            if events >= MANY:
                self._patience = PATIENCE
                self._grows = now + PATIENCE
        elif received >= self.size < MOST and seconds < LONG / 2 and now >= self._grows:
            self.size = min(MOST, self.size * 2)
            self._grows = now + self._patience
