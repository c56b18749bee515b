"""The back-off: how long to wait before the next attempt to reconnect, and how many there are (protocol 4.6).

The law kept here: a server that accepts connections and drops them at once gets no more attempts, and no shorter
delays, than one that refuses them.
"""

from __future__ import annotations

import builtins
import random

from ..config import ClientConfig
from ..errors import PrimusError

__all__ = ["Backoff", "reconnect_delay"]

# A finite cap, so that a timer is set even if the power overflows: thirty years.
LONGEST_DELAY = 1e9

# A connection must have lasted this long, or `min` if that is longer, for the count of attempts to start again.
STABLE_AFTER = 5.0


def reconnect_delay(attempt: int, *, min: float, max: float, factor: float, rng: random.Random) -> float:
    """Seconds to wait before attempt number `attempt`, counted from 1.

    The first attempt waits exactly `min`, later ones ``(1 + r) * min * factor ** (attempt - 1)`` with r drawn from
    [0, 1), rounded to whole milliseconds as Primus does, and at most `max`.
    """
    if attempt == 1:
        return min
    try:
        delay = (rng.random() + 1) * min * factor ** (attempt - 1)
    except OverflowError:
        delay = LONGEST_DELAY
    return builtins.min(max, round(delay, 3), LONGEST_DELAY)


class Backoff:
    """Counts the attempts of a reconnect procedure, and keeps when and why it began."""

    def __init__(self, config: ClientConfig, rng: random.Random) -> None:
        self._config = config
        self._retries = None if config.retries is None else int(config.retries)
        self._rng = rng
        self._attempt = 0
        self._delay = 0.0
        self._start = 0.0
        self.error: PrimusError | None = None
        """What failed last; None if the host only said that the network is gone."""

    def begin(self, error: PrimusError | None, *, now: float, lasted: float) -> None:
        """Begin a procedure, after a connection that was open for `lasted` seconds."""
        if lasted >= max(self._config.min, STABLE_AFTER):
            self._attempt = 0
        self._start = now
        self.error = error

    def next(self) -> float | None:
        """Count one more attempt, and return the seconds until it; None if none is left."""
        config = self._config
        if self._retries is not None and self._attempt >= self._retries:
            return None
        self._attempt += 1
        self._delay = reconnect_delay(
            self._attempt, min=config.min, max=config.max, factor=config.factor, rng=self._rng
        )
        return self._delay

    def reset(self) -> None:
        """Forget everything: the client has ended."""
        self._attempt = 0
        self._delay = 0.0
        self.error = None

    def progress(self, now: float) -> tuple[int, int | None, float, float, float]:
        """The first fields of a `ReconnectEvent`: attempt, retries, delay, start, duration."""
        return self._attempt, self._retries, self._delay, self._start, now - self._start
