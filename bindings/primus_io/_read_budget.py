"""How much one channel reads at once, so that one peer cannot hold up all others.

Everything that one read brings is handled before anything else. 32 KiB of one large message are almost no work; 32 KiB
of frames of seven bytes are 4,500 messages and some hundred milliseconds of work, and so are 32 KiB that become 30 MiB
when they are inflated. The bytes do not show which it is, so the work of a read decides the size of the next one.

The laws kept here: a read that took too long makes the next ones smaller. If it had many messages, the size grows again
with time and not with bytes, because bytes cost a peer nothing. If it had few, they may be large: the read counts with
the bytes that came before it, and the size grows again once the bytes are in proportion to the work. Where work takes
no time, as on a virtual clock, the size only grows.

A channel that has a slow read rests: of all channels that rest, one goes on in each turn of the loop, or in one of a
few. So however many there are, the others wait for few slow reads at once.
"""

from __future__ import annotations

import math

__all__ = ["FIRST_READ", "MAX_READ", "MIN_READ", "REST_TURNS", "SLOW_READ", "TIRING", "ReadBudget"]

MAX_READ = 32 * 1024
MIN_READ = 512
FIRST_READ = 4 * 1024
"""Bytes. A new channel starts small and reaches MAX_READ after a few quick reads."""

SLOW_READ = 0.004
"""Seconds of work above which a read was too large."""

TIRING = SLOW_READ / 2
"""Seconds of work above which a channel rests after a read."""

REST_TURNS = 6
"""Turns of the loop between two channels that end their rest, for what others have to do meanwhile."""

BYTE_WORK = SLOW_READ / MAX_READ
"""Seconds of work for each byte below which there is no reason to read less."""

MEMORY = 64 * MAX_READ
"""Bytes before and after a slow read that its work is compared with, at most."""

MANY_EVENTS = 8
"""Number of events from which on a slow read counts as many messages."""

MAX_SHRINK = 8
"""A slow read divides the size by at most this, because the time may have gone into garbage collection."""

REGROW_DELAY = 1.0
"""Seconds between two doublings for a channel that has sent many messages in a slow read."""


class ReadBudget:
    """The size of a channel's next read is `size`."""

    __slots__ = ("_grow_at", "_regrow_delay", "_spare", "size")

    def __init__(self) -> None:
        self.size: int = FIRST_READ
        self._regrow_delay = 0.0
        self._grow_at = -math.inf
        self._spare = 0  # bytes that came, less those that the work of slow reads was worth

    def record(self, received: int, seconds: float, events: int, *, now: float) -> None:
        """Adapt the size: handling the received bytes took so many seconds of work and brought so many events."""
        self._spare = min(MEMORY, self._spare + received)
        if seconds > SLOW_READ:
            self._spare = max(-MEMORY, self._spare - int(seconds / BYTE_WORK))
            many = events >= MANY_EVENTS
            if many or self._spare < 0:
                self.size = max(MIN_READ, self.size // MAX_SHRINK, int(self.size * SLOW_READ / seconds))
            if many:
                self._regrow_delay = REGROW_DELAY
                self._grow_at = now + REGROW_DELAY
        elif received >= self.size < MAX_READ and seconds < SLOW_READ / 2 and now >= self._grow_at and self._spare >= 0:
            self.size = min(MAX_READ, self.size * 2)
            self._grow_at = now + self._regrow_delay
