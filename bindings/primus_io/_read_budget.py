"""How much one channel reads at once, so that one peer cannot hold up all others.

Everything that one read brings is handled before anything else. 32 KiB of one large message are almost no work; 32 KiB
of frames of seven bytes are 4,500 messages and some hundred milliseconds of work, and so are 32 KiB that become 30 MiB
when they are inflated. The bytes do not show which it is, so the work of a read decides the size of the next one.

The laws kept here: a read that took too long makes the next ones smaller. If it had many messages, the size grows again
with time and not with bytes, because bytes cost a peer nothing. If it had few, they may be large: the read counts with
the bytes that came before it, and the size grows again once the bytes are in proportion to the work. Where work takes
no time, as on a virtual clock, the size only grows.

A channel that has a slow read rests: of all channels that rest, one goes on in each turn of the loop, or in one of a
few. When the reads of a turn have taken long, what others bring waits for the next turns, unless it is little. So
however many channels are much work, those that are not wait for a few slow reads at once.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Protocol

__all__ = [
    "FIRST_READ",
    "MAX_READ",
    "MIN_READ",
    "REST_TURNS",
    "SLOW_READ",
    "TIRING",
    "ReadBudget",
    "TurnWork",
    "Turns",
    "WorkMeter",
]

MAX_READ = 32 * 1024
MIN_READ = 512
FIRST_READ = 4 * 1024
"""Bytes. A new channel starts small and reaches MAX_READ after a few quick reads."""

SLOW_READ = 0.004
"""Seconds of work above which a read was too large."""

TIRING = SLOW_READ / 3
"""Seconds of work above which a channel rests after a read."""

REST_TURNS = 6
"""Turns of the loop between two channels that end their rest, for what others have to do meanwhile."""

TURN_WORK = 2 * SLOW_READ
"""Seconds of work in one turn of the loop after which only reads of less than MIN_READ bytes are still handled."""

WORK = 0.0001
"""Seconds of work of a read that do not count yet."""

FRESH = 0.001
"""Seconds after which the CPU time has to be read again before work is measured."""

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


class WorkMeter:
    """Measures work in seconds of CPU time, because on a busy machine a clock also counts the work of other programs.

    But a clock is quick to read, and CPU time is not. So what took at most `TIRING` by the clock counts as that.
    """

    __slots__ = ("_began", "_clock", "_cpu_time", "_read_at", "_used")

    def __init__(self, clock: Callable[[], float], cpu_time: Callable[[], float]) -> None:
        self._clock = clock
        self._cpu_time = cpu_time
        self._began = 0.0
        self._read_at = -math.inf  # when the CPU time was read
        self._used = 0.0  # that time, and what was measured since

    def begin(self) -> None:
        """Work begins."""
        self._began = now = self._clock()
        if now > self._read_at + FRESH:
            self._used, self._read_at = self._cpu_time(), now

    def end(self) -> float:
        """It has ended. Returns the seconds it took."""
        now = self._clock()
        seconds = now - self._began
        if seconds <= TIRING:
            self._used += seconds
            return seconds
        before, self._used, self._read_at = self._used, self._cpu_time(), now
        return max(0.0, min(seconds, self._used - before))


class TurnWork:
    """How much work the large reads of one turn of the loop were."""

    def __init__(self, next_turn: Callable[[Callable[[], None]], object]) -> None:
        """`next_turn` calls a function in the next turn of the loop."""
        self._next_turn = next_turn
        self._seconds = 0.0

    @property
    def is_enough(self) -> bool:
        """Whether other large reads have to wait for a later turn."""
        return self._seconds > TURN_WORK

    def add(self, seconds: float) -> None:
        """Count a read of this turn."""
        if seconds > WORK:
            if not self._seconds:
                self._next_turn(self.turn)
            self._seconds += seconds

    def turn(self) -> None:
        """The next turn after one with work has come."""
        self._seconds = 0.0


class Reader(Protocol):
    """A channel of a loop with callbacks."""

    def go_on(self) -> None:
        """Handle what has waited for this turn."""

    def rested(self) -> None:
        """Read on."""


class Turns(TurnWork):
    """Who is read in which turn of a loop with callbacks."""

    def __init__(self, next_turn: Callable[[Callable[[], None]], object]) -> None:
        super().__init__(next_turn)
        self._waiting: deque[Reader] = deque()
        self._resting: deque[Reader] = deque()
        self._turns_left = 0  # until one of those that rest reads on

    def wait(self, channel: Reader) -> None:
        """Call `channel.go_on` in a turn that has not brought much work yet."""
        self._waiting.append(channel)

    def turn(self) -> None:
        super().turn()
        while self._waiting and not self.is_enough:
            self._waiting.popleft().go_on()

    def rest(self, channel: Reader) -> None:
        """Call `channel.rested` in a later turn: for one channel at a time."""
        self._resting.append(channel)
        if len(self._resting) == 1:
            self._turns_left = 1
            self._next_turn(self._end_rest)

    def _end_rest(self) -> None:
        self._turns_left -= 1
        if not self._turns_left:
            self._resting.popleft().rested()
            self._turns_left = REST_TURNS
        if self._resting:
            self._next_turn(self._end_rest)
