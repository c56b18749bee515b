"""`Core`, the base of `Client` and `Server`: timers on a clock that comes in, and a queue of what goes out.

The law kept here: time and randomness come in; events and commands go out, one at a time, by `poll`.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Iterator, Sized
from dataclasses import dataclass
from typing import Any, TypeVar

from .. import events as ev
from ..commands import MessageCommand, Write
from ..errors import LocalProtocolError
from ..limits import Limits
from ..timers import Timer, Timers
from ..transports.pipe import Pipe
from .states import SparkState

__all__ = ["Core", "Deferred", "poll"]

C = TypeVar("C")

# Looked up for every message.
SparkData, ENDED = ev.SparkData, SparkState.ENDED


@dataclass(slots=True)
class Deferred:
    """A call at its place among the events: what it does comes behind what the events before it caused."""

    call: Callable[[float], object]


def poll(
    events: deque[ev.Event | Deferred],
    commands: deque[C],
    work: Callable[[float], object],
    now: float,
    dirty: tuple[Sized, ...] = (),
) -> Iterator[ev.Event | C]:
    """Hand out events, then the commands that `work(now)` makes of what they caused, until there is nothing.

    An item is taken off its queue only when it is handed out. So what the application does on one event takes effect
    before the next, data of a spark that this end has ended is withheld, and a caller that breaks off loses nothing.
    Writing causes nothing but what shows in `events` and `dirty`, so after commands that only write these are asked.
    """
    while True:
        while events:
            event = events.popleft()
            if type(event) is SparkData:
                if event.spark.state is not ENDED:
                    yield event
            elif isinstance(event, Deferred):
                event.call(now)
            elif type(event) is not ev.Delivery or event.session.state is not ENDED:
                yield event
        work(now)
        if not commands and not events:
            return
        settled = True
        while commands:
            command = commands.popleft()
            settled = settled and type(command) is Write
            yield command
        if settled and not (events or any(dirty)):
            return


class Core:
    """Base of `Client` and `Server`.

    `rng` gives ids, nonces and delays their randomness: a `random.SystemRandom` in production, a seeded
    `random.Random` where runs must repeat. `wall_offset` is Unix time minus the driver's clock, in seconds.
    """

    def __init__(self, limits: Limits, rng: random.Random, wall_offset: float = 0.0) -> None:
        self.limits = limits
        self.rng = rng
        self.wall_offset = wall_offset
        self.is_unsettled: bool = True
        """Whether the next `poll` may have something to do that shows in no queue."""
        self.polled: float = -math.inf
        """When it was last polled."""
        self.timers: Timers = Timers()
        self.queued_events: deque[ev.Event | Deferred] = deque()
        """Events that `poll` has not handed out yet."""
        self.emit: Callable[[ev.Event], None] = self.queued_events.append
        """Queue an event."""
        self.received: int = 0
        """How many messages the sparks of a server have got."""
        self.queued_commands: deque[MessageCommand[Any]] = deque()
        """Commands of the message seam that `poll` has not handed out yet."""
        self.dirty_pipes: deque[Pipe] = deque()
        """Pipes of the message seam that have something to hand over."""

    def next_timeout(self) -> float | None:
        """When `handle_timeout` is due, on the clock of `now`; None: nothing is. Pure."""
        return self.timers.next()

    def handle_timeout(self, *, now: float) -> None:
        """Do what is due; early and extra calls are harmless."""
        self.timers.fire(now)

    def check_clock(self, now: float) -> None:
        """Raise LocalProtocolError if the driver's clock went backwards, or is not a number."""
        if not now >= self.polled:
            raise LocalProtocolError(f"now={now!r} is before {self.polled!r}, the time of the last poll: use one clock")
        self.polled = now

    # --- inside the core ---

    def after(self, seconds: float, callback: Callable[[float], object]) -> Timer:
        """Call `callback(now)` so many seconds after the next `poll`. Takes no time, as verbs of an application do."""
        timer = self.timers.new(callback)
        self.timers.delays[timer] = seconds
        return timer

    def set_delays(self, now: float) -> None:
        """Set the timers that `after` made."""
        delays = self.timers.delays
        for timer, seconds in delays.items():
            timer.set(now + seconds)
        delays.clear()

    def withhold(self, *kinds: type[ev.Event]) -> None:
        """Forget the events of these classes that were not handed out yet."""
        kept = [event for event in self.queued_events if type(event) not in kinds]
        self.queued_events.clear()
        self.queued_events.extend(kept)

    def defer(self, call: Callable[[float], object]) -> None:
        """Have `call(now)` made once the events so far have been handed out."""
        self.queued_events.append(Deferred(call))

    def epoch(self, now: float) -> float:
        """Unix time in seconds."""
        return now + self.wall_offset

    def epoch_ms(self, now: float) -> int:
        """Unix time in milliseconds, as the wire has it."""
        return int((now + self.wall_offset) * 1000)
