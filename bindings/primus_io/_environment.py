"""The clock and the randomness that an endpoint runs on. A loop in virtual time brings its own."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

__all__ = ["Environment"]


class Environment:
    """The clock of an event loop, the wall clock, and randomness from the system."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        """Monotonic seconds, as the loop counts them."""

    @property
    def wall_offset(self) -> float:
        """Unix time minus `now`."""
        return time.time() - self.now()

    @staticmethod
    def work_time() -> float:
        """Seconds of CPU time that this thread has used.

        Not the time of the wall: on a busy machine a read takes long through no fault of its own.
        """
        return time.thread_time()

    def new_rng(self) -> random.Random:
        """Randomness for one endpoint."""
        return random.SystemRandom()
