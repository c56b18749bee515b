"""The clock and the randomness of an endpoint. A loop in virtual time provides its own."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from ._read_budget import WorkMeter

__all__ = ["Environment"]


class Environment:
    """The clock of an event loop, the system's wall clock, and randomness from the system."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        """The loop's clock: monotonic seconds."""

    @property
    def wall_offset(self) -> float:
        """Unix time minus `now`."""
        return time.time() - self.now()

    def new_meter(self) -> WorkMeter:
        """Make what measures the work of this thread."""
        return WorkMeter(time.monotonic, time.thread_time)

    def new_rng(self) -> random.Random:
        """Make the random number generator of one endpoint."""
        return random.SystemRandom()
