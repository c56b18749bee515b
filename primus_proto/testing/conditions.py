"""How deliveries travel on a virtual network. A test may change the settings while it runs.

A value that no network can have raises ConfigError where it is set.
"""

from __future__ import annotations

import math
import random
from typing import TypeVar

from ..errors import ConfigError

__all__ = ["Bandwidth", "Conditions", "Latency", "check_size", "is_count", "is_number"]

T = TypeVar("T")

Latency = float | tuple[float, float]
Bandwidth = float | tuple[float | None, float | None] | None


class Conditions:
    """Latency, jitter and bandwidth. Setting an impossible value raises ConfigError."""

    __slots__ = ("_bandwidth", "_jitter", "_latency")  # so that setting a misspelt name is an error

    def __init__(self, latency: Latency, jitter: float, bandwidth: Bandwidth) -> None:
        self.latency = latency
        self.jitter = jitter
        self.bandwidth = bandwidth

    @property
    def latency(self) -> Latency:
        """Seconds each delivery takes; a pair: from client to server, from server to client."""
        return self._latency

    @latency.setter
    def latency(self, value: Latency) -> None:
        if not all(is_number(part) and part >= 0 for part in _parts("latency", value)):
            raise ConfigError(f"latency must be finite seconds of at least 0, or a pair of such; got {value!r}")
        self._latency = value

    @property
    def jitter(self) -> float:
        """Up to this many seconds more, drawn anew for each delivery. Deliveries never overtake each other."""
        return self._jitter

    @jitter.setter
    def jitter(self, value: float) -> None:
        if not (is_number(value) and value >= 0):
            raise ConfigError(f"jitter must be finite seconds of at least 0; got {value!r}")
        self._jitter = value

    @property
    def bandwidth(self) -> Bandwidth:
        """Bytes per second of each connection and direction, or a pair of such; None: no limit."""
        return self._bandwidth

    @bandwidth.setter
    def bandwidth(self, value: Bandwidth) -> None:
        if not all(part is None or (is_number(part) and part > 0) for part in _parts("bandwidth", value)):
            what = "bytes per second above 0, None for no limit, or a pair of such"
            raise ConfigError(f"bandwidth must be {what}; got {value!r}. To stop all traffic, use freeze or partition")
        self._bandwidth = value

    def rate(self, to_server: bool) -> float | None:
        """The bandwidth of one direction."""
        return _of_direction(self._bandwidth, to_server)

    def delay(self, to_server: bool, rng: random.Random) -> float:
        """The seconds one delivery takes, bandwidth aside."""
        latency = _of_direction(self._latency, to_server)
        return latency + rng.uniform(0.0, self._jitter) if self._jitter else latency


def _of_direction(value: T | tuple[T, T], to_server: bool) -> T:
    return value[not to_server] if isinstance(value, tuple) else value


def _parts(name: str, value: T | tuple[T, T]) -> tuple[T, ...]:
    if isinstance(value, tuple) and len(value) != 2:
        raise ConfigError(f"{name} as a pair has two parts, client to server and server to client; got {value!r}")
    return value if isinstance(value, tuple) else (value,)


def is_count(value: object) -> bool:
    """Whether it is a whole number of at least 0."""
    return isinstance(value, int) and value >= 0


def is_number(value: object) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)


def check_size(name: str, value: object) -> int | None:
    """A number of bytes of at least 1, or None. Raises ConfigError otherwise."""
    if value is None or (isinstance(value, int) and value > 0):
        return value
    raise ConfigError(f"{name} must be a number of bytes of at least 1, or None; got {value!r}")
