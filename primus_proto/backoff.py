"""The delays between reconnect attempts: randomised exponential back-off (protocol 4.6)."""

from __future__ import annotations

import builtins
import random

__all__ = ["reconnect_delay"]

# A finite cap, so that an overflowing power still ends in a timer that fires: thirty years.
LONGEST_DELAY = 1e9


def reconnect_delay(attempt: int, *, min: float, max: float, factor: float, rng: random.Random) -> float:
    """Seconds to wait before reconnect attempt number `attempt` (counted from 1).

    The first waits exactly `min`; later ones ``(1 + r) * min * factor ** (attempt - 1)`` with r drawn from
    [0, 1), rounded to whole milliseconds as the original does, and never more than `max`.
    """
    if attempt == 1:
        return min
    try:
        delay = (rng.random() + 1) * min * factor ** (attempt - 1)
    except OverflowError:
        delay = LONGEST_DELAY
    return builtins.min(max, round(delay, 3), LONGEST_DELAY)
